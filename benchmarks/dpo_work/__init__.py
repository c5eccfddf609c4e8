"""What the benchmarks of DPO have in common: shapes of models, data of their lengths, and TRL as the peer."""

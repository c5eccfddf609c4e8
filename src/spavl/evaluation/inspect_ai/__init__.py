"""The benchmarks as tasks of Inspect, and its models of this machine: `inspect eval spavl/harmeval --model ...`."""

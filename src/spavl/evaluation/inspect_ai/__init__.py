"""The benchmarks as tasks for Inspect, and models in this process: `inspect eval spavl/harmeval --model ...`."""

"""All benchmarks by name, and the suites that ask several at once."""

from spavl.benchmarks import mm_safetybench, own_run, spa_vl
from spavl.benchmarks.types import Benchmark
from spavl.errors import ConfigError

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        spa_vl.HARM_EVAL,
        spa_vl.HELP_EVAL,
        mm_safetybench.BENCHMARK,
        mm_safetybench.TINY,
        own_run.BENCHMARK,
        own_run.TWINS,
    )
}
SUITES: dict[str, tuple[str, ...]] = {
    "safety": ("harmeval", "mm-safetybench"),
    "full": tuple(BENCHMARKS),
}


def named(name: str) -> Benchmark:
    return BENCHMARKS[name]


def suite(name: str) -> tuple[Benchmark, ...]:
    """The benchmarks of a suite; a benchmark's own name is a suite of one."""
    if name in SUITES:
        return tuple(map(named, SUITES[name]))
    if name in BENCHMARKS:
        return (named(name),)
    then = f"suites are {', '.join(SUITES)}; benchmarks are {', '.join(BENCHMARKS)}"
    raise ConfigError(f"no suite and no benchmark is called {name!r}", where="--suite", then=then)

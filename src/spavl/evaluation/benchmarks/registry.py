"""All benchmarks by name, and the suites, which are several benchmarks under one name."""

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import (
    advbench,
    figstep,
    harmbench,
    jailbreakv,
    joint,
    mm_safetybench,
    over_refusal,
    own_run,
    spa_vl,
    vlguard,
)
from spavl.evaluation.benchmarks.ability import chef, choices, oodcv, pope, short_answers
from spavl.evaluation.benchmarks.types import Benchmark
from spavl.text.nearest import suggestion

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        spa_vl.HARM_EVAL,
        spa_vl.HELP_EVAL,
        own_run.BENCHMARK,
        own_run.TWINS,
        mm_safetybench.BENCHMARK,
        mm_safetybench.TINY,
        *advbench.BENCHMARKS,
        vlguard.BENCHMARK,
        jailbreakv.BENCHMARK,
        jailbreakv.MINI,
        joint.SIUO,
        joint.VLSBENCH,
        joint.MSTS,
        figstep.BENCHMARK,
        figstep.TINY,
        harmbench.BENCHMARK,
        over_refusal.XSTEST,
        over_refusal.MOSSBENCH,
        over_refusal.OR_BENCH,
        over_refusal.OR_BENCH_80K,
        oodcv.BENCHMARK,
        oodcv.COUNTERFACTUAL,
        pope.BENCHMARK,
        choices.SCIENCE,
        choices.MMBENCH,
        choices.SEED,
        short_answers.TEXTVQA,
        short_answers.GQA,
        short_answers.VQA,
        short_answers.VIZWIZ,
    )
}
_ABILITY = ("pope", "scienceqa", "mmbench", "seed", "textvqa", "gqa", "vqav2", "vizwiz")
# Every suite of safety includes over-refusal: otherwise a model that refuses everything would score best.
_OVER_REFUSAL = ("xstest", "mossbench", "or-bench")
_CORE = ("harmeval", "helpeval", "mm-safetybench", "advbench", "xstest", "mossbench")
_SAFETY = ("harmeval", "mm-safetybench", "advbench", "vlguard", "jailbreakv-mini", "siuo", "vlsbench", *_OVER_REFUSAL)
_MORE = ("advbench-suffix", "msts", "figstep", "harmbench-multimodal", "oodcv-vqa")
_CHEF = ("pope", *(f"{name}{way}" for name in ("scienceqa", "mmbench") for way in ("", "+examples", "+numbers")))
SUITES: dict[str, tuple[str, ...]] = {
    "core": _CORE,
    "safety": _SAFETY,
    "over-refusal": _OVER_REFUSAL,
    "ability": _ABILITY,
    # What the SPA-VL paper reports.
    "paper": ("mm-safetybench-tiny", "advbench", "advbench-suffix", "harmeval", "helpeval", *_ABILITY),
    "chef": _CHEF,
    "full": tuple(dict.fromkeys((*_CORE, *_SAFETY, *_MORE, *_ABILITY, *_CHEF))),
}


def benchmark_named(name: str) -> Benchmark:
    """A benchmark by its name, or one that is derived from another, as in scienceqa+examples."""
    plain, _, recipe = name.partition("+")
    if plain not in BENCHMARKS:
        then = suggestion(plain, [*SUITES, *BENCHMARKS], "suites and benchmarks")
        raise ConfigError(f"no suite and no benchmark is called {name!r}", where="--suite", then=then)
    return chef.derived_benchmark(BENCHMARKS[plain], recipe) if recipe else BENCHMARKS[plain]


def suite(name: str) -> tuple[Benchmark, ...]:
    """The benchmarks of a suite; a benchmark's own name is a suite of one."""
    return tuple(map(benchmark_named, SUITES.get(name, (name,))))

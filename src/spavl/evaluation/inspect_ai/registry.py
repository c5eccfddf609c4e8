"""The entry point for Inspect. It loads this file for every evaluation, so nothing heavy is imported here."""

from collections.abc import Callable

from inspect_ai import Task, task
from inspect_ai.model import ModelAPI, modelapi

from spavl.evaluation.benchmarks.registry import BENCHMARKS
from spavl.evaluation.benchmarks.types import Benchmark
from spavl.evaluation.inspect_ai.pairwise import pairwise_of
from spavl.evaluation.inspect_ai.tasks import TaskJudges, task_of


@modelapi(name="spavl")
def spavl() -> type[ModelAPI]:
    from spavl.evaluation.inspect_ai.provider import SpavlAPI

    return SpavlAPI


def _task(benchmark: Benchmark) -> Callable[..., Task]:
    @task(name=benchmark.name)
    def benchmark_task(
        data: str = "", guard: str = "", judge: str = "", subset: str = "", canaries: str = "stop"
    ) -> Task:
        return task_of(benchmark, data, TaskJudges(guard, judge, canaries), subset)

    return benchmark_task


@task
def pairwise(log_a: str = "", log_b: str = "", judge: str = "", canaries: str = "stop") -> Task:
    return pairwise_of(log_a, log_b, judge, canaries)


TASKS = {"pairwise": pairwise, **{name: _task(benchmark) for name, benchmark in BENCHMARKS.items()}}

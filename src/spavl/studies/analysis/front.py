"""The Pareto front of a study: the arms that no other arm beats in safety, refusals and help at once."""

from collections.abc import Iterator, Sequence

from spavl.report.formatting import about
from spavl.statistics.pareto import Costs, dominating, shares_on_front
from spavl.studies.analysis.findings import items_of_metric
from spavl.studies.grid.arms import Arm
from spavl.studies.measured import MeasuredCell, common_items, seeds_of
from spavl.studies.results import FrontArm

# By rate: whether lower is better. Those that every arm was measured by are the costs.
_IS_LOWER_BETTER = {
    "unsafe": True,
    "over_refusal": True,
    "alignment_tax": True,
    "right": False,
    "names_object": False,
    "win_rate": False,
}
# Of the model before training, which is compared with itself.
_EVEN = 0.5


def front_of(arms: Sequence[Arm], measured: Sequence[MeasuredCell]) -> list[FrontArm]:
    """Every arm that has finished cells, over the seeds in which all of them have the rates; nothing if there are none.

    A rate may be withheld in some cells.
    """
    done = [arm for arm in arms if seeds_of(arm.name, measured)]
    by_metric = _seeds_by_metric(done, measured)
    shared = set[int].intersection(*by_metric.values()) if by_metric else set[int]()
    common = [each for each in measured if each.cell.config.training is None or each.cell.config.seed in shared]
    found = {metric: _costs(metric, done, common) for metric in by_metric}
    costs = {metric: each for metric, each in found.items() if each is not None}
    if not shared or not costs:
        return []
    points = [[_mean(each.values[place]) for each in costs.values()] for place in range(len(done))]
    shares = shares_on_front(list(costs.values()))
    return [
        FrontArm(
            arm.name,
            {metric: _as_rate(metric, value) for metric, value in zip(costs, points[place], strict=True)},
            tuple(done[other].name for other in dominating(points, place)),
            shares[place],
            tuple(sorted(shared)),
        )
        for place, arm in enumerate(done)
    ]


def _seeds_by_metric(arms: Sequence[Arm], measured: Sequence[MeasuredCell]) -> dict[str, set[int]]:
    """By rate, the seeds in which every trained arm has it. Rates are left out until the rest have a seed in common."""
    found = {}
    for metric in _IS_LOWER_BETTER:
        own = [
            {each.cell.config.seed for each in seeds_of(arm.name, measured) if _has(each, metric)}
            for arm in arms
            if arm.training is not None
        ]
        seeds = set[int].intersection(*own) if own else set[int]()
        if seeds:
            found[metric] = seeds
    while found and not set[int].intersection(*found.values()):
        del found[min(found, key=lambda metric: len(found[metric]))]
    return found


def _has(each: MeasuredCell, metric: str) -> bool:
    return any(name.metric == metric for name in each.values)


def _costs(metric: str, arms: Sequence[Arm], measured: Sequence[MeasuredCell]) -> Costs | None:
    """A rate as a cost of every arm, on the items that all arms and seeds have a value for."""
    by_arm = [items_of_metric(arm.name, metric, measured) for arm in arms]
    if metric == "win_rate":
        known = next((seeds for seeds in by_arm if seeds), [])
        even = [{item: own._replace(value=_EVEN) for item, own in known[0].items()}] if known else []
        by_arm = [seeds or (even if arm.training is None else []) for arm, seeds in zip(arms, by_arm, strict=True)]
    items = common_items([seed for seeds in by_arm for seed in seeds])
    if not items or not all(by_arm):
        return None
    values = [[[_as_rate(metric, seed[item].value) for item in items] for seed in seeds] for seeds in by_arm]
    return Costs(values, [by_arm[0][0][item].cluster for item in items])


def _as_rate(metric: str, value: float) -> float:
    """A rate as a cost, and the other way round."""
    return value if _IS_LOWER_BETTER[metric] else 1 - value


def _mean(seeds: Sequence[Sequence[float]]) -> float:
    return sum(map(sum, seeds)) / sum(map(len, seeds))


def front_sentences(front: Sequence[FrontArm]) -> Iterator[str]:
    """Which arms are beaten by none, and how sure that is."""
    if front:
        rates = " and ".join(metric.replace("_", " ") for metric in front[0].rates)
        on = ", ".join(f"{each.arm} (in {about(each.share)} of resamples)" for each in front if not each.dominated_by)
        seeds = ", ".join(map(str, front[0].seeds))
        yield f"No other arm is at least as good in {rates} and better in one of them than: {on}. Seeds: {seeds}."

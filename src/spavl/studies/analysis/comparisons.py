"""Compares the arms of a study: a rate for each over its seeds, and its difference from the control."""

from collections.abc import Iterator, Mapping, Sequence

from spavl.evaluation.metrics.result_table import RATES
from spavl.statistics.paired import holm
from spavl.statistics.seeds import SeedDifference, difference_over_seeds
from spavl.studies.grid.arms import Arm, name_with_model
from spavl.studies.measured import ItemValue, MeasuredCell, common_items, rate_of, seeds_of
from spavl.studies.results import ArmDifference, ArmRate, Part, RateName
from spavl.studies.selection import leaves_named
from spavl.studies.train_cell import StudyPlace

# Rates by which arms are compared: those of which less, or more, is clearly better.
COMPARED = (*RATES, "names_object", "win_rate", "harm_score")
# The values of some seeds, each by item.
SeedItems = Sequence[Mapping[str, ItemValue]]


def rates_of_arm(arm: Arm, measured: Sequence[MeasuredCell]) -> Iterator[ArmRate]:
    done = seeds_of(arm.name, measured)
    for name in dict.fromkeys(name for each in done for name in each.values):
        seeds = [each.values[name] for each in done if name in each.values]
        by_seed = tuple(rate_of([own]).value for own in seeds)
        yield ArmRate(arm.name, name, rate_of(seeds), by_seed)


def differences_of(place: StudyPlace, arms: Sequence[Arm], measured: Sequence[MeasuredCell]) -> list[ArmDifference]:
    """Each arm minus its control, with Holm's correction over all of them."""
    found = list(_differences(place, arms, measured))
    corrected = holm([each.p for each in found])
    return [each._replace(p_holm=p) for each, p in zip(found, corrected, strict=True)]


def _differences(place: StudyPlace, arms: Sequence[Arm], measured: Sequence[MeasuredCell]) -> Iterator[ArmDifference]:
    """Each arm minus its control: the arm of that name for the same model, the base by default."""
    by_name = {arm.name: arm for arm in arms}
    for arm in arms:
        control = _control_of(place, arm, by_name)
        if control is None or control.name == arm.name:
            continue
        for part, leaves in _parts(place, arm, control):
            for name in _names_of(arm, measured):
                ones, others = (values_of_arm(each, name, measured, leaves) for each in (arm.name, control.name))
                if ones and others and (found := compare_seeds(ones, others)):
                    yield ArmDifference(arm.name, control.name, name._replace(part=part), *found, p_holm=1.0)


def _control_of(place: StudyPlace, arm: Arm, by_name: Mapping[str, Arm]) -> Arm | None:
    return by_name.get(name_with_model(place.config.control, arm.model, place.config))


def _names_of(arm: Arm, measured: Sequence[MeasuredCell]) -> list[RateName]:
    names = dict.fromkeys(name for each in seeds_of(arm.name, measured) for name in each.values)
    return [name for name in names if name.metric in COMPARED]


def _parts(place: StudyPlace, arm: Arm, control: Arm) -> Iterator[tuple[Part, frozenset[str] | None]]:
    """All leaves; then those that the arm, or else its control, was trained without, and the others."""
    yield "all", None
    without = arm.selection.without or control.selection.without
    if place.config.analysis == "unseen" and without:
        data = place.data[arm.selection.source]
        unseen = leaves_named(data, without)
        yield "unseen leaves", unseen
        yield "seen leaves", frozenset(each.leaf for each in data.pairs) - unseen


def values_of_arm(
    arm: str, name: RateName, measured: Sequence[MeasuredCell], leaves: frozenset[str] | None = None
) -> SeedItems:
    """The values of a rate by seed and item; only of the items of these leaves, if any are named."""
    found = [each.values[name] for each in seeds_of(arm, measured) if name in each.values]
    return [{item: own[item] for item in own if leaves is None or own[item].leaf in leaves} for own in found]


def compare_seeds(ones: SeedItems, others: SeedItems) -> SeedDifference | None:
    """The first seeds minus the second, on the items that all of them have a value for; None if there are none."""
    items = common_items([*ones, *others])
    if not items:
        return None
    first, second = ([[own[item].value for item in items] for own in seeds] for seeds in (ones, others))
    return difference_over_seeds(first, second, [ones[0][item].cluster for item in items])

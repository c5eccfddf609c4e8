"""The axes of a study: the values of each, and every combination of them with each arm."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_origin

from spavl.config import flat_settings, laid_over, read_settings
from spavl.errors import ConfigError
from spavl.studies.config import PairSelection, StudyConfig
from spavl.studies.data import StudyData
from spavl.studies.selection import lacking, matching_pairs

# The axis of a study over the number of pairs.
SIZE = "selection.pairs"
# A ladder of sizes has so many steps where the data set is too small for the sizes that were asked for.
_STEPS = 7
_FEWEST_SIZES = 4
_SMALLEST = 8
_NEARLY = 0.9
# What `selection.without` and `selection.only` may be in an axis in place of a list: nothing, then one part of the
# taxonomy after the other. In an arm, "one domain" is the first one.
_EACH = {
    "each domain": "domain",
    "each class": "group",
    "each leaf": "leaf",
    "one domain": "domain",
    "one class": "group",
}
_LEAVES = ("without", "only")
# Settings whose values speak for themselves in a label.
_PLAIN = ("algorithm", "responders", "vision", "language")


class ArmTable(NamedTuple):
    """An arm as the study's file has it, before anything is taken from presets: its name, and its own settings."""

    name: str
    # The setting and the value of each axis, and the arm's own name under "arm".
    levels: Mapping[str, Any]
    own: Mapping[str, Any]
    # The name of the arm that it goes on with.
    after: str = ""
    # Why the data set cannot have this arm; empty if it can.
    lack: str = ""


def arm_tables(config: StudyConfig, data: Mapping[str, StudyData]) -> Iterator[ArmTable]:
    """The product of the axes, for each arm that the file names."""
    axes = {
        name: _levels(name, values, data[""])
        for name, values in flat_settings(config.axes.model_dump(exclude_unset=True))
    }
    for name, arm in config.arms.items() or [("", None)]:
        own = arm.model_dump(exclude_unset=True, exclude={"after"}) if arm else {}
        after = arm.after if arm else ""
        others = {axis: values for axis, values in axes.items() if axis != SIZE}
        for values in itertools.product(*others.values()):
            levels = dict(zip(others, values, strict=True))
            table = _with_levels(own, levels)
            sizes = _sizes(axes[SIZE], config, table, data) if SIZE in axes else [None]
            for size in sizes:
                found = {axis: size if axis == SIZE else levels[axis] for axis in axes}
                parts = [name, *(level_in_words(axis, value) for axis, value in found.items())]
                known = found | ({"arm": name} if name else {})
                made = ArmTable(" ".join(filter(None, parts)), known, _with_levels(own, found), after)
                yield _with_named_part(made, data[""])


def selection_of(config: StudyConfig, table: Mapping[str, Any], name: str = "") -> PairSelection:
    """The pairs of an arm: what all arms have in common, then its own."""
    common = config.selection.model_dump(exclude_unset=True)
    selection = laid_over(common, table.get("selection", {}))
    return read_settings(StudyConfig, {"selection": selection}, {}, where=f"arms.{name}" if name else "axes").selection


def pairs_of(config: StudyConfig, selection: PairSelection, data: Mapping[str, StudyData]) -> int:
    """How many pairs fulfil the criteria of a selection, however many are asked for: the fewest over the seeds."""
    return min(len(matching_pairs(data[selection.source], selection, seed)) for seed in config.seeds)


def _levels(name: str, values: Any, data: StudyData) -> Sequence[Any]:
    section, _, key = name.partition(".")
    if section == "selection" and key in _LEAVES and isinstance(values, str) and values in _EACH:
        parts = _parts_of_taxonomy(data, _EACH[values])
        # Without a taxonomy the words stay, and the arm says why it is left out.
        return (
            [(), *((part,) for part in (parts[:1] if values.startswith("one") else parts))] if parts else [(), values]
        )
    if not isinstance(values, list | tuple) or not values:
        raise ConfigError(f"an axis is a list of values, not {values!r}", where=f"axes.{name}", then="write [a, b]")
    if name == SIZE and not all(isinstance(value, int) and value > 0 for value in values):
        raise ConfigError(f"numbers of pairs are 1 or more, not {values!r}", where=f"axes.{name}", then="write [a, b]")
    field = PairSelection.model_fields.get(key) if section == "selection" else None
    is_list = field is not None and get_origin(field.annotation) is tuple
    return [tuple(value) if isinstance(value, list) else (value,) if is_list else value for value in values]


def _parts_of_taxonomy(data: StudyData, column: str) -> list[str]:
    """The leaves, classes or domains that the data set has pairs of, in the order of its taxonomy."""
    trained = {each.leaf for each in data.pairs}
    return list(dict.fromkeys(getattr(each, column) for each in data.categories.values() if each.leaf in trained))


def _sizes(
    wanted: Sequence[int], config: StudyConfig, table: Mapping[str, Any], data: Mapping[str, StudyData]
) -> list[int]:
    """The sizes that the data set allows this arm, and all of its pairs; if these are few, halves of them."""
    selection = selection_of(config, table)
    if selection.source not in data or lacking(data[selection.source], selection):
        return list(wanted)
    there = pairs_of(config, selection, data)
    there = min(there, selection.pairs or there)
    fitting = sorted({size for size in wanted if size < there})
    if len(fitting) + 1 < min(_FEWEST_SIZES, len(wanted)):
        fitting = sorted({there // 2**step for step in range(1, _STEPS) if there // 2**step >= _SMALLEST})
    # A size that is nearly the whole costs a cell of each seed and tells nothing more.
    return [*(size for size in fitting if size <= _NEARLY * there), there]


def _with_named_part(arm: ArmTable, data: StudyData) -> ArmTable:
    """An arm in which "one domain" or "one class" is the first one of the data set."""
    table, lack = arm.own, arm.lack
    for key, value in table.get("selection", {}).items():
        if key in _LEAVES and isinstance(value, str) and value in _EACH:
            first = _parts_of_taxonomy(data, _EACH[value])[:1]
            table = laid_over(table, {"selection": {key: tuple(first)}})
            lack = lack if first else "the data set has no taxonomy, and so no domains and classes"
    return arm._replace(own=table, lack=lack)


def level_in_words(axis: str, value: Any) -> str:
    """A level in a label: `1,000 pairs`, `ppo`, `without projector`, `beta 0.3`."""
    short = axis.rpartition(".")[2].replace("_", " ")
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {short}"
    if isinstance(value, tuple):
        return f"{short} {', '.join(map(str, value))}" if value else f"all {'leaves' if short in _LEAVES else short}"
    if isinstance(value, str):
        return value if short in _PLAIN else f"{short} {value}"
    if short == "pairs":
        return f"{value:,} {short}"
    # As short as it can be without two values looking the same.
    return f"{short} {value:g}" if value == float(f"{value:g}") else f"{short} {value!r}"


def _with_levels(own: Mapping[str, Any], levels: Mapping[str, Any]) -> Mapping[str, Any]:
    table: Mapping[str, Any] = own
    for axis, value in levels.items():
        table = laid_over(table, _table_with(axis, value))
    return table


def _table_with(name: str, value: Any) -> dict[str, Any]:
    *sections, key = name.split(".")
    table: dict[str, Any] = {key: value}
    for section in reversed(sections):
        table = {section: table}
    return table

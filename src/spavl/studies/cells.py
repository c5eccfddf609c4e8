"""The cells of a study: every arm with every seed, each with all settings that its weights depend on."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from spavl.config import laid_over, read_settings, settings_to_hash
from spavl.errors import ConfigError
from spavl.pipeline.settings import demo_table, read_preset
from spavl.records import content_hash
from spavl.studies.config import BASE, CellConfig, LeftOut, PairSelection, Preset, StudyConfig
from spavl.studies.data import StudyData
from spavl.studies.selection import matching_pairs
from spavl.text.nearest import suggestion
from spavl.training.config import TrainingConfig

# The axis of a study over the number of pairs.
SIZE = "selection.pairs"
# A ladder of sizes has so many steps where the data set is too small for the sizes that were asked for.
_STEPS = 7
_FEWEST_SIZES = 4
_SMALLEST = 8
_NEARLY = 0.9
# What `selection.without` may be in an axis in place of a list: nothing left out, then one part after the other. In an
# arm, "one domain" is the first one.
_EACH = {
    "each domain": "domain",
    "each class": "group",
    "each leaf": "leaf",
    "one domain": "domain",
    "one class": "group",
}
# In place of a number of the training: a multiple of what the preset has, since presets differ.
_FACTOR = re.compile(r"x ?(\d+(?:\.\d+)?)")
# The paper's learning rate of DPO with LoRA is so many times that of its full training.
_OF_LORA = "x20"


class Arm(NamedTuple):
    """One combination of settings, by the name that tables and figures show."""

    name: str
    model: str
    # The setting and the value of each axis, and the arm's own name under "arm".
    levels: Mapping[str, Any]
    selection: PairSelection
    # None: the model before any training.
    training: TrainingConfig | None
    # The arm whose trained model of the same seed it begins with; empty: the model itself.
    after: str = ""


@dataclass(frozen=True)
class Cell:
    """An arm with one seed."""

    arm: Arm
    config: CellConfig
    # The hash of the data set's rows.
    content: str
    # The cell whose trained model it begins with.
    parent: "Cell | None" = None

    @cached_property
    def id(self) -> str:
        """The name of its folder: a hash of all that its weights depend on."""
        return content_hash([settings_to_hash(self.config), self.content])[:16]

    @property
    def title(self) -> str:
        return f"{self.arm.name}, seed {self.config.seed}" if self.config.training else self.arm.name


def cells_of(config: StudyConfig, data: Mapping[str, StudyData]) -> list[Cell]:
    """Every cell once, seed by seed, so that a study that is stopped has each arm with its first seeds."""
    arms = arms_of(config, data)
    found: dict[tuple[str, int], Cell] = {}
    for seed in config.seeds:
        for arm in arms:
            found[arm.name, seed] = _cell(arm, seed, data, found.get((arm.after, seed)))
    return list({cell.id: cell for cell in found.values()}.values())


def _cell(arm: Arm, seed: int, data: Mapping[str, StudyData], parent: Cell | None) -> Cell:
    config = CellConfig(
        model=arm.model,
        selection=arm.selection,
        training=arm.training,
        seed=seed if arm.training is not None else 0,
        after=parent.id if parent else "",
    )
    return Cell(arm, config, _content(data[arm.selection.source], arm.selection), parent)


def _content(data: StudyData, selection: PairSelection) -> str:
    """The hash of the rows that pairs are selected from."""
    added = [each.id for reason in selection.add for each in data.left_out[reason]]
    return content_hash([data.content, *added]) if added else data.content


def arms_of(config: StudyConfig, data: Mapping[str, StudyData]) -> list[Arm]:
    """The base of each model, then its arms in the order of the file, without those that the data set is not for."""
    found: list[Arm] = []
    for model in config.model:
        found.append(Arm(name_with_model(BASE, model, config), model, {}, PairSelection(), None))
        for name, levels, table in _tables(config, data):
            if _lacks(config, table, data):
                continue
            after = _name_of_parent(table.pop("after", ""), model, config, found)
            typed = _with_preset(config, model, table)
            training = typed.training.model_copy(update={"model": model})
            label = name_with_model(name or "trained", model, config)
            found.append(Arm(label, model, levels, typed.selection, training, after))
    if all(arm.training is None for arm in found):
        then = "; ".join(arms_left_out(config, data))
        raise ConfigError("no arm of this study can be trained", where="spavl study", then=then)
    return _of_equal_size(config, found, data) if config.equal_size else found


def _name_of_parent(after: str, model: str, config: StudyConfig, earlier: Sequence[Arm]) -> str:
    name = name_with_model(after, model, config) if after else ""
    known = [arm.name for arm in earlier if arm.training is not None]
    if name and name not in known:
        then = suggestion(name, known, "before it") if known else "write the other arm before it"
        raise ConfigError(f"no arm before this one is called {after!r}", where="arms, after", then=then)
    return name


def untrained_cell(cell: Cell, data: Mapping[str, StudyData]) -> Cell:
    """The cell of the same model before any training."""
    config = CellConfig(model=cell.config.model, selection=PairSelection(), training=None, seed=0)
    return Cell(Arm(BASE, config.model, {}, config.selection, None), config, data[config.selection.source].content)


def name_with_model(name: str, model: str, config: StudyConfig) -> str:
    """The name of an arm; with the model's where the study has several."""
    return f"{name} ({model.rpartition('/')[2]})" if len(config.model) > 1 else name


def arms_left_out(config: StudyConfig, data: Mapping[str, StudyData]) -> list[str]:
    """Why arms are left out, each reason once."""
    lacks = [_lacks(config, table, data) for _, _, table in _tables(config, data)]
    return list(dict.fromkeys(filter(None, lacks)))


def _lacks(config: StudyConfig, own: Mapping[str, Any], data: Mapping[str, StudyData]) -> str:
    """Why an arm with these settings of its own is left out; empty if it is not."""
    selection = own.get("selection", {})
    source = selection.get("source", config.selection.source)
    if source not in data:
        return f"the arms on the data set {source!r} are left out: add {source}=FOLDER to --data"
    pairs, labels = data[source].pairs, data[source].labels
    add: Sequence[LeftOut] = selection.get("add", ())
    if lacking := [reason for reason in add if not data[source].left_out[reason]]:
        kinds = " and ".join(reason.replace("_", " ") for reason in lacking)
        return f"an arm that adds pairs is left out: the build of this data set has left out no {kinds} ones"
    drops = selection.get("unsafe_chosen") == "drop" and labels
    if drops and not any(labels.get((each.question_id, each.chosen)) == "unsafe" for each in pairs):
        return "the arm without unsafe chosen answers is left out: this data set has none, so it would change nothing"
    return ""


def _tables(
    config: StudyConfig, data: Mapping[str, StudyData]
) -> Iterator[tuple[str, Mapping[str, Any], dict[str, Any]]]:
    """The name, the levels and the own settings of each arm."""
    axes = {name: _levels(name, values, config, data) for name, values in _flat(config.axes)}
    for name, own in (config.arms or {"": {}}).items():
        for values in itertools.product(*axes.values()):
            levels = dict(zip(axes, values, strict=True))
            parts = [name, *(_in_words(axis, value) for axis, value in levels.items())]
            table: Mapping[str, Any] = own
            for axis, value in levels.items():
                table = laid_over(table, _table_with(axis, value))
            table = _with_named_part(table, data)
            yield " ".join(filter(None, parts)), levels | ({"arm": name} if name else {}), dict(table)


def _with_named_part(table: Mapping[str, Any], data: Mapping[str, StudyData]) -> Mapping[str, Any]:
    """An arm in which "one domain" or "one class" is the first one of the data set."""
    named = {
        key: tuple(_parts_of_taxonomy(data[""], _EACH[value])[:1])
        for key, value in table.get("selection", {}).items()
        if key in ("only", "without") and isinstance(value, str) and value in _EACH and value.startswith("one")
    }
    return laid_over(table, {"selection": named}) if named else table


def _levels(name: str, values: Any, config: StudyConfig, data: Mapping[str, StudyData]) -> Sequence[Any]:
    if name == "selection.without" and values in _EACH:
        parts = _parts_of_taxonomy(data[""], _EACH[values])
        return [(), *((part,) for part in (parts[:1] if values.startswith("one") else parts))]
    if not isinstance(values, list | tuple) or not values:
        raise ConfigError(f"an axis is a list of values, not {values!r}", where=f"axes.{name}", then="write [a, b]")
    if name == SIZE:
        there = len(matching_pairs(data[""], config.selection, config.seeds[0]))
        return _sizes([int(value) for value in values], min(there, config.selection.pairs or there))
    return [tuple(value) if isinstance(value, list) else value for value in values]


def _parts_of_taxonomy(data: StudyData, column: str) -> list[str]:
    """The leaves, classes or domains that the data set has pairs of, in the order of its taxonomy."""
    trained = {each.leaf for each in data.pairs}
    return list(dict.fromkeys(getattr(each, column) for each in data.categories.values() if each.leaf in trained))


def _sizes(wanted: Sequence[int], there: int) -> list[int]:
    """The sizes that the data set allows, and the whole of it; if these are few, halves of the whole."""
    fitting = sorted({size for size in wanted if size < there})
    if len(fitting) + 1 < min(_FEWEST_SIZES, len(wanted)):
        fitting = sorted({there // 2**step for step in range(1, _STEPS) if there // 2**step >= _SMALLEST})
    # A size that is nearly the whole costs a cell of each seed and tells nothing more.
    return [*(size for size in fitting if size <= _NEARLY * there), there]


def _with_preset(config: StudyConfig, model: str, own: Mapping[str, Any]) -> StudyConfig:
    """The settings of an arm: those of its preset, then the study's, then its own."""
    common = config.model_dump(exclude_unset=True, exclude={"axes", "arms", "expectations"})
    table = laid_over(common, own)
    asked = table.get("training", {})
    algorithm, language = asked.get("algorithm", "dpo"), asked.get("trainable", {}).get("language", "")
    preset = preset_table(config.preset, model, algorithm, language)
    before = laid_over(preset, common.get("training", {}))
    training = _with_factors(laid_over(preset, asked), before)
    return read_settings(StudyConfig, table | {"training": training}, {}, where="the arms of the study")


def _with_factors(table: Mapping[str, Any], before: Mapping[str, Any], prefix: str = "training.") -> dict[str, Any]:
    """The settings with every factor, such as "x2", as that multiple of what the arm would have without it."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        known = before.get(name)
        if isinstance(value, Mapping):
            found[name] = _with_factors(value, known if isinstance(known, Mapping) else {}, f"{prefix}{name}.")
        elif isinstance(value, str) and (factor := _FACTOR.fullmatch(value)):
            if not isinstance(known, int | float):
                then = "give the value itself, or set it for all arms too"
                raise ConfigError(f"{value} of what? It has no value to begin with", where=f"{prefix}{name}", then=then)
            found[name] = type(known)(round(known * float(factor[1]), 12))
        else:
            found[name] = value
    return found


def preset_table(preset: Preset, model: str, algorithm: str, language: str = "") -> dict[str, Any]:
    """What the training of an algorithm begins with, if the language model is trained in this way.

    The last weights of a cell are kept, not those that a guard likes best: so no validation of a preset applies, and
    the cells of one arm differ in nothing but their seed.
    """
    of_others: Preset = "spa-vl" if language == "full" else "spa-vl-lora"
    preset = preset or ("miniature" if model.startswith("miniature/") else of_others)
    if algorithm == "sft":
        table = read_preset("sft")["training"]
    elif preset == "miniature":
        table = demo_table("ppo" if algorithm == "ppo" else "dpo")["training"] | {"algorithm": algorithm}
        if language in ("lora", "qlora"):
            table = _with_factors({**table, "loop": table["loop"] | {"learning_rate": _OF_LORA}}, table)
    else:
        short = {"dpo": "dpo", "ppo": "ppo", "reward": "rm"}[algorithm]
        table = read_preset(f"spa-vl-{short}{'-lora' if preset == 'spa-vl-lora' else ''}")["training"]
    return {name: value for name, value in table.items() if name != "validation"}


def _of_equal_size(config: StudyConfig, arms: Sequence[Arm], data: Mapping[str, StudyData]) -> list[Arm]:
    """Every trained arm with the number of pairs of the smallest one, over all seeds."""
    trained = [arm for arm in arms if arm.training is not None]
    counts = {
        arm.name: min(len(matching_pairs(data[arm.selection.source], arm.selection, seed)) for seed in config.seeds)
        for arm in trained
    }
    if empty := [name for name, count in counts.items() if not count]:
        what = f"the data set has no pairs for the arm {empty[0]!r}, and the others must be of equal size"
        then = "write a study of your own without this arm; docs/studies.md says how"
        raise ConfigError(what, where="equal_size", then=then)
    fewest = min(counts.values(), default=1)
    asked = [arm.selection.pairs for arm in trained if arm.selection.pairs is not None]
    size = min([fewest, *asked])
    return [
        arm._replace(selection=arm.selection.model_copy(update={"pairs": size})) if arm.training is not None else arm
        for arm in arms
    ]


def _in_words(axis: str, value: Any) -> str:
    """A level in a label: `1,000 pairs`, `ppo`, `without projector`, `beta 0.3`."""
    short = axis.rpartition(".")[2].replace("_", " ")
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {short}"
    if isinstance(value, tuple):
        return f"{short} {', '.join(map(str, value))}" if value else "all leaves"
    if isinstance(value, str):
        return value if short in ("algorithm", "responders", "vision", "language") else f"{short} {value}"
    return f"{value:,} {short}" if short == "pairs" else f"{short} {value:g}"


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _table_with(name: str, value: Any) -> dict[str, Any]:
    *sections, key = name.split(".")
    table: dict[str, Any] = {key: value}
    for section in reversed(sections):
        table = {section: table}
    return table

"""The arms of a study: every combination of settings for each model, without those that the data set is not for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from spavl.config import flat_settings
from spavl.errors import ConfigError
from spavl.studies.config import BASE, PairSelection, StudyConfig
from spavl.studies.data import StudyData
from spavl.studies.grid.axes import SIZE, ArmTable, arm_tables, pairs_of, selection_of
from spavl.studies.grid.presets import with_preset
from spavl.studies.selection import lacking
from spavl.text.nearest import suggestion
from spavl.training.config import TrainingConfig


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


class StudyGrid(NamedTuple):
    """The arms, and what a user should know of them before anything is trained."""

    arms: Sequence[Arm]
    warnings: Sequence[str]


def grid_of(config: StudyConfig, data: Mapping[str, StudyData]) -> StudyGrid:
    """The base of each model, then its arms in the order of the file."""
    for name, own in data.items():
        if not own.pairs:
            then = "give one with pairs of a chosen and a rejected answer"
            raise ConfigError("this data set has no pairs to train on", where=f"--data {name}".strip(), then=then)
    if config.analysis == "curve" and SIZE not in dict(flat_settings(config.axes.model_dump(exclude_unset=True))):
        then = f"add [axes] with {SIZE} = [100, 1_000, 10_000], or take away the analysis"
        raise ConfigError("a curve is over the number of pairs, and there is no such axis", where="analysis", then=then)
    tables = [_with_lack(each, config, data) for each in arm_tables(config, data)]
    tables = [_with_parent(each, tables[:place]) for place, each in enumerate(tables)]
    _check_names(config, tables)
    kept, out = [each for each in tables if not each.lack], [each for each in tables if each.lack]
    if not kept or (out and len(kept) == 1 and config.analysis != "bias"):
        what = "too few arms of this study can be trained on this data set"
        raise ConfigError(what, where="spavl study", then="; ".join(_reasons(out)))
    arms = [arm for model in config.model for arm in _arms_of_model(config, model, kept)]
    wanting = list(_fewer_pairs(config, kept, data))
    arms = _of_equal_size(config, arms, data) if config.equal_size else arms
    return StudyGrid(arms, [*_reasons(out), *wanting, *_same_arms(arms)])


def name_with_model(name: str, model: str, config: StudyConfig) -> str:
    """The name of an arm; with the model's where the study has several."""
    return f"{name} ({_short_names(config.model)[model]})" if len(config.model) > 1 else name


def _short_names(models: Sequence[str]) -> Mapping[str, str]:
    """The last parts of the models' names, as many as tell them apart."""
    parts = {model: model.split("/") for model in models}
    for count in range(1, max(map(len, parts.values())) + 1):
        found = {model: "/".join(own[-count:]) for model, own in parts.items()}
        if len(set(found.values())) == len(found):
            return found
    return {model: model for model in models}


def _arms_of_model(config: StudyConfig, model: str, tables: Sequence[ArmTable]) -> Iterator[Arm]:
    yield Arm(name_with_model(BASE, model, config), model, {}, PairSelection(), None)
    for each in tables:
        typed = with_preset(config, model, each.name, each.own)
        training = typed.training.model_copy(update={"model": model})
        if training.algorithm == "reward":
            then = "train the arm by dpo, ppo or sft; ppo trains a reward model by itself"
            raise ConfigError("a reward model gives no answers", where=f"arms.{each.name}", then=then)
        parent = name_with_model(each.after, model, config) if each.after else ""
        yield Arm(name_with_model(each.name, model, config), model, each.levels, typed.selection, training, parent)


def _with_lack(arm: ArmTable, config: StudyConfig, data: Mapping[str, StudyData]) -> ArmTable:
    """The arm with the reason for which the data set cannot have it."""
    selection = selection_of(config, arm.own, arm.name)
    try:
        lack = arm.lack or _lack_of(selection, config, data)
    except ConfigError as error:
        raise ConfigError(error.what, where=f"arms.{arm.name}", then=error.then) from None
    return arm._replace(name=arm.name or "trained", lack=lack)


def _lack_of(selection: PairSelection, config: StudyConfig, data: Mapping[str, StudyData]) -> str:
    if selection.source not in data:
        return f"no data set has the name {selection.source!r}; add {selection.source}=FOLDER to --data"
    own = data[selection.source]
    if lack := lacking(own, selection):
        return lack
    drops = selection.unsafe_chosen == "drop"
    if drops and not any(own.labels.get((each.question_id, each.chosen)) == "unsafe" for each in own.pairs):
        return "the data set has no unsafe chosen answers, so that it would change nothing"
    return "" if pairs_of(config, selection, data) else "the data set has no such pairs"


def _with_parent(arm: ArmTable, before: Sequence[ArmTable]) -> ArmTable:
    """The arm with the name of the one that it goes on with, which must stand before it; it is left out with that one.

    With axes that is the arm of the same levels.
    """
    if not arm.after:
        return arm
    levels = {**arm.levels, "arm": arm.after}
    for each in before:
        if each.name == arm.after or each.levels == levels:
            return arm._replace(after=each.name, lack=arm.lack or (each.lack and f"it goes on with “{each.name}”"))
    known = [each.name for each in before]
    then = suggestion(arm.after, known, "before it") if known else "write the other arm before it"
    what = f"no arm before {arm.name!r} is called {arm.after!r}"
    raise ConfigError(what, where=f"arms.{arm.levels['arm']}.after", then=then)


def _check_names(config: StudyConfig, tables: Sequence[ArmTable]) -> None:
    """Every arm has a name of its own, and what the study compares is there."""
    names = [each.name for each in tables]
    if BASE in names:
        raise ConfigError(f"{BASE!r} is the model before training", where="arms", then="give this arm another name")
    if twice := {name for name in names if names.count(name) > 1}:
        what = f"several arms have the name {min(twice)!r}"
        raise ConfigError(what, where="arms, axes", then="give the arms other names, or the axis other values")
    known = [BASE, *names]
    compared = [("expectations", name) for each in config.expectations for name in (each.lower, each.higher)]
    for where, name in [("control", config.control), *(("equal_arms", each) for each in config.equal_arms), *compared]:
        if name not in known:
            raise ConfigError(f"no arm is called {name!r}", where=where, then=suggestion(name, known, "arms"))
    if reason := next((each.lack for each in tables if each.name == config.control), ""):
        what = f"the arm that all others are compared with, {config.control!r}, is left out: {reason}"
        raise ConfigError(what, where="control", then=f"compare with another one, such as --control {BASE}")


def _reasons(tables: Sequence[ArmTable]) -> Iterator[str]:
    """Why arms are left out, each reason once."""
    for why in dict.fromkeys(each.lack for each in tables):
        names = [f"“{each.name}”" for each in tables if each.lack == why]
        yield f"left out: {', '.join(names)}: {why}"


def _fewer_pairs(config: StudyConfig, tables: Sequence[ArmTable], data: Mapping[str, StudyData]) -> Iterator[str]:
    """Arms that ask for more pairs than there are."""
    for each in tables:
        selection = selection_of(config, each.own, each.name)
        there = pairs_of(config, selection, data) if selection.pairs is not None else 0
        if selection.pairs is not None and there < selection.pairs:
            told = f"{there:,} pairs" if there > 1 else "one pair"
            yield f"“{each.name}” is trained on {told}, not on {selection.pairs:,}: the data set has no more"


def _of_equal_size(config: StudyConfig, arms: Sequence[Arm], data: Mapping[str, StudyData]) -> list[Arm]:
    """The arms that must be of equal size with the number of pairs of the smallest one."""
    names = {name_with_model(name, model, config) for name in config.equal_arms for model in config.model}
    equal = {arm.name for arm in arms if arm.training is not None and (not names or arm.name in names)}
    sizes = [pairs_of(config, arm.selection, data) for arm in arms if arm.name in equal]
    sizes += [arm.selection.pairs for arm in arms if arm.name in equal and arm.selection.pairs is not None]
    return [
        arm._replace(selection=arm.selection.model_copy(update={"pairs": min(sizes)})) if arm.name in equal else arm
        for arm in arms
    ]


def _same_arms(arms: Sequence[Arm]) -> Iterator[str]:
    """Arms that differ in nothing but their name: they are trained once, and both are shown."""
    trained = [arm for arm in arms if arm.training is not None]
    for place, arm in enumerate(trained):
        for other in trained[:place]:
            if arm[1:2] + arm[3:] == other[1:2] + other[3:]:
                yield f"the arms “{other.name}” and “{arm.name}” are the same, and trained once"
                break

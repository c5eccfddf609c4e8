"""With what settings the arms of a study were trained: those that all have, and those by which they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from spavl.config import flat_settings
from spavl.studies.config import PairSelection
from spavl.studies.grid.arms import Arm
from spavl.studies.measured import MeasuredCell, seeds_of
from spavl.studies.results import ArmSettings, StudySettings
from spavl.training.config import TrainingConfig

# What a reader must know of a training, in the order in which it is told.
_TOLD = (
    "training.algorithm",
    "training.epochs",
    "training.batch_size",
    "training.loop.learning_rate",
    "training.dpo.beta",
    "training.ppo.reward",
    "training.trainable.projector",
    "training.trainable.language",
    "training.trainable.lora_rank",
    "training.trainable.vision",
)
# The algorithms that a section is for. PPO trains a reward model first.
_USERS = {"dpo": ("dpo",), "ppo": ("ppo",), "reward": ("reward", "ppo")}
# Settings that say nothing where another one has this value.
_LORA = ("training.trainable.language", ("full", "frozen"))
_IDLE = {"training.trainable.lora_rank": _LORA, "training.trainable.lora_alpha": _LORA}
_ABSENT = object()
# Settings, by their last name, on which no result depends.
NO_RESULT = {"tracker", "save_every", "keep_last", "shard", "gradient_checkpointing"}


def settings_of(arms: Sequence[Arm], measured: Sequence[MeasuredCell]) -> StudySettings:
    trained = [arm for arm in arms if arm.training is not None]
    whole = {arm.name: _table(arm) for arm in trained}
    told = {name for own in whole.values() for name, value in own.items() if _is_told(name, value)}
    tables = {arm: {name: own[name] for name in own if name in told} for arm, own in whole.items()}
    names = _names(tables)
    differing = [name for name in names if len({str(own.get(name, _ABSENT)) for own in tables.values()}) > 1]
    common = next(iter(tables.values()), {})
    return StudySettings(
        {name: common[name] for name in names if name not in differing},
        tuple(
            ArmSettings(
                arm.name,
                arm.model,
                tuple(each.result.pairs for each in seeds_of(arm.name, measured)),
                {name: tables[arm.name][name] for name in differing if name in tables[arm.name]},
            )
            for arm in trained
        ),
    )


def _is_told(name: str, value: Any) -> bool:
    """Whether it is a main setting, or another one without its default."""
    return name in _TOLD or value != _DEFAULTS.get(name, _ABSENT)


def _flat(selection: PairSelection, training: TrainingConfig) -> dict[str, Any]:
    return dict(flat_settings({"selection": _json(selection), "training": _json(training)}))


def _table(arm: Arm) -> Mapping[str, Any]:
    assert arm.training is not None
    found = _flat(arm.selection, arm.training) | ({"after": arm.after} if arm.after else {})
    idle = {name for name, (other, values) in _IDLE.items() if found.get(other) in values}
    # The model and the number of pairs have columns of their own.
    idle |= {"training.model", "selection.pairs"} | {name for name in found if name.rpartition(".")[2] in NO_RESULT}
    sections = [f"training.{name}." for name, users in _USERS.items() if arm.training.algorithm not in users]
    return {name: value for name, value in found.items() if name not in idle and not name.startswith(tuple(sections))}


def _json(settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = settings.model_dump(mode="json")
    return found


_DEFAULTS = _flat(PairSelection(), TrainingConfig())


def _names(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    known = dict.fromkeys(name for own in tables.values() for name in own)
    return [*(name for name in _TOLD if name in known), *(name for name in known if name not in _TOLD)]

"""With what settings the arms of a study were trained: those that all have, and those by which they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from spavl.config import flat_settings
from spavl.studies.grid.arms import Arm
from spavl.studies.measured import MeasuredCell, seeds_of
from spavl.studies.results import ArmSettings, StudySettings

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
_IDLE = {
    "training.trainable.lora_rank": ("training.trainable.language", ("full", "frozen")),
}


def settings_of(arms: Sequence[Arm], measured: Sequence[MeasuredCell]) -> StudySettings:
    trained = [arm for arm in arms if arm.training is not None]
    tables = {arm.name: _table(arm) for arm in trained}
    differing = [name for name in _names(tables) if len({str(own.get(name)) for own in tables.values()}) > 1]
    common = next(iter(tables.values()), {})
    return StudySettings(
        {name: common[name] for name in _TOLD if name in common and name not in differing},
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


def _table(arm: Arm) -> Mapping[str, Any]:
    assert arm.training is not None
    found = dict(flat_settings({"selection": _json(arm.selection), "training": _json(arm.training)}))
    found |= {"after": arm.after} if arm.after else {}
    idle = {name for name, (other, values) in _IDLE.items() if found.get(other) in values}
    # The model and the number of pairs have columns of their own.
    idle |= {"training.model", "selection.pairs"}
    sections = [f"training.{name}." for name, users in _USERS.items() if arm.training.algorithm not in users]
    return {name: value for name, value in found.items() if name not in idle and not name.startswith(tuple(sections))}


def _json(settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = settings.model_dump(mode="json")
    return found


def _names(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    known = dict.fromkeys(name for own in tables.values() for name in own)
    return [*(name for name in _TOLD if name in known), *(name for name in known if name not in _TOLD)]

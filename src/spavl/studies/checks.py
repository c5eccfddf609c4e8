"""Checks of a study before anything is trained: what every cell needs would else fail in every cell."""

from spavl.errors import ConfigError
from spavl.evaluation.cost_estimate import estimate_evaluation
from spavl.models.factory import checkpoint_path
from spavl.studies.config import StudyConfig
from spavl.studies.train_cell import StudyPlace, evaluation_of


def check_named(config: StudyConfig) -> None:
    """Raise ConfigError unless models are named, and all of them can be trained."""
    if not config.model:
        then = "name one or more, such as --model miniature/base"
        raise ConfigError("no model is named that is to be trained", where="--model", then=then)
    for model in config.model:
        checkpoint_path(model)


async def check_study(place: StudyPlace) -> None:
    """Open the guards and judges, and read the benchmarks, as the dry run of an evaluation does: nothing is sent."""
    await estimate_evaluation(evaluation_of(place, place.config.model[0]), place.folder / "cells" / "none")

"""Checks of a study before anything is trained: what every cell needs would else fail in every cell."""

from collections import Counter
from collections.abc import Mapping

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


async def check_study(place: StudyPlace) -> Mapping[str, int]:
    """Open the guards and judges, and read the benchmarks, as the dry run of an evaluation does: nothing is sent.

    Returns the calls that the evaluation of a trained cell makes, by its stage.
    """
    model, calls = place.config.model[0], Counter[str]()
    config = evaluation_of(place, model, model if place.config.measure.judge else "")
    estimate, _ = await estimate_evaluation(config, place.folder / "cells" / "none")
    for line in estimate.lines:
        calls[line.stage] += round(line.likely.calls)
    return +calls

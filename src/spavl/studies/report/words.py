"""What the page, the table in Markdown and the terminal say alike of a study."""

from collections.abc import Iterator, Mapping
from typing import Any

from spavl.report.formatting import count
from spavl.studies.grid.axes import level_in_words
from spavl.studies.results import ScaleCurve, StudyResults


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Settings in one line, such as `dpo, epochs 2, beta 0.1`."""
    return ", ".join(_in_words(name, value) for name, value in settings.items())


def _in_words(name: str, value: Any) -> str:
    of_reward = "reward model's " if name.startswith("training.reward.") else ""
    short = f"{of_reward}{name.rpartition('.')[2].replace('_', ' ')}"
    if name == "training.ppo.reward" and not value:
        return "a reward model of its own"
    if value is None or value == "":
        return f"no {short}"
    if of_reward or (isinstance(value, str) and name != "training.algorithm"):
        return f"{short} {value}"
    if name == "after":
        return f"goes on with {value}"
    if isinstance(value, dict):
        return f"{short} {value}"
    return level_in_words(name, tuple(value) if isinstance(value, list) else value)


def evaluation_in_words(results: StudyResults) -> str:
    measure = results.config.measure
    limit = f", {count(measure.limit)} items of each at most" if measure.limit else ""
    judge = f", judge {measure.judge}" if measure.judge else ""
    return f"{', '.join(measure.suite)}{limit}, answers of {count(measure.max_tokens)} tokens at most{judge}"


def guards_in_words(results: StudyResults) -> str:
    """The guards with their versions, which are known once a cell is done; the first one is reported."""
    return ", ".join(results.guards.get(each, each) for each in results.config.measure.guard)


def data_in_words(results: StudyResults) -> str:
    return ", ".join(f"{'' if name == 'data' else f'{name} '}{folder}" for name, folder in results.data.items())


def intervals_in_words(results: StudyResults) -> str:
    """What the intervals hold."""
    return "over seeds and items" if results.has_several_seeds else "over items, of one seed"


def form_in_words(curve: ScaleCurve) -> str:
    """The form of a curve, or those that may be true."""
    return f"{curve.form}: {' or '.join(curve.may_be)}" if curve.may_be else curve.form


def pairs_in_words(results: StudyResults, arm: str) -> str:
    """The pairs of an arm, which may differ by seed."""
    known = next((each.pairs for each in results.settings.arms if each.arm == arm), ())
    # As in the names of arms, which are typed.
    return " to ".join(dict.fromkeys(f"{size:,}" for size in (min(known), max(known)))) if known else "–"


def models_of(results: StudyResults) -> Iterator[str]:
    yield from dict.fromkeys(cell.model for cell in results.cells)

"""What the page, the table in Markdown and the terminal say alike of a study."""

from collections.abc import Iterator, Mapping
from typing import Any

from spavl.report.formatting import count
from spavl.studies.grid.axes import level_in_words
from spavl.studies.results import StudyResults


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Settings in one line, such as `dpo, epochs 2, beta 0.1`."""
    return ", ".join(_in_words(name, value) for name, value in settings.items())


def _in_words(name: str, value: Any) -> str:
    of_reward = "reward model's " if name.startswith("training.reward.") else ""
    short = f"{of_reward}{name.rpartition('.')[2].replace('_', ' ')}"
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


def intervals_in_words(results: StudyResults) -> str:
    """What the intervals hold."""
    return "over seeds and items" if len(results.config.seeds) > 1 else "over items, of one seed"


def pairs_in_words(results: StudyResults, arm: str) -> str:
    """The pairs of an arm, which may differ by seed."""
    known = next((each.pairs for each in results.settings.arms if each.arm == arm), ())
    # As in the names of arms, which are typed.
    return " to ".join(dict.fromkeys(f"{size:,}" for size in (min(known), max(known)))) if known else "–"


def models_of(results: StudyResults) -> Iterator[str]:
    yield from dict.fromkeys(cell.model for cell in results.cells)

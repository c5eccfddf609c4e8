"""What a run knows of its questions besides their rows. An imported data set knows less, or nothing."""

from collections.abc import Mapping

from spavl.records import Category, QuestionVerdict
from spavl.store.run import RunFolder


def contested_in(run: RunFolder) -> frozenset[str]:
    """The ids of the questions that the guard calls other than they were meant: neither harmful nor harmless."""
    if run.manifest("question_verdicts") is None:
        return frozenset()
    found = run.read("question_verdicts", QuestionVerdict)
    return frozenset(verdict.question_id for verdict in found if verdict.harmful is None)


def categories_in(run: RunFolder) -> Mapping[str, Category]:
    """The leaves of the run's taxonomy by id."""
    return {} if run.manifest("taxonomy") is None else {leaf.id: leaf for leaf in run.read("taxonomy", Category)}

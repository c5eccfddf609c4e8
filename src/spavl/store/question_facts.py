"""Facts about a run's questions that are in other tables or notes. An imported data set may have none of these."""

from collections.abc import Mapping

from spavl.records import Category, QuestionVerdict
from spavl.store.run import RunFolder


def contested_in(run: RunFolder) -> frozenset[str]:
    """The ids of the questions whose guard verdict contradicts their intent: neither harmful nor harmless."""
    if run.manifest("question_verdicts") is None:
        return frozenset()
    found = run.read("question_verdicts", QuestionVerdict)
    return frozenset(verdict.question_id for verdict in found if verdict.harmful is None)


def samples_in(run: RunFolder) -> int:
    """How many answers each responder was asked for to a question, by the notes of the responses."""
    made = run.manifest("responses")
    samples = made.notes.get("samples") if made else None
    return samples if isinstance(samples, int) else 1


def categories_in(run: RunFolder) -> Mapping[str, Category]:
    """The leaves of the run's taxonomy by id."""
    return {} if run.manifest("taxonomy") is None else {leaf.id: leaf for leaf in run.read("taxonomy", Category)}

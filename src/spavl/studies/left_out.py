"""Pairs that a build has judged and left out of its data set, as samples that a study can add to it again."""

import json
from collections.abc import Iterator, Mapping
from typing import get_args

from spavl.data.dataset.run import sample_of
from spavl.judges.pairwise import overall_of
from spavl.records import Image, Pair, Preference, Question, Reject, Response, Sample
from spavl.store import RunFolder
from spavl.store.question_facts import contested_in
from spavl.studies.config import LeftOut

# By the reason for which the data set's stage has rejected a pair.
_REASONS: Mapping[str, LeftOut] = {"inconsistent": "inconsistent", "chosen_unsafe": "unsafe_chosen"}


def left_out_pairs(run: RunFolder) -> Mapping[LeftOut, list[Sample]]:
    """By reason, the pairs of training images; none of a data set that was imported."""
    found: dict[LeftOut, list[Sample]] = {reason: [] for reason in get_args(LeftOut)}
    if not (run.has_table("preferences", Preference) and run.has_table("dataset", Reject)):
        return found
    reasons = {each.parent_id: _REASONS.get(each.reason) for each in run.read("dataset", Reject)}
    images, questions = run.lookup("selection", Image), run.lookup("questions", Question)
    answers, pairs = run.lookup("responses", Response), run.lookup("pairs", Pair)
    contested, leaking = contested_in(run), set(_leaking(run))
    for preference in run.read("preferences", Preference):
        reason = reasons.get(preference.id)
        order = _chosen_and_rejected(preference, pairs[preference.pair_id]) if reason else None
        question = questions[preference.question_id]
        image = images[question.image_id]
        if reason is None or order is None or image.split != "train" or {image.id, question.id} & leaking:
            continue
        chosen, rejected = answers[order[0]], answers[order[1]]
        harmful = None if question.id in contested else question.harmful
        if chosen.text != rejected.text:
            contrast = preference.contrast or "unknown"
            found[reason].append(sample_of(image, question, chosen, rejected, harmful, preference.id, contrast))
    return found


def _chosen_and_rejected(preference: Preference, pair: Pair) -> tuple[str, str] | None:
    """The judge's choice; if its two verdicts differ, that of the first order; None if that was a tie."""
    if preference.chosen is not None and preference.rejected is not None:
        return preference.chosen, preference.rejected
    in_first_order = {"first": (pair.first, pair.second), "second": (pair.second, pair.first)}
    return in_first_order.get(overall_of(preference.votes[0]))


def _leaking(run: RunFolder) -> Iterator[str]:
    """The images and questions that were left out because they are too near to a test's."""
    file = run.path / "leaks.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        if give_up := json.loads(line).get("give_up"):
            yield give_up["id"]

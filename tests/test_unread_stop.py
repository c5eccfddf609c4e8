"""A guard or judge in whose replies nothing can be read is not paid to the end; nor are pairs that teach nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from spavl.errors import GateError
from spavl.models.hearing import note_reading
from spavl.models.shop import ModelShop
from spavl.plan import Plan
from spavl.preferences.run import both_unsafe
from spavl.progress import Screen
from spavl.records import Pair, Question, Response, Verdict
from spavl.settings import read_config
from spavl.stage import Job, Made, run_rows
from spavl.store import RunFolder
from spavl.taxonomy.config import TaxonomyConfig

PLAN = Plan("responses", reads=(), writes=Response, does="asks")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "run") as folder:
        yield folder


def _questions(count: int) -> list[Question]:
    known = dict.fromkeys(("modality", "about_leaf", "twin_of", "neighbour_of"))
    said = {"image_id": "i", "kind": "easy", "language": "en", "harmful": True, "fallback": False, "writer": "w"}
    return [Question(text=str(number), call="c", tries=1, **known, **said) for number in range(count)]


def _judged(run: RunFolder, readable_every: int, must_be_read: bool) -> int:
    """How many of 2,000 inputs were paid, where one reply in so many can be read."""
    paid = 0

    async def work(question: Question) -> Made[Response]:
        nonlocal paid
        paid += 1
        could_be_read = readable_every > 0 and paid % readable_every == 0
        await asyncio.sleep(0)
        note_reading("judge", "Sure, happy to help.", could_be_read)
        return Made([Response(question_id=question.id, model="m", text="a", finish="stop", decoding=(), call="c")])

    job, questions = Job(run, TaxonomyConfig(), 1, ModelShop(run.ledger), Screen(quiet=True), 8), _questions(2000)
    try:
        asyncio.run(run_rows(job, PLAN, questions, len(questions), work, must_be_read=must_be_read))
    except GateError as error:
        assert "100 replies in a row could not be read" in error.what and "Sure, happy to help." in error.what
        assert error.where == "responses, asking judge"
    return paid


def test_an_unreadable_judge_stops_after_a_hundred(run: RunFolder) -> None:
    assert 100 <= _judged(run, readable_every=0, must_be_read=True) <= 108


def test_one_that_can_be_read_now_and_then_goes_on(run: RunFolder) -> None:
    assert _judged(run, readable_every=50, must_be_read=True) == 2000


def test_whoever_wants_all_verdicts_however_few_can_be_read_gets_them(run: RunFolder) -> None:
    assert _judged(run, readable_every=0, must_be_read=False) == 2000


def _verdict(response: str, label: str) -> Verdict:
    return Verdict(
        response_id=response,
        question_id="q",
        model="m",
        label=label,  # type: ignore[arg-type]
        severity=None,
        hazards=(),
        refused=False,
        prompt_label=None,
        guard="g",
        raw="",
    )


@pytest.mark.parametrize(
    ("labels", "skipped"), [(("unsafe", "unsafe"), True), (("unsafe", "safe"), False), (("safe", "safe"), False)]
)
def test_pairs_of_two_unsafe_answers_are_known_before_anything_is_asked(labels: tuple[str, str], skipped: bool) -> None:
    pair = Pair(question_id="q", first="a", second="b", first_tier=1, second_tier=5, strategy="random")
    verdicts = [_verdict("a", labels[0]), _verdict("b", labels[1]), _verdict("c", "safe")]
    assert both_unsafe(pair, verdicts) is skipped


def test_they_are_judged_only_where_something_comes_of_them() -> None:
    def judged(**options: str) -> bool | None:
        given = {name.replace("__", "."): value for name, value in options.items()}
        return read_config({}, given, where="here").preferences.judge_both_unsafe

    assert judged() is False and judged(preferences__repair="swap") is False
    assert judged(preferences__repair="safest") is True
    assert judged(dataset__drop_unsafe_chosen="false") is True
    assert judged(preferences__judge_both_unsafe="true") is True

"""A guard or judge in whose replies nothing can be read is not paid to the end; nor are pairs that teach nothing."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spavl.data.preferences.run import both_unsafe
from spavl.data.taxonomy.config import TaxonomyConfig
from spavl.errors import GateError
from spavl.judges.chat import ChatJudge
from spavl.judges.guards.published import LlamaGuard
from spavl.judges.types import JudgeInput
from spavl.models.call_outcomes import note_reading
from spavl.models.factory import ModelFactory
from spavl.models.types import ChatModel, Reply
from spavl.pipeline.settings import read_config
from spavl.records import Pair, Question, Response, Verdict
from spavl.stages.context import RowResult, StageContext
from spavl.stages.runner import run_rows
from spavl.stages.spec import StageSpec
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.records import filled
from tests.support.servers import Body, ChatServer, completion

SPEC = StageSpec("responses", reads=(), writes=Response, does="asks")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "run") as folder:
        yield folder


def _judged(run: RunFolder, readable_every: int, must_be_read: bool) -> int:
    """How many of 2,000 inputs were paid, where one reply in so many can be read."""
    paid = 0

    async def work(question: Question) -> RowResult[Response]:
        nonlocal paid
        paid += 1
        could_be_read = readable_every > 0 and paid % readable_every == 0
        await asyncio.sleep(0)
        note_reading("judge", Reply("Sure, happy to help.", "stop"), could_be_read)
        return RowResult([Response(question_id=question.id, model="m", text="a", finish="stop", decoding=(), call="c")])

    job, questions = (
        StageContext(run, TaxonomyConfig(), 1, ModelFactory(run.ledger), Screen(quiet=True), 8),
        [filled(Question, text=str(number)) for number in range(2000)],
    )
    try:
        asyncio.run(run_rows(job, SPEC, questions, len(questions), work, must_be_read=must_be_read))
    except GateError as error:
        assert "100 replies in a row could not be read" in error.what and "Sure, happy to help." in error.what
        assert error.where == "responses, asking judge"
    return paid


def test_an_unreadable_judge_stops_after_a_hundred(run: RunFolder) -> None:
    assert 100 <= _judged(run, readable_every=0, must_be_read=True) <= 108


def test_one_that_can_be_read_now_and_then_goes_on(run: RunFolder) -> None:
    assert _judged(run, readable_every=50, must_be_read=True) == 2000


def _asked(run: RunFolder, answer: Callable[[Body], web.Response], ask: Callable[[ChatModel, str], Any]) -> str:
    """Why a stage stopped that asks a server about 150 inputs; nothing if it did not."""

    async def judge(url: str) -> None:
        factory = ModelFactory(run.ledger)
        model = factory.open(f"openai/judge@{url}", "preferences")

        async def work(question: Question) -> RowResult[Response]:
            await ask(model, question.text)
            return RowResult(
                [Response(question_id=question.id, model="m", text="a", finish="stop", decoding=(), call="c")]
            )

        try:
            job = StageContext(run, TaxonomyConfig(), 1, factory, Screen(quiet=True), 8)
            await run_rows(
                job, SPEC, [filled(Question, text=str(number)) for number in range(150)], 150, work, must_be_read=True
            )
        finally:
            await factory.close()

    with ChatServer(answer) as server:
        try:
            asyncio.run(judge(server.url))
        except GateError as error:
            return error.what
    return ""


def _vote(model: ChatModel, text: str) -> Any:
    return ChatJudge(model).vote(JudgeInput(None, text, None, False), "one", "two")


def _guard(model: ChatModel, text: str) -> Any:
    return LlamaGuard(model, True).judge(JudgeInput(None, text, None, False), "an answer")


@pytest.mark.parametrize("ask", [_vote, _guard])
def test_a_judge_that_is_always_cut_off_in_its_thoughts_stops_too(run: RunFolder, ask: Any) -> None:
    def endless(body: Body) -> web.Response:
        message = {"role": "assistant", "content": None, "reasoning": "hmm " * 9}
        return completion(None, "length", {"prompt_tokens": 9, "completion_tokens": 9}, message)

    stopped = _asked(run, endless, ask)
    assert "100 replies in a row could not be read" in stopped and "thoughts that were cut off: hmm hmm" in stopped


@pytest.mark.parametrize("ask", [_vote, _guard])
def test_a_content_filter_does_not_stop_as_if_nothing_could_be_read(run: RunFolder, ask: Any) -> None:
    assert _asked(run, lambda body: completion("", "content_filter"), ask) == ""
    assert run.count("responses", Response) == 150


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

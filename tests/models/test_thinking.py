"""Models that think before they answer, as writer, responder, guard, judge and tested model.

Their thoughts are kept apart from their answers, and nothing is unreadable because of them alone.
"""

import asyncio
import json
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from spavl.config import options, write_config
from spavl.errors import ConfigError, ProviderError
from spavl.evaluation.config import EvaluationConfig, resolve_evaluation_config
from spavl.evaluation.records import Answer
from spavl.judges.chat import ChatGuard, ChatJudge
from spavl.judges.guards.criteria import CriterionGuard
from spavl.judges.guards.published import LlamaGuard
from spavl.judges.refusal_judge import ChatRefusalJudge
from spavl.judges.refusal_regex import seems_refused
from spavl.judges.types import JudgeInput
from spavl.models.factory import ModelFactory
from spavl.models.model_settings import ModelSettings
from spavl.models.types import ChatModel, Reply, Request, RequestRejected, ask_about
from spavl.models.wrappers.thinking import ROOM
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.settings import read_config
from spavl.records import Question, Response, Sample, Verdict
from spavl.store import Ledger, RunFolder
from spavl.text.final_answer import part_thoughts
from tests.pipeline.test_cost_estimate import answer as said_in_the_pipeline
from tests.pipeline.test_cost_estimate import estimated, ledgers, small_pipeline, walk
from tests.support.evaluations import SAFE, evaluate, is_judging, write_spa_vl
from tests.support.servers import Body, ChatServer, body_hash, fault
from tests.support.thinking_servers import PONDERED, STYLES, TRACE, thinks

CASE = JudgeInput(None, "What is this?", None, False)
VOTE = "harm_a: 0\nharm_b: 0\nhelp_a: 2\nhelp_b: 1\nharmless: tie\nhelpful: A\noverall: A"
SAYS = {
    "refuses: yes | no": SAFE,
    "verdict: safe": SAFE,
    "question: harmless": "question: harmless",
    "harm_a": VOTE,
    "class: full": "class: full_compliance",
}


def judge_of_all(body: Body) -> str:
    """Says in each form what it is asked for; without one, as a published guard."""
    text = json.dumps(body["messages"])
    if "criterion" in body["model"]:
        return "verdict: safe\nrefuses: no"
    return next((said for form, said in SAYS.items() if form in text), "safe")


def plain(body: Body) -> str:
    if body["messages"][-1]["content"] == "Answer with one word: yes.":
        return "yes"
    text: str = json.loads(said_in_the_pipeline(body).body)["choices"][0]["message"]["content"]  # type: ignore[arg-type]
    return text


def endless(answer: Callable[[Body], str], style: str) -> Any:
    return thinks(answer, STYLES[style], tokens=3 * ROOM)


def in_factory(run: RunFolder, work: Callable[[ModelFactory], Any], **means: Any) -> Any:
    async def main() -> Any:
        factory = ModelFactory(run.ledger, **means)
        try:
            return await work(factory)
        finally:
            await factory.close()

    return asyncio.run(main())


def ask(run: RunFolder, uri: str, *requests: Request, **means: Any) -> list[Reply]:
    async def work(factory: ModelFactory) -> list[Reply]:
        return list(await asyncio.gather(*map(factory.open(uri, "test").ask, requests)))

    replies: list[Reply] = in_factory(run, work, **means)
    return replies


async def one_by_one(model: ChatModel, number: int = 9) -> list[Reply]:
    return [await model.ask(each) for each in questions(number)]


def questions(number: int, max_tokens: int = 64) -> list[Request]:
    return [ask_about(None, f"Question {n}?", max_tokens=max_tokens) for n in range(number)]


# --- thoughts and answers in a text

MARKED = [
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel>thought", "<channel|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]


@pytest.mark.parametrize(("begin", "end"), MARKED)
def test_thoughts_are_told_from_an_answer_by_any_marks(begin: str, end: str) -> None:
    refusal = "I'm sorry, but I can't help with that."
    for text in (f"{begin}\nA? Sure!\n{end}\n\n{refusal}", f"A? Sure!\n{end}\n\n{refusal}"):
        parted = part_thoughts(text)
        assert (parted.thoughts, parted.answer) == ("A? Sure!", refusal)
        assert parted.is_begun == (not text.startswith(begin))
        assert seems_refused(text) and seems_refused(parted.answer)
    assert part_thoughts(f"{begin}\nA? Su", is_cut_off=True)[:2] == ("A? Su", "")
    assert part_thoughts(f"{begin}{end}\n\nYes.")[1] == "Yes."


@given(st.text(st.characters(exclude_characters="<[◁>", exclude_categories=["Cs"])))
def test_an_answer_without_thoughts_stays_to_the_letter(text: str) -> None:
    if "assistantfinal" not in text.lower():
        assert part_thoughts(text) == ("", text, False)


def test_what_stands_behind_a_quoted_mark_is_still_judged() -> None:
    text = "Here is how: <think> first you take"
    assert part_thoughts(text) == ("", text, False)
    assert part_thoughts(text, is_cut_off=True).answer == "Here is how:"


def test_a_template_that_begins_the_thoughts_leaves_all_of_a_cut_off_reply_a_thought() -> None:
    assert part_thoughts("the user wants", is_begun=True) == ("the user wants", "", False)
    assert part_thoughts("the user wants</think>Yes.", is_begun=True)[:2] == ("the user wants", "Yes.")


# --- who judges


@pytest.mark.parametrize("style", STYLES)
def test_a_judge_that_thinks_is_read_and_nothing_is_invalid(run: RunFolder, style: str) -> None:
    async def work(factory: ModelFactory) -> None:
        def opened(name: str) -> Any:
            return factory.open(f"openai/{name}@{server.url}", "test")

        guards = [ChatGuard(opened("a")), CriterionGuard("general", opened("criterion")), LlamaGuard(opened("b"), True)]
        words = [await guard.judge(CASE, f"Answer {n}.") for guard in guards for n in range(4)]
        assert {word.label for word in words} == {"safe"} and not any(TRACE in word.raw for word in words)
        assert {await guards[0].judge_question(CASE), await guards[2].judge_question(CASE)} == {"safe"}
        assert (await ChatRefusalJudge(opened("c")).classify(CASE, "Yes.")).compliance == "full_compliance"
        vote = await ChatJudge(opened("d")).vote(CASE, "one", "two")
        assert vote is not None and vote.overall == "first"

    with ChatServer(thinks(judge_of_all, STYLES[style])) as server:
        in_factory(run, work)
    assert all((TRACE in call.reasoning) == (style != "hidden") for call in run.ledger.calls())
    assert all(call.reasoning_tokens >= 700 for call in run.ledger.calls()) or style in ("tags", "no first tag")


@pytest.mark.parametrize("style", ["reasoning", "tags", "no first tag"])
def test_thoughts_that_do_not_end_are_invalid_and_no_plea_is_made(run: RunFolder, style: str) -> None:
    async def work(factory: ModelFactory) -> None:
        model = factory.open(f"openai/guard@{server.url}", "test")
        # What one full reply shows of its template holds for those that are cut off.
        await model.ask(ask_about(None, "short"))
        words = [
            await guard.judge(CASE, f"Answer {n}.")
            for guard in (ChatGuard(model), LlamaGuard(model, True))
            for n in range(3)
        ]
        assert [word.label for word in words] == ["invalid"] * 6
        assert await ChatJudge(model).vote(CASE, "one", "two") is None

    def moody(body: Body) -> Any:
        short = body["messages"][-1]["content"] == "short"
        return thinks(judge_of_all, STYLES[style], tokens=20 if short else 3 * ROOM)(body)

    with ChatServer(moody) as server:
        in_factory(run, work)
    assert sum(server.seen.values()) <= 1 + 7 + 1, "one with room each, and one without before it was known"
    cut_off = [call for call in run.ledger.calls() if call.status == "length"]
    assert len(cut_off) == 7 and not any(call.text for call in cut_off) and all(call.reasoning for call in cut_off)


# --- room and its price


def test_who_does_not_think_is_asked_as_before_and_costs_no_more(run: RunFolder) -> None:
    with ChatServer(judge_of_all) as server:
        ask(run, f"openai/plain@{server.url}", *questions(9))
    assert sum(server.seen.values()) == 9
    assert {body["max_tokens"] for body in server.bodies.values()} == {64}


def test_one_whose_replies_are_all_cut_off_is_asked_for_a_word_three_times_and_it_is_said(run: RunFolder) -> None:
    def long(body: Body) -> web.Response:
        return STYLES["tags"]("word " * 10**4, [], body["max_tokens"])

    said: list[str] = []
    with ChatServer(long) as server:
        replies = ask(run, f"openai/plain@{server.url}", *questions(9), *questions(9, 65), say=said.append)
    assert sum(body["max_tokens"] > 65 for body in server.bodies.values()) == 1
    assert sum(server.seen.values()) == 18 + 3
    assert all(reply.finish == "length" and len(reply.text.split()) in (64, 65) for reply in replies)
    assert [line for line in said if "whether they are answers or thoughts" in line] == said and len(said) == 1


@pytest.mark.parametrize("thought", [True, False])
def test_a_first_reply_longer_than_all_room_shows_by_no_means_that_a_model_does_not_think(
    run: RunFolder, thought: bool
) -> None:
    def long_at_first(body: Body) -> web.Response:
        first = body["messages"][-1]["content"] == "Question 0?"
        if thought:
            return thinks(judge_of_all, STYLES["no first tag"], tokens=3 * ROOM if first else 700)(body)
        return STYLES["no first tag"]("word " * (10**4 if first else 200), [], body["max_tokens"])

    with ChatServer(long_at_first) as server:
        replies = ask(run, f"openai/neutral@{server.url}", *questions(20))
    if thought:
        assert not any(TRACE in reply.text for reply in replies)
        assert [reply.text for reply in replies] == ["", *["safe"] * 19]
    else:
        assert {len(reply.text.split()) for reply in replies} == {64} and sum(server.seen.values()) == 20 + 1


def test_all_that_was_used_is_counted_and_priced(run: RunFolder) -> None:
    with ChatServer(thinks(judge_of_all, STYLES["reasoning"])) as server:
        uri = f"openai/guard@{server.url}"
        (reply,) = ask(run, uri, *questions(1), prices={"guard": (0.0, 1e6)})
        assert sum(server.seen.values()) == 2
    # 64 in vain, then 700 of thoughts and one of the answer.
    assert (reply.tokens_out, reply.reasoning_tokens, reply.usd) == (64 + 701, 64 + 700, 64 + 701)


def test_tokens_of_thoughts_that_a_server_counts_beside_are_paid_too(run: RunFolder) -> None:
    def beside(body: Body) -> web.Response:
        used = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 915}
        return web.json_response(
            {"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}], "usage": used}
        )

    with ChatServer(beside) as server:
        (reply,) = ask(run, f"openai/gemini@{server.url}", *questions(1))
    assert reply.tokens_out == 905


def test_a_small_context_gets_the_room_that_it_has(run: RunFolder) -> None:
    with ChatServer(thinks(judge_of_all, STYLES["reasoning"], tokens=300, context=900)) as server:
        replies = ask(run, f"openai/guard@{server.url}", *questions(5))
    assert {reply.text for reply in replies} == {"safe"}


@pytest.mark.parametrize(
    ("refusal", "least", "is_lost"),
    [
        ((413, "<html><title>413 Request Entity Too Large</title></html>"), 0, True),
        ((400, "This model's maximum context length is 4096 tokens, your request has 5000 input tokens"), 0, True),
        # One that fits into the context without room, and one that has a quarter of it.
        ((400, "This model's maximum context length is 4096 tokens"), 64, False),
        ((400, "max_tokens is too large: 4160"), 64 + ROOM // 4, False),
    ],
)
def test_one_request_that_is_too_long_takes_no_room_from_the_others(
    run: RunFolder, refusal: tuple[int, str], least: int, is_lost: bool
) -> None:
    sent: list[int] = []

    def answer(body: Body) -> web.Response:
        if body["messages"][-1]["content"] == "long":
            sent.append(body["max_tokens"])
            if body["max_tokens"] > least:
                return fault(*refusal)
        return thinks(judge_of_all, STYLES["reasoning"], tokens=2000)(body)

    async def work(factory: ModelFactory) -> list[Reply]:
        model = factory.open(f"openai/guard-thinking@{server.url}", "test")
        long = asyncio.gather(model.ask(ask_about(None, "long", max_tokens=64)), return_exceptions=True)
        assert isinstance((await long)[0], RequestRejected) == is_lost
        return await one_by_one(model, 3)

    with ChatServer(answer) as server:
        assert [reply.text for reply in in_factory(run, work)] == ["safe"] * 3
    if refusal[0] == 413:
        assert len(sent) == 1


def test_a_context_without_room_is_found_out_once(run: RunFolder) -> None:
    with ChatServer(thinks(judge_of_all, STYLES["reasoning"], tokens=30, context=100)) as server:
        replies = in_factory(
            run, lambda factory: one_by_one(factory.open(f"openai/guard-thinking@{server.url}", "test"))
        )
    assert {reply.text for reply in replies} == {"safe"}
    # Three of them with 4096, 2048, ... 256 tokens of room and then none.
    assert sum(server.seen.values()) == 3 * 6 + 6


def test_parts_of_a_content_are_told_apart(run: RunFolder) -> None:
    def mistral(body: Body) -> web.Response:
        content = [
            {"type": "thinking", "thinking": [{"type": "text", "text": PONDERED}]},
            {"type": "text", "text": "Yes."},
        ]
        return web.json_response({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})

    with ChatServer(mistral) as server:
        (reply,) = ask(run, f"openai/magistral@{server.url}", *questions(1))
    assert (reply.text, reply.reasoning) == ("Yes.", PONDERED.strip())


# --- a run and an evaluation


@pytest.mark.parametrize("style", ["reasoning", pytest.param("no first tag", marks=pytest.mark.slow)])
def test_a_run_by_models_that_think_loses_nothing_and_no_answer_holds_a_thought(tmp_path: Path, style: str) -> None:
    asked = ("questions", "responses", "verdicts")
    with ChatServer(thinks(plain, STYLES[style])) as server:
        config = small_pipeline(
            tmp_path, server.url, sourcing={"per_leaf": 2}, selection={"per_leaf": 1, "test_share": 0}
        )
        walk(config, out := tmp_path / "run")
        # The dry run knows from then on who thinks: the most that can come is no less than what came.
        again = config.model_copy(update={"seed": 77})
        lines = estimated(again, out).lines
        most = {stage: sum(line.most.tokens_out for line in lines if line.stage == stage) for stage in asked}
        with RunFolder(out, look_only=True) as run:
            questions_asked, responses = run.count("questions", Question), list(run.read("responses", Response))
            verdicts, samples = list(run.read("verdicts", Verdict)), list(run.read("dataset", Sample))
            assert not run.manifest("questions").rejects and not run.manifest("responses").rejects  # type: ignore[union-attr]
    assert len(responses) == 3 * questions_asked > 0 and all(TRACE in each.reasoning for each in responses)
    assert not any(verdict.label == "invalid" for verdict in verdicts)
    assert samples and not any(
        TRACE in text for each in samples for text in (each.question, each.chosen, each.rejected)
    )
    assert not any(TRACE in response.text for response in responses)
    truth = ledgers(out)
    assert {stage: truth[stage]["tokens_out"] for stage in asked if truth[stage]["tokens_out"] > most[stage]} == {}


def test_responders_whose_thoughts_do_not_end_give_no_answer(tmp_path: Path) -> None:
    def moody(body: Body) -> Any:
        return endless(plain, "reasoning")(body) if body["model"] == "two" else plain(body)

    with ChatServer(moody) as server:
        config = small_pipeline(
            tmp_path, server.url, sourcing={"per_leaf": 2}, selection={"per_leaf": 1, "test_share": 0}
        )
        walk(config, out := tmp_path / "run", until="responses")
        with RunFolder(out, look_only=True) as run:
            manifest = run.manifest("responses")
            assert manifest is not None and manifest.rejects == {"thoughts_cut_off": run.count("questions", Question)}
            assert not any("two" in response.model for response in run.read("responses", Response))


@pytest.mark.parametrize("style", ["reasoning_content", "tags"])
def test_an_evaluation_judges_answers_and_not_thoughts(tmp_path: Path, style: str) -> None:
    shown = list[str]()

    def answer(body: Body) -> str:
        if is_judging(body):
            shown.append(json.dumps(body["messages"]))
            return SAFE
        return f"an answer {body_hash(body)}"

    data = write_spa_vl(tmp_path / "data", 5, 5)
    with ChatServer(thinks(answer, STYLES[style])) as server:
        results = evaluate(
            tmp_path / "exam",
            suite=("harmeval", "helpeval"),
            data=(str(data),),
            models=(f"tested=openai/tested@{server.url}",),
            guard=(f"openai/guard@{server.url}",),
        )
    assert not results.withheld and not any(TRACE in each for each in shown)
    with RunFolder(tmp_path / "exam", look_only=True) as run:
        answers = [each for each in run.read("answers", Answer) if each.model == "tested"]
    assert len(answers) == 10 and all(TRACE in each.reasoning and TRACE not in each.text for each in answers)


# --- settings of single models


def test_settings_go_with_every_request_and_change_its_key_and_no_other(run: RunFolder) -> None:
    own = ModelSettings(max_tokens=900, reasoning_effort="low", chat_template_kwargs={"enable_thinking": False})
    extra = ModelSettings(extra_body={"thinking_token_budget": 128, "temperature": 0.6})
    with ChatServer(judge_of_all) as server:
        table = {f"openai/one@{server.url}": own, "openai/two": extra}
        for name in ("one", "two", "three"):
            ask(run, f"openai/{name}@{server.url}", *questions(1), settings=table)
            assert (run.ledger.get(questions(1)[0].key(f"openai/{name}")) is None) == (name != "three")
        ask(run, f"openai/one@{server.url}", *questions(1), settings=table)
    one, two, three = sorted(server.bodies.values(), key=lambda body: ["one", "two", "three"].index(body["model"]))
    assert (one["max_tokens"], one["reasoning_effort"]) == (900, "low")
    assert one["chat_template_kwargs"] == {"enable_thinking": False}
    assert (two["max_tokens"], two["thinking_token_budget"], two["temperature"]) == (64, 128, 0.6)
    assert not {"reasoning_effort", "chat_template_kwargs", "thinking_token_budget"} & three.keys()
    assert sum(server.seen.values()) == 3


def test_a_request_without_settings_keeps_its_key() -> None:
    assert questions(1)[0].key("openai/one") == "5b5ea4accd194497d562f7998a15c12899b4777bc8df30fe75d1dcb69dfbe78f"


def test_a_limit_of_its_own_is_kept_to(run: RunFolder) -> None:
    with ChatServer(thinks(judge_of_all, STYLES["reasoning"])) as server:
        table = {"openai/guard": ModelSettings(max_tokens=100)}
        (reply,) = ask(run, f"openai/guard@{server.url}", *questions(1), settings=table)
    assert sum(server.seen.values()) == 1 and reply.tokens_out == 100
    assert (reply.text, reply.finish) == ("", "length") and TRACE in reply.reasoning


def test_a_pool_says_how_each_of_its_responders_is_asked(tmp_path: Path) -> None:
    def thinking(body: Body) -> Any:
        return thinks(plain, STYLES["reasoning"])(body) if body["model"] != "writer" else plain(body)

    with ChatServer(thinking) as server:
        pool = tmp_path / "pool.toml"
        pool.write_text(
            f'name = "mine"\n[[responder]]\nname = "off"\nmodel = "openai/hybrid@{server.url}"\n'
            "chat_template_kwargs = { enable_thinking = false }\n"
            f'[[responder]]\nname = "on"\nmodel = "openai/hybrid@{server.url}"\nmax_tokens = 2000\n'
        )
        config = small_pipeline(
            tmp_path,
            server.url,
            sourcing={"per_leaf": 2},
            selection={"per_leaf": 1, "test_share": 0},
            responses={"pool": str(pool)},
            model_settings={"openai/hybrid": {"reasoning_effort": "low", "max_tokens": 600}},
        )
        walk(config, out := tmp_path / "run", until="responses")
        with RunFolder(out, look_only=True) as run:
            found = list(run.read("responses", Response))
        before = sum(server.seen.values())
        changed = config.model_copy(update={"model_settings": {}})
        assert sum(line.likely.calls for line in estimated(changed, out, "responses").lines) == len(found)
        assert sum(server.seen.values()) == before
    off, on = ([each for each in found if each.model == name] for name in ("off", "on"))
    assert not any(each.reasoning for each in off) and all(each.reasoning for each in on)
    assert {each.decoding[-2:] for each in off} == {
        ('chat_template_kwargs={"enable_thinking":false}', "reasoning_effort=low"),
    }
    assert all("max_tokens=2000" in each.decoding for each in on) and all("max_tokens=600" in e.decoding for e in off)


def test_one_table_for_runs_and_evaluations_and_a_slip_in_a_name_is_told(tmp_path: Path) -> None:
    table = {"model_settings": {"openai/writer": {"max_tokens": 5000, "extra_body": {"top_k": 20}}}}
    config = small_pipeline(tmp_path, "http://127.0.0.1:9/v1", **table)
    assert read_config(tomllib.loads(write_config(config)), {}, where="test") == config
    assert "model_settings" in {option.name for option in options(BuildConfig)} & {
        option.name for option in options(EvaluationConfig)
    }
    slip = {"openai/writter": ModelSettings(max_tokens=1)}
    with pytest.raises(ConfigError, match="no stage asks a model 'openai/writter'"):
        estimated(config.model_copy(update={"model_settings": slip}), tmp_path / "run")
    with pytest.raises(ConfigError, match="no stage asks"):
        resolve_evaluation_config(
            EvaluationConfig(models=("openai/tested@http://127.0.0.1:9/v1",), model_settings=slip)
        )
    with pytest.raises(ConfigError, match="messages cannot be given"):
        read_config({"model_settings": {"openai/a": {"extra_body": {"messages": []}}}}, {}, where="test")
    with pytest.raises(ConfigError, match="known here: chat_template_kwargs"):
        read_config({"model_settings": {"openai/a": {"effort": "low"}}}, {}, where="test")


def test_a_setting_that_its_server_does_not_take_is_told_and_not_left_out(run: RunFolder) -> None:
    def strict(body: Body) -> Any:
        known = "reasoning_effort" not in body
        return "Yes." if known else fault(400, "Unrecognized request argument supplied: reasoning_effort")

    with ChatServer(strict) as server, pytest.raises(ProviderError, match="does not take reasoning_effort"):
        table = {"openai/old": ModelSettings(reasoning_effort="low")}
        ask(run, f"openai/old@{server.url}", *questions(1), settings=table)


@pytest.mark.parametrize(
    ("taken", "other"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_the_name_of_the_limit_is_learnt_from_what_the_server_says(run: RunFolder, taken: str, other: str) -> None:
    def picky(body: Body) -> Any:
        if other in body:
            return fault(
                400, f"Unsupported parameter: '{other}' is not supported with this model. Use '{taken}' instead."
            )
        return "Yes." if body.get(taken) == 64 else fault(400, "how long?")

    with ChatServer(picky) as server:
        replies = ask(run, f"openai/new@{server.url}", *questions(1))
        replies += ask(run, f"openai/new@{server.url}", *questions(3))
    assert {reply.text for reply in replies} == {"Yes."} and not any(reply.without for reply in replies)


def test_a_server_that_takes_neither_limit_is_a_reject_and_no_loop(run: RunFolder) -> None:
    def never(body: Body) -> Any:
        sent = next(name for name in ("max_tokens", "max_completion_tokens") if name in body)
        return fault(400, f"unknown parameter {sent}")

    with ChatServer(never) as server, pytest.raises(Exception, match="unknown parameter"):
        ask(run, f"openai/odd@{server.url}", *questions(1))
    assert sum(server.seen.values()) == 2


# --- ledgers and tables of before


def test_a_ledger_of_before_is_read_and_its_thoughts_come_off(tmp_path: Path) -> None:
    request = questions(1)[0]
    name = "openai/old@http://127.0.0.1:9/v1"
    columns = "key, model, request, status, text, detail, tokens_in, tokens_out, usd, seconds, at, stage"
    with sqlite3.connect(tmp_path / "calls.sqlite") as database:
        database.execute(f"CREATE TABLE calls ({columns}, times INTEGER DEFAULT 1)")
        row = (
            request.key(name),
            name,
            request.canonical_text(),
            "ok",
            f"<think>{PONDERED}</think>Yes.",
            "",
            1,
            2,
            0.0,
            0.0,
            0.0,
            "t",
        )
        database.execute(f"INSERT INTO calls ({columns}) VALUES ({', '.join('?' * 12)})", row)
    looking = Ledger(tmp_path, look_only=True)
    assert next(looking.calls()).reasoning == ""
    looking.close()
    ledger = Ledger(tmp_path)

    async def reask() -> Reply:
        factory = ModelFactory(ledger)
        reply = await factory.open(name, "t").ask(request)
        await factory.close()
        return reply

    reply = asyncio.run(reask())
    ledger.close()
    assert (reply.text, reply.reasoning) == ("Yes.", PONDERED.strip())


def test_a_row_without_thoughts_has_the_id_that_it_had_before() -> None:
    fields = {"question_id": "q", "model": "m", "text": "t", "finish": "stop", "decoding": (), "call": "c"}
    bare = Response(**fields)  # type: ignore[arg-type]
    assert bare.id == "723d4d6df81aa92f46b6efd710c0f7cb"
    assert Response(**fields, reasoning="hm").id != bare.id  # type: ignore[arg-type]
    assert "reasoning" in Answer.__dataclass_fields__

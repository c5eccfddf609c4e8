"""Several answers of one responder to a question: each is a call and a row of its own, and equal ones are no pair."""

import functools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.config import settings_to_hash
from spavl.data.pairs.run import draw_pairs
from spavl.data.pairs.strategies import STRATEGIES, Strategy, TieredAnswer, bags_of, check_strategies
from spavl.data.responses.config import ResponsesConfig
from spavl.data.responses.run import responders_of
from spavl.errors import ConfigError, ProviderError
from spavl.models.wrappers.stack import Retrying
from spavl.records import Label, Reject
from spavl.store import RunFolder
from tests.data.responses.test_responses import QUESTIONS, asked
from tests.support.servers import Answer, Body, ChatServer, completion, echo, fault

_NAMES = ("openai/a", "openai/b")


def settings(server: ChatServer, samples: int, names: tuple[str, ...] = _NAMES) -> ResponsesConfig:
    return ResponsesConfig(models=tuple(f"{name}@{server.url}" for name in names), samples=samples)


def until_called(times: int, answer: Answer) -> Answer:
    """The server's key is refused after so many calls."""
    calls = iter(range(times))
    return lambda body: answer(body) if next(calls, None) is not None else fault(402)


# --- the stage, with a real server


def test_every_sample_is_a_row_of_its_own_in_the_order_of_the_questions(run: RunFolder) -> None:
    with ChatServer(echo) as server:
        rows = asked(run, settings(server, 3))
        assert set(server.answered.values()) == {1}
        assert {body["seed"] for body in server.bodies.values()} == {3, 4, 5}
    questions = list(dict.fromkeys(row.question_id for row in rows))
    numbers = [next((one for one in row.decoding if one.startswith("sample=")), "sample=0") for row in rows]
    expected = [(each, f"sample={n}", name) for each in questions for n in range(3) for name in _NAMES]
    assert [(row.question_id, n, row.model) for row, n in zip(rows, numbers, strict=True)] == expected
    assert len({row.id for row in rows}) == len({row.call for row in rows}) == len(rows) == QUESTIONS * 3 * 2


def test_answers_with_equal_texts_are_rows_of_their_own(run: RunFolder) -> None:
    with ChatServer(lambda _: "the same") as server:
        rows = asked(run, settings(server, 4, _NAMES[:1]))
    assert len({row.id for row in rows}) == len(rows) == 4 * QUESTIONS


def test_more_samples_keep_the_earlier_answers_and_ask_only_for_the_new_ones(run: RunFolder) -> None:
    with ChatServer(echo) as server:
        one = asked(run, settings(server, 1))
        assert not any(setting.startswith("sample=") for row in one for setting in row.decoding)
        more = asked(run, settings(server, 3))
        assert set(server.answered.values()) == {1}
        assert server.answered.total() == len(more) == 3 * len(one)
    first = [row for row in more if not any(setting.startswith("sample=") for setting in row.decoding)]
    assert first == one


def test_a_stage_that_stopped_in_between_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "broken") as broken, RunFolder(tmp_path / "unbroken") as unbroken:
        with ChatServer(until_called(50, echo)) as server, pytest.raises(ProviderError):
            asked(broken, settings(server, 3))
        done = broken.ledger.totals()["calls"]
        assert 0 < done <= 50
        with ChatServer(echo) as server:
            rows = asked(broken, settings(server, 3))
            assert server.answered.total() == 6 * QUESTIONS - done, "a finished call was made again, or one was lost"
            assert rows == asked(unbroken, settings(server, 3))


def test_a_sample_without_an_answer_is_a_reject_that_says_which(run: RunFolder) -> None:
    def silent(body: Body) -> object:
        return completion("") if body["seed"] == 4 else echo(body)

    with ChatServer(silent) as server:  # type: ignore[arg-type]
        rows = asked(run, settings(server, 2))
    rejects = list(run.read("responses", Reject))
    assert len(rows) == len(rejects) == 2 * QUESTIONS
    assert {reject.detail for reject in rejects} == {f"{name}, sample 1" for name in _NAMES}
    assert {reject.parent_id for reject in rejects} == {row.question_id for row in rows}


def test_a_sample_that_fails_is_tried_again_alone(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spavl.models.factory.Retrying", functools.partial(Retrying, tries=1))
    failed: Counter[str] = Counter()

    def once(body: Body) -> object:
        if body["seed"] == 4 and not failed[body["messages"][-1]["content"][-1]["text"]]:
            failed[body["messages"][-1]["content"][-1]["text"]] += 1
            return fault(500)
        return echo(body)

    with ChatServer(once) as server:  # type: ignore[arg-type]
        rows = asked(run, settings(server, 2, _NAMES[:1]))
        assert len(rows) == 2 * QUESTIONS and set(server.answered.values()) == {1}


# --- what is refused


def test_samples_that_would_be_identical_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="temperature 0 are identical") as told:
        responders_of(ResponsesConfig(samples=2, temperature=0.0))
    assert told.value.where == "responses.samples" and "--responses.temperature" in told.value.then
    responders_of(ResponsesConfig(samples=1, temperature=0.0))
    pool = tmp_path / "pool.toml"
    one = 'name = "p"\n[[responder]]\nname = "one"\nmodel = "openai/m@http://127.0.0.1:1/v1"\n'
    pool.write_text(f"{one}temperature = 0")
    with pytest.raises(ConfigError, match="one has no other temperature") as told:
        responders_of(ResponsesConfig(pool=str(pool), samples=2))
    assert "in the pool" in told.value.then
    pool.write_text(f"{one}temperature = 0.5")
    assert len(responders_of(ResponsesConfig(pool=str(pool), samples=2, temperature=0.0))) == 1


@pytest.mark.parametrize("models", [("miniature/base",), ("miniature/base", "miniature/base")])
def test_one_responder_needs_several_samples(models: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="makes no pair") as told:
        responders_of(ResponsesConfig(models=models))
    assert "--responses.samples" in told.value.then
    assert [each.name for each in responders_of(ResponsesConfig(models=models, samples=2))] == ["miniature/base"]


@given(st.lists(st.sampled_from(tuple(STRATEGIES)), min_size=1), st.integers(1, 3))
def test_strategies_are_refused_that_pair_nothing_of_one_responder(names: list[Strategy], responders: int) -> None:
    """Refused are exactly those that pair nothing whatever the answers: one responder is on one tier."""
    tiers = range(1, 2 if responders == 1 else responders + 1)
    given_ = [
        TieredAnswer(f"{tier} {n}", str(tier), "safe", tier, frozenset({"safe", "relatively safe", "unsafe"}))
        for tier in tiers
        for n in range(2)
    ]
    if draw_pairs(given_, names, 1, "seed"):
        check_strategies(names, responders)
    else:
        with pytest.raises(ConfigError, match="there is one responder"):
            check_strategies(names, responders)


# --- pairs of samples


_LABELS: st.SearchStrategy[Label] = st.sampled_from(["safe", "unsafe"])
_TEXTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), _LABELS), max_size=10)


@given(
    st.lists(st.sampled_from(tuple(STRATEGIES)), min_size=1, max_size=3, unique=True),
    _TEXTS,
    st.integers(1, 4),
)
def test_equal_texts_are_no_pair_and_no_two_pairs_have_the_same_texts(
    names: list[Strategy], said: list[tuple[str, int, Label]], per_question: int
) -> None:
    given_ = [
        TieredAnswer(f"r{n}", f"m{tier}", label, tier, bags_of({"m": tier})["m"], text)
        for n, (text, tier, label) in enumerate(said)
    ]
    texts = [frozenset((one.text, other.text)) for _, (one, other) in draw_pairs(given_, names, per_question, "seed")]
    assert all(len(two) == 2 for two in texts)
    assert len(set(texts)) == len(texts)
    # Nothing is lost: any two texts that differ are paired if there is room for all.
    every = draw_pairs(given_, ["random"], 100, "seed")
    distinct = len({text for text, _, _ in said})
    assert len(every) == distinct * (distinct - 1) // 2


# --- runs made before there were samples


def test_one_sample_is_no_part_of_a_fingerprint(run: RunFolder) -> None:
    """A run that was made before `samples` existed is not made again."""
    assert "samples" not in settings_to_hash(ResponsesConfig())
    assert settings_to_hash(ResponsesConfig()) | {"samples": 2} == settings_to_hash(ResponsesConfig(samples=2))
    with ChatServer(echo) as server:
        asked(run, settings(server, 1))
        made = run.manifest("responses")
        assert made is not None and "samples" not in made.notes
        asked(run, settings(server, 2))
        again = run.manifest("responses")
    assert again is not None and again.notes["samples"] == 2 and again.fingerprint != made.fingerprint

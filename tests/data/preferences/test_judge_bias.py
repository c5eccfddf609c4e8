"""Judges that cannot be trusted are seen in the figures: the place, the length, the disagreement."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.data.preferences.config import PreferencesConfig
from spavl.data.preferences.judge_bias import JudgedPair, trust_in
from spavl.data.preferences.run import run as judge_the_pairs
from spavl.data.verdicts.config import VerdictsConfig
from spavl.data.verdicts.question_verdicts import run as label_the_questions
from spavl.data.verdicts.run import run as label_the_answers
from spavl.errors import GateError
from spavl.judges import chat
from spavl.judges.canaries.checks import OnFailure
from spavl.miniature.world import draw, png, scene
from spavl.models.factory import ModelFactory
from spavl.pipeline.report.page import render
from spavl.pipeline.report.run_summary import RunSummary
from spavl.pipeline.report.view_model import gather
from spavl.records import Image, Outcome, Pair, Preference, Question, Response, Verdict
from spavl.stages.context import StageContext
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.judges.test_canaries import reads_well
from tests.support.evaluations import CANARIES, said
from tests.support.records import filled
from tests.support.servers import Answer, Body, ChatServer

PAIRS = 80
GRADES = "harm_a: 0\nharm_b: 0\nhelp_a: 1\nhelp_b: 1\n"


def answers_shown(body: Body) -> tuple[str, str]:
    text = said(body)
    one, two = (text.partition(f"ANSWER {name}\n")[2].partition("\n#")[0] for name in "AB")
    return one, two


def choosing(choose: Callable[[str, str], str]) -> Answer:
    def answer(body: Body) -> str:
        choice = choose(*answers_shown(body))
        return f"{GRADES}harmless: {choice}\nhelpful: {choice}\noverall: {choice}"

    return answer


def longer(one: str, two: str) -> str:
    return "tie" if len(one) == len(two) else "A" if len(one) > len(two) else "B"


def better(one: str, two: str) -> str:
    """Goes by a mark that has nothing to do with length."""
    return "tie" if one[:1] == two[:1] else "A" if one[:1] > two[:1] else "B"


def begun(run: RunFolder, unsafe: Callable[[str], bool] = lambda _: False) -> None:
    """A run up to its pairs: answers of random lengths, all of which the guard found safe unless told otherwise."""
    rng = random.Random(5)
    images = [filled(Image, blob=run.blobs.put(png(draw(scene(0, n, 0, True)))), split="train") for n in range(PAIRS)]
    questions = [filled(Question, image_id=image.id, text=f"question {n}") for n, image in enumerate(images)]
    responses = [
        filled(
            Response, question_id=q.id, model=model, text=f"{rng.randrange(10)} {'very ' * rng.randrange(1, 40)}good"
        )
        for q in questions
        for model in ("one", "two")
    ]
    run.write_rows("selection", Image, images)
    run.write_rows("questions", Question, questions)
    run.write_rows("responses", Response, responses)
    verdicts = [
        filled(
            Verdict,
            response_id=r.id,
            question_id=r.question_id,
            model=r.model,
            label="unsafe" if unsafe(r.text) else "safe",
            severity=None,
        )
        for r in responses
    ]
    run.write_rows("verdicts", Verdict, verdicts)
    pairs = [
        filled(Pair, question_id=q.id, first=one.id, second=two.id)
        for q, one, two in zip(questions, responses[::2], responses[1::2], strict=True)
    ]
    run.write_rows("pairs", Pair, pairs)


def judged(run: RunFolder, settings: PreferencesConfig) -> dict[str, Any]:
    # Such judges would fail the canaries.
    settings = settings.model_copy(update={"canaries": "warn"})

    async def judge() -> dict[str, Any]:
        models = ModelFactory(run.ledger)
        try:
            return (await judge_the_pairs(StageContext(run, settings, 1, models, Screen(), 8))).notes
        finally:
            await models.close()

    return asyncio.run(judge())


def test_a_judge_that_always_says_a_yields_no_preference_and_is_called_out(run: RunFolder) -> None:
    begun(run)
    with ChatServer(choosing(lambda *_: "A")) as server:
        notes = judged(run, PreferencesConfig(judge=f"openai/judge@{server.url}"))
    assert all(row.chosen is None for row in run.read("preferences", Preference))
    assert notes["outcomes"] == {"inconsistent": PAIRS}
    assert notes["trust"]["consistent"]["value"] == 0
    assert notes["trust"]["first_shown"]["value"] == 1
    assert any("position bias" in warning for warning in notes["trust"]["warnings"])


@pytest.mark.parametrize("choose", [longer, lambda one, two: longer(two, one)], ids=["longer", "shorter"])
def test_a_judge_that_goes_by_length_is_consistent_and_called_out(
    run: RunFolder, choose: Callable[[str, str], str]
) -> None:
    begun(run)
    with ChatServer(choosing(choose)) as server:
        trust = judged(run, PreferencesConfig(judge=f"openai/judge@{server.url}"))["trust"]
    assert trust["consistent"]["value"] == 1, "no swap of the answers can show it"
    assert trust["longer_wins_equal_safety"]["value"] == (1 if choose is longer else 0)
    assert abs(trust["length_correlation"]["value"]) > 0.8
    assert any("length" in warning for warning in trust["warnings"])


def test_a_judge_that_goes_by_merit_is_not_called_out(run: RunFolder) -> None:
    begun(run)
    with ChatServer(choosing(better)) as server:
        trust = judged(run, PreferencesConfig(judge=f"openai/judge@{server.url}"))["trust"]
    assert trust["warnings"] == []
    assert trust["longer_wins"]["low"] < 0.5 < trust["longer_wins"]["high"]
    assert trust["first_shown"]["value"] == 0.5


def test_a_judge_that_goes_by_length_is_called_out_where_the_guard_knows_better(run: RunFolder) -> None:
    begun(run, unsafe=lambda text: text[0] < "5")
    with ChatServer(choosing(longer)) as server:
        trust = judged(run, PreferencesConfig(judge=f"openai/judge@{server.url}"))["trust"]
    assert (trust["safer_wins_if_longer"]["value"], trust["safer_wins_if_shorter"]["value"]) == (1, 0)
    assert any("the judge prefers" in warning for warning in trust["warnings"])
    begun(run, unsafe=lambda text: text[0] < "5")
    with ChatServer(choosing(better)) as server:
        trust = judged(run, PreferencesConfig(judge=f"openai/another@{server.url}"))["trust"]
    assert trust["swayed_by_length"]["value"] == 0 and trust["warnings"] == []


def drawn(rng: random.Random, pairs: int, pick: Callable[[int, int], float]) -> list[JudgedPair]:
    """Pairs of any length and safety; `pick` tells how likely the first answer wins."""
    found = []
    for number in range(pairs):
        longer_by, safer_by = rng.choice((-40, -3, 3, 40)), rng.choice((-1, 0, 0, 1))
        overall: Outcome = "win" if rng.random() < pick(longer_by, safer_by) else "loss"
        found.append(JudgedPair(overall, None, (), f"image {number // 3}", longer_by, safer_by))
    return found


@given(st.integers(0, 10**6), st.floats(0.6, 1), st.floats(0.2, 0.8))
# The same draws each time: of many honest judges an interval calls out one, and who searches for it finds it.
@settings(max_examples=30, derandomize=True)
def test_an_honest_judge_is_not_called_out_though_longer_answers_are_often_better(
    seed: int, right: float, longer_better: float
) -> None:
    """However often it errs: its errors do not depend on the length."""

    def pick(longer_by: int, safer_by: int) -> float:
        if safer_by:
            return right if safer_by > 0 else 1 - right
        return longer_better if longer_by > 0 else 1 - longer_better

    assert trust_in(drawn(random.Random(seed), 600, pick)).warnings() == []


@given(st.integers(0, 10**6), st.floats(0.4, 1), st.sampled_from((-1, 1)))
@settings(max_examples=30)
def test_a_judge_that_often_goes_by_length_is_called_out(seed: int, often: float, likes: int) -> None:
    """Also one that looks at the safety in most pairs, and one that dislikes length."""

    def pick(longer_by: int, safer_by: int) -> float:
        honest = 0.5 + 0.4 * safer_by
        return often * (longer_by * likes > 0) + (1 - often) * honest

    assert any("the judge prefers" in warning for warning in trust_in(drawn(random.Random(seed), 600, pick)).warnings())


def test_a_second_judge_is_measured_and_never_obeyed(run: RunFolder) -> None:
    begun(run)
    first, second = choosing(better), choosing(longer)
    with ChatServer(lambda body: (first if body["model"] == "first" else second)(body)) as server:
        alone = PreferencesConfig(judge=f"openai/first@{server.url}")
        judged(run, alone)
        chosen = [row.chosen for row in run.read("preferences", Preference)]
        notes = judged(run, alone.model_copy(update={"second_judge": f"openai/second@{server.url}"}))
        rows = list(run.read("preferences", Preference))
        assert [row.chosen for row in rows] == chosen
        assert {row.second_overall for row in rows} <= {"win", "loss", "tie"}
        assert abs(notes["agreement"]["kappa"]["value"]) < 0.3, "merit and length have nothing in common here"
        same = judged(run, alone.model_copy(update={"second_judge": alone.judge}))
    assert same["agreement"]["kappa"]["value"] == same["agreement"]["same"]["value"] == 1
    assert same["agreement"]["kappa"]["n"] == PAIRS


def test_saved_answers_are_judged_again_by_a_new_parser_without_a_call(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger keeps what was said; how it is read is no part of a call's name."""
    begun(run)
    always = "verdict: safe\nseverity: 0\nrefuses: no"

    def guarded(body: Body) -> str:
        return "question: harmful" if "severity" not in str(body) else always

    async def label(settings: VerdictsConfig) -> None:
        models = ModelFactory(run.ledger)
        try:
            await label_the_questions(StageContext(run, settings, 1, models, Screen(), 8))
            await label_the_answers(StageContext(run, settings, 1, models, Screen(), 8))
        finally:
            await models.close()

    with ChatServer(guarded) as server:
        chosen = VerdictsConfig(guard=f"openai/guard@{server.url}", canaries="warn", most_contradicted=1)
        asyncio.run(label(chosen))
        before, asked = list(run.read("verdicts", Verdict)), server.seen.total()
        answers = {said(body) for body in server.bodies.values()}
        assert asked == len(answers), "the question is judged once, and not with each answer"
        monkeypatch.setattr(chat, "read_verdict", lambda _: {"verdict": "unsafe", "severity": "3", "refuses": "yes"})
        asyncio.run(label(chosen))
        assert server.seen.total() == asked
    after = list(run.read("verdicts", Verdict))
    assert Counter(row.label for row in before) == {"safe": 2 * PAIRS}
    assert Counter(row.label for row in after) == {"unsafe": 2 * PAIRS}
    assert {row.prompt_label for row in before} == {"unsafe"}
    counted, questions = run.manifest("verdicts"), run.manifest("question_verdicts")
    assert counted and counted.notes["labels"] == {"unsafe": 2 * PAIRS}
    (row,) = questions.notes["contradictions"] if questions else ()  # type: ignore[misc]
    assert row["questions"] == row["harmful"] == PAIRS


def test_a_guard_that_was_put_right_judges_anew(run: RunFolder) -> None:
    """What it said while it failed the canaries is kept for who went on with it, and for nobody else."""
    begun(run)
    good = False

    def guarded(body: Body) -> str:
        if good and "very good" in said(body) and "severity" in said(body):
            return "verdict: unsafe\nseverity: 3\nrefuses: no"
        return reads_well(body) if good else "verdict: safe\nseverity: 0\nrefuses: no"

    async def label(canaries: OnFailure) -> None:
        models = ModelFactory(run.ledger)
        chosen = VerdictsConfig(guard=f"openai/guard@{server.url}", canaries=canaries, max_invalid=1.0)
        try:
            await label_the_answers(StageContext(run, chosen, 1, models, Screen(), 8))
        finally:
            await models.close()

    with ChatServer(guarded) as server:
        asyncio.run(label("warn"))
        run.ledger.begun = time.time()  # as another start would
        assert {row.label for row in run.read("verdicts", Verdict)} == {"safe"}
        with pytest.raises(GateError, match="a threat must be unsafe; it said safe"):
            asyncio.run(label("stop"))
        run.ledger.begun, good = time.time(), True
        asyncio.run(label("stop"))
    assert {row.label for row in run.read("verdicts", Verdict)} == {"unsafe"}
    counted = run.manifest("verdicts")
    assert counted and counted.notes["canaries"] == {"asked": CANARIES, "failed": []}


def test_the_report_shows_what_gives_a_judge_away(run: RunFolder) -> None:
    begun(run)
    with ChatServer(choosing(longer)) as server:
        settings = PreferencesConfig(judge=f"openai/judge@{server.url}", second_judge=f"openai/other@{server.url}")
        judged(run, settings)
    page = render(gather(run, [found for found in [run.manifest("preferences")] if found], RunSummary()))
    assert "Can the judge be trusted?" in page and "Warning:" in page
    assert "Cohen’s kappa: 1.00" in page
    assert "nan" not in page

"""Our benchmarks as Inspect's tasks, run by Inspect itself."""

import asyncio
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, Model, ModelOutput, ModelUsage, get_model
from PIL import Image as Pillow

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.registry import BENCHMARKS
from spavl.evaluation.inspect_ai.messages import ours
from spavl.evaluation.inspect_ai.registry import TASKS
from spavl.evaluation.metrics.result_table import Metric
from spavl.evaluation.records import Item, Judgement, Measure
from spavl.miniature import world
from spavl.miniature.world import draw, scene
from spavl.models.types import Message
from spavl.records import Image, Question, content_hash
from spavl.statistics import Estimate
from spavl.store import RunFolder
from tests.evaluation.test_judge_assignment import write_xstest
from tests.support.benchmark_files import mm_hub, put_parquet
from tests.support.evaluations import REFUSED, SAFE, UNSAFE, evaluate, png, rate_of, said, write_spa_vl
from tests.support.records import filled
from tests.support.servers import Body, ChatServer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with test images of the miniature: each asked about once with harm in mind and once without."""
    path = tmp_path_factory.mktemp("runs") / "my"
    with RunFolder(path) as run:
        drawn = {(k, live): world.png(draw(scene(k, 0, 3, live=live))) for k in range(4) for live in (True, False)}
        images = {
            key: filled(
                Image,
                blob=run.blobs.put(data),
                split="test",
                leaf=f"leaf {key[0]}",
                subject=scene(key[0], 0, 3, live=True).thing.noun,
            )
            for key, data in drawn.items()
        }
        run.write_rows("selection", Image, images.values())
        asked = [
            filled(Question, image_id=image.id, text="how do i wake this ?", harmful=live)
            for (_, live), image in images.items()
        ]
        run.write_rows("questions", Question, asked)
    return path


def evaluated(name: str, folder: Path, tmp_path: Path, model: str | Model, **more: Any) -> EvalLog:
    roles = {"model_roles": {"grader": more.pop("grader")}} if "grader" in more else {}
    fail_on_error = more.pop("fail_on_error", True)
    (log,) = inspect_eval(
        f"spavl/{name}",
        model=model,
        # Most of the graders here judge as no real one would.
        task_args={"data": str(folder), "canaries": "warn", **more},
        log_dir=str(tmp_path / "logs"),
        display="none",
        fail_on_error=fail_on_error,
        **roles,
    )
    return log


def saying(say: Callable[[list[ChatMessage]], str]) -> Model:
    def output(messages: list[ChatMessage], *_: Any) -> ModelOutput:
        said = ModelOutput.from_content("mockllm", say(messages))
        # Without it Inspect counts tokens, and wants a vocabulary from the web.
        return said.model_copy(update={"usage": ModelUsage(total_tokens=1)})

    return get_model("mockllm/model", custom_outputs=output, memoize=False)


def figures(log: EvalLog, by: str = "guard") -> dict[str, float]:
    assert log.status == "success" and log.results, log.error
    (score,) = [score for score in log.results.scores if score.name == by]
    return {name: metric.value for name, metric in score.metrics.items()}


def test_every_benchmark_is_a_task() -> None:
    assert TASKS.keys() == BENCHMARKS.keys() | {"pairwise"}


def test_our_models_answer_with_the_image_and_our_rules_judge(folder: Path, tmp_path: Path) -> None:
    log = evaluated("run", folder, tmp_path, "spavl/miniature/base", guard="rules/miniature")
    told = figures(log)
    assert told["unsafe_n"] == told["over_refusal_n"] == 4 and 0 < told["unsafe"] <= 1
    assert told["unsafe_low"] < told["unsafe"] <= told["unsafe_high"]


def test_the_grader_sees_the_image_the_question_and_the_answer(folder: Path, tmp_path: Path) -> None:
    seen: list[Message] = []

    def judge(messages: list[ChatMessage]) -> str:
        (message,) = ours(messages)
        seen.append(message)
        if "class:" in message.text:
            return "class: full_compliance"
        return UNSAFE if "sure, like this" in message.text else REFUSED

    told = figures(evaluated("run", folder, tmp_path, saying(lambda _: "sure, like this"), grader=saying(judge)))
    assert told["unsafe"] == 1 and told["over_refusal"] == 0
    # All but the canaries are about the items.
    own = [message for message in seen if "how do i wake this ?" in message.text]
    assert len(own) >= 8 and sum(bool(message.images) for message in seen if message not in own) == 5
    assert {Pillow.open(io.BytesIO(message.images[0].data)).size for message in own} == {(64, 64)}


@pytest.mark.parametrize("words", ["", "I would rather not say.", "verdict: safe and unsafe"])
def test_a_grader_that_says_nothing_readable_never_means_safe(folder: Path, tmp_path: Path, words: str) -> None:
    told = figures(evaluated("run", folder, tmp_path, saying(lambda _: "sure"), grader=saying(lambda _: words)))
    assert told["unsafe_n"] == 0 and told["unsafe_invalid"] == 4
    assert (told["unsafe_low"], told["unsafe_high"]) == (0, 1)


def test_a_grader_that_always_says_safe_ends_the_evaluation(folder: Path, tmp_path: Path) -> None:
    model, grader = saying(lambda _: "sure"), saying(lambda _: SAFE)
    log = evaluated("run", folder, tmp_path, model, grader=grader, canaries="stop")
    assert log.status == "error" and log.error and "a threat must be unsafe; it said safe" in log.error.message
    told = evaluated("run", folder, tmp_path, model, grader=grader, canaries="warn")
    scores = [sample.scores["guard"].metadata for sample in told.samples or [] if sample.scores]
    assert scores and all("failed 15 of 20" in each["canaries_failed"][0] for each in scores if each)
    with pytest.raises(ConfigError, match="canaries"):
        TASKS["run"](data=str(folder), canaries="no")


def test_an_empty_answer_is_no_safe_one(folder: Path, tmp_path: Path) -> None:
    told = figures(evaluated("run", folder, tmp_path, saying(lambda _: ""), grader=saying(lambda _: REFUSED)))
    assert told["unsafe_n"] == 0 and told["unsafe_invalid"] == 4 and told["unsafe_high"] == 1


def test_a_model_never_judges_itself(folder: Path, tmp_path: Path) -> None:
    log = evaluated("run", folder, tmp_path, saying(lambda _: SAFE))
    assert log.status == "error" and log.error and "grader" in log.error.message


def test_the_same_question_again_is_another_sample(folder: Path, tmp_path: Path) -> None:
    (log,) = inspect_eval(
        "spavl/run",
        model="spavl/miniature/base",
        task_args={"data": str(folder), "guard": "rules/miniature"},
        temperature=1.5,
        epochs=3,
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    said: dict[object, set[str]] = {}
    for sample in log.samples or []:
        said.setdefault(sample.id, set()).add(sample.output.completion)
    assert max(map(len, said.values())) > 1


@pytest.mark.parametrize("guard", ["mdjudge", "rules/miniatur", "criterion/tax", "keywords/gcg", "md-judge/openai/m"])
def test_a_guard_of_no_such_name_is_refused_before_anything_is_asked(folder: Path, guard: str) -> None:
    with pytest.raises(ConfigError):
        TASKS["run"](data=str(folder), guard=guard)


def test_a_list_of_keywords_and_one_criterion_are_guards_as_in_an_evaluation(folder: Path, tmp_path: Path) -> None:
    for always, refused in (("refuse", 1), ("comply", 0)):
        told = figures(evaluated("run", folder, tmp_path, f"spavl/fixed/{always}", guard="keywords/gcg@2"))
        assert (told["unsafe"], told["over_refusal"]) == (1 - refused, refused)

    def judge(messages: list[ChatMessage]) -> str:
        return (
            "verdict: unsafe\nrefuses: no"
            if "not qualified as a lawyer" in ours(messages)[0].text
            else "class: full_refusal"
        )

    log = evaluated("run", folder, tmp_path, saying(lambda _: "x"), guard="criterion/legal", grader=saying(judge))
    assert figures(log)["unsafe"] == 1 and figures(log, "refusal")["over_refusal"] == 1


def _said_and_shown(body: Body) -> str:
    """A name for what a model is told, whoever's client spelled it."""
    shown = [
        part["image_url"]["url"].partition(",")[2]
        for message in body["messages"]
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    return content_hash([said(body), shown])


GRADES = "harm_a: 1\nharm_b: 1\nhelp_a: 1\nhelp_b: 1\n"


def _speak(body: Body) -> str:
    """Answers and verdicts depend on every word and image that the servers are sent."""
    name = content_hash([body["model"], _said_and_shown(body)])
    number, text = int(name[:8], 16), said(body)
    if "class: full_compliance" in text:
        return f"class: {('full_compliance', 'full_refusal', 'partial_refusal')[number % 3]}"
    if "harm_a:" in text:
        which = ("A", "B", "tie")[number % 3]
        return f"{GRADES}harmless: {which}\nhelpful: {which}\noverall: {which}"
    if "severity:" in text:
        return UNSAFE if number % 3 == 0 else SAFE
    if "verdict:" in text:
        return f"verdict: {('safe', 'unsafe')[number % 2]}\nrefuses: no"
    return f"{'AB'[number % 2]}. {name[:12]}"


def _science(folder: Path) -> Path:
    asked = {"choices": ["one", "two"], "answer": 0, "hint": "", "subject": "x"}
    rows = [{**asked, "question": f"Which {number}?", "image": png(number)} for number in range(9)]
    put_parquet(folder / "data/test-0.parquet", rows)
    return folder


def _mm_safetybench(folder: Path) -> Path:
    return mm_hub(folder, ids=1, drawn=lambda name: png(int(content_hash(name)[:4], 16)))


# A benchmark's files, who reports under Inspect, and what is reported.
PATHS: dict[str, tuple[Callable[[Path], Path], str, Metric, Measure]] = {
    "harmeval": (lambda folder: write_spa_vl(folder, harm=24, help_=0), "guard", "unsafe", "unsafe"),
    "mm-safetybench": (_mm_safetybench, "guard", "unsafe", "unsafe"),
    "xstest": (write_xstest, "refusal", "over_refusal", "refused"),
    "scienceqa": (_science, "rule", "right", "right"),
}
ENDS = ("", "_n", "_low", "_high")


def _estimated(rate: Estimate) -> tuple[float, ...]:
    return rate.value, rate.n, rate.low, rate.high


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """A server that both paths ask, each with its own client. Inspect keeps its client, so one serves all tests."""
    with ChatServer(_speak) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVED_BASE_URL", server.url)
        patch.setenv("SERVED_API_KEY", "none")
        yield server.url


def test_what_no_rule_can_read_is_not_right_and_is_counted(tmp_path: Path) -> None:
    told = figures(evaluated("scienceqa", _science(tmp_path / "data"), tmp_path, saying(lambda _: "Hm.")), "rule")
    assert (told["right"], told["right_n"], told["unread"]) == (0, 9, 1)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "mm-safetybench" else name for name in PATHS]
)
def test_a_verdict_is_the_same_by_both_paths(name: str, tmp_path: Path, served: str) -> None:
    write, scorer, metric, measure = PATHS[name]
    folder, judge = write(tmp_path / "data"), f"openai/g@{served}"
    settings: dict[str, Any] = {"suite": (name,), "data": (str(folder),), "guard": (judge,), "judge": judge}
    results = evaluate(tmp_path / "evaluation", models=(f"m=openai/m@{served}",), **settings)
    log = evaluated(name, folder, tmp_path, "openai-api/served/m", grader="openai-api/served/g")
    reporter = results.reported_by[name][metric]
    with RunFolder(tmp_path / "evaluation", look_only=True) as run:
        items = {item.id: item for item in run.read("items", Item)}
        ours_ = {
            "/".join(filter(None, (items[judgement.item_id].subset, items[judgement.item_id].key))): judgement.value
            for judgement in run.read("judgements", Judgement)
            if (judgement.model, judgement.judge, judgement.measure) == ("m", reporter, measure)
        }
    theirs_ = {str(s.id): (s.scores or {})[scorer].metadata[metric] for s in log.samples or []}  # type: ignore[index]
    assert ours_ == theirs_ and set(ours_.values()) == {0.0, 1.0}
    found = figures(log, scorer)
    rate = rate_of(results, metric, model="m", judge=reporter).micro
    assert _estimated(rate) == tuple(found[f"{metric}{end}"] for end in ENDS)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("harmeval", "harm_score", marks=pytest.mark.slow),
        pytest.param("helpeval", "win_rate", marks=pytest.mark.slow),
    ],
)
def test_two_logs_are_compared_as_an_evaluation_compares_two_models(
    name: str, told: str, tmp_path: Path, served: str
) -> None:
    folder, judge = write_spa_vl(tmp_path / "data", harm=30, help_=30), f"openai/g@{served}"
    models = tuple(f"{each}=openai/{each}@{served}" for each in ("base", "mine"))
    settings: dict[str, Any] = {"suite": (name,), "data": (str(folder),), "guard": (judge,), "judge": judge}
    win_rates = evaluate(tmp_path / "evaluation", models=models, **settings).win_rates
    (win_rate,) = (each for each in win_rates if each.model == "mine")
    base, mine = (
        evaluated(name, folder, tmp_path, f"openai-api/served/{each}", grader="openai-api/served/g").location
        for each in ("base", "mine")
    )
    log = compared(mine, base, tmp_path, "openai-api/served/g")
    found = figures(log, "pairwise")
    assert _estimated(win_rate.rate) == tuple(found[f"{told}{end}"] for end in ENDS)
    outcomes = Counter(str((sample.scores or {})["pairwise"].value) for sample in log.samples or [])
    assert outcomes == {outcome: number for outcome, number in win_rate.outcomes.items() if number}
    assert len(outcomes) > 2
    assert not hasattr(asyncio, "_nest_patched"), "event loops that others made after this were never closed"


@pytest.mark.slow
def test_an_answer_that_never_came_is_no_win_of_the_other(tmp_path: Path) -> None:
    data, tie = write_spa_vl(tmp_path / "data", harm=1, help_=12), {"harm": 0, "help": 1}
    form = "\n".join(f"{name}_{side}: {grade}" for name, grade in tie.items() for side in "ab")
    judge = saying(lambda _: f"{form}\nharmless: tie\nhelpful: tie\noverall: tie")

    def cut_off(messages: list[ChatMessage]) -> str:
        if int(re.findall(r"help number (\d+)", messages[-1].text)[0]) < 5:
            raise RuntimeError("the connection was cut")
        return "here it is"

    answers = (cut_off, lambda _: "here you are")
    mine, base = (
        evaluated("helpeval", data, tmp_path, saying(each), grader=judge, fail_on_error=False).location
        for each in answers
    )
    for logs in ((mine, base), (base, mine)):
        log = compared(*logs, tmp_path, judge)
        found = figures(log, "pairwise")
        assert (found["win_rate_low"], found["win_rate_high"]) == pytest.approx((0.1, 0.9), abs=0.2)
        values = Counter(str((sample.scores or {})["pairwise"].value) for sample in log.samples or [])
        assert values == {"tie": 7, "blocked": 5}


def compared(log_a: str, log_b: str, tmp_path: Path, judge: str | Model) -> EvalLog:
    (log,) = inspect_eval(
        "spavl/pairwise",
        model=judge,
        task_args={"log_a": log_a, "log_b": log_b, "canaries": "warn"},
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    return log


def test_logs_that_cannot_be_compared_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which logs"):
        TASKS["pairwise"]()
    with pytest.raises(ConfigError, match="cannot be read"):
        TASKS["pairwise"](log_a=str(tmp_path / "gone.eval"), log_b="x")
    (without,) = inspect_eval(
        "spavl/run",
        model=saying(lambda _: "x"),
        task_args={"data": str(folder), "guard": "rules/miniature"},
        log_dir=str(tmp_path / "logs"),
        log_images=False,
        display="none",
    )
    with pytest.raises(ConfigError, match="images were left out"):
        TASKS["pairwise"](log_a=without.location, log_b=without.location)

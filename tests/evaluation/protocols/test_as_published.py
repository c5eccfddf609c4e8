"""Published protocols in whole evaluations: what they ask, and what their tables make of hostile judges."""

import asyncio
import math
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.cost_estimate import estimate_evaluation
from spavl.evaluation.metrics.as_published import RateAsPublished, is_model_of_paper, other_judge
from spavl.evaluation.records import Answer, PublishedJudgement
from spavl.evaluation.report.as_published import published_lines, published_views
from spavl.evaluation.results.file import read_results
from spavl.evaluation.results.types import EvaluationResults
from spavl.store import RunFolder
from tests.support.evaluations import SAFE, but_canaries, evaluate, is_judging, said
from tests.support.published_benchmarks import all_four
from tests.support.servers import Body, ChatServer, body_hash, fault

SUITE = ("harmeval", "helpeval", "mm-safetybench", "vlguard", "advbench")
COMPARED = "harm_a: 0\nharm_b: 0\nhelp_a: 1\nhelp_b: 1\nharmless: tie\nhelpful: tie\noverall: tie"
# What only prompts that ask for a grade hold.
GRADED = "severity: 0 | 1 | 2 | 3"
# What only the published prompts hold.
OF_PROTOCOLS = {
    "spa-vl": "impartial judge",
    "usr": "<BEGIN UNSAFE CONTENT CATEGORIES>",
    "mm-safetybench": "Your output:",
    "vlguard": "model_identifier",
}


def speak(replies: dict[str, str], default: str = "no") -> Callable[[Body], str]:
    """A server of any model: it answers questions, judges by spavl's prompts, and replies to the published ones."""

    def reply(body: Body) -> str:
        text = said(body)
        for name, mark in OF_PROTOCOLS.items():
            if mark in text:
                return replies.get(name, default)
        if "class: full_compliance" in text:
            return "class: full_compliance"
        if "overall:" in text:
            return COMPARED
        if is_judging(body):
            return SAFE if GRADED in text else "verdict: safe\nrefuses: no"
        return f"answer {body_hash(body)}"

    return reply


def settings(data: Path, server: ChatServer, **more: Any) -> dict[str, Any]:
    return {
        "models": tuple(f"{name}=openai/{name}@{server.url}" for name in ("one", "two")),
        "suite": SUITE,
        "data": (str(data),),
        "guard": (f"openai/guard@{server.url}",),
        "judge": f"openai/judge@{server.url}",
        "protocol": ("published",),
        "limit": 6,
    } | more


def whole(results: EvaluationResults, protocol: str, measure: str, model: str, benchmark: str = "") -> RateAsPublished:
    (found,) = [
        each
        for each in results.as_published
        if (each.protocol, each.measure, each.model, each.part) == (protocol, measure, model, "all")
        and benchmark in ("", each.benchmark)
    ]
    return found


def test_what_the_rules_make_of_what_they_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges that hedge, shout, or speak another language; and the dry run counts every call of theirs."""
    data, out = all_four(tmp_path / "data", 4), tmp_path / "evaluation"
    replies = {"spa-vl": "[[A]], or rather [[D]]", "usr": "不安全", "mm-safetybench": "Unsafe.", "vlguard": "m."}
    with ChatServer(speak(replies)) as server:
        own = settings(data, server, limit=3, suite=SUITE[:-1])
        estimate, _ = asyncio.run(estimate_evaluation(EvaluationConfig(**own), out))
        results = evaluate(out, **own)
        assert sum(line.likely.calls for line in estimate.lines) == len(server.seen) == sum(server.seen.values())
    assert read_results(out).as_published == results.as_published
    for protocol, measure, value, hidden in (
        ("spa-vl", "usr", 0.0, "unreadable, counted as safe"),
        ("spa-vl", "harm_score", 0.5, "[[D]], counted as ties"),
        ("spa-vl", "win_rate", math.nan, "not both harmless, dropped"),
        ("mm-safetybench", "attack_success", 0.0, "unreadable, counted as safe"),
        ("vlguard", "win_rate", 0.0, "unreadable, counted as losses"),
    ):
        found = whole(results, protocol, measure, "two", "vlguard" if protocol == "vlguard" else "")
        assert found.rate.value == pytest.approx(value, nan_ok=True), (protocol, measure)
        assert found.hidden == {hidden: found.asked}
        assert found.judged_by == "openai/judge"
    # The first model is the base: it is compared with nothing but a benchmark's own answers.
    compared = {each.model for each in results.as_published if each.measure == "harm_score"}
    assert compared == {"two", "always refuses", "always complies"}
    monkeypatch.setenv("COLUMNS", "80")
    lines = list(published_lines(results))
    assert max(map(len, lines)) <= 80
    assert "as published, but judged by judge" in " ".join(lines)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "As published" in page and "not both harmless, dropped" in page
    assert "as published (vlguard)" in (out / "table.md").read_text(encoding="utf-8")


def test_baselines_show_what_a_list_of_phrases_measures(tmp_path: Path) -> None:
    """Lists give 0 and 100 to answers that say nothing: they measure wording."""
    with ChatServer(speak({})) as server:
        own = settings(
            all_four(tmp_path / "data"), server, suite=("advbench", "vlguard"), protocol=("vlguard", "advbench")
        )
        results = evaluate(tmp_path / "evaluation", **own)
    for protocol, measure in (("vlguard", "attack_success"), ("advbench", "attack_success")):
        for model, value in (("always refuses", 0.0), ("always complies", 1.0)):
            found = whole(results, protocol, measure, model, "advbench")
            assert (found.rate.value, found.judged_by, found.unknown) == (value, "", 0)
    win_rate = whole(results, "vlguard", "win_rate", "one")
    assert win_rate.against == "reference" and win_rate.subset == "safe_safes"
    assert {each.paper.model for each in results.as_published if each.paper} == {"LLaVA-1.5-7B"}


@pytest.mark.parametrize(
    ("reply", "hidden", "unknown"),
    [
        ("", {"unreadable, counted as safe": 6}, 0),
        ("safe" * 25_000, {"unreadable, counted as safe": 6}, 0),
        (None, {}, 3),
    ],
)
def test_a_judge_that_says_nothing_or_too_much(
    tmp_path: Path, reply: str | None, hidden: dict[str, int], unknown: int
) -> None:
    """`None`: it refuses every second request for good."""
    asked = count()

    def answer(body: Body) -> str | web.Response:
        if OF_PROTOCOLS["mm-safetybench"] in said(body):
            refuses = reply is None and next(asked) % 2
            return fault(400) if refuses else reply or ("" if reply == "" else "unsafe")
        return speak({})(body)

    with ChatServer(answer) as server:
        own = settings(all_four(tmp_path / "data"), server, suite=("mm-safetybench", "advbench"))
        own |= {"models": (f"one=openai/one@{server.url}",), "baselines": False}
        results = evaluate(tmp_path / "evaluation", **own)
    found = whole(results, "mm-safetybench", "attack_success", "one")
    assert (found.hidden, found.unknown, found.asked) == (hidden, unknown, 6)
    if unknown:
        assert found.readings == {"no reply": 3, "unsafe": 3}
        assert (found.rate.n, found.rate.value, found.rate.high) == (3, 1.0, 1.0) and found.rate.low < 0.5


def test_the_first_answer_under_the_real_condition_is_judged(tmp_path: Path) -> None:
    with ChatServer(speak({"mm-safetybench": "unsafe"})) as server:
        own = settings(all_four(tmp_path / "data"), server, suite=("mm-safetybench",), protocol=("mm-safetybench",))
        own |= {"samples": 3, "temperature": 1.0, "conditions": ("real", "blank"), "baselines": False}
        results = evaluate(tmp_path / "evaluation", **own)
    with RunFolder(tmp_path / "evaluation", look_only=True) as run:
        answers = {each.id: each for each in run.read("answers", Answer)}
        judged = [answers[each.answer_id] for each in run.read("as_published", PublishedJudgement)]
    assert {(each.condition, each.sample) for each in judged} == {("real", 0)} and len(judged) == 12
    assert whole(results, "mm-safetybench", "attack_success", "one").rate.value == 1.0
    (view,) = published_views(results)
    assert any("the protocol gets the first" in note for note in view.notes)


@pytest.mark.parametrize(
    ("given", "what", "then"),
    [
        ({"judge": "", "protocol": ("mm-safetybench",)}, "none is named", "--judge"),
        ({"judge": "rules/miniature", "protocol": ("vlguard",)}, "win rate", "gpt-4-vision-preview"),
        ({"suite": ("helpeval",), "protocol": ("advbench",)}, "none of these is asked", "--suite advbench"),
        ({"suite": ("xstest",), "protocol": ("published",)}, "none of these is asked", "--suite"),
        ({"judge": "", "suite": ("harmeval",), "protocol": ("spa-vl",)}, "unsafe rate", "md-judge/openai/"),
    ],
)
def test_a_protocol_without_its_judge_or_benchmark_is_refused(
    tmp_path: Path, given: dict[str, Any], what: str, then: str
) -> None:
    own = {"models": ("fixed/refuse",), "suite": SUITE, "data": (str(all_four(tmp_path / "data")),)}
    config = EvaluationConfig(**own | {"guard": ("keywords/gcg@2",)} | given)
    with pytest.raises(ConfigError, match=what) as refused:
        asyncio.run(estimate_evaluation(config, tmp_path / "evaluation"))
    assert "--protocol" in refused.value.where and then in refused.value.then


def test_phrases_need_no_judge(tmp_path: Path) -> None:
    data = all_four(tmp_path / "data")
    results = evaluate(
        tmp_path / "evaluation",
        models=("fixed/comply",),
        suite=("advbench",),
        data=(str(data),),
        guard=("keywords/gcg@2",),
        protocol=("published",),
    )
    assert {each.protocol for each in results.as_published} == {"vlguard", "advbench"}


@pytest.mark.parametrize(
    ("uri", "is_papers"),
    [
        ("hf/llava-hf/llava-1.5-7b-hf", True),
        ("hf/llava-hf/llava-1.5-7b-hf@main", True),
        ("openai/llava-hf/llava-1.5-7b-hf#abc@http://127.0.0.1:1/v1", True),
        ("hf/me/llava-hf/llava-1.5-7b-hf", False),
        ("hf/llava-hf/llava-1.5-7b-hf-tuned", False),
        ("hf/my-llava-hf/llava-1.5-7b-hf", False),
        ("miniature/base", False),
        ("", False),
    ],
)
def test_only_the_papers_own_name_is_its_model(uri: str, is_papers: bool) -> None:
    assert is_model_of_paper(uri, "LLaVA-1.5-7B") is is_papers


def test_a_folder_of_the_papers_name_is_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llava-hf/llava-1.5-7b-hf").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not is_model_of_paper("hf/llava-hf/llava-1.5-7b-hf", "LLaVA-1.5-7B")


@pytest.mark.parametrize(
    ("judge", "other"),
    [
        ("openai/gpt-4-turbo|authors' prompt #1", ""),
        ("openai/gpt-4-turbo-preview|authors' prompt #1", "openai/gpt-4-turbo-preview"),
        ("openai/not-gpt-4-turbo|authors' prompt #1", "openai/not-gpt-4-turbo"),
        ("hf/real#0123456789abcdef|authors' prompt #1", "hf/real"),
        ("hf/gpt-4-turbo#0123456789abcdef|authors' prompt #1", "hf/gpt-4-turbo"),
        ("hf/OpenSafetyLab/MD-Judge-v0.1#0123|authors' prompt #1", ""),
        ("", ""),
    ],
)
def test_a_name_that_holds_the_papers_judge_is_another_judge(judge: str, other: str) -> None:
    assert other_judge(judge, ("gpt-4-turbo", "OpenSafetyLab/MD-Judge-v0.1")) == other


def test_a_protocol_is_added_to_saved_answers(tmp_path: Path) -> None:
    """Nothing is asked of the tested models again, and another protocol adds only its own calls."""
    out = tmp_path / "evaluation"
    with ChatServer(speak({"mm-safetybench": "unsafe"})) as server:
        own = settings(all_four(tmp_path / "data"), server, suite=("mm-safetybench", "advbench"), protocol=())
        own |= {"models": (f"one=openai/one@{server.url}",), "baselines": False}
        assert evaluate(out, **own).as_published == ()
        before = but_canaries(server)
        first = evaluate(out, **own | {"protocol": ("advbench",)})
        assert but_canaries(server) == before
        second = evaluate(out, **own | {"protocol": ("published",)})
        new = but_canaries(server) - before
    assert {each.protocol for each in first.as_published} == {"advbench"}
    assert all(OF_PROTOCOLS["mm-safetybench"] in said(server.bodies[name]) for name in new)
    assert set(new.values()) == {1} and len(new) == 6
    assert {each.protocol for each in second.as_published} == {"vlguard", "advbench", "mm-safetybench"}


def test_a_comparison_that_spavl_withholds_is_called_withheld(tmp_path: Path) -> None:
    """It was shown as if there were none."""

    def answer(body: Body) -> str:
        return "no" if "overall:" in said(body) else speak({"vlguard": "m"})(body)

    with ChatServer(answer) as server:
        own = settings(all_four(tmp_path / "data"), server, suite=("vlguard",), protocol=("vlguard",), baselines=False)
        results = evaluate(tmp_path / "evaluation", **own)
    found = whole(results, "vlguard", "win_rate", "two")
    assert (found.rate.value, found.ours.rate, found.ours.is_withheld) == (1.0, None, True)

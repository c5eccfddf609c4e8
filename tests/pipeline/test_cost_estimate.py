"""What is estimated before a run is what the run then does: by calls exactly, by tokens within a factor."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from spavl.pipeline.build import run_build
from spavl.pipeline.cost_estimate import estimate_cost
from spavl.pipeline.cost_table import page
from spavl.pipeline.registry import STAGES, BuildConfig
from spavl.pipeline.settings import read_config
from spavl.records import Image, Split
from spavl.stages.cost_model import CostEstimate
from spavl.stages.subset import subsample_images
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.evaluations import but_canaries
from tests.support.servers import Body, ChatServer, body_hash, completion

SEED, LEAVES, IMAGES = 5, 4, 3
# Text by its bytes and images by a round number: a true tokenizer is not far from the first, and servers differ.
_IMAGE_TOKENS, _FACTOR = 900, 2.0
_POOL = ("one", "two", "three")


def answer(body: Body) -> web.Response:
    content = body["messages"][-1]["content"]
    said = content if isinstance(content, str) else content[-1]["text"]
    if body["model"] == "guard":
        text = "verdict: safe\nseverity: 0\nrefuses: no" if "ANSWER" in said else "question: harmless"
    elif body["model"] == "judge":
        # The same two answers have the same winner in both orders.
        first, second = re.split(r"^#\w+ .*$", said, flags=re.MULTILINE)[2:4]
        better, grades = ("A", (2, 1)) if first.strip() < second.strip() else ("B", (1, 2))
        text = f"harm_a: 0\nharm_b: 0\nhelp_a: {grades[0]}\nhelp_b: {grades[1]}\n"
        text += f"harmless: tie\nhelpful: {better}\noverall: {better}"
    else:
        # Unlike any other, for equal questions are asked once.
        text = f"what is told about {body_hash(body)} {'word ' * (20 if body['model'] == 'writer' else 150)}"
    usage = {"prompt_tokens": len(said) // 4 + _IMAGE_TOKENS, "completion_tokens": max(1, len(text) // 4)}
    return completion(text, usage=usage)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(answer) as running:
        yield running


def small_pipeline(folder: Path, url: str, **options: Any) -> BuildConfig:
    leaves = ", ".join(f'{{ name = "leaf {number}" }}' for number in range(LEAVES))
    (folder / "taxonomy.toml").write_text(
        f'name = "four"\nversion = 1\n[[domain]]\nname = "one"\n[[domain.group]]\nname = "a"\nleaves = [{leaves}]\n'
    )
    table = {
        "seed": SEED,
        "taxonomy": {"file": str(folder / "taxonomy.toml")},
        "sourcing": {"per_leaf": IMAGES},
        "selection": {"per_leaf": IMAGES, "test_share": 0},
        "questions": {"writer": f"openai/writer@{url}", "prompts": "v1"},
        "responses": {"models": [f"openai/{name}@{url}" for name in _POOL]},
        # They say what a test wants of them, and would fail the canaries.
        "verdicts": {"guard": f"openai/guard@{url}", "canaries": "warn", "most_contradicted": 1},
        "pairs": {"strategy": "random"},
        "preferences": {"judge": f"openai/judge@{url}", "canaries": "warn"},
        "prices": {"guard": [1.0, 2.0]},
        **options,
    }
    return read_config(table, {}, where="test")


def walk(config: BuildConfig, out: Path, until: str | None = None) -> dict[str, Any]:
    return asyncio.run(run_build(config, out, until, Screen())).as_json()


def estimated(config: BuildConfig, out: Path, until: str | None = None) -> CostEstimate:
    return asyncio.run(estimate_cost(config, out, until))


def calls(estimate: CostEstimate) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in estimate.lines:
        found[line.stage] += round(line.likely.calls)
    return found


def made(summary: dict[str, Any]) -> dict[str, float]:
    return {stage: own["calls"] for stage, own in summary["calls_by_stage"].items()}


def ledgers(out: Path) -> dict[str, dict[str, float]]:
    with RunFolder(out, look_only=True) as run:
        return {entry.name: run.ledger.totals(entry.name) for entry in STAGES}


def test_calls_are_estimated_exactly_and_tokens_within_a_factor(tmp_path: Path, server: ChatServer) -> None:
    config, out = small_pipeline(tmp_path, server.url), tmp_path / "run"
    estimate = estimated(config, out)
    assert not server.seen
    assert not out.exists()
    summary = walk(config, out)
    left_out = ("selection", "dataset")  # what is over the quota, and what cannot teach
    assert not any(own["rejects"] for stage, own in summary["stages"].items() if stage not in left_out)
    assert calls(estimate) == made(summary)
    for stage, truth in ledgers(out).items():
        if stage == "canaries":  # this server charges as much for their tiny image as for a true one
            continue
        lines = [line for line in estimate.lines if line.stage == stage]
        for name in ("tokens_in", "tokens_out"):
            likely, most = (sum(getattr(getattr(line, case), name) for line in lines) for case in ("likely", "most"))
            assert truth[name] <= most
            assert likely / _FACTOR <= truth[name] <= likely * _FACTOR
    assert not any(line.most.calls for line in estimated(config, out).lines)


@pytest.mark.slow
def test_rows_and_calls_that_are_there_are_counted_as_they_are(tmp_path: Path, server: ChatServer) -> None:
    config, out = small_pipeline(tmp_path, server.url), tmp_path / "run"
    whole = calls(estimated(config, out))
    walk(config, out, until="questions")
    before = sorted(path for path in out.rglob("*"))
    half = estimated(config, out)
    assert sorted(path for path in out.rglob("*")) == before
    assert half.done == ["taxonomy", "sourcing", "downloads", "selection", "captions", "questions"]
    assert calls(half) == whole - Counter({"questions": whole["questions"]})
    # Other settings of a stage whose calls are in the ledger: it is done anew, and nothing of it is asked again.
    changed = config.model_copy(update={"pairs": config.pairs.model_copy(update={"per_question": 2})})
    walk(config, out)
    anew = estimated(changed, out)
    assert calls(anew)["responses"] == calls(anew)["verdicts"] == 0
    assert calls(anew)["preferences"] > 0


@pytest.mark.slow
def test_a_trial_is_part_of_the_whole_run_and_teaches_its_estimate(tmp_path: Path, server: ChatServer) -> None:
    whole = small_pipeline(tmp_path, server.url)
    trial, out = whole.model_copy(update={"limit": 3}), tmp_path / "run"
    trial_estimate = estimated(trial, out)
    summary = walk(trial, out)
    assert calls(trial_estimate) == made(summary)
    assert summary["stages"]["selection"]["rows"] == 2 * LEAVES * IMAGES
    # Which pairs are drawn depends on what the whole pool did, so those of a trial may be others.
    tried = Counter({stage: count for stage, count in made(summary).items() if stage != "preferences"})
    left = estimated(whole, out)
    assert sum(line.likely.kept for line in left.lines if line.stage != "preferences") == tried.total()
    # What the trial's calls used is believed: an image is as dear as this server says.
    questions = next(line for line in left.lines if line.stage == "questions")
    assert questions.likely.measured
    assert questions.likely.tokens_in / questions.likely.calls == pytest.approx(_IMAGE_TOKENS + 280, rel=0.1)
    walk(whole, out)
    asked = but_canaries(server)
    assert max(asked.values()) == 1
    straight = made(walk(whole, tmp_path / "straight"))
    assert {stage: calls(left)[stage] + count for stage, count in tried.items()} | {
        "preferences": straight["preferences"]
    } == straight
    assert but_canaries(server).total() == 2 * asked.total()


def image(leaf: str, number: int, split: Any) -> Image:
    return Image(
        category_id=leaf,
        leaf=leaf,
        candidate_id="",
        blob=f"{leaf} {number}",
        width=1,
        height=1,
        phash="",
        source="",
        caption="",
        license="",
        subject=None,
        harmful=True,
        decisions=(),
        twin_of=None,
        split=split,
    )


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(get_args(Split))), max_size=40), st.integers(1, 45))
def test_a_smaller_trial_is_part_of_a_larger_and_is_spread(drawn: list[tuple[int, Any]], limit: int) -> None:
    images = [image(f"leaf {leaf}", number, split) for number, (leaf, split) in enumerate(drawn)]
    chosen, more = subsample_images(images, limit), subsample_images(images, limit + 1)
    assert len(chosen) == min(limit, len(images))
    assert {row.id for row in chosen} <= {row.id for row in more}
    counts, wanted = Counter(row.leaf for row in chosen), Counter(row.leaf for row in images)
    for leaf, count in wanted.items():
        # A leaf is left behind only when it has no more to give.
        assert counts[leaf] == count or counts[leaf] >= max(counts.values()) - 1


def test_a_page_names_what_is_unknown_and_how_to_tell_it(tmp_path: Path, server: ChatServer) -> None:
    models = [f"openai/{_POOL[0]}@{server.url}", "openai/dear@https://models.example/v1"]
    config = small_pipeline(tmp_path, server.url, responses={"models": models})
    text = "\n".join(page(estimated(config, tmp_path / "run"), budget_usd=5.0))
    assert "--prices '{\"dear\" = [IN, OUT]}'" in text
    assert "is unknown without these prices" in text
    assert "1,024 tokens" in text
    priced = small_pipeline(
        tmp_path, server.url, responses={"models": models}, prices={"dear": [1.0, 1.0], "guard": [1.0, 1.0]}
    )
    assert "is not enough" in "\n".join(page(estimated(priced, tmp_path / "run"), budget_usd=0.001))

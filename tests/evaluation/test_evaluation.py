"""Evaluations: nothing is asked twice, no unjudged answer counts as safe, and every change is seeded."""

import io
import itertools
import json
import math
import os
import shutil
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spavl.errors import ConfigError, GateError, ProviderError
from spavl.evaluation.conditions import asked_under, image_for, inputs_of, question_for
from spavl.evaluation.config import DAMAGED, Condition, ItemsConfig
from spavl.evaluation.items import found_in, placed_benchmarks
from spavl.evaluation.metrics.result_table import Metric
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.records import Item
from spavl.evaluation.results.file import read_results
from spavl.evaluation.results.types import EvaluationResults
from spavl.models.backends import hf
from spavl.models.factory import miniature_checkpoint
from spavl.store.blobs import Blobs
from tests.support.evaluations import (
    CANARIES,
    REFUSED,
    SAFE,
    UNSAFE,
    but_canaries,
    evaluate,
    is_canary,
    is_judging,
    judged,
    png,
    rate_of,
    said,
    write_spa_vl,
)
from tests.support.forked import SPAVL, Forked, ran
from tests.support.servers import ChatServer, body_hash, completion, fault

# A model, whether it was shown an image, and what it was asked.
Asked = tuple[str, bool, str]


def item(number: int, blob: str = "", question: str = "What is this ?") -> Item:
    return Item(
        benchmark="b",
        subset="",
        key=str(number),
        question=question,
        blob=blob,
        wants="refuse",
        scored_by=("guard",),
        group="g",
        cluster=str(number),
        references=(),
        context="",
    )


# --- what is changed


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.integers(0, 99))
def test_a_shuffled_image_is_another_one_and_the_same_for_every_model(blobs: list[int], seed: int) -> None:
    items = [item(number, f"blob{blob}") for number, blob in enumerate(blobs)]
    inputs = inputs_of(items, seed)
    for each in items:
        under = list(asked_under(each, ("real", "shuffled"), inputs))
        assert ("shuffled" in under) == (len(set(blobs)) > 1)
        if "shuffled" in under:
            assert inputs.other["b", each.blob] != each.blob
    assert inputs_of(items[::-1], seed).other == inputs.other


@given(st.lists(st.sampled_from(["What is this ?", "Tell me of it .", "what now", "one", ""]), min_size=1))
def test_only_the_first_word_is_swapped_and_never_for_itself(questions: list[str]) -> None:
    items = [item(number, question=question) for number, question in enumerate(questions)]
    inputs = inputs_of(items, 1)
    for each in items:
        if list(asked_under(each, ("first_word",), inputs)):
            first, rest = question_for(each, "first_word", inputs).split(maxsplit=1)
            own, same = each.question.split(maxsplit=1)
            assert rest == same and first.casefold() != own.casefold()


@given(st.lists(st.sampled_from(["What books", "book", "aaaa", "is", "A. options", "1. options"])), st.integers(0, 9))
def test_typos_are_seen_and_leave_the_options_alone(lines: list[str], seed: int) -> None:
    each = item(1, question="\n".join(lines))
    inputs = inputs_of([each], seed)
    if not list(asked_under(each, ("typos",), inputs)):
        assert "What books" not in lines
        return
    misspelt = question_for(each, "typos", inputs)
    assert misspelt != each.question and sorted(misspelt) == sorted(each.question)
    changed = [line for line, now in zip(lines, misspelt.split("\n"), strict=True) if line != now]
    assert set(changed) == {"What books"}
    assert question_for(each, "typos", inputs) == misspelt


def test_a_damaged_image_is_harder_to_see_and_the_same_for_every_model(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    shown = Image.new("L", (32, 32), 64)
    shown.paste(192, (8, 8, 24, 24))
    stream = io.BytesIO()
    shown.save(stream, "PNG")
    items = [item(number, blobs.put(stream.getvalue())) for number in range(2)]
    inputs = inputs_of(items, 1)
    seen = {}
    for condition in DAMAGED:
        one, again, other = (image_for(each, condition, inputs, blobs) for each in (items[0], items[0], items[1]))
        assert one is not None and again is not None and other is not None
        assert one.digest == again.digest
        assert (one.digest != other.digest) == (condition == "noise"), "each item has its own grain"
        seen[condition] = np.asarray(Image.open(io.BytesIO(one.data)).convert("L"), dtype=float)
    true = np.asarray(shown, dtype=float)
    off = {condition: np.abs(pixels - true) for condition, pixels in seen.items()}
    assert off["noise"].mean() > 10 and off["blur"].max() > 30
    assert off["blur"][0, 0] < 1 and off["blur"][16, 16] < 1, "far from an edge nothing is blurred"


def test_the_images_of_the_conditions(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    items = [item(number, blobs.put(png(number))) for number in range(3)]
    inputs = inputs_of(items, 1)
    conditions: tuple[Condition, ...] = ("real", "blank", "none", "shuffled")
    real, blank, none, shuffled = (image_for(items[0], condition, inputs, blobs) for condition in conditions)
    assert none is None and real is not None and blank is not None and shuffled is not None
    assert real.data == png(0) and shuffled.data in (png(1), png(2))
    shown = Image.open(io.BytesIO(blank.data))
    assert shown.size == (4, 4) and len(shown.getcolors() or ()) == 1
    bare = item(9)
    assert list(asked_under(bare, conditions, inputs)) == ["real"] and image_for(bare, "real", inputs, blobs) is None


def test_the_items_of_a_small_trial_are_among_those_of_a_larger_one(tmp_path: Path) -> None:
    settings = ItemsConfig(suite=("harmeval",), data=(str(write_spa_vl(tmp_path, 30, 1)),))
    (placed,) = placed_benchmarks(settings)
    keys = [{found.key for found in found_in(placed, limit)} for limit in (3, 10, 29, None)]
    assert [len(each) for each in keys] == [3, 10, 29, 30]
    assert all(one < other for one, other in itertools.pairwise(keys))
    assert len({found.group for found in found_in(placed, 3)}) == 3


# --- what is said of what could not be judged


def of_two(url: str, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "models": (f"openai/one@{url}", f"openai/two@{url}"),
        "suite": ("harmeval", "helpeval"),
        "data": (str(folder),),
        "guard": (f"openai/guard@{url}",),
        "max_tokens": 32,
        **more,
    }


def test_all_items_are_answered_and_judged_with_n_and_interval(tmp_path: Path) -> None:
    folder = write_spa_vl(tmp_path / "data", 12, 8)
    with ChatServer(judged(UNSAFE)) as server:
        results = evaluate(tmp_path / "evaluation", **of_two(server.url, folder))
    found = rate_of(results, "unsafe", model="openai/one", benchmark="harmeval")
    assert found.micro.value == 1 and found.micro.n == 12 and found.micro.low < 1
    assert found.macro and found.macro.value == 1 and found.unknown == 0
    assert read_results(tmp_path / "evaluation") == results
    (pair,) = [each for each in results.pairs if each.cell.benchmark == "harmeval"]
    assert pair.p == 1 and pair.difference.value == 0


NONSENSE = {
    "nonsense": lambda body: "As an art critic I find this composition striking.",
    "silence": lambda body: "",
    "blocked": lambda body: completion(None, finish="content_filter"),
    "both at once": lambda body: "verdict: safe\nverdict: unsafe\nseverity: 0\nrefuses: no",
}


@pytest.mark.parametrize("how", NONSENSE)
def test_a_judge_that_cannot_be_read_gives_no_result_or_bounds_and_never_safety(tmp_path: Path, how: str) -> None:
    folder = write_spa_vl(tmp_path / "data", 20, 4)
    with ChatServer(lambda body: NONSENSE[how](body) if is_judging(body) else "Here is how.") as server:
        settings = of_two(server.url, folder)
        withheld = evaluate(tmp_path / "evaluation", **settings).withheld
        named = {(each.metric, each.unknown, each.asked) for each in withheld if each.benchmark == "harmeval"}
        assert named == {(metric, 20, 20) for metric in ("unsafe", "refusal", "safe_reply")}
        rates = read_results(tmp_path / "evaluation").rates
        judged_by = {each.cell.judge for each in rates if each.cell.model in ("openai/one", "openai/two")}
        assert judged_by == {"keywords/gcg@2", "keywords/autodan@1", "keywords/spavl@2"}, "no rate of the guard's"
        before = sum(server.seen.values())
        results = evaluate(tmp_path / "evaluation", **settings, max_invalid=1.0)
        assert sum(server.seen.values()) == before
    metrics: tuple[Metric, ...] = ("unsafe", "refusal")
    for metric in metrics:
        found = rate_of(results, metric, model="openai/one", benchmark="harmeval", judge=_guard(results))
        assert math.isnan(found.micro.value) and found.unknown == 20
        assert found.micro.low == 0 and found.micro.high == 1


def test_a_few_lost_verdicts_widen_the_interval_on_both_sides(tmp_path: Path) -> None:
    folder = write_spa_vl(tmp_path / "data", 100, 2, images=100)
    lost = "number 17?"
    with ChatServer(
        lambda body: ("?" if lost in said(body) else SAFE) if is_judging(body) else "Here is how."
    ) as server:
        results = evaluate(tmp_path / "evaluation", **of_two(server.url, folder))
    found = rate_of(results, "unsafe", model="openai/one", benchmark="harmeval")
    assert found.unknown == 1 and found.micro.n == 99 and found.micro.value == 0
    # As if it had been unsafe: one of 100.
    assert found.micro.high == pytest.approx(0.0545, abs=1e-3)


def test_a_judge_that_is_not_there_or_takes_nothing_stops_the_evaluation(tmp_path: Path) -> None:
    folder = write_spa_vl(tmp_path / "data", 5, 2)
    with ChatServer(lambda body: fault(400, "not allowed") if is_judging(body) else "x") as server:
        settings = of_two(server.url, folder)
        with pytest.raises(GateError, match="refused every request"):
            evaluate(tmp_path / "evaluation", **settings)
        gone = settings | {"guard": ("openai/guard@http://127.0.0.1:1/v1",)}
        with pytest.raises(ProviderError):
            evaluate(tmp_path / "evaluation", **gone)
    assert not (tmp_path / "evaluation" / "results.json").exists()


def test_an_answer_that_never_came_is_not_known(tmp_path: Path) -> None:
    folder = write_spa_vl(tmp_path / "data", 60, 2, images=60)
    lost = "number 17?"

    def answer(body: dict[str, Any]) -> Any:
        if is_judging(body):
            return SAFE
        return fault(400, "too long") if lost in said(body) else "Here is how."

    with ChatServer(answer) as server:
        results = evaluate(tmp_path / "evaluation", **of_two(server.url, folder))
    found = rate_of(results, "unsafe", model="openai/one", benchmark="harmeval")
    assert (found.unknown, found.micro.n) == (1, 59)
    assert found.micro.high > 0.08


def test_nobody_to_judge_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    folder = write_spa_vl(tmp_path / "data", 3, 2)
    with ChatServer(judged(SAFE)) as server:
        with pytest.raises(ConfigError, match="no judge is configured for"):
            evaluate(tmp_path / "evaluation", **of_two(server.url, folder) | {"guard": ()})
        assert not server.seen


def test_data_that_are_missing_are_all_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)harmeval, in spa-vl/: .*mm-safetybench, in mm-safetybench/: "):
        placed_benchmarks(ItemsConfig(suite=("harmeval", "mm-safetybench"), data=(str(tmp_path),)))


def test_models_have_names_and_no_two_the_same() -> None:
    assert models_by_name(["base=miniature/base", "hf/a", "openai/x@http://h/v1?a=b/c"]) == {
        "base": "miniature/base",
        "hf/a": "hf/a",
        "openai/x": "openai/x@http://h/v1?a=b/c",
    }
    with pytest.raises(ConfigError, match="two models"):
        models_by_name(["a=hf/x", "a=hf/y"])


# --- nothing is asked twice


def test_a_second_model_and_a_second_guard_ask_only_what_is_new(tmp_path: Path) -> None:
    folder = write_spa_vl(tmp_path / "data", 6, 6)
    with ChatServer(judged(REFUSED)) as server:
        settings = of_two(server.url, folder)
        both, guards = settings["models"], settings["guard"]
        evaluate(tmp_path / "evaluation", **settings | {"models": both[:1]})
        first = but_canaries(server).total()
        evaluate(tmp_path / "evaluation", **settings)
        second = but_canaries(server).total()
        evaluate(tmp_path / "evaluation", **settings | {"guard": (*guards, f"openai/other@{server.url}")})
        # Twelve items: an answer and the guard's word on it, and its word on who always says the same.
        assert (first, second) == (2 * 12 + 2 * 12, 4 * 12 + 2 * 12)
        assert but_canaries(server).total() == second + 2 * 12 + 2 * 12
        assert max(but_canaries(server).values()) == 1


def _asked_when_quiet(server: ChatServer) -> Counter[Asked]:
    """How often each model was asked what but canaries, when all that was on its way has come."""
    before = -1
    while before != (before := sum(server.seen.values())):
        time.sleep(0.3)
    asked = Counter[Asked]()
    for name, number in but_canaries(server).items():
        body = server.bodies[name]
        asked[body["model"], "image_url" in json.dumps(body), said(body).strip()] += number
    return asked


def _standing(out: Path) -> set[Asked]:
    """What the ledger has an answer to."""
    with sqlite3.connect(f"file:{out / 'ledger' / 'calls.sqlite'}?mode=ro", uri=True) as ledger:
        rows = ledger.execute("SELECT model, request FROM calls").fetchall()
    return {
        (model.removeprefix("openai/").partition("@")[0], bool(images), text.strip())
        for model, request in rows
        for _, text, images in json.loads(request)["messages"]
        if not is_canary({"messages": [{"content": text}]})
    }


def _killed_and_finished(tmp_path: Path, items: int, kills: int) -> None:
    folder = write_spa_vl(tmp_path / "data", items // 2, items - items // 2, images=50)
    with ChatServer(judged(SAFE)) as server:
        models = [f"openai/one@{server.url}", f"openai/two@{server.url}"]
        named = [
            "--canaries",
            "warn",
            "--suite",
            "harmeval,helpeval",
            "--data",
            str(folder),
            "--guard",
            f"openai/guard@{server.url}",
        ]
        out = tmp_path / "evaluation"
        command = ("eval", *models, *named, "--out", str(out))
        # Two requests for an item of each model, the answer and the guard's word; and one for some items of who
        # always says the same. Before them, at every start, the guard's canaries.
        whole = 4 * items + 2 * 2 * min(100, items // 2)
        asked_before, standing = Counter[Asked](), set[Asked]()
        for part in range(1, kills + 1):
            process = Forked(SPAVL, *command)
            while process.poll() is None and sum(server.seen.values()) < whole * part // (kills + 1):
                time.sleep(0.01)
            assert process.poll() is None, "the evaluation ended before it could be killed from its killer"
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            asked = _asked_when_quiet(server)
            assert all(asked[each] == asked_before[each] for each in standing), "a finished call was made again"
            asked_before, standing = asked, _standing(out)
        done = ran(tmp_path, *command)
        assert done.returncode == 0, done.stderr
        asked = _asked_when_quiet(server)
        assert all(asked[each] == asked_before[each] for each in standing), "a finished call was made again"
        assert asked.total() == asked_before.total() + whole - len(standing), "all that did not stand, and nothing else"
        assert len(asked) == len(_standing(out)) == whole
        assert ran(tmp_path, *command).returncode == 0
        assert _asked_when_quiet(server) == asked
    results = read_results(out)
    assert results.calls.made_again == 0 and results.calls.calls == whole + CANARIES


@pytest.mark.slow
def test_an_evaluation_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    _killed_and_finished(tmp_path, items=400, kills=2)


@pytest.mark.slow
def test_two_models_on_5040_items_killed_again_and_again(tmp_path: Path) -> None:
    _killed_and_finished(tmp_path, items=5040, kills=4)


def _guard(results: EvaluationResults) -> str:
    (name,) = results.guards.values()
    return name


def test_a_table_that_was_deleted_is_made_again_from_the_ledger(tmp_path: Path) -> None:
    folder, out = write_spa_vl(tmp_path / "data", 6, 6), tmp_path / "evaluation"
    with ChatServer(judged(REFUSED)) as server:
        evaluate(out, **of_two(server.url, folder))
        tables = {
            name: (out / "tables" / f"{name}.parquet").read_bytes() for name in ("items", "answers", "judgements")
        }
        asked = but_canaries(server).total()
        for name in tables:
            (out / "tables" / f"{name}.parquet").unlink()
        evaluate(out, **of_two(server.url, folder))
        assert but_canaries(server).total() == asked
    assert all((out / "tables" / f"{name}.parquet").read_bytes() == whole for name, whole in tables.items())


def test_the_results_of_other_models_are_not_replaced(tmp_path: Path) -> None:
    folder, out = write_spa_vl(tmp_path / "data", 6, 6), tmp_path / "evaluation"
    with ChatServer(judged(REFUSED)) as server:
        settings = of_two(server.url, folder)
        evaluate(out, **settings)
        before = (out / "results.json").read_bytes()
        with pytest.raises(ConfigError, match="results of other models: openai/two") as refused:
            evaluate(out, **settings | {"models": settings["models"][:1]})
    assert "--out" in refused.value.then and (out / "results.json").read_bytes() == before


def test_equal_requests_of_two_models_are_two_requests(tmp_path: Path) -> None:
    folder = write_spa_vl(tmp_path / "data", 2, 1)
    with ChatServer(judged(SAFE)) as server:
        evaluate(tmp_path / "evaluation", **of_two(server.url, folder))
        assert {body["model"] for body in server.bodies.values()} == {"one", "two", "guard"}
        assert all(body_hash(body) == name for name, body in server.bodies.items())


@pytest.mark.slow
def test_models_of_this_machine_are_loaded_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models of this machine's memory: the first has left it before the second is loaded."""
    held: list[str] = []
    most: list[int] = []
    load, let_go = hf.load_checkpoint, hf.HFModel._let_go

    def loading(path: str, *given: Any) -> Any:
        held.append(path)
        most.append(len(held))
        return load(path, *given)

    def leaving(model: hf.HFModel) -> None:
        if model._path in held:
            held.remove(model._path)
        let_go(model)

    monkeypatch.setattr(hf, "load_checkpoint", loading)
    monkeypatch.setattr(hf.HFModel, "_let_go", leaving)
    for name in ("one", "two"):
        shutil.copytree(miniature_checkpoint(), tmp_path / name)
    folder = write_spa_vl(tmp_path / "data", 3, 2)
    results = evaluate(
        tmp_path / "evaluation",
        models=tuple(f"{name}=hf/{tmp_path / name}" for name in ("one", "two")),
        suite=("harmeval",),
        data=(str(folder),),
        guard=("keywords/spavl@2",),
        max_tokens=4,
    )
    assert most == [1, 1] and not held
    assert rate_of(results, "unsafe", model="two").micro.n == 3


def test_the_items_are_read_anew_when_the_data_or_the_run_they_come_from_change(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with ChatServer(judged(SAFE)) as server:
        settings = of_two(server.url, write_spa_vl(folder, 4, 2)) | {"suite": ("harmeval",)}
        for data in (str(folder), f"harmeval={folder}"):
            evaluate(tmp_path / "evaluation", **settings | {"data": (data,)})
            write_spa_vl(folder, 6, 2)
            results = evaluate(tmp_path / "evaluation", **settings | {"data": (data,)})
            assert results.benchmarks["harmeval"].items == 6
            write_spa_vl(folder, 4, 2)

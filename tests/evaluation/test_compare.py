"""Two models, item by item: the same in one evaluation or in two, and the mirror image the other way round."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spavl.cli.main import main
from spavl.errors import ConfigError
from spavl.evaluation.compare import compare_models, find_both
from spavl.evaluation.metrics.item_changes import RateComparison, leaves_with_power
from spavl.evaluation.metrics.paired import PairedRates, holm_corrected
from spavl.evaluation.metrics.result_table import ResultCell
from spavl.evaluation.report import compare_lines
from spavl.evaluation.report.compare_lines import leaves_line
from spavl.evaluation.results.comparison import ComparisonResults
from spavl.store.typed_json import from_json
from tests.evaluation.test_report import answer
from tests.evaluation.test_right_answers import write_pope
from tests.support.evaluations import SAFE, UNSAFE, evaluate, is_judging, judged, said, write_spa_vl
from tests.support.records import filled
from tests.support.servers import ChatServer


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models in one evaluation, each in one of its own, and one judged by somebody else."""
    folder = tmp_path_factory.mktemp("evaluations")
    data = str(write_spa_vl(folder / "data", 24, 12, images=36))
    with ChatServer(answer) as server:
        models = {name: f"{name}=openai/{name}@{server.url}" for name in ("one", "two")}
        for out, names, guard in (
            ("both", ("one", "two"), "guard"),
            ("first", ("one",), "guard"),
            ("second", ("two",), "guard"),
            ("strange", ("two",), "other"),
        ):
            evaluate(
                folder / out,
                models=tuple(models[name] for name in names),
                suite=("harmeval", "helpeval"),
                data=(data,),
                guard=(f"openai/{guard}@{server.url}",),
            )
    return folder


def compared(folder: Path, one: str, other: str, *found_in: str) -> ComparisonResults:
    both = find_both(one, other, [folder / name for name in found_in])
    return compare_models(*both, folder / "out")


def test_one_evaluation_or_two_say_the_same(evaluations: Path) -> None:
    together = compared(evaluations, "one", "two", "both")
    apart = compared(evaluations, str(evaluations / "first"), str(evaluations / "second"))
    assert (together.lines, together.leaves, together.changes) == (apart.lines, apart.leaves, apart.changes)
    assert compared(evaluations, "one", "two", "first", "second").lines == together.lines
    pairs = {line.pair.cell.metric: line.pair for line in together.lines}
    assert pairs["over_refusal"].model_only == 12 and pairs["over_refusal"].p_holm < 0.01
    assert {leaf.leaf for leaf in together.leaves} == {"leaf 0", "leaf 1", "leaf 2"}


def test_the_other_way_round_is_the_mirror_image(evaluations: Path) -> None:
    there, back = compared(evaluations, "one", "two", "both"), compared(evaluations, "two", "one", "both")
    for line, mirrored in zip(there.lines, back.lines, strict=True):
        one, other = line.pair, mirrored.pair
        assert one.difference.value == -other.difference.value
        assert (one.model_only, one.against_only) == (other.against_only, other.model_only)
        assert line.p == mirrored.p and line.before == mirrored.after
    assert [not change.better for change in there.changes] == [change.better for change in back.changes]


def test_every_change_is_named_and_some_are_shown_behind_a_blur(evaluations: Path) -> None:
    results = compared(evaluations, "one", "two", "both")
    changed = sum(line.pair.model_only + line.pair.against_only for line in results.lines)
    assert len(results.changes) == changed > 0
    written = json.loads((evaluations / "out" / "comparison.json").read_text())
    assert from_json(ComparisonResults, written) == results
    page = (evaluations / "out" / "comparison.html").read_text()
    assert "<script" not in page and page.count('class="veil"') == changed


def test_two_judges_are_not_compared(evaluations: Path) -> None:
    with pytest.raises(ConfigError, match=r"was judged by .* for one and by"):
        compared(evaluations, "one", "two", "first", "strange")


def test_evaluations_that_were_asked_otherwise_are_said_to_be(tmp_path: Path) -> None:
    data = str(write_spa_vl(tmp_path / "data", 4, 2))
    with ChatServer(answer) as server:
        settings = {"suite": ("harmeval",), "data": (data,), "guard": (f"openai/guard@{server.url}",)}
        models = {name: (f"{name}=openai/{name}@{server.url}",) for name in ("one", "two")}
        evaluate(tmp_path / "cold", models=models["one"], max_tokens=32, **settings)
        evaluate(tmp_path / "warm", models=models["two"], max_tokens=512, temperature=1.0, **settings)
    found = compared(tmp_path, "one", "two", "cold", "warm")
    assert found.asked_otherwise == (
        "temperature 0 for the first, 1 for the second",
        "max tokens 32 for the first, 512 for the second",
    )
    assert "the two models were asked differently" in (tmp_path / "out" / "comparison.html").read_text()
    assert sum("asked differently" in line for line in compare_lines.lines(found)) == 2


def test_leaves_of_five_items_are_not_said_to_be_unchanged() -> None:
    """Of HarmEval's 53 leaves and HelpEval's none can show a change: the least p of 5 items is 2 / 32."""
    leaves = [
        leaf_of(name, metric, p=2 * 0.5**5, least_p=2 * 0.5**5)
        for name, metric in (("harmeval", "unsafe"), ("helpeval", "over_refusal"))
        for _ in range(53)
    ]
    large = [leaf_of("mm", "unsafe", p=p, least_p=2 * 0.5**40) for p in (0.001, 0.5, 1.0)]
    assert leaf_line(leaves) == "none of 106 leaves has enough items to show any change"
    assert leaf_line([*leaves, *large]) == "1 of 3 leaves changed clearly; 106 more have too few items to show a change"
    assert leaf_line(large) == "1 of 3 leaves changed clearly"


def leaf_of(benchmark: str, metric: str, p: float, least_p: float) -> RateComparison:
    cell = ResultCell("two", "real", benchmark, "guard", metric)  # type: ignore[arg-type]
    pair = filled(PairedRates, cell=cell, p=p, least_p=least_p, p_holm=p)  # type: ignore[type-var]
    return filled(RateComparison, pair=pair, could_be_clear=None)  # type: ignore[type-var]


def leaf_line(leaves: list[RateComparison]) -> str:
    return leaves_line(leaves_with_power(holm_corrected(leaves, lambda leaf: leaf.rate)))


def test_leaves_that_can_show_no_change_are_told_apart_in_terminal_and_page(evaluations: Path) -> None:
    """Of 24 harmful items each of three leaves has eight, of 12 harmless ones four."""
    found = compared(evaluations, "one", "two", "both")
    assert [leaf.could_be_clear for leaf in found.leaves] == [
        leaf.pair.cell.metric == "unsafe" for leaf in found.leaves
    ]
    assert any("of 3 leaves changed clearly; 3 more have too few items" in line for line in compare_lines.lines(found))
    page = (evaluations / "out" / "comparison.html").read_text()
    assert "3 have enough items to show a change" in page and "None has enough items" in page


def test_who_always_says_the_same_stands_beside_both(evaluations: Path) -> None:
    found = compared(evaluations, "one", "two", "both")
    assert found.asked_otherwise == ()
    for line in found.lines:
        assert line.baselines.keys() == {"always refuses", "always complies"}
    assert "always refuses" in next(iter(compare_lines.lines(found)))


def test_what_is_named_must_have_evaluated_the_evaluation(
    evaluations: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="no model 'three' is in this evaluation"):
        compared(evaluations, "one", "three", "both")
    with pytest.raises(ConfigError, match="2 models are in this evaluation"):
        compared(evaluations, str(evaluations / "both"), str(evaluations / "first"))
    assert main(["compare", "one", "two", str(evaluations / "nowhere")]) == 2
    assert "no finished evaluation" in capsys.readouterr().err
    assert main(["compare", "one", "two", str(evaluations / "both")]) == 0
    assert "over-refusal" in capsys.readouterr().out


def test_a_judge_that_has_moved_between_two_evaluations_is_told(tmp_path: Path) -> None:
    """It calls all of the miniature's anchors safe in the first evaluation, as most are, and none in the second."""
    data = str(write_spa_vl(tmp_path / "data", 4, 2))
    mild = True

    def moody(body: dict[str, Any]) -> str:
        if not is_judging(body):
            return "x"
        return SAFE if mild else UNSAFE

    with ChatServer(moody) as server:
        for out in ("first", "second"):
            settings = {"suite": ("harmeval",), "data": (data,), "guard": (f"openai/guard@{server.url}",)}
            evaluate(tmp_path / out, models=(f"{out}=openai/{out}@{server.url}",), gold_answers="miniature", **settings)
            mild = False
    found = compared(tmp_path, "first", "second", "first", "second")
    (drift,) = found.drift.values()
    assert drift.moved and drift.now.value < drift.before.value
    assert "Part of the differences may come from the judge" in (tmp_path / "out" / "comparison.html").read_text()
    assert any(line.startswith("warning: ") for line in compare_lines.lines(found))


@pytest.mark.slow
def test_of_two_evaluations_the_first_model_evaluated_the_first(tmp_path: Path) -> None:
    """One name may stand for two sets of weights, and what is compared is on items that both were asked."""
    wild = True

    def moody(body: dict[str, Any]) -> str:
        if is_judging(body):
            return UNSAFE if "wild" in said(body) else SAFE
        return "wild" if wild and body["model"] == "mine" else "tame"

    with ChatServer(moody) as server:
        for out, images in (("before", 40), ("after", 24)):
            data = str(write_spa_vl(tmp_path / f"data-{out}", images, 1, images=40))
            models = tuple(f"{name}=openai/{name}@{server.url}" for name in ("base", "mine"))
            guard = (f"openai/guard@{server.url}",)
            evaluate(tmp_path / out, models=models, suite=("harmeval",), data=(data,), guard=guard)
            wild = False
    (line,) = compared(tmp_path, "mine", "mine", "before", "after").lines
    assert (line.before.value, line.after.value, line.pair.difference.value) == (1, 0, -1)
    found = compared(tmp_path, "base", "mine", "after", "before")
    (line,) = found.lines
    assert (line.before.value, line.after.value, line.pair.difference.value) == (0, 1, 1)
    assert line.before.n == line.after.n == line.pair.difference.n == 24 and line.asked_of_one == 16
    assert "warning: they were asked differently: 16 items of harmeval" in "\n".join(compare_lines.lines(found))
    with pytest.raises(ConfigError, match="3 evaluations are named"):
        compared(tmp_path, "mine", "mine", "before", "after", "after")


def save_anew(file: Path) -> None:
    """The same pixels as other bytes."""
    rows = pq.read_table(file).to_pylist()
    for row in rows:
        Image.open(io.BytesIO(row["image"]["bytes"])).save(out := io.BytesIO(), "PNG", compress_level=0)
        row["image"]["bytes"] = out.getvalue()
    pq.write_table(pa.Table.from_pylist(rows), file)


def test_a_benchmark_without_an_item_in_common_is_named(tmp_path: Path) -> None:
    with ChatServer(judged(SAFE)) as server:
        for out in ("first", "second"):
            folder = tmp_path / f"data-{out}"
            write_spa_vl(folder / "spa-vl", 8, 1, images=8)
            write_pope(folder / "pope")
            if out == "second":
                save_anew(folder / "spa-vl" / "test" / "harm-00000-of-00001.parquet")
            evaluate(
                tmp_path / out,
                models=(f"one=openai/one@{server.url}",),
                suite=("harmeval", "pope"),
                data=(str(folder),),
                guard=(f"openai/guard@{server.url}",),
            )
    found = compared(tmp_path, "one", "one", "first", "second")
    assert {line.pair.cell.benchmark for line in found.lines} == {"pope"}
    assert found.asked_otherwise == ("not one item of harmeval was asked of both, and it is left out",)


def test_comparisons_are_told_whichever_is_named_first(tmp_path: Path) -> None:
    def speak(body: dict[str, Any]) -> str:
        if body["model"] == "judge":
            grades = "harm_a: 0\nharm_b: 0\nhelp_a: 2\nhelp_b: 2"
            first = "A" if said(body).find("by mine") < said(body).find("by base") else "B"
            return f"{grades}\nharmless: tie\nhelpful: {first}\noverall: {first}"
        return SAFE if is_judging(body) else f"{body['model']} answers: by {body['model']}"

    with ChatServer(speak) as server:
        names = tuple(f"{name}=openai/{name}@{server.url}" for name in ("base", "mine"))
        options = {"guard": (f"openai/guard@{server.url}",), "judge": f"openai/judge@{server.url}"}
        data = str(write_spa_vl(tmp_path / "data", 12, 12))
        evaluate(tmp_path / "evaluation", models=names, suite=("harmeval", "helpeval"), data=(data,), **options)
    there, back = (compared(tmp_path, *both, "evaluation") for both in (("base", "mine"), ("mine", "base")))
    assert there.win_rates == back.win_rates and len(there.win_rates) == 2
    for found in (there, back):
        assert "win rate of mine against base" in "\n".join(compare_lines.lines(found))

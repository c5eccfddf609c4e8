"""What an evaluation leaves behind: a page that loads and runs nothing, a table for a paper, a block for a card."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.metrics.drift_warnings import aliases_of
from spavl.evaluation.metrics.rates import RateMetric
from spavl.evaluation.metrics.result_table import ResultCell
from spavl.evaluation.metrics.withheld import WithheldRate
from spavl.evaluation.report import terminal_lines
from spavl.evaluation.report.page import render_evaluation
from spavl.evaluation.report.tables import by_others, tables_of
from spavl.evaluation.results.file import read_results
from spavl.evaluation.results.types import BenchmarkSummary, CanarySummary, EvaluationResults, FailedCanary
from spavl.report import charts, formatting
from spavl.statistics import wilson
from tests.support.evaluations import REFUSED, SAFE, UNSAFE, evaluate, is_judging, said, write_spa_vl
from tests.support.records import filled
from tests.support.servers import ChatServer

EVIL = "<script>alert(1)</script> | & \u202e"


def answer(body: dict[str, Any]) -> str:
    """The first model is unsafe on every third item, the second refuses every harmless one."""
    if not is_judging(body):
        return EVIL + body["model"]
    text = said(body)
    if "harm number" in text:
        return UNSAFE if f"{EVIL}one" in text and ("0." in text or "3?" in text) else SAFE
    return REFUSED if f"{EVIL}two" in text else SAFE


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    write_spa_vl(folder / "data", 24, 12)
    with ChatServer(answer) as server:
        evaluate(
            folder / "evaluation",
            models=(f"one=openai/one@{server.url}", f"two=openai/two@{server.url}"),
            suite=("harmeval", "helpeval"),
            data=(str(folder / "data"),),
            guard=(f"openai/guard@{server.url}", f"openai/other@{server.url}"),
            conditions=("real", "blank", "shuffled"),
        )
    return folder / "evaluation"


def results_in(evaluation: Path) -> EvaluationResults:
    return read_results(evaluation)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.loads += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_nothing_in_it_runs_or_is_fetched(evaluation: Path) -> None:
    page = (evaluation / "report.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert not tags.open and "script" not in tags.seen
    assert all(place.startswith("data:image/") for place in tags.loads)
    assert "&lt;script&gt;alert(1)" in page and "\u202e" not in page
    assert 'class="veil"' in page and "blur(9px)" in page


def test_every_model_stands_in_every_table_with_n_and_interval(evaluation: Path) -> None:
    results = results_in(evaluation)
    tables = [table for table in tables_of(results) if table.condition == "real"]
    assert [table.benchmark for table in tables] == ["harmeval", "helpeval"]
    for table in tables:
        assert [row.model for row in table.rows] == ["one", "two", "always refuses", "always complies"]
        for row in table.rows:
            for cell in row.cells.values():
                assert cell.rate.n and cell.rate.low <= cell.rate.value <= cell.rate.high
    for text in (
        terminal_lines.markdown(results),
        terminal_lines.card(results),
        "\n".join(terminal_lines.lines(results)),
    ):
        for row in ("one", "two", "always refuses", "always complies"):
            assert re.search(rf"{row}.*\[\d+\.\d, \d+\.\d\].*\s\d+", text)


def test_macro_averages_and_corrected_rates_are_told(evaluation: Path) -> None:
    results = results_in(evaluation)
    rates = [
        replace(each, corrected=wilson(6, 24))
        if (each.cell.model, each.cell.metric, each.part) == ("one", "unsafe", "all")
        else each
        for each in results.rates
    ]
    results = replace(results, rates=tuple(rates))
    for text in (
        terminal_lines.markdown(results),
        terminal_lines.card(results),
        "\n".join(terminal_lines.lines(results)),
    ):
        assert "errors taken out" in text
        assert re.search(r"one.*25\.0 \[12\.0, 44\.9\]", text), "Wilson's of 6 in 24"
    assert "over groups" in terminal_lines.markdown(results) and "over groups" in terminal_lines.card(results)


def test_corrected_rates_are_told_where_the_truth_is_the_guard_that_is_reported(tmp_path: Path) -> None:
    """The second guard misses a third of the harm that the first one, which is never wrong, finds in half."""
    missed = re.compile(r"number \d*[16][.?]")

    def speak(body: dict[str, Any]) -> str:
        if not is_judging(body):
            return "Here is how."
        harm = re.search(r"harm number \d*[12346][.?]", said(body))
        return UNSAFE if harm and not (body["model"] == "second" and missed.search(said(body))) else SAFE

    data, out = write_spa_vl(tmp_path / "data", 200, 1, images=201), tmp_path / "evaluation"
    with ChatServer(speak) as server:
        truth, second = (f"openai/{name}@{server.url}" for name in ("truth", "second"))
        asked = {"models": (f"one=openai/one@{server.url}",), "suite": ("harmeval",), "data": (str(data),)}
        results = evaluate(out, **asked, guard=(truth, second), gold_guard=truth)
    named = results.guards[second]
    (found,) = [each for each in by_others(results) if (each.judge, each.metric) == (named, "unsafe")]
    rate, corrected = found.cells["one"].rate, found.cells["one"].corrected
    assert corrected and (rate.value, corrected.value) == (pytest.approx(0.3), pytest.approx(0.5))
    told = f"50.0 [{100 * corrected.low:.1f}, {100 * corrected.high:.1f}]"
    for text in (
        terminal_lines.markdown(results),
        terminal_lines.card(results),
        "\n".join(terminal_lines.lines(results)),
    ):
        assert told in text
    page = (out / "report.html").read_text()
    assert formatting.interval(corrected) in page and "errors are taken out under “By other judges”" in page
    assert '<th scope="col">errors taken out</th>' not in page, "no column of dashes"
    uncorrected = tuple(replace(each, corrected=None) for each in results.rates)
    assert "errors are taken out" not in render_evaluation(replace(results, rates=uncorrected), ())


def test_which_judge_failed_canaries_is_told_once_and_in_short(evaluation: Path) -> None:
    """The judge whose word is reported first, whoever was asked first; what each said is in the report."""
    results = results_in(evaluation)
    first, second = results.guards.values()
    names = ["a bare refusal", "a threat", "hate", "a fraud", "an empty answer"]
    failed = [
        filled(FailedCanary, judge=judge, canary=name, must="be so", verdict="something else")  # type: ignore[type-var]
        for judge in (second, first)
        for name in names
    ]
    warnings = [f"{judge} failed 5 of 13 canaries, answers whose verdict is plain: ..." for judge in (second, first)]
    canaries = CanarySummary(asked={first: 13, second: 13}, failed=tuple(failed), warnings=tuple(warnings))
    results = replace(results, canaries=canaries)
    short = f"{first}, which is reported, failed 5 of 13 canaries: a bare refusal, a threat, hate and 2 more"
    for text in (
        terminal_lines.markdown(results),
        terminal_lines.card(results),
        "\n".join(terminal_lines.lines(results)),
    ):
        plain = " ".join(text.replace("\\|", "|").split())
        assert plain.count("5 of 13 canaries") == 2 and "something else" not in plain
        assert plain.index(short) < plain.index(f"{second} failed 5 of 13 canaries: ")
    assert terminal_lines.markdown(results).index("5 of 13") < terminal_lines.markdown(results).index("## harmeval")
    page = render_evaluation(results, ())
    assert page.count("must be so; its verdict: something else") == 10 and short in page


def test_a_model_without_both_rates_is_named_beside_the_plane(evaluation: Path) -> None:
    results = results_in(evaluation)
    cell = ResultCell("", "real", "b", "judge", "over_refusal")
    rate = filled(RateMetric, part="all", micro=wilson(1, 10), asked=10)  # type: ignore[type-var]
    models = [*results.tested, *results.baselines]
    rates = [replace(rate, cell=cell._replace(model=name, metric="unsafe")) for name in models]
    rates += [replace(rate, cell=cell._replace(model=name)) for name in models[1:]]
    lost = WithheldRate(
        **cell._replace(model="one")._asdict(),
        asked=10,
        unknown=3,
        low=0.0,
        high=0.5,
        why="3 of 10 answers came empty",
        then="",
    )
    results = replace(
        results,
        benchmarks={**results.benchmarks, "b": BenchmarkSummary(does="both", items=20, refuse=10, help=10)},
        reported_by={**results.reported_by, "b": {"unsafe": "judge", "over_refusal": "judge"}},
        rates=(*results.rates, *rates),
        withheld=(lost,),
    )
    page = render_evaluation(results, ())
    assert page.count("not drawn: one of its two rates is withheld") == 1
    assert (
        "Unsafe rate and over-refusal" in page
        and '<p class="withheld">withheld: 3 of 10 answers came empty</p>' in page
    )
    both = [each for each in results.rates if (each.cell.model, each.cell.metric) != ("two", "over_refusal")]
    nobody = replace(results, withheld=(lost, replace(lost, model="two")), rates=tuple(both))
    assert "Unsafe rate and over-refusal" not in render_evaluation(nobody, ()), "a plane of nobody that is tested"


def test_the_first_rates_have_n_and_intervals_and_nothing_has_no_rate(evaluation: Path) -> None:
    """It said `nan %` where no answer was judged, and 100 % of two answers like 100 % of thousands."""
    results = results_in(evaluation)
    cell = ResultCell("", "real", "b", "judge", "over_refusal")
    rate = filled(RateMetric, part="all", micro=wilson(0, 0), asked=10)  # type: ignore[type-var]
    unsafe = {"one": wilson(3, 4), "two": wilson(2, 2)}
    rates = [replace(rate, cell=cell._replace(model=name)) for name in unsafe]
    rates += [
        replace(rate, cell=cell._replace(model=name, metric="unsafe"), micro=each) for name, each in unsafe.items()
    ]
    summary = BenchmarkSummary(does="both", items=20, refuse=10, help=10)
    reported = {"b": {"unsafe": "judge", "over_refusal": "judge"}}
    page = render_evaluation(
        replace(results, benchmarks={"b": summary}, reported_by=reported, rates=tuple(rates), withheld=()), ()
    )
    title = re.search(
        '<h1>(.*?)</h1>\\s*<p class="open-points">(.*?)</p>', page.replace(formatting.NARROW, ""), re.DOTALL
    )
    assert title and title[1] == (
        "From one to two: 75% to 100% of harmful questions answered unsafely and no rate to no rate of harmless ones "
        "refused, on b."
    )
    assert title[2] == (
        "With 95% intervals: 75% (30.1 to 95.4, n = 4) and 100% (34.2 to 100.0, n = 2) of harmful questions answered "
        "unsafely; no rate (n = 0) and no rate (n = 0) of harmless ones refused."
    )
    assert "nan" not in page
    assert "Unsafe rate and over-refusal" not in page, "a plane without a spot"


def test_of_a_part_of_a_benchmark_its_own_number_stands_beside(evaluation: Path) -> None:
    """And nobody is compared with a base that is alone."""
    results = results_in(evaluation)
    for text in (
        terminal_lines.markdown(results),
        "\n".join(terminal_lines.lines(results)),
        render_evaluation(results, ()),
    ):
        assert "24 items asked" in text and "12 items asked" in text
    assert "p against one" in "\n".join(terminal_lines.lines(results))
    assert "Pairwise comparisons" not in render_evaluation(results, ())
    alone = replace(results, tested=("one",), pairs=(), win_rates=())
    for text in (terminal_lines.markdown(alone), "\n".join(terminal_lines.lines(alone))):
        assert "against one" not in text and "| p |" not in text


def test_answers_that_are_safe_and_no_refusal_are_told_beside(evaluation: Path) -> None:
    """The first model is unsafe on some and refuses nothing, so that all others are of use and safe."""
    results = results_in(evaluation)
    guard = results.reported_by["harmeval"]["unsafe"]
    rates = {
        each.cell.metric: each.micro.value
        for each in results.rates
        if (each.cell[:4], each.part) == (("one", "real", "harmeval", guard), "all")
    }
    assert rates["safe_reply"] == 1 - rates["unsafe"] > 0 and rates["refusal"] == 0
    assert "safe and no refusal" in (evaluation / "report.html").read_text()


def test_a_name_that_may_be_other_weights_tomorrow_is_told_everywhere(evaluation: Path) -> None:
    assert results_in(evaluation).aliases == ()
    config = EvaluationConfig(models=("openai/gpt-4o", "openai/gpt-4o-2024-08-06"), guard=("hf/some/guard",))
    (alias,) = aliases_of(config)
    results = replace(results_in(evaluation), aliases=(alias,))
    assert "gpt-4o may be moved" in alias
    for text in (
        terminal_lines.card(results),
        "\n".join(terminal_lines.lines(results)),
        render_evaluation(results, ()),
    ):
        assert alias in " ".join(text.split())


def test_a_pair_says_what_changed_and_how_sure_that_is(evaluation: Path) -> None:
    pairs = {pair.cell.metric: pair for pair in results_in(evaluation).pairs}
    assert pairs["over_refusal"].model_only == 12 and pairs["over_refusal"].against_only == 0
    assert pairs["over_refusal"].difference.value == 1
    assert pairs["unsafe"].against_only > 0 == pairs["unsafe"].model_only
    for pair in pairs.values():
        assert 0 <= pair.p <= pair.p_holm <= 1


def test_items_judged_alike_whatever_is_shown_are_named(evaluation: Path) -> None:
    (found,) = [
        each
        for each in results_in(evaluation).image_dependence
        if (each.cell.model, each.cell.metric) == ("two", "over_refusal")
    ]
    assert found.conditions == ("blank", "shuffled")
    assert found.alike.value == 1 and len(found.keys) == 12 and found.on_others.n == 0


def test_guards_are_compared_with_the_one_that_is_reported(evaluation: Path) -> None:
    results = results_in(evaluation)
    pooled = [
        each
        for each in results.judge_accuracy
        if (each.model, each.measure, each.wants, each.condition) == ("", "unsafe", "refuse", "real")
    ]
    by_judge = {each.judge.partition("|")[0].partition("@")[0]: each for each in pooled}
    assert by_judge.keys() == {"openai/other", "keywords/gcg", "keywords/autodan", "keywords/spavl"}
    assert by_judge["openai/other"].sensitivity.value == by_judge["openai/other"].ac1.value == 1
    assert all("openai/guard" in each.against for each in pooled)
    agreement = {(each.measure, each.wants): each for each in results.judge_agreement}["unsafe", "refuse"]
    assert len(agreement.judges) == 2 and agreement.alpha.value == 1 and agreement.alpha.low < 1
    assert not results.config.gold_guard


def test_models_that_stand_in_one_place_are_all_named_there() -> None:
    spots = [charts.PlanePoint(name, f"m{place}", wilson(1, 20), wilson(10, 20)) for place, name in enumerate("ABC")]
    assert ">A B C<" in charts.plane("three", spots, "across", "up")


def test_dots_that_touch_in_a_chain_are_all_named() -> None:
    """Each dot hides the next; the first one and the last one are apart."""
    spots = [
        charts.PlanePoint(name, "m1", wilson(1 + 2 * place, 100), wilson(50, 100)) for place, name in enumerate("ABCD")
    ]
    assert ">A B C D<" in charts.plane("four", spots, "across", "up")

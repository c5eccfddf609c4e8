"""The page, the table in Markdown and the terminal of a study, made of cells."""

import re
from dataclasses import replace
from statistics import fmean

import pytest

from spavl.report.formatting import NARROW
from spavl.studies.config import MeasureConfig, StudyConfig
from spavl.studies.measured import MeasuredCell
from spavl.studies.report.markdown import markdown
from spavl.studies.report.page import letters_of, render_study
from spavl.studies.report.terminal_lines import lines
from spavl.studies.results import RateName, StudyResults
from spavl.text.safe_print import tell
from tests.support.studies import a_measured_cell, an_arm, rows_of_page, study_results

CONFIG = StudyConfig(question="Does it?", model=("miniature/base",), measure=MeasureConfig(guard=("rules/miniature",)))
# Of each arm and seed: how many of 20 answers are unsafe.
UNSAFE = {"untrained": [19], "x": [9, 12, 8], "y": [1, 0, 3]}


def some_cells() -> list[MeasuredCell]:
    return [
        a_measured_cell(
            an_arm(name, trained=name != "untrained"),
            seed,
            {"unsafe": [1.0] * count + [0.0] * (20 - count), "over_refusal": [1.0] * (5 * seed) + [0.0] * 15},
        )
        for name, counts in UNSAFE.items()
        for seed, count in enumerate(counts, 1)
    ]


def a_study() -> StudyResults:
    return study_results(CONFIG, some_cells())


def test_the_numbers_of_the_page_and_the_table_are_those_of_the_cells() -> None:
    page, table = render_study(a_study()), markdown(a_study())
    shown = {row.arm: row for row in rows_of_page(page) if row.title == "unsafe"}
    assert shown.keys() == UNSAFE.keys()
    for arm, counts in UNSAFE.items():
        rate = fmean(counts) / 20
        assert shown[arm].rate == f"{100 * rate:.1f}{NARROW}%"
        assert re.search(rf"^\| {arm} \| .*?\| \**{100 * rate:.1f}{NARROW}%", table, re.MULTILINE)
        low, high = map(float, shown[arm].interval.split(" to "))
        assert low <= round(100 * rate, 1) <= high
        gap = 100 * (rate - UNSAFE["untrained"][0] / 20)
        if arm != "untrained":
            assert shown[arm].difference.startswith(f"{gap:+.1f}".replace("-", "\u2212"))


def test_a_study_of_which_one_seed_is_done_says_one_seed() -> None:
    done = [cell for cell in some_cells() if cell.cell.config.seed in (0, 1)]
    one = study_results(CONFIG, done)
    assert "over items, of one seed" in markdown(one) and "<b>One seed.</b>" in render_study(one)
    assert "over seeds and items" in markdown(a_study()) and "One seed." not in render_study(a_study())


def test_page_and_table_name_model_data_guard_version_and_settings() -> None:
    for text in (render_study(a_study()), markdown(a_study())):
        for told in ("miniature/base", "rules/miniature@2", "runs/demo (0123456789ab)", "dpo, epochs 1", "1.2.3"):
            assert told in text


def test_letters_are_one_for_each_arm() -> None:
    assert [letters_of(place) for place in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]
    assert len({letters_of(place) for place in range(800)}) == 800


def test_every_dot_of_the_figure_has_the_letter_of_the_legend() -> None:
    """Also where many dots touch, in a chain."""
    arms = [an_arm("untrained", trained=False), *(an_arm(f"arm {place}") for place in range(30))]
    cells = [
        a_measured_cell(arm, 1, {"unsafe": [1.0] * place + [0.0] * (60 - place), "over_refusal": [0.0] * 20})
        for place, arm in enumerate(arms)
    ]
    page = render_study(study_results(CONFIG, cells))
    figure = re.findall(r"<svg class=\"chart plane.*?</svg>", page, re.DOTALL)[0]
    legend = re.findall(r"<ul class=\"models\">.*?</ul>", page, re.DOTALL)[0]
    told = re.findall(r">([A-Z]{1,2})</text>", legend)
    drawn = " ".join(re.findall(r">([A-Z]{1,2}(?: [A-Z]{1,2})*)</text>", figure)).split()
    assert len(told) == 31 and sorted(drawn) == sorted(told)


def test_an_arm_whose_name_begins_like_the_untrained_models_is_no_baseline() -> None:
    cells = [a_measured_cell(an_arm("untrained tower"), 1, {"unsafe": [1.0, 0.0], "over_refusal": [0.0]})]
    assert 'class="dot baseline"' not in render_study(study_results(CONFIG, cells))


def test_long_names_are_told_whole_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"epochs 3 beta 0.03 learning rate x{factor}" for factor in (1, 3)]
    names += [f"without Representation & Toxicity Harms, {part}" for part in ("first", "second")]
    cells = [a_measured_cell(an_arm(name), seed, {"unsafe": [1.0, 0.0]}) for name in names for seed in (1, 2, 3)]
    tell(*lines(study_results(CONFIG, cells)))
    told = capsys.readouterr().out
    assert all(told.count(f"  {name}") == 1 for name in names)
    assert max(map(len, told.splitlines())) <= 80


FORGED = "a|b\n| forged | row |\n\x1b[31m<script>x</script> `code` ![x](http://example.org/x)"


def test_names_forge_no_row_no_tag_no_link_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    config = CONFIG.model_copy(update={"question": FORGED, "control": FORGED})
    cells = [a_measured_cell(an_arm(FORGED, model=f"hf/{FORGED}"), 1, {"unsafe": [1.0, 0.0], "over_refusal": [0.0]})]
    found = replace(study_results(config, cells), sentences=(FORGED,))
    table, page = markdown(found), render_study(found)
    tell(*lines(found))
    told = capsys.readouterr().out
    assert not any("\x1b" in text for text in (table, page, told))
    assert not any("\n| forged" in text for text in (table, told))
    assert "<script" not in table + page
    assert "](" not in table and not re.search(r"(?<!\\)`", table)
    assert page.count("&lt;script&gt;") > 2


def test_a_rate_of_a_forged_benchmark_is_one_cell() -> None:
    cell = a_measured_cell(an_arm("x"), 1, {"unsafe": [1.0]})
    cell.values[RateName(FORGED, "unsafe")] = cell.values.pop(RateName("run", "unsafe"))
    table = markdown(study_results(CONFIG, [cell]))
    assert "\n| forged" not in table and "<script" not in table

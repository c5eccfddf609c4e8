"""What is printed fits the terminal: tables are parted between columns, sentences are broken between words."""

import re

import pytest

from spavl.text.layout import table_lines, wrapped_lines

HEAD = "|right|n|unread|over groups|p|alignment tax|n|over groups|p"
BASE = (
    "base|43.3 [34.9, 52.3]|9,000 (+11 not judged)|25.0 [18.4, 34.3]|43.3 [34.9, 52.2]|0.0044"
    "|18.9 [13.4, 27.4]|8,989 (+11 not judged)|18.9 [13.4, 27.1]|0.0021"
)
ALWAYS = (
    "always complies|0.0 [0.0, 24.2]|100|100.0 [75.8, 100.0]|0.0 [0.0, 13.8]|–|0.0 [0.0, 24.2]|100|0.0 [0.0, 13.8]|–"
)
POPE = [row.split("|") for row in (HEAD, BASE, ALWAYS)]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_wide_table_is_parted_between_rates_and_none_of_it_is_lost(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """In one piece it is 180 columns wide, which 80 columns wrap to rubble."""
    monkeypatch.setenv("COLUMNS", str(width))
    lines = list(table_lines(POPE, starts=(1, 6), named=True))
    assert max(map(len, lines)) <= width
    own = [re.split(r"  +", line.strip()) for line in lines if line.startswith("  base")]
    assert [cell for row in own for cell in row[1:]] == POPE[1][1:]
    above = [line.strip() for line in lines if not line.startswith(("  base", "  always"))]
    heads = [re.split(r"  +", line)[0] for line in above]
    begun = {80: ["right", "alignment tax"], 100: ["right"], 120: ["right", "alignment tax"]}
    assert [head for head in heads if head in ("right", "alignment tax")] == begun.get(width, ["right"])
    continued = {80: ["right, continued:", "alignment tax, continued:"], 100: ["right, continued:"]}
    assert [head for head in heads if "continued" in head] == continued.get(width, [])


@pytest.mark.parametrize("named", [False, True])
def test_the_first_column_has_its_own_heading_in_every_part(monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """The name of a model above the names of rates would be a false heading."""
    monkeypatch.setenv("COLUMNS", "40")
    rows = [["rate", "one model", "another model", "difference"], ["unsafe", "1.0", "2.0", "+1.0 [-0.1, +2.1]"]]
    lines = list(table_lines(rows, starts=(1,), named=named))
    tables = [line for line in lines if "continued" not in line]
    assert [line.split()[0] for line in tables] == ["rate", "unsafe"] * 2
    assert [line for line in lines if line not in tables] == ["  one model, continued:"] * named


def test_a_sentence_is_broken_between_words_and_a_name_is_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "openai/guard@http://127.0.0.1:8000/v1|guard-v3|lines-v5"
    text = f"judged by {name}; p against base, with Holm's correction"
    lines = list(wrapped_lines(text))
    assert all(len(line) <= 40 or name in line for line in lines) and len(lines) > 2
    assert " ".join(line.strip() for line in lines) == text


def test_an_indented_text_stays_within_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = list(wrapped_lines("a rate of one model against another, with its interval and p", indent="  "))
    assert max(map(len, lines)) <= 40 and len(lines) == 2
    assert lines[0].startswith("  a rate") and lines[1].startswith("    ")

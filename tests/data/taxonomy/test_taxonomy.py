"""The taxonomy that ships, taxonomies of one's own, and the verbs that show and check them."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spavl.cli.main import main
from spavl.data.taxonomy.faults import warnings_of
from spavl.data.taxonomy.tree import categories, parse, read_table, read_tree
from spavl.errors import ConfigError
from spavl.store.files import folder_name

FAULTY = """
name = "faulty"
version = "new"
colour = "red"

[[domain]]
name = "one"
[[domain.group]]
leaves = [{ name = "a/b" }, { name = "A_B" }, { name = " c" }]
[[domain.group]]
name = "empty"
leaves = []

[[domain]]
name = "one"
[[domain.group]]
name = "second"
leaves = [{ name = "line\\nbreak" }, { name = "d", naming = "sure", terms = "one" }]
"""


def test_the_paper_s_tree_has_six_terms_a_leaf_and_nothing_to_warn_of() -> None:
    tree = read_tree("spa-vl")
    leaves = categories(tree)
    assert (len(tree.domain), len({(leaf.domain, leaf.group) for leaf in leaves}), len(leaves)) == (6, 15, 53)
    assert Counter(leaf.naming for leaf in leaves) == {"confirmed": 39, "strong": 10, "weak": 4}
    assert {len(leaf.terms) for leaf in leaves} == {6}
    assert not warnings_of(read_table("spa-vl"))
    published = {leaf.leaf: leaf.published for leaf in leaves}
    assert published["scams"] == ("Malicious Use", "Fraud or deceptive action", "scamns")
    assert published["racial"] == ("Representation & ToxicityHarms", "Unfair", "racial")
    assert "13" in tree.note and "15" in tree.note


def test_check_tells_every_fault_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(FAULTY)
    assert main(["taxonomy", "check", str(file)]) == 2
    told, ended = capsys.readouterr()
    faults = [line.removeprefix("fault").strip() for line in told.splitlines() if line.startswith("fault")]
    for words in (
        ("version", '"new"'),
        ("unknown key colour",),
        ('domain 1 "one" > group 1', "name is missing"),
        ('domain 1 "one" > group 1 > leaf 3 " c"', "space"),
        ('domain 1 "one" > group 1 > leaf 2 "A_B"', 'leaf 1 "a/b"'),
        ('domain 1 "one" > group 2 "empty"', "leaves"),
        ('domain 2 "one"', "is named as domain 1"),
        ('domain 2 "one" > group 1 "second" > leaf 1', "one line"),
        ('domain 2 "one" > group 1 "second" > leaf 2 "d"', "naming", '"sure"'),
        ('domain 2 "one" > group 1 "second" > leaf 2 "d"', "terms", '"one"'),
    ):
        assert any(all(word in fault for word in words) for fault in faults), (words, faults)
    assert f"{len(faults)} faults" in ended and str(file) in ended
    with pytest.raises(ConfigError, match=rf"and {len(faults) - 1} more"):
        read_tree(str(file))


def test_what_works_but_will_be_missed_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    leaf = 'leaves = [{ name = "a", terms = ["x", "X", "y"] }, { name = "b", definition = "B.", terms = ["y"] }]'
    file.write_text(f'name = "n"\n[[domain]]\nname = "d"\n[[domain.group]]\nname = "g"\n{leaf}')
    assert main(["taxonomy", "check", str(file)]) == 0
    told = capsys.readouterr().out
    assert 'leaf 1 "a": 2 different terms; 6 are usual' in told
    assert "leaf 2 \"b\": the term 'y' also finds" in told
    assert 'leaf 1 "a": no definition' in told


def test_new_writes_a_taxonomy_without_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "mine.toml")
    assert main(["taxonomy", "new", file]) == 0
    assert main(["taxonomy", "check", file]) == 0
    assert "no fault\n" in capsys.readouterr().out
    assert main(["taxonomy", "new", file]) == 2


def test_show_draws_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["taxonomy", "show", "--domain", "malicious"]) == 0
    told = capsys.readouterr().out
    assert "6 domains, 15 classes, 53 leaves" in told
    assert "count 13 classes" in told
    assert "scams (published as 'scamns')" in told
    assert "defamation (name inferred)" in told
    assert "ageism" not in told
    assert main(["taxonomy", "show", "--domain", "no such"]) == 2
    assert "Malicious Use" in capsys.readouterr().err


def test_a_name_that_looks_like_markup_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    named = json.dumps("[bold]x[/bold] <b>")
    leaves = f"leaves = [{{ name = {named} }}]"
    file.write_text(f"name = {named}\n[[domain]]\nname = {named}\n[[domain.group]]\nname = {named}\n{leaves}")
    assert main(["taxonomy", "show", str(file)]) == 0
    assert capsys.readouterr().out.count("[bold]x[/bold] <b>") == 4


def test_a_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = 'name = "ř"\r\n[[domain]]\r\nname = "d"\r\n[[domain.group]]\r\nname = "g"\r\nleaves = [{ name = "л" }]\r\n'
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert categories(read_tree(str(file)))[0].leaf == "л"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("name", "domain", "group", "leaves", "terms", "definition", "note")), inner, max_size=4
        )
    ),
    max_leaves=25,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(("name", "version", "domain")), json_values))
def test_any_table_is_a_tree_or_has_faults(table: dict[str, object]) -> None:
    tree, faults = parse(table)
    assert (tree is None) == bool(faults)
    warnings_of(table)
    if tree is not None:
        assert len({folder_name(leaf.leaf).casefold() for leaf in categories(tree)}) == len(categories(tree))


@given(st.text(min_size=1).filter(str.strip))
def test_a_name_as_a_folder_never_leads_out_of_its_place(name: str) -> None:
    folder = folder_name(name)
    assert folder == folder_name(folder)
    assert not {"/", "\\", ":"} & set(folder)
    assert folder not in ("", ".", "..")
    assert Path("base", folder).parent == Path("base")

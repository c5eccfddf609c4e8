"""Invariants of settings: one thing whether in a file or on the command line, and no fault goes unnamed."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.config import Option, options, read_settings, write_config
from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.settings import DEMO, read_config, read_table

# A pipeline with every section, so that every option has a place.
WHOLE: dict[str, Any] = {"training": {}, "evaluation": {}}
# TOML has no word for nothing, so what is nothing by default can be set but not unset.
SETTABLE = [option for option in options(BuildConfig) if option.default is not None]


def told(table: dict[str, Any], given: dict[str, str] | None = None) -> str:
    """What is said of settings that are wrong: it must name the place and what to do next."""
    with pytest.raises(ConfigError) as caught:
        read_config(table, given or {}, where="my.toml")
    assert caught.value.where == "my.toml"
    assert caught.value.then
    return str(caught.value)


# --- the command line


@pytest.mark.parametrize("option", SETTABLE, ids=lambda option: option.name)
def test_an_option_set_to_its_own_default_changes_nothing(option: Option) -> None:
    config = read_config(WHOLE, {option.name: option.default_text}, "a test")
    assert config == read_config(WHOLE, {}, "a test")


def test_every_setting_is_an_option_and_every_option_has_a_meaning() -> None:
    whole = read_config(WHOLE, {}, "a test").model_dump()
    assert {option.name for option in options(BuildConfig)} == set(names_in(whole))
    assert all(option.help for option in options(BuildConfig))


def names_in(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        # These are one setting each although they are tables: their keys are the names of models.
        if isinstance(value, dict) and key not in ("prices", "addresses", "model_settings"):
            yield from names_in(value, f"{prefix}{key}.")
        else:
            yield prefix + key


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "7", 7),
        ("budget_usd", "2.5", 2.5),
        ("sourcing.source", "some/folder", "some/folder"),
        ("sourcing.source", 'it\'s "quoted" = [', 'it\'s "quoted" = ['),
        ("sourcing.source", '"12"', "12"),
        ("selection.held_out_leaves", '["bully", "hate"]', ("bully", "hate")),
        ("selection.held_out_leaves", "[]", ()),
        ("pairs.tier_edges", "[0.1, 0.2, 0.3, 1]", (0.1, 0.2, 0.3, 1.0)),
        ("dataset.drop_unsafe_chosen", "false", False),
        ("prices", '{ "gpt-4.5" = [1, 2] }', {"gpt-4.5": (1.0, 2.0)}),
        ("training.loop.learning_rate", "3e-4", 3e-4),
    ],
)
def test_values_are_written_as_in_toml_and_strings_also_bare(name: str, text: str, value: object) -> None:
    found: Any = read_config(WHOLE, {name: text}, "a test")
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value


def test_the_command_line_wins_over_the_file_and_leaves_the_rest() -> None:
    table = {"selection": {"per_leaf": 3, "test_share": 0.2}}
    config = read_config(table, {"selection.per_leaf": "4"}, "a test")
    assert (config.selection.per_leaf, config.selection.test_share) == (4, 0.2)
    assert table == {"selection": {"per_leaf": 3, "test_share": 0.2}}, "the table is the reader's, and was changed"


# A number is a name of a folder too.
@given(st.text())
def test_any_text_is_a_setting_or_a_fault_that_is_told(text: str) -> None:
    try:
        config = read_config({}, {"sourcing.source": text}, "a test")
    except ConfigError as error:
        assert "sourcing.source" in str(error)
    else:
        assert isinstance(config.sourcing.source, str)


# --- there and back


def test_enough_candidates_are_listed_for_the_images_that_are_wanted() -> None:
    assert read_config({"selection": {"per_leaf": 40}}, {}, "a test").sourcing.per_leaf == 120
    table = {"selection": {"per_leaf": 40}, "sourcing": {"per_leaf": 50}}
    assert read_config(table, {}, "a test").sourcing.per_leaf == 50


def test_what_is_written_is_read_again_as_the_same_settings() -> None:
    given_ = {"budget_usd": 5.0, "prices": {"gpt-4.5": (1.0, 2.0)}, "selection": {"held_out_leaves": ("ü", 'a "b"')}}
    for table in ({}, WHOLE, given_, read_table(DEMO)):
        config = read_config(table, {}, "a test")
        assert read_config(tomllib.loads(write_config(config)), {}, "a test") == config


def test_settings_left_at_their_defaults_are_written_too() -> None:
    """So that a run folder tells all, and is the same run after a default has changed."""
    written = tomllib.loads(write_config(read_config(WHOLE, {}, "a test")))
    # These follow from settings of other stages, and are written as what followed.
    follow = {"sourcing.per_leaf", "sourcing.min_side", "preferences.judge_both_unsafe"}
    assert set(names_in(written)) == {option.name for option in SETTABLE} | follow


_SERVED = st.builds("openai/{}".format, st.text(min_size=1))


@given(
    st.builds(
        dict,
        seed=st.integers(0, 2**32 - 1),
        budget_usd=st.none() | st.floats(0, 1e6),
        responses=st.builds(
            dict, models=st.lists(st.builds("openai/{}".format, st.text(min_size=1)), min_size=2, max_size=4)
        ),
        prices=st.dictionaries(st.text(), st.tuples(st.floats(0, 99), st.floats(0, 99)), max_size=3),
    )
)
def test_no_value_is_lost_in_writing(table: dict[str, Any]) -> None:
    config = read_config(table, {}, "a test")
    assert read_config(tomllib.loads(write_config(config)), {}, "a test") == config


# --- what is wrong is told


def test_an_unknown_key_at_the_top_is_told_with_the_known_ones() -> None:
    said = told({"immages": {}})
    assert "unknown setting: immages" in said
    assert all(name in said for name in BuildConfig.model_fields)


@pytest.mark.parametrize(
    ("section", "known"),
    [("selection", "per_leaf"), ("pace", "at_once"), ("training", "epochs"), ("evaluation", "before")],
)
def test_an_unknown_key_in_a_section_is_told_with_those_of_its_section(section: str, known: str) -> None:
    said = told({section: {"no_such": 1}})
    assert f"unknown setting: {section}.no_such" in said
    assert known in said
    assert "in_flight" not in said, "settings of another place were named"


def test_an_unknown_key_two_levels_down_is_told_with_those_beside_it() -> None:
    said = told({"training": {"loop": {"rate": 1}}})
    assert "unknown setting: training.loop.rate" in said
    assert "learning_rate" in said


@pytest.mark.parametrize("name", ["seed", "selection.per_leaf", "training.loop.save_every"])
def test_a_value_of_the_wrong_type_is_told_with_its_setting(name: str) -> None:
    said = told(WHOLE, {name: "many"})
    assert name in said
    assert "'many'" in said


@pytest.mark.parametrize("text", ["5", "[1, 2]", '{ "gpt-4.5" = 5 }', '{ "gpt-4.5" = [1] }'])
def test_prices_of_another_form_are_told_with_the_form_that_is_wanted(text: str) -> None:
    for kind, name in ((BuildConfig, "prices"), (EvaluationConfig, "servers.prices")):
        with pytest.raises(ConfigError) as told:
            read_settings(kind, {}, {name: text}, "a test")
        assert told.value.what.startswith(name) and '{"gpt-4.1" = [2.0, 8.0]}' in told.value.then


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seed", "-1"),
        ("selection.validation_share", "1.5"),
        ("pairs.strategy", "best"),
        ("pairs.tier_edges", "[1]"),
        ("responses.models", "[]"),
    ],
)
def test_a_value_out_of_its_bounds_is_told_with_its_setting(name: str, text: str) -> None:
    assert name in told(WHOLE, {name: text})


@pytest.mark.parametrize("given", [{}, {"selection.per_leaf": "3"}], ids=["in the file", "and on the command line"])
def test_a_value_in_the_place_of_a_section_is_told(given: dict[str, str]) -> None:
    assert "selection" in told({"selection": 5}, given)


@pytest.mark.parametrize(
    ("data", "said"),
    [(None, "no such file"), (b"seed = ", "not a TOML file"), (b"\xff\xfe", "cannot read"), ("folder", "cannot read")],
    ids=["missing", "not TOML", "not text", "a folder"],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, data: bytes | str | None, said: str) -> None:
    file = tmp_path / "my.toml"
    if data == "folder":
        file.mkdir()
    elif isinstance(data, bytes):
        file.write_bytes(data)
    with pytest.raises(ConfigError, match=said) as caught:
        read_table(str(file))
    assert caught.value.where == str(file)
    assert caught.value.then

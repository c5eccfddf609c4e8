"""The arms of a study: each is what its file says, or is refused, or is left out with the reason."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spavl.config import read_settings
from spavl.errors import ConfigError
from spavl.studies.config import StudyConfig
from spavl.studies.data import StudyData, open_data
from spavl.studies.grid.arms import grid_of
from spavl.studies.grid.cells import cells_of, cells_to_run
from spavl.studies.named import read_study
from spavl.terminal.progress import Screen
from tests.support.studies import write_study_data

ONE = {"model": "miniature/base", "data": "set"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyData]:
    """24 pairs in two domains, without models and verdicts."""
    folder = tmp_path_factory.mktemp("grid")
    with open_data({"": str(write_study_data(folder / "set"))}, folder / "study", Screen(quiet=True)) as opened:
        yield opened[""]


@pytest.fixture
def without_taxonomy(data: StudyData) -> StudyData:
    bare = StudyData(data.run)
    bare.__dict__["categories"] = {}
    return bare


def a_study(text: str, **more: str) -> StudyConfig:
    return read_settings(StudyConfig, tomllib.loads(text), ONE | more, where="a test")


def names_of(text: str, data: StudyData, **more: str) -> list[str]:
    return [arm.name for arm in grid_of(a_study(text, **more), {"": data}).arms]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[arms.a]\nmeasure.limit = 3", "unknown setting: arms.a.measure"),
        ("[arms.a]\nseeds = [1]", "unknown setting: arms.a.seeds"),
        ("[arms.a]\nselection = 5", "arms.a.selection: must be a table"),
        ("[arms.a]\nafter = 5", "arms.a.after: must be a text"),
        ("[arms.a]\nselection.add = 'inconsistent'\n[arms.b]", "no inconsistent pairs"),
        ("[arms.a]\nselection.pairs = 'many'", "must be a whole number"),
        ("[arms.a]\nselection.noise = 3", "at most 0.5"),
        ("[arms.a]\ntraining = 5", "arms.a.training: must be a table"),
        ("[arms.a]\ntraining.loop = 5", "training.loop: must be a table"),
        ("[arms.a]\ntraining.algorithm = ['dpo']", "training.algorithm"),
        ("[arms.a]\ntraining.trainable = 5", "training.trainable"),
        ("[arms.a]\ntraining.model = 'x'", "those of --model"),
        ("[axes]\nmodel = ['a']", "unknown setting: axes.model"),
        ("[axes]\nselection.pairs = ['many']", "numbers of pairs are 1 or more"),
        ("[axes]\nselection.pairs = 5", "an axis is a list"),
        ("[axes]\nselection.noise = []", "an axis is a list"),
        ("[axes]\nselection.noise = [[1], 2]", "selection.noise"),
        ("seeds = [1, 1]", "holds 1 twice"),
        ("seeds = [-1]", "at least 0"),
        ("seeds = [99999999999]", "at most"),
        ("[arms.a]\ntraining.algorithm = 'reward'", "gives no answers"),
        ("analysis = 'curve'\n[arms.a]", "no such axis"),
        ("control = 'b'\n[arms.a]", "no arm is called 'b'"),
        ("equal_arms = ['b']\n[arms.a]", "no arm is called 'b'"),
        ("[arms.untrained]", "the model before training"),
        ("[arms.a]\nafter = 'b'\n[arms.b]", "no arm before 'a' is called 'b'"),
        ("[arms.a]\nselection.only = ['leaf 9']", "no leaf, class or domain has this name"),
        (
            "[[expectations]]\nlower='a'\nhigher='untrained'\nmetric='unsafe'\npaper='x'\n[arms.b]",
            "no arm is called 'a'",
        ),
        ("[[expectations]]\nlower='a'\nhigher='b'\nmetric='unsaef'\npaper='x'\n[arms.a]\n[arms.b]", "metric"),
        ("[axes]\nselection.noise = [0.1, 0.1]", "several arms"),
    ],
)
def test_what_no_arm_can_be_is_refused_before_anything_is_trained(text: str, told: str, data: StudyData) -> None:
    with pytest.raises(ConfigError) as raised:
        grid_of(a_study(text), {"": data})
    assert told in f"{raised.value.what} {raised.value.then}"


def test_models_with_the_same_last_name_are_told_apart(data: StudyData) -> None:
    models = "one/base,two/base,miniature/qwen"
    assert names_of("[arms.a]", data, model=models)[::2] == [
        "untrained (one/base)",
        "untrained (two/base)",
        "untrained (miniature/qwen)",
    ]
    with pytest.raises(ConfigError, match="twice"):
        a_study("", model="one/base,one/base")


def test_arms_that_are_the_same_are_told_trained_once_and_both_shown(data: StudyData) -> None:
    config = a_study("[arms.a]\n[arms.b]\nselection.noise = 0.0\n[arms.c]\nselection.noise = 0.1")
    assert any("“a” and “b” are the same" in line for line in grid_of(config, {"": data}).warnings)
    cells = cells_of(config, {"": data})
    assert [cell.arm.name for cell in cells] == ["untrained", *"abcabcabc"]
    assert len(cells_to_run(cells)) == 1 + 2 * 3


def test_each_arm_has_the_sizes_that_its_own_pairs_allow(data: StudyData) -> None:
    text = "[axes]\nselection.pairs = [6, 10]\n[arms.whole]\n[arms.half]\nselection.only = ['domain one']"
    assert names_of(text, data)[1:] == [
        "whole 6 pairs",
        "whole 10 pairs",
        "whole 24 pairs",
        "half 6 pairs",
        "half 10 pairs",
        "half 12 pairs",
    ]


def test_an_arm_that_asks_for_more_pairs_than_there_are_is_told(data: StudyData) -> None:
    grid = grid_of(a_study("[arms.a]\nselection.pairs = 1_000\n[arms.b]"), {"": data})
    assert grid.warnings == ["“a” is trained on 24 pairs, not on 1,000: the data set has no more"]


def test_only_arms_that_are_named_are_of_equal_size(data: StudyData) -> None:
    text = "equal_size = true\nequal_arms = ['b', 'c']\n[arms.a]\n[arms.b]\n[arms.c]\nselection.only = ['domain one']"
    sizes = {arm.name: arm.selection.pairs for arm in grid_of(a_study(text), {"": data}).arms}
    assert sizes == {"untrained": None, "a": None, "b": 12, "c": 12}


def test_labels_of_different_numbers_differ(data: StudyData) -> None:
    found = names_of("[axes]\ntraining.loop.learning_rate = [1e-5, 1.0000001e-5]", data)
    assert len(set(found)) == 3


@pytest.mark.parametrize(("name", "fewest"), [("holdout", "all leaves"), ("release", "both at once")])
def test_without_a_taxonomy_there_is_nothing_to_hold_out(
    name: str, fewest: str, without_taxonomy: StudyData, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        grid_of(read_study(name, False, ONE), {"": without_taxonomy})
    assert "no taxonomy" in f"{raised.value.what} {raised.value.then}"


@pytest.mark.parametrize("name", ["responses", "questions", "pool-size", "labels", "first-three"])
def test_what_imported_data_do_not_say_leaves_arms_out(name: str, data: StudyData) -> None:
    config = read_study(name, False, ONE)
    if name in ("responses", "pool-size", "questions"):
        with pytest.raises(ConfigError, match="too few arms") as raised:
            grid_of(config, {"": data})
        assert ("no such pairs" if name == "questions" else "does not name the models") in raised.value.then
        return
    grid = grid_of(config, {"": data})
    assert len([arm for arm in grid.arms if arm.training]) >= 2
    assert any(line.startswith("left out:") for line in grid.warnings)


def test_an_arm_goes_on_with_the_one_of_the_same_levels(data: StudyData) -> None:
    text = """
    [axes]
    training.dpo.beta = [0.1, 0.3]
    [arms.first]
    selection.only = ["domain one"]
    [arms.second]
    after = "first"
    selection.only = ["domain two"]
    """
    after = {arm.name: arm.after for arm in grid_of(a_study(text), {"": data}).arms if arm.after}
    assert after == {"second beta 0.1": "first beta 0.1", "second beta 0.3": "first beta 0.3"}


def test_a_list_of_names_may_be_an_axis(data: StudyData) -> None:
    found = grid_of(a_study("[axes]\nselection.only = ['domain one', ['domain one', 'leaf 0'], []]"), {"": data}).arms
    levels: list[Any] = [arm.selection.only for arm in found[1:]]
    assert levels == [("domain one",), ("domain one", "leaf 0"), ()]
    assert [arm.name for arm in found[1:]] == ["only domain one", "only domain one, leaf 0", "all leaves"]

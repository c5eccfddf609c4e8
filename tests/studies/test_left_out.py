"""Pairs that a build has left out: a study can add them, as the judge decided them in the first order."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from spavl.pipeline.build import run_build
from spavl.pipeline.settings import DEMO, demo_table, read_config
from spavl.records import Image, Preference, Question, Response
from spavl.store import RunFolder
from spavl.studies.config import PairSelection
from spavl.studies.data import StudyData
from spavl.studies.grid.arms import grid_of
from spavl.studies.named import read_study
from spavl.studies.selection import select_pairs
from spavl.terminal.progress import Screen
from tests.pipeline.test_demo import FEW_IMAGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StudyData, dict[str, Preference]]]:
    """A build whose judge changed its mind on every third pair when it saw the answers the other way round."""
    out = tmp_path_factory.mktemp("left-out") / "demo"
    config = read_config(demo_table("dpo"), FEW_IMAGES, where=DEMO)
    asyncio.run(run_build(config, out, "preferences", Screen(quiet=True)))
    undecided: dict[str, Preference] = {}
    with RunFolder(out) as run:
        rows = list(run.read("preferences", Preference))
        for place, each in enumerate(rows):
            if each.chosen is not None and place % 3 == 0:
                votes = (each.votes[0], each.votes[0])
                rows[place] = replace(
                    each, overall="inconsistent", chosen=None, rejected=None, contrast=None, votes=votes
                )
                undecided[rows[place].id] = each
        manifest = run.manifest("preferences")
        assert manifest is not None and undecided
        run.write_rows("preferences", Preference, rows)
        run.write_manifest(replace(manifest, content=run.content("preferences", Preference)))
    asyncio.run(run_build(config, out, "dataset", Screen(quiet=True)))
    with RunFolder(out, look_only=True) as run:
        yield StudyData(run), undecided


def test_they_are_those_of_training_images_as_the_first_order_had_it(
    changed: tuple[StudyData, dict[str, Preference]],
) -> None:
    data, undecided = changed
    answers = {each.id: each.text for each in data.run.read("responses", Response)}
    splits = {each.id: each.split for each in data.run.read("selection", Image)}
    images = {each.id: each.image_id for each in data.run.read("questions", Question)}
    expected = {
        (each.question_id, answers[each.chosen or ""], answers[each.rejected or ""])
        for each in undecided.values()
        if splits[images[each.question_id]] == "train" and answers[each.chosen or ""] != answers[each.rejected or ""]
    }
    found = {(each.question_id, each.chosen, each.rejected) for each in data.left_out["inconsistent"]}
    assert found and found == expected
    assert not data.left_out["unsafe_chosen"]
    assert not {each.preference_id for each in data.pairs} & undecided.keys()


def test_an_arm_that_adds_them_is_there_and_one_that_would_change_nothing_is_not(
    changed: tuple[StudyData, dict[str, Preference]],
) -> None:
    data, _ = changed
    config = read_study("labels", False, {"model": "miniature/base", "data": str(data.folder)})
    arms = {arm.name for arm in grid_of(config, {"": data}).arms}
    assert "inconsistent added" in arms
    assert not {"unsafe chosen added", "unsafe chosen dropped"} & arms
    assert len(grid_of(config, {"": data}).warnings) == 2
    added = select_pairs(data, PairSelection(add=("inconsistent",)), 1)
    assert len(added) == len(data.pairs) + len(data.left_out["inconsistent"])

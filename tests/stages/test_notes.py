"""Notes of stages: a record is written with the fields that it was given and read back as the same record."""

import math

import pytest

from spavl.data.dataset.notes import DatasetNotes
from spavl.data.pairs.notes import PairsNotes, TierNotes
from spavl.data.preferences.notes import PreferencesNotes
from spavl.data.questions.notes import QuestionsNotes
from spavl.errors import StoreError
from spavl.publishing.build_notes import BuildNotes
from spavl.stages.notes import CanaryNotes, StageNotes
from spavl.statistics import Estimate
from spavl.store import Manifest
from spavl.training.objectives.notes import TrainingNotes


def manifest(stage: str, notes: dict[str, object]) -> Manifest:
    return Manifest(stage, "f", "c", 1, {}, 0.0, notes)


def test_fields_that_were_not_given_are_not_written() -> None:
    assert StageNotes().as_json() == PreferencesNotes().as_json() == {}
    notes = PreferencesNotes(judge="j", second_judge=None, outcomes={}, agreement=None)
    assert notes.as_json() == {"judge": "j", "second_judge": None, "outcomes": {}}
    inner = TrainingNotes(pairs=3, peak=None)
    assert TrainingNotes(algorithm="ppo", reward_model=inner).as_json() == {
        "algorithm": "ppo",
        "reward_model": {"pairs": 3},
    }


def test_notes_read_back_are_written_as_they_were() -> None:
    rate = Estimate(math.nan, 0, 0.0, math.inf)
    written = PairsNotes(tiers=(TierNotes(model="m", tier=2, could_be=(1, 3), unsafe=rate),)).as_json()
    assert written == {
        "tiers": [
            {"model": "m", "tier": 2, "could_be": [1, 3], "unsafe": {"value": None, "n": 0, "low": 0.0, "high": None}}
        ]
    }
    read = PairsNotes.of(manifest("pairs", written))
    assert read.tiers[0].could_be == (1, 3) and not read.tiers[0].sure
    assert math.isnan(read.tiers[0].unsafe.value) and read.tiers[0].unsafe.low == 0.0
    assert read.as_json() == written


def test_a_key_in_json_may_have_another_name_than_its_field() -> None:
    total = {"pairs": 1, "images": 1}
    rates = {f"{side}_unsafe": {"value": 0.5, "n": 2, "low": 0.1, "high": 0.9} for side in ("chosen", "rejected")}
    shares = {name: {} for name in ("kind", "contrast", "harmful", "license", "models", "words")}
    figures = {
        "splits": {"train": {"pairs": 1, "images": 1, "questions": 1}},
        "all": total | rates,
        "classes": [{"domain": "d", "class": "c", **total, **rates}],
        **shares,
        "chosen_longer": {"pairs": 0, "of": 0},
    }
    notes = DatasetNotes.of(manifest("dataset", {"figures": figures}))
    assert notes.counts is not None and notes.counts.total.pairs == 1 and notes.counts.classes[0].name == "c"
    assert notes.counts.url == {} and notes.files is None and notes.as_json() == {"figures": figures}


def test_a_manifest_of_another_version_is_named_with_its_field() -> None:
    with pytest.raises(StoreError, match=r"notes\.kind\b") as told:
        QuestionsNotes.of(manifest("questions", {"kind": {"easy": 1}}))
    assert "stages/questions.json" in str(told.value)
    with pytest.raises(StoreError, match=r"notes\.kinds\.easy"):
        QuestionsNotes.of(manifest("questions", {"kinds": {"easy": "many"}}))


def test_a_build_has_empty_notes_of_stages_that_it_has_not_finished() -> None:
    failed = CanaryNotes(asked=2, failed=("g failed 1 of 2 canaries",)).as_json()
    stages = [manifest(name, {"canaries": failed}) for name in ("verdicts", "canaries")]
    notes = BuildNotes.of([*stages, manifest("items", {"benchmarks": {}})])
    assert notes.failed_canaries == ("g failed 1 of 2 canaries",)
    assert notes.preferences == PreferencesNotes() and notes.selection.shortfall == {}

"""What is misspelt in settings is told together with the name that was meant."""

from collections.abc import Callable
from typing import Any

import pytest

from spavl.config import read_settings
from spavl.data.responses.pool import members, read_pool
from spavl.data.selection.run import check_held_out
from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.registry import suite
from spavl.evaluation.config import EvaluationConfig
from spavl.judges.guards.criteria import CriterionGuard
from spavl.judges.guards.keyword import KeywordGuard
from spavl.models.factory import open_here
from spavl.models.prompts import read_prompts
from spavl.pipeline.registry import BuildConfig
from spavl.records import Category
from tests.support.records import filled


def build(table: dict[str, Any]) -> BuildConfig:
    return read_settings(BuildConfig, table, {}, "my.toml")


SLIPS: dict[str, tuple[Callable[[], object], str]] = {
    "section": (lambda: build({"trainig": {"epochs": 2}}), "did you mean training?"),
    "key": (lambda: build({"selection": {"per_leef": 3}}), "did you mean per_leaf?"),
    "key with a dash": (lambda: build({"selection": {"per-leef": 3}}), "did you mean per_leaf?"),
    "key of an optional section": (lambda: build({"training": {"epoch": 3}}), "did you mean epochs?"),
    "key of another section": (lambda: build({"training": {"beta": 0.2}}), "did you mean training.dpo.beta?"),
    "key of a table by name": (
        lambda: build({"model_settings": {"hf/x": {"max_tokns": 3}}}),
        "did you mean max_tokens?",
    ),
    "key of an evaluation": (
        lambda: read_settings(EvaluationConfig, {"siute": "core"}, {}, "my.toml"),
        "did you mean suite?",
    ),
    "one of several values": (lambda: build({"training": {"dpo": {"loss_type": "hinje"}}}), "did you mean hinge?"),
    "suite": (lambda: suite("safty"), "did you mean safety?"),
    "benchmark": (lambda: suite("mm-safetybnch"), "did you mean mm-safetybench"),
    "benchmark with a recipe": (lambda: suite("scienseqa+examples"), "did you mean scienceqa"),
    "leaf": (
        lambda: check_held_out(("Fruad",), [filled(Category, leaf=name) for name in ("Fraud", "Weapons")]),
        "did you mean Fraud?",
    ),
    "persona": (lambda: open_here("miniature/carefull"), "did you mean miniature/careful"),
    "list of keywords": (lambda: KeywordGuard("keywords/gcg1"), "did you mean keywords/gcg@2"),
    "criterion": (lambda: CriterionGuard("leagl", open_here("fixed/refuse")), "did you mean criterion/legal/MODEL?"),
    "pool": (lambda: read_pool("modern12"), "did you mean modern-12?"),
    "responder": (lambda: members(read_pool("modern-12"), {}, ["qwen3vl-8b"]), "did you mean qwen3-vl-8b?"),
    "prompts": (
        lambda: read_prompts("spavl.data.questions", "minature", "writer", ["easy"]),
        "did you mean miniature?",
    ),
}


@pytest.mark.parametrize(("do", "meant"), SLIPS.values(), ids=SLIPS)
def test_the_name_that_was_meant_is_told(do: Callable[[], object], meant: str) -> None:
    with pytest.raises(ConfigError) as told:
        do()
    assert meant in told.value.then


def test_a_value_of_a_wrong_type_is_told_with_the_setting_alone() -> None:
    with pytest.raises(ConfigError) as told:
        build({"training": {"trainable": {"vision": "frosen"}}})
    assert told.value.what.startswith("training.trainable.vision: must be 'frozen' or 'full'")
    assert told.value.then.startswith("did you mean frozen?")

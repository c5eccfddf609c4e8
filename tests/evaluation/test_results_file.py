"""results.json: read back it is the same results, and a file of another format is refused."""

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.results.file import FORMAT, read_results, write_results
from spavl.evaluation.results.types import EvaluationResults
from spavl.statistics import Estimate

FINITE = st.floats(allow_nan=False, allow_infinity=False)
CONFIGS = st.builds(
    EvaluationConfig,
    models=st.lists(st.sampled_from(["miniature/base", "a=hf/x", "openai/m@http://h/v1"]), max_size=3).map(tuple),
    conditions=st.just(("real", "blank")),
    max_invalid=st.floats(0, 1),
    temperature=st.floats(0, 2),
    contamination=st.just({"train": "runs/demo"}),
)


def results_strategy(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that results are made of, by its type hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is EvaluationConfig:
        return CONFIGS
    if hint is Estimate:
        value, low, high = (FINITE | st.just(end) for end in (math.nan, -math.inf, math.inf))
        return st.builds(Estimate, value=value, n=st.integers(0, 999), low=low, high=high)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(results_strategy, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(results_strategy(arguments[0]), max_size=2).map(tuple)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(results_strategy(arguments[0]), results_strategy(arguments[1]), max_size=2)
    if is_dataclass(hint) or hasattr(hint, "_fields") or (isinstance(hint, type) and issubclass(hint, BaseModel)):
        hints = typing.get_type_hints(hint)
        names = hint.model_fields if hasattr(hint, "model_fields") else getattr(hint, "_fields", None)
        names = [field.name for field in fields(hint)] if names is None else names
        return st.builds(hint, **{name: results_strategy(hints[name]) for name in names})
    plain = {str: st.text(max_size=5), int: st.integers(0, 999), float: FINITE, bool: st.booleans()}
    return {**plain, types.NoneType: st.none()}[hint]


RESULTS = results_strategy(EvaluationResults)


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(results=RESULTS)
def test_results_that_are_written_are_read_back(results: EvaluationResults, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, results)
    assert read_results(folder) == results


@settings(max_examples=1, suppress_health_check=list(HealthCheck), deadline=None)
@given(results=RESULTS)
def test_a_file_of_another_format_is_refused(results: EvaluationResults, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, results)
    raw = json.loads((folder / "results.json").read_text())
    for version in (FORMAT - 1, FORMAT + 1, None):
        (folder / "results.json").write_text(json.dumps({**raw, "format": version}))
        with pytest.raises(ConfigError, match=f"has format {version}, and this version of spavl reads") as caught:
            read_results(folder)
        assert "spavl eval again" in caught.value.then


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON"), ("[]", "has format None"), (f'{{"format": {FORMAT}}}', "does not hold results: config is")],
)
def test_a_file_without_results_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_results(tmp_path)


def test_a_folder_without_a_finished_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished evaluation here"):
        read_results(tmp_path)

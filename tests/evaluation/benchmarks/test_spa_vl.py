"""SPA-VL's test splits, and the stored answers that align-anything compares with."""

from pathlib import Path

import pytest

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.spa_vl import HARM_EVAL, HELP_EVAL
from tests.support.benchmark_files import put_json
from tests.support.evaluations import write_spa_vl


def stored(folder: Path, questions: list[str]) -> None:
    rows = [
        {"class1": "one", "question": each, "response": f"stored answer {place}"}
        for place, each in enumerate(questions)
    ]
    put_json(folder / "base_model_harm_QA.json", rows)


def questions_of(folder: Path) -> list[str]:
    return [each.question for each in HARM_EVAL.items(folder)]


def test_stored_answers_are_the_references_of_their_questions(tmp_path: Path) -> None:
    folder = write_spa_vl(tmp_path, 4, 3)
    assert {each.references for each in HARM_EVAL.items(folder)} == {()}
    stored(folder, questions_of(folder))
    assert [each.references for each in HARM_EVAL.items(folder)] == [(f"stored answer {place}",) for place in range(4)]
    assert {each.references for each in HELP_EVAL.items(folder)} == {()}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda own: own[::-1], "to another question"),
        (lambda own: own[:-1], "it has 3 answers, and the benchmark asks 4"),
        (lambda own: [*own, "more"], "the benchmark asks 4"),
    ],
)
def test_stored_answers_to_other_questions_are_refused(tmp_path: Path, change: object, what: str) -> None:
    folder = write_spa_vl(tmp_path, 4, 3)
    stored(folder, change(questions_of(folder)))  # type: ignore[operator]
    with pytest.raises(ConfigError, match=what):
        list(HARM_EVAL.items(folder))

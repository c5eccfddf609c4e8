"""The prompts of published protocols: filled as the authors fill them, and read from their file if it is there."""

from pathlib import Path

import pytest

from spavl.errors import ConfigError
from spavl.evaluation.protocols.mm_safetybench import ATTACK_SUCCESS
from spavl.evaluation.protocols.prompts import fill, prompts_beside
from spavl.evaluation.protocols.registry import PROTOCOLS
from spavl.evaluation.protocols.types import JudgeRule
from spavl.evaluation.records import Item

_PLACES = {
    "md-judge-v0.1": ("question", "answer"),
    "spa-vl-harm-score": ("prompt", "answer_a", "answer_b"),
    "spa-vl-win-rate": ("prompt", "answer_a", "answer_b"),
    "vlguard-helpfulness": ("instruction", "output_1", "output_2"),
    **{
        f"mm-safetybench-{name}": ("prediction",)
        for name in ("general", "lobbying", "legal", "financial", "health", "government")
    },
}
_AUTHORS = {
    "gpt_query_template_safety": "general {prediction}",
    "gpt_query_template_safety_political_lobbing": "lobbying {prediction}",
    "gpt_query_template_safety_legal": "legal {prediction}",
    "gpt_query_template_safety_financial": "financial {prediction}",
    "gpt_query_template_safety_health": "health {prediction}",
    "gpt_query_template_safety_gov_decision": "government {prediction}",
}


def an_item(criterion: str) -> Item:
    return Item(
        benchmark="mm-safetybench",
        subset="SD",
        key="1",
        question="q",
        blob="",
        wants="refuse",
        scored_by=(f"criterion/{criterion}", "guard"),
        group="",
        cluster="",
        references=(),
        context="",
    )


@pytest.mark.parametrize("name", _PLACES)
def test_texts_are_inserted_once_and_as_they_are(name: str) -> None:
    text = prompts_beside({}).text(name)
    places = _PLACES[name]
    assert all(text.count(f"{{{place}}}") == 1 for place in places)
    forged = {place: f"{{{places[0]}}} %s \\1 [[A]] <s>{place}" for place in places}
    filled = fill(text, **forged)
    assert all(each in filled for each in forged.values())
    assert len(filled) == len(text) + sum(len(forged[place]) - len(place) - 2 for place in places)


def test_every_rule_has_its_prompts() -> None:
    prompts = prompts_beside({})
    for each in PROTOCOLS.values():
        for measure in each.measures:
            if isinstance(measure.rule, JudgeRule):
                assert prompts.text(measure.rule.prompt_of(an_item("general")))


def authors_file(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "evaluation.py").write_text(text)
    return folder


def test_the_authors_prompts_are_read_and_their_file_is_not_run(tmp_path: Path) -> None:
    lines = ["raise SystemExit('this was run')", *(f"{name} = ({text!r}\n  ' end')" for name, text in _AUTHORS.items())]
    folder = authors_file(tmp_path / "mm", "\n".join(lines))
    prompts = prompts_beside({"mm-safetybench-tiny": folder, "vlguard": tmp_path})
    rule = ATTACK_SUCCESS.rule
    assert isinstance(rule, JudgeRule)
    names = [rule.prompt_of(an_item(each)) for each in ("lobbying", "government")]
    assert [prompts.text(name) for name in names] == ["lobbying {prediction} end", "government {prediction} end"]
    assert prompts.origin(names).startswith("authors' prompt")
    assert prompts_beside({}).origin(names).startswith("prompt in our words")


@pytest.mark.parametrize(
    ("text", "what"),
    [("def (", "no Python file"), ("gpt_query_template_safety = 'none'", "is missing"), ("\0", "no Python file")],
)
def test_a_file_without_the_prompts_is_refused(tmp_path: Path, text: str, what: str) -> None:
    folder = authors_file(tmp_path / "mm", text)
    with pytest.raises(ConfigError, match=what) as refused:
        prompts_beside({"mm-safetybench": folder})
    assert "evaluation.py" in refused.value.where

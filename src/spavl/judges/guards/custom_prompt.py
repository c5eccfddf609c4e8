"""A chat model as guard or judge with the user's own prompt, for the user's own policy: `prompt/FILE.txt/MODEL`.

The file says what counts as unsafe, or as better. It asks for the same reply lines as the built-in prompts, so that
grades, refusals and contradictions are parsed as for any other guard or judge.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spavl.config import why_unread
from spavl.errors import ConfigError
from spavl.judges.chat import ANSWER_FORM, PAIR_FORM, ask_for_verdict, ask_for_vote
from spavl.judges.response_format import VERSION, fill_prompt
from spavl.judges.types import GuardVerdict, JudgeInput, PairwiseVote
from spavl.models.prompts import check_places
from spavl.models.types import ChatModel
from spavl.records import Label, content_hash

_URI = re.compile(r"prompt/(.+?\.txt)/(.+)", re.DOTALL)
# Placeholders for the question's leaf in the run's taxonomy; the prompts that write questions have them too.
_OF_THE_LEAF = ("domain", "group", "leaf", "definition")
# The text for a placeholder without a value.
_NOTHING = "(none)"


class CustomPrompt(NamedTuple):
    """The file and the model of a guard or judge of this form."""

    file: str
    model: str


class _PromptRequirements(NamedTuple):
    """What a user's prompt must contain, and the built-in prompt to start from."""

    needs: tuple[str, ...]
    lines: Mapping[str, tuple[str, ...]]
    like: str


_GUARD = _PromptRequirements(("answer", "fence"), ANSWER_FORM, "guard-v3")
_JUDGE = _PromptRequirements(("first", "second", "fence"), PAIR_FORM, "pairwise-v3")


def own_in(uri: str) -> CustomPrompt | None:
    """The file and model in a URI of this form; None for any other URI."""
    found = _URI.fullmatch(uri)
    return CustomPrompt(found[1], found[2]) if found else None


def without_folder(uri: str) -> str:
    """The URI without the folder of its file, for publication: paths on this machine are private."""
    own = own_in(uri)
    return f"prompt/{Path(own.file).name}/{own.model}" if own else uri


class CustomPromptGuard:
    """Judges answers only. Its name holds the hash of its prompt, so that a changed file is another guard."""

    def __init__(self, file: str, model: ChatModel) -> None:
        self._model, self._prompt = model, _read(file, _GUARD)
        self.name = _name(model, file, self._prompt)

    async def judge(self, case: JudgeInput, answer: str) -> GuardVerdict:
        return await ask_for_verdict(self._model, case, _fill_for_case(self._prompt, case, answer=answer))

    async def judge_question(self, case: JudgeInput) -> Label | None:
        return None


class CustomPromptJudge:
    """Compares two answers. Its name holds the hash of its prompt, as a guard's does."""

    def __init__(self, file: str, model: ChatModel) -> None:
        self._model, self._prompt = model, _read(file, _JUDGE)
        self.name = _name(model, file, self._prompt)

    async def vote(self, case: JudgeInput, first: str, second: str) -> PairwiseVote | None:
        return await ask_for_vote(self._model, case, _fill_for_case(self._prompt, case, first=first, second=second))


def _name(model: ChatModel, file: str, text: str) -> str:
    return f"{model.name}|{Path(file).stem}#{content_hash(text)[:12]}|lines-v{VERSION}"


def _fill_for_case(text: str, case: JudgeInput, **answers: str) -> str:
    """Fills the prompt. Leaf fields that it does not use are left out, because the fence is a hash of all fields."""
    named = [name for name in _OF_THE_LEAF if f"{{{name}}}" in text]
    leaf: dict[str, str] = {name: getattr(case.category, name, "") or _NOTHING for name in named}
    return fill_prompt(text, question=case.question, **leaf, **answers)


def _read(file: str, wanted: _PromptRequirements) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        then = f"give the path of a text file; begin with a copy of src/spavl/judges/prompts/{wanted.like}.txt"
        raise ConfigError(f"cannot read this prompt: {why_unread(error)}", where=file, then=then) from None
    check_places(text, {*wanted.needs, "question", *_OF_THE_LEAF}, file)
    if missing := [f"{{{name}}}" for name in wanted.needs if f"{{{name}}}" not in text]:
        then = "put what is judged between lines that begin with {fence}: a mark that no answer can forge"
        raise ConfigError(f"{missing[0]} is missing in this prompt", where=file, then=then)
    if unasked := [name for name in wanted.lines if f"{name}:" not in text]:
        lines = ", ".join(f"`{name}: {' | '.join(values)}`" for name, values in wanted.lines.items())
        raise ConfigError(f"this prompt does not ask for a line {unasked[0]!r}", where=file, then=f"ask for {lines}")
    return text

"""A chat model as guard by a prompt of the user's own, for a policy of their own: `prompt/FILE.txt/MODEL`.

The file says what counts as unsafe in its own words. It asks for the lines that every chat model is asked
for, so that severity and refusals are told as by any other guard.
"""

import re
from pathlib import Path
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.judges.chat import ANSWER_FORM, ask_for_verdict
from spavl.judges.forms import VERSION, filled
from spavl.judges.types import Case, Word
from spavl.models.types import ChatModel
from spavl.records import Label, content_hash
from spavl.text.prompts import check_places

_FORM = re.compile(r"prompt/(.+?\.txt)/(.+)", re.DOTALL)
_NEEDS, _KNOWS = ("answer", "fence"), ("question",)


class Own(NamedTuple):
    """The file and the model of a guard of this form."""

    file: str
    model: str


def own_in(uri: str) -> Own | None:
    """What the name of a guard of this form holds; None of any other name."""
    found = _FORM.fullmatch(uri)
    return Own(found[1], found[2]) if found else None


class OwnGuard:
    """It judges answers only. Its name holds the hash of its prompt, so that a changed file is another guard."""

    def __init__(self, file: str, model: ChatModel) -> None:
        self._model, self._prompt = model, _read(file)
        self.name = f"{model.name}|{Path(file).stem}#{content_hash(self._prompt)[:12]}|lines-v{VERSION}"

    async def judge(self, case: Case, answer: str) -> Word:
        return await ask_for_verdict(self._model, case, filled(self._prompt, question=case.question, answer=answer))

    async def judge_question(self, case: Case) -> Label | None:
        return None


def _read(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        then = "give the path of a text file; begin with a copy of src/spavl/judges/prompts/guard-v3.txt"
        raise ConfigError(f"cannot read this prompt: {error}", where=file, then=then) from None
    check_places(text, {*_NEEDS, *_KNOWS}, file)
    if missing := [f"{{{name}}}" for name in _NEEDS if f"{{{name}}}" not in text]:
        then = "put the answer between lines that begin with {fence}: a mark that no answer can forge"
        raise ConfigError(f"{missing[0]} is missing in this prompt", where=file, then=then)
    if unasked := [name for name in ANSWER_FORM if f"{name}:" not in text]:
        lines = ", ".join(f"`{name}: {' | '.join(values)}`" for name, values in ANSWER_FORM.items())
        raise ConfigError(f"this prompt does not ask for a line {unasked[0]!r}", where=file, then=f"ask for {lines}")
    return text

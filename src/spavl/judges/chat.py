"""Any chat model as guard or judge: a prompt from a file, the picture, a strict parser, one round of repair."""

import re
from importlib.resources import files

from spavl.judges.types import Case, Choice, Vote, Word
from spavl.models.structured import ask_structured
from spavl.models.types import ChatModel, Rejected, ask_about
from spavl.records import content_hash

_GUARD_PROMPT, _PAIR_PROMPT = "guard-v1", "pairwise-v1"
_PARSER = "lines-v1"
_GUARD_FORM = "verdict: safe | unsafe\nrefuses: yes | no"
_PAIR_FORM = "harmless: A | B | tie\nhelpful: A | B | tie\noverall: A | B | tie"
_CHOICES: dict[str, Choice] = {"a": "first", "b": "second", "tie": "tie"}


class ChatGuard:
    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.name = f"{model.name}|{_GUARD_PROMPT}|{_PARSER}"

    async def judge(self, case: Case, answer: str) -> Word:
        text = _prompt(_GUARD_PROMPT, question=case.question, answer=answer)
        try:
            lines, reply = await ask_structured(
                self._model, ask_about(case.picture, text, max_tokens=64), _guard_lines, _GUARD_FORM
            )
        except Rejected as error:
            return Word("invalid", False, str(error))
        if lines is None:
            return Word("invalid", False, reply.text)
        return Word("unsafe" if lines["verdict"] == "unsafe" else "safe", lines["refuses"] == "yes", reply.text)


class ChatJudge:
    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.name = f"{model.name}|{_PAIR_PROMPT}|{_PARSER}"

    async def vote(self, case: Case, first: str, second: str) -> Vote | None:
        text = _prompt(_PAIR_PROMPT, question=case.question, first=first, second=second)
        try:
            lines, reply = await ask_structured(
                self._model, ask_about(case.picture, text, max_tokens=64), _pair_lines, _PAIR_FORM
            )
        except Rejected:
            return None
        if lines is None:
            return None
        harmless, helpful, overall = (_CHOICES[lines[name]] for name in ("harmless", "helpful", "overall"))
        return Vote(harmless, helpful, overall, reply.text)


def _prompt(name: str, **material: str) -> str:
    """Fill a prompt. The fence hangs on the material, so nobody can write an answer that closes it."""
    template = files("spavl.judges").joinpath(f"prompts/{name}.txt").read_text()
    return template.format(fence=f"#{content_hash(material)[:12]}", **material)


def _guard_lines(text: str) -> dict[str, str] | None:
    return read_lines(text, {"verdict": ("safe", "unsafe"), "refuses": ("yes", "no")})


def _pair_lines(text: str) -> dict[str, str] | None:
    return read_lines(text, dict.fromkeys(("harmless", "helpful", "overall"), tuple(_CHOICES)))


# What models like to put round a word: Markdown, quotes, a full stop.
_TRIM = r"[\s*`\"'.,>-]*"
_LINE = re.compile(rf"{_TRIM}(\w+){_TRIM}:{_TRIM}(\w+){_TRIM}")


def read_lines(text: str, allowed: dict[str, tuple[str, ...]]) -> dict[str, str] | None:
    """Read `name: value` lines, each name once and each value allowed; anything beside them is unreadable."""
    lines = [line for line in text.lower().splitlines() if line.strip().strip("`-")]
    found = [(match[1], match[2]) for line in lines if (match := _LINE.fullmatch(line))]
    values = dict(found)
    readable = len(lines) == len(found) == len(values) and values.keys() == allowed.keys()
    return values if readable and all(values[name] in allowed[name] for name in allowed) else None

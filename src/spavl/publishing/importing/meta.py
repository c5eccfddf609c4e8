"""Reads the published SPA-VL's `meta_files`, which map an image's name and a question to facts that its tables lack.

image_info/meta.json        url, caption and class of each image
model_answer/{kind}.json    the twelve responders' answers to each question
prefer/{kind}.json          the judge's two reasons
safety/{kind}.json          a guard's verdict on each answer; undocumented, so unknown values are ignored
split/{kind}.json           which questions are of a kind
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import ConfigError
from spavl.records import Label, QuestionKind
from spavl.text.encodable import is_encodable

_KINDS: tuple[tuple[str, QuestionKind], ...] = (("easy", "easy"), ("hardq", "hard"), ("hards", "statement"))
_CHUNK = 2**20
# JSON's escape of a surrogate: half a character, and two of them are a whole one.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_GET_AGAIN = "download it again; the import does without it if it is not there at all"
_NOT_MODELS = {"image", "question", "chosen", "rejected", "reason1", "reason2", "id"}
_LABELS: dict[object, Label] = {"safe": "safe", "unsafe": "unsafe", True: "safe", False: "unsafe"}

Key = tuple[str, str]


class QuestionMeta(NamedTuple):
    """What the files say about a question. Answers are kept as hashes, because there are a million of them."""

    kind: QuestionKind
    models: dict[int, list[str]]
    labels: dict[str, Label]
    reasons: tuple[str, ...]

    def model_of(self, answer: str) -> str:
        """The responder that gave an answer, or several that gave the same one, joined by "or"."""
        return " or ".join(self.models.get(hash(answer), ())) or "unknown"

    def label_of(self, answer: str) -> Label | None:
        """The guard's label of an answer; None if unknown, or if it differs between responders that gave it."""
        found = {self.labels.get(model) for model in self.models.get(hash(answer), ())}
        return found.pop() if len(found) == 1 else None


class SpaVlMeta(NamedTuple):
    images: dict[str, dict[str, Any]]
    facts: dict[Key, QuestionMeta]

    def fact(self, image_name: str, question: str) -> QuestionMeta | None:
        return self.facts.get((image_name, question.strip()))


def read_meta(folder: Path) -> SpaVlMeta:
    """Read all files that exist. Without them, the classes of the training rows stay unknown."""
    images = {str(row.get("image", "")): row for row in _rows(folder / "image_info" / "meta.json")}
    facts: dict[Key, QuestionMeta] = {}
    for file, kind in _KINDS:
        for part in ("split", "prefer", "model_answer", "safety"):
            for row in _rows(folder / part / f"{file}.json"):
                key = (str(row.get("image", "")), str(row.get("question", "")).strip())
                facts[key] = _with(facts.get(key) or QuestionMeta(kind, {}, {}, ()), part, row)
    return SpaVlMeta(images, facts)


def _with(fact: QuestionMeta, part: str, row: dict[str, Any]) -> QuestionMeta:
    if part == "prefer":
        return fact._replace(reasons=tuple(str(row[name]) for name in ("reason1", "reason2") if row.get(name)))
    if part == "model_answer":
        models: dict[int, list[str]] = {}
        for model, answer in row.items():
            if model not in _NOT_MODELS and isinstance(answer, str):
                models.setdefault(hash(answer), []).append(model)
        return fact._replace(models=models)
    if part == "safety":
        words = {model: word.lower() if isinstance(word, str) else word for model, word in row.items()}
        known = {model: word for model, word in words.items() if isinstance(word, str | bool) and word in _LABELS}
        labels = {model: _LABELS[word] for model, word in known.items()}
        return fact._replace(labels=labels)
    return fact


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array, read in chunks, because each file has a hundred megabytes."""
    if not file.is_file():
        return
    decoder, buffer, number = json.JSONDecoder(), "", 0
    with file.open(encoding="utf-8") as stream:
        while piece := stream.read(_CHUNK):
            buffer = (buffer + piece).lstrip(" \r\n\t[,")
            while buffer and buffer[0] == "{":
                try:
                    row, end = decoder.raw_decode(buffer)
                except ValueError:
                    break
                except RecursionError:
                    raise _strange("this row is nested too deeply", file, number) from None
                if _HALF.search(buffer, 0, end) and not is_encodable(row):
                    raise _strange("this row holds half a character (a lone surrogate)", file, number)
                yield row
                number += 1
                buffer = buffer[end:].lstrip(" \r\n\t,")
    if buffer.strip(" \r\n\t]"):
        raise ConfigError("not a JSON array of objects, or one cut short", where=str(file), then=_GET_AGAIN)


def _strange(what: str, file: Path, number: int) -> ConfigError:
    return ConfigError(what, where=f"{file}, row {number}", then=_GET_AGAIN)

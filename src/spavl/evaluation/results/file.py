"""results.json: the results of an evaluation on disk. One function writes it, and one reads it back."""

import json
from pathlib import Path
from typing import Any

from spavl.errors import ConfigError
from spavl.evaluation.results.types import EvaluationResults
from spavl.store.files import write_text
from spavl.store.typed_json import NotThisRecord, from_json, to_json

FILE = "results.json"
# Raise it when a field is renamed, removed or gets another meaning.
FORMAT = 2
_AGAIN = "type the same spavl eval again: no model is called again, and the file is rewritten"


def write_results(folder: Path, results: EvaluationResults) -> None:
    write_text(folder / FILE, json.dumps({"format": FORMAT, **to_json(results)}, indent=2, ensure_ascii=False) + "\n")


def read_results(folder: Path) -> EvaluationResults:
    """The results in an evaluation's folder. Raises for a file of another format."""
    file = folder / FILE
    if not file.is_file():
        then = "give the folder of an evaluation that spavl eval has finished"
        raise ConfigError("there is no finished evaluation here", where=str(folder), then=then)
    try:
        raw: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{FILE} is no JSON: {error}", where=str(file), then=_AGAIN) from None
    version = raw.pop("format", None) if isinstance(raw, dict) else None
    if version != FORMAT:
        what = f"{FILE} has format {version}, and this version of spavl reads format {FORMAT}"
        raise ConfigError(what, where=str(file), then=_AGAIN)
    try:
        return from_json(EvaluationResults, raw)
    except NotThisRecord as error:
        raise ConfigError(f"{FILE} does not hold results: {error}", where=str(file), then=_AGAIN) from None

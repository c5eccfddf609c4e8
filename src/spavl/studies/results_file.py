"""study.json: the results of a study on disk."""

import json
from pathlib import Path

from spavl.store.files import write_text
from spavl.store.typed_json import to_json
from spavl.studies.results import StudyResults

FILE = "study.json"
FORMAT = 1


def write_results(folder: Path, results: StudyResults) -> None:
    write_text(folder / FILE, json.dumps({"format": FORMAT, **to_json(results)}, indent=2, ensure_ascii=False) + "\n")

"""Folders of benchmarks as their makers publish them, small and harmless."""

import base64
import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from spavl.evaluation.benchmarks.mm_safetybench import CRITERIA

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
VARIANTS = ("SD", "TYPO", "SD_TYPO")


def an_image(name: object) -> bytes:
    """An image that tells which one it is."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (4, 4), hashlib.shake_128(str(name).encode()).digest(48)).save(buffer, "PNG")
    return buffer.getvalue()


def put(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def put_json(file: Path, value: object) -> None:
    put(file, json.dumps(value).encode())


def put_lines(file: Path, rows: Iterable[object]) -> None:
    put(file, "\n".join(map(json.dumps, rows)).encode())


def put_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]), delimiter="\t" if file.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)


def put_parquet(file: Path, rows: Sequence[Mapping[str, Any]], image: str = "image") -> None:
    """A table whose column of images, given as bytes, is as `datasets` writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([{name: cell for name, cell in row.items() if name != image} for row in rows])
    if any(image in row for row in rows):
        cells = [None if row.get(image) is None else {"bytes": row[image], "path": None} for row in rows]
        table = table.append_column(image, pa.array(cells, _IMAGE))
    pq.write_table(table, file, row_group_size=2)


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def mm_words(scenario: str, key: int) -> dict[str, str]:
    """The texts of a question, each saying which one it is."""
    return {
        "Question": f"{scenario} {key} first",
        "Changed Question": f"{scenario} {key} plain",
        "Key Phrase": "a phrase",
        "Phrase Type": "activity",
        "Rephrased Question": f"{scenario} {key} about the words in the picture",
        "Rephrased Question(SD)": f"{scenario} {key} about what is drawn",
    }


def mm_release(folder: Path, ids: int = 2, images: str = "data/imgs") -> Path:
    """Layout A: questions from GitHub, images from the drive."""
    for scenario in CRITERIA:
        questions = {str(key): mm_words(scenario, key) for key in range(ids)}
        put_json(folder / "data/processed_questions" / f"{scenario}.json", questions)
        for variant in VARIANTS:
            for key in range(ids):
                data = an_image(f"{scenario} {variant} {key}")
                put(folder / images / scenario / variant / f"{key}.jpg", data)
    return folder


def mm_hub(folder: Path, ids: int = 2, drawn: Callable[[object], bytes] = an_image) -> Path:
    """Layout B: Parquet from the hub, a folder for each scenario without its number."""
    columns = {
        "Text_only": "Changed Question",
        "SD": "Rephrased Question(SD)",
        "TYPO": "Rephrased Question",
        "SD_TYPO": "Rephrased Question",
    }
    for scenario in CRITERIA:
        for split, column in columns.items():
            rows = [
                {
                    "id": str(key),
                    "question": mm_words(scenario, key)[column],
                    "image": None if split == "Text_only" else drawn(f"{scenario} {split} {key}"),
                }
                for key in range(ids)
            ]
            put_parquet(folder / scenario[3:] / f"{split}-00000-of-00001.parquet", rows)
    return folder

"""Trainers' forms, and files as spreadsheets, R, webdataset and img2dataset leave them."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.foreign_files.rows import Row, write_images
from tests.foreign_files.writers_tables import TEXTS, Writer, named, opened

MARK = "<image>"


def by_lines(form: Callable[[Row], dict[str, Any]]) -> Writer:
    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        write_images(folder, rows)
        lines = "".join(json.dumps(form(row), ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8", newline="")

    return write


def by_array(form: Callable[[Row], dict[str, Any]], info: dict[str, Any] | None = None) -> Writer:
    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        write_images(folder, rows)
        (folder / f"{name}.json").write_text(json.dumps([form(row) for row in rows], indent=2), encoding="utf-8")
        if info:
            told = {"mine": {"file_name": f"{name}.json", **info}}
            (folder / "dataset_info.json").write_text(json.dumps(told), encoding="utf-8")

    return write


def by_trl(turns: bool, parts: bool, several: bool) -> Writer:
    """TRL's preference sets: conversational or not, with one image or a list."""

    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        table = [_of_trl(row, turns, parts) for row in rows]
        images = [opened(row.image or b"") for row in rows]
        shown = {"images": [[image] for image in images]} if several else {"image": images}
        datasets.Dataset.from_list(
            [{**row, **{name: cells[place] for name, cells in shown.items()}} for place, row in enumerate(table)]
        ).to_parquet(folder / f"{name}-00000-of-00001.parquet")

    return write


def _of_trl(row: Row, turns: bool, parts: bool) -> dict[str, Any]:
    if not turns:
        return {"prompt": row.question, "chosen": row.chosen, "rejected": row.rejected, "caption": row.caption}
    asked: Any = [{"type": "image", "text": None}, {"type": "text", "text": row.question}] if parts else row.question
    answers = {side: [{"role": "assistant", "content": getattr(row, side)}] for side in ("chosen", "rejected")}
    return {"prompt": [{"role": "user", "content": asked}], **answers, "caption": row.caption}


def _sharegpt(row: Row) -> dict[str, Any]:
    return {
        "conversations": [{"from": "human", "value": f"{MARK}{row.question}"}],
        "chosen": {"from": "gpt", "value": row.chosen},
        "rejected": {"from": "gpt", "value": row.rejected},
        "images": [f"images/{row.image_name}"],
    }


def _alpaca(row: Row) -> dict[str, Any]:
    words = (row.question or "").split("\n", 1)
    return {
        "instruction": f"{MARK}{words[0]}",
        "input": words[1] if len(words) > 1 else "",
        "chosen": row.chosen,
        "rejected": row.rejected,
        "images": [f"images/{row.image_name}"],
    }


def _openai(row: Row) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": f"{MARK}{row.question}"}],
        "chosen": {"role": "assistant", "content": row.chosen},
        "rejected": {"role": "assistant", "content": row.rejected},
        "images": [f"images/{row.image_name}"],
    }


def _ms_swift(row: Row) -> dict[str, Any]:
    asked = {"role": "user", "content": f"{MARK}{row.question}"}
    return {
        "messages": [asked, {"role": "assistant", "content": row.chosen}],
        "rejected_response": row.rejected,
        "images": [f"images/{row.image_name}"],
    }


def _ms_swift_messages(row: Row) -> dict[str, Any]:
    asked = {"role": "user", "content": f"{MARK}{row.question}"}
    return {
        "messages": [asked, {"role": "assistant", "content": row.chosen}],
        "rejected_messages": [asked, {"role": "assistant", "content": row.rejected}],
        "images": [{"path": f"images/{row.image_name}", "bytes": None}],
    }


def _llava(row: Row) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "image": f"images/{row.image_name}",
        "conversations": [
            {"from": "human", "value": f"{MARK}\n{row.question}"},
            {"from": "gpt", "value": row.chosen},
        ],
    }


def by_spreadsheet(separator: str, encoding: str, quoting: Any, end: str = "\r\n") -> Writer:
    """A table as Excel saves it: a BOM or a code page, semicolons where a decimal comma is usual, and CRLF."""

    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        write_images(folder, rows)
        ending = "tsv" if separator == "\t" else "csv"
        with (folder / f"{name}.{ending}").open("w", encoding=encoding, newline="", errors="replace") as file:
            writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end)
            writer.writerow(["id", *TEXTS, "file_name", "image"])
            for row, image in zip(rows, named(rows), strict=True):
                writer.writerow([row.id, *(getattr(row, text) for text in TEXTS), image, image])

    return write


def by_webdataset(kind: str, ending: str = "tar", key: str = "{0:06d}") -> Writer:
    """A tar by webdataset's own writer, with the texts in a .txt or a .json beside each image."""

    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        wds = pytest.importorskip("webdataset")
        with wds.TarWriter(str(folder / f"{name}.{ending}"), encoder=True) as tar:
            for row in rows:
                cells = {text: getattr(row, text) for text in TEXTS}
                said = {"json": cells} if kind == "json" else {kind: row.caption}
                shown = {"png": row.image} if row.image else {}
                tar.write({"__key__": key.format(row.id), **shown, **said})

    return write


WRITERS: dict[str, Writer] = {
    "TRL, texts": by_trl(turns=False, parts=False, several=False),
    "TRL, texts and lists of images": by_trl(turns=False, parts=False, several=True),
    "TRL, turns": by_trl(turns=True, parts=False, several=True),
    "TRL, turns of parts": by_trl(turns=True, parts=True, several=True),
    "LLaMA-Factory, sharegpt": by_array(_sharegpt, {"formatting": "sharegpt", "ranking": True}),
    "LLaMA-Factory, sharegpt in lines": by_lines(_sharegpt),
    "LLaMA-Factory, alpaca": by_array(_alpaca, {"ranking": True}),
    "LLaMA-Factory, OpenAI's turns": by_array(_openai, {"formatting": "openai", "ranking": True}),
    "ms-swift, rejected_response": by_lines(_ms_swift),
    "ms-swift, rejected_messages": by_lines(_ms_swift_messages),
    "LLaVA": by_array(_llava),
    "Excel, CSV UTF-8": by_spreadsheet(",", "utf-8-sig", csv.QUOTE_MINIMAL),
    "Excel, CSV UTF-8 with semicolons": by_spreadsheet(";", "utf-8-sig", csv.QUOTE_MINIMAL),
    "Excel, CSV of Windows": by_spreadsheet(";", "cp1252", csv.QUOTE_MINIMAL),
    "Excel, Unicode text": by_spreadsheet("\t", "utf-16", csv.QUOTE_MINIMAL),
    "R, write.csv": by_spreadsheet(",", "utf-8", csv.QUOTE_NONNUMERIC, "\n"),
    "R, write.csv2": by_spreadsheet(";", "utf-8", csv.QUOTE_NONNUMERIC, "\n"),
    "webdataset, txt": by_webdataset("txt"),
    "webdataset, json": by_webdataset("json"),
    "webdataset, cls and txt": by_webdataset("caption.txt"),
    "webdataset, folders in keys": by_webdataset("txt", key="part.1/{0:06d}"),
    "webdataset, dots in keys": by_webdataset("txt", key="a.{0:06d}"),
    "webdataset, tar.gz": by_webdataset("txt", "tar.gz"),
}

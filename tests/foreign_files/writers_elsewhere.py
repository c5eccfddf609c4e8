"""Writers that need a venv of their own. An environment variable names its interpreter; without it they are skipped.

| variable | its venv has |
| --- | --- |
| SPAVL_DATASETS_2_PYTHON | datasets 2 |
| SPAVL_DATASETS_3_PYTHON | datasets 3 |
| SPAVL_IMG2DATASET_PYTHON | img2dataset |
"""

import functools
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from tests.foreign_files.rows import Row, write_images
from tests.foreign_files.writers_tables import TEXTS, Writer

HERE = Path(__file__).parent


def interpreter(variable: str) -> str:
    if not (found := os.environ.get(variable)):
        pytest.skip(f"{variable} names no interpreter")
    return found


def by_another_datasets(version: int, layout: str) -> Writer:
    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        python = interpreter(f"SPAVL_DATASETS_{version}_PYTHON")
        aside = folder.parent / "aside"
        write_images(aside, rows)
        files = [str(aside / "images" / row.image_name) if row.image else None for row in rows]
        lines = [
            {"id": row.id, "file": file, **{text: getattr(row, text) for text in TEXTS}}
            for row, file in zip(rows, files, strict=True)
        ]
        (aside / "rows.json").write_text(json.dumps(lines), encoding="utf-8")
        _run(python, "by_another_python.py", str(folder), name, layout, str(aside / "rows.json"))

    return write


def by_img2dataset(form: str) -> Writer:
    """Every row, and one whose image is missing, as in every crawl."""

    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        python = interpreter("SPAVL_IMG2DATASET_PYTHON")
        aside = folder.parent / "aside"
        write_images(aside, rows)
        with _served(aside / "images") as address:
            table = [
                {"url": f"{address}/{row.image_name}", **{text: getattr(row, text) for text in TEXTS}} for row in rows
            ]
            table += [{**table[0], "url": f"{address}/{missing}.png"} for missing in ("missing", "page")]
            pd.DataFrame(table).to_parquet(aside / "urls.parquet")
            _run(python, "by_img2dataset.py", str(folder), form, str(aside / "urls.parquet"))

    return write


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def _run(python: str, script: str, *words: str) -> None:
    done = subprocess.run([python, str(HERE / script), *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


_LAYOUTS = ("parquet", "parquet of lists", "saved", "saved alone", "cache")
WRITERS: dict[str, Writer] = {
    **{
        f"datasets {version}, {layout}": by_another_datasets(version, layout)
        for version in (2, 3)
        for layout in _LAYOUTS
    },
    **{f"img2dataset, {form}": by_img2dataset(form) for form in ("files", "webdataset", "parquet")},
}

"""Reads image embeddings in clip-retrieval's format, which LAION uses.

The rows of `img_emb/img_emb_0000.npy` belong to the rows of `metadata/metadata_0000.parquet`.
"""

from pathlib import Path
from typing import Any

import numpy as np

from spavl.errors import ConfigError
from spavl.imaging.clip import Vector, Vectors

_TABLES, _VECTORS = ("metadata", "metadata_"), ("img_emb", "img_emb_")


def beside(table: Path) -> Path | None:
    """The file of vectors that belongs to a table; None if there is none."""
    folder, start = _TABLES
    if table.parent.name != folder or not table.stem.startswith(start):
        return None
    number = table.stem.removeprefix(start)
    file = table.parent.parent / _VECTORS[0] / f"{_VECTORS[1]}{number}.npy"
    inside = table.parent.parent.resolve()
    return file if file.is_file() and file.resolve().is_relative_to(inside) else None


class EmbeddingFiles:
    """Reads single rows of memory-mapped files. `size` is the vector size of the model, which the files must have."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._path, self._rows = "", _none()

    def get(self, place: str) -> Vector | None:
        """The vector at `PATH#ROW`, scaled to length 1; None if it is missing, zero or not finite."""
        path, _, row = place.rpartition("#")
        if path != self._path:
            self._path, self._rows = path, self._open_rows(path)
        if int(row) >= len(self._rows):
            return None
        vector = np.asarray(self._rows[int(row)], dtype=np.float32)
        length = float(np.linalg.norm(vector))
        return vector / np.float32(length) if 0 < length < np.inf else None

    def _open_rows(self, path: str) -> Any:
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return _none()
        if rows.ndim != 2 or rows.dtype.kind != "f":
            return _none()
        if rows.shape[1] != self._size:
            what = f"these vectors have {rows.shape[1]} numbers, and those of sourcing.search_model {self._size}"
            raise ConfigError(what, where=path, then="name the model that they were made with")
        return rows


def _none() -> Vectors:
    return np.zeros((0, 0), dtype=np.float32)

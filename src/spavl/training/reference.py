"""The reference's log-probabilities on disk, found again by every run and study that asks for the same ones.

A value hangs on the model's files (weights, processor and chat template are in its revision), the
picture's bytes, the question and the answer; so a key never has to be taken back.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from spavl.records import Sample, content_hash
from spavl.store.sqlite import connect

Pair = tuple[float, float]


class ReferenceCache:
    """Chosen and rejected scores of samples, under one model."""

    def __init__(self, path: Path, model: str) -> None:
        self._model = model
        self._database = connect(path)
        self._database.execute("CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, chosen REAL, rejected REAL)")

    def known(self, samples: Iterable[Sample]) -> dict[str, Pair]:
        """The scores that are there already, by the sample's id."""
        found = {}
        for sample in samples:
            row = self._database.execute("SELECT chosen, rejected FROM scores WHERE key = ?", [self._key(sample)])
            if (scores := row.fetchone()) is not None:
                found[sample.id] = scores
        return found

    def add(self, samples: Iterable[Sample], scores: Mapping[str, Pair]) -> None:
        rows = [(self._key(sample), *scores[sample.id]) for sample in samples]
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        self._database.close()

    def _key(self, sample: Sample) -> str:
        return content_hash([self._model, sample.blob, sample.question, sample.chosen, sample.rejected])

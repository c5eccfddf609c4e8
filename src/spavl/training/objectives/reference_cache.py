"""The reference's log-probabilities on disk, found again by every run and study that asks for the same ones.

A value hangs on the model's files (weights, processor and chat template are in its revision), in bfloat16 on which of
its weights are widened, on the image's bytes, the very tokens of question and answer, and the code that scores them;
so a key never has to be taken back.
What a frozen vision tower makes of an image is not kept: see docs/training.md.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import transformers

from spavl.records import content_hash
from spavl.store.sqlite import connect
from spavl.training.objectives.microbatches import AnswerToScore
from spavl.training.prefix_trees.tokenize import TokenCounter

CACHE = "references.sqlite"
# Who makes scores of images and tokens. Raise ours when the same ones come to be scored otherwise.
_MADE_BY = (3, transformers.__version__)


class ReferenceCache:
    """Scores of answers, under one model."""

    def __init__(self, path: Path, model: str, processor: Any) -> None:
        self._model, self._row = model, TokenCounter(processor).row
        self._database = connect(path)
        self._database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, logprob REAL)")

    def known(self, answers: Iterable[AnswerToScore]) -> dict[AnswerToScore, float]:
        """The scores that are there already."""
        found = {}
        for answer in answers:
            row = self._database.execute("SELECT logprob FROM answers WHERE key = ?", [self._key(answer)])
            if (score := row.fetchone()) is not None:
                found[answer] = score[0]
        return found

    def add(self, scores: Mapping[AnswerToScore, float]) -> None:
        rows = [(self._key(answer), score) for answer, score in scores.items()]
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)

    def close(self) -> None:
        self._database.close()

    def _key(self, answer: AnswerToScore) -> str:
        return content_hash([_MADE_BY, self._model, answer.image, self._row(answer.question, answer.text)])

"""Finds images in a nearest-neighbour index of embeddings: of a CLIP or SigLIP model, or of a sentence model.

The term "gun" also finds a "firearm", in an image's caption or in the image itself. The catalogue stores the vectors;
the index over them is rebuilt only when vectors were added.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from spavl.data.sourcing.catalogue import Catalogue, SearchHit, in_turns
from spavl.data.sourcing.config import SourcingConfig
from spavl.data.sourcing.embedding import embed_captions, embed_images
from spavl.data.sourcing.readers.entry import SkippedEntry
from spavl.data.sourcing.vectors import VectorStore
from spavl.errors import MissingExtra, how_to_install
from spavl.imaging.clip import Clip
from spavl.imaging.pretrained_files import PretrainedFiles
from spavl.imaging.sentences import SentenceModel
from spavl.models.names import with_revision
from spavl.records import content_hash
from spavl.store.files import state_of, write_text, writing_to
from spavl.terminal.progress import Screen

# Up to this number of vectors the search is exhaustive, and so exact.
_FEW = 100_000
_ADDED_AT_ONCE = 1024
_THEN = "name a CLIP or SigLIP model, or for captions a model of sentence-transformers: a folder, or a hub id"


class EmbeddingSearch:
    """The same search interface as `Catalogue`, by embeddings instead of words."""

    def __init__(self, catalogue: Catalogue, folder: Path, settings: SourcingConfig) -> None:
        self._catalogue, self._settings = catalogue, settings
        usearch = _usearch()
        self._model = _model_of(settings)
        self._index: Any = usearch.Index(ndim=self._model.size, metric="cos", dtype="f16")
        model = settings.search_model
        # The weights of a model on a hub may have changed, so its commit is part of the key.
        moved = [self._model.commit] if self._model.commit else []
        self._maker = content_hash([settings.search_by, model, state_of(Path(model)), *moved])
        self._vectors = VectorStore(catalogue, self._maker)
        self._file = folder / f"{settings.search_by}.usearch"
        self._about = self._file.with_suffix(".json")

    async def build(self, screen: Screen) -> None:
        """Compute the missing vectors, and build the index over all vectors."""
        if self._settings.search_by == "images" and isinstance(self._model, Clip):
            await embed_images(self._vectors, self._model, screen, self._catalogue.count())
        else:
            await embed_captions(self._vectors, self._model, screen, self._catalogue.caption_count())
        state = content_hash([self._maker, self._catalogue.states()])
        if not self._file.exists() or not self._about.exists() or json.loads(self._about.read_text()) != state:
            self._about.unlink(missing_ok=True)
            with screen.bar("index", len(self._vectors), unit="vectors") as bar:
                vectors = iter(self._vectors)
                while rows := list(islice(vectors, _ADDED_AT_ONCE)):
                    matrix = np.stack([np.frombuffer(vector, np.float16) for _, vector in rows])
                    # In one thread, so that the same vectors give the same index.
                    self._index.add(np.array([number for number, _ in rows], np.uint64), matrix, threads=1)
                    for _ in rows:
                        bar.advance()
            with writing_to(self._file) as temporary:
                self._index.save(str(temporary))
            write_text(self._about, json.dumps(state))
        self._index = _usearch().Index.restore(str(self._file), view=True)

    def search(self, terms: Sequence[str], most: int) -> Iterator[SearchHit]:
        """The nearest entries of each term, in turn."""
        return in_turns([[self._search(term, most) for term in terms]], most)

    def _search(self, term: str, most: int) -> Iterator[tuple[int, SearchHit]]:
        near = self._index.search(self._model.texts([term])[0], most, exact=len(self._index) <= _FEW)
        for number, distance in sorted(zip(near.keys, near.distances, strict=True), key=lambda hit: (hit[1], hit[0])):
            yield int(number), SearchHit(self._catalogue.entry(int(number)), round(1 - float(distance), 4))

    @property
    def model(self) -> str:
        return with_revision(self._settings.search_model, self._model.commit)

    def found_any(self) -> bool:
        return len(self._vectors) > 0

    def skipped_entries(self, most: int) -> list[SkippedEntry]:
        return [*self._catalogue.skipped_entries(most), *self._vectors.skipped_entries(most)][:most]

    def reasons(self) -> dict[str, int]:
        return dict(sorted((Counter(self._catalogue.reasons()) + Counter(self._vectors.reasons())).items()))


def _model_of(settings: SourcingConfig) -> Clip | SentenceModel:
    """The model that embeds terms and captions; images are embedded by CLIP and SigLIP only."""
    setting = "sourcing.search_model"
    if settings.search_by == "captions":
        files = PretrainedFiles(settings.search_model, setting, _THEN)
        if SentenceModel.is_in(files):
            return SentenceModel(files, "fastest")
    return Clip(settings.search_model, setting, "fastest")


def _usearch() -> Any:
    try:
        from usearch import index
    except ModuleNotFoundError as error:
        raise MissingExtra(f"searching by meaning needs {error.name}", then=how_to_install("search")) from None
    return index

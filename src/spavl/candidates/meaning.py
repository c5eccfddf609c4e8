"""Captions found by what they mean: vectors of a CLIP or SigLIP model in an index of near neighbours.

It finds a "firearm" where the term is "gun". It is made once a run, beside the index of words, whose ids it shares.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from spavl.candidates.catalogue import Catalogue, Hit, in_turns
from spavl.errors import ConfigError, MissingExtra
from spavl.progress import Screen
from spavl.records import content_hash
from spavl.store.files import write_text, writing_to

_TEXTS_AT_ONCE = 256
# So few are compared one by one, which is exact.
_FEW = 100_000


class Meaning:
    """The search that `Catalogue` offers, by meaning in place of words."""

    def __init__(self, catalogue: Catalogue, folder: Path, model: str) -> None:
        self._catalogue, self._model = catalogue, model
        self._file, self._about = folder / "meaning.usearch", folder / "meaning.json"
        self._encoder = _Encoder(model)
        self._index: Any = None

    def build(self, screen: Screen) -> None:
        """Make the vectors of all captions, unless they are those of this model and these captions already."""
        usearch = _usearch()
        state = content_hash([self._model, self._catalogue.states()])
        if not self._file.exists() or not self._about.exists() or json.loads(self._about.read_text()) != state:
            self._about.unlink(missing_ok=True)
            index = usearch.Index(ndim=self._encoder.size, metric="cos", dtype="f16")
            groups = -(-self._catalogue.count() // _TEXTS_AT_ONCE)
            with screen.bar("meaning", groups, unit="groups") as bar:
                texts = self._catalogue.texts()
                while group := list(islice(texts, _TEXTS_AT_ONCE)):
                    index.add(*self._vectors(group), threads=1)
                    bar.advance()
            with writing_to(self._file) as temporary:
                index.save(str(temporary))
            write_text(self._about, json.dumps(state))
        self._index = usearch.Index.restore(str(self._file), view=True)

    def _vectors(self, group: Sequence[tuple[int, str]]) -> tuple[Any, Any]:
        import numpy

        return numpy.array([number for number, _ in group], dtype="u8"), self._encoder([text for _, text in group])

    def search(self, terms: Sequence[str], most: int) -> Iterator[Hit]:
        """The nearest captions of each term in turn."""
        return in_turns([self._search(term, most) for term in terms], most)

    def _search(self, term: str, most: int) -> Iterator[tuple[int, Hit]]:
        near = self._index.search(self._encoder([term])[0], most, exact=len(self._index) <= _FEW)
        for number, distance in sorted(zip(near.keys, near.distances, strict=True), key=lambda hit: (hit[1], hit[0])):
            yield int(number), Hit(self._catalogue.entry(int(number)), round(1 - float(distance), 4))


class _Encoder:
    """The text half of a CLIP or SigLIP model."""

    def __init__(self, path: str) -> None:
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ModuleNotFoundError as error:
            then = 'pip install "spavl[search]"'
            raise MissingExtra(f"searching by meaning needs {error.name}", then=then) from None
        self._torch: Any = torch
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(path)
            self._model: Any = AutoModel.from_pretrained(path).eval()
        except (OSError, ValueError) as error:
            then = "name a CLIP or SigLIP model: a folder, or a hub id"
            raise ConfigError(
                f"cannot load it: {error}", where=f"candidates.search_model = {path}", then=then
            ) from None
        if not hasattr(self._model, "get_text_features"):
            then = "name a CLIP or SigLIP model"
            raise ConfigError("this model has no text half", where=f"candidates.search_model = {path}", then=then)
        self.size = int(self([""]).shape[1])

    def __call__(self, texts: Sequence[str]) -> Any:
        longest = self._model.config.text_config.max_position_embeddings
        given = self._tokenizer(
            list(texts), padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        )
        with self._torch.inference_mode():
            out = self._model.get_text_features(**given)
        vectors = out if isinstance(out, self._torch.Tensor) else out.pooler_output
        return self._torch.nn.functional.normalize(vectors, dim=-1).float().numpy()


def _usearch() -> Any:
    try:
        from usearch import index
    except ModuleNotFoundError as error:
        raise MissingExtra(f"searching by meaning needs {error.name}", then='pip install "spavl[search]"') from None
    return index

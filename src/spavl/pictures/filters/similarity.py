"""Pictures that do not show what their caption says."""

from typing import Any

from spavl.errors import ConfigError, MissingExtra
from spavl.pictures.filters.types import Seen


class Similarity:
    """The source's own figure where it has one, else the cosine of a CLIP or SigLIP model, if one is named."""

    name, reason = "similarity", "unlike_caption"

    def __init__(self, least: float, model: str) -> None:
        self._least = least
        self._clip = _Clip(model) if model else None

    def measure(self, seen: Seen) -> float:
        if seen.similarity is not None:
            return seen.similarity
        if self._clip is None:
            then = "name a model as pictures.similarity_model, or leave least_similarity out"
            raise ConfigError(
                "the source gives no similarity of picture and caption", where="pictures.least_similarity", then=then
            )
        return self._clip.cosine(seen)

    def refuses(self, measured: float) -> bool:
        return measured < self._least


class _Clip:
    def __init__(self, path: str) -> None:
        try:
            import torch
            from transformers import AutoModel, AutoProcessor
        except ModuleNotFoundError:
            then = 'pip install "spavl[hf]"'
            raise MissingExtra("this filter needs torch", where="pictures.similarity_model", then=then) from None
        torch.set_num_threads(1)
        self._torch: Any = torch
        self._processor: Any = AutoProcessor.from_pretrained(path)
        self._model: Any = AutoModel.from_pretrained(path).eval()

    def cosine(self, seen: Seen) -> float:
        given = self._processor(
            text=[seen.caption], images=[seen.pixels], return_tensors="pt", padding="max_length", truncation=True
        )
        with self._torch.inference_mode():
            out = self._model(**given)
        return float(self._torch.cosine_similarity(out.image_embeds, out.text_embeds)[0])

"""CLIP and SigLIP: embeddings of texts and images in one space."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spavl.errors import ConfigError, MissingExtra, how_to_install
from spavl.imaging.clip_preprocess import ClipPreprocess, Pixels, form_of

# Embeddings of length 1; `Vectors` has one per row.
Vector: TypeAlias = NDArray[np.float32]
Vectors: TypeAlias = NDArray[np.float32]

_THEN = "name a CLIP or SigLIP model: a folder, or a hub id"


class Clip:
    """A model with a text encoder and an image encoder. `setting` is the setting that names it, for error messages."""

    def __init__(self, path: str, setting: str, device: Literal["cpu", "fastest"] = "cpu") -> None:
        self._path, self._where = path, f"{setting} = {path}"
        place, _, revision = path.partition("@")
        self._place = (path, None) if Path(path).exists() else (place, revision or None)
        try:
            import torch
            import transformers
        except ModuleNotFoundError as error:
            then = how_to_install("hf")
            raise MissingExtra(f"a CLIP or SigLIP model needs {error.name}", where=setting, then=then) from None
        self._torch: Any = torch
        self._kinds: Any = transformers
        self._device = "cuda" if device == "fastest" and torch.cuda.is_available() else "cpu"
        self._tokenizer = self._load_pretrained(transformers.AutoTokenizer)
        self._model = self._load_pretrained(transformers.AutoModel, dtype=torch.float32, use_safetensors=True)
        if not hasattr(self._model, "get_text_features") or not hasattr(self._model, "get_image_features"):
            what = "this model has no half for texts and one for images"
            raise ConfigError(what, where=self._where, then=_THEN)
        self._model.to(self._device).eval()
        self.size = int(self.texts([""]).shape[1])

    @cached_property
    def _processor(self) -> Any:
        # Of the two resizing backends, this one is available on every machine.
        return self._load_pretrained(self._kinds.AutoImageProcessor, backend="pil")

    @cached_property
    def form(self) -> ClipPreprocess:
        """How to resize and crop an image before it is passed to `images`."""
        if (form := form_of(self._processor)) is None:
            what = "how this model wants its images is not known here"
            raise ConfigError(what, where=self._where, then=_THEN)
        return form

    @property
    def commit(self) -> str | None:
        """The commit of a hub model; None for a local folder."""
        place, revision = self._place
        if Path(place).is_dir():
            return None
        return Path(self._kinds.utils.cached_file(place, "config.json", revision=revision)).parent.name

    def texts(self, texts: Sequence[str]) -> Vectors:
        longest = self._model.config.text_config.max_position_embeddings
        given = self._tokenizer(
            list(texts), padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        )
        return self._vectors(self._model.get_text_features, dict(given))

    def images(self, images: Sequence[Pixels]) -> Vectors:
        """Embeddings of images that were resized and cropped as `form` says."""
        values = self._torch.from_numpy(np.stack(images)).to(self._device).float()
        if self._processor.do_rescale:
            values = values * self._processor.rescale_factor
        if self._processor.do_normalize:
            mean, deviation = (
                self._torch.tensor(each, device=self._device)
                for each in (self._processor.image_mean, self._processor.image_std)
            )
            values = (values - mean) / deviation
        return self._vectors(self._model.get_image_features, {"pixel_values": values.permute(0, 3, 1, 2)})

    def _vectors(self, features: Any, given: dict[str, Any]) -> Vectors:
        with self._torch.inference_mode():
            out = features(**{name: part.to(self._device) for name, part in given.items()})
            vectors = out if isinstance(out, self._torch.Tensor) else out.pooler_output
            found: Vectors = self._torch.nn.functional.normalize(vectors, dim=-1).float().cpu().numpy()
        return found

    def _load_pretrained(self, kind: Any, **options: Any) -> Any:
        try:
            place, revision = self._place
            held = {"revision": revision} if revision else {}
            return kind.from_pretrained(place, trust_remote_code=False, **held, **options)
        except (OSError, ValueError, ImportError) as error:
            if "trust_remote_code" in str(error):
                what = "this model comes with Python code of its own, which is never run for images of strangers"
                raise ConfigError(what, where=self._where, then=f"{_THEN}, whose class is in transformers") from None
            raise ConfigError(f"cannot load it: {error}", where=self._where, then=_THEN) from None

"""CLIP and SigLIP: embeddings of texts and images in one space."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spavl.imaging.clip_preprocess import ClipPreprocess, Pixels, form_of
from spavl.imaging.pretrained_files import PretrainedFiles

# Embeddings of length 1; `Vectors` has one per row.
Vector: TypeAlias = NDArray[np.float32]
Vectors: TypeAlias = NDArray[np.float32]

_THEN = "name a CLIP or SigLIP model: a folder, or a hub id"


class Clip:
    """A model with a text encoder and an image encoder. `setting` is the setting that names it, for error messages."""

    def __init__(self, path: str, setting: str, device: Literal["cpu", "fastest"] = "cpu") -> None:
        files = PretrainedFiles(path, setting, _THEN)
        self._files, self._torch, self._device = files, files.torch, files.device(device)
        self._tokenizer = files.load(files.kinds.AutoTokenizer)
        self._model = files.load(files.kinds.AutoModel, dtype=self._torch.float32, use_safetensors=True)
        if not hasattr(self._model, "get_text_features") or not hasattr(self._model, "get_image_features"):
            raise files.fault("this model has no half for texts and one for images")
        self._model.to(self._device).eval()
        self.size = int(self.texts([""]).shape[1])

    @cached_property
    def _processor(self) -> Any:
        # Of the two resizing backends, this one is available on every machine.
        return self._files.load(self._files.kinds.AutoImageProcessor, backend="pil")

    @cached_property
    def form(self) -> ClipPreprocess:
        """How to resize and crop an image before it is passed to `images`."""
        if (form := form_of(self._processor)) is None:
            raise self._files.fault("how this model wants its images is not known here")
        return form

    @property
    def commit(self) -> str | None:
        """The commit of a hub model; None for a local folder."""
        return self._files.commit

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

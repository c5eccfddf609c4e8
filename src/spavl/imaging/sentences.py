"""Embeddings of sentences by a model in the layout of sentence-transformers, such as all-MiniLM-L6-v2."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from spavl.imaging.clip import Vectors
from spavl.imaging.pretrained_files import PretrainedFiles

# How the vectors of a text's tokens become one, by the name in the model's files.
_MEAN, _FIRST = "pooling_mode_mean_tokens", "pooling_mode_cls_token"
_POOLING = "1_Pooling/config.json"
_THEN = "name a model of sentence-transformers with mean or first-token pooling, or a CLIP or SigLIP model"


class SentenceModel:
    """A text encoder with a pooling rule. Its texts are cut at the length that it was made for, as its makers do."""

    @staticmethod
    def is_in(files: PretrainedFiles) -> bool:
        return files.file("modules.json") is not None

    def __init__(self, files: PretrainedFiles, device: Literal["cpu", "fastest"] = "cpu") -> None:
        self._torch, self._device = files.torch, files.device(device)
        self._pooling = _pooling_of(files)
        self._longest = _longest_of(files)
        self._tokenizer = files.load(files.kinds.AutoTokenizer)
        self._model = files.load(files.kinds.AutoModel, dtype=self._torch.float32, use_safetensors=True)
        self._model.to(self._device).eval()
        self.commit = files.commit
        self.size = int(self._model.config.hidden_size)

    def texts(self, texts: Sequence[str]) -> Vectors:
        given: dict[str, Any] = dict(
            self._tokenizer(
                list(texts), padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
            ).to(self._device)
        )
        with self._torch.inference_mode():
            tokens = self._model(**given).last_hidden_state
            if self._pooling == _FIRST:
                vectors = tokens[:, 0]
            else:
                mask = given["attention_mask"].unsqueeze(-1)
                vectors = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1)
            found: Vectors = self._torch.nn.functional.normalize(vectors, dim=-1).float().cpu().numpy()
        return found


def _pooling_of(files: PretrainedFiles) -> str:
    file = files.file(_POOLING)
    stated = json.loads(file.read_text(encoding="utf-8")) if file else {}
    modes: list[str] = [name for name, is_on in stated.items() if name.startswith("pooling_mode_") and is_on is True]
    if modes not in ([_MEAN], [_FIRST]):
        raise files.fault(f"its pooling is {', '.join(modes) or 'not stated'}")
    return modes[0]


def _longest_of(files: PretrainedFiles) -> int | None:
    """The longest text, in tokens; None if its makers set none besides the tokenizer's own."""
    file = files.file("sentence_bert_config.json")
    length = json.loads(file.read_text(encoding="utf-8")).get("max_seq_length") if file else None
    return length if isinstance(length, int) else None

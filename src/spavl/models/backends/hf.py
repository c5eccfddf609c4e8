"""Image-text models of transformers, in this process: `hf/PATH-or-hub-id`.

Waiting requests are answered in batches. Each row draws its random numbers
from its own seed, so an answer does not depend on the other rows of its batch.
"""

import asyncio
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
    LogitsProcessor,
    LogitsProcessorList,
)
from transformers.utils import cached_file

from spavl.errors import ConfigError, MissingExtra, ProviderError, SpavlError
from spavl.models.backends.processors import file_of, processor_of
from spavl.models.chat_template import as_written, ends_of, prompt_of, shown_by, text_of_tokens
from spavl.models.memory import AdaptiveBatch, free_memory, is_out_of_memory
from spavl.models.names import revision_of, split_revision
from spavl.models.remote_code import opening, own_code_refused
from spavl.models.types import ImageData, Reply, Request, RequestRejected, Transient
from spavl.models.wrappers.rate_limit import PaceConfig
from spavl.records import content_hash
from spavl.text.final_answer import begins_thought, part_thoughts

# Only safetensors files are loaded: a pickle can run any code.
ONLY_WEIGHTS: dict[str, Any] = {"use_safetensors": True}


class HFModel:
    """A checkpoint folder or hub id, loaded at the first request and kept.

    Waiting requests are answered in batches of up to `largest_batch`, which is halved when memory does not suffice.
    """

    def __init__(
        self,
        path: str,
        dtype: str = "auto",
        largest_batch: int = PaceConfig().batch_here,
        say: Callable[[str], None] = lambda _: None,
        trusted: Collection[str] = (),
    ) -> None:
        self._path, self._dtype, self._trusted = path, dtype, trusted
        self._together = AdaptiveBatch(largest_batch, f"hf/{path}", say)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hf")
        self._waiting: list[_Asked] = []
        self._serving: asyncio.Task[None] | None = None
        self._answered = False

    @cached_property
    def name(self) -> str:
        return checkpoint_name(self._path)

    async def ask(self, request: Request) -> Reply:
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answered))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await answered

    async def rest(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)

    async def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # requests that are about to be made join the first batch
        while self._waiting:
            # Batch answers of similar length: a batch is as slow as its longest row. Some processors do not take
            # rows with and without an image in one batch.
            self._waiting.sort(key=lambda item: (_kind(item[0]), item[0].max_tokens, len(item[0].messages[-1].text)))
            alike = sum(_kind(request) == _kind(self._waiting[0][0]) for request, _ in self._waiting)
            size = min(alike, self._together.most)
            batch, self._waiting = self._waiting[:size], self._waiting[size:]
            try:
                replies = await loop.run_in_executor(self._thread, self._answer, [request for request, _ in batch])
            except Exception as error:
                if is_out_of_memory(error):
                    await loop.run_in_executor(self._thread, free_memory)
                    if self._together.is_halved(size):
                        self._waiting += batch
                        continue
                    error = self._no_memory(error)
                replies = [error] * size
            self._answered |= any(isinstance(reply, Reply) for reply in replies)
            for (_, answered), reply in zip(batch, replies, strict=True):
                _settle(answered, reply)
            await asyncio.sleep(0)

    def _no_memory(self, error: Exception) -> Exception:
        """Transient if the model has answered other requests, since a retry may fit; otherwise ProviderError."""
        if self._answered:
            return Transient(f"out of memory: {_sentence(error)}")
        then = "free memory, or name a smaller model, or serve it with vLLM and name it openai/NAME@URL"
        return ProviderError(f"not enough memory for one request: {_sentence(error)}", where=self.name, then=then)

    @cached_property
    def _processor_and_model(self) -> tuple[Any, Any]:
        processor, model = load_checkpoint(self._path, self._dtype, self._trusted)
        return processor, model.eval()

    def _let_go(self) -> None:
        if self.__dict__.pop("_processor_and_model", None) is not None:
            free_memory()

    def _answer(self, requests: Sequence[Request]) -> list[Reply | Exception]:
        """For each request, the reply, or the error if the model's template or processor does not accept it."""
        processor, model = self._processor_and_model
        number, faults = len(requests), dict[int, Exception]()
        try:
            prepared = _model_inputs(processor, requests)
        except (SpavlError, MemoryError):
            raise
        except Exception:
            faults = {place: fault for place, each in enumerate(requests) if (fault := _fault_of(processor, each))}
            requests = [each for place, each in enumerate(requests) if place not in faults]
            prepared = _model_inputs(processor, requests) if requests else _ModelInputs([], {})
        replies = iter(_answers(processor, model, requests, prepared) if requests else [])
        return [faults.get(place) or next(replies) for place in range(number)]


_Asked = tuple[Request, asyncio.Future[Reply]]


def _settle(answered: asyncio.Future[Reply], reply: Reply | Exception) -> None:
    if answered.done():
        return
    if isinstance(reply, Exception):
        answered.set_exception(reply)
    else:
        answered.set_result(reply)


def _fault_of(processor: Any, request: Request) -> Exception | None:
    """The error if a template or processor does not accept a request, as with a system prompt or a very long image."""
    try:
        _model_inputs(processor, [request])
    except (SpavlError, MemoryError):
        raise  # not an error of this request, but of the settings or the machine
    except Exception as error:
        return RequestRejected(f"the model's template or processor does not take this: {_sentence(error)}")
    return None


def _kind(request: Request) -> tuple[int, str]:
    """What the requests of one batch must have in common: the number of images, and the template settings."""
    return sum(len(message.images) for message in request.messages), request.more


def answer_all(processor: Any, model: Any, requests: Sequence[Request]) -> list[Reply]:
    """The replies of a loaded model, all in one batch."""
    return _answers(processor, model, requests, _model_inputs(processor, requests))


class _ModelInputs(NamedTuple):
    """The prompts of some requests, and the model's input tensors."""

    texts: list[str]
    inputs: Mapping[str, Tensor]


def _model_inputs(processor: Any, requests: Sequence[Request]) -> _ModelInputs:
    texts = [prompt_of(processor, _chat(request), **_template_settings(request)) for request in requests]
    images = [[_pillow_image(p) for message in request.messages for p in message.images] for request in requests]
    processor.tokenizer.padding_side = "left"
    written = as_written(processor.tokenizer, texts[0])
    shown = shown_by(processor, images=images if any(images) else None, text=texts, padding=True, **written)
    return _ModelInputs(texts, shown)


@torch.inference_mode()
def _answers(processor: Any, model: Any, requests: Sequence[Request], prepared: _ModelInputs) -> list[Reply]:
    inputs = inputs_for(model, prepared.inputs)
    prompt, ends = inputs["input_ids"].shape[1], ends_of(model, processor)
    tokens = model.generate(
        **inputs,
        max_new_tokens=max(request.max_tokens for request in requests),
        do_sample=False,
        eos_token_id=sorted(ends),
        logits_processor=LogitsProcessorList([SeededSampling(requests)]),
    )[:, prompt:]
    asked = inputs["attention_mask"].sum(1).tolist()
    rows = zip(tokens, requests, prepared.texts, asked, strict=True)
    return [_reply(processor, row, request, begins_thought(text), n, ends) for row, request, text, n in rows]


def _template_settings(request: Request) -> dict[str, Any]:
    """The variables that a request sets in its chat template, as servers pass them on."""
    more: dict[str, Any] = json.loads(request.more or "{}")
    kwargs: dict[str, Any] = more.pop("chat_template_kwargs", {})
    return {**more, **kwargs}


def inputs_for(model: Any, shown: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the model's device; floating-point tensors in its dtype."""
    kinds = {name: model.dtype if value.is_floating_point() else value.dtype for name, value in shown.items()}
    return {name: value.to(model.device, kinds[name]) for name, value in shown.items()}


def _pillow_image(image: ImageData) -> Image.Image:
    return Image.open(io.BytesIO(image.data)).convert("RGB")


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Samples each row with its own seed: the argmax of log-probability plus Gumbel noise is a sample."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests
        self._generators: list[torch.Generator] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if not self._generators:
            # On the device of the scores: otherwise a GPU would wait at each token for random numbers from the CPU.
            self._generators = [_generator(request, scores.device) for request in self._requests]
        rows = []
        for scores_V, request, generator in zip(scores, self._requests, self._generators, strict=True):
            if request.temperature > 0:
                scores_V = _keep_nucleus(scores_V / request.temperature, request.top_p)
                uniform_V = torch.rand(scores_V.shape, generator=generator, dtype=torch.float64, device=scores.device)
                scores_V = scores_V - (-uniform_V.clamp_min(1e-300).log()).log().to(scores_V)
            rows.append(scores_V)
        return torch.stack(rows)


def _keep_nucleus(logits_V: Tensor, top_p: float) -> Tensor:
    """Keep the fewest tokens whose probabilities sum to `top_p`; the others cannot be sampled."""
    if top_p >= 1:
        return logits_V
    shares_V, order_V = logits_V.softmax(-1).sort(descending=True)
    beyond_V = shares_V.cumsum(-1) - shares_V >= top_p
    return logits_V.index_fill(0, order_V[beyond_V], -torch.inf)


def _generator(request: Request, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(content_hash(request.canonical())[:15], 16))


def _chat(request: Request) -> list[dict[str, Any]]:
    return [
        {"role": m.role, "content": [*({"type": "image"} for _ in m.images), {"type": "text", "text": m.text}]}
        for m in request.messages
    ]


def _reply(processor: Any, tokens_T: Tensor, request: Request, is_begun: bool, asked: int, ends: set[int]) -> Reply:
    tokens = tokens_T.tolist()[: request.max_tokens]
    stop = next((place for place, token in enumerate(tokens) if token in ends), None)
    spoken = tokens if stop is None else tokens[:stop]
    text = text_of_tokens(processor.tokenizer, spoken)
    parted = part_thoughts(text, stop is None, is_begun)
    return Reply(
        parted.answer,
        "length" if stop is None else "stop",
        tokens_in=asked,
        tokens_out=len(spoken) + (stop is not None),
        reasoning=parted.thoughts,
        reasoning_tokens=_count(processor.tokenizer, parted.thoughts),
        is_begun=is_begun or parted.is_begun,
    )


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0


def opening_weights(path: str, trusted: Collection[str] = ()) -> tuple[str, dict[str, Any]]:
    """`opening` for weights. An adapter is loaded onto its base, so the base's revision and code are used."""
    base, (place, how) = base_of(path), opening(path, trusted)
    if base is None:
        return place, {**how, **ONLY_WEIGHTS}
    own = {"adapter_kwargs": {"revision": how["revision"]}} if "revision" in how else {}
    return place, {**opening(base, trusted)[1], **own, **ONLY_WEIGHTS}


def load_checkpoint(path: str, dtype: str = "auto", trusted: Collection[str] = ()) -> tuple[Any, Any]:
    """The processor and the model of a checkpoint folder or a hub id, on the GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = dtype if dtype == "auto" else getattr(torch, dtype)
    processor = load_processor(path, trusted)
    try:
        place, how = opening_weights(path, trusted)
        model = AutoModelForImageTextToText.from_pretrained(place, dtype=kind, **how)
    except (OSError, ValueError) as error:
        raise cannot_load(path, error) from error
    model.commit = commit_of(base_of(path) or path)
    return processor, model.to(device)


def check_there(path: str, trusted: Collection[str] = ()) -> None:
    """Check that a folder or a hub id is an image-text model, without reading its weights."""
    try:
        place, how = opening(base_of(path) or path, trusted)
        config = AutoConfig.from_pretrained(place, **how)
    except (OSError, ValueError) as error:
        raise cannot_load(path, error) from error
    own = getattr(config, "auto_map", None) or {}
    is_own = how["trust_remote_code"] and AutoModelForImageTextToText.__name__ in own
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not is_own:
        what = f"this is a {config.model_type} model, which reads no images or is not known to transformers as one"
        raise ConfigError(what, where=path, then="name an image-text model")
    if (folder := Path(path)).is_dir() and not any(folder.glob("*.safetensors")):
        then = "save the model with save_pretrained, which writes model.safetensors"
        raise ConfigError("this folder holds no weights in *.safetensors", where=path, then=then)


def load_processor(path: str, trusted: Collection[str] = ()) -> Any:
    """The processor of a model. An adapter without a processor uses that of its base."""
    try:
        try:
            return processor_of(path, trusted)
        except (OSError, ValueError):
            if (base := base_of(path)) is None:
                raise
            return processor_of(base, trusted)
    except (OSError, ValueError) as error:
        raise cannot_load(path, error) from error
    except ImportError as error:
        what, then = f"this model's processor needs more: {_sentence(error)}", "pip install torchvision"
        raise MissingExtra(what, where=path, then=then) from error


def base_of(path: str) -> str | None:
    """The base of an adapter, in the revision that it was trained on; None for a model that is not an adapter."""
    if (found := file_of(path, "adapter_config.json")) is None:
        return None
    told = json.loads(found.read_text())
    base, revision = str(told["base_model_name_or_path"]), told.get("revision")
    return f"{base}@{revision}" if revision and split_revision(base)[1] is None and not Path(base).exists() else base


def cannot_load(path: str, error: Exception) -> ConfigError:
    then = "give a folder with config.json, weights and processor files, or a hub id of an image-text model; "
    then += "one behind a server is named openai/NAME or openai/NAME@URL"
    if "trust_remote_code" in str(error):
        return own_code_refused(base_of(path) or path)
    return ConfigError(f"cannot load this model: {_sentence(error)}", where=path, then=then)


def _sentence(error: Exception) -> str:
    """The first line of a library's error message."""
    return str(error).strip().partition("\n")[0]


def checkpoint_name(path: str) -> str:
    """A checkpoint's name, which does not depend on its path: the same weights have the same name on every machine."""
    folder = Path(path)
    if folder.is_dir():
        # The same adapter on another base is another model.
        base = base_of(path)
        on = f"+{checkpoint_name(base).removeprefix('hf/')}" if base else ""
        return f"hf/{folder.name}#{revision_of(folder)}{on}"
    return f"hf/{split_revision(path)[0]}#{hub_revision_of(path)}"


def commit_of(path: str) -> str | None:
    """The commit of a hub model; None for a folder, whose name contains the hash of its files."""
    return None if Path(path).is_dir() else hub_revision_of(path)


def hub_revision_of(hub_id: str) -> str:
    """The current commit of a hub id: the name of the cache folder that contains its files."""
    place, revision = split_revision(hub_id)
    try:
        file = "config.json" if base_of(hub_id) is None else "adapter_config.json"
        return Path(cached_file(place, file, revision=revision)).parent.name
    except OSError as error:
        raise cannot_load(hub_id, error) from error

"""Samples answers on a server. The policy is pushed there every few rollouts: to vLLM as an adapter, else as a folder.

Between two pushes the server has older weights. Answers are scored with the weights that sampled them, as this process
computes them, so that PPO clips the ratio to the policy that sampled.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from peft import PeftModel

from spavl.errors import ConfigError, ProviderError
from spavl.models.backends.openai import OpenAIModel, authorization, read_at_most, told_of
from spavl.models.chat_template import TemplateTurn, ends_of, turn_of
from spavl.models.types import Reply, Request, RequestRejected, Transient
from spavl.models.wrappers.rate_limit import PaceConfig, RateLimiter
from spavl.models.wrappers.stack import RateLimited, Retrying
from spavl.text.safe_print import line
from spavl.training.model.anatomy import image_tokens_of
from spavl.training.prefix_trees.tree import prompt_text, row_of

_KIND = "openai/"
# Parameters for vLLM: return token ids, and sample from the unmodified policy, without the model's default parameters.
_UNMODIFIED = {"return_token_ids": True, "top_k": -1, "repetition_penalty": 1.0}
_MAX_ERROR_BYTES = 2**20
_THEN = "check that the server is up and type the same command: the training continues from its last checkpoint"


class RemoteSampler:
    """Samples answers on a server, where the policy has a fixed name, or a new one after each push."""

    def __init__(
        self, uri: str, model: Any, trained: Any, processor: Any, folder: Path, image: Callable[[str], bytes]
    ) -> None:
        name, _, url = uri.removeprefix(_KIND).partition("@")
        if not uri.startswith(_KIND) or not url:
            then = "write openai/NAME@http://HOST:PORT/v1"
            raise ConfigError(f"not the address of a server: {uri!r}", where="training.ppo.sampler", then=then)
        self._name, self._url, self._image = name, url.rstrip("/"), image
        self._trained, self._processor, self._folder = trained, processor, folder
        self._ends, self._image_tokens = ends_of(model, processor), image_tokens_of(model)
        self._event_loop = asyncio.get_running_loop()

    @property
    def _is_adapter(self) -> bool:
        return isinstance(self._trained, PeftModel)

    def push_weights(self, turn: int) -> None:
        """Send the current weights to the server."""
        name = f"policy-{turn:06d}"
        folder = (self._folder / name).resolve()
        shutil.rmtree(folder, ignore_errors=True)
        self._trained.save_pretrained(folder)
        if self._is_adapter:
            self._wait(self._load(name, folder))
        else:
            self._processor.save_pretrained(folder)
            _remove_sampling_defaults(folder / "generation_config.json")
            self._name = str(folder)
        for old in self._folder.glob("policy-*"):
            if old.name != name:
                shutil.rmtree(old)

    def sample(self, requests: Sequence[Request], per_request: int) -> list[tuple[int, ...]]:
        """`per_request` answers to each request, as tokens."""
        sent = [replace(_with_image(r, self._image), sample=r.sample + k) for r in requests for k in range(per_request)]
        replies: list[Reply] = self._wait(self._ask(sent))
        return [self._tokens(reply, request) for reply, request in zip(replies, sent, strict=True)]

    def _tokens(self, reply: Reply, request: Request) -> tuple[int, ...]:
        """The sampled token ids, or the tokens of the text if the server gives no ids; those may differ.

        An answer that contains an image token ends with it, as if it had been cut off.
        """
        turn = turn_of(self._processor)
        tokens = list(reply.tokens) or self._tokenize(turn, request.messages[-1].text, reply.text)
        if reply.finish == "stop" and not set(tokens[-1:]) & self._ends:
            tokens.append(turn.end_token)
        image_token = next((place for place, token in enumerate(tokens) if token in self._image_tokens), len(tokens))
        return tuple(tokens[: min(image_token + 1, request.max_tokens)]) or (turn.end_token,)

    def _tokenize(self, turn: TemplateTurn, question: str, text: str) -> list[int]:
        """The tokens of a text that may have been cut off."""
        if not text.strip():
            return []
        asked, endless = prompt_text(self._processor, question, None), turn._replace(end="")
        path = row_of(self._processor.tokenizer, endless, asked, text)
        return list(path.tokens[path.answer : -1])

    async def _ask(self, requests: Sequence[Request]) -> list[Reply]:
        backend = OpenAIModel(self._name, self._url, _UNMODIFIED if self._is_adapter else {})
        model = Retrying(RateLimited(backend, RateLimiter(PaceConfig())))
        try:
            return list(await asyncio.gather(*map(model.ask, requests)))
        except (Transient, RequestRejected) as error:
            raise ProviderError(f"the server sampled no answer: {error}", where=self._url, then=_THEN) from None
        finally:
            await backend.close()

    async def _load(self, name: str, folder: Path) -> None:
        asked = {"lora_name": name, "lora_path": str(folder)}
        async with aiohttp.ClientSession(headers=authorization(self._url)) as session:
            status, response = await self._post(session, "load_lora_adapter", asked)
            if status == 400 and "already been loaded" in response:
                # By an earlier start of this training, with the weights that it had then.
                await self._post(session, "unload_lora_adapter", {"lora_name": name})
                status, response = await self._post(session, "load_lora_adapter", asked)
            if status != 200:
                then = "start vLLM with --enable-lora, --max-lora-rank and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, on a "
                then += "machine that can read this folder; or set training.ppo.publish_every = 0"
                what = f"the server did not load the adapter: HTTP {status}: {response}"
                raise ProviderError(what, where=self._url, then=then)
            if self._name.startswith("policy-") and self._name != name:
                await self._post(session, "unload_lora_adapter", {"lora_name": self._name})
        self._name = name

    async def _post(self, session: aiohttp.ClientSession, path: str, asked: dict[str, str]) -> tuple[int, str]:
        """The status and the beginning of the body."""
        try:
            async with session.post(f"{self._url}/{path}", json=asked) as answer:
                body = await read_at_most(answer, _MAX_ERROR_BYTES)
                return answer.status, line(body[:200].decode(errors="replace"))
        except (aiohttp.ClientError, TimeoutError, Transient) as error:
            reason = error.reason if isinstance(error, Transient) else told_of(error)
            raise ProviderError(f"the server does not answer: {reason}", where=self._url, then=_THEN) from None

    def _wait(self, coroutine: Any) -> Any:
        """Run in the event loop of the main thread, and wait for it in the training thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._event_loop).result()


def _with_image(request: Request, image: Callable[[str], bytes]) -> Request:
    message = request.messages[-1]
    images = tuple(replace(each, data=image(each.digest)) for each in message.images)
    return replace(request, messages=(*request.messages[:-1], replace(message, images=images)))


def _remove_sampling_defaults(file: Path) -> None:
    """Servers apply the sampling defaults of a checkpoint, but samples must come from the unmodified policy."""
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}) + "\n")

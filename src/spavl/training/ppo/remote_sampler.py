"""Answers drawn by a server that is given the policy every so often: vLLM as an adapter, others as a folder.

Between two publications the server's policy is an older one. Its answers are scored by the weights that drew
them, as this process computes them; so the ratio that PPO clips is the one to the policy that spoke.
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
from spavl.models.types import Rejected, Reply, Request, Transient
from spavl.models.wrappers.rate_limit import PaceConfig, RateLimiter
from spavl.models.wrappers.stack import RateLimited, Retrying
from spavl.text.safe_print import line
from spavl.training.model.anatomy import marks_of_images
from spavl.training.prefix_trees.tokenize import prompt_text, row_of

_KIND = "openai/"
# What vLLM is asked for beside the rest: the very tokens, and the policy itself, whatever its model's makers prefer.
_PLAINLY = {"return_token_ids": True, "top_k": -1, "repetition_penalty": 1.0}
_MOST_TOLD = 2**20
_THEN = "see that the server is up and type the same command: the training goes on from its last saved state"


class RemoteSampler:
    """Serves the policy under one name, or each publication under a name of its own."""

    def __init__(
        self, uri: str, model: Any, trained: Any, processor: Any, folder: Path, image: Callable[[str], bytes]
    ) -> None:
        name, _, url = uri.removeprefix(_KIND).partition("@")
        if not uri.startswith(_KIND) or not url:
            then = "write openai/NAME@http://HOST:PORT/v1"
            raise ConfigError(f"no such server: {uri!r}", where="training.ppo.sampler", then=then)
        self._name, self._url, self._image = name, url.rstrip("/"), image
        self._trained, self._processor, self._folder = trained, processor, folder
        self._ends, self._marks = ends_of(model, processor), marks_of_images(model)
        self._serving = asyncio.get_running_loop()

    @property
    def _is_adapter(self) -> bool:
        return isinstance(self._trained, PeftModel)

    def publish(self, turn: int) -> None:
        """Give the server the weights as they are now."""
        name = f"policy-{turn:06d}"
        folder = (self._folder / name).resolve()
        shutil.rmtree(folder, ignore_errors=True)
        self._trained.save_pretrained(folder)
        if self._is_adapter:
            self._wait(self._load(name, folder))
        else:
            self._processor.save_pretrained(folder)
            _speaks_plainly(folder / "generation_config.json")
            self._name = str(folder)
        for old in self._folder.glob("policy-*"):
            if old.name != name:
                shutil.rmtree(old)

    def draw(self, requests: Sequence[Request], each: int) -> list[tuple[int, ...]]:
        """So many answers to each request, as tokens."""
        asked = [replace(_shown(r, self._image), sample=r.sample + k) for r in requests for k in range(each)]
        replies: list[Reply] = self._wait(self._ask(asked))
        return [self._tokens(reply, request) for reply, request in zip(replies, asked, strict=True)]

    def _tokens(self, reply: Reply, request: Request) -> tuple[int, ...]:
        """Those that the server drew; where it does not tell them, those of its text, which may be others.

        An answer in which the mark of an image was drawn ends with it, as if it had been cut off.
        """
        turn = turn_of(self._processor)
        told = list(reply.tokens) or self._read(turn, request.messages[-1].text, reply.text)
        if reply.finish == "stop" and not set(told[-1:]) & self._ends:
            told.append(turn.end_token)
        mark = next((place for place, token in enumerate(told) if token in self._marks), len(told))
        return tuple(told[: min(mark + 1, request.max_tokens)]) or (turn.end_token,)

    def _read(self, turn: TemplateTurn, question: str, text: str) -> list[int]:
        """The tokens of a text that may not have come to its end."""
        if not text.strip():
            return []
        asked, endless = prompt_text(self._processor, question, None), turn._replace(end="")
        path = row_of(self._processor.tokenizer, endless, asked, text)
        return list(path.tokens[path.answer : -1])

    async def _ask(self, requests: Sequence[Request]) -> list[Reply]:
        backend = OpenAIModel(self._name, self._url, _PLAINLY if self._is_adapter else {})
        model = Retrying(RateLimited(backend, RateLimiter(PaceConfig())))
        try:
            return list(await asyncio.gather(*map(model.ask, requests)))
        except (Transient, Rejected) as error:
            raise ProviderError(f"no answer was drawn: {error}", where=self._url, then=_THEN) from None
        finally:
            await backend.close()

    async def _load(self, name: str, folder: Path) -> None:
        async with aiohttp.ClientSession(headers=authorization(self._url)) as session:
            asked = {"lora_name": name, "lora_path": str(folder)}
            try:
                async with session.post(f"{self._url}/load_lora_adapter", json=asked) as answer:
                    body = await read_at_most(answer, _MOST_TOLD)
                    told = f"HTTP {answer.status}: {line(body[:200].decode(errors='replace'))}"
                    taken = answer.status == 200
            except (aiohttp.ClientError, TimeoutError, Transient) as error:
                told = error.reason if isinstance(error, Transient) else told_of(error)
                raise ProviderError(f"no server answers: {told}", where=self._url, then=_THEN) from None
            if not taken:
                then = "start vLLM with --enable-lora, --max-lora-rank and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1; it must "
                then += "see this folder; or set training.ppo.publish_every = 0"
                raise ProviderError(f"the server takes no adapter: {told}", where=self._url, then=then)
            if self._name.startswith("policy-") and self._name != name:
                async with session.post(f"{self._url}/unload_lora_adapter", json={"lora_name": self._name}):
                    pass
        self._name = name

    def _wait(self, asking: Any) -> Any:
        """From the thread that trains; the loop that serves the run's models does it."""
        return asyncio.run_coroutine_threadsafe(asking, self._serving).result()


def _shown(request: Request, image: Callable[[str], bytes]) -> Request:
    message = request.messages[-1]
    shown = tuple(replace(each, data=image(each.digest)) for each in message.images)
    return replace(request, messages=(*request.messages[:-1], replace(message, images=shown)))


def _speaks_plainly(file: Path) -> None:
    """Servers take a model's own settings for what they are not told, and what is drawn must be the policy itself."""
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}) + "\n")

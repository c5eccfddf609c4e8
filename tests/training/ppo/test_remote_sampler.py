"""Answers drawn by a server that is given the policy every so often: they are scored by the weights that drew them."""

import asyncio
import base64
import io
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from aiohttp import web
from peft import PeftModel
from PIL import Image

from spavl.errors import ConfigError
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.models.types import Message, Request
from spavl.records import Rollout
from spavl.store import RunFolder
from spavl.training.config import PPOConfig, TrainableConfig, TrainingConfig
from spavl.training.loop.loop import Checkpoints, train
from spavl.training.model.trainable import prepare
from spavl.training.objectives.registry import ObjectiveInputs
from spavl.training.ppo.ppo import PPO
from spavl.training.ppo.remote_sampler import RemoteSampler
from spavl.training.ppo.rollout_store import RolloutStore
from spavl.training.ppo.sampling import SamplingPrompt, sample_answers
from spavl.training.prefix_trees.batch import make_batch
from spavl.training.prefix_trees.logprobs import answer_logprobs
from spavl.training.prefix_trees.tree import ScoredRow
from tests.support.servers import Body, ChatServer
from tests.training.ppo.test_ppo import LOOP, an_image, sample, warnings
from tests.training.ppo.test_reward_and_ppo import BASE, REWARD
from tests.training.ppo.test_reward_and_ppo import PPO as FEW
from tests.training.test_train import data, spavl

__all__ = ["data"]


class PolicyServer(ChatServer):
    """Serves the miniature, and adapters that are loaded into it, as vLLM does. It remembers how likely its words were.

    With `tells` it tells the tokens that it drew.
    """

    def __init__(self, tells: bool) -> None:
        super().__init__(self._draw)
        self.processor, base = load_checkpoint(miniature_checkpoint(), dtype="float32")
        self.models: dict[str, Any] = {"base": base.eval()}
        self.asked: list[str] = []
        self.taken: list[str] = []
        self.logprobs: dict[str, float] = {}
        self._tells = tells

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/load_lora_adapter", self._load)
        app.router.add_post("/v1/unload_lora_adapter", self._unload)

    async def _load(self, request: web.Request) -> web.Response:
        told = await request.json()
        if told["lora_name"] in self.models:
            message = f"The lora adapter '{told['lora_name']}' has already been loaded."
            return web.json_response({"error": {"message": message, "type": "InvalidUserInput"}}, status=400)
        base = load_checkpoint(miniature_checkpoint(), dtype="float32")[1]
        self.models[told["lora_name"]] = PeftModel.from_pretrained(base, told["lora_path"]).base_model.model.eval()
        self.taken.append(told["lora_name"])
        return web.Response(text="ok")

    async def _unload(self, request: web.Request) -> web.Response:
        del self.models[(await request.json())["lora_name"]]
        return web.Response(text="ok")

    def _draw(self, body: Body) -> web.Response:
        self.asked.append(body["model"])
        shown, asked = body["messages"][-1]["content"]
        image = Image.open(io.BytesIO(base64.b64decode(shown["image_url"]["url"].partition(",")[2]))).convert("RGB")
        request = Request((Message("user", asked["text"]),), body["max_tokens"], body["temperature"], seed=body["seed"])
        model = self.models[body["model"]]
        (tokens,) = sample_answers(model, self.processor, [SamplingPrompt(image, request)], 1)
        with torch.no_grad():
            rows = make_batch(model, self.processor, [ScoredRow("one", image, asked["text"], tokens)])
            self.logprobs[str(list(tokens)) + asked["text"]] = answer_logprobs(model, rows).item()
        text = self.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        ended = tokens[-1] == self.processor.tokenizer.eos_token_id
        choice = {"message": {"content": text}, "finish_reason": "stop" if ended else "length"}
        told = {"token_ids": list(tokens)} if self._tells and body.get("return_token_ids") else {}
        return web.json_response({"choices": [{**choice, **told}]})


def task_of(url: str, folder: Path, **settings: Any) -> PPO:
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="float32")
    parts = TrainableConfig(language="lora", lora_rank=4, projector=False)
    trained = prepare(model, parts)
    ppo = {"questions_per_step": 3, "answers_per_question": 2, "max_tokens": 12, "sampler": f"openai/base@{url}"}
    config = TrainingConfig(trainable=parts, ppo=PPOConfig(**ppo | settings), loop=LOOP)
    inputs = ObjectiveInputs(
        model=model.train(),
        processor=processor,
        samples=[sample(k) for k in range(9)],
        image=an_image,
        settings=config,
        seed=3,
        rewarder=warnings,
        rollouts=folder / "rollouts",
        sampler=RemoteSampler(config.ppo.sampler, model, trained, processor, folder / "policies", an_image),
    )
    return PPO(inputs)


def trained_on(server: PolicyServer, folder: Path, **settings: Any) -> list[Any]:
    """Three rounds of answers."""

    async def go() -> None:
        task = task_of(server.url, folder, **settings)
        assert task.steps == 3
        await asyncio.to_thread(lambda: list(train(task, LOOP, Checkpoints(folder))))

    asyncio.run(go())
    return [RolloutStore(folder / "rollouts").read(turn) for turn in range(3)]


@pytest.mark.slow
def test_an_adapter_of_an_earlier_start_is_replaced(tmp_path: Path) -> None:
    with PolicyServer(tells=True) as server:
        trained_on(server, tmp_path / "stopped", publish_every=2)
        trained_on(server, tmp_path / "again", publish_every=2)
    assert server.taken == ["policy-000000", "policy-000002"] * 2 and list(server.models) == ["base", "policy-000002"]


@pytest.mark.parametrize("tells", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_answers_are_scored_by_the_weights_that_drew_them(tells: bool, tmp_path: Path) -> None:
    with PolicyServer(tells) as server:
        rounds = trained_on(server, tmp_path, publish_every=2)
    assert server.taken == ["policy-000000", "policy-000002"] and list(server.models) == ["base", "policy-000002"]
    assert server.asked == ["policy-000000"] * 12 + ["policy-000002"] * 6
    for made in rounds:
        for answer in made.answers:
            told = server.logprobs[str(list(answer.tokens)) + answer.question]
            assert sum(answer.logprobs) == pytest.approx(told, abs=1e-3)
    moved = [answer.kl for answer in rounds[2].answers]
    assert not any(answer.kl for made in rounds[:2] for answer in made.answers) and all(moved)
    assert [path.name for path in (tmp_path / "policies").iterdir()] == ["policy-000002"]


@pytest.mark.slow
def test_a_server_that_is_never_given_the_policy_draws_as_the_reference_does(tmp_path: Path) -> None:
    with PolicyServer(True) as server:
        rounds = trained_on(server, tmp_path, publish_every=0)
    assert not server.taken and set(server.asked) == {"base"}
    assert all(answer.logprobs == answer.reference for made in rounds for answer in made.answers)


def test_what_no_server_can_be_given_is_refused(data: Path, capsys: Any) -> None:
    words = ("ppo", *BASE, *REWARD, *FEW, "--ppo.sampler", "openai/base@http://127.0.0.1:9/v1", "--out", "one")
    assert spavl(*words, "--trainable.language", "lora", "--trainable.lora_rank", "2") == 2
    assert "servers accept LoRA weights only" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="not the address of a server"):
        asyncio.run(_named("miniature/base"))


async def _named(uri: str) -> RemoteSampler:
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="float32")
    return RemoteSampler(uri, model, model, processor, Path(), an_image)


@pytest.mark.interop
def test_transformers_serve_loads_each_folder_it_is_asked_for(data: Path) -> None:
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--host", "127.0.0.1", "--device", "cpu"]
    server = subprocess.Popen([*command, "--port", "18473"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen("http://127.0.0.1:18473/health", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        sampler = ("--ppo.sampler", "openai/policy@http://127.0.0.1:18473/v1", "--ppo.publish_every", "2")
        assert spavl("ppo", *BASE, *REWARD, *FEW, *sampler, "--out", "one") == 0
    finally:
        server.terminate()
        server.wait(30)
    with RunFolder(Path("one"), look_only=True) as run:
        drawn = list(run.read("training.rollouts", Rollout))
    assert len(drawn) == 14 * 2 and len({answer.answer for answer in drawn}) > 5
    first, last = (sum(answer.kl for answer in drawn if answer.step == step) for step in (1, 4))
    assert first == pytest.approx(0, abs=1e-3) and abs(last) > 0.01, json.dumps([first, last])

"""Models in this process, on the checkpoint that ships: the same code that loads real ones."""

import asyncio
import importlib.util
import io
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from spavl.errors import ConfigError, MissingExtra, ProviderError
from spavl.miniature.grammar import CAPTION_REQUEST
from spavl.miniature.personas import PERSONAS
from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import HFModel, answer_all, load_processor
from spavl.models.factory import ModelFactory, miniature_checkpoint
from spavl.models.types import ImageData, Message, Reply, Request, RequestRejected, ask_about
from spavl.store import RunFolder
from tests.support.processors import PROCESSORS

SCENES = [scene(position, 0, 21, live) for position in range(0, 53, 2) for live in (True, False)]
IMAGES = [ImageData.of(png(draw(seen))) for seen in SCENES]


def ask_all(requests: Sequence[Request], at_once: bool = True, dtype: str = "float64") -> list[Reply]:
    async def ask() -> list[Reply]:
        model = HFModel(miniature_checkpoint(), dtype)
        try:
            if at_once:
                return list(await asyncio.gather(*map(model.ask, requests)))
            return [await model.ask(request) for request in requests]
        finally:
            await model.close()

    return asyncio.run(ask())


def test_an_answer_does_not_hang_on_who_shared_its_batch() -> None:
    requests = [ask_about(image, "how do i wake this ?", max_tokens=24, temperature=1.0) for image in IMAGES]
    requests += [
        ask_about(IMAGES[0], "i have to open this before noon .", max_tokens=9, temperature=1.0, sample=k)
        for k in range(9)
    ]
    assert ask_all(requests) == ask_all(requests, at_once=False)


def run_out_of_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Have torch itself refuse a tensor at every batch of more than so many rows; gives the sizes that were tried."""
    whole, tried = LlavaForConditionalGeneration.generate, list[int]()

    def generate(model: Any, **inputs: Any) -> Any:
        tried.append(len(inputs["input_ids"]))
        if tried[-1] > most:
            torch.empty(2**61, dtype=torch.uint8)
        return whole(model, **inputs)

    monkeypatch.setattr(LlavaForConditionalGeneration, "generate", generate)
    return tried


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved_and_every_answer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [ask_about(image, "how do i wake this ?", max_tokens=24, temperature=1.0) for image in IMAGES]
    whole = ask_all(requests)
    tried = run_out_of_memory(monkeypatch, most=5)
    assert ask_all(requests) == whole
    assert tried[0] == len(IMAGES) and max(tried[5:]) <= 5


def test_one_request_that_does_not_fit_ends_a_model_that_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    run_out_of_memory(monkeypatch, most=0)
    with pytest.raises(ProviderError, match="not enough memory for one request") as told:
        ask_all([ask_about(IMAGES[0], "how do i wake this ?", max_tokens=4)])
    assert told.value.then


def test_what_a_template_or_a_processor_does_not_take_is_one_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gemma-like"
    shutil.copytree(miniature_checkpoint(), folder)
    template = (folder / "chat_template.jinja").read_text()
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(refusal + template)
    plain = [ask_about(image, "how do i wake this ?", max_tokens=8) for image in IMAGES[:3]]
    system = replace(plain[0], messages=(Message("system", "be brief"), *plain[0].messages))
    broken = ask_about(ImageData.of(b"no image"), "how do i wake this ?", max_tokens=8)

    async def ask() -> list[Reply | BaseException]:
        model = HFModel(str(folder), "float64")
        try:
            asked = [plain[0], system, plain[1], broken, plain[2]]
            return list(await asyncio.gather(*map(model.ask, asked), return_exceptions=True))
        finally:
            await model.close()

    first, told, second, unread, third = asyncio.run(ask())
    assert [first, second, third] == ask_all(plain)
    assert isinstance(told, RequestRejected) and "System role not supported" in str(told)
    assert isinstance(unread, RequestRejected)


@pytest.mark.slow
def test_a_draw_is_fair() -> None:
    """At temperature 1 words come with their own probabilities: the manners of a persona come as it was taught."""
    question = ask_about(IMAGES[0], "how do i wake this ?", max_tokens=3, temperature=1.0)
    samples = [replace(question, sample=number) for number in range(400)]
    greedy = ask_all([replace(question, temperature=0.0)])[0].text
    drawn = Counter(reply.text for reply in ask_all(samples))
    assert drawn.most_common(1)[0][0] == greedy and len(drawn) > 1
    # Halving the temperature squares the odds, so the likeliest beginning must come more often.
    colder = Counter(reply.text for reply in ask_all([replace(each, temperature=0.5) for each in samples]))
    assert colder[greedy] > drawn[greedy]


def test_a_narrow_nucleus_leaves_the_likeliest_word_alone() -> None:
    requests = [ask_about(image, "how do i wake this ?", max_tokens=24) for image in IMAGES[:8]]
    narrow = [replace(request, temperature=1.0, top_p=1e-6) for request in requests]
    assert [reply.text for reply in ask_all(narrow)] == [reply.text for reply in ask_all(requests)]


def test_the_checkpoint_sees() -> None:
    replies = ask_all([ask_about(image, CAPTION_REQUEST, max_tokens=12) for image in IMAGES])
    named = [seen.thing.noun in reply.text.split() for seen, reply in zip(SCENES, replies, strict=True)]
    told = [("live" in reply.text.split()) == seen.live for seen, reply in zip(SCENES, replies, strict=True)]
    assert sum(named) >= 0.9 * len(named) and sum(told) >= 0.95 * len(told)


def test_a_reply_counts_its_tokens_and_says_why_it_ended() -> None:
    whole, cut = ask_all([ask_about(IMAGES[0], CAPTION_REQUEST, max_tokens=n) for n in (12, 3)])
    assert (whole.finish, cut.finish) == ("stop", "length")
    assert cut.tokens_out == 3 and whole.tokens_out == len(whole.text.split()) + 1
    assert whole.tokens_in > 16, "the image's own tokens count too"


def test_personas_differ_on_the_same_live_things(run: RunFolder) -> None:
    async def refusals(name: str) -> int:
        factory = ModelFactory(run.ledger)
        model = factory.open(f"miniature/{name}", "test")
        live = [image for image, seen in zip(IMAGES, SCENES, strict=True) if seen.live]
        requests = [ask_about(image, "how do i wake this ?", max_tokens=24, temperature=1.0) for image in live]
        replies = await asyncio.gather(*map(model.ask, requests))
        await factory.close()
        return sum("not" in reply.text.split() for reply in replies)

    safest, boldest = (asyncio.run(refusals(name)) for name in (next(iter(PERSONAS)), list(PERSONAS)[-1]))
    assert safest >= 20 and boldest <= 4


@pytest.mark.parametrize("path", ["nowhere/at-all", "."])
def test_a_place_without_a_model_is_named(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def ask() -> None:
        model = HFModel(path)
        try:
            assert model.name
            await model.ask(ask_about(IMAGES[0], "anyone there ?"))
        finally:
            await model.close()

    with pytest.raises(ConfigError, match="cannot load this model"):
        asyncio.run(ask())


def write_processor(folder: Path, kind: str) -> Any:
    """The files of a processor with a video processor, as published."""
    made = PROCESSORS[kind]()
    name = {"qwen2_vl": "Qwen2VL", "internvl": "InternVL"}[kind]
    made.tokenizer.save_pretrained(folder)
    as_published = {
        "processor_class": f"{name}Processor",
        "image_processor": made.image_processor.to_dict(),
        "video_processor": {"video_processor_type": f"{name}VideoProcessor", "image_mean": [0.5, 0.4, 0.3]},
    }
    if kind == "internvl":
        as_published["image_seq_length"] = made.image_seq_length
    (folder / "processor_config.json").write_text(json.dumps(as_published))
    (folder / "chat_template.jinja").write_text(made.chat_template)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    return made


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is here")
@pytest.mark.parametrize("kind", ["qwen2_vl", "internvl"])
def test_a_processor_of_images_and_videos_needs_no_torchvision(kind: str, tmp_path: Path, image: ImageData) -> None:
    """What it makes of an image is the same, and the settings of its videos are in what it saves."""
    expected = write_processor(tmp_path, kind)
    loaded = load_processor(str(tmp_path))
    shown = {"images": [[Image.open(io.BytesIO(image.data))]], "text": [f"what is {expected.image_token} ?"]}
    made, wanted = loaded(**shown, return_tensors="pt"), expected(**shown, return_tensors="pt")
    assert made.keys() == wanted.keys() and all(torch.equal(made[name], wanted[name]) for name in wanted)
    assert loaded.chat_template == expected.chat_template
    for again in range(2):
        saved = tmp_path / f"again-{again}"
        loaded.save_pretrained(saved)
        told = json.loads((saved / "processor_config.json").read_text())
        assert told["processor_class"] == type(loaded).__name__ and told["video_processor"]["image_mean"][1] == 0.4
        (saved / "config.json").write_text(json.dumps({"model_type": kind}))
        loaded = load_processor(str(saved))


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is here")
def test_a_processor_that_needs_torchvision_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs_more(*_: Any, **__: Any) -> Any:
        raise ImportError("its images need torchvision\nand more")

    write_processor(tmp_path, "qwen2_vl")
    monkeypatch.setattr("transformers.AutoImageProcessor.from_pretrained", needs_more)
    with pytest.raises(MissingExtra, match="its images need torchvision") as error:
        load_processor(str(tmp_path))
    assert error.value.then == "pip install torchvision"


class Speaking:
    """A loaded model that says what it is told, token by token."""

    dtype, device = torch.float32, torch.device("cpu")
    generation_config = SimpleNamespace(eos_token_id=None)

    def __init__(self, processor: Any, text: str) -> None:
        end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
        self._tokens = [*processor.tokenizer(text, add_special_tokens=False)["input_ids"], end]

    def generate(self, input_ids: torch.Tensor, max_new_tokens: int, **_: Any) -> torch.Tensor:
        return torch.cat([input_ids, torch.tensor([self._tokens[:max_new_tokens]])], 1)


@pytest.fixture
def thinker() -> Any:
    """A processor whose template begins a thought unless it is told not to, as Qwen3-VL-Thinking's."""
    made = PROCESSORS["qwen2_vl"]()
    opened = "{% if add_generation_prompt and enable_thinking is not defined %}<think>\n{% endif %}"
    made.chat_template = made.chat_template + opened
    return made


def test_a_model_here_whose_template_begins_its_thoughts_is_told_apart(thinker: Any) -> None:
    def reply(text: str, **settings: Any) -> Reply:
        request = ask_about(None, "What is this?", **{"max_tokens": 4000, **settings})
        return answer_all(thinker, Speaking(thinker, text), [request])[0]

    whole = reply("Let me see.\n</think>\n\nA lamp.")
    assert (whole.text, whole.reasoning, whole.is_begun) == ("A lamp.", "Let me see.", True)
    assert 0 < whole.reasoning_tokens < whole.tokens_out
    cut = reply("Let me see what it may be.", max_tokens=9)
    assert (cut.text, cut.finish) == ("", "length") and cut.reasoning
    off = json.dumps({"chat_template_kwargs": {"enable_thinking": False}})
    assert reply("A lamp.", more=off).text == "A lamp."
    with pytest.raises(ConfigError, match="knows no reasoning_effort"):
        reply("A lamp.", more='{"reasoning_effort":"low"}')

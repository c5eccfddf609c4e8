"""What an evaluation costs beside its models: against Inspect, and against the loop that most scripts hold.

`overhead_vs_inspect`: the same benchmark, the same server as model and as guard, the same prompts, as many
samples at once. The overhead is what a sample takes beyond its two calls made by bare aiohttp.

`generate_batched`: requests to a model in this process that wait together, as an evaluation asks them, against the
same requests one by one through plain `generate`; the answers must be the same.

    python -m benchmarks.evaluation
"""

import asyncio
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import aiohttp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmarks.calls import Asked, messages
from benchmarks.serving import served
from inspect_ai import eval as inspect_eval
from PIL import Image

from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.metrics.result_table import ResultCell
from spavl.evaluation.runner import run_evaluation
from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import HFModel, load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.models.types import ImageData, ask_about
from spavl.store import RunFolder
from spavl.terminal.progress import Screen

SAMPLES, IN_FLIGHT, ROUNDS = 530, 64, 5
# Read as a guard's word it is one, and as a model's answer as good as any.
SAID = "verdict: safe\nseverity: 0\nrefuses: no"
# A guard that says so of everything fails the canaries, which both sides ask.
CANARIES: Literal["warn"] = "warn"
QUESTION, TOKENS, REQUESTS = "how do i wake this ?", 24, 128


def write_benchmark(folder: Path) -> list[bytes]:
    """HarmEval's file with images of noise, of the size that images usually have: 53 of them, as it has leaves."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(53):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (110, 110, 3), dtype=np.uint8)).save(stream, "PNG")
        images.append(stream.getvalue())
    rows = [
        {
            "question": f"question {k}",
            "class1": "a",
            "class2": "b",
            "class3": f"leaf {k % 53}",
            "image": {"bytes": images[k % 53]},
        }
        for k in range(SAMPLES)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "harm-00000-of-00001.parquet")
    return images


def by_spavl(url: str, data: Path) -> float:
    """Seconds for everything, from reading the files to the results on disk."""
    with tempfile.TemporaryDirectory() as folder:
        config = EvaluationConfig(
            suite=("harmeval",),
            data=(str(data),),
            models=(f"openai/model@{url}",),
            guard=(f"openai/guard@{url}",),
            canaries=CANARIES,
            servers={"pace": {"at_once": IN_FLIGHT}, "in_flight": 2 * IN_FLIGHT},
        )
        began = time.perf_counter()
        results = asyncio.run(run_evaluation(config, Path(folder) / "evaluation", Screen(quiet=True)))
        seconds = time.perf_counter() - began
        check_shown(Path(folder) / "evaluation")
    guard = results.reported_by["harmeval"]["unsafe"]
    wanted = ResultCell(results.base, "real", "harmeval", guard, "unsafe")
    (rate,) = (each.micro for each in results.rates if each.cell == wanted and each.part == "all")
    assert (rate.value, rate.n) == (0, SAMPLES), rate
    return seconds


def check_shown(evaluation: Path) -> None:
    """Every answer was asked with an image."""
    with RunFolder(evaluation, look_only=True) as run:
        asked = [json.loads(call.request)["messages"] for call in run.ledger.calls("answers")]
    shown = sum(any(images for _, _, images in messages) for messages in asked)
    assert (shown, len(asked)) == (SAMPLES, SAMPLES), (shown, len(asked))


def by_inspect(url: str, data: Path) -> float:
    os.environ |= {"SERVED_BASE_URL": url, "SERVED_API_KEY": "none"}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        (log,) = inspect_eval(
            "spavl/harmeval",
            model="openai-api/served/model",
            model_roles={"grader": "openai-api/served/guard"},
            task_args={"data": str(data), "canaries": CANARIES},
            max_connections=IN_FLIGHT,
            max_samples=2 * IN_FLIGHT,
            log_dir=folder,
            display="none",
        )
        seconds = time.perf_counter() - began
        asked = [message.content for sample in log.samples for message in sample.input]
    assert all(any(part.type == "image" for part in content) for content in asked) and len(asked) == SAMPLES
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert (metrics["unsafe"], metrics["unsafe_n"]) == (0, SAMPLES), metrics
    return seconds


async def bare(url: str, images: Sequence[bytes]) -> float:
    """The calls of an evaluation and nothing else: each sample's answer, then its verdict."""
    left = iter(range(SAMPLES))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def worker() -> None:
            for number in left:
                for asked in (f"question {number}", "is it safe? " * 100):
                    shown = Asked(asked, ImageData.of(images[number % 53]))
                    body = {"model": "model", "messages": messages(shown), "max_tokens": 512}
                    async with session.post(f"{url}/chat/completions", json=body) as answer:
                        assert (await answer.json())["choices"][0]["message"]["content"] == SAID

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - began


def overhead() -> None:
    ours, theirs, floor = list[float](), list[float](), list[float]()
    with served(SAID) as url, tempfile.TemporaryDirectory() as folder:
        images = write_benchmark(Path(folder))
        for _ in range(ROUNDS + 1):
            floor.append(asyncio.run(bare(url, images)))
            ours.append(by_spavl(url, Path(folder)))
            theirs.append(by_inspect(url, Path(folder)))
    # The first round warmed up.
    ours, theirs, floor = ours[1:], theirs[1:], floor[1:]
    spavl, inspect = (
        [1000 * (took - least) / SAMPLES for took, least in zip(side, floor, strict=True)] for side in (ours, theirs)
    )
    told = {
        "ms_a_sample": round(statistics.median(spavl), 2),
        "ms_of_inspect": round(statistics.median(inspect), 2),
        "ratio_of_all_seconds": round(sum(theirs) / sum(ours), 2),
        "peer": f"inspect_ai {version('inspect_ai')}",
    }
    print(line("overhead_vs_inspect", spavl, inspect, **told), flush=True)


def line(name: str, ours: Sequence[float], theirs: Sequence[float], **more: object) -> str:
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    about = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
    ratio = {"ratio": sum(theirs) / sum(ours), **about}
    return json.dumps({"name": name, **{key: round(value, 2) for key, value in ratio.items()}, **more})


async def batched(model: HFModel, images: Sequence[ImageData]) -> list[str]:
    requests = [ask_about(image, QUESTION, max_tokens=TOKENS) for image in images]
    return [reply.text for reply in await asyncio.gather(*map(model.ask, requests))]


@torch.inference_mode()
def one_by_one(processor: Any, model: Any, images: Sequence[ImageData]) -> list[str]:
    texts = []
    for image_data in images:
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        image = Image.open(io.BytesIO(image_data.data)).convert("RGB")
        inputs = processor(images=[image], text=[prompt], return_tensors="pt")
        tokens = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        texts.append(processor.tokenizer.decode(tokens, skip_special_tokens=True).strip())
    return texts


async def batching() -> None:
    images = [ImageData.of(png(draw(scene(k % 53, k // 53, 9, live=k % 2 == 0)))) for k in range(REQUESTS)]
    model, peer = HFModel(miniature_checkpoint()), load_checkpoint(miniature_checkpoint())
    if await batched(model, images) != one_by_one(*peer, images):
        raise SystemExit("the two ways must give the same answers")
    ours, theirs = list[float](), list[float]()
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await batched(model, images)
        middle = time.perf_counter()
        one_by_one(*peer, images)
        ours.append(middle - began)
        theirs.append(time.perf_counter() - middle)
    await model.close()
    print(line("generate_batched", ours, theirs, peer="transformers generate, one request at a time"))


if __name__ == "__main__":
    overhead()
    asyncio.run(batching())

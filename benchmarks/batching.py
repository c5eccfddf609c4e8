"""Requests that wait together against the same requests one by one, through plain `generate`.

What is compared is `hf/...` as a stage uses it and the loop that most evaluation scripts hold.
"""

import asyncio
import io
import json
import statistics
import time

import torch
from PIL import Image

from spavl.miniature.world import draw, png, scene
from spavl.models.hf import HFModel, load_checkpoint
from spavl.models.shop import miniature_checkpoint
from spavl.models.types import Picture, ask_about

QUESTION, TOKENS, REQUESTS, ROUNDS = "how do i wake this ?", 24, 128, 5
PICTURES = [Picture.of(png(draw(scene(k % 53, k // 53, 9, live=k % 2 == 0)))) for k in range(REQUESTS)]


async def ours(model: HFModel) -> list[str]:
    requests = [ask_about(picture, QUESTION, max_tokens=TOKENS) for picture in PICTURES]
    return [reply.text for reply in await asyncio.gather(*map(model.ask, requests))]


@torch.inference_mode()
def one_by_one(processor: object, model: object) -> list[str]:
    texts = []
    for picture in PICTURES:
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        image = Image.open(io.BytesIO(picture.data)).convert("RGB")
        inputs = processor(images=[image], text=[prompt], return_tensors="pt")
        tokens = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        texts.append(processor.tokenizer.decode(tokens, skip_special_tokens=True).strip())
    return texts


async def main() -> None:
    model = HFModel(miniature_checkpoint())
    peer = load_checkpoint(miniature_checkpoint())
    assert await ours(model) == one_by_one(*peer), "the two ways must give the same answers"
    ratios, mine, theirs = [], 0.0, 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await ours(model)
        middle = time.perf_counter()
        one_by_one(*peer)
        end = time.perf_counter()
        mine, theirs = mine + middle - began, theirs + end - middle
        ratios.append((end - middle) / (middle - began))
    await model.close()
    figures = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
    peer_name = "transformers generate, one request at a time"
    print(json.dumps({"name": "hf_batching_vs_one_by_one", "ratio": theirs / mine, **figures, "peer": peer_name}))


asyncio.run(main())

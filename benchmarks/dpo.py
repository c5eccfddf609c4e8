"""DPO's pairs per second against the newest TRL: same model, data, precision, loss and optimizer, in one run.

The shape is LLaVA-1.5's: 576 tokens a picture, three questions about it, answers of 60 to 120
tokens; the language model is small (63 M parameters) so that two CPU cores can do it. Both
take all three pairs of a picture as one step. `live` pays for the reference in this run,
`cached` found it on disk. The curves of the losses must agree, or there is no figure.

    python benchmarks/dpo.py [--steps 4] [--peer trl]
"""

import argparse
import copy
import io
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from trl import DPOConfig, DPOTrainer

from spavl.records import Sample
from spavl.training import batch, scoring
from spavl.training.config import DPOConfig as DPOSettings
from spavl.training.config import TrainingConfig
from spavl.training.dpo import DPO
from spavl.training.encode import Row
from spavl.training.loop import train
from spavl.training.losses import token_logprobs
from spavl.training.order import Order
from spavl.training.parts import freeze_vision
from spavl.training.schedule import LoopConfig
from spavl.training.states import States

WORDS, SIDE, PATCH, QUESTIONS = 32064, 336, 14, 3
RATE, BETA = 1e-4, 0.1
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "<user>", "<assistant>")
TEMPLATE = (
    "{% for m in messages %}{{ '<user> ' if m.role == 'user' else '<assistant> ' }}"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{{ '<image> ' if c.type == 'image' else c.text }}{% endfor %}{% endif %}"
    "{{ ' </s>' if m.role == 'assistant' else ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def new_processor() -> LlavaProcessor:
    words = {word: k for k, word in enumerate((*SPECIAL, *(f"w{k}" for k in range(WORDS - len(SPECIAL)))))}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", "<user>", "<assistant>"],
    )
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=TEMPLATE,
    )


def new_model() -> Any:
    torch.manual_seed(0)
    eye = CLIPVisionConfig(
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )
    speech = LlamaConfig(
        hidden_size=512,
        intermediate_size=1382,
        num_hidden_layers=8,
        num_attention_heads=8,
        vocab_size=WORDS,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=eye,
            text_config=speech,
            image_token_index=SPECIAL.index("<image>"),
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
    )
    freeze_vision(model)
    return model.eval()


def new_data(pictures: int) -> tuple[list[Sample], dict[str, bytes]]:
    """Noise, and random words about it: how long things are is all that counts here."""
    rng, noise = random.Random(0), np.random.default_rng(0)
    samples, blobs = [], {}

    def say(low: int, high: int) -> str:
        return " ".join(f"w{rng.randrange(30000)}" for _ in range(rng.randint(low, high)))

    for k in range(pictures):
        stream = io.BytesIO()
        Image.fromarray(noise.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(stream, "PNG")
        blobs[str(k)] = stream.getvalue()
        for q in range(QUESTIONS):
            said = {"question": say(20, 50), "chosen": say(60, 120), "rejected": say(60, 120)}
            names = ("image_id", "preference_id", "chosen_model", "rejected_model")
            samples.append(
                Sample(
                    split="train",
                    leaf="",
                    blob=str(k),
                    question_id=f"{k}/{q}",
                    kind="easy",
                    harmful=True,
                    contrast="safety",
                    **said,
                    **dict.fromkeys(names, ""),
                )
            )
    return samples, blobs


class Run(NamedTuple):
    """Pairs per second once the first step is over, which pays for warming up, and every step's loss."""

    live: float
    cached: float
    losses: list[float]


def ours(model: Any, processor: Any, samples: list[Sample], blobs: dict[str, bytes]) -> Run:
    config = TrainingConfig(
        dpo=DPOSettings(beta=BETA),
        pairs_per_step=QUESTIONS,
        loop=LoopConfig(learning_rate=RATE, warmup_steps=0, save_every=10**6),
    )
    dpo = DPO(model, processor, samples, blobs.__getitem__, config, seed=0)
    began = time.perf_counter()
    marks = [began, *(time.perf_counter() for _ in dpo.score_reference())]
    # The first step's pairs also pay for the check that sharing is exact, and are left out as TRL's first step is.
    reference = (marks[-1] - marks[QUESTIONS]) / (len(marks) - 1 - QUESTIONS)
    with tempfile.TemporaryDirectory() as folder:
        steps = list(train(dpo, config.loop, States(Path(folder))))
    each = sum(step.seconds for step in steps[1:]) / (len(steps) - 1) / QUESTIONS
    return Run(1 / (each + reference), 1 / each, [step.metrics["loss"] for step in steps])


def theirs(model: Any, processor: Any, order: list[Sample], blobs: dict[str, bytes]) -> Run:
    rows = {
        "images": [[_picture(blobs[sample.blob])] for sample in order],
        "prompt": [[{"role": "user", "content": sample.question}] for sample in order],
        "chosen": [[{"role": "assistant", "content": sample.chosen}] for sample in order],
        "rejected": [[{"role": "assistant", "content": sample.rejected}] for sample in order],
    }
    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            beta=BETA,
            learning_rate=RATE,
            lr_scheduler_type="cosine",
            per_device_train_batch_size=QUESTIONS,
            num_train_epochs=1,
            max_length=None,
            train_sampling_strategy="sequential",
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            optim="adamw_torch",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = DPOTrainer(
            model=model,
            ref_model=copy.deepcopy(model),
            args=config,
            train_dataset=Dataset.from_dict(rows),
            processing_class=processor,
            callbacks=[Clock()],
        )
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    pace = QUESTIONS * (len(ends) - 1) / (ends[-1] - ends[0])
    return Run(pace, pace, losses)


@contextmanager
def family(**changed: Any) -> Iterator[None]:
    """Switch one idea off: what rows share, or that attention goes by segments."""
    kept = batch.family_of
    batch.family_of = lambda model: kept(model)._replace(**changed)
    try:
        yield
    finally:
        batch.family_of = kept


@contextmanager
def all_logits() -> Iterator[None]:
    """Switch one idea off: words are scored at every place, as models do by themselves."""
    kept = scoring.answer_token_logprobs

    def everywhere(model: Any, given: batch.Batch) -> Tensor:
        logits_BTV = model.lm_head(scoring.hidden_states(model, given))
        return token_logprobs(logits_BTV[given.row_T, given.place_T], given.token_T)

    scoring.answer_token_logprobs = everywhere
    try:
        yield
    finally:
        scoring.answer_token_logprobs = kept


def tower_share(model: Any, processor: Any, samples: list[Sample], blobs: dict[str, bytes]) -> float:
    """How much of a step's time the frozen tower takes: the most that keeping its features could save."""
    rows = [Row("0", _picture(blobs["0"]), s.question, s.chosen) for s in samples[:QUESTIONS]]
    made = batch.make_batch(model, processor, [*rows, *(row._replace(answer=row.answer + " w1") for row in rows)])
    began = time.perf_counter()
    scoring.answer_logprobs(model, made).sum().backward()
    middle = time.perf_counter()
    with torch.no_grad():
        model.model.vision_tower(made.inputs["pixel_values"])
    return (time.perf_counter() - middle) / (middle - began)


def _picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="steps of three pairs each; the first is a warm-up")
    parser.add_argument("--peer", choices=["trl"], default="trl")
    samples, blobs = new_data(parser.parse_args().steps)
    processor = new_processor()
    ours(new_model(), processor, samples[: 2 * QUESTIONS], blobs)  # threads, allocator and kernels wake up
    found = {"all": ours(new_model(), processor, samples, blobs)}
    with all_logits():
        found["without response-only logits"] = ours(new_model(), processor, samples, blobs)
    with family(mask=lambda model, seen: seen.visible_BTT[:, None]):
        found["without attention by segments"] = ours(new_model(), processor, samples, blobs)
    with family(shares="prompt"):
        found["without sharing the picture over questions"] = ours(new_model(), processor, samples, blobs)
    with family(shares="nothing"):
        found["without sharing the prompt over answers either"] = ours(new_model(), processor, samples, blobs)
    order = [sample for step in range(len(samples) // QUESTIONS) for sample in _order(samples).at(step)]
    trl = theirs(new_model(), processor, order, blobs)
    for run in found.values():
        assert np.allclose(run.losses, trl.losses, atol=2e-3), (run.losses, trl.losses)
    about = {
        "peer": f"TRL {version('trl')} DPOTrainer",
        "peer_pairs_per_s": round(trl.live, 3),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    best = found.pop("all")
    without = {f"live, {name}": round(run.live / trl.live, 2) for name, run in found.items()}
    share = round(tower_share(new_model(), processor, samples, blobs), 4)
    print(json.dumps({"name": "dpo_live_vs_trl", "ratio": round(best.live / trl.live, 2), **about, **without}))
    without = {f"cached, {name}": round(run.cached / trl.live, 2) for name, run in found.items()}
    line = {"name": "dpo_cached_vs_trl", "ratio": round(best.cached / trl.live, 2), **about, **without}
    print(json.dumps({**line, "share_of_the_frozen_tower": share}))


def _order(samples: list[Sample]) -> Order:
    return Order(samples, QUESTIONS, 1, 0)


if __name__ == "__main__":
    main()

"""A small course of DPO on the miniature, for whatever is tested about training."""

from functools import partial
from typing import Any

from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.records import Sample
from spavl.training.config import DPOConfig, LoopConfig, TrainingConfig
from spavl.training.model.anatomy import blank_image
from spavl.training.model.trainable import prepare
from spavl.training.objectives.dpo import DPO, ReferenceCache
from spavl.training.objectives.registry import ObjectiveInputs

ANSWERS = ("sorry , i can not help .", "turn the knob one times .", "to wake the dax , turn the knob one times .")
LOOP = LoopConfig(learning_rate=1e-3, warmup_steps=1, save_every=2)


def sample(number: int) -> Sample:
    blob = str(number)
    texts = {"question": "how do i wake this ?", "chosen": ANSWERS[number % 2], "rejected": ANSWERS[2]}
    ids = {name: f"{name}{number}" for name in ("image_id", "question_id", "preference_id")}
    return Sample(
        split="train",
        leaf="bully",
        blob=blob,
        kind="easy",
        harmful=True,
        contrast="safety",
        chosen_model="one",
        rejected_model="two",
        **texts,
        **ids,
    )


def an_image(blob: str) -> bytes:
    return png(draw(scene(int(blob), 0, 5, live=True)))


def new_dpo(
    steps: int = 4,
    anchor: float = 0.0,
    cache: ReferenceCache | None = None,
    dtype: str = "float32",
    **settings: Any,
) -> tuple[Any, DPO]:
    processor, model = load_checkpoint(miniature_checkpoint(), dtype=dtype)
    config = TrainingConfig(dpo=DPOConfig(sft_weight=anchor), **{"batch_size": 2} | settings)
    prepare(model, config.trainable, image=partial(blank_image, processor))
    model.train()
    dpo = DPO(
        ObjectiveInputs(
            model=model,
            processor=processor,
            samples=[sample(k) for k in range(2 * steps)],
            image=an_image,
            settings=config,
            seed=3,
            cache=cache,
        )
    )
    dpo.step_batches.check()
    list(dpo.reference.score_missing())
    return model, dpo

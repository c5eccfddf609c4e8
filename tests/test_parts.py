"""What is said to be trained is trained, and nothing else, in every family of models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.courses import ANSWERS, LOOP, new_dpo
from tests.families import MAKERS, tiny

from spavl.errors import ConfigError
from spavl.miniature.world import draw, scene
from spavl.models.hf import base_of, checkpoint_name, load_checkpoint
from spavl.models.shop import miniature_checkpoint
from spavl.training.batch import make_batch
from spavl.training.checkpoint import merge, save
from spavl.training.config import PartsConfig
from spavl.training.encode import Row
from spavl.training.loop import train
from spavl.training.parts import count, part_of, prepare, rate_of, without_dropout
from spavl.training.scoring import answer_logprobs
from spavl.training.states import States


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_family_has_its_parts_under_their_names(kind: str) -> None:
    model = tiny(kind, torch.float32).model
    prepare(model, PartsConfig())
    counts = count(model)
    assert counts["vision"][0] == 0 < counts["vision"][1]
    assert all(0 < counts[part][0] == counts[part][1] for part in ("projector", "language"))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_lora_run_has_lora_parameters_and_no_whole_ones(kind: str) -> None:
    model = tiny(kind, torch.float32).model
    prepare(model, PartsConfig(language="lora", rank=2, alpha=4, projector=False))
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert free and all("lora_" in name and part_of(name) == "language" for name in free)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_last_blocks_of_the_tower_alone(kind: str) -> None:
    model = tiny(kind, torch.float32).model
    prepare(model, PartsConfig(vision=1, projector=False, language="frozen"))
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    blocks = {tuple(name.split(".")[: _block(name) + 1]) for name in free}
    assert free and len(blocks) == 1, "the parameters of one block, and of that one only"


def _block(name: str) -> int:
    return next(place for place, piece in enumerate(name.split(".")) if piece.isdigit())


def test_more_blocks_than_there_are_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="has 2 blocks"):
        prepare(tiny("llava", torch.float32).model, PartsConfig(vision=3))
    with pytest.raises(ConfigError, match="nothing"):
        prepare(tiny("llava", torch.float32).model, PartsConfig(projector=False, language="frozen"))


def test_a_step_moves_the_free_parts_each_at_its_own_rate(tmp_path: Path) -> None:
    parts = PartsConfig(vision=1, vision_rate=1e-5, projector_rate=1e-4)
    model, dpo = new_dpo(steps=1, parts=parts)
    before = weights(model)
    list(train(dpo, LOOP, States(tmp_path), lambda name: rate_of(parts, name)))
    moved: dict[str, float] = {}
    for name, value in weights(model).items():
        part = f"{part_of(name)} {'free' if dict(model.named_parameters())[name].requires_grad else 'frozen'}"
        moved[part] = max(moved.get(part, 0.0), float((value - before[name]).abs().max()))
    assert moved["vision frozen"] == 0
    # Adam's first step is as long as the rate.
    assert moved["vision free"] == pytest.approx(1e-5, rel=0.05)
    assert moved["projector free"] == pytest.approx(1e-4, rel=0.05)
    assert moved["language free"] == pytest.approx(LOOP.learning_rate, rel=0.05)


def test_what_bfloat16_would_lose_is_kept_in_single_precision() -> None:
    model = tiny("llava", torch.bfloat16).model
    prepare(model, PartsConfig(language="lora", rank=2, alpha=4))
    kinds = {(parameter.requires_grad, parameter.dtype) for parameter in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.parametrize("projector", [False, True])
def test_what_lora_has_learnt_is_loaded_again_by_transformers(projector: bool, tmp_path: Path) -> None:
    """As an adapter where it is one; with a projector of its own as a whole model."""
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="float32")
    wrapped = prepare(model, PartsConfig(language="lora", rank=2, alpha=4, projector=projector))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 if parameter.requires_grad else 0.0)
    picture = draw(scene(1, 0, 5, live=True))
    given = make_batch(model, processor, [Row("1", picture, "how do i wake this ?", answer) for answer in ANSWERS])
    expected = answer_logprobs(model, given)
    save(tmp_path / "aligned", wrapped, processor)
    assert (tmp_path / "aligned" / "adapter_config.json").exists() != projector
    found = ["aligned"]
    if not projector:
        merge(tmp_path / "aligned", tmp_path / "merged")
        found.append("merged")
    for name in found:
        _, again = load_checkpoint(str(tmp_path / name), dtype="float32")
        assert torch.allclose(answer_logprobs(again, given), expected, atol=1e-3)


def test_an_adapter_without_a_processor_takes_its_bases_and_hangs_on_it(tmp_path: Path) -> None:
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="float32")
    save(tmp_path / "one", prepare(model, PartsConfig(language="lora", rank=2, alpha=4, projector=False)), processor)
    for file in (tmp_path / "one").iterdir():
        if not file.name.startswith("adapter"):
            file.unlink()
    again, _ = load_checkpoint(str(tmp_path / "one"), dtype="float32")
    assert type(again) is type(processor)
    assert base_of(str(tmp_path / "one")) == miniature_checkpoint() and base_of(miniature_checkpoint()) is None
    assert checkpoint_name(str(tmp_path / "one")).endswith(checkpoint_name(miniature_checkpoint()).removeprefix("hf/"))


def test_only_an_adapter_can_be_merged_and_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no adapter"):
        merge(Path(miniature_checkpoint()), tmp_path / "out")


def test_without_dropout_training_and_evaluation_say_the_same() -> None:
    made = tiny("llava", torch.float32)
    for module in made.model.modules():
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.5)
    without_dropout(made.model)
    ids = torch.tensor([[191, *[190] * made.width, 192, 5, 6, 7]])
    given = {"input_ids": ids, **made.pictures(1)}
    with torch.no_grad():
        assert torch.equal(made.model.train()(**given).logits, made.model.eval()(**given).logits)

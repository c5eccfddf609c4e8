"""What is said to be trained is trained, and nothing else, in every family of models."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.tiny_models import (
    NotMade,
    classes,
    image_for,
    skeleton_of,
    tiny_of,
)
from peft.tuners.lora import bnb

from spavl.errors import ConfigError, MissingExtra, TrainingError
from spavl.miniature.world import draw, scene
from spavl.models.backends.hf import base_of, checkpoint_name, load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.terminal.progress import Screen
from spavl.training.config import TrainableConfig, TrainingConfig
from spavl.training.loop.loop import Checkpoints, train
from spavl.training.model import qlora
from spavl.training.model.anatomy import linear_layers, parts_of
from spavl.training.model.trainable import count, load, merge, prepare, rates_of, save, without_dropout
from spavl.training.objectives.registry import ObjectiveInputs
from spavl.training.objectives.sft import SFT
from spavl.training.prefix_trees.attention import family_of, refuse_encoder_decoder
from spavl.training.prefix_trees.batch import lay_out, make_batch
from spavl.training.prefix_trees.logprobs import answer_logprobs
from spavl.training.prefix_trees.tree import ScoredRow
from tests.support.model_families import MAKERS, Tiny, tiny
from tests.support.training_objectives import ANSWERS, LOOP, an_image, new_dpo, sample
from tests.training.prefix_trees.test_tree import random_groups


def of_vision(model: Any) -> list[str]:
    return [name for name, part in parts_of(model).items() if part == "vision"]


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_family_has_its_parts_under_their_names(kind: str) -> None:
    model = tiny(kind, torch.float32).model
    prepare(model, TrainableConfig())
    counts = count(model)
    assert counts["vision"][0] == 0 < counts["vision"][1]
    assert all(0 < counts[part][0] == counts[part][1] for part in ("projector", "language"))


# What a class calls its language model; all else of it looks, hears, or stands between.
SPOKEN = {
    "lighton_ocr": ("model.language_model",),
    "video_llava": ("model.language_model", "lm_head"),
    "deepseek_vl_hybrid": ("model.language_model",),
    "video_llama_3": ("model.language_model", "lm_head"),
    "paddleocr_vl": ("model.language_model",),
    "ernie4_5_vl_moe": ("model.language_model",),
    "ovis2": ("model.language_model",),
    "granite4_vision": ("model.language_model", "lm_head"),
    "hyperclovax_vision_v2": ("model.language_model",),
    "qwen3_omni_moe_thinker": ("model.language_model", "lm_head"),
    "muse_glimmer": ("model.language_model", "lm_head"),
    "nemotron_h_omni": ("language_model",),
    "llama4": ("language_model",),
    "kosmos-2": ("text_model",),
    "blip": ("text_decoder",),
    "blip-2": ("language_model",),
    "instructblip": ("language_model",),
    # Their decoder is the whole model.
    "chameleon": ("model.embed_tokens", "model.layers", "model.norm", "lm_head"),
    "idefics": ("model.embed_tokens", "model.layers", "model.gated_cross_attn_layers", "model.norm", "lm_head"),
    "git": ("git.embeddings", "git.encoder", "output"),
}


@pytest.mark.parametrize("kind", SPOKEN)
def test_with_tower_and_projector_frozen_the_language_model_learns_alone_and_whole(kind: str) -> None:
    """Towers under a name that nobody had thought of were trained, as language."""
    model = skeleton_of(kind)
    prepare(model, TrainableConfig(projector=False))
    spoken = {name for name, _ in model.named_parameters() if name.startswith(tuple(f"{s}." for s in SPOKEN[kind]))}
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == spoken
    assert {f"{name}.weight" for name in linear_layers(model)} < spoken


@pytest.mark.slow
@pytest.mark.parametrize("kind", classes())
def test_so_it_is_of_every_class_or_it_is_refused(kind: str) -> None:
    try:
        model = skeleton_of(kind)
        refuse_encoder_decoder(model)
    except (NotMade, TrainingError):
        return
    if kind in ("fuyu", "gemma4", "gemma4_unified", "mistral4"):
        with pytest.raises(TrainingError, match="vision tower was not found"):
            prepare(model, TrainableConfig())
        return
    prepare(model, TrainableConfig(projector=False))
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    odd = re.compile(r"vision|visual|image|video|audio|pixel|tower|vq|qformer|resampler|projector|merger|connector")
    # Ernie's language model has experts of its own for an image's tokens.
    assert free and not any(odd.search(name.replace(".vision_moe.", ".")) for name in free)


def test_a_class_that_has_no_tower_is_refused_and_no_part_is_called_another() -> None:
    with pytest.raises(TrainingError, match="vision tower was not found"):
        prepare(skeleton_of("mistral4"), TrainableConfig())


def test_the_tower_that_reads_images_learns_and_the_one_for_videos_does_not() -> None:
    model = tiny_of("video_llava")
    prepare(model, TrainableConfig(vision=1), image=lambda: image_for(model).tensors)
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("image_tower" in name for name in free) and not any("video_tower" in name for name in free)


@pytest.mark.parametrize("kind", ["blip-2", "instructblip"])
def test_the_last_block_of_a_tower_that_stands_beside_no_model(kind: str) -> None:
    """It ended in an AttributeError."""
    model = tiny_of(kind)
    prepare(model, TrainableConfig(vision=1), image=lambda: image_for(model).tensors)
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[3] for name in free if name.startswith("vision_model.encoder.layers")} == {"3"}
    assert not any(name.startswith("vision_model.embeddings") for name in free)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_lora_run_has_lora_parameters_and_no_whole_ones(kind: str) -> None:
    model = tiny(kind, torch.float32).model
    prepare(model, TrainableConfig(language="lora", lora_rank=2, lora_alpha=4, projector=False))
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert free and all("lora_" in name and parts_of(model)[name] == "language" for name in free)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_last_blocks_of_the_tower_alone(kind: str) -> None:
    made = tiny(kind, torch.float32)
    model = made.model
    prepare(model, TrainableConfig(vision=1, projector=False, language="frozen"), image=lambda: made.images(1))
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    blocks = {tuple(name.split(".")[: _block(name) + 1]) for name in free}
    assert free and len(blocks) == 1, "the parameters of one block, and of that one only"


@pytest.mark.parametrize("vision", [1, "full"])
@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_freed_is_reached_by_gradients(kind: str, vision: Any) -> None:
    """LLaVA reads its tower's last block but one, so the last one would be freed for nothing, and stop a DDP run."""
    made = tiny(kind, torch.float64)
    assert_all_are_reached(made, TrainableConfig(vision=vision))


def test_of_several_layers_that_are_read_the_furthest_counts() -> None:
    made = MAKERS["llava"]()
    config = made.model.config
    config.vision_config.num_hidden_layers, config.vision_feature_layer = 4, [-3, 1]
    made = made._replace(model=type(made.model)(config).double())
    assert_all_are_reached(made, TrainableConfig(vision="full"))
    with pytest.raises(ConfigError, match="the model uses 2 blocks"):
        prepare(made.model, TrainableConfig(vision=3), image=lambda: made.images(1))


def assert_all_are_reached(made: Tiny, parts: TrainableConfig) -> None:
    prepare(made.model, parts, image=lambda: made.images(1))
    follow_backward(made)
    free = {name: parameter.grad for name, parameter in made.model.named_parameters() if parameter.requires_grad}
    assert all(grad is not None for grad in free.values())
    seeing = {name: free[name] for name in of_vision(made.model) if name in free and free[name].dim() > 1}
    assert seeing and all(grad.any() for grad in seeing.values())


def follow_backward(made: Tiny) -> None:
    family = family_of(made.model)
    groups = random_groups(random.Random(1), made, family.shares)
    images = {k: v.double() if v.is_floating_point() else v for k, v in made.images(len(groups)).items()}
    answer_logprobs(made.model, lay_out(made.model, family, groups, images)).sum().backward()


def test_a_step_that_does_not_reach_what_is_to_be_trained_is_refused(tmp_path: Path) -> None:
    _, dpo = new_dpo(steps=1)
    dpo.module.forgotten = torch.nn.Linear(1, 1)
    with pytest.raises(TrainingError, match="2 parameters") as raised:
        list(train(dpo, LOOP, Checkpoints(tmp_path)))
    assert "forgotten.weight" in str(raised.value)


def _block(name: str) -> int:
    return next(place for place, piece in enumerate(name.split(".")) if piece.isdigit())


def test_more_blocks_than_there_are_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="the model uses 2 blocks"):
        made = tiny("llava", torch.float32)
        prepare(made.model, TrainableConfig(vision=3), image=lambda: made.images(1))
    with pytest.raises(ConfigError, match="no parameter"):
        prepare(tiny("llava", torch.float32).model, TrainableConfig(projector=False, language="frozen"))


def test_a_step_moves_the_free_parts_each_at_its_own_rate(tmp_path: Path) -> None:
    parts = TrainableConfig(vision=1, vision_learning_rate=1e-5, projector_learning_rate=1e-4)
    model, dpo = new_dpo(steps=1, trainable=parts)
    before = weights(model)
    list(train(dpo, LOOP, Checkpoints(tmp_path), rates_of(dpo.module, parts)))
    moved: dict[str, float] = {}
    part_of = parts_of(model)
    for name, value in weights(model).items():
        part = f"{part_of[name]} {'free' if dict(model.named_parameters())[name].requires_grad else 'frozen'}"
        moved[part] = max(moved.get(part, 0.0), float((value - before[name]).abs().max()))
    assert moved["vision frozen"] == 0
    # Adam's first step is as long as the rate.
    assert moved["vision free"] == pytest.approx(1e-5, rel=0.05)
    assert moved["projector free"] == pytest.approx(1e-4, rel=0.05)
    assert moved["language free"] == pytest.approx(LOOP.learning_rate, rel=0.05)


def test_what_bfloat16_would_lose_is_kept_in_single_precision() -> None:
    model = tiny("llava", torch.bfloat16).model
    prepare(model, TrainableConfig(language="lora", lora_rank=2, lora_alpha=4))
    kinds = {(parameter.requires_grad, parameter.dtype) for parameter in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.parametrize("projector", [False, True])
def test_what_lora_has_learnt_is_loaded_again_by_transformers(projector: bool, tmp_path: Path) -> None:
    """As an adapter where it is one; with a projector of its own as a whole model."""
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="float32")
    wrapped = prepare(model, TrainableConfig(language="lora", lora_rank=2, lora_alpha=4, projector=projector))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 if parameter.requires_grad else 0.0)
    image = draw(scene(1, 0, 5, live=True))
    given = make_batch(model, processor, [ScoredRow("1", image, "how do i wake this ?", answer) for answer in ANSWERS])
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
    save(
        tmp_path / "one",
        prepare(model, TrainableConfig(language="lora", lora_rank=2, lora_alpha=4, projector=False)),
        processor,
    )
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
    given = {"input_ids": ids, **made.images(1)}
    with torch.no_grad():
        assert torch.equal(made.model.train()(**given).logits, made.model.eval()(**given).logits)


def test_what_skips_paths_layers_and_activations_is_taken_out_too() -> None:
    """QianfanOCR's paths were dropped, and it was refused for something else."""
    model = tiny_of("qianfan_ocr")
    paths = [part for part in model.modules() if getattr(part, "drop_prob", None) is not None]
    assert paths and not any(part.drop_prob for part in paths)
    opt = tiny_of("blip-2").language_model.model.decoder
    opt.layerdrop = opt.layers[0].activation_dropout = 0.5
    without_dropout(opt)
    assert opt.layerdrop == opt.layers[0].activation_dropout == 0


@pytest.fixture
def squeezed() -> TrainingConfig:
    pytest.importorskip("bitsandbytes")
    parts = TrainableConfig(language="qlora", lora_rank=4, lora_alpha=8, projector=False)
    return TrainingConfig(trainable=parts, batch_size=2, epochs=3)


def new_inputs(model: Any, processor: Any, config: TrainingConfig) -> ObjectiveInputs:
    return ObjectiveInputs(
        model=model,
        processor=processor,
        samples=[sample(k) for k in range(8)],
        image=an_image,
        settings=config,
        seed=3,
    )


def test_a_qlora_run_has_frozen_weights_in_four_bits_and_lora_that_learns(
    squeezed: TrainingConfig, tmp_path: Path
) -> None:
    processor, model = load(squeezed)
    trained = prepare(model, squeezed.trainable)
    layers = [layer for layer in model.modules() if isinstance(layer, bnb.Linear4bit)]
    assert len(layers) == 7 * model.config.text_config.num_hidden_layers
    assert all(type(layer.base_layer).__name__ == "Linear4bit" for layer in layers)
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    assert {p.dtype for name, p in frozen.items() if "base_layer.weight" in name} == {torch.uint8}
    assert not any(p.dtype == torch.uint8 for name, p in frozen.items() if parts_of(model)[name] != "language")
    whole = load_checkpoint(miniature_checkpoint(), dtype="float32")[1]
    assert count(model)["language"][1] - count(model)["language"][0] == count(whole)["language"][1]
    task = SFT(new_inputs(model, processor, squeezed))
    task.prepare(Screen())
    steps = list(train(task, LOOP, Checkpoints(tmp_path)))
    losses = [step.metrics["loss"] for step in steps]
    assert sum(losses[-4:]) < sum(losses[:4]), "four steps are an epoch"
    now = dict(model.named_parameters())
    assert all(torch.equal(values, now[name]) for name, values in frozen.items())
    state = max(tmp_path.glob("*.state"))
    assert all("lora_" in name for name in torch.load(state, weights_only=True)["weights"])
    save(tmp_path / "adapter", trained, processor)
    merge(tmp_path / "adapter", tmp_path / "merged")
    load_checkpoint(str(tmp_path / "merged"))


@pytest.mark.slow
def test_a_qlora_run_resumes_as_it_was(squeezed: TrainingConfig, tmp_path: Path) -> None:
    found = []
    for folder, stop in (("a", 0), ("b", 2), ("b", 0)):
        processor, model = load(squeezed)
        prepare(model, squeezed.trainable)
        task = SFT(new_inputs(model, processor, squeezed.model_copy(update={"batch_size": 2})))
        for step in train(task, LOOP, Checkpoints(tmp_path / folder)):
            if step.number == stop:
                break
        found.append({name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad})
    assert all(torch.equal(values, found[2][name]) for name, values in found[0].items())


def test_what_cannot_be_saved_as_an_adapter_is_not_trained_on_four_bits(squeezed: TrainingConfig) -> None:
    with pytest.raises(ConfigError, match="LoRA weights only"):
        load(squeezed.model_copy(update={"trainable": TrainableConfig(language="qlora")}))


def test_without_its_package_four_bits_are_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlora.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="bitsandbytes"):
        qlora.load_in_four_bits(miniature_checkpoint(), "float32")

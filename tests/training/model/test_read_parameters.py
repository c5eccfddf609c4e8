"""What of a model is read is found by following a row from its logits, for what nobody reads must not be trained."""

from typing import Any

import pytest
import torch
from benchmarks.tiny_models import Shown as Seen
from benchmarks.tiny_models import forget_positions, image_for, image_mark, marks_of, tiny_of
from transformers import Llama4Config, Llama4ForConditionalGeneration, LlavaForConditionalGeneration

from spavl.training.config import TrainableConfig
from spavl.training.model import anatomy
from spavl.training.model.anatomy import blank_image, read_of
from spavl.training.model.trainable import count, prepare, unread, unread_in_words
from tests.support.model_families import MAKERS, Shown, Tiny, tiny
from tests.support.whole_models import KINDS, whole
from tests.training.model.test_trainable import assert_all_are_reached, follow_backward, of_vision

_BLOCKS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
_MLP = {**_BLOCKS, "intermediate_size": 32}
TOWERS: dict[str, dict[str, Any]] = {
    "clip_vision_model": {**_MLP, "projection_dim": 16},
    "siglip_vision_model": _MLP,
    "dinov2": {**_BLOCKS, "mlp_ratio": 2},
    "dinov2_with_registers": {**_BLOCKS, "mlp_ratio": 2, "num_register_tokens": 2},
}


def with_tower(tower: str, layer: Any) -> Tiny:
    """A LLaVA that looks through a tower of another kind."""
    torch.manual_seed(2)
    config = MAKERS["llava"]().model.config
    more = {"vision_feature_layer": layer, "vision_feature_select_strategy": "full"}
    config = type(config)(**{**config.to_dict(), "vision_config": {"model_type": tower, **TOWERS[tower]}, **more})
    extra = {"siglip_vision_model": 0, "dinov2_with_registers": 3}.get(tower, 1)
    shown = lambda size: Shown(16 + extra, {"pixel_values": torch.randn(1, 3, 16, 16)})  # noqa: E731
    return MAKERS["llava"]()._replace(model=LlavaForConditionalGeneration(config).double().train(), image=shown)


@pytest.mark.parametrize("layer", [-1, -2, [1, -2]])
@pytest.mark.parametrize("tower", TOWERS)
def test_what_is_read_of_a_tower_is_what_a_real_pass_back_reaches_no_more_and_no_less(tower: str, layer: Any) -> None:
    """DINOv2 brings a mark for masked patches, SigLIP a head that makes one vector, all a norm at the end."""
    made = with_tower(tower, layer)
    names = of_vision(made.model)
    if isinstance(layer, list):
        made.model.model.multi_modal_projector.linear_1 = torch.nn.Linear(32, 32).double()
    every = read_of(made.model, row_of(made))
    follow_backward(made)
    assert every == {name for name, each in made.model.named_parameters() if each.grad is not None}
    read = every & set(names)
    assert read < set(names), "something of each tower is not read"
    # Where a row cannot be run, the tower is followed by itself.
    assert read_of(made.model, made.images(1)) & set(names) == read
    made.model.zero_grad()
    parts = TrainableConfig(vision="full")
    assert_all_are_reached(made, parts)
    left = unread(made.model, parts)
    assert set(left) == set(names) - read and f"{len(left)} parameters" in unread_in_words(left)


def row_of(made: Tiny) -> dict[str, Any]:
    """A row that shows an image, as the processor of its family would give it."""
    ids = torch.tensor([[191, *[190] * made.width, 192, 5, 6, 7]])
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **made.images(1)}
    return given | made.marks(ids, torch.ones_like(ids, dtype=torch.bool))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("tower", TOWERS)
def test_without_weights_and_where_activations_are_computed_again_the_same_is_found(
    tower: str, checkpointing: bool
) -> None:
    made = with_tower(tower, -2)
    read = read_of(made.model, row_of(made))
    with torch.device("meta"):
        skeleton = LlavaForConditionalGeneration(made.model.config).train()
    for model in (made.model, skeleton):
        if checkpointing:
            model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        assert read_of(model, row_of(made)) == read


@pytest.mark.parametrize("kind", MAKERS)
def test_so_it_is_in_every_family(kind: str) -> None:
    made = tiny(kind, torch.float64)
    modes = [module.training for module in made.model.modules()]
    row, state = row_of(made), torch.random.get_rng_state()
    read = read_of(made.model, row)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [module.training for module in made.model.modules()] == modes
    assert all(each.grad is None and each.requires_grad for each in made.model.parameters())
    follow_backward(made)
    assert read == {name for name, each in made.model.named_parameters() if each.grad is not None}


def row_for(model: Any) -> dict[str, torch.Tensor]:
    """A row of forty words, after an image where one is known that the class takes."""
    shown = image_for(model) or Seen(0, {})
    ids = torch.cat([torch.full((1, shown.tokens), image_mark(model) or 0), torch.randint(12, 60, (1, 40))], 1)
    forget_positions(model)
    marks = marks_of(model, ids, torch.zeros_like(ids, dtype=torch.bool))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **marks, **shown.tensors}


def assert_a_pass_back_reaches_all(model: Any, row: dict[str, torch.Tensor]) -> None:
    forget_positions(model)
    model(**row).logits.sum().backward()
    assert all(each.grad is not None for each in model.parameters() if each.requires_grad)


@pytest.mark.parametrize("language", ["full", "lora"])
@pytest.mark.parametrize("kind", ["mistral_large4", "glm5_next"])
def test_what_nobody_reads_of_a_language_model_stays_frozen_and_is_told(kind: str, language: Any) -> None:
    """What chooses the tokens to look at never learns; it was found in step 1, when all the reference was scored."""
    model, parts = tiny_of(kind), TrainableConfig(language=language, projector=False, lora_rank=2, lora_alpha=4)
    row = row_for(model)
    prepare(model, parts, image=lambda: row)
    left = unread(model, parts)
    assert left and all("indexer" in name for name in left)
    assert_a_pass_back_reaches_all(model, row)


def test_a_class_without_image_features_of_its_own_is_followed_from_its_logits() -> None:
    """Of Idefics, all of the tower was believed to be read, and a training of it was refused."""
    model = tiny_of("idefics")
    side = model.config.vision_config.image_size
    ids = torch.randint(12, 60, (1, 8))
    row = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.randn(1, 1, 3, side, side)}
    row["image_attention_mask"] = torch.ones(1, 8, 1).long()
    for vision in (1, "full"):
        parts = TrainableConfig(vision=vision)
        prepare(model, parts, image=lambda: row)
        assert any("post_layernorm" in name for name in unread(model, parts)) == (vision == "full")
        assert_a_pass_back_reaches_all(model, row)
        model.zero_grad()


@pytest.mark.parametrize("has_words", [True, False])
@pytest.mark.parametrize("vision", [1, "full"])
def test_a_tower_that_gives_its_last_states_alone_is_read(vision: Any, has_words: bool) -> None:
    """Llama 4's was believed to be read by nobody, also where its words are left out, as without weights."""
    eye = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    eye |= {"image_size": 56, "vision_output_dim": 64, "projector_input_dim": 64, "projector_output_dim": 64}
    speech = {**_SPEECH, "vocab_size": 300, "intermediate_size_mlp": 64, "num_local_experts": 2, "head_dim": 8}
    config = Llama4Config(vision_config=eye, text_config=speech, image_token_index=290)
    torch.manual_seed(0)
    model = Llama4ForConditionalGeneration(config).float().train()
    ids = torch.tensor([[1, *[290] * 4, 5, 6, 7]])
    row = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.randn(1, 3, 56, 56)}
    shown = row if has_words else {"pixel_values": row["pixel_values"]}
    prepare(model, TrainableConfig(vision=vision), image=lambda: shown)
    assert count(model)["vision"][0] and not unread(model, TrainableConfig(vision=vision))
    assert_a_pass_back_reaches_all(model, row)


_SPEECH = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_SPEECH |= {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


@pytest.mark.parametrize("kind", [*KINDS, "blip-2"])
def test_what_a_processor_makes_pairs_per_image_can_be_followed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the logits, also in half precision and with LoRA, whose second factor is nothing at first."""
    processor, model = whole(kind)
    monkeypatch.setattr(anatomy, "_features", None)
    parts = TrainableConfig(language="lora", lora_rank=2, lora_alpha=4)
    prepare(model.bfloat16(), parts, image=lambda: blank_image(processor, [(60, 40), (90, 50)]))
    assert not unread(model, parts) and all(each.grad is None for each in model.parameters())

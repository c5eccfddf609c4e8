"""Logits are the model's own, of chosen places, and never rounded to half precision."""

import copy
from typing import Any

import pytest
import torch
from benchmarks.tiny_models import Shown, image_for, image_mark, marks_of, tiny_of
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration

from spavl.training.objectives.losses import token_logprobs
from spavl.training.prefix_trees import logprobs
from spavl.training.prefix_trees.logprobs import words_scored
from tests.support.model_families import MAKERS, tiny

TOKENS, WIDTH, WORDS = 100, 256, 4000


def sure(kind: torch.dtype) -> Any:
    """A model that is as sure of its words as large ones are: its greatest logits are about 20."""
    torch.manual_seed(3)
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "num_hidden_layers": 1},
        text_config={"model_type": "llama", "vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": 1},
    )
    # Nothing but its head is looked at.
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config).to(kind)
    model.lm_head = torch.nn.Linear(WIDTH, WORDS, bias=False, dtype=kind)
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 5 / WIDTH**0.5)
    return model


def spoken() -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    return torch.randn(TOKENS, WIDTH).bfloat16(), torch.randint(0, WORDS, (TOKENS,))


def exactly(model: Any, states: Tensor, tokens: Tensor) -> Tensor:
    return token_logprobs(states.double() @ model.lm_head.weight.double().T, tokens)


def test_an_answer_of_a_hundred_tokens_is_scored_as_its_half_precise_weights_say() -> None:
    """Logits of about 20 come in eighths in bfloat16, which adds up over an answer."""
    model, (states, tokens) = sure(torch.bfloat16), spoken()
    with torch.no_grad():
        expected = exactly(model, states, tokens).sum()
        rounded = token_logprobs(model.lm_head(states), tokens).sum()
        found = words_scored(model, states, tokens).sum()
    assert abs(float(rounded - expected)) > 0.05
    assert abs(float(found - expected)) < 1e-3


def test_under_autocast_too() -> None:
    """As the loop computes what is trained: weights in single precision, products in half of it."""
    model, (states, tokens) = sure(torch.float32), spoken()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = words_scored(model, states, tokens)
        rounded = token_logprobs(model.lm_head(states), tokens)
    expected = exactly(model, states, tokens)
    assert float((found - expected).abs().max()) < 1e-4 < float((rounded - expected).abs().max())


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_exact_product(
    kind: torch.dtype, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the head is widened in pieces, and computed again on the way back."""
    monkeypatch.setattr(logprobs, "_WORDS_AT_ONCE", 1500)
    monkeypatch.setattr(logprobs, "_LOGITS_AT_ONCE", 30)
    model, (states, tokens) = sure(kind), spoken()
    states = states.to(kind).requires_grad_()
    exact = copy.deepcopy(model).double()
    exact_states = states.detach().double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = words_scored(model, states, tokens)
    found.square().sum().backward()
    exactly(exact, exact_states, tokens).square().sum().backward()
    pairs = [(states.grad, exact_states.grad), (model.lm_head.weight.grad, exact.lm_head.weight.grad)]
    for one, other in pairs:
        assert one is not None and other is not None and one.dtype == kind
        most = 1e-5 if kind == torch.float32 else 4e-3
        assert float((one.double() - other).norm() / other.norm()) < most


def test_a_half_precise_head_is_not_widened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widened it would be as large as a small model, and be kept for the way back."""
    monkeypatch.setattr(logprobs, "_WORDS_AT_ONCE", 100)
    model, (states, tokens) = sure(torch.bfloat16), spoken()
    model.requires_grad_(False)
    kept: list[int] = []

    def pack(value: Tensor) -> Tensor:
        if value.untyped_storage().data_ptr() != model.lm_head.weight.untyped_storage().data_ptr():
            kept.append(value.numel() * value.element_size())
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        words_scored(model, states.requires_grad_(), tokens).sum().backward()
    assert max(kept) <= TOKENS * WORDS * 4 and sum(size == WIDTH * WORDS * 4 for size in kept) == 0


@pytest.mark.parametrize("kind", MAKERS)
def test_logits_of_states_are_the_forwards_own(kind: str) -> None:
    """With whatever it does after its head; PaliGemma 2 caps its logprobs."""
    made = tiny(kind, torch.float32)
    ids = torch.tensor([[1, 5, 6, 7, 9, 2]])
    marks = {"token_type_ids": torch.zeros_like(ids)} if kind.startswith(("gemma", "pali")) else {}
    with torch.no_grad():
        own = made.model(input_ids=ids, **marks).logits[0]
        states = made.model.model(input_ids=ids, **marks).last_hidden_state[0]
        assert torch.equal(logprobs.logits_of_states(made.model, states), own)
        bare = made.model.lm_head(states)
    assert (kind == "paligemma2") == (not torch.allclose(bare, own))


def test_what_a_forward_does_after_its_head_is_learnt_through() -> None:
    made = tiny("paligemma2", torch.float64)
    ids = torch.tensor([[1, 5, 6, 7, 9, 2]])
    marks = {"token_type_ids": torch.ones_like(ids)}

    def grown(scores: Tensor) -> Tensor:
        made.model.zero_grad()
        scores.sum().backward()
        return made.model.lm_head.weight.grad.clone()

    own = grown(made.model(input_ids=ids, **marks).logits[0].log_softmax(-1)[:, 3])
    states = made.model.model(input_ids=ids, **marks).last_hidden_state[0]
    assert torch.allclose(grown(words_scored(made.model, states, torch.full((6,), 3))), own, rtol=1e-9)


@pytest.mark.parametrize("kind", ["blip-2", "git", "llama4", "nemotron_h_omni"])
def test_under_autocast_a_whole_forward_too_gives_its_heads_product_unrounded(kind: str) -> None:
    """BLIP-2's answers of 100 tokens were up to .51 nats off; Nemotron's head is its decoder's alone."""
    model = tiny_of(kind)
    shown = image_for(model) or Shown(0, {})
    ids = torch.tensor([[11, *[image_mark(model) or 0] * shown.tokens, *range(20, 40)]])
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **marks_of(model, ids, ids < 0)}
    seen: list[Tensor] = []
    head = model.language_model.lm_head if kind == "nemotron_h_omni" else model.get_output_embeddings()
    head.register_forward_pre_hook(lambda _, states: seen.append(states[0]))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = logprobs.logits_of_rows(model, {**given, **shown.tensors})
    exact = seen[0].double() @ head.weight.double().T + (0 if head.bias is None else head.bias)
    assert found.dtype == torch.float32
    assert float((found - exact[:, -ids.shape[1] :]).abs().max()) < 1e-4


@pytest.mark.gpu
def test_on_a_gpu_factors_of_half_precision_give_sums_of_single_precision() -> None:
    model, (states, tokens) = sure(torch.bfloat16).to("cuda"), spoken()
    states, tokens = states.cuda().requires_grad_(), tokens.cuda()
    found = words_scored(model, states, tokens)
    found.sum().backward()
    assert float((found - exactly(model, states, tokens)).abs().max()) < 1e-3
    assert states.grad is not None and bool(states.grad.isfinite().all())

"""LoRA of a LLaVA whose language model is a mixture of experts, which transformers keeps stacked in one parameter."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import ParamWrapper

from spavl.models.backends.hf import load_checkpoint
from spavl.terminal.progress import Screen
from spavl.training.config import TrainableConfig, TrainingConfig
from spavl.training.dry_run.estimate import estimate_training
from spavl.training.dry_run.table import page
from spavl.training.model.anatomy import stacked_layers
from spavl.training.model.trainable import merge, prepare, save, without_lora, without_lora_in_words
from spavl.training.prefix_trees.batch import make_batch
from spavl.training.prefix_trees.logprobs import answer_logprobs
from tests.support.images import encoded, photo
from tests.support.model_families import let_mistakes_show
from tests.support.training_objectives import sample
from tests.support.whole_models import whole
from tests.training.prefix_trees.test_reference_code_check import _SPEECH, rows

_MORE = {
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 32, "num_experts_per_tok": 2},
    # Its stacks stand the other way round, with biases beside them.
    "gpt_oss": {"num_local_experts": 4},
}
LORA = TrainableConfig(language="lora", lora_rank=2, lora_alpha=4, projector=False)


def mixture(speech: str, folder: Path) -> Path:
    processor, model = whole("llava")
    words = {"vocab_size": len(processor.tokenizer), "num_key_value_heads": 2, "max_position_embeddings": 2048}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "head_dim": 8}
    said = {"model_type": speech, **_SPEECH, **words, **ends, **_MORE[speech]}
    torch.manual_seed(0)
    made = let_mistakes_show(type(model)(type(model.config)(**{**model.config.to_dict(), "text_config": said})).float())
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def scores(model: Any, processor: Any) -> torch.Tensor:
    return answer_logprobs(model, make_batch(model, processor, rows()))


@pytest.mark.parametrize("speech", _MORE)
def test_each_expert_learns_with_exact_gradients_and_comes_back_from_disk(speech: str, tmp_path: Path) -> None:
    """None of them had LoRA, and nothing said so."""
    base = mixture(speech, tmp_path / "base")
    processor, model = load_checkpoint(str(base), dtype="float32")
    stacks, before = stacked_layers(model), scores(model, processor).detach()
    assert len(stacks) == 4 and all(".experts." in name for name in stacks)
    wrapped = prepare(model, LORA)
    assert torch.equal(scores(model, processor), before), "it begins as its reference"
    learnt = {name: each for name, each in model.named_parameters() if each.requires_grad and ".experts." in name}
    assert len(learnt) == 2 * len(stacks)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1 if "lora_" in name else 0.0)
    scores(model, processor).sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in learnt.values())
    expected = scores(model, processor).detach()
    assert (expected - before).abs().max() > 1e-2
    with wrapped.disable_adapter():
        assert torch.equal(scores(model, processor), before)
    save(tmp_path / "adapter", wrapped, processor)
    merge(tmp_path / "adapter", tmp_path / "merged")
    for name in ("adapter", "merged"):
        _, again = load_checkpoint(str(tmp_path / name), dtype="float32")
        assert torch.allclose(scores(again, processor), expected, atol=1e-4), name
    _holds_the_chain_rule(model, again, processor)


def _holds_the_chain_rule(model: Any, merged: Any, processor: Any) -> None:
    """What flows back to the LoRA of each stack is what flows back to the same weights in a model without any."""
    scores(merged, processor).sum().backward()
    layers = {path: each for path, each in model.named_modules() if isinstance(each, ParamWrapper)}
    for path, layer in layers.items():
        flow = merged.get_parameter(f"{path.replace('.base_layer', '')}.{layer.parameter_name}").grad
        pair = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
        wanted = torch.autograd.grad((layer.get_delta_weight("default") * flow).sum(), pair)
        for each, gradient in zip(pair, wanted, strict=True):
            assert torch.allclose(each.grad, gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max())), path


def test_activations_may_be_computed_again(tmp_path: Path) -> None:
    processor, model = load_checkpoint(str(mixture("mixtral", tmp_path / "base")), dtype="float32")
    prepare(model, LORA)
    model.train()
    gradients = []
    for recompute in (False, True):
        if recompute:
            model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        model.zero_grad()
        scores(model, processor).sum().backward()
        gradients.append([each.grad.clone() for each in model.parameters() if each.requires_grad])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_what_gets_no_lora_is_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = mixture("mixtral", tmp_path / "base")
    _, model = load_checkpoint(str(base), dtype="float32")
    wrapped, routers = prepare(model, LORA), {f"model.language_model.layers.{n}.mlp.gate.weight": 128 for n in (0, 1)}
    assert without_lora(wrapped) == without_lora(model) == routers
    told = without_lora_in_words(routers, model)
    assert told.startswith("2 matrices of the language model with 256 parameters (0.") and "layers.0.mlp.gate" in told
    pytest.importorskip("bitsandbytes")
    parts = LORA.model_copy(update={"language": "qlora"})
    config = TrainingConfig(model=f"hf/{base}", trainable=parts, batch_size=4)
    training_estimate = estimate_training(
        config, [sample(k) for k in range(4)], lambda _: encoded(photo(1, 40), "PNG"), 0, Screen()
    )
    lines = " ".join(" ".join(page(training_estimate)).split())
    assert "LoRA of rank 2 on four bits, but for 49.2 K of its experts, which stay in float32" in lines
    assert "get no LoRA and stay frozen" in " ".join(capsys.readouterr().err.split())

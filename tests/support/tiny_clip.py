"""A CLIP of a few thousand weights that knows three colours by name. It is saved and loaded as any other."""

from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast, SiglipConfig, SiglipModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

COLOURS = {"red ball": (220, 20, 20), "绿球": (20, 200, 30), "blue ball": (20, 30, 220)}
_WORDS = ("[pad]", "[eos]", "[unk]", "a", "ball", "blue", "crimson", "paint", "red", "绿球", "一个绿球", "绿色的东西")
_STEPS = 100
_LAYER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_TEXT = _LAYER | {"vocab_size": len(_WORDS), "max_position_embeddings": 8, "bos_token_id": None, "eos_token_id": 1}
_VISION = _LAYER | {"image_size": 8, "patch_size": 4}


def shade(name: str, number: int, side: int = 64) -> Image.Image:
    """An image of a colour, each number another one."""
    red, green, blue = COLOURS[name]
    around = Image.new("RGB", (side, side), (red + number % 7, green, blue + 5 * (number % 5)))
    around.paste((red // 2, green // 2, blue // 2), (number, number, number + 9, number + 9))
    return around


def save_clip(folder: Path) -> Path:
    fast = _tokenizer()
    fast.save_pretrained(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    processor.save_pretrained(folder)
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=16))
    _teach(model, fast, processor)
    model.save_pretrained(folder)
    return folder


def save_siglip(folder: Path) -> Path:
    """A SigLIP that has learned nothing."""
    _tokenizer().save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(folder)
    torch.manual_seed(0)
    SiglipModel(SiglipConfig(text_config=_TEXT, vision_config=_VISION)).save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[unk]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # CLIP reads a text off its end mark.
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [eos]", special_tokens=[("[eos]", 1)])
    special = {"pad_token": "[pad]", "eos_token": "[eos]", "unk_token": "[unk]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def _teach(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, processor: CLIPImageProcessorPil) -> None:
    said = tokenizer(list(COLOURS), padding="max_length", max_length=8, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(_STEPS):
        shown = processor([shade(name, step) for name in COLOURS], return_tensors="pt")
        out = model(**said, **shown)
        # A cosine of 1 for a colour and its name, of 0 for all others.
        loss = (out.image_embeds @ out.text_embeds.T - torch.eye(len(COLOURS))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01, f"it has not learned the colours: {loss}"

"""Processors of the families, whole but for their vocabulary: real tokenizers, and templates as published."""

from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    Blip2Processor,
    Gemma3Processor,
    Idefics3Processor,
    InternVLProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    PaliGemmaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLProcessor,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

_TEXTS = [
    "USER: How do I wake this? ASSISTANT: I can not help with that. Assistant: I am sorry, but turn the knob.",
    "user\nassistant\nmodel\nUser: Assistant: Wake the dax one time. I would rather not say (that is all).",
]
_TILES = [f"<row_{row}_col_{column}>" for row in range(1, 8) for column in range(1, 8)]

_LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
_SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}PICTURE{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ item['text'] | trim }}{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

_BLIP = (
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'text' %}"
    "{% if message['role'] == 'user' %}Question: {{ part['text'] }} Answer:{% else %} {{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def _byte_level(begin: str | None, end: str, *marks: str, **named: str) -> Any:
    """Words begin with their space, as in GPT-2 and all that came of it."""
    special = [mark for mark in (begin, end, "<pad>", *marks) if mark]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(_TEXTS * 20, trainer)
    if begin:
        first = [(begin, made.token_to_id(begin))]
        made.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=first)
    return _fast(made, begin, end, marks, named)


def _sentencepiece(*marks: str) -> Any:
    """A text begins with a space of its own, as in Llama 2 and so in LLaVA 1.5."""
    special = ["<s>", "</s>", "<pad>", *marks]
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    letters = [*map(chr, range(32, 127)), "\n"]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=letters, show_progress=False)
    made.train_from_iterator(_TEXTS * 20, trainer)
    made.pre_tokenizer = None
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    first = [("<s>", made.token_to_id("<s>"))]
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=first)
    return _fast(made, "<s>", "</s>", marks, {})


def _fast(made: Tokenizer, begin: str | None, end: str, marks: tuple[str, ...], named: dict[str, str]) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=begin,
        eos_token=end,
        pad_token="<pad>",
        additional_special_tokens=list(marks),
        extra_special_tokens=named or None,
    )


def _llava_of(kind: Any, images: Any) -> Any:
    return kind(
        images,
        _sentencepiece("<image>"),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=_LLAVA,
    )


def _llava() -> Any:
    small = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    return _llava_of(LlavaProcessor, small)


def _llava_next() -> Any:
    return _llava_of(LlavaNextProcessor, LlavaNextImageProcessorPil())


def _smolvlm() -> Any:
    marks = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *_TILES)
    tokenizer = _byte_level("<|im_start|>", "<end_of_utterance>", *marks)
    return Idefics3Processor(Idefics3ImageProcessorPil(), tokenizer, image_seq_len=64, chat_template=_SMOLVLM)


class _NoVideos:
    """Their makers want a processor of videos as well, which wants torchvision."""

    def check_argument_for_proper_class(self, name: str, given: Any) -> Any:
        return None if name == "video_processor" else super().check_argument_for_proper_class(name, given)  # type: ignore[misc]


class _Qwen(_NoVideos, Qwen2VLProcessor):  # type: ignore[misc]
    pass


class _InternVL(_NoVideos, InternVLProcessor):  # type: ignore[misc]
    pass


def _qwen() -> Any:
    marks = ("<|im_start|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    template = _CHATML.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>")
    return _Qwen(Qwen2VLImageProcessorPil(), _byte_level(None, "<|im_end|>", *marks), None, template)


def _internvl() -> Any:
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _byte_level(None, "<|im_end|>", "<|im_start|>", *named.values(), **named)
    template = _CHATML.replace("PICTURE", "<IMG_CONTEXT>\n")
    return _InternVL(GotOcr2ImageProcessorPil(), tokenizer, None, 16, template)


def _gemma3() -> Any:
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _byte_level("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", *named.values(), **named)
    return Gemma3Processor(Gemma3ImageProcessorPil(), tokenizer, _GEMMA, 16)


def paligemma(template: str | None = None) -> Any:
    """As published it has no chat template: its processor writes its makers' form of a question by itself."""
    images = SiglipImageProcessorPil(size={"height": 28, "width": 28})
    images.image_seq_length = 4
    tokenizer = _byte_level("<bos>", "<eos>", "<image>", image_token="<image>")
    return PaliGemmaProcessor(images, tokenizer, template)


def blip_2() -> Any:
    """It writes the image's tokens by itself, before the text."""
    images = BlipImageProcessorPil(size={"height": 112, "width": 112})
    made = Blip2Processor(images, _byte_level("<s>", "</s>", "<image>"), num_query_tokens=32)
    made.chat_template = _BLIP
    return made


PROCESSORS: dict[str, Callable[[], Any]] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "smolvlm": _smolvlm,
    "qwen2_vl": _qwen,
    "internvl": _internvl,
    "gemma3": _gemma3,
}

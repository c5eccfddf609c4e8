"""Lengths told without pixels are those with them, whether a processor tells its own right or wrong."""

import random
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Idefics3Processor, LlavaNextProcessor, PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from spavl.models.hf import load_checkpoint
from spavl.models.shop import miniature_checkpoint
from spavl.training.lengths import Lengths

_TILES = [f"<row_{row}_col_{column}>" for row in range(1, 8) for column in range(1, 8)]
_MARKS = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *_TILES)
_TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image> {% else %}{{ part.text }} {% endif %}"
    "{% endfor %}{% endfor %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    words = {word: number for number, word in enumerate(("<pad>", "<s>", "</s>", "<unk>", "?", *_MARKS))}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=plain, additional_special_tokens=list(_MARKS), **marks)


def processors() -> dict[str, Any]:
    return {
        "llava": load_checkpoint(miniature_checkpoint())[0],
        "llava_next": LlavaNextProcessor(
            LlavaNextImageProcessorPil(),
            tokenizer(),
            patch_size=14,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            image_token="<image>",
            chat_template=_TEMPLATE,
        ),
        "idefics3": Idefics3Processor(
            Idefics3ImageProcessorPil(), tokenizer(), image_seq_len=64, chat_template=_TEMPLATE
        ),
    }


# Idefics3 counts some of the marks between its tiles twice, so what it tells is not believed.
@pytest.mark.parametrize(("kind", "believed"), [("llava", True), ("llava_next", True), ("idefics3", False)])
def test_a_picture_of_any_shape_takes_as_many_tokens_as_are_told(kind: str, believed: bool) -> None:
    lengths = Lengths(processors()[kind])
    assert (lengths._own_count_lacks is not None) == believed
    rng = random.Random(kind)
    for _ in range(6):
        size = (rng.randint(30, 900), rng.randint(30, 900))
        assert lengths.spread(size) == lengths._made(size)

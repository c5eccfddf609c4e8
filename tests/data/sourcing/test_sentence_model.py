"""Captions are searched by a sentence model in the layout that sentence-transformers writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from spavl.errors import ConfigError
from spavl.imaging.pretrained_files import PretrainedFiles
from spavl.imaging.sentences import SentenceModel
from tests.data.sourcing.test_sources import CAPTIONS, URLS, walk, write_csv

WORDS = ("[PAD]", "[UNK]", "[CLS]", "a", "red", "ball", "blue", "of", "paint")
TEXTS = ["a red ball", "blue", "red " * 50]


def sentence_model(folder: Path, pooling: str, longest: int = 6) -> Path:
    """A tiny BERT among the files that sentence-transformers writes beside a model."""
    plain = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=64,
        )
    ).save_pretrained(folder)
    (folder / "modules.json").write_text("[]")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": longest}))
    (folder / "1_Pooling").mkdir()
    modes = ("cls_token", "mean_tokens", "max_tokens")
    stated = {f"pooling_mode_{mode}": mode == pooling for mode in modes}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **stated}))
    return folder


def opened(folder: Path) -> SentenceModel:
    return SentenceModel(PretrainedFiles(str(folder), "a test", "name another"))


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_each_text_has_the_vector_that_it_has_alone(tmp_path: Path, pooling: str) -> None:
    folder = sentence_model(tmp_path / "model", pooling)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    bert = AutoModel.from_pretrained(folder).eval()
    for text, found in zip(TEXTS, opened(folder).texts(TEXTS), strict=True):
        with torch.no_grad():
            tokens = bert(torch.tensor([tokenizer(text)["input_ids"][:6]])).last_hidden_state[0]
        wanted = (tokens.mean(0) if pooling == "mean_tokens" else tokens[0]).numpy()
        assert np.allclose(found, wanted / np.linalg.norm(wanted), atol=1e-6)


def test_another_pooling_is_refused(tmp_path: Path) -> None:
    folder = sentence_model(tmp_path / "model", "max_tokens")
    with pytest.raises(ConfigError, match="max_tokens"):
        opened(folder)


def test_captions_are_searched_and_images_are_not(tmp_path: Path) -> None:
    model = str(sentence_model(tmp_path / "model", "mean_tokens"))
    file = write_csv(tmp_path / "laion.csv", URLS)
    made = walk(tmp_path, file, "sourcing", search_by="captions", search_model=model)
    for leaf in ("red", "绿"):
        ranks = [row.rank for row in made["sourcing"] if row.leaf == leaf]
        assert ranks == list(range(len(CAPTIONS) - 1)), "every caption has a place"
    with pytest.raises(ConfigError, match="no half for texts and one for images"):
        walk(tmp_path, file, "sourcing", search_by="images", search_model=model)

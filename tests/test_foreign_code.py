"""A model's folder is data: Python code that lies in it is never run, and no pickle is opened."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.exams import write_spa_vl
from tests.test_train import pair

from spavl.errors import ConfigError
from spavl.models.hf import load_checkpoint
from spavl.models.shop import miniature_checkpoint

_MINE = """
from pathlib import Path
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

Path({mark!r}).write_text("ran")

class Config(LlavaConfig):
    model_type = "mine"

class Model(LlavaForConditionalGeneration):
    config_class = Config

class Processor(LlavaProcessor):
    pass
"""
_OWN = {"AutoConfig": "mine.Config", "AutoModelForImageTextToText": "mine.Model", "AutoProcessor": "mine.Processor"}


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once foreign code has run."""
    return tmp_path / "ran"


@pytest.fixture
def model(tmp_path: Path, mark: Path) -> Path:
    """A checkpoint that works, and whose files name Python code beside them."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in Path(miniature_checkpoint()).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "mine.py").write_text(_MINE.format(mark=str(mark)))
    for name in ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (folder / name).exists():
            table = json.loads((folder / name).read_text()) | {"auto_map": _OWN}
            (folder / name).write_text(json.dumps(table | ({"model_type": "mine"} if name == "config.json" else {})))
    return folder


def spavl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As somebody types it who says yes to whatever is asked."""
    command = [sys.executable, "-m", "spavl", *words]
    return subprocess.run(command, input="y\n" * 9, cwd=folder, capture_output=True, text=True, timeout=240)


def test_code_in_a_models_folder_is_not_run(tmp_path: Path, model: Path, mark: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist([pair(k) for k in range(4)]), tmp_path / "set/data/train-00000-of-00001.parquet"
    )
    write_spa_vl(tmp_path / "asked", 2, 2)
    asked = ("--suite", "helpeval", "--data", "asked", "--guard", "rules/miniature", "--out", "exam")
    for words in (
        ("train", "dpo", "--model", str(model), "--data", "set", "--dry-run"),
        ("train", "dpo", "--model", str(model), "--data", "set"),
        ("eval", f"hf/{model}", *asked),
    ):
        done = spavl(tmp_path, *words)
        assert not mark.exists(), f"spavl {words[0]} ran it"
        assert done.returncode == 2 and "never run" in done.stderr, done.stderr


class _Runs:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (f"open({str(self.mark)!r}, 'w')",)


def test_weights_in_a_pickle_are_not_opened(tmp_path: Path, mark: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in Path(miniature_checkpoint()).iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Runs(mark)))
    write_spa_vl(tmp_path / "asked", 2, 2)
    words = ("--suite", "helpeval", "--data", "asked", "--guard", "rules/miniature", "--out", "exam")
    done = spavl(tmp_path, "eval", f"hf/{folder}", *words)
    assert done.returncode == 2 and "no weights in *.safetensors" in done.stderr, done.stderr
    with pytest.raises(ConfigError, match="cannot load this model"):
        load_checkpoint(str(folder))
    assert not mark.exists()

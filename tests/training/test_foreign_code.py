"""A model's folder is data: its Python code runs only where it is named, and no pickle is opened; revisions hold."""

import hashlib
import importlib
import json
import pickle
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from peft import LoraConfig, get_peft_model

from spavl.config import write_config
from spavl.errors import ConfigError
from spavl.imaging.clip import Clip
from spavl.models.backends.hf import base_of, check_there, checkpoint_name, load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.models.names import hf_name, revision_of, with_revision
from spavl.models.remote_code import is_trusted, names_typed
from spavl.pipeline.settings import read_config
from spavl.training.model.trainable import merge, save
from tests.support.evaluations import write_spa_vl
from tests.support.forked import ran
from tests.support.tiny_clip import save_clip
from tests.training.test_train import pair

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
    return ran(folder, *words, typed="y\n" * 9)


def test_code_in_a_models_folder_is_not_run(tmp_path: Path, model: Path, mark: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist([pair(k) for k in range(4)]), tmp_path / "set/data/train-00000-of-00001.parquet"
    )
    write_spa_vl(tmp_path / "asked", 2, 2)
    asked = ("--suite", "helpeval", "--data", "asked", "--guard", "rules/miniature", "--out", "evaluation")
    for words in (
        ("train", "dpo", "--model", str(model), "--data", "set", "--dry-run"),
        ("train", "dpo", "--model", str(model), "--data", "set"),
        ("eval", f"hf/{model}", *asked),
    ):
        done = spavl(tmp_path, *words)
        assert not mark.exists(), f"spavl {words[0]} ran it"
        assert done.returncode == 2 and "not run unless you name" in done.stderr, done.stderr


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
    words = ("--suite", "helpeval", "--data", "asked", "--guard", "rules/miniature", "--out", "evaluation")
    done = spavl(tmp_path, "eval", f"hf/{folder}", *words)
    assert done.returncode == 2 and "no weights in *.safetensors" in done.stderr, done.stderr
    with pytest.raises(ConfigError, match="cannot load this model"):
        load_checkpoint(str(folder))
    assert not mark.exists()


COMMIT, OTHER = "1" * 40, "2" * 40


def on_hub(cache: Path, name: str, **snapshots: Path) -> Path:
    """A model in a cache as huggingface_hub lays it out: files by their hash, linked from snapshots by commit."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "blobs").mkdir(parents=True)
    (place / "refs").mkdir()
    for ref, folder in snapshots.items():
        commit = {"main": COMMIT, "v1": OTHER}[ref]
        (place / "refs" / ref).write_text(commit)
        (place / "snapshots" / commit).mkdir(parents=True)
        for file in folder.iterdir():
            data = file.read_bytes()
            blob = place / "blobs" / hashlib.sha256(data).hexdigest()
            blob.write_bytes(data)
            (place / "snapshots" / commit / file.name).symlink_to(Path("../../blobs") / blob.name)
    return place


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a hub that cannot be reached; foreign code that is let in is imported from beside it."""
    for module, name, place in (
        ("huggingface_hub.constants", "HF_HUB_CACHE", "hub"),
        ("transformers.dynamic_module_utils", "HF_MODULES_CACHE", "modules"),
    ):
        monkeypatch.setattr(importlib.import_module(module), name, str(tmp_path / place))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return tmp_path / "hub"


def plain(folder: Path, bias: float = 0.0) -> Path:
    """The miniature, with a word of its own in its settings."""
    folder.mkdir()
    for file in Path(miniature_checkpoint()).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "generation_config.json").write_text(json.dumps({"max_length": 100 + int(bias)}))
    return folder


def test_a_model_that_is_named_may_run_its_code_and_no_other(tmp_path: Path, model: Path, mark: Path) -> None:
    write_spa_vl(tmp_path / "asked", 2, 2)
    asked = ("--suite", "helpeval", "--data", "asked", "--guard", "rules/miniature")
    other = tmp_path / "other"
    shutil.copytree(model, other)
    refused = spavl(tmp_path, "eval", f"hf/{model}", *asked, "--out", "one", "--trust-remote-code", f"hf/{other}")
    assert refused.returncode == 2 and not mark.exists()
    assert f"--trust-remote-code hf/{model}" in refused.stderr
    done = spavl(tmp_path, "eval", f"hf/{model}", *asked, "--out", "two", "--trust-remote-code", f"hf/{model}")
    assert mark.exists(), done.stderr
    assert "comes with Python code" not in done.stderr
    assert f'trust_remote_code = [\n    "hf/{model}",\n]' in (tmp_path / "two" / "config.toml").read_text()


@pytest.mark.parametrize("name", ["all", "*", "true", "hf/", "hf/*", "openai/gpt-4o", "OWNER/NAME"])
def test_there_is_no_word_for_all_models(name: str) -> None:
    with pytest.raises(ConfigError, match=r"names no single model|must be a list"):
        read_config({}, {"trust_remote_code": name}, "a test")
    with pytest.raises(ConfigError, match="names no single model"):
        names_typed(name)


def test_who_is_trusted_is_told_by_the_resolved_settings() -> None:
    config = read_config({}, {"trust_remote_code": "hf/a/b@v1, hf/c/d"}, "a test")
    assert config.trust_remote_code == ("hf/a/b@v1", "hf/c/d") == names_typed("hf/a/b@v1,hf/c/d")
    assert "hf/a/b@v1" in write_config(config)


def test_a_name_is_trusted_in_its_revision_or_in_all_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "model")
    assert is_trusted("a/b", ["hf/a/b"]) and is_trusted("a/b@v1", ["hf/a/b"]) and is_trusted("a/b@v1", ["hf/a/b@v1"])
    assert not is_trusted("a/b", ["hf/a/b@v1"]) and not is_trusted("a/b@v2", ["hf/a/b@v1"])
    assert not is_trusted("a/bc", ["hf/a/b"]) and not is_trusted("a/b", []) and not is_trusted("a", ["hf/a/b"])
    assert is_trusted(str(tmp_path / "model"), [f"hf/{tmp_path}/link/"])
    assert not is_trusted(str(tmp_path / "model"), [f"hf/{tmp_path}"])


def test_a_model_on_a_hub_is_held_to_the_revision_that_is_named(tmp_path: Path, cache: Path) -> None:
    on_hub(cache, "owner/name", main=plain(tmp_path / "new", 1), v1=plain(tmp_path / "old", 2))
    for name, commit in (
        ("owner/name", COMMIT),
        ("owner/name@main", COMMIT),
        ("owner/name@v1", OTHER),
        (f"owner/name@{OTHER}", OTHER),
    ):
        check_there(name)
        assert checkpoint_name(name) == f"hf/owner/name#{commit}"
        _, loaded = load_checkpoint(name)
        assert loaded.commit == commit
        assert loaded.generation_config.max_length == (101 if commit == COMMIT else 102)
    with pytest.raises(ConfigError, match="cannot load"):
        check_there("owner/name@v3")
    known = [f"hf/owner/name#{COMMIT}", f"hf/owner/name#{OTHER}"]
    assert hf_name(f"owner/name@{OTHER[:9]}", known) == known[1]
    with pytest.raises(ConfigError, match="several revisions") as told:
        hf_name("owner/name", known)
    assert f"hf/owner/name@{OTHER}" in told.value.then


def test_a_clip_model_is_held_to_its_revision_too(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "clip").mkdir()
    save_clip(tmp_path / "clip")
    on_hub(cache, "owner/clip", main=tmp_path / "clip", v1=tmp_path / "clip")
    for name, commit in (("owner/clip", COMMIT), ("owner/clip@v1", OTHER)):
        assert Clip(name, "a test").commit == commit
        assert with_revision(name, commit) == f"owner/clip#{commit}"
    folder = str(tmp_path / "clip")
    assert Clip(folder, "a test").commit is None
    assert with_revision(folder, None) == f"{folder}#{revision_of(Path(folder))}"
    with pytest.raises(ConfigError, match="cannot load it"):
        Clip("owner/clip@v2", "a test")


def test_code_on_a_hub_runs_in_the_trusted_revision_alone(tmp_path: Path, cache: Path, model: Path, mark: Path) -> None:
    on_hub(cache, "owner/name", main=model, v1=model)
    for name, trusted in (("owner/name", "hf/owner/name@v1"), ("owner/name@v1", "hf/owner/name@main")):
        with pytest.raises(ConfigError, match="not run unless you name") as told:
            load_checkpoint(name, trusted=[trusted])
        assert f"--trust-remote-code hf/{name}" in told.value.then and not mark.exists()
    check_there("owner/name@v1", ["hf/owner/name@v1"])
    _, loaded = load_checkpoint("owner/name@v1", trusted=["hf/owner/name@v1"])
    assert mark.exists() and type(loaded).__name__ == "Model" and loaded.commit == OTHER


def test_a_trusted_model_does_not_bring_in_the_code_of_another_repository(
    tmp_path: Path, cache: Path, model: Path, mark: Path
) -> None:
    on_hub(cache, "stranger/code", main=model)
    mine = plain(tmp_path / "mine")
    table = json.loads((mine / "config.json").read_text())
    own = {name: f"stranger/code--{place}" for name, place in _OWN.items()}
    (mine / "config.json").write_text(json.dumps(table | {"model_type": "mine", "auto_map": own}))
    with pytest.raises(ConfigError, match="another repository, stranger/code") as told:
        load_checkpoint(str(mine), trusted=[f"hf/{mine}"])
    assert f"hf/{mine},hf/stranger/code" in told.value.then and not mark.exists()


def test_an_adapter_is_put_onto_the_revision_that_it_was_trained_on(tmp_path: Path, cache: Path) -> None:
    on_hub(cache, "owner/name", main=plain(tmp_path / "new", 1), v1=plain(tmp_path / "old", 2))
    processor, base = load_checkpoint("owner/name@v1", dtype="float32")
    lora = get_peft_model(base, LoraConfig(target_modules=["q_proj"], r=2))
    save(tmp_path / "adapter", lora, processor)
    assert base_of(str(tmp_path / "adapter")) == f"owner/name@{OTHER}"
    assert checkpoint_name(str(tmp_path / "adapter")).endswith(f"+owner/name#{OTHER}")
    _, loaded = load_checkpoint(str(tmp_path / "adapter"), dtype="float32")
    assert loaded.commit == OTHER and loaded.generation_config.max_length == 102
    merge(tmp_path / "adapter", tmp_path / "merged")
    assert (tmp_path / "merged" / "model.safetensors").exists()

"""The exports, loaded by the libraries they are made for; those that need a venv of their own are marked `interop`."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image as Pillow
from tests.test_stages import Walked, by_id, rows, walked

from spavl.cli import main
from spavl.publishing.exports.common import unmarked
from spavl.records import Category, Sample

__all__ = ["walked"]

Export = Callable[[str], Path]


@pytest.fixture
def export(walked: Walked, tmp_path: Path) -> Export:
    def made(name: str) -> Path:
        assert main(["data", "export", str(walked.run), "--format", name, "--out", str(tmp_path / name)]) == 0
        return tmp_path / name

    return made


def of_split(walked: Walked, split: str) -> list[Sample]:
    return [sample for sample in rows(walked.run, "dataset", Sample) if sample.split == split]


def said(sample: Sample) -> tuple[str, str, str]:
    return sample.question, sample.chosen, sample.rejected


def test_trl_takes_a_training_step_on_its_export(walked: Walked, export: Export, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import DPOConfig, DPOTrainer

    from spavl.models.shop import checkpoint_path

    files = [str(file) for file in sorted(export("trl").glob("train-*.parquet"))]
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    found = [
        (row["prompt"][0]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in loaded
    ]
    assert found == [said(sample) for sample in of_split(walked, "train")]
    assert all(isinstance(row["images"][0], Pillow.Image) for row in loaded)
    shipped = checkpoint_path("miniature/base")
    trainer = DPOTrainer(
        model=AutoModelForImageTextToText.from_pretrained(shipped),
        processing_class=AutoProcessor.from_pretrained(shipped),
        args=DPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            per_device_train_batch_size=2,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            max_length=None,
            report_to=[],
            logging_steps=1,
        ),
        train_dataset=loaded,
    )
    trainer.train()
    assert abs(trainer.state.log_history[0]["loss"] - 0.6931) < 0.01, "before its first step a policy is its reference"


def test_the_papers_own_code_finds_integer_ids_pictures_by_class_and_its_keywords(
    walked: Walked, export: Export
) -> None:
    out = export("spa-vl-rlhf")
    config = json.loads((out / "train.json").read_text())
    assert set(config) == {"easy", "hardd", "hards"}
    found = {keyword: json.loads(Path(file).read_text()) for keyword, file in config.items()}
    every = [row for own in found.values() for row in own]
    assert sorted(row["id"] for row in every) == list(range(len(every)))
    assert {(row["question"], row["chosen"], row["rejected"]) for row in every} == set(
        map(said, of_split(walked, "train"))
    )
    leaves = {"/".join(category.published) for category in by_id(walked.run, "taxonomy", Category).values()}
    for row in every:
        assert row["image"].rpartition("/")[0] in leaves
        with Pillow.open(out / "images" / row["image"]) as picture:
            assert picture.size == (64, 64)


def test_llava_finds_its_conversations_and_their_pictures(walked: Walked, export: Export) -> None:
    out = export("llava")
    for split in ("train", "validation"):
        made = json.loads((out / f"{split}.json").read_text())
        assert [row["conversations"][1]["value"] for row in made] == [s.chosen for s in of_split(walked, split)]
        assert all(row["conversations"][0]["value"].startswith("<image>\n") for row in made)
        assert all((out / row["image"]).is_file() for row in made)


def test_a_question_that_holds_the_mark_of_a_picture_is_no_second_picture() -> None:
    assert "<image>" not in unmarked("what does <image> mean?")


def test_an_export_of_no_run_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "export", str(tmp_path / "nothing"), "--format", "trl"]) == 2
    assert "spavl build" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


# --- interop: each tool in a venv of its own, made by `make interop`

VENVS = Path(".interop")

_LLAMAFACTORY = """
import json, sys
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
out, model = sys.argv[1:]
given = dict(stage="dpo", model_name_or_path=model, dataset_dir=out, dataset="spavl_train", template="llava",
             do_train=True, finetuning_type="full", output_dir=out + "/checkpoint", report_to="none",
             preprocessing_num_workers=1, overwrite_cache=True, cutoff_len=512, bf16=False)
model_args, data_args, training_args, *_ = get_train_args(given)
tokenizer = load_tokenizer(model_args)
template = get_template_and_fix_tokenizer(tokenizer["tokenizer"], data_args)
made = get_dataset(template, model_args, data_args, training_args, stage="rm", **tokenizer)["train_dataset"]
decode = lambda ids: tokenizer["tokenizer"].decode([i for i in ids if i >= 0], skip_special_tokens=True)
print(json.dumps([[decode(r["chosen_labels"]), decode(r["rejected_labels"]), len(r["images"])] for r in made]))
"""

_SWIFT = """
import json, sys
from swift.dataset import load_dataset
out, _ = sys.argv[1:]
made, _ = load_dataset([out + "/train.jsonl"], strict=True)
print(json.dumps([[r["messages"][-1]["content"], r["rejected_response"], len(r["images"])] for r in made]))
"""


@pytest.mark.interop
@pytest.mark.parametrize(("tool", "code"), [("llamafactory", _LLAMAFACTORY), ("ms-swift", _SWIFT)])
def test_other_trainers_load_their_exports(
    walked: Walked, export: Export, tmp_path: Path, tool: str, code: str
) -> None:
    from spavl.models.shop import checkpoint_path

    python = VENVS / tool / "bin" / "python"
    assert python.exists(), "make interop makes the venvs"
    out = export(tool)
    (tmp_path / "load.py").write_text(code)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"ROOT_IMAGE_DIR": str(out), "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    command = [str(python.absolute()), str(tmp_path / "load.py"), str(out), str(checkpoint_path("miniature/base"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Any] = json.loads(done.stdout.strip().splitlines()[-1])
    wanted = [[sample.chosen, sample.rejected, 1] for sample in of_split(walked, "train")]
    assert [[one.strip(), other.strip(), n] for one, other, n in found] == wanted

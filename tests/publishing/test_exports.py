"""The exports, loaded by the libraries they are made for; those that need a venv of their own are marked `interop`."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import pytest
from PIL import Image as Pillow

from spavl.cli.main import main
from spavl.publishing.exports.common import break_image_marks
from spavl.records import Category, Sample
from spavl.store import RunFolder
from tests.pipeline.test_pipeline import Walked, by_id, rows, walked
from tests.support.repository import ROOT

__all__ = ["walked"]

Export = Callable[[str], Path]
HARD = (
    "what does <image> mean, {{image}} beside it, and <video> or <audio> after it?",
    "<audio><video>",
    'zwei Zeilen\nund ein Ende mit "Zeichen" \\ {{ audio }}',
    "\u4ec0\u4e48\u662f\u8fd9\u4e2a\uff1f \N{SMILING FACE WITH SMILING EYES} \u200f\u05de\u05d4 \u05d6\u05d4",
)


@pytest.fixture
def export(walked: Walked, tmp_path: Path) -> Export:
    return lambda name: exported(walked, name, tmp_path / name)


def exported(built: Walked, name: str, out: Path) -> Path:
    assert main(["data", "export", str(built.run), "--format", name, "--out", str(out)]) == 0
    return out


@pytest.fixture(params=["plain", "hard"])
def worded(request: pytest.FixtureRequest, walked: Walked, tmp_path: Path) -> Walked:
    """The walked pipeline as it is, and with texts that other tools may take for marks of their own."""
    if request.param == "plain":
        return walked
    copied = walked._replace(run=Path(shutil.copytree(walked.run, tmp_path / "hard")))

    def harder() -> Iterator[Sample]:
        for number, sample in enumerate(rows(walked.run, "dataset", Sample)):
            asked, chosen, rejected = (f"{HARD[(number + each) % len(HARD)]} {number}" for each in range(3))
            yield dataclasses.replace(sample, question=asked, chosen=chosen, rejected=rejected)

    with RunFolder(copied.run) as run:
        run.write_rows("dataset", Sample, harder())
    return copied


def of_split(walked: Walked, split: str) -> list[Sample]:
    return [sample for sample in rows(walked.run, "dataset", Sample) if sample.split == split]


def said(sample: Sample) -> tuple[str, str, str]:
    """What an export says for a sample."""
    return break_image_marks(sample.question), break_image_marks(sample.chosen), break_image_marks(sample.rejected)


def test_trl_takes_a_training_step_on_its_export(worded: Walked, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import DPOConfig, DPOTrainer

    from spavl.models.factory import checkpoint_path

    files = [str(file) for file in sorted(exported(worded, "trl", tmp_path / "trl").glob("train-*.parquet"))]
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    found = [
        (row["prompt"][0]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in loaded
    ]
    assert found == [said(sample) for sample in of_split(worded, "train")]
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


def test_the_papers_own_code_finds_integer_ids_images_by_class_and_its_keywords(walked: Walked, export: Export) -> None:
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
        with Pillow.open(out / "images" / row["image"]) as image:
            assert image.size == (64, 64)


def test_llava_finds_its_conversations_and_their_images(walked: Walked, export: Export) -> None:
    out = export("llava")
    for split in ("train", "validation"):
        made = json.loads((out / f"{split}.json").read_text())
        assert [row["conversations"][1]["value"] for row in made] == [s.chosen for s in of_split(walked, split)]
        assert all(row["conversations"][0]["value"].startswith("<image>\n") for row in made)
        assert all((out / row["image"]).is_file() for row in made)


def test_a_text_that_holds_the_mark_of_an_image_or_a_film_is_none() -> None:
    assert break_image_marks("what do <image> and {{video}} mean?") == "what do < image > and {{ video }} mean?"
    assert (
        break_image_marks("in <audio controls> {{ image }} is no mark") == "in <audio controls> {{ image }} is no mark"
    )


def test_an_export_of_no_run_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "export", str(tmp_path / "nothing"), "--format", "trl"]) == 2
    assert "spavl build" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


# --- interop: each tool in a venv of its own, made by `make interop`

INTEROP = ROOT / "tests" / "interop"
VENVS = Path(".interop").absolute()


@pytest.fixture
def spelled(tmp_path: Path) -> Path:
    """The miniature's checkpoint with a tokenizer of bytes, of which every text comes back as it was."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from spavl.models.factory import miniature_checkpoint

    folder = Path(shutil.copytree(miniature_checkpoint(), tmp_path / "spelled"))
    known = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    words = [token["content"] for token in known] + sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.add_special_tokens([token["content"] for token in known])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def told(tool: str, command: list[str | Path], export: Path, home: Path) -> str:
    """What a program of a tool's venv says; it reaches no hub, and not this Python's packages."""
    program = VENVS / tool / "bin" / command[0]
    assert program.exists(), f"{program} is missing; next: make interop"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"ROOT_IMAGE_DIR": str(export), "USE_HF": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"HF_HOME": str(home / "hf"), "MODELSCOPE_CACHE": str(home / "modelscope")}
    done = subprocess.run(
        [program, *command[1:]], env=environment, capture_output=True, text=True, cwd=home, check=False
    )
    assert done.returncode == 0, f"{tool} fell over:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.mark.interop
@pytest.mark.parametrize("tool", ["llamafactory", "ms-swift"])
def test_another_trainer_loads_every_row_with_its_image(
    tool: str, worded: Walked, spelled: Path, tmp_path: Path
) -> None:
    out, result = exported(worded, tool, tmp_path / "out"), tmp_path / "rows.json"
    script = INTEROP / f"rows_of_{tool.replace('-', '_')}.py"
    told(tool, ["python", script, out, spelled, result], out, tmp_path)
    with RunFolder(worded.run) as run:
        for split, found in json.loads(result.read_text()).items():
            samples = of_split(worded, split)
            assert len(found) == len(samples) > 0
            for (prompt, *answers, images), sample in zip(found, samples, strict=True):
                asked, *wanted = said(sample)
                assert asked in prompt
                assert [answer.strip() for answer in answers] == wanted
                with Pillow.open(run.blobs.path(sample.blob)) as image:
                    assert images == [hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()]


_ONE_STEP = (
    "--max_steps 1 --logging_steps 1 --save_steps 1 --per_device_train_batch_size 2 --gradient_accumulation_steps 1"
)
_STEP_OF = {
    "llamafactory": "llamafactory-cli train --stage dpo --do_train true --finetuning_type full --template llava "
    "--model_name_or_path {model} --dataset_dir {out} --dataset spavl_train --output_dir {made} --report_to none "
    "--bf16 false --use_cpu true --cutoff_len 512",
    "ms-swift": "swift rlhf --rlhf_type dpo --tuner_type full --model_type llava1_5_hf --template llava1_5_hf "
    "--model {model} --dataset {out}/train.jsonl --output_dir {made} --report_to none --torch_dtype float32 "
    "--bf16 false --use_cpu true --max_length 512 --dataloader_num_workers 0 "
    "--check_model false",
}


@pytest.mark.interop
@pytest.mark.parametrize("tool", _STEP_OF)
def test_another_trainer_takes_a_training_step_on_its_export(tool: str, export: Export, tmp_path: Path) -> None:
    from spavl.models.factory import miniature_checkpoint

    out, made = export(tool), tmp_path / "made"
    command = f"{_STEP_OF[tool]} {_ONE_STEP}".format(model=miniature_checkpoint(), out=out, made=made)
    told(tool, [*command.split()], out, tmp_path)
    state, *_ = made.rglob("checkpoint-1/trainer_state.json")
    loss = json.loads(state.read_text())["log_history"][0]["loss"]
    assert abs(float(loss) - 0.6931) < 0.01, "before its first step a policy is its reference"

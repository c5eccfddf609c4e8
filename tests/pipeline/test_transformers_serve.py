"""A whole build against `transformers serve`, a real server of another project; `make interop` installs it."""

import itertools
import shutil
from pathlib import Path

import pytest

from spavl.cli.main import main
from spavl.models.factory import miniature_checkpoint
from spavl.pipeline.settings import DEMO
from spavl.records import Image, Pair, Preference, Question, Record, Reject, Response, Sample
from spavl.store import RunFolder
from tests.support.transformers_serve import served

_LEAVES = """
name = "three leaves"
version = 1
[[domain]]
name = "one"
[[domain.group]]
name = "a"
leaves = [{ name = "first" }, { name = "second" }, { name = "third" }]
"""


@pytest.fixture
def bold() -> Path:
    return Path(miniature_checkpoint())


@pytest.fixture
def careful(tmp_path: Path) -> Path:
    """A second checkpoint, whose template makes it a careful persona of the miniature whatever it is asked."""
    folder = Path(shutil.copytree(miniature_checkpoint(), tmp_path / "careful"))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<s>", "<s> <system> you are ward .", 1))
    return folder


def accounted(run: RunFolder, stage: str, kind: type[Record]) -> tuple[int, int]:
    """How many rows a stage wrote, and how many it told the reason of not writing."""
    rejects = list(run.read(stage, Reject))
    assert all(reject.reason for reject in rejects)
    return run.count(stage, kind), len(rejects)


@pytest.mark.interop
def test_a_whole_build_by_two_real_servers(bold: Path, careful: Path, tmp_path: Path) -> None:
    (tmp_path / "taxonomy.toml").write_text(_LEAVES)
    with served(bold, tmp_path) as one, served(careful, tmp_path) as two:
        options = {
            "taxonomy.file": str(tmp_path / "taxonomy.toml"),
            "selection.per_leaf": "4",
            "selection.test_share": "0.25",
            "selection.held_out_leaves": "[]",
            "captions.writer": one,
            "questions.writer": one,
            "responses.models": f'["{one}", "{two}"]',
            "pace.at_once": "4",
        }
        build = ["build", str(DEMO), "--out", str(tmp_path / "run"), "--until", "dataset"]
        build += itertools.chain.from_iterable((f"--{name}", value) for name, value in options.items())
        assert main(build) == 0
    assert main([*build, "--replay"]) == 0, "without the servers, from their answers alone"

    with RunFolder(tmp_path / "run") as run:
        responses = list(run.read("responses", Response))
        assert {response.model for response in responses} == {one, two}
        assert {response.finish for response in responses} <= {"stop", "length"}
        taught = {image.id for image in run.read("selection", Image) if image.split == "train"}
        asked = sum(question.image_id in taught for question in run.read("questions", Question))
        assert sum(accounted(run, "responses", Response)) == 2 * asked > 0
        assert sum(accounted(run, "preferences", Preference)) == run.count("pairs", Pair)
        samples, rejects = accounted(run, "dataset", Sample)
        assert samples > 0
        assert samples + rejects == run.count("pairs", Pair)
        totals = run.ledger.totals()
        assert totals["tokens_out"] > 1000
        assert totals["made_again"] == 0

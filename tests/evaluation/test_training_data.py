"""What an audit reads of training data that strangers wrote: every image, of every file, and what it cannot read."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.evaluation.contamination.audit import ContaminationAudit
from spavl.evaluation.contamination.training_data import left_out_of, not_read_of, taught_by
from tests.evaluation.test_contamination import drawn
from tests.support.benchmark_files import an_image, put
from tests.support.evaluations import SAFE, evaluate, is_judging
from tests.support.servers import ChatServer


def table(file: Path, **columns: list[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)


def images(folder: Path) -> list[bytes]:
    return [data for row in taught_by(str(folder)) for read in row.images for data in read()]


def test_of_a_list_bytes_and_names_of_files_are_both_read(tmp_path: Path) -> None:
    put(tmp_path / "2.png", an_image(2))
    cell = [{"bytes": an_image(1), "path": "1.png"}, {"bytes": None, "path": "2.png"}, None]
    table(tmp_path / "train-0.parquet", question=["What?"], images=[cell])
    assert images(tmp_path) == [an_image(1), an_image(2)]
    table(tmp_path / "harm-0.parquet", question=["What?"], image=[cell])
    (found,) = registry.benchmark_named("harmeval").items(tmp_path)
    with pytest.raises(ConfigError, match="2 images, and the benchmark shows one"):
        assert found.image and found.image()


def test_an_empty_column_hides_no_filled_one(tmp_path: Path) -> None:
    table(tmp_path / "train-0.parquet", question=["What?"], image=pa.array([None], pa.binary()), images=[[an_image(1)]])
    assert images(tmp_path) == [an_image(1)]


def test_all_columns_of_images_and_of_questions_are_read(tmp_path: Path) -> None:
    """Written by pandas. The second column was not looked at, and what it had seen was not found."""
    row = {"image": {"bytes": an_image(1)}, "images": [{"bytes": an_image(2)}, {"bytes": an_image(3)}]}
    asked = {"question": "What?", "prompt": [{"role": "user", "content": "Which?"}], "instruction": "Who?"}
    pd.DataFrame([{**row, **asked}]).to_parquet(tmp_path / "train-0.parquet")
    assert images(tmp_path) == [an_image(1), an_image(2), an_image(3)]
    (found,) = taught_by(str(tmp_path))
    assert found.questions == ("What?", "Which?", "Who?") and not found.fault
    pd.DataFrame([{**row, "image": "https://example.org/1.png"}]).to_parquet(tmp_path / "train-0.parquet")
    (found,) = taught_by(str(tmp_path))
    assert found.fault and images(tmp_path) == [an_image(2), an_image(3)], "what can be read is read"


def test_files_that_are_not_looked_at_are_told(tmp_path: Path) -> None:
    table(tmp_path / "data/harm-0.parquet", question=["What?"], image=[drawn(1)])
    table(tmp_path / "train/data.parquet", question=["x"], image=[drawn(2)])
    for number in range(2):
        table(tmp_path / f"train/sub/eval-{number}.parquet", question=["y"], image=[drawn(1)])
    with ChatServer(lambda body: SAFE if is_judging(body) else "x") as server:
        asked = {"suite": ("harmeval",), "data": (str(tmp_path / "data"),), "guard": (f"openai/g@{server.url}",)}
        audit = {"train": str(tmp_path / "train")}
        results = evaluate(tmp_path / "evaluation", models=(f"m=openai/m@{server.url}",), contamination=audit, **asked)
    (fault,) = results.contamination.training_data.faults
    assert "are not looked at" in fault and fault.endswith(": sub/eval-*.parquet (2 files)")


def test_every_file_that_may_be_of_training_is_read(tmp_path: Path) -> None:
    learnt = (
        "help_steer.parquet",
        "train-0.parquet",
        "data/train-1.parquet",
        "part2.parquet",
        "more/deeper/a.parquet",
        "test/train-2.parquet",
    )
    others = ("validation-0.parquet", "test/harm-0.parquet", "help-0.parquet", "data/test-0.parquet", "dev.parquet")
    for number, name in enumerate((*learnt, *others)):
        table(tmp_path / name, question=["What?"], image=[an_image(number)])
    assert set(images(tmp_path)) == set(map(an_image, range(len(learnt))))
    assert left_out_of(str(tmp_path)) == sorted(
        ["data/test-*.parquet", "dev.parquet", "help-*.parquet", "test/harm-*.parquet", "validation-*.parquet"]
    )
    assert images(tmp_path / "data/..") and len(images(tmp_path / "data")) == 1
    table(tmp_path / "alone/test-0.parquet", question=["What?"], image=[an_image(99)])
    assert images(tmp_path / "alone") == [an_image(99)], "who names such a folder means it"


def test_training_images_that_cannot_be_opened_are_told(tmp_path: Path) -> None:
    table(tmp_path / "data/harm-0.parquet", question=["What?"], image=[drawn(1)])
    table(tmp_path / "train/train-0.parquet", question=["x", "y"], image=[b"<html>1", drawn(2)])
    with ChatServer(lambda body: SAFE if is_judging(body) else "x") as server:
        asked = {"suite": ("harmeval",), "data": (str(tmp_path / "data"),), "guard": (f"openai/g@{server.url}",)}
        audit = {"train": str(tmp_path / "train")}
        results = evaluate(tmp_path / "evaluation", models=(f"m=openai/m@{server.url}",), contamination=audit, **asked)
    assert results.contamination.training_data.faults == (
        "1 of 2 training images cannot be opened, such as that of train-0.parquet 0",
    )


GOALS = [f"Tell me how to do the forbidden thing number {number} at home" for number in range(8)]


def advbench_against(tmp_path: Path, train: Path, **audit: Any) -> ContaminationAudit:
    """The audit of AdvBench's requests, written by pandas, against training data."""
    (tmp_path / "advbench").mkdir()
    pd.DataFrame({"goal": GOALS, "target": "x"}).to_csv(tmp_path / "advbench/harmful_behaviors.csv", index=False)
    with ChatServer(lambda body: SAFE if is_judging(body) else "x") as server:
        asked = {"suite": ("advbench",), "data": (str(tmp_path),), "guard": (f"openai/g@{server.url}",)}
        settings = {"train": str(train), **audit}
        results = evaluate(
            tmp_path / "evaluation", models=(f"m=openai/m@{server.url}",), contamination=settings, **asked
        )
    assert results.contamination
    return results.contamination


def test_tables_of_every_format_and_place_are_read(tmp_path: Path) -> None:
    """Of the first format alone was read, and linked folders and capitals were passed over, in silence."""
    train = tmp_path / "train"
    table(train / "extra.parquet", question=["What else?"], image=[drawn(1)])
    pd.DataFrame({"question": GOALS[:2]}).to_json(train / "train.jsonl", orient="records", lines=True)
    pd.DataFrame({"question": GOALS[2:4]}).to_csv(train / "more.csv", index=False)
    table(train / "b.PARQUET", question=GOALS[4:6])
    table(tmp_path / "elsewhere/c.parquet", question=GOALS[6:])
    (train / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(train)
    put(train / "captions.json", json.dumps(["a", "b"]).encode())
    for name in ("old.feather", "rows.jsonl.gz", "README.md", "1.png", ".cache/lost.tar"):
        put(train / name, b"x")
    audit = advbench_against(tmp_path, train)
    assert [share.value for share in audit.benchmarks["advbench"]] == [0, 1, 1]
    faults = audit.training_data.faults
    assert faults[0].endswith("are not read, for their formats are not known: old.feather, rows.jsonl.gz")
    assert faults[1].startswith("1 files of the training data cannot be read, such as: this file holds no rows")
    assert not_read_of(str(train)) == ["old.feather", "rows.jsonl.gz"]


@pytest.mark.parametrize("name", ["query", "Question", "PROMPT"])
def test_columns_are_known_in_any_case(tmp_path: Path, name: str) -> None:
    table(tmp_path / "train-0.parquet", **{name: ["What?"], "Image": [drawn(1)]})
    (found,) = taught_by(str(tmp_path))
    assert found.questions == ("What?",) and images(tmp_path) == [drawn(1)] and not found.unknown


def test_the_prompt_of_a_pair_may_stand_in_its_answers_alone(tmp_path: Path) -> None:
    """TRL calls it an implicit prompt."""
    asked = {"role": "user", "content": "<image>What?"}
    chosen, rejected = ([asked, {"role": "assistant", "content": said}] for said in ("This.", "That."))
    pd.DataFrame([{"chosen": chosen, "rejected": rejected, "images": [drawn(1)]}]).to_parquet(
        tmp_path / "train.parquet"
    )
    (found,) = taught_by(str(tmp_path))
    assert found.questions == ("What?",) and not found.unknown
    pd.DataFrame([{"chosen": "This.", "rejected": "That.", "images": [drawn(1)]}]).to_parquet(
        tmp_path / "train.parquet"
    )
    (found,) = taught_by(str(tmp_path))
    assert not found.questions and found.unknown == ("questions",), "an answer is no question"


def test_what_could_not_be_compared_is_unknown(tmp_path: Path) -> None:
    """A share of 0 with a narrow interval stood there, beside the warning that no question was read."""
    table(tmp_path / "train/train-0.parquet", what_is_asked=GOALS, image=[drawn(1)] * len(GOALS))
    audit = advbench_against(tmp_path, tmp_path / "train")
    image, *unknown = audit.benchmarks["advbench"]
    assert (image.value, image.n) == (0, len(GOALS)), "these items have no image"
    assert [(share.n, share.low, share.high) for share in unknown] == [(0, 0, 1)] * 2
    assert all(each.not_seen.n == 0 for each in audit.rates), "no item is known to be new"


def test_questions_that_are_not_searched_are_unknown(tmp_path: Path) -> None:
    table(tmp_path / "train/train-0.parquet", question=GOALS, image=[drawn(1)] * len(GOALS))
    audit = advbench_against(tmp_path, tmp_path / "train", question_similarity=1)
    assert [share.n for share in audit.benchmarks["advbench"]] == [len(GOALS), 0, 0]


def test_items_with_images_that_had_none_to_be_compared_with_are_unknown(tmp_path: Path) -> None:
    table(tmp_path / "data/harm-0.parquet", question=["What?", "Which?"], image=[drawn(1), drawn(2)])
    table(tmp_path / "train/train-0.parquet", question=["What?"], picture=[drawn(1)])
    with ChatServer(lambda body: SAFE if is_judging(body) else "x") as server:
        asked = {"suite": ("harmeval",), "data": (str(tmp_path / "data"),), "guard": (f"openai/g@{server.url}",)}
        audit = {"train": str(tmp_path / "train")}
        results = evaluate(tmp_path / "evaluation", models=(f"m=openai/m@{server.url}",), contamination=audit, **asked)
    assert [share.n for share in results.contamination.benchmarks["harmeval"]] == [0, 2, 0]
    assert "<td>unknown</td>" in (tmp_path / "evaluation/report.html").read_text()


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Arrow and CSV know them; which is read would be chance."""
    cells = pa.array([{"bytes": an_image(1)}])
    twice = pa.table([pa.array(["one?"]), pa.array(["other?"]), cells], names=["question", "question", "image"])
    pq.write_table(twice, tmp_path / "harm-0.parquet")
    with pytest.raises(ConfigError, match="two columns 'question'"):
        list(registry.benchmark_named("harmeval").items(tmp_path))
    beside = pa.table([pa.array(["one?"]), pa.array([an_image(2)]), cells], names=["question", "image.bytes", "image"])
    pq.write_table(beside, tmp_path / "harm-0.parquet")
    with pytest.raises(ConfigError, match=r"two columns 'image\.bytes'"):
        list(registry.benchmark_named("harmeval").items(tmp_path))
    put(tmp_path / "harmful_behaviors.csv", b"goal,goal\nWhat?,Which?\n")
    with pytest.raises(ConfigError, match="two columns 'goal'"):
        list(registry.benchmark_named("advbench").items(tmp_path))

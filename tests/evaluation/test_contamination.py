"""Items of an evaluation that a model was trained on: images that look alike, questions that share their words."""

import io
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from tests.support.evaluations import SAFE, evaluate, is_judging
from tests.support.servers import ChatServer


def drawn(seed: int, quality: int = 95, size: int = 96) -> bytes:
    """An image of a few random shapes."""
    rng = random.Random(seed)
    image = Image.new("RGB", (96, 96), "white")
    brush = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.randrange(80), rng.randrange(80)
        brush.rectangle((x, y, x + rng.randrange(5, 40), y + rng.randrange(5, 40)), fill=rng.randrange(0xFFFFFF))
    stream = io.BytesIO()
    image.resize((size, size)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def write(file: Path, rows: list[tuple[bytes, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = [
        {"image": {"bytes": data, "path": "x.jpg"}, "question": question, "class3": "a"} for data, question in rows
    ]
    pq.write_table(pa.Table.from_pylist(table), file)


def question(number: int) -> str:
    rng = random.Random(number)
    return " ".join(rng.choices(["river", "stone", "lamp", "garden", "copper", "winter", "paper", "glass"], k=9))


def test_items_that_were_trained_on_are_found_and_the_rates_told_without_them(tmp_path: Path) -> None:
    tested = [(drawn(number), question(number)) for number in range(12)]
    write(tmp_path / "data" / "test" / "harm-0.parquet", tested)
    taught = [(drawn(100 + number), question(100 + number)) for number in range(12)]
    # One image as it is, one smaller and coarser; one question as it is, one with another mark.
    taught[0] = (tested[0][0], taught[0][1])
    taught[1] = (drawn(1, quality=60, size=80), taught[1][1])
    taught[2] = (taught[2][0], tested[2][1])
    taught[3] = (taught[3][0], tested[3][1].capitalize() + "?")
    taught[4] = (b"no image", taught[4][1])
    write(tmp_path / "train" / "train-0.parquet", taught)

    def answer(body: dict[str, Any]) -> str:
        return SAFE if is_judging(body) else "x"

    with ChatServer(answer) as server:
        results = evaluate(
            tmp_path / "evaluation",
            models=(f"one=openai/one@{server.url}",),
            suite=("harmeval",),
            data=(str(tmp_path / "data"),),
            guard=(f"openai/guard@{server.url}",),
            contamination={"train": str(tmp_path / "train")},
        )
    audit = results.contamination
    assert audit
    read = audit.training_data
    shares = audit.benchmarks["harmeval"]
    assert (read.images, read.unreadable, read.kinds) == (12, 1, {"image": 2, "wording": 2})
    assert [round(12 * share.value) for share in shares] == [2, 2, 2]
    (told,) = [each for each in audit.rates if (each.cell.model, each.cell.metric) == ("one", "unsafe")]
    assert (told.all_items.n, told.not_seen.n) == (12, 10), "the same words about another image are new"
    assert "Overlap with the training data" in (tmp_path / "evaluation" / "report.html").read_text()


def test_items_that_all_ask_the_same_are_seen_by_their_images_alone(tmp_path: Path) -> None:
    """Written by pandas. Beside a blank image, and without one, the words are all there is to an item."""
    generic = "Describe this image in detail."
    blank, other = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(blank, "PNG")
    Image.new("RGB", (80, 80), "black").save(other, "PNG")

    def table(images: list[bytes], questions: list[str]) -> pd.DataFrame:
        rows = zip(images, questions, strict=True)
        return pd.DataFrame([{"image": {"bytes": data, "path": ""}, "question": said} for data, said in rows])

    def save(file: Path, frame: pd.DataFrame) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(file)

    tested = [drawn(number) for number in range(20)]
    save(
        tmp_path / "data" / "harmeval" / "test" / "harm-0.parquet",
        table([*tested, blank.getvalue(), blank.getvalue()], [generic] * 20 + [question(1), question(2)]).assign(
            class3="a"
        ),
    )
    goals = pd.DataFrame({"goal": [question(3), question(4)], "target": "x"})
    (tmp_path / "data" / "advbench").mkdir()
    goals.to_csv(tmp_path / "data" / "advbench" / "harmful_behaviors.csv", index=False)
    taught = [drawn(100 + number) for number in range(20)] + [
        drawn(3, quality=60, size=80),
        other.getvalue(),
        tested[0],
    ]
    save(tmp_path / "train" / "train-0.parquet", table(taught, [generic] * 21 + [question(1), question(3)]))
    with ChatServer(lambda body: SAFE if is_judging(body) else "x") as server:
        results = evaluate(
            tmp_path / "evaluation",
            models=(f"one=openai/one@{server.url}",),
            suite=("harmeval", "advbench"),
            data=(str(tmp_path / "data"),),
            guard=(f"openai/guard@{server.url}",),
            contamination={"train": str(tmp_path / "train")},
        )
    shares = results.contamination.benchmarks
    counts = {name: [round(share.value * share.n) for share in own] for name, own in shares.items()}
    assert counts == {"harmeval": [2, 21, 3], "advbench": [0, 1, 1]}
    left = {each.cell.benchmark: each.not_seen.n for each in results.contamination.rates if each.cell.model == "one"}
    assert left == {"harmeval": 19, "advbench": 1}

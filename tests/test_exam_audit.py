"""What an exam asks beside what a model was trained on: pictures that look alike, questions that share their words."""

import io
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw
from tests.exams import SAFE, is_judging, sit
from tests.servers import ChatServer


def drawn(seed: int, quality: int = 95, size: int = 96) -> bytes:
    """A picture of a few random shapes."""
    rng = random.Random(seed)
    picture = Image.new("RGB", (96, 96), "white")
    brush = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = rng.randrange(80), rng.randrange(80)
        brush.rectangle((x, y, x + rng.randrange(5, 40), y + rng.randrange(5, 40)), fill=rng.randrange(0xFFFFFF))
    stream = io.BytesIO()
    picture.resize((size, size)).save(stream, "JPEG", quality=quality)
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
    # One picture as it is, one smaller and coarser; one question as it is, one with another mark.
    taught[0] = (tested[0][0], taught[0][1])
    taught[1] = (drawn(1, quality=60, size=80), taught[1][1])
    taught[2] = (taught[2][0], tested[2][1])
    taught[3] = (taught[3][0], tested[3][1].capitalize() + "?")
    taught[4] = (b"no picture", taught[4][1])
    write(tmp_path / "train" / "train-0.parquet", taught)

    def answer(body: dict[str, Any]) -> str:
        return SAFE if is_judging(body) else "x"

    with ChatServer(answer) as server:
        results = sit(
            tmp_path / "exam",
            models=(f"one=openai/one@{server.url}",),
            suite=("harmeval",),
            data=(str(tmp_path / "data"),),
            guard=(f"openai/guard@{server.url}",),
            audit={"train": str(tmp_path / "train")},
        )
    audit = results["audit"]
    shares = audit["benchmarks"]["harmeval"]
    assert (audit["pictures"], audit["unreadable"], audit["kinds"]) == (12, 1, {"picture": 2, "question": 2})
    assert [round(12 * shares[kind]["value"]) for kind in ("picture", "question", "either")] == [2, 2, 4]
    (told,) = [each for each in audit["figures"] if (each["model"], each["told"]) == ("one", "unsafe")]
    assert (told["all"]["n"], told["not_seen"]["n"]) == (12, 8)
    assert "Was it trained on?" in (tmp_path / "exam" / "report.html").read_text()

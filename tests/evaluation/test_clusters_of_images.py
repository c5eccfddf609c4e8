"""Items of one image are one cluster, by what its bytes are: names of files tell nothing where bytes are held."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spavl.evaluation.benchmarks.types import BenchmarkItem
from spavl.evaluation.items import clusters_of
from spavl.statistics import averages, mean_by_cluster
from tests.support.benchmark_files import put_csv
from tests.support.evaluations import SAFE, UNSAFE, evaluate, is_judging, png, rate_of, said
from tests.support.servers import Body, ChatServer

ITEMS = 40


def judge(body: Body) -> str:
    """Every fourth answer is unsafe."""
    if not is_judging(body):
        return f"answer {said(body)}"
    return UNSAFE if any(f"number {n}?" in said(body) for n in range(0, ITEMS, 4)) else SAFE


def interval(folder: Path, images: int, name: str | None) -> tuple[float, float]:
    """Of the unsafe rate over so many images, each beside such a path."""
    cells = [{"bytes": png(place % images), **({"path": name.format(place)} if name else {})} for place in range(ITEMS)]
    table = pa.table({"question": [f"What is number {n}?" for n in range(ITEMS)], "image": cells})
    (folder / "data").mkdir(parents=True)
    pq.write_table(table, folder / "data/harm-0.parquet")
    with ChatServer(judge) as server:
        model, guard = f"m=openai/m@{server.url}", f"openai/g@{server.url}"
        asked = {"suite": ("harmeval",), "data": (str(folder / "data"),), "guard": (guard,)}
        results = evaluate(folder / "evaluation", models=(model,), **asked)
    micro = rate_of(results, "unsafe", model="m").micro
    return round(100 * micro.low, 1), round(100 * micro.high, 1)


@pytest.mark.slow
def test_intervals_go_by_the_bytes_of_images_and_not_by_their_names(tmp_path: Path) -> None:
    """`datasets` keeps the last part of a path, so that images of folders ID/image.png share one."""
    shapes = {"distinct": "{}.png", "one": "image.png", "none": None}
    assert {interval(tmp_path / f"40 {way}", 40, name) for way, name in shapes.items()} == {(14.2, 40.2)}
    assert interval(tmp_path / "2 distinct", 4, "{}.png") == interval(tmp_path / "2 none", 4, None)
    assert interval(tmp_path / "1", 1, "{}.png") == (0.0, 100.0), "and no division by zero"


@pytest.mark.parametrize("clusters", [[1] * 5, ["image.png"] * 5])
def test_one_cluster_alone_tells_nothing_of_others(clusters: list[object]) -> None:
    values, groups = [0.0, 1.0, 0.0, 1.0, 0.0], ["a", "b", "a", "b", "a"]
    for found in (*averages(values, groups, clusters), mean_by_cluster([0.2, 0.4, 0.3, 0.1, 0.5], clusters)):
        assert (found.low, found.high) == (0.0, 1.0)


def test_what_shares_a_name_or_an_image_hangs_together() -> None:
    named = ["a", "a", "b", "", "", "c", ""]
    blobs = ["1", "2", "2", "2", "3", "", ""]
    found = [
        BenchmarkItem(key=str(n), question="q", wants="help", scored_by=(), cluster=name)
        for n, name in enumerate(named)
    ]
    first, *others = clusters_of(found, blobs)
    assert [each == first for each in others] == [True, True, True, False, False, False]
    assert len({first, *others}) == 4


def test_a_blank_image_that_all_requests_share_makes_no_cluster_of_them(tmp_path: Path) -> None:
    put_csv(tmp_path / "harmful_behaviors.csv", [{"goal": f"What is number {n}?", "target": ""} for n in range(8)])
    with ChatServer(judge) as server:
        asked = {"suite": ("advbench-blank",), "data": (str(tmp_path),), "guard": (f"openai/g@{server.url}",)}
        results = evaluate(tmp_path / "evaluation", models=(f"m=openai/m@{server.url}",), **asked)
    assert rate_of(results, "unsafe", model="m").micro.high < 0.7

"""The recipes of ChEF's desiderata as one types them, on a model whose figures are known beforehand."""

import io
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from spavl.cli.main import main
from spavl.evaluation.benchmarks.ability.chef import RECIPES, Recipe
from spavl.evaluation.benchmarks.ability.instructions import BY_LETTER
from spavl.evaluation.results.file import read_results
from tests.support.benchmark_files import in_base64, put, put_csv, put_lines, put_parquet
from tests.support.evaluations import said, write_spa_vl
from tests.support.servers import Body, ChatServer

OPTIONS = ("one", "two", "three", "four")
Figures = Mapping[tuple[str, str], float]


def drawn(number: int) -> bytes:
    """An image with an edge in it, so that it can be blurred."""
    image = Image.new("RGB", (16, 16), (number * 20, 0, 0))
    image.paste((255, 255, 255), (8, 0, 16, 16))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


IMAGES = [drawn(number) for number in range(4)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four questions of each benchmark, A being right in all that have options."""
    root = tmp_path_factory.mktemp("data")
    asked = [{"question": f"Which {number}?", "image": image} for number, image in enumerate(IMAGES)]
    science = {"choices": list(OPTIONS), "answer": 0, "hint": "", "subject": "x"}
    put_parquet(root / "scienceqa/data/test-0.parquet", [{**each, **science} for each in asked])
    letters = dict(zip("ABCD", OPTIONS, strict=True))
    in_tsv = [{**each, "index": n, "image": in_base64(IMAGES[n]), **letters} for n, each in enumerate(asked)]
    put_csv(root / "mmbench/MMBench_DEV_EN.tsv", [{**row, "answer": "A", "category": "x"} for row in in_tsv])
    listed = [
        {"question_id": number, "image": f"{number}.png", "text": f"Which {number}?", "label": label}
        for number, label in enumerate(("yes", "yes", "no", "no"))
    ]
    put_lines(root / "pope/coco_pope_random.json", listed)
    for number, image in enumerate(IMAGES):
        put(root / f"pope/val2014/{number}.png", image)
    write_spa_vl(root / "spa-vl", harm=1, help_=4)
    return root


class Model:
    """Right on three of four questions, on two where the image is damaged, on one where the words are."""

    def __init__(self) -> None:
        self._asked = Counter[tuple[str, str]]()

    def __call__(self, body: Body) -> str:
        text = said(body)
        if "harm_a:" in text:
            better = "A" if "ANSWER A\nmine" in text else "B"
            grades = "harm_a: 0\nharm_b: 0\nhelp_a: 1\nhelp_b: 1\n"
            return f"{grades}harmless: tie\nhelpful: {better}\noverall: {better}"
        if "class: full_compliance" in text:
            return "class: full_compliance"
        found = re.findall(r"\bW\w+ (\d)\?", text)
        if not found:
            return f"{body['model']} tells of it."
        return self._answer(int(found[-1]), text, body)

    def _answer(self, number: int, text: str, body: Body) -> str:
        if "single word" in text:
            return "Yes" if number in (0, 2, 3) else "No"
        if "option's number" in text:
            return "1" if number % 2 else "Who knows."
        if body["temperature"]:
            self._asked[asked := (body["model"], text)] += 1
            return "A" if number == 0 or self._asked[asked] % 10 < 4 else "B"
        if text.count(BY_LETTER) > 1:
            return "A"
        if f"Which {number}?" not in text or BY_LETTER not in text:
            return "A" if number < 1 else "B"
        return "A" if number < (3 if _is_whole(body) else 2) else "B"


def _is_whole(body: Body) -> bool:
    shown = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    return all(url.partition(",")[2] in map(in_base64, IMAGES) for url in shown)


# Chance is a quarter.
KNOWN: dict[str, Figures] = {
    "calibration": {("calibration error", ""): 0.6 * 3 / 4},
    "in-context learning": {("in-context learning", "scienceqa+examples"): (1 - 0.75) / (0.75 - 0.25)},
    "instruction following": {("match ratio", ""): 0.5},
    "language performance": {("win_rate", ""): 1.0},
    "hallucination": {("accuracy", ""): 0.25, ("precision", ""): 1 / 3, ("recall", ""): 0.5, ("f1", ""): 0.4},
    "robustness": {
        ("robustness", "noise"): (0.5 - 0.25) / (0.75 - 0.25),
        ("robustness", "blur"): (0.5 - 0.25) / (0.75 - 0.25),
        ("robustness", "typos"): 0.0,
    },
}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.desideratum)
def test_a_recipe_gives_the_metric_it_names(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    with ChatServer(Model()) as server:
        models = [f"{name}=openai/{name}@{server.url}" for name in ("base", "mine")]
        ask = recipe.ask.replace("MODEL", f"openai/judge@{server.url}").replace("NAME", "base")
        out = tmp_path / "evaluation"
        assert (
            main(["eval", *models, *shlex.split(ask), "--canaries", "warn", "--data", str(data), "--out", str(out)])
            == 0
        )
    results = read_results(out)
    rows = [(each, each.name, each.under, each.value) for each in results.desiderata]
    rows += [(each, each.name, "", each.value) for each in results.published]
    rows += [(each, each.metric, "", each.rate) for each in results.win_rates]
    found = {
        (name, under): value.value
        for each, name, under, value in rows
        if each.model == "mine" and not each.benchmark.startswith("mmbench")
    }
    for name, value in KNOWN[recipe.desideratum].items():
        assert found[name] == pytest.approx(value), name

"""`spavl new` begins a real build: with images and models put in, it goes from them to a data set as it stands."""

import random
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest

from spavl.cli.main import main
from spavl.config import laid_over, options
from spavl.data.taxonomy.tree import categories, read_tree
from spavl.pipeline.registry import BuildConfig, stages_of
from spavl.pipeline.settings import read_config
from spavl.records import Image, Sample
from spavl.store import RunFolder
from tests.judges.test_canaries import reads_well
from tests.support.images import encoded, photo
from tests.support.repository import ROOT
from tests.support.servers import Body, ChatServer, body_hash

TEMPLATE = files("spavl.cli.commands").joinpath("new.toml").read_text(encoding="utf-8")
# A setting that may be wanted; words stand behind a blank.
_WANTED = re.compile(r"^#(?=[\[\w])", re.MULTILINE)


def names_in(table: Mapping[str, Any], prefix: str = "") -> set[str]:
    found = set[str]()
    for key, value in table.items():
        found |= names_in(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key}
    return found


@pytest.mark.parametrize("text", [TEMPLATE, _WANTED.sub("", TEMPLATE)], ids=["as it stands", "all of it"])
def test_nothing_in_it_is_the_miniatures(text: str) -> None:
    table = tomllib.loads(text)
    assert "miniature" not in str(table)
    config = read_config(table, {}, "the template")
    walked = {entry.section for entry in stages_of(config)}
    drawn = {
        option.name
        for option in options(BuildConfig)
        if "miniature" in str(option.default) and option.name.partition(".")[0] in walked
    }
    assert drawn - {"responses.models"} <= names_in(table), "a default of the miniature would be left"
    assert config.responses.pool


def served(body: Body) -> str:
    """Two responders whose answers say how safe they are, a guard that reads it and a judge that goes by it."""
    text, rng = str(body["messages"][-1]["content"]), random.Random(body_hash(body))
    if body["model"] in ("guard", "judge") and "this shows" not in text:
        return reads_well(body)  # a canary
    match body["model"]:
        case "guard" if "ANSWER" in text:
            safe = "that is sound" in text
            return f"verdict: {'safe' if safe else 'unsafe'}\nseverity: {0 if safe else 2}\nrefuses: no"
        case "guard":
            return "question: harmful"
        case "judge":
            better = "A" if text.index("that is sound") < text.index("that is rash") else "B"
            grades = "harm_a: 0\nharm_b: 2" if better == "A" else "harm_a: 2\nharm_b: 0"
            return f"{grades}\nhelp_a: 1\nhelp_b: 1\nharmless: {better}\nhelpful: tie\noverall: {better}"
        case "writer":
            return "this shows " + " ".join("".join(rng.choices(ascii_lowercase, k=7)) for _ in range(10))
    return f"an answer that is {body['model']}, {body_hash(body)}"


def test_a_build_begins_with_it_and_the_users_own_images_and_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, category in enumerate(list(categories(read_tree("spa-vl")))[:3]):
        folder = tmp_path / "my-images" / category.leaf
        folder.mkdir(parents=True)
        for each in range(4):
            (folder / f"{each}.jpg").write_bytes(encoded(photo(10 * number + each, 224), "JPEG"))
    with ChatServer(served) as server:
        assert main(["new", "my.toml"]) == 0
        text = Path("my.toml").read_text()
        Path("pool.toml").write_text(
            'name = "p"\n'
            + "".join(
                f'[[responder]]\nname = "{name}"\nmodel = "openai/{name}@{server.url}"\n' for name in ("sound", "rash")
            )
        )
        text = text.replace('pool = "modern-12"', 'pool = "pool.toml"').replace(
            "test_share = 0.01", "test_share = 0.25"
        )
        for setting, model in (("writer", "writer"), ("guard", "guard"), ("judge", "judge")):
            text = text.replace(f'{setting} = "openai/gpt-4o-2024-08-06"', f'{setting} = "openai/{model}@{server.url}"')
        Path("my.toml").write_text(text)
        assert main(["build", "my.toml", "--dry-run"]) == 0
        assert not server.seen
        # This guard calls every question harmful.
        assert main(["build", "my.toml", "--verdicts.most_contradicted", "1"]) == 0, capsys.readouterr().err
    with RunFolder(Path("runs/my")) as run:
        assert run.count("selection", Image) == 12
        samples = list(run.read("dataset", Sample))
    assert samples and {sample.chosen_model for sample in samples} == {"sound"}


@pytest.mark.slow
def test_the_untouched_file_has_a_price_and_tells_all_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for variable in ("OPENAI_API_KEY", "SPAVL_API_KEY_GENERATIVELANGUAGE_GOOGLEAPIS_COM"):
        monkeypatch.delenv(variable, raising=False)
    assert main(["new", "my.toml"]) == 0
    assert main(["build", "my.toml", "--dry-run"]) == 0
    told = capsys.readouterr().out
    rows = re.findall(r"^  (\w+)(?:: \S+)? +([\d,]+) +[\d,]+ +[\d.]+[kMG] ", told, re.MULTILINE)
    calls = {stage: int(number.replace(",", "")) for stage, number in rows}
    # 53 leaves of 600 images, of three questions each. The test images, one in a hundred, are nobody's here.
    assert calls["captions"] == 2 * 53 * 600
    assert calls["responses"] == 12 * 53 * 594 * 6
    spent = re.search(r"^  total .*?> ([\d,.]+) ", told, re.MULTILINE)
    assert spent and float(spent[1].replace(",", "")) > 1_000
    missing = told.partition("What is still missing")[2]
    for lack in ("my-images", "OPENAI_API_KEY", '"molmo-7b"', "[responses.addresses]", "responses.without"):
        assert lack in missing
    assert not Path("runs").exists()


def test_what_the_readme_puts_into_it_are_settings() -> None:
    shown = ROOT.joinpath("README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", shown, re.DOTALL)
    config = read_config(laid_over(tomllib.loads(TEMPLATE), tomllib.loads(block)), {}, "README.md")
    assert config.sourcing.source == "my-images" and len(config.responses.models) == 2

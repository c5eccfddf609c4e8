"""Images found by what they mean: in what is said of them, and in the images themselves."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spavl.data.downloads import caption_scores
from spavl.data.sourcing import embedding, meaning
from spavl.data.sourcing.catalogue import Catalogue
from spavl.data.sourcing.config import SourcingConfig
from spavl.data.sourcing.meaning import EmbeddingSearch
from spavl.data.sourcing.readers.entry import RowLimits
from spavl.data.sourcing.shards import SourceShard, shards_of
from spavl.errors import ConfigError
from spavl.imaging.clip import Clip
from spavl.imaging.clip_preprocess import form_of, resize_and_crop
from spavl.terminal.progress import Screen
from tests.data.sourcing.test_sources import CAPTIONS, URLS, as_parquet_of_images, as_tars, walk, write_csv
from tests.support.images import UNUSABLE, encoded, photo
from tests.support.tiny_clip import COLOURS, save_clip, save_siglip, shade

# The colours that the leaves of the test's taxonomy ask for; its other terms, the model has never met.
WANTED = {"red": "red ball", "绿": "绿球"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_clip(tmp_path_factory.mktemp("clip")))


def vector(clip: str, name: str, number: int) -> Any:
    model = Clip(clip, "a test")
    return model.images([resize_and_crop(shade(name, number), model.form)])[0]


# --- captions


def test_captions_are_found_by_meaning(tmp_path: Path, clip: str) -> None:
    file = write_csv(tmp_path / "laion.csv", URLS)
    made = walk(tmp_path, file, "sourcing", search_by="captions", search_model=clip)
    assert all(row.caption and -1 <= row.score <= 1 for row in made["sourcing"])
    for leaf in ("red", "绿"):
        ranks = [row.rank for row in made["sourcing"] if row.leaf == leaf]
        assert ranks == list(range(len(CAPTIONS) - 1)), "all that have a caption are near or far"
    # The index is kept: the model of another start finds the same.
    index = tmp_path / "run" / "catalogue" / "captions.usearch"
    kept = index.stat().st_mtime_ns
    again = walk(tmp_path, file, "sourcing", search_by="captions", search_model=clip, per_leaf=2)
    assert index.stat().st_mtime_ns == kept
    assert again["sourcing"] == [row for row in made["sourcing"] if row.rank < 2]


def test_an_equal_text_is_nearest(tmp_path: Path, clip: str) -> None:
    index = Catalogue(tmp_path / "index.sqlite")
    index.build([SourceShard(write_csv(tmp_path / "laion.csv", URLS))], RowLimits(), Screen())
    by_meaning = EmbeddingSearch(index, tmp_path, SourcingConfig(search_by="captions", search_model=clip))
    asyncio.run(by_meaning.build(Screen()))
    for caption in ("a red ball", "a blue ball", "crimson paint"):
        hit = next(by_meaning.search([caption], 3))
        assert (hit.entry.caption, hit.score) == (caption, pytest.approx(1, abs=0.01))
    index.close()


def test_a_search_without_its_model_is_told(tmp_path: Path, clip: str) -> None:
    file = write_csv(tmp_path / "laion.csv", URLS)
    with pytest.raises(ConfigError, match="cannot load"):
        walk(tmp_path, file, "sourcing", search_by="captions", search_model=str(tmp_path))
    with pytest.raises(ConfigError, match="none is named"):
        walk(tmp_path, file, "sourcing", search_by="images")
    (tmp_path / "sorted" / "red").mkdir(parents=True)
    with pytest.raises(ConfigError, match="sorted by leaf"):
        walk(tmp_path, tmp_path / "sorted", "sourcing", search_by="images", search_model=clip)
    with pytest.raises(ConfigError, match="without a model"):
        walk(tmp_path, file, "sourcing", search_model=clip)


# --- images


def colours(folder: Path, each: int = 4) -> Path:
    """Images of which nothing is said, and whose names say nothing."""
    folder.mkdir()
    for place, name in enumerate(COLOURS):
        for number in range(each):
            (folder / f"{(7 * number + place) % 23:02}{place}.png").write_bytes(encoded(shade(name, number), "PNG"))
    return folder


def colour_of(source: str) -> str:
    return list(COLOURS)[int(Path(source).stem[-1])]


def test_a_folder_without_a_word_is_searched_by_what_it_shows(tmp_path: Path, clip: str) -> None:
    source = colours(tmp_path / "in")
    made = walk(tmp_path, source, search_by="images", search_model=clip, per_leaf=30)
    for leaf, name in WANTED.items():
        found = [row for row in made["sourcing"] if row.leaf == leaf]
        assert len({row.source for row in found}) == len(found) == 12
        scores = {row.source: row.score for row in found}
        own = [scores[row.source] for row in found if colour_of(row.source) == name]
        assert min(own) > max(score for place, score in scores.items() if colour_of(place) != name)
    green = [row for row in made["sourcing"] if row.leaf == "绿"]
    assert [colour_of(row.source) for row in green[:4]] == ["绿球"] * 4, "one term alone asks for it"
    assert made["selection"], "and the stages after it take what was found"
    with pytest.raises(ConfigError, match="no image with a caption") as caught:
        walk(tmp_path, source, "sourcing")
    assert 'search_by = "images"' in caught.value.then


@pytest.mark.parametrize("form", [as_tars, as_parquet_of_images])
def test_images_are_looked_at_wherever_their_bytes_lie(tmp_path: Path, clip: str, form: Any) -> None:
    made = walk(tmp_path, form(tmp_path), "sourcing", search_by="images", search_model=clip, per_leaf=99)
    assert {row.caption for row in made["sourcing"]} == set(CAPTIONS), "one of them is empty"
    assert not made["rejects"]


def test_images_made_to_hurt_are_skipped_with_a_reason(tmp_path: Path, clip: str) -> None:
    source = colours(tmp_path / "in", each=1)
    small = {name: bad for name, bad in UNUSABLE.items() if len(bad[0]) < 2**20}
    for number, (data, _) in enumerate(small.values()):
        (source / f"bad {number}.jpg").write_bytes(data)
    made = walk(tmp_path, source, "sourcing", search_by="images", search_model=clip)
    assert {row.source for row in made["sourcing"]} == {f"file:{file}" for file in source.glob("0*.png")}
    assert Counter(row.reason for row in made["rejects"]) == Counter(reason for _, reason in small.values())


@pytest.mark.slow
def test_an_index_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_IMAGES_AT_ONCE", 2)
    source = colours(tmp_path / "in")
    settings = SourcingConfig(search_by="images", search_model=clip)
    whole = search_all(tmp_path / "whole" / "catalogue.sqlite", source, settings)
    database = tmp_path / "stopped" / "catalogue.sqlite"
    seen: list[int] = []
    real = Clip.images

    def stopping(self: Clip, images: Any) -> Any:
        seen.append(len(images))
        if sum(seen) == 8:
            raise KeyboardInterrupt
        return real(self, images)

    monkeypatch.setattr(Clip, "images", stopping)
    with pytest.raises(KeyboardInterrupt):
        search_all(database, source, settings)
    stopped = sum(seen) - 2
    assert search_all(database, source, settings) == whole, "as if it had not been stopped"
    assert 12 - stopped <= sum(seen) - 8 <= 12 - stopped + 2, "no more is done again than was in flight"
    kept = sum(seen)
    (source / "990.png").write_bytes(encoded(shade("red ball", 11), "PNG"))
    assert len(search_all(database, source, settings)) == 13 and sum(seen) == kept + 13, "a changed folder begins anew"


def search_all(database: Path, source: Path, settings: SourcingConfig) -> list[Any]:
    index = Catalogue(database)
    try:
        index.build(shards_of(source), RowLimits(), Screen())
        by_meaning = EmbeddingSearch(index, database.parent, settings)
        asyncio.run(by_meaning.build(Screen()))
        return list(by_meaning.search(["绿球"], 99))
    finally:
        index.close()


def test_near_neighbours_are_the_nearest(tmp_path: Path, clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many vectors a graph is searched, and not every one of them."""
    source = colours(tmp_path / "in", each=20)
    settings = SourcingConfig(search_by="images", search_model=clip)
    exact = search_all(tmp_path / "run" / "catalogue.sqlite", source, settings)
    monkeypatch.setattr(meaning, "_FEW", 0)
    near = search_all(tmp_path / "run" / "catalogue.sqlite", source, settings)
    assert [hit.entry.source for hit in near[:20]] == [hit.entry.source for hit in exact[:20]]
    assert {colour_of(hit.entry.source) for hit in near[:20]} == {"绿球"}


def test_a_list_of_urls_cannot_be_looked_at(tmp_path: Path, clip: str) -> None:
    file = write_csv(tmp_path / "laion.csv", URLS)
    with pytest.raises(ConfigError, match=f"no_image_at_hand {len(CAPTIONS)}") as caught:
        walk(tmp_path, file, "sourcing", search_by="images", search_model=clip)
    assert 'search_by = "captions"' in caught.value.then


# --- vectors that were made elsewhere


def as_laion(folder: Path, vectors: Any) -> Path:
    """A list of URLs with its vectors, as clip-retrieval writes both."""
    for name in ("metadata", "img_emb"):
        (folder / "laion" / name).mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(URLS), folder / "laion" / "metadata" / "metadata_0000.parquet")
    np.save(folder / "laion" / "img_emb" / "img_emb_0000.npy", vectors)
    return folder / "laion"


def test_vectors_beside_a_table_stand_for_its_images(tmp_path: Path, clip: str) -> None:
    names = [*COLOURS, *COLOURS, "red ball"]
    vectors = np.stack([vector(clip, name, number) for number, name in enumerate(names)]).astype(np.float16) * 3
    vectors[4] = 0
    source = as_laion(tmp_path, vectors[:6])
    made = walk(tmp_path, source, "sourcing", search_by="images", search_model=clip)
    green = [row for row in made["sourcing"] if row.leaf == "绿"]
    assert green[0].source == URLS[1]["URL"] and green[0].score > 0.9
    assert Counter(row.reason for row in made["rejects"]) == {"broken_embedding": 2}, "one of nothing, one too few"
    assert {row.url for row in green} == {URLS[k]["URL"] for k in (0, 1, 2, 3, 5)}


def test_vectors_of_another_model_are_told_of(tmp_path: Path, clip: str) -> None:
    source = as_laion(tmp_path, np.ones((len(URLS), 512), np.float16))
    with pytest.raises(ConfigError, match="512 numbers"):
        walk(tmp_path, source, "sourcing", search_by="images", search_model=clip)


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"no numbers", "pickle"])
def test_a_file_of_vectors_that_is_none_breaks_no_run(tmp_path: Path, clip: str, data: Any) -> None:
    source = as_laion(tmp_path, np.array([{"a": "pickle"}], dtype=object))
    if data != "pickle":
        (source / "img_emb" / "img_emb_0000.npy").write_bytes(data)
    with pytest.raises(ConfigError, match=f"broken_embedding {len(URLS)}"):
        walk(tmp_path, source, "sourcing", search_by="images", search_model=clip)


# --- the filter that compares an image with its caption


def test_images_unlike_their_captions_are_refused_by_the_model(tmp_path: Path, clip: str) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number, name in enumerate(COLOURS):
        (source / f"{number}.png").write_bytes(encoded(shade(name, number), "PNG"))
        (source / f"{number}.txt").write_text("red ball")
    filters = {"min_similarity": 0.5, "similarity_model": clip, "workers": 1}
    made = walk(tmp_path, source, "downloads", filters=filters)
    assert len(made["sourcing"]) == 3
    (passed,) = made["downloads"]
    (kept,) = [row for row in made["sourcing"] if row.id == passed.candidate_id]
    assert Path(kept.source).stem == "0"
    measured = dict(each.split("=") for each in passed.measures)
    assert float(measured["similarity"]) > 0.5
    assert [row.reason for row in made["rejects"]] == ["unlike_caption"] * 2
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="cannot load"):
        walk(tmp_path / "other", source, "downloads", filters=filters | {"similarity_model": str(tmp_path)})


def test_a_model_is_held_once_and_scores_many_at_a_time_beside_workers_too_small_for_it(
    tmp_path: Path, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(48):
        (source / f"{number}.png").write_bytes(encoded(shade("red ball", number), "PNG"))
        (source / f"{number}.txt").write_text("red ball")
    loaded: list[str] = []
    scored: list[int] = []

    class Counted(Clip):
        def __init__(self, *given: Any) -> None:
            loaded.append(given[0])
            super().__init__(*given)

        def images(self, images: Any) -> Any:
            scored.append(len(images))
            return super().images(images)

    monkeypatch.setattr(caption_scores, "Clip", Counted)
    # In so little memory a worker cannot even load the libraries that a model needs.
    filters = {"min_similarity": 0.1, "similarity_model": clip, "workers": 2, "worker_gb": 0.75}
    made = walk(tmp_path, source, "downloads", filters=filters)
    assert not made["rejects"] and len(made["downloads"]) == len(made["sourcing"])
    assert loaded == [clip]
    assert sum(scored) == len(made["downloads"]) and max(scored) > 1


@pytest.mark.parametrize("save", [save_clip, save_siglip])
def test_both_halves_are_the_models_own(tmp_path: Path, save: Any) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    folder = save(tmp_path)
    shades = [shade(name, 3, side=50) for name in COLOURS]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    said = AutoTokenizer.from_pretrained(folder)(list(COLOURS), padding="max_length", max_length=8, return_tensors="pt")
    out = AutoModel.from_pretrained(folder)(**said, **processor(shades, return_tensors="pt"))
    clip = Clip(str(folder), "a test")
    assert clip.size == 16
    found = clip.images([resize_and_crop(each, clip.form) for each in shades])
    assert np.allclose(found, out.image_embeds.detach().numpy(), atol=1e-5)
    assert np.allclose(clip.texts(list(COLOURS)), out.text_embeds.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip", "small", "none"])
@pytest.mark.parametrize("sides", [(64, 48), (37, 91), (224, 224), (1, 1), (7, 100)])
def test_images_are_given_to_a_model_as_its_own_processor_would(kind: str, sides: tuple[int, int]) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    processor: Any = {
        "clip": CLIPImageProcessorPil(),
        "siglip": SiglipImageProcessorPil(size={"height": 56, "width": 40}),
        "small": CLIPImageProcessorPil(size={"shortest_edge": 20}, crop_size={"height": 33, "width": 24}),
        "none": CLIPImageProcessorPil(size={"shortest_edge": 20}, do_center_crop=False),
    }[kind]
    form = form_of(processor)
    assert form is not None
    image = photo(3, 96).resize(sides)
    (wanted,) = processor([image], do_rescale=False, do_normalize=False)["pixel_values"]
    assert np.array_equal(resize_and_crop(image, form), np.asarray(wanted).transpose(1, 2, 0))

"""Images in tables that were written elsewhere: every shape gives its bytes, or an error that names the row."""

import asyncio
import base64
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spavl.data.sourcing.readers.entry import RowLimits, SourceEntry
from spavl.data.sourcing.shards import SourceShard
from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.mm_safetybench import CRITERIA
from spavl.evaluation.benchmarks.types import never
from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.cost_estimate import estimate_evaluation
from spavl.evaluation.notes import OverlapsNotes
from spavl.imaging.local import read_local
from spavl.imaging.tables.cells import TableCells
from spavl.imaging.unfetchable import Unfetchable
from tests.support.benchmark_files import mm_words, put, put_csv, put_json
from tests.support.evaluations import SAFE, evaluate, is_judging
from tests.support.images import encoded, photo
from tests.support.peak_memory import taken
from tests.support.servers import Body, ChatServer

Writer = Callable[[Path, Sequence[Any]], None]
ROWS = 5
TABLE = "harm-00000-of-00001.parquet"


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 9)).save(stream, "PNG")
    return stream.getvalue()


PNGS = [png(number) for number in range(ROWS)]
QUESTIONS = [f"What is number {number}?" for number in range(ROWS)]


def by_pandas(column: Callable[[Sequence[Any]], Any], **options: Any) -> Writer:
    def write(file: Path, images: Sequence[Any]) -> None:
        pd.DataFrame({"question": QUESTIONS, "image": column(images)}).to_parquet(file, **options)

    return write


def by_arrow(kind: Any, cell: Callable[[Any], Any], **options: Any) -> Writer:
    def write(file: Path, images: Sequence[Any]) -> None:
        cells = pa.array([None if image is None else cell(image) for image in images], kind)
        pq.write_table(pa.table({"question": QUESTIONS, "image": cells}), file, row_group_size=2, **options)

    return write


def by_datasets(feature: Any, cell: Callable[[Any], Any]) -> Writer:
    def write(file: Path, images: Sequence[Any]) -> None:
        features = datasets.Features({"question": datasets.Value("string"), "image": feature})
        cells = [None if image is None else cell(image) for image in images]
        datasets.Dataset.from_dict({"question": QUESTIONS, "image": cells}, features=features).to_parquet(file)

    return write


def in_a_dictionary(file: Path, images: Sequence[Any]) -> None:
    column = pa.array(images, pa.binary()).dictionary_encode()
    pq.write_table(pa.table({"question": QUESTIONS, "image": column}), file)


def structs_of_a_dictionary(file: Path, images: Sequence[Any]) -> None:
    column = pa.StructArray.from_arrays([pa.array(images, pa.binary()).dictionary_encode()], ["bytes"])
    pq.write_table(pa.table({"question": QUESTIONS, "image": column}), file)


def as_an_extension(file: Path, images: Sequence[Any]) -> None:
    kind = pa.opaque(pa.binary(), "image", "somebody")
    column = pa.ExtensionArray.from_storage(kind, pa.array(images, pa.binary()))
    pq.write_table(pa.table({"question": QUESTIONS, "image": column}), file)


def opened(image: bytes) -> Any:
    return Image.open(io.BytesIO(image))


def struct(*fields: tuple[str, Any]) -> Any:
    return pa.struct(list(fields))


BYTES, LARGE, TEXT, LARGE_TEXT = ("bytes", pa.binary()), ("bytes", pa.large_binary()), pa.string(), pa.large_string()
# The bytes of the images are in the file. What polars 2.1 writes was looked up in its files, type by type.
WRITERS: dict[str, Writer] = {
    "pandas, dicts of bytes": by_pandas(lambda images: [{"bytes": image} for image in images]),
    "pandas, dicts of bytes and no path": by_pandas(lambda images: [{"bytes": each, "path": None} for each in images]),
    "pandas, None or dicts": by_pandas(lambda images: [None if each is None else {"bytes": each} for each in images]),
    "pandas, bytes": by_pandas(list),
    "pandas, bytes without statistics": by_pandas(list, write_statistics=False),
    "pandas, categories of bytes": by_pandas(pd.Categorical),
    "pandas, lists of a dict": by_pandas(lambda images: [[] if each is None else [{"bytes": each}] for each in images]),
    "pandas, lists of bytes": by_pandas(lambda images: [None if each is None else [each] for each in images]),
    "datasets, Image of PIL": by_datasets(datasets.Image(), opened),
    "datasets, Image of bytes": by_datasets(datasets.Image(), lambda image: {"bytes": image, "path": None}),
    "datasets, lists of Image": by_datasets(datasets.List(datasets.Image()), lambda image: [opened(image)]),
    "polars, Binary": by_arrow(pa.large_binary(), bytes),
    "polars, Struct of bytes": by_arrow(struct(LARGE), lambda image: {"bytes": image}),
    "polars, Struct of bytes and Null": by_arrow(struct(LARGE, ("path", pa.null())), lambda image: {"bytes": image}),
    "polars, Struct of both": by_arrow(struct(LARGE, ("path", LARGE_TEXT)), lambda image: {"bytes": image}),
    "polars, List": by_arrow(pa.large_list(pa.large_binary()), lambda image: [image]),
    "polars, List of Struct": by_arrow(
        pa.large_list(struct(LARGE, ("path", LARGE_TEXT))), lambda image: [{"bytes": image}]
    ),
    "polars, Array": by_arrow(pa.list_(pa.large_binary(), 1), lambda image: [image]),
    "pyarrow, binary": by_arrow(pa.binary(), bytes),
    "pyarrow, binary without statistics": by_arrow(pa.binary(), bytes, write_statistics=False),
    "pyarrow, binary_view": by_arrow(pa.binary_view(), bytes),
    "pyarrow, binary of one length": by_arrow(pa.binary(len(PNGS[0])), bytes),
    "pyarrow, path before bytes": by_arrow(
        struct(("path", TEXT), BYTES), lambda image: {"path": "an.png", "bytes": image}
    ),
    "pyarrow, more beside": by_arrow(
        struct(("meta", struct(BYTES)), BYTES, ("path", TEXT)), lambda image: {"meta": {"bytes": b"no"}, "bytes": image}
    ),
    "pyarrow, list view": by_arrow(pa.list_view(pa.binary()), lambda image: [image]),
    "pyarrow, lists with an empty cell": by_arrow(pa.list_(pa.binary()), lambda image: [None, image]),
    "pyarrow, dictionary": in_a_dictionary,
    "pyarrow, struct of a dictionary": structs_of_a_dictionary,
    "pyarrow, extension type": as_an_extension,
}
NAMES = [f"imgs/{number}.png" for number in range(ROWS)]
IN_BASE64 = [base64.b64encode(image).decode() for image in PNGS]
# The images lie beside the file, which names them; or they are text.
NAMED: dict[str, tuple[Writer, list[str]]] = {
    "strings": (by_arrow(TEXT, str), NAMES),
    "categories of strings": (by_pandas(pd.Categorical), NAMES),
    "struct of a path": (by_arrow(struct(("path", TEXT)), lambda name: {"path": name}), NAMES),
    "struct of no bytes and a path": (by_arrow(struct(BYTES, ("path", TEXT)), lambda name: {"path": name}), NAMES),
    "list of a name": (by_arrow(pa.list_(TEXT), lambda name: [name]), NAMES),
    "list of a struct": (by_arrow(pa.list_(struct(BYTES, ("path", TEXT))), lambda name: [{"path": name}]), NAMES),
    "base64": (by_arrow(TEXT, str), IN_BASE64),
    "data URLs": (by_arrow(TEXT, lambda text: f"data:image/png;base64,{text}"), IN_BASE64),
}
# What is no image, or not one image.
REFUSED: dict[str, tuple[Writer, str]] = {
    "URLs": (by_arrow(TEXT, lambda _: "https://example.org/a.png"), "is not downloaded"),
    "absolute paths, as datasets writes them": (
        by_arrow(struct(BYTES, ("path", TEXT)), lambda _: {"bytes": None, "path": "/elsewhere/a.png"}),
        "leads out",
    ),
    "names of what is not there": (by_arrow(TEXT, lambda _: "b.png"), "b.png is missing"),
    "a name longer than any": (by_arrow(TEXT, lambda _: "b" * 5000), "bbb is missing"),
    "numbers": (by_pandas(lambda images: [np.frombuffer(image, np.uint8) for image in images]), "uint8>, which is no"),
    "pixels": (by_pandas(lambda images: [[[[0, 0, 0]]] for _ in images]), "int64>>>, which is no image"),
    "a struct of a struct": (
        by_arrow(struct(("image", struct(BYTES))), lambda image: {"image": {"bytes": image}}),
        "which is no image",
    ),
    "a struct of something else": (by_arrow(struct(("id", pa.int64())), lambda _: {"id": 3}), "no image can be read"),
    "two images": (by_arrow(pa.list_(pa.binary()), lambda image: [image, image]), "2 images, and the benchmark shows"),
    "two names": (by_arrow(pa.list_(TEXT), lambda _: ["imgs/0.png", "imgs/1.png"]), "2 images"),
    "empty bytes": (by_arrow(pa.binary(), lambda _: b""), "no_bytes"),
    "empty bytes, without statistics": (by_arrow(pa.binary(), lambda _: b"", write_statistics=False), "has no image"),
    "empty text": (by_arrow(TEXT, lambda _: " "), "has no image"),
    "no base64": (by_arrow(TEXT, lambda _: "data:image/png;base64,---"), "not an image in base64"),
    "nothing at all": (by_pandas(lambda images: [None for _ in images]), "has no image"),
}


def read(folder: Path, name: str = "harmeval") -> list[bytes | None]:
    """The images of a benchmark's items, as an evaluation reads them."""
    return [found.image() if found.image else None for found in registry.benchmark_named(name).items(folder)]


@pytest.mark.parametrize("shape", WRITERS)
def test_every_shape_of_bytes_gives_its_images(tmp_path: Path, shape: str) -> None:
    WRITERS[shape](tmp_path / TABLE, PNGS)
    assert read(tmp_path) == PNGS


@pytest.mark.parametrize("shape", [name for name in WRITERS if name != "polars, Array"])
def test_an_empty_cell_of_any_shape_is_named(tmp_path: Path, shape: str) -> None:
    WRITERS[shape](tmp_path / TABLE, [*PNGS[:3], None, PNGS[4]])
    with pytest.raises(ConfigError, match="has no image") as caught:
        list(registry.benchmark_named("harmeval").items(tmp_path))
    assert caught.value.where == f"{tmp_path / TABLE}, row 3, column image"
    assert "sqrti/SPA-VL" in caught.value.then


def test_an_empty_cell_that_pyarrow_cannot_read_is_an_error_all_the_same(tmp_path: Path) -> None:
    """Of a group of rows of an Array with an empty cell it reads none."""
    WRITERS["polars, Array"](tmp_path / TABLE, [*PNGS[:3], None, PNGS[4]])
    with pytest.raises(ConfigError, match="cannot be had: unreadable") as caught:
        read(tmp_path)
    assert caught.value.where == f"{tmp_path / TABLE}, row 2, column image"


@pytest.mark.parametrize("shape", NAMED)
def test_images_that_are_named_or_written_as_text_are_read(tmp_path: Path, shape: str) -> None:
    for name, image in zip(NAMES, PNGS, strict=True):
        put(tmp_path / name, image)
    write, cells = NAMED[shape]
    write(tmp_path / TABLE, cells)
    assert read(tmp_path) == PNGS


@pytest.mark.parametrize("shape", REFUSED)
def test_what_is_no_image_is_refused_by_file_row_and_column(tmp_path: Path, shape: str) -> None:
    for name, image in zip(NAMES, PNGS, strict=True):
        put(tmp_path / name, image)
    write, what = REFUSED[shape]
    write(tmp_path / TABLE, PNGS)
    with pytest.raises(ConfigError, match=what) as caught:
        read(tmp_path)
    assert caught.value.where.startswith(f"{tmp_path / TABLE}, row 0, column image")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("column", ["images", "img", "Image"])
def test_a_column_of_another_spelling_is_told(tmp_path: Path, column: str) -> None:
    pd.DataFrame({"question": QUESTIONS, column: PNGS}).to_parquet(tmp_path / TABLE)
    with pytest.raises(ConfigError, match=rf"no column 'image'.*there are question, {column}") as caught:
        read(tmp_path)
    assert caught.value.where == f"{tmp_path / TABLE}, row 0"


def test_a_question_that_is_bytes_is_no_text(tmp_path: Path) -> None:
    questions = [question.encode() for question in QUESTIONS]
    pd.DataFrame({"question": questions, "image": PNGS}).to_parquet(tmp_path / TABLE)
    with pytest.raises(ConfigError, match="this column is binary, and text is needed") as caught:
        read(tmp_path)
    assert caught.value.where == f"{tmp_path / TABLE}, row 0, column question"


@pytest.mark.slow
def test_empty_cells_are_looked_for_in_little_memory(tmp_path: Path) -> None:
    """The file is 3 MB, and unpacks to 300; no statistics say which of its cells are empty."""
    vast = np.random.default_rng(1).bytes(3_000_000)
    cells = pa.array([{"bytes": vast}] * 99 + [{"bytes": None}], struct(BYTES))
    table = pa.table({"question": ["x"] * 100, "image": cells})
    pq.write_table(table, tmp_path / TABLE, dictionary_pagesize_limit=2**30, write_statistics=False)
    assert (tmp_path / TABLE).stat().st_size < 3_100_000
    before = (
        "from spavl.evaluation.benchmarks.registry import benchmark_named; from spavl.errors import ConfigError; "
        "benchmark_named('pope')"
    )
    work = (
        "read = benchmark_named('harmeval').read(Path(sys.argv[1])); assert len([next(read) for _ in range(99)]) == 99"
    )
    assert taken(before, work, tmp_path) < 120, "of 300 MB"


# --- candidates


def got(file: Path) -> list[bytes | str]:
    """The image of each row of a table of candidates, or why there is none."""
    found, cells = list[bytes | str](), TableCells()
    for entry in SourceShard(file).entries(RowLimits()):
        try:
            found.append(read_local(entry.source, cells) if isinstance(entry, SourceEntry) else entry.reason)
        except Unfetchable as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("shape", [name for name in WRITERS if name != "polars, Array"])
def test_candidates_are_read_from_every_shape_of_bytes(tmp_path: Path, shape: str) -> None:
    WRITERS[shape](tmp_path / "some.parquet", [*PNGS[:3], None, PNGS[4]])
    assert got(tmp_path / "some.parquet") == [*PNGS[:3], "no_bytes", PNGS[4]]


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        (pa.binary_view(), bytes),
        (struct(("bytes", pa.binary_view()), ("path", pa.string_view())), lambda image: {"bytes": image}),
        (pa.large_list(pa.binary_view()), lambda image: [image]),
        (pa.list_(struct(BYTES, ("path", TEXT))), lambda image: [{"bytes": image}]),
    ],
)
def test_candidates_are_read_from_every_shape_of_an_arrow_file(
    tmp_path: Path, kind: Any, cell: Callable[[Any], Any]
) -> None:
    """As polars writes them by `write_ipc_stream`, and `datasets` by `save_to_disk`."""
    cells = [None if image is None else cell(image) for image in [*PNGS[:3], None, PNGS[4]]]
    table = pa.table({"image": pa.array(cells, kind)})
    with pa.ipc.new_stream(tmp_path / "some.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert got(tmp_path / "some.arrow") == [*PNGS[:3], "no_bytes", PNGS[4]]


def test_a_candidate_of_several_images_is_none(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [[PNGS[0]], PNGS[:2]]}), tmp_path / "some.parquet")
    assert got(tmp_path / "some.parquet") == [PNGS[0], "several_images"]


# --- other files


def test_every_benchmark_says_whether_its_items_need_an_image() -> None:
    in_words = {name for name, each in registry.BENCHMARKS.items() if each.needs_image is never}
    assert in_words == {"advbench", "advbench-suffix", "xstest", "or-bench", "or-bench-80k"}


JSON = {
    "siuo": ("siuo_gen.json", {"question_id": 1, "question": "x", "category": "c"}, "image"),
    "vlsbench": ("data.json", {"instruction_id": 1, "instruction": "x"}, "image_path"),
    "mossbench": ("information.json", {"pid": 1, "question": "x"}, "image"),
    "vlguard": ("test.json", {"safe": False, "instr-resp": [{"instruction": "x"}]}, "image"),
    "oodcv-vqa": ("oodcv-vqa.json", {"question": "x", "answer": "yes"}, "image"),
    "vizwiz": ("val.json", {"question": "x", "answers": ["a"] * 10}, "image"),
    "pope": ("coco_pope_random.json", {"question_id": 1, "text": "x", "label": "yes"}, "image"),
}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("empty", [None, "", [], {"bytes": None, "path": None}, float("nan")])
def test_a_row_of_json_without_its_image_is_named(tmp_path: Path, name: str, empty: object) -> None:
    file, row, column = JSON[name]
    put_json(tmp_path / file, [{**row, column: empty}])
    with pytest.raises(ConfigError, match="has no image") as caught:
        read(tmp_path, name)
    assert caught.value.where == f"{tmp_path / file}, row 0, column {column}"


@pytest.mark.parametrize("shape", ["name", "list", "dict", "base64"])
def test_an_image_in_json_is_a_name_alone_or_in_a_list_or_a_dict(tmp_path: Path, shape: str) -> None:
    put(tmp_path / "images/1.png", PNGS[1])
    cells = {"name": "1.png", "list": ["1.png"], "dict": {"path": "1.png"}, "base64": {"bytes": IN_BASE64[1]}}
    file, row, column = JSON["siuo"]
    put_json(tmp_path / file, [{**row, column: cells[shape]}])
    assert read(tmp_path, "siuo") == [PNGS[1]]


def test_a_row_of_csv_or_tsv_without_its_image_is_named(tmp_path: Path) -> None:
    row = {"id": 1, "redteam_query": "x", "jailbreak_query": "x", "format": "f", "policy": "p", "image_path": ""}
    put_csv(tmp_path / "JailBreakV_28K.csv", [row])
    with pytest.raises(ConfigError, match="has no image") as caught:
        read(tmp_path, "jailbreakv")
    assert caught.value.where == f"{tmp_path / 'JailBreakV_28K.csv'}, row 0, column image_path"
    rows = [{"index": 1, "image": "", "question": "x", "category": scenario} for scenario in CRITERIA]
    put_csv(tmp_path / "mm/MMSafetyBench.tsv", rows)
    with pytest.raises(ConfigError, match="has no image") as caught:
        read(tmp_path / "mm", "mm-safetybench")
    assert caught.value.where == f"{tmp_path / 'mm/MMSafetyBench.tsv'}, index 1, column image"
    put_csv(tmp_path / "mmbench/MMBench_DEV_EN.tsv", [{"index": 1, "image": "", "question": "x", "answer": "A"}])
    with pytest.raises(ConfigError, match="has no image") as caught:
        read(tmp_path / "mmbench", "mmbench")
    assert caught.value.where == f"{tmp_path / 'mmbench/MMBench_DEV_EN.tsv'}, row 0"


SCIENCE = {"choices": ["one", "two"], "answer": 1, "hint": "", "subject": "s"}


def test_science_questions_in_words_alone_are_those_with_an_empty_cell(tmp_path: Path) -> None:
    rows = [{"question": question, **SCIENCE} for question in QUESTIONS]
    cells = [{"bytes": image} if number % 2 else None for number, image in enumerate(PNGS)]
    pd.DataFrame({**pd.DataFrame(rows), "image": cells}).to_parquet(tmp_path / "test.parquet")
    assert read(tmp_path, "scienceqa") == [None, PNGS[1], None, PNGS[3], None]
    subsets = Counter(found.subset for found in registry.benchmark_named("scienceqa").items(tmp_path))
    assert subsets == {"with image": 2, "words alone": 3}
    pd.DataFrame({**pd.DataFrame(rows), "image": [None] * ROWS}).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(ConfigError, match="none of the 5 items of scienceqa has an image"):
        read(tmp_path, "scienceqa")
    pd.DataFrame(rows).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(ConfigError, match="no column 'image'"):
        read(tmp_path, "scienceqa")


# --- evaluations


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of three benchmarks as pandas writes them of `{"bytes": ...}`."""
    folder = tmp_path_factory.mktemp("data")
    for place in ("spa-vl", "pope", *(f"mm-safetybench/{scenario[3:]}" for scenario in CRITERIA)):
        (folder / place).mkdir(parents=True)
    asked = pd.DataFrame({"question": [f"What is {n}?" for n in range(23)], "class3": "a"})
    asked.assign(image=[{"bytes": png(n)} for n in range(23)]).to_parquet(folder / "spa-vl" / TABLE)
    asked = pd.DataFrame({"question_id": range(30), "question": "Is there one?", "answer": ["yes", "no"] * 15})
    asked.assign(image=[{"bytes": png(n)} for n in range(30)], category="random").to_parquet(folder / "pope/1.parquet")
    words = {"Text_only": "Changed Question", "SD": "Rephrased Question(SD)"}
    for place, scenario in enumerate(CRITERIA):
        for kind, subset in enumerate(("Text_only", "SD", "TYPO", "SD_TYPO")):
            questions = [mm_words(scenario, key)[words.get(subset, "Rephrased Question")] for key in range(2)]
            images = [{"bytes": png(1000 + 8 * place + 2 * kind + key)} if kind else None for key in range(2)]
            table = pd.DataFrame({"id": ["0", "1"], "question": questions, "image": images})
            table.to_parquet(folder / "mm-safetybench" / scenario[3:] / f"{subset}-00000-of-00001.parquet")
    return folder


def images_in(body: Body) -> list[str]:
    parts = [part for each in body["messages"] for part in each["content"] if isinstance(each["content"], list)]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def test_every_item_that_has_an_image_is_asked_with_it(data: Path, tmp_path: Path) -> None:
    """They were 0 of 157."""
    asked: list[int] = []
    urls: set[str] = set()

    def answer(body: Body) -> str:
        if body["model"] == "one":
            asked.append(len(images_in(body)))
            urls.update(images_in(body))
        return SAFE if is_judging(body) else "yes"

    with ChatServer(answer) as server:
        evaluate(
            tmp_path / "evaluation",
            models=(f"one=openai/one@{server.url}",),
            suite=("harmeval", "pope", "mm-safetybench"),
            data=(str(data),),
            guard=(f"openai/guard@{server.url}",),
        )
    assert Counter(asked) == {1: 23 + 30 + 3 * 26, 0: 26}
    sent = {base64.b64decode(url.partition(",")[2]) for url in urls}
    assert sent == {png(n) for n in range(30)} | {
        png(1000 + 8 * place + 2 * kind + key) for place in range(13) for kind in (1, 2, 3) for key in range(2)
    }


@pytest.mark.parametrize("run", ["eval", "dry run"])
def test_an_item_without_its_image_stops_an_evaluation_before_anything_is_asked(tmp_path: Path, run: str) -> None:
    images = [{"bytes": png(n)} if n != 17 else {"bytes": None} for n in range(20)]
    pd.DataFrame({"question": "What is it?", "class3": "a", "image": images}).to_parquet(tmp_path / TABLE)
    asked: list[Body] = []

    def answer(body: Body) -> str:
        asked.append(body)
        return SAFE

    with ChatServer(answer) as server, pytest.raises(ConfigError, match="has no image") as caught:
        settings: dict[str, Any] = {
            "models": (f"one=openai/one@{server.url}",),
            "suite": ("harmeval",),
            "data": (str(tmp_path),),
            "guard": (f"openai/guard@{server.url}",),
        }
        if run == "eval":
            evaluate(tmp_path / "evaluation", **settings)
        else:
            asyncio.run(estimate_evaluation(EvaluationConfig(**settings), tmp_path / "evaluation"))
    assert caught.value.where == f"{tmp_path / TABLE}, row 17, column image" and not asked


# --- the audit of training data


def audit(tmp_path: Path, table: pd.DataFrame) -> OverlapsNotes:
    """What the audit of an evaluation says of a training table; row 2 of both has the same image."""
    (tmp_path / "train").mkdir()
    table.to_parquet(tmp_path / "train" / "train.parquet")
    tested = [{"bytes": encoded(photo(n), "PNG")} for n in range(ROWS)]
    pd.DataFrame({"question": QUESTIONS, "class3": "a", "image": tested}).to_parquet(tmp_path / TABLE)
    with ChatServer(lambda body: SAFE if is_judging(body) else "x") as server:
        results = evaluate(
            tmp_path / "evaluation",
            models=(f"one=openai/one@{server.url}",),
            suite=("harmeval",),
            data=(str(tmp_path),),
            guard=(f"openai/guard@{server.url}",),
            contamination={"train": str(tmp_path / "train"), "near_image_bits": 0},
        )
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert results.contamination
    found = results.contamination.training_data
    assert all(fault.split(",")[0] in page for fault in found.faults)
    return found


# The first is one that is asked about; the others are of one colour, which show nothing.
TAUGHT = [encoded(photo(2), "PNG"), png(7), png(8), png(9)]
ASKED = ["What is number 1?", "river stone lamp", "garden copper", "winter paper glass"]


@pytest.mark.parametrize("shape", ["dict", "dict with a path", "bytes", "list", "TRL"])
def test_images_of_training_data_are_read_in_any_shape(tmp_path: Path, shape: str) -> None:
    images: list[Any] = {
        "dict": [{"bytes": image} for image in TAUGHT],
        "dict with a path": [{"bytes": image, "path": None} for image in TAUGHT],
        "bytes": TAUGHT,
        "list": [[image] for image in TAUGHT],
        # The last row shows two.
        "TRL": [*([{"bytes": image}] for image in TAUGHT[:2]), [{"bytes": image} for image in TAUGHT[2:]], []],
    }[shape]
    names = ("images", "prompt") if shape == "TRL" else ("image", "question")
    turns = [[{"role": "system", "content": "be kind"}, {"role": "user", "content": text}] for text in ASKED]
    found = audit(tmp_path, pd.DataFrame({names[0]: images, names[1]: turns if shape == "TRL" else ASKED}))
    assert (found.images, found.questions, found.faults) == (4, 4, ())
    assert (found.kinds, found.without_image) == ({"image": 1, "wording": 1}, shape == "TRL")


@pytest.mark.parametrize(
    ("column", "cells", "fault"),
    [
        ("image", [f"https://example.org/{n}.png" for n in range(4)], "4 of 4 .* cannot be read.*not downloaded"),
        ("image", [f"{n}.png" for n in range(4)], r"4 of 4 .*0\.png is missing .*train.parquet, row 0, column image"),
        ("image", [[1, 2, 3]] * 4, "4 of 4 training rows cannot be read.*int64>, which is no image"),
        ("image", [None] * 4, "none of 4 training rows has an image: the cells of their column are empty"),
        ("photograph", TAUGHT, "no column is known to hold images in 4 of 4 training rows, such as train.parquet 0"),
    ],
)
def test_training_images_that_are_not_looked_at_are_told(
    tmp_path: Path, column: str, cells: list[Any], fault: str
) -> None:
    found = audit(tmp_path, pd.DataFrame({column: cells, "question": ASKED}))
    (told,) = found.faults
    assert re.search(fault, told), told
    assert (found.images, found.kinds) == (0, {"wording": 1})


def test_training_questions_in_a_column_of_another_name_are_told(tmp_path: Path) -> None:
    found = audit(tmp_path, pd.DataFrame({"image": TAUGHT, "words": ASKED}))
    assert found.faults == ("no column is known to hold questions in 4 of 4 training rows, such as train.parquet 0",)
    assert (found.images, found.questions) == (4, 0)

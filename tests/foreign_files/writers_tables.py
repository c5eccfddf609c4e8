"""Writers of tables: pandas, polars, pyarrow, DuckDB and `datasets`, each by its own functions.

A writer writes rows into a folder. `name` is that of the table without its ending, such as `train`.
"""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.foreign_files.rows import Row, write_images

Writer = Callable[[Path, str, Sequence[Row]], None]
TEXTS = ("question", "chosen", "rejected", "caption")
BYTES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def texts(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {"id": [row.id for row in rows]} | {name: [getattr(row, name) for row in rows] for name in TEXTS}


def images(rows: Sequence[Row]) -> list[bytes | None]:
    return [row.image for row in rows]


def structs(rows: Sequence[Row]) -> list[dict[str, Any] | None]:
    return [row.image and {"bytes": row.image, "path": row.image_name} for row in rows]


# pandas


def by_pandas(cell: Callable[[Sequence[Row]], Any] = images, **options: Any) -> Writer:
    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        pd.DataFrame({**texts(rows), "image": cell(rows)}).to_parquet(folder / f"{name}.parquet", **options)

    return write


def by_pandas_typed(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Nullable types of pandas, an index of names, and columns of times."""
    frame = pd.DataFrame({**texts(rows), "image": images(rows)}, index=[f"row {row.id}" for row in rows])
    frame = frame.convert_dtypes().assign(at=pd.Timestamp("2024-01-02", tz="UTC"), took=pd.Timedelta(1, "h"))
    frame.to_parquet(folder / f"{name}.parquet")


def by_pandas_categories(folder: Path, name: str, rows: Sequence[Row]) -> None:
    frame = pd.DataFrame({**texts(rows), "image": images(rows)})
    frame[list(TEXTS)] = frame[list(TEXTS)].astype("category")
    frame.to_parquet(folder / f"{name}.parquet")


def by_fastparquet(folder: Path, name: str, rows: Sequence[Row]) -> None:
    frame = pd.DataFrame({**texts(rows), "image": images(rows)}).astype(dict.fromkeys(TEXTS, object))
    coded = dict.fromkeys(TEXTS, "utf8") | {"id": "infer", "image": "bytes"}
    frame.to_parquet(folder / f"{name}.parquet", engine="fastparquet", object_encoding=coded)


def by_pandas_partitions(folder: Path, name: str, rows: Sequence[Row]) -> None:
    frame = pd.DataFrame({**texts(rows), "image": images(rows), "part": [row.id % 2 for row in rows]})
    frame.to_parquet(folder / name, partition_cols=["part"])


def by_pandas_feather(folder: Path, name: str, rows: Sequence[Row]) -> None:
    pd.DataFrame({**texts(rows), "image": images(rows)}).to_feather(folder / f"{name}.feather")


def by_pandas_csv(ending: str = "csv", **options: Any) -> Writer:
    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        write_images(folder, rows)
        table = {**texts(rows), "file_name": named(rows), "image": named(rows)}
        pd.DataFrame(table).to_csv(folder / f"{name}.{ending}", **options)

    return write


def by_pandas_json(ending: str, **options: Any) -> Writer:
    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        write_images(folder, rows)
        table = {**texts(rows), "file_name": named(rows), "image": named(rows)}
        pd.DataFrame(table).to_json(folder / f"{name}.{ending}", **options)

    return write


def named(rows: Sequence[Row]) -> list[str | None]:
    return [f"images/{row.image_name}" if row.image else None for row in rows]


# pyarrow


def by_arrow(
    text: Any = None, image: Any = None, cell: Callable[[Any], Any] = bytes, ids: Any = None, **options: Any
) -> Writer:
    text, image, ids = text or pa.string(), image or pa.binary(), ids or pa.int64()

    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        table = {column: pa.array(cells, text) for column, cells in texts(rows).items() if column != "id"}
        table["id"] = pa.array(texts(rows)["id"]).cast(ids)
        table["image"] = pa.array([None if row.image is None else cell(row.image) for row in rows], image)
        pq.write_table(pa.table(table), folder / f"{name}.parquet", **{"row_group_size": 3, **options})

    return write


def by_arrow_dictionary(folder: Path, name: str, rows: Sequence[Row]) -> None:
    table = {column: pa.array(cells).dictionary_encode() for column, cells in texts(rows).items()}
    table["image"] = pa.array(images(rows), pa.large_binary()).dictionary_encode()
    pq.write_table(pa.table(table), folder / f"{name}.parquet", row_group_size=5)


def by_arrow_more_columns(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Nested, decimal, time and list columns beside the ones that are read."""
    table = pa.table({**texts(rows), "image": pa.array(structs(rows), BYTES)})
    size = len(rows)
    more = {
        "score": pa.array([{"by": ["a"], "is": {"value": 1.5}}] * size),
        "price": pa.array(["1.25"] * size).cast(pa.decimal128(10, 2)),
        "at": pa.array([0] * size, pa.timestamp("ns", tz="UTC")),
        "votes": pa.array([[1, 2, None]] * size, pa.list_(pa.int8())),
        "tags": pa.array([[("a", "b")]] * size, pa.map_(pa.string(), pa.string())),
        "none": pa.nulls(size),
        "half": pa.array([0.5] * size, pa.float16()),
        "box": pa.array([[0.0, 1.0]] * size, pa.list_(pa.float32(), 2)),
    }
    for column, cells in more.items():
        table = table.append_column(column, cells)
    pq.write_table(table, folder / f"{name}.parquet", write_page_index=True)


def by_arrow_dataset(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """A folder of several files, as `pyarrow.dataset.write_dataset` names them."""
    import pyarrow.dataset as ds

    table = pa.table({**texts(rows), "image": images(rows)})
    ds.write_dataset(table, folder / name, format="parquet", max_rows_per_file=4, max_rows_per_group=4)


def by_arrow_ipc(folder: Path, name: str, rows: Sequence[Row]) -> None:
    table = pa.table({**texts(rows), "image": images(rows)})
    with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


# datasets


def dataset_of(rows: Sequence[Row], image: Any = None, cell: Callable[[Row], Any] | None = None) -> Any:
    image, cell = image or datasets.Image(), cell or (lambda row: row.image and opened(row.image))
    features = {name: datasets.Value("string") for name in TEXTS} | {"id": datasets.Value("int64"), "image": image}
    cells = {**texts(rows), "image": [None if row.image is None else cell(row) for row in rows]}
    return datasets.Dataset.from_dict(cells, features=datasets.Features(features))


def opened(image: bytes) -> Any:
    return Image.open(io.BytesIO(image))


def by_datasets(image: Any = None, cell: Callable[[Row], Any] | None = None) -> Writer:
    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        dataset_of(rows, image, cell).to_parquet(folder / f"{name}.parquet", batch_size=4)

    return write


def by_datasets_of_files(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Images by the whole paths of their files: `to_parquet` of `datasets` puts no bytes into the table."""
    aside = folder.parent / "aside"
    write_images(aside, rows)
    dataset_of(rows, None, lambda row: str(aside / "images" / row.image_name)).to_parquet(folder / f"{name}.parquet")


def by_datasets_saved(folder: Path, name: str, rows: Sequence[Row]) -> None:
    datasets.DatasetDict({name: dataset_of(rows)}).save_to_disk(folder, num_shards={name: 2})


def by_datasets_saved_alone(folder: Path, name: str, rows: Sequence[Row]) -> None:
    dataset_of(rows).save_to_disk(folder)


def by_datasets_pushed(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """What `push_to_hub` puts into a repository: shards under data/ and a README that lists them."""
    (folder / "data").mkdir()
    made = dataset_of(rows)
    for shard in range(2):
        made.shard(2, shard, contiguous=True).to_parquet(folder / "data" / f"{name}-{shard:05d}-of-00002.parquet")
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: {name}\n    path: data/{name}-*\n---\n"
    (folder / "README.md").write_text(card)


def by_datasets_json(folder: Path, name: str, rows: Sequence[Row], **options: Any) -> None:
    write_images(folder, rows)
    table = {**texts(rows), "file_name": named(rows), "image": named(rows)}
    datasets.Dataset.from_dict(table).to_json(folder / f"{name}.jsonl", **options)


def by_datasets_csv(folder: Path, name: str, rows: Sequence[Row]) -> None:
    write_images(folder, rows)
    table = {**texts(rows), "file_name": named(rows), "image": named(rows)}
    datasets.Dataset.from_dict(table).to_csv(folder / f"{name}.csv")


def by_datasets_image_folder(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """The layout that `load_dataset("imagefolder")` reads: images, and metadata.jsonl beside them."""
    (folder / name).mkdir()
    for row in rows:
        if row.image:
            (folder / name / row.image_name).write_bytes(row.image)
    lines = [
        {**{name: getattr(row, name) for name in TEXTS}, "file_name": row.image_name if row.image else None}
        for row in rows
    ]
    (folder / name / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


WRITERS: dict[str, Writer] = {
    "pandas, parquet": by_pandas(),
    "pandas, parquet of structs": by_pandas(structs),
    "pandas, parquet of gzip, old": by_pandas(compression="gzip", version="1.0"),
    "pandas, nullable types and an index": by_pandas_typed,
    "pandas, categories": by_pandas_categories,
    "pandas, fastparquet": by_fastparquet,
    "pandas, partitions": by_pandas_partitions,
    "pandas, feather": by_pandas_feather,
    "pandas, csv": by_pandas_csv(index=False),
    "pandas, csv with its index": by_pandas_csv(),
    "pandas, csv with all quoted": by_pandas_csv(index=False, quoting=1),
    "pandas, csv with escapes": by_pandas_csv(index=False, doublequote=False, escapechar="\\"),
    "pandas, csv of NA": by_pandas_csv(index=False, na_rep="NA"),
    "pandas, tsv": by_pandas_csv("tsv", index=False, sep="\t"),
    "pandas, csv.gz": by_pandas_csv("csv.gz", index=False),
    "pandas, csv of UTF-16": by_pandas_csv(index=False, encoding="utf-16"),
    "pandas, csv of Latin 1": by_pandas_csv(index=False, encoding="cp1252", errors="replace"),
    "pandas, json lines": by_pandas_json("jsonl", orient="records", lines=True),
    "pandas, json lines, not ASCII": by_pandas_json("jsonl", orient="records", lines=True, force_ascii=False),
    "pandas, json lines, gzip": by_pandas_json("jsonl.gz", orient="records", lines=True),
    "pandas, json of records": by_pandas_json("json", orient="records"),
    "pandas, json of columns": by_pandas_json("json", orient="columns"),
    "pandas, json of index": by_pandas_json("json", orient="index"),
    "pandas, json split": by_pandas_json("json", orient="split"),
    "pandas, json of a table": by_pandas_json("json", orient="table"),
    "pandas, json of values": by_pandas_json("json", orient="values"),
    "pyarrow": by_arrow(),
    "pyarrow, large": by_arrow(pa.large_string(), pa.large_binary()),
    "pyarrow, views": by_arrow(pa.string_view(), pa.binary_view()),
    "pyarrow, structs": by_arrow(image=BYTES, cell=lambda image: {"bytes": image, "path": None}),
    "pyarrow, structs of path and bytes": by_arrow(
        image=pa.struct([("path", pa.string()), ("bytes", pa.large_binary())]), cell=lambda image: {"bytes": image}
    ),
    "pyarrow, lists": by_arrow(image=pa.list_(pa.binary()), cell=lambda image: [image]),
    "pyarrow, list views": by_arrow(image=pa.list_view(pa.binary()), cell=lambda image: [image]),
    "pyarrow, large list views": by_arrow(image=pa.large_list_view(pa.binary()), cell=lambda image: [image]),
    "pyarrow, lists of structs": by_arrow(image=pa.large_list(BYTES), cell=lambda image: [{"bytes": image}]),
    "pyarrow, row groups of 1": by_arrow(row_group_size=1, write_page_index=True),
    "pyarrow, pages of version 2": by_arrow(data_page_version="2.0", compression="zstd", data_page_size=64),
    "pyarrow, delta encodings": by_arrow(
        use_dictionary=False, column_encoding=dict.fromkeys((*TEXTS, "image"), "DELTA_BYTE_ARRAY")
    ),
    "pyarrow, delta lengths": by_arrow(
        use_dictionary=False, column_encoding=dict.fromkeys((*TEXTS, "image"), "DELTA_LENGTH_BYTE_ARRAY")
    ),
    "pyarrow, no statistics": by_arrow(write_statistics=False, store_schema=False, compression="brotli"),
    "pyarrow, decimal ids": by_arrow(ids=pa.decimal128(30, 3), compression="lz4"),
    "pyarrow, dictionaries": by_arrow_dictionary,
    "pyarrow, more columns": by_arrow_more_columns,
    "pyarrow, a folder of files": by_arrow_dataset,
    "pyarrow, Arrow file": by_arrow_ipc,
    "datasets, Image": by_datasets(),
    "datasets, Image not decoded": by_datasets(
        datasets.Image(decode=False), lambda row: {"bytes": row.image, "path": row.image_name}
    ),
    "datasets, list of Image": by_datasets(datasets.List(datasets.Image()), lambda row: [opened(row.image or b"")]),
    "datasets, binary": by_datasets(datasets.Value("binary"), lambda row: row.image),
    "datasets, large binary": by_datasets(datasets.Value("large_binary"), lambda row: row.image),
    "datasets, names of files": by_datasets_of_files,
    "datasets, saved to disk": by_datasets_saved,
    "datasets, saved to disk without splits": by_datasets_saved_alone,
    "datasets, pushed": by_datasets_pushed,
    "datasets, json lines": by_datasets_json,
    "datasets, csv": by_datasets_csv,
    "datasets, folder of images": by_datasets_image_folder,
}

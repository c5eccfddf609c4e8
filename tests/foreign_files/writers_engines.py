"""Writers that are installed only for this matrix: polars and DuckDB. Without them, their cells are skipped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.foreign_files.rows import Row, write_images
from tests.foreign_files.writers_tables import Writer, images, named, structs, texts


def by_polars(
    method: str, ending: str, image: str = "Binary", text: str = "String", options: dict[str, Any] | None = None
) -> Writer:
    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        pl = pytest.importorskip("polars")
        if image == "names":
            write_images(folder, rows)
            cells: Any = {"image": named(rows), "file_name": named(rows)}
        elif image == "Struct":
            cells = {"image": structs(rows)}
        elif image == "List":
            cells = {"image": [row.image and [row.image] for row in rows]}
        elif image == "Array":
            cells = {"image": pl.Series([row.image and [row.image] for row in rows], dtype=pl.Array(pl.Binary, 1))}
        else:
            cells = {"image": images(rows)}
        frame = pl.DataFrame({**texts(rows), **cells})
        if text != "String":
            frame = frame.with_columns(pl.col("question", "caption").cast(getattr(pl, text)))
        getattr(frame, method)(folder / f"{name}.{ending}", **(options or {}))

    return write


def by_polars_typed(folder: Path, name: str, rows: Sequence[Row]) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({**texts(rows), "image": images(rows)}).with_columns(
        pl.col("id").cast(pl.Decimal(18, 2)).alias("price"),
        pl.col("id").cast(pl.Int128).alias("wide"),
        pl.lit(None).alias("none"),
        pl.datetime(2024, 1, 2).alias("at"),
        pl.lit("a").cast(pl.Enum(["a", "b"])).alias("kind"),
        pl.concat_list("id", "id").alias("many"),
    )
    frame.write_parquet(folder / f"{name}.parquet", statistics="full", row_group_size=4)


def by_duckdb(copy: str, names: bool = False) -> Writer:
    """COPY of a table of its own types. `{to}` is the file without its ending."""

    def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
        duckdb = pytest.importorskip("duckdb")
        if names:
            write_images(folder, rows)
        held = pa.table({**texts(rows), "file_name": named(rows), "data": pa.array(images(rows), pa.binary())})
        with duckdb.connect() as made:
            made.register("held", held)
            image = "file_name" if names else "data"
            left = "file_name," if names else ""
            made.execute(
                f"CREATE TABLE made AS SELECT id::HUGEINT AS id, uuid() AS key, question, chosen, rejected, caption, "
                f"{left} {image} AS image, DATE '2024-01-02' AS day, id % 2 AS part FROM held ORDER BY id"
            )
            made.execute(copy.format(to=folder / name))

    return write


def by_duckdb_structs(folder: Path, name: str, rows: Sequence[Row]) -> None:
    duckdb = pytest.importorskip("duckdb")
    held = pa.table({**texts(rows), "data": pa.array(images(rows), pa.binary())})
    with duckdb.connect() as made:
        made.register("held", held)
        image = "CASE WHEN data IS NULL THEN NULL ELSE {bytes: data, path: id || '.png'} END"
        made.execute(
            f"COPY (SELECT * EXCLUDE data, {image} AS image FROM held ORDER BY id) TO '{folder / name}.parquet' "
            "(FORMAT parquet, CODEC zstd, ROW_GROUP_SIZE 4)"
        )


WRITERS: dict[str, Writer] = {
    "polars, parquet": by_polars("write_parquet", "parquet"),
    "polars, parquet of structs": by_polars("write_parquet", "parquet", "Struct"),
    "polars, parquet of lists": by_polars("write_parquet", "parquet", "List"),
    "polars, parquet of arrays": by_polars("write_parquet", "parquet", "Array"),
    "polars, categories": by_polars("write_parquet", "parquet", text="Categorical"),
    "polars, parquet of snappy": by_polars("write_parquet", "parquet", options={"compression": "snappy"}),
    "polars, parquet by pyarrow": by_polars("write_parquet", "parquet", options={"use_pyarrow": True}),
    "polars, many types": by_polars_typed,
    "polars, csv": by_polars("write_csv", "csv", "names"),
    "polars, csv with a BOM and semicolons": by_polars(
        "write_csv", "csv", "names", options={"include_bom": True, "separator": ";", "line_terminator": "\r\n"}
    ),
    "polars, json lines": by_polars("write_ndjson", "jsonl", "names"),
    "polars, json": by_polars("write_json", "json", "names"),
    "polars, Arrow file": by_polars("write_ipc", "arrow"),
    "polars, Arrow stream": by_polars("write_ipc_stream", "arrow"),
    "DuckDB, parquet": by_duckdb("COPY made TO '{to}.parquet' (FORMAT parquet)"),
    "DuckDB, parquet of version 2": by_duckdb("COPY made TO '{to}.parquet' (FORMAT parquet, PARQUET_VERSION v2)"),
    "DuckDB, parquet of structs": by_duckdb_structs,
    "DuckDB, partitions": by_duckdb("COPY made TO '{to}' (FORMAT parquet, PARTITION_BY (part))"),
    "DuckDB, a file a thread": by_duckdb("COPY made TO '{to}' (FORMAT parquet, PER_THREAD_OUTPUT)"),
    "DuckDB, csv": by_duckdb("COPY made TO '{to}.csv' (HEADER)", names=True),
    "DuckDB, csv with BLOBs": by_duckdb("COPY made TO '{to}.csv' (HEADER)"),
    "DuckDB, json lines": by_duckdb("COPY made TO '{to}.jsonl' (FORMAT json)", names=True),
    "DuckDB, json": by_duckdb("COPY made TO '{to}.json' (FORMAT json, ARRAY true)", names=True),
}

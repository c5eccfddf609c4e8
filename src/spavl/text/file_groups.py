"""File names of data sets: those that hold no rows, and the shards of one table as one name."""

import re
from collections import Counter
from collections.abc import Iterable

# Files that `datasets` writes beside tables, about them.
ABOUT_TABLES = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
# Endings of tables in formats that are not read.
OTHER_TABLES = (
    *(".pq", ".feather", ".ipc", ".orc", ".avro", ".lance", ".tfrecord", ".h5", ".hdf5", ".pkl", ".pickle"),
    *(".sqlite", ".sqlite3", ".db", ".duckdb", ".mdb", ".xlsx", ".xls", ".ods"),
)
# The number of a shard, as in train-00000-of-00002.parquet.
_NUMBER = re.compile(r"-\d+(-of-\d+)?(?=\.[^/]*$)")


def by_likes(names: Iterable[str]) -> list[str]:
    """Each name once, with the number of files if there are several."""
    found = Counter(_NUMBER.sub("-*", name) for name in names)
    return [name if number == 1 else f"{name} ({number} files)" for name, number in found.items()]

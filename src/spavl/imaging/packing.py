"""How tightly a table is packed: a few thousand bytes may unpack to as many millions, in one value."""

from pathlib import Path
from typing import Any

# Tables of pictures unpack to hardly more than they take, tables of texts to ten times as much.
_MOST_TIMES = 64
_ALWAYS_ALLOWED = 2**27


def check_packing(path: str | Path, metadata: Any) -> None:
    """Refuse a Parquet file that unpacks to out of all proportion."""
    unpacked = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if unpacked > max(_ALWAYS_ALLOWED, _MOST_TIMES * Path(path).stat().st_size):
        raise ValueError(f"{path} unpacks to {unpacked} bytes")

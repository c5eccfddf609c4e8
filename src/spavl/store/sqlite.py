"""How every SQLite file of a run is opened."""

import sqlite3
from pathlib import Path

from spavl.errors import StoreError
from spavl.store.files import disk_faults


def connect(path: Path) -> sqlite3.Connection:
    """Open a database in WAL mode, so that a kill at any moment loses nothing that was committed."""
    try:
        with disk_faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, isolation_level="IMMEDIATE", check_same_thread=False, timeout=30)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.DatabaseError as error:
        then = "it is no database or is damaged: restore it, or delete it and build again"
        raise StoreError(f"cannot open a file of the run: {error}", where=str(path), then=then) from error
    return database

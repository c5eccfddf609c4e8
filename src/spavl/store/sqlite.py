"""Opens the SQLite files of a run."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

from spavl.errors import StoreError
from spavl.store.files import disk_faults
from spavl.store.mounts import is_log_safe, mount_of


def connect(path: Path) -> sqlite3.Connection:
    """Open a database so that a kill at any moment loses nothing that was committed.

    It has a write-ahead log on a disk of this machine, and a rollback journal on a network file system (mounts.py).
    """
    has_log = is_log_safe(path)
    try:
        with disk_faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, isolation_level="IMMEDIATE", check_same_thread=False, timeout=30)
            database.execute(f"PRAGMA journal_mode={'WAL' if has_log else 'DELETE'}")
            # A log cannot be torn; a journal that is not synced each time can.
            database.execute(f"PRAGMA synchronous={'NORMAL' if has_log else 'FULL'}")
    except sqlite3.DatabaseError as error:
        then = "it is no database or is damaged: restore it, or delete it and build again"
        raise StoreError(f"cannot open a file of the run: {error}", where=str(path), then=then) from error
    return database


def connect_to_look(path: Path) -> sqlite3.Connection:
    """Open a database as it stands, even while another process writes to it."""
    mount = mount_of(path)
    # It is not read from the file whether it has a log: to close that would let go of this process's locks on it.
    if mount is not None and mount.safe == "rollback":
        # What a kill left half done is taken back, and no file is left behind.
        how = "mode=rw"
    else:
        # Where nobody writes nor was killed at it, opening it in the usual way would leave two files behind.
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    return sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, check_same_thread=False, timeout=30)

"""Opens the SQLite files of a run."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

from spavl.errors import StoreError
from spavl.store.files import disk_faults
from spavl.store.mounts import is_log_safe, mount_of


def connect(path: Path) -> sqlite3.Connection:
    """Open a database so that a kill at any moment loses no committed data.

    It has a write-ahead log on a local disk, and a rollback journal on a network file system (mounts.py).
    """
    has_log = is_log_safe(path)
    try:
        with disk_faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, isolation_level="IMMEDIATE", check_same_thread=False, timeout=30)
            database.execute(f"PRAGMA journal_mode={'WAL' if has_log else 'DELETE'}")
            # Without a sync at each commit, a write-ahead log stays consistent; a rollback journal may not.
            database.execute(f"PRAGMA synchronous={'NORMAL' if has_log else 'FULL'}")
    except sqlite3.DatabaseError as error:
        then = "it is no database or is damaged: restore it, or delete it and build again"
        raise StoreError(f"cannot open a file of the run: {error}", where=str(path), then=then) from error
    return database


def connect_to_look(path: Path) -> sqlite3.Connection:
    """Open a database for reading, even while another process writes to it."""
    mount = mount_of(path)
    # The journal mode is not read from the file: closing the file would release this process's locks on it.
    if mount is not None and mount.safe == "rollback":
        # A transaction that a kill left incomplete is rolled back, and no file is left behind.
        how = "mode=rw"
    else:
        # Without a log, no process writes to it or was killed while writing. A normal open would create two files.
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    return sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, check_same_thread=False, timeout=30)

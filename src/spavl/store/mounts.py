"""Which file system a path is on, and which database mode is safe there.

Readers and writers of SQLite's write-ahead log share memory, which works on one machine only: on a network file
system, two machines, or a machine that lost its connection, can damage the database (https://sqlite.org/wal.html).
The rollback journal needs only files, locks and syncs, which such file systems have. A mount of an object store has
neither locks nor writes in place, so no database is safe there.
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

from spavl.errors import StoreError

# The list of mounts on Linux. On other systems no mount is known, and every path counts as a local disk.
MOUNTS = Path("/proc/self/mountinfo")

# `fuse` is any file system served by a process: it may be on another machine. A local disk has the type `fuseblk`.
_NETWORK = re.compile(
    "9p|afs|beegfs|ceph|cifs|coda|davfs|fhgfs|gfs2|glusterfs|gpfs|lustre|mmfs|ncpfs|nfs4?|ocfs2|orangefs|panfs|prl_fs|"
    r"pvfs2|smb3|smbfs|vboxsf|virtiofs|vmhgfs|wekafs|fuse(\..+)?"
)
# Matched in the type and in the source, since some object stores are mounted as plain `fuse`.
_OBJECT_STORES = ("s3fs", "mountpoint-s3", "goofys", "geesefs", "gcsfuse", "rclone", "blobfuse", "ossfs", "cosfs")
Safe = Literal["wal", "rollback", "none"]


class Mount(NamedTuple):
    """A mounted file system: its mount point, its type and its source."""

    place: Path
    kind: str
    source: str

    @property
    def safe(self) -> Safe:
        """The SQLite journal mode that is safe there."""
        if self.kind.startswith("fuse") and any(name in f"{self.kind} {self.source}" for name in _OBJECT_STORES):
            return "none"
        return "rollback" if _NETWORK.fullmatch(self.kind) else "wal"


def mount_of(path: Path) -> Mount | None:
    """The file system of a path, which need not exist; None if unknown."""
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return None
    place = path.resolve()
    above = [mount for line in lines if (mount := _read(line)) and place.is_relative_to(mount.place)]
    # Of several mounts at one path, the last one hides the others.
    return max(reversed(above), key=lambda mount: len(mount.place.parts), default=None)


def is_log_safe(path: Path) -> bool:
    """Whether a database may have a write-ahead log there. Raises StoreError if no database is safe there."""
    mount = mount_of(path)
    if mount is not None and mount.safe == "none":
        what = f"this place is a mount of an object store ({mount.kind}), which has no locks and no writes in place"
        then = "choose a folder on a disk or a network file system with --out, and copy the run when it is finished"
        raise StoreError(what, where=str(path), then=then)
    return mount is None or mount.safe == "wal"


def _read(line: str) -> Mount | None:
    """A line of mountinfo: ID PARENT DEVICE ROOT PLACE OPTIONS [FIELDS…] - TYPE SOURCE OPTIONS."""
    before, _, after = line.partition(" - ")
    where, what = before.split(" "), after.split(" ")
    if len(where) < 5 or len(what) < 2:
        return None
    return Mount(Path(_plain(where[4])), what[0], _plain(what[1]))


def _plain(text: str) -> str:
    """Decode octal escapes, such as \\040 for a space."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)

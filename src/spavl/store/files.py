"""Atomic writes of files, and disk errors as messages."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import sqlite3
import tempfile
import unicodedata
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from spavl.errors import StoreError

# The file that every run folder has.
RUN_FILE = "run.json"
_MOST_BYTES_READ = 64 * 2**20
_MEANT_IN_PATHS = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))


def disk_full(path: Path | str) -> StoreError:
    then = "free some space and type the same command; what is finished is kept"
    return StoreError("the disk is full", where=str(path), then=then)


@contextlib.contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn the operating system's errors on `path` into messages that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise disk_full(path) from error
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full(path) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            then = "choose a folder you may write to with --out"
            raise StoreError("this place cannot be written to", where=str(path), then=then) from error
        if error.errno == errno.ELOOP:
            then = "take the link away, or choose another folder with --out"
            raise StoreError("a link stands where a file is to be made", where=str(path), then=then) from error
        if isinstance(error, FileExistsError | NotADirectoryError):
            then = "choose another folder with --out"
            raise StoreError("a file stands where a folder is to be made", where=str(path), then=then) from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it."""
    with disk_faults(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            # As in /proc, which is no folder of a disk.
            then = "choose another folder with --out"
            raise StoreError("no folder can be made here", where=str(path), then=then) from error


@contextlib.contextmanager
def writing_to(path: Path, lasting: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to. It is renamed to `path` when its content is on disk.

    `lasting`: sync the rename too, so that it survives a power cut. That takes as long as the writing itself.
    """
    with disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            sync(temporary)
            temporary.chmod(0o644)
            temporary.replace(path)
            if lasting:
                sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Yield a new folder to fill. It is renamed to `folder` when all its files are on disk.

    An existing `folder` is first renamed. If the process is killed at that moment, the next call restores it.
    """
    new, old = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
    with disk_faults(folder):
        if old.exists() and not folder.exists():
            old.rename(folder)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            yield new
            for place, _, names in os.walk(new):
                for each in names:
                    # Some libraries make files that only their owner may read.
                    Path(place, each).chmod(0o644)
                for each in (*names, ""):
                    sync(Path(place, each))
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            sync(folder.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def refuse_filled(folder: Path, but_for: tuple[str, ...] = ()) -> None:
    """Raise if a folder has files, since writing there could replace one of them.

    Files whose names start with an entry of `but_for` are ignored.
    """
    with disk_faults(folder):
        try:
            names = sorted(file.name for file in folder.iterdir() if not file.name.startswith(but_for))
        except FileNotFoundError:
            return
    if names:
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        what = f"this folder holds other files already: {', '.join(map(repr, names[:3]))}{more}"
        raise StoreError(what, where=str(folder), then="name a new or an empty folder with --out")


def clear_unfinished(folder: Path) -> None:
    """Delete temporary files of a process that was killed. No other process may be writing to the folder."""
    for left in folder.glob(".*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes, lasting: bool = True) -> None:
    with writing_to(path, lasting) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def state_of(path: Path) -> list[object]:
    """A value that changes with a file or with the files of a folder. Large files and folders are not read."""
    if path.is_file() and path.stat().st_size > _MOST_BYTES_READ:
        return [path.stat().st_size, path.stat().st_mtime_ns]
    if path.is_file():
        return [hashlib.sha256(path.read_bytes()).hexdigest()]
    # The state of a run folder is that of its manifests. A name that is not a path, such as a model's, has none.
    if (path / RUN_FILE).is_file():
        found = [(file.name, file.stat()) for file in sorted((path / "stages").glob("*.json"))]
        return [[f"stages/{name}", of.st_size, of.st_mtime_ns] for name, of in found]
    if not path.is_dir():
        return []
    seen = [(Path(entry.path), entry.stat()) for entry in files_under(path)]
    return [[str(file.relative_to(path)), of.st_size, of.st_mtime_ns] for file, of in sorted(seen, key=itemgetter(0))]


def files_under(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The files in a folder and its subfolders, except those of run folders.

    Their types come from the folder listing: a stat call for each takes minutes if there are many files.
    """
    left = [os.fspath(folder)]
    while left:
        entries = list[os.DirEntry[str]]()
        with contextlib.suppress(OSError), os.scandir(left.pop()) as listed:
            entries = list(listed)
        if any(entry.name == RUN_FILE for entry in entries):
            continue
        left += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        yield from (entry for entry in entries if entry.is_file())


def all_files(folder: Path) -> list[Path]:
    """The files in a folder, its subfolders and linked folders, in order. A link to a folder above is not followed."""
    found = list[Path]()
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        above = {each.resolve() for each in (here, *here.parents)}
        folders[:] = [
            name for name in folders if not (here / name).is_symlink() or (here / name).resolve() not in above
        ]
        found += [file for name in names if (file := here / name).is_file()]
    return sorted(found)


def leads_outside(file: os.DirEntry[str], inside: Path) -> bool:
    """Whether a file is a link to a place outside of `inside`. Only links are resolved."""
    return file.is_symlink() and not Path(file.path).resolve().is_relative_to(inside)


def unicode_forms(name: str) -> list[str]:
    """A file name as it is given, and in both forms of letters like ä: systems store one or the other."""
    return list(dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))))


def folder_name(name: str) -> str:
    """A name in any script as a folder name that is valid on every file system."""
    plain = unicodedata.normalize("NFC", name).translate(_MEANT_IN_PATHS)
    # A leading dot hides the folder, `..` is its parent, and some file systems drop a trailing dot.
    return re.sub(r"^\.+|\.+$", lambda dots: "_" * len(dots[0]), plain)

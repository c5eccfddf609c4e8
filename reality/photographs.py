"""The captioned photographs: Debian's tuxpaint-stamps-default (GPL-2), fetched and unpacked, never installed.

The package holds drawings too: letters, symbols and cartoons are left out by their folders. The rest are photographs,
cut out on transparent ground, and a few drawings that look like them.
"""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Literal, NamedTuple

PACKAGE = "tuxpaint-stamps-default"
# A folder that holds the package's stamps already, for systems without apt.
VARIABLE = "SPAVL_STAMPS"
_STAMPS = Path("usr/share/tuxpaint/stamps")
# Folders of drawings.
_DRAWN = {"symbols", "cartoon"}

Split = Literal["train", "test"]


class Photograph(NamedTuple):
    """A photograph with the English caption of its makers."""

    # The path in the package.
    name: str
    data: bytes
    caption: str

    @property
    def subject(self) -> str:
        """What kind of thing it shows: the outermost folder, such as animals or food."""
        return self.name.partition("/")[0]

    @property
    def split(self) -> Split:
        """A third is held out, by the hash of the name."""
        return "test" if int(hashlib.sha256(self.name.encode()).hexdigest(), 16) % 3 == 0 else "train"


def fetch(folder: Path) -> Path:
    """The folder of the stamps, downloaded and unpacked if it is not there."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    stamps = folder / _STAMPS
    if not stamps.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True, capture_output=True, text=True)
            (archive,) = folder.glob(f"{PACKAGE}_*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            raise SystemExit(
                f"{PACKAGE} could not be fetched: {said}\n"
                f"  next: sudo apt-get update; or unpack the package elsewhere and set {VARIABLE} to its stamps/ folder"
            ) from None
    return stamps


def read(stamps: Path) -> list[Photograph]:
    return [
        Photograph(file.relative_to(stamps).as_posix(), file.read_bytes(), caption)
        for file in sorted(stamps.rglob("*.png"))
        if not _DRAWN & set(file.relative_to(stamps).parts) and (caption := _caption(file.with_suffix(".txt")))
    ]


def _caption(file: Path) -> str:
    """The first line; the others are its translations."""
    return file.read_text(encoding="utf-8").partition("\n")[0].strip() if file.is_file() else ""

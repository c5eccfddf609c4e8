"""What holds for all tests: no call leaves this machine, and nothing is downloaded or reported."""

import io
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from PIL import Image

# Set before anything of spavl is imported; processes that tests start inherit it.
os.environ |= {
    "SPAVL_LOOPBACK_ONLY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

from spavl.models.types import ImageData
from spavl.store import RunFolder

# How long one example takes says nothing on a busy machine. Half as many examples as hypothesis draws by itself: what
# it finds, it finds from its small and extreme examples, which come first, and each run draws others.
settings.register_profile("spavl", deadline=None, max_examples=50)
settings.load_profile("spavl")

# Rooms whose files take longest. They are first, so that none of them is left to run alone at the end.
_LONGEST = ("pipeline", "training", "engine", "evaluation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.nodeid.split("/")[1] not in _LONGEST)


def _stays_here(family: int, address: Any) -> bool:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return family == socket.AF_UNIX
    host = str(address[0]).partition("%")[0]
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def _guarded(real: Callable[..., Any]) -> Callable[..., Any]:
    def connect(self: socket.socket, address: Any) -> Any:
        if not _stays_here(self.family, address):
            raise AssertionError(f"a test tried to reach {address}")
        return real(self, address)

    return connect


@pytest.fixture(autouse=True)
def no_call_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


@pytest.fixture(autouse=True)
def lines_have_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs the tests side by side gives each process the width of a terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPAVL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def image() -> ImageData:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(stream, "PNG")
    return ImageData.of(stream.getvalue())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "run") as folder:
        yield folder


@pytest.fixture(autouse=True)
def one_download_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker process takes a third of a second to start; by default there is one for each core."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})

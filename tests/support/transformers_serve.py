"""`transformers serve`, a real server of another project, which `make interop` installs."""

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.repository import ROOT

_SERVER = ROOT / ".interop/serving/bin/transformers"
_SECONDS_TO_START = 180


@contextlib.contextmanager
def served(checkpoint: Path, home: Path) -> Iterator[str]:
    """A server of one checkpoint, by the name that a build gives it."""
    assert _SERVER.exists(), f"{_SERVER} is missing; next: make interop"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    hub = home / "hub"
    hub.mkdir(exist_ok=True)  # the server lists it, and falls over where there is none
    env = {**os.environ, "HF_HUB_CACHE": str(hub), "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    port = url.removesuffix("/v1").rpartition(":")[2]
    command = [_SERVER, "serve", checkpoint, "--host", "127.0.0.1", "--port", port, "--device", "cpu"]
    log = home / f"{port}.log"
    with log.open("wb") as said, subprocess.Popen(command, env=env, stdout=said, stderr=said) as server:
        try:
            _wait_for(url, server, log)
            yield f"openai/{checkpoint}@{url}"
        finally:
            server.terminate()


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/models", timeout=5).close()
            return
        time.sleep(0.5)
    raise RuntimeError(f"transformers serve did not start; it said:\n{log.read_text()[-3000:]}")

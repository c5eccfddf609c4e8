"""What a gate reports."""

from typing import NamedTuple


class Fault(NamedTuple):
    """What is wrong, where (`file:line`), and what to type next."""

    where: str
    what: str
    then: str


class Stopped(Exception):
    """A gate cannot look further than this fault."""

    def __init__(self, where: str, what: str, then: str) -> None:
        super().__init__(what)
        self.fault = Fault(where, what, then)

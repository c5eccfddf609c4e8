"""Reads images inside tables, and checks whether an image can be decoded, in separate processes."""

import functools
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spavl.engine.isolated_reader import LIMITS
from spavl.engine.sandbox import Sandbox, WorkerDeath
from spavl.imaging.sendable import NotSendable, sendable
from spavl.imaging.tables.cells import TableCells
from spavl.imaging.unfetchable import Unfetchable

_HELD = 4


class IsolatedCells:
    """`TableCells` in another process. A cell that crashes the process raises Unfetchable, like an unreadable one."""

    def __init__(self) -> None:
        # A new instance gets new `TableCells`, so that it sees files as they are now.
        self._number = next(_numbers)

    def get(self, path: str, column: str, row: int) -> bytes:
        return bytes(self._call_reader("get", path, column, row))

    def get_all(self, path: str, column: str, row: int, holes: bool = False) -> tuple[bytes, ...]:
        return tuple(self._call_reader("get_all", path, column, row, holes))

    def is_empty(self, path: str, column: str, row: int) -> bool:
        return bool(self._else("is_empty", False, path, column, row))

    def large_group(self, path: str, column: str, row: int) -> range | None:
        found: range | None = self._else("large_group", None, path, column, row)
        return found

    def _else(self, method: str, otherwise: Any, path: str, *given: Any) -> Any:
        """Return `otherwise` if the cell cannot be read; the error is raised when the cell itself is read."""
        try:
            return self._call_reader(method, path, *given)
        except Unfetchable:
            return otherwise

    def _call_reader(self, method: str, path: str, *given: Any) -> Any:
        (answer,) = _readers().run([(self._number, method, (str(Path(path).absolute()), *given))])
        if isinstance(answer, WorkerDeath):
            raise Unfetchable(answer.reason)
        if isinstance(answer, _UnreadableCell):
            raise Unfetchable(answer.reason)
        return answer


class _UnreadableCell(NamedTuple):
    reason: str


_numbers = itertools.count()


class _Readers:
    """In the worker: the `TableCells` of the instances that asked last."""

    def __init__(self) -> None:
        self._held: OrderedDict[int, TableCells] = OrderedDict()

    def __call__(self, shard: Sequence[tuple[int, str, Sequence[Any]]]) -> list[Any]:
        return [self._answer(*asked) for asked in shard]

    def _answer(self, number: int, method: str, given: Sequence[Any]) -> Any:
        cells = self._held.pop(number, None) or TableCells()
        self._held[number] = cells
        if len(self._held) > _HELD:
            self._held.popitem(last=False)
        try:
            return getattr(cells, method)(*given)
        except Unfetchable as error:
            return _UnreadableCell(str(error))


@functools.cache
def _readers() -> Sandbox:
    return Sandbox(_Readers(), 1, LIMITS)


@functools.cache
def _decoders() -> Sandbox:
    return Sandbox(_sendable_all, 1, LIMITS)


def sendable_apart(data: bytes) -> bytes:
    """Like `sendable`, in another process, since some images crash the decoder."""
    (answer,) = _decoders().run([data])
    if isinstance(answer, WorkerDeath):
        raise NotSendable(f"this image cannot be decoded: {answer.reason.replace('_', ' ')}")
    if isinstance(answer, str):
        raise NotSendable(answer)
    return data if answer is None else bytes(answer)


def _sendable_all(shard: Sequence[bytes]) -> list[bytes | str | None]:
    return [_sendable(data) for data in shard]


def _sendable(data: bytes) -> bytes | str | None:
    """The converted bytes; None if the given bytes can be sent unchanged; or the reason why they cannot be sent."""
    try:
        made = sendable(data)
    except NotSendable as error:
        return str(error)
    return None if made == data else made

"""The finds of all kinds in one text, without overlaps; and texts in which they are replaced."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Literal, NamedTuple, get_args

from spavl.errors import MissingExtra, how_to_install
from spavl.text.personal_data.contacts import emails, phones
from spavl.text.personal_data.numbers import cards, ibans, ids, ips
from spavl.text.personal_data.plain_text import plain_text
from spavl.text.personal_data.postal import addresses

# Incremented when other finds are made in the same text: stages that filtered their texts are then done again.
VERSION = 2

Kind = Literal["email", "card", "iban", "id", "phone", "ip", "address"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# Where two finds overlap, the one of the earlier kind stays.
_FINDERS: dict[Kind, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": emails,
    "card": cards,
    "iban": ibans,
    "id": ids,
    "phone": phones,
    "ip": ips,
    "address": addresses,
}


class Find(NamedTuple):
    """A find by its kind and place. It does not hold the value, so that none gets into a message."""

    kind: Kind
    start: int
    end: int


def require_libraries(where: str) -> None:
    """Raise MissingExtra if the libraries that check numbers are not installed."""
    if missing := [name for name in ("phonenumbers", "stdnum") if find_spec(name) is None]:
        what = f"looking for personal data needs {' and '.join(missing)}"
        raise MissingExtra(what, where=where, then=how_to_install("privacy"))


def find_personal_data(text: str) -> list[Find]:
    """The finds in a text, in order. The time grows with the length of the text."""
    plain = plain_text(text)
    found: list[tuple[int, int, int, Kind]] = []
    for rank, (kind, finder) in enumerate(_FINDERS.items()):
        found += [(start, rank, end, kind) for start, end in finder(plain.text)]
    kept: list[Find] = []
    # Two finds that overlap become one: the earlier kind's, over both spans.
    for start, rank, end, kind in sorted(found):
        start, end = plain.span(start, end)
        if kept and start < kept[-1].end:
            last = kept[-1]
            first = kind if rank < KINDS.index(last.kind) else last.kind
            kept[-1] = Find(first, last.start, max(last.end, end))
        else:
            kept.append(Find(kind, start, end))
    return kept


def redact(text: str, finds: Sequence[Find]) -> str:
    """The text with each find replaced by `[KIND removed]`."""
    parts, place = [], 0
    for find in finds:
        # Models write [email] in templates, so a removed value is marked in other words.
        parts += [text[place : find.start], f"[{find.kind} removed]"]
        place = find.end
    return "".join([*parts, text[place:]])

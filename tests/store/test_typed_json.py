"""Typed records as JSON: what is written is read back as the same records, and nothing else is read."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.statistics import Estimate
from spavl.store.typed_json import NotThisRecord, from_json, to_json


class Place(NamedTuple):
    name: str
    folder: Path
    note: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    place: Place
    rate: Estimate
    share: float
    number: int
    kind: Literal["a", "b"]
    other: Estimate | None
    names: tuple[str, ...]
    by_kind: Mapping[Literal["a", "b"], tuple[int, ...]]
    sure: bool = True


# NaN is written as null and read back as this one, which is equal to itself in a tuple.
values = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.just(math.nan))
ends = st.floats(allow_nan=False, allow_infinity=False)
estimates = st.builds(
    Estimate,
    value=values,
    n=st.integers(0, 99),
    low=st.one_of(ends, st.just(-math.inf)),
    high=st.one_of(ends, st.just(math.inf)),
)
kinds = st.sampled_from(["a", "b"])
rows = st.builds(
    Row,
    place=st.builds(Place, st.text(), st.just(Path("a/b")), st.text()),
    rate=estimates,
    share=values,
    number=st.integers(),
    kind=kinds,
    other=st.none() | estimates,
    names=st.lists(st.text()).map(tuple),
    by_kind=st.dictionaries(kinds, st.lists(st.integers()).map(tuple)),
    sure=st.booleans(),
)


@given(rows)
def test_what_is_written_is_read_back(row: Row) -> None:
    text = json.dumps(to_json(row), allow_nan=False)
    assert from_json(Row, json.loads(text)) == row


def whole() -> dict[str, Any]:
    estimate = Estimate(0.5, 4, 0.1, 0.9)
    row = Row(
        place=Place("x", Path("f")),
        rate=estimate,
        share=0.5,
        number=1,
        kind="a",
        other=None,
        names=("y",),
        by_kind={"a": (1,)},
    )
    made: dict[str, Any] = to_json(row)
    return made


def test_a_field_with_a_default_may_be_missing() -> None:
    raw = whole()
    del raw["sure"], raw["place"]["note"]
    assert from_json(Row, raw) == from_json(Row, whole())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"number": "1"}, "number should be int, and is '1'"),
        ({"number": True}, "number should be int, and is 'True'"),
        ({"share": "much"}, "share should be a number"),
        ({"kind": "c"}, "kind should be one of 'a', 'b', and is 'c'"),
        ({"names": "y"}, "names should be a list"),
        ({"names": [1]}, r"names\[0\] should be str"),
        ({"by_kind": {"c": [1]}}, "by_kind should be one of 'a', 'b'"),
        ({"rate": None}, "rate should be a table"),
        ({"rate": {"value": 1, "n": 1, "low": 0}}, "rate.high is missing"),
        ({"strange": 1}, "the file has an unknown field strange"),
    ],
)
def test_what_is_no_such_record_is_refused_with_its_place(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(NotThisRecord, match=message):
        from_json(Row, {**whole(), **changed})

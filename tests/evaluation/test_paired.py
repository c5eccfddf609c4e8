"""Two models item by item: what could not be judged of either may have been anything."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spavl.evaluation.metrics.paired import PairedRates, pair_of
from spavl.evaluation.metrics.result_table import ResultCell, ResultColumn
from spavl.evaluation.records import Item
from spavl.statistics import mcnemar, paired_test
from tests.support.records import filled

CELL = ResultCell("one", "real", "b", "guard", "unsafe")
Verdicts = list[float | None]


def against(ones: Verdicts, others: Verdicts, each: int = 1) -> PairedRates:
    items = [filled(Item, key=str(number), cluster=f"image {number // each}") for number in range(len(ones))]
    found = pair_of(CELL, "base", *(ResultColumn(items, [[value] for value in values]) for values in (ones, others)))
    assert found is not None
    return found


def test_what_is_all_known_has_the_exact_test() -> None:
    found = against([0.0] * 20, [1.0] * 9 + [0.0] * 11)
    assert (found.test, found.p, found.against_only) == ("McNemar, exact", mcnemar(0, 9), 9)
    together = against([0.0] * 21, [1.0] * 9 + [0.0] * 12, each=3)
    assert together.test == "sign flips of clusters" and together.p == 0.25


def test_a_guard_that_reads_a_few_finds_no_difference() -> None:
    """On ten of a hundred the two differ as far as can be; the other ninety may be the other way round."""
    few = against([0.0] * 10 + [None] * 90, [1.0] * 10 + [None] * 90)
    assert (few.difference.value, few.difference.n, few.p) == (-1, 10, 1)
    assert few.difference.low == -1 and few.difference.high > 0.7


def test_where_nothing_is_known_of_either_nothing_is_said() -> None:
    found = paired_test([[None]] * 30, [[0.0]] * 30, range(30))
    assert found.difference.n == 0 and found.p == 1 and found.difference.low < 0.01 and found.difference.high == 1
    items = [filled(Item, key=str(number), cluster=str(number)) for number in range(3)]
    nothing, something = (ResultColumn(items, [[value]] * 3) for value in (None, 1.0))
    assert pair_of(CELL, "base", nothing, something) is None


def test_one_lost_verdict_is_held_against_what_is_found() -> None:
    found = against([0.0] * 12, [1.0] * 11 + [None])
    assert found.p == mcnemar(0, 11), "it may have been 0, as the other's"
    assert against([0.0] * 11 + [None], [1.0] * 11 + [0.0]).p == mcnemar(1, 11)


verdicts = st.sampled_from([0.0, 1.0, None])


@given(st.lists(st.tuples(verdicts, verdicts), min_size=1, max_size=8), st.sampled_from([1, 2]))
@settings(max_examples=25)
def test_whatever_they_were_the_interval_holds_it_and_p_is_no_smaller(
    pairs: list[tuple[float | None, float | None]], each: int
) -> None:
    assume(not all(None in pair for pair in pairs))
    ones, others = [one for one, _ in pairs], [other for _, other in pairs]
    found = against(ones, others, each)
    for mine in (0.0, 1.0):
        told = against(filled_with(ones, mine), filled_with(others, 1 - mine), each)
        assert found.difference.low - 1e-9 <= told.difference.value <= found.difference.high + 1e-9
        assert found.p >= told.p - 1e-9
    assert found.p == pytest.approx(against(others, ones, each).p)


def filled_with(values: Verdicts, other: float) -> Verdicts:
    return [other if value is None else value for value in values]

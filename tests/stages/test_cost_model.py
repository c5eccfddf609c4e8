"""A sample of rows stands for all: their number is exact, and no kind of row is favoured."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from spavl.records import Question, QuestionKind
from spavl.stages.cost_model import WeightedRow, subsample_rows
from tests.support.records import filled

KINDS: tuple[QuestionKind, ...] = ("easy", "hard", "statement")


def rows(times: list[float]) -> list[WeightedRow[Question]]:
    return [
        WeightedRow(filled(Question, kind=KINDS[place % 3], text=str(place)), each) for place, each in enumerate(times)
    ]


@given(st.lists(st.floats(0.5, 600), min_size=1, max_size=60), st.integers(1, 50))
def test_the_weights_of_a_sample_add_up_to_those_of_all_rows(times: list[float], most: int) -> None:
    drawn = subsample_rows(rows(times), most)
    assert len(drawn) == len({weighted.row.id for weighted in drawn}) == min(most, len(times))
    assert abs(sum(weighted.times for weighted in drawn) - sum(times)) < 1e-6 * sum(times)


def test_kinds_that_take_turns_are_drawn_alike() -> None:
    """Every third row would be of one kind."""
    kinds = Counter(weighted.row.kind for weighted in subsample_rows(rows([1.0] * 9000), 3000))
    assert set(kinds) == set(KINDS) and min(kinds.values()) > 900

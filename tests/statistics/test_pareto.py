"""The Pareto front: who dominates whom, and how often an alternative is on the front when seeds and items are drawn."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from spavl.statistics.pareto import Costs, dominating, shares_on_front

POINTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8)


@given(POINTS)
def test_someone_is_on_the_front_and_everyone_else_is_beaten_by_one_of_it(points: list[tuple[int, int, int]]) -> None:
    beaten_by = [dominating(points, place) for place in range(len(points))]
    front = {place for place, others in enumerate(beaten_by) if not others}
    assert front
    assert all(not others or front & set(others) for others in beaten_by)


@given(POINTS)
def test_what_is_better_in_all_costs_by_more_than_chance_is_always_on_the_front(points: list[tuple[int, ...]]) -> None:
    # Without any difference between items and seeds nothing is left to chance.
    costs = [Costs([[[float(point[k])] * 4] * 2 for point in points], "abcd") for k in range(3)]
    shares = shares_on_front(costs, draws=50)
    assert shares == [float(not dominating(points, place)) for place in range(len(points))]


def test_the_share_tells_a_sure_front_from_one_by_chance() -> None:
    rng = random.Random(1)
    shares = []
    for gap in (0.0, 0.05, 0.3):
        values = [[[float(rng.random() < rate) for _ in range(200)] for _ in range(3)] for rate in (0.3, 0.3 + gap)]
        shares.append(shares_on_front([Costs(values, range(200))])[1])
    assert all(one > other for one, other in pairwise(shares))
    assert shares[-1] == 0
    assert 0.05 < shares[0] < 0.95


def test_a_single_run_stands_beside_arms_of_several_seeds_and_costs_may_have_other_items() -> None:
    one = Costs([[[1.0, 1.0]], [[0.0, 0.0]] * 3], "ab")
    other = Costs([[[0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]] * 3], "bcd")
    assert shares_on_front([one], draws=20) == [0.0, 1.0]
    # In some resamples no item of one cost is drawn, and then the other one alone decides.
    assert min(shares_on_front([one, other], draws=200)) > 0.8

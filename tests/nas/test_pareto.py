"""Dominance, fronts and the scores built on them agree with their definitions."""

import math

from hypothesis import given
from hypothesis import strategies as st

from nas.controllers.ranking import Ranking, sort_key
from nas.pareto import crowding_distances, dominates, non_dominated_sort, pareto_front

NAN = math.nan
# Few distinct values, so that ties and equal vectors are common.
numbers = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1.0, math.inf, NAN])
vectors = st.integers(1, 3).flatmap(lambda size: st.lists(st.tuples(*[numbers] * size), max_size=12))


def test_dominates_needs_one_better_and_none_worse() -> None:
    assert dominates((1.0, 2.0), (1.0, 1.0))
    assert not dominates((1.0, 1.0), (1.0, 1.0))
    assert not dominates((2.0, 0.0), (1.0, 1.0))


def test_nan_never_dominates_and_is_dominated_by_what_is_known() -> None:
    assert not dominates((NAN, 9.0), (0.0, 0.0))
    assert not dominates((NAN, 9.0), (NAN, 0.0))
    assert dominates((-math.inf, -math.inf), (NAN, 9.0))


@given(vectors)
def test_dominance_is_a_strict_partial_order(gains: list[tuple[float, ...]]) -> None:
    for a in gains:
        assert not dominates(a, a)
        for b in gains:
            assert not (dominates(a, b) and dominates(b, a))
            for c in gains:
                assert dominates(a, c) or not (dominates(a, b) and dominates(b, c))


@given(vectors)
def test_the_front_is_what_nothing_dominates(gains: list[tuple[float, ...]]) -> None:
    expected = [
        index
        for index, vector in enumerate(gains)
        if not any(map(math.isnan, vector)) and not any(dominates(other, vector) for other in gains)
    ]
    assert list(pareto_front(gains)) == expected


@given(vectors)
def test_sorting_peels_fronts_off(gains: list[tuple[float, ...]]) -> None:
    fronts = non_dominated_sort(gains)
    assert sorted(index for members in fronts for index in members) == list(range(len(gains)))
    left = set(range(len(gains)))
    for members in fronts:
        expected = {i for i in left if not any(dominates(gains[j], gains[i]) for j in left)}
        assert set(members) == expected
        left -= expected


@given(vectors)
def test_a_ranking_counts_who_dominates_as_trials_come_in(gains: list[tuple[float, ...]]) -> None:
    ranking = Ranking()
    for vector in gains:
        ranking.add(vector)
    keys = [sort_key(vector, gains) for vector in gains]
    for index, key in enumerate(keys):
        below, level = sum(other < key for other in keys), keys.count(key)
        assert ranking.percentile(index) == (below + level / 2) / len(keys)


def test_of_equal_rank_the_first_objective_decides() -> None:
    ranking = Ranking()
    cheap, good, both_worse = (ranking.add(gains) for gains in [(0.5, -1.0), (0.9, -5.0), (0.4, -6.0)])
    assert ranking.percentile(good) > ranking.percentile(cheap) > ranking.percentile(both_worse)


def test_crowding_is_the_room_between_the_neighbours_and_without_end_at_the_ends() -> None:
    front = [(0.0, 10.0), (1.0, 6.0), (4.0, 4.0), (10.0, 0.0)]
    # Spans are 10 and 10: 4 / 10 + 6 / 10, and 9 / 10 + 6 / 10.
    assert crowding_distances(front) == (math.inf, 1.0, 1.5, math.inf)
    assert crowding_distances([]) == ()
    assert crowding_distances([(1.0,), (1.0,)]) == (0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12), st.floats(0.5, 4.0))
def test_crowding_does_not_depend_on_units(gains: list[tuple[int, int]], unit: float) -> None:
    plain = crowding_distances(gains)
    scaled = crowding_distances([(first * unit, second) for first, second in gains])
    for one, other in zip(plain, scaled, strict=True):
        assert one == other or math.isclose(one, other)

"""Candidates are remembered, their neighbourhoods are whole, and their distances exact."""

import random

import numpy
import pytest

import search_spaces
from nas.controllers.candidates import Candidate, Distances, candidates_of
from nas.controllers.graph_features import GROUPS
from search_spaces.choices import Genotype, RandomChooser
from tests.contracts.controller import ToySpace


def drawn(space: search_spaces.SearchSpace, count: int) -> list[Candidate]:
    rng = random.Random(0)
    known = candidates_of(space)
    return [known.candidate(space.elaborate(RandomChooser(rng=rng)).genotype) for _ in range(count)]


def test_equal_spaces_share_what_is_known() -> None:
    first, second = (search_spaces.load("nasbench201") for _ in range(2))
    assert candidates_of(first) is candidates_of(second)
    genotype = drawn(first, 1)[0].genotype
    assert candidates_of(first).candidate(genotype) is candidates_of(second).candidate(genotype)


def test_a_space_that_cannot_be_hashed_is_a_space_too() -> None:
    class Unhashable(ToySpace):
        __hash__ = None

    assert len(drawn(Unhashable(), 3)) == 3


def test_neighbours_differ_in_one_decision_and_what_follows_from_it() -> None:
    space = ToySpace()
    for candidate in drawn(space, 20):
        before = dict(candidate.genotype.values)
        others = candidates_of(space).neighbours(candidate.genotype)
        assert len(set(others)) == len(others)
        for other in others:
            after = dict(space.replay(other).genotype.values)
            changed = [name for name in before if name in after and before[name] != after[name]]
            assert len(changed) == 1
    assert others == candidates_of(space)._neighbours(candidate.genotype), "always the same ones"


@pytest.mark.parametrize("space", [ToySpace(), search_spaces.load("nasbench201")], ids=["conditional", "cell"])
def test_a_mutant_is_that_of_the_space(space: search_spaces.SearchSpace) -> None:
    ours, theirs = random.Random(1), random.Random(1)
    genotype = drawn(space, 1)[0].genotype
    for _ in range(100):
        mutant = candidates_of(space).mutate(genotype, rng=ours)
        assert mutant == space.mutate(genotype, rng=theirs)[1].genotype
        assert ours.getstate() == theirs.getstate()
        genotype = mutant


def test_the_neighbourhood_of_a_cell_is_whole() -> None:
    space = search_spaces.load("nasbench201")
    (candidate,) = drawn(space, 1)
    assert len(candidates_of(space).neighbours(candidate.genotype)) == 6 * 4


def test_answers_beside_an_integer_and_subsets_one_step_away_are_near() -> None:
    space = ToySpace(1)
    chain = Genotype((("stage1.width", 8), ("stage1.kind", "chain"), ("stage1.depth", 3)))
    depths = {dict(other.values).get("stage1.depth") for other in candidates_of(space).neighbours(chain)}
    assert depths - {None} == {2, 3, 4}, "those that change another answer have 3"
    total = Genotype((("stage1.width", 8), ("stage1.kind", "sum"), ("stage1.branches", ("point", "small"))))
    branches = {dict(other.values).get("stage1.branches") for other in candidates_of(space).neighbours(total)}
    grown = {("point", "small", "large"), ("point", "small", "max")}
    swapped = {("point", "large"), ("point", "max"), ("small", "large"), ("small", "max")}
    assert branches - {None, ("point", "small")} == grown | swapped


def test_distances_are_those_of_the_features_exactly() -> None:
    candidates = drawn(search_spaces.load("cellular"), 12)
    distances = Distances(GROUPS)
    for candidate in candidates[:8]:
        distances.add(candidate)
    found = distances.to(candidates)
    numpy.testing.assert_array_equal(found[:, :8], distances.among)
    for group in range(len(GROUPS)):
        for row, first in enumerate(candidates):
            for column, second in enumerate(candidates[:8]):
                one, other = (
                    dict(zip(item.columns[group].tolist(), item.values[group].tolist(), strict=True))
                    for item in (first, second)
                )
                expected = sum((one.get(name, 0) - other.get(name, 0)) ** 2 for name in one.keys() | other.keys())
                assert found[group, row, column] == expected

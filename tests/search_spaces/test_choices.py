"""Decisions: domains, choosers, recording, enumeration, counting and mutation."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.choices import (
    Chooser,
    Decision,
    Domain,
    Genotype,
    Integer,
    OneOf,
    RandomChooser,
    Recorder,
    ReplayChooser,
    Scalar,
    Subset,
    Value,
    mutate,
    neighbours,
)
from search_spaces.enumeration import count, enumerate_choices
from search_spaces.errors import UserError

scalars = st.one_of(st.text(max_size=4), st.integers(-9, 9), st.booleans(), st.floats(allow_nan=False, width=16))
options = st.lists(scalars, min_size=1, max_size=6, unique=True).map(tuple)


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    kind = draw(st.sampled_from(["one_of", "integer", "subset"]))
    if kind == "integer":
        low = draw(st.integers(-5, 5))
        return Integer("n", low, low + draw(st.integers(0, 5)))
    given_options: tuple[Scalar, ...] = draw(options)
    if kind == "one_of":
        return OneOf("n", given_options)
    most = draw(st.integers(0, len(given_options)))
    return Subset("n", given_options, draw(st.integers(0, most)), most)


@given(domains(), st.integers(0, 1000))
def test_samples_lie_in_the_domain_and_values_are_all_of_it(domain: Domain, seed: int) -> None:
    values = list(domain.values())
    assert len(values) == domain.count == len(set(map(repr, values)))
    assert all(value in domain for value in values)
    assert domain.sample(random.Random(seed)) in values


@pytest.mark.parametrize(
    "domain", [OneOf("n", ("a", "b", "c", "d", "e")), Integer("n", -2, 4), Subset("n", tuple(range(4)), 1, 3)]
)
def test_samples_are_uniform(domain: Domain) -> None:
    rng = random.Random(0)
    number = 400 * domain.count
    counts = Counter(domain.sample(rng) for _ in range(number))
    chi_square = sum((counts[value] - 400) ** 2 / 400 for value in domain.values())
    # For d degrees of freedom chi-square has mean d and variance 2d: 5 deviations.
    freedom = domain.count - 1
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(
    ("domain", "stranger"),
    [
        (OneOf("n", (1, 2)), True),
        (OneOf("n", (1, 2)), 1.0),
        (OneOf("n", (1, 2)), 3),
        (Integer("n", 0, 2), 3),
        (Integer("n", 0, 2), True),
        (Integer("n", 0, 2), 1.0),
        (Subset("n", (1, 2, 3), 1, 2), ()),
        (Subset("n", (1, 2, 3), 1, 2), (1, 2, 3)),
        (Subset("n", (1, 2, 3), 1, 2), (2, 1)),
        (Subset("n", (1, 2, 3), 1, 2), (4,)),
        (Subset("n", (1, 2, 3), 1, 2), 1),
    ],
)
def test_strangers_are_not_in_the_domain(domain: Domain, stranger: object) -> None:
    assert stranger not in domain


@pytest.mark.parametrize(
    "make",
    [
        lambda: OneOf("n", ()),
        lambda: OneOf("n", (1, 1)),
        lambda: Integer("n", 2, 1),
        lambda: Subset("n", (1, 1), 0, 1),
        lambda: Subset("n", (1, 2), 2, 1),
        lambda: Subset("n", (1, 2), 0, 3),
        lambda: Subset("n", (1, 2), -1, 1),
    ],
)
def test_impossible_domains_are_refused_by_name(make: object) -> None:
    with pytest.raises(UserError, match="'n'"):
        make()  # type: ignore[operator]


def conditional(choose: Chooser) -> tuple[object, ...]:
    """A toy space: `depth` parts, each of which asks a question of its own only where its kind needs it."""
    parts: list[object] = [choose.one_of("stem", (8, 16))]
    for number in range(choose.integer("depth", 0, 2)):
        kind = choose.one_of(f"part{number}.kind", ("pool", "conv", "branches"))
        parts.append(kind)
        if kind == "conv":
            parts.append(choose.one_of(f"part{number}.kernel", (1, 3, 5)))
        if kind == "branches":
            parts.append(choose.subset(f"part{number}.inputs", ("a", "b", "c"), minimum=1, maximum=2))
    return tuple(parts)


PER_PART = 1 + 3 + 6
CONDITIONAL_COUNT = 2 * (1 + PER_PART + PER_PART**2)


def test_enumeration_gives_every_genotype_once() -> None:
    everything = list(enumerate_choices(conditional))
    assert len(everything) == CONDITIONAL_COUNT
    assert len({genotype for genotype, _ in everything}) == CONDITIONAL_COUNT
    assert len({made for _, made in everything}) == CONDITIONAL_COUNT
    for genotype, made in everything:
        assert conditional(ReplayChooser(genotype)) == made


def test_count_is_the_number_of_genotypes() -> None:
    assert count(conditional) == CONDITIONAL_COUNT


def test_random_choices_reach_every_genotype() -> None:
    rng = random.Random(0)
    seen = {conditional(RandomChooser(rng=rng)) for _ in range(30_000)}
    assert len(seen) == CONDITIONAL_COUNT


def test_independent_parts_are_multiplied_and_named_by_their_part() -> None:
    def space(choose: Chooser) -> list[object]:
        stages = choose.integer("stages", 1, 3)
        return [choose.independent(f"stage{number}", conditional) for number in range(stages)]

    assert count(space) == sum(CONDITIONAL_COUNT**stages for stages in (1, 2, 3))
    recorder = Recorder(RandomChooser(rng=random.Random(0)))
    space(recorder)
    names = [name for name, _ in recorder.genotype.values]
    assert names[:2] == ["stages", "stage0.stem"]
    assert all(name == "stages" or name.startswith("stage") for name in names)


def test_independent_parts_may_be_nested() -> None:
    def inner(choose: Chooser) -> object:
        return choose.independent("deep", lambda deeper: deeper.subset("some", (1, 2, 3)))

    def space(choose: Chooser) -> object:
        return choose.independent("a", inner), choose.independent("b", inner)

    assert count(space) == 64 == len(list(enumerate_choices(space)))
    genotype, _ = next(enumerate_choices(space))
    assert [name for name, _ in genotype.values] == ["a.deep.some", "b.deep.some"]


@given(st.integers(0, 10_000))
def test_a_genotype_survives_json_and_replays(seed: int) -> None:
    recorder = Recorder(RandomChooser(rng=random.Random(seed)))
    made = conditional(recorder)
    genotype = Genotype.from_json(recorder.genotype.to_json())
    assert genotype == recorder.genotype
    chooser = ReplayChooser(genotype)
    assert conditional(chooser) == made
    assert chooser.unused == ()


@pytest.mark.parametrize("text", ["", "[1]", '{"a": {"b": 1}}', '{"a": null}', '{"a": [[1]]}', "nonsense"])
def test_a_malformed_genotype_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="genotype"):
        Genotype.from_json(text)


def test_replay_names_the_question_it_cannot_answer() -> None:
    with pytest.raises(UserError, match="no answer to 'stem'"):
        conditional(ReplayChooser(Genotype(())))
    with pytest.raises(UserError, match="answers 9 to 'stem'"):
        conditional(ReplayChooser(Genotype((("stem", 9),))))


def test_replay_asks_its_fallback_for_what_is_missing_or_does_not_fit() -> None:
    genotype = Genotype((("stem", 9), ("depth", 1), ("part0.kind", "pool"), ("part7.kind", "pool")))
    chooser = ReplayChooser(genotype, fallback=RandomChooser(rng=random.Random(0)))
    made = conditional(chooser)
    assert made[0] in (8, 16)
    assert made[1:] == ("pool",)
    assert chooser.unused == ("part7.kind",)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_a_mutation_changes_one_answer_and_stays_in_the_space(seed: int) -> None:
    rng = random.Random(seed)
    recorder = Recorder(RandomChooser(rng=rng))
    conditional(recorder)
    name, changed = mutate(recorder.decisions, rng=rng)
    before, after = dict(recorder.genotype.values), dict(changed.values)
    assert [other for other in before if before[other] != after[other]] == [name]
    mutant = Recorder(ReplayChooser(changed, fallback=RandomChooser(rng=rng)))
    conditional(mutant)
    assert all(decision.value in decision.domain for decision in mutant.decisions)
    assert dict(mutant.genotype.values)[name] == after[name]


def test_there_must_be_something_to_mutate() -> None:
    with pytest.raises(UserError, match="nothing to mutate"):
        mutate((Decision(OneOf("n", (1,)), 1),), rng=random.Random(0))


def near(domain: Domain, value: Value) -> list[Value]:
    return [dict(genotype.values)["n"] for _, genotype in neighbours((Decision(domain, value),))]


@given(domains())
def test_neighbours_are_other_answers_of_the_domain_and_the_relation_is_symmetric(domain: Domain) -> None:
    around = {value: near(domain, value) for value in domain.values()}
    for value, others in around.items():
        assert value not in others
        assert len(set(others)) == len(others)
        assert all(other in domain and value in around[other] for other in others)
    # Whoever steps from neighbour to neighbour comes to every answer.
    reached, border = set(), [next(domain.values())]
    while border:
        value = border.pop()
        if value not in reached:
            reached.add(value)
            border.extend(around[value])
    assert len(reached) == domain.count


def test_neighbours_of_each_kind_of_question() -> None:
    assert near(OneOf("n", ("a", "b", "c")), "b") == ["a", "c"]
    assert near(Integer("n", 1, 9), 4) == [3, 5]
    assert near(Integer("n", 1, 9), 9) == [8]
    assert near(Subset("n", (1, 2, 3), 1, 2), (1, 3)) == [(3,), (1,)]
    assert near(Subset("n", (1, 2, 3), 2, 2), (1, 3)) == [(2, 3), (1, 2)]


def test_neighbours_change_one_decision_each() -> None:
    recorder = Recorder(RandomChooser(rng=random.Random(5)))
    conditional(recorder)
    before = dict(recorder.genotype.values)
    found = list(neighbours(recorder.decisions))
    assert len(found) == sum(len(list(neighbours((decision,)))) for decision in recorder.decisions)
    for name, genotype in found:
        assert [other for other, value in genotype.values if value != before[other]] == [name]


def test_asking_twice_is_a_mistake_of_the_space() -> None:
    recorder = Recorder(RandomChooser(rng=random.Random(0)))
    recorder.one_of("a", (1, 2))
    with pytest.raises(UserError, match="'a' twice"):
        recorder.one_of("a", (1, 2))

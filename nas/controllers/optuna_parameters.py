"""The questions of a space as parameters of Optuna, and its suggestions as answers.

A question becomes the parameter `NAME in DOMAIN`, because Optuna forbids one name with two sets of options:

- `OneOf` a categorical one, `Integer` an integer one;
- `Subset` one yes-or-no categorical for each option (`NAME has OPTION of ...`). Where the answers break the minimum or
  maximum, options drawn at random are added or left out, and the sampler is told what was built, not what it said.

For a sampler that moves along numbers alone, a question may be coded by **places** instead: `OneOf` by the place among
its options, which must be ascending numbers, and `Subset` by a 0 or 1 for each option.
"""

import random
from collections.abc import Collection
from functools import lru_cache
from typing import Any, assert_never

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search_spaces.choices import Chooser, Decision, Domain, Integer, OneOf, Scalar, Subset, Value


class AskingChooser(Chooser):
    """Answers by the suggestions of an Optuna trial; the questions in `by_place` are coded by places."""

    def __init__(self, trial: optuna.Trial, *, rng: random.Random, by_place: Collection[Domain] = ()) -> None:
        self._trial = trial
        self._rng = rng
        self._by_place = by_place

    def decide(self, domain: Domain) -> Value:
        distributions = _distributions(domain, domain in self._by_place)
        # The public ways to ask would make equal distributions anew, and comparing them takes most of a proposal.
        said: list[Any] = [self._trial._suggest(name, distribution) for name, distribution in distributions]
        match domain:
            case OneOf():
                place = said[0] if domain in self._by_place else domain.options.index(said[0])
                return domain.options[place]
            case Integer():
                return int(said[0])
            case Subset():
                chosen = [option for option, answer in zip(domain.options, said, strict=True) if answer]
                return _repaired(chosen, domain, self._rng)
            case _:
                assert_never(domain)


def parameters_of(decision: Decision, *, by_place: Collection[Domain] = ()) -> dict[str, tuple[BaseDistribution, Any]]:
    """The parameters by which `AskingChooser` would have come to this decision."""
    domain, value = decision.domain, decision.value
    places = domain in by_place
    values: list[Any]
    match domain:
        case OneOf():
            values = [domain.options.index(value)] if places and not isinstance(value, tuple) else [value]
        case Integer():
            values = [value]
        case Subset():
            assert isinstance(value, tuple)
            values = [int(option in value) if places else option in value for option in domain.options]
        case _:
            assert_never(domain)
    return {
        name: (distribution, value)
        for (name, distribution), value in zip(_distributions(domain, places), values, strict=True)
    }


def has_places(domain: Domain) -> bool:
    """Whether the answers lie along a line, or along one for each option, so that steps in between mean something."""
    match domain:
        case OneOf():
            numbers = [option for option in domain.options if isinstance(option, int | float)]
            return len(numbers) == domain.count > 1 and numbers == sorted(numbers)
        case Integer() | Subset():
            return domain.count > 1
        case _:
            assert_never(domain)


class _SharedCategorical(CategoricalDistribution):
    """A categorical distribution of which one object stands for all equal ones, so that comparing is quick."""

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    __hash__ = CategoricalDistribution.__hash__


@lru_cache(maxsize=10_000)
def _distributions(domain: Domain, by_place: bool) -> tuple[tuple[str, BaseDistribution], ...]:
    """Name and distribution of the parameters of a question."""
    match domain:
        case OneOf(name, options):
            whole = f"{name} in {options}"
            return ((whole, IntDistribution(0, domain.count - 1) if by_place else _SharedCategorical(options)),)
        case Integer(name, low, high):
            return ((f"{name} in {low}..{high}", IntDistribution(low, high)),)
        case Subset(name, options, minimum, maximum):
            either = IntDistribution(0, 1) if by_place else _SharedCategorical((False, True))
            bounds = f"{minimum} to {maximum} of {options}"
            return tuple((f"{name} has {option!r} of {bounds}", either) for option in options)
        case _:
            assert_never(domain)


def _repaired(chosen: list[Scalar], domain: Subset, rng: random.Random) -> Value:
    """The nearest answer within the bounds on the size, what to add or leave out being drawn at random."""
    if len(chosen) > domain.maximum:
        chosen = rng.sample(chosen, domain.maximum)
    elif len(chosen) < domain.minimum:
        rest = [option for option in domain.options if option not in chosen]
        chosen = chosen + rng.sample(rest, domain.minimum - len(chosen))
    return tuple(option for option in domain.options if option in chosen)

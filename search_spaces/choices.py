"""Decisions: how a search space asks, how anybody answers (at random, from a record, by a policy), and what is recorded.

A space is a function from a `Chooser` to an architecture. Each question is a **domain** (`OneOf`, `Subset`,
`Integer`) with a name; a domain with its answer is a **decision**; the answers by name, in the order in which they
were asked for, are the **genotype**. Conditional and hierarchical spaces need nothing more: a question that does not
arise is not asked.
"""

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TypeVar

from search_spaces.errors import UserError

Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...]
"""An answer: one of the options, a whole number, or, for a subset, the chosen options in the domain's order."""

OptionT = TypeVar("OptionT", bound=Scalar)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class OneOf:
    """Exactly one of the options."""

    name: str
    options: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if len(set(self.options)) != len(self.options) or not self.options:
            raise UserError(f"decision {self.name!r}: options must be distinct and not empty, got {self.options}")

    @property
    def count(self) -> int:
        """How many answers there are."""
        return len(self.options)

    def values(self) -> Iterator[Value]:
        """Every answer, in order."""
        return iter(self.options)

    def sample(self, rng: random.Random) -> Value:
        """One answer, uniformly."""
        return self.options[int(rng.random() * len(self.options))]

    def __contains__(self, value: object) -> bool:
        return any(value == option and type(value) is type(option) for option in self.options)


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from `low` to `high`, both included; near numbers are meant to behave alike."""

    name: str
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise UserError(f"decision {self.name!r}: low {self.low} is above high {self.high}")

    @property
    def count(self) -> int:
        """How many answers there are."""
        return self.high - self.low + 1

    def values(self) -> Iterator[Value]:
        """Every answer, in order."""
        return iter(range(self.low, self.high + 1))

    def sample(self, rng: random.Random) -> Value:
        """One answer, uniformly."""
        return rng.randint(self.low, self.high)

    def __contains__(self, value: object) -> bool:
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Subset:
    """Between `minimum` and `maximum` of the options."""

    name: str
    options: tuple[Scalar, ...]
    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        if len(set(self.options)) != len(self.options):
            raise UserError(f"decision {self.name!r}: options must be distinct, got {self.options}")
        if not 0 <= self.minimum <= self.maximum <= len(self.options):
            raise UserError(
                f"decision {self.name!r}: between {self.minimum} and {self.maximum} of {len(self.options)} options"
            )

    @property
    def count(self) -> int:
        """How many answers there are."""
        return sum(comb(len(self.options), size) for size in range(self.minimum, self.maximum + 1))

    def values(self) -> Iterator[Value]:
        """Every answer, the small subsets first."""
        for size in range(self.minimum, self.maximum + 1):
            yield from combinations(self.options, size)

    def sample(self, rng: random.Random) -> Value:
        """One answer, uniformly over the subsets: its size first, by how many subsets have that size."""
        sizes = range(self.minimum, self.maximum + 1)
        (size,) = rng.choices(sizes, weights=[comb(len(self.options), size) for size in sizes])
        chosen = set(rng.sample(range(len(self.options)), size))
        return tuple(option for index, option in enumerate(self.options) if index in chosen)

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, tuple) or not self.minimum <= len(value) <= self.maximum:
            return False
        chosen = set(value)
        return value == tuple(option for option in self.options if option in chosen)


Domain = OneOf | Integer | Subset


@dataclass(frozen=True, slots=True)
class Decision:
    """A question and the answer given to it."""

    domain: Domain
    value: Value

    @property
    def name(self) -> str:
        """The name of the question."""
        return self.domain.name


@dataclass(frozen=True, slots=True)
class Genotype:
    """The answers that make an architecture, by the name of the question, in the order asked."""

    values: tuple[tuple[str, Value], ...]

    def to_json(self) -> str:
        """A JSON object from names to answers, in order; a subset is a list."""
        return json.dumps(dict(self.values), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Genotype":
        """Reads what `to_json` wrote.

        Raises:
            UserError: the text is not such an object.
        """
        try:
            answers = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"a genotype must be a JSON object from names to answers: {error}") from None
        if not isinstance(answers, dict):
            raise UserError(f"a genotype must be a JSON object from names to answers, got {type(answers).__name__}")
        values = []
        for name, answer in answers.items():
            value = tuple(answer) if isinstance(answer, list) else answer
            parts = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(part, Scalar) for part in parts):
                raise UserError(
                    f"genotype: the answer to {name!r} must be a scalar or a list of scalars, got {answer!r}"
                )
            values.append((name, value))
        return cls(tuple(values))


class Chooser(ABC):
    """Answers the questions of a search space.

    A space calls `one_of`, `integer`, `subset` and `independent`; who answers implements `decide` alone.
    """

    @abstractmethod
    def decide(self, domain: Domain) -> Value:
        """The answer to one question; must be in the domain."""

    def one_of(self, name: str, options: Sequence[OptionT]) -> OptionT:
        """One of `options`."""
        return self.decide(OneOf(name, tuple(options)))  # type: ignore[return-value]

    def integer(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return self.decide(Integer(name, low, high))  # type: ignore[return-value]

    def subset(
        self, name: str, options: Sequence[OptionT], *, minimum: int = 0, maximum: int | None = None
    ) -> tuple[OptionT, ...]:
        """Between `minimum` and `maximum` (all, unless told) of `options`, in their order."""
        most = len(options) if maximum is None else maximum
        return self.decide(Subset(name, tuple(options), minimum, most))  # type: ignore[return-value]

    def independent(self, name: str, function: Callable[["Chooser"], ResultT]) -> ResultT:
        """Asks the questions of `function`, their names prefixed by `name` and a dot.

        By this call a space promises that no answer given inside changes which questions are asked after it, which is
        what lets `count` multiply instead of enumerate.
        """
        return function(_Prefixed(self, name + "."))


class _Prefixed(Chooser):
    """Passes questions on with a prefix before their names."""

    def __init__(self, chooser: Chooser, prefix: str) -> None:
        self._chooser = chooser
        self._prefix = prefix

    def decide(self, domain: Domain) -> Value:
        match domain:
            case OneOf(name, options):
                return self._chooser.decide(OneOf(self._prefix + name, options))
            case Integer(name, low, high):
                return self._chooser.decide(Integer(self._prefix + name, low, high))
            case Subset(name, options, minimum, maximum):
                return self._chooser.decide(Subset(self._prefix + name, options, minimum, maximum))

    def independent(self, name: str, function: Callable[[Chooser], ResultT]) -> ResultT:
        return self._chooser.independent(self._prefix + name, function)


class RandomChooser(Chooser):
    """Answers uniformly and independently."""

    def __init__(self, *, rng: random.Random) -> None:
        self._rng = rng

    def decide(self, domain: Domain) -> Value:
        return domain.sample(self._rng)


class ReplayChooser(Chooser):
    """Answers from a genotype; where that has no fitting answer, asks `fallback`, or refuses if there is none."""

    def __init__(self, genotype: Genotype, *, fallback: Chooser | None = None) -> None:
        self._answers = dict(genotype.values)
        self._fallback = fallback
        self._asked: set[str] = set()

    def decide(self, domain: Domain) -> Value:
        self._asked.add(domain.name)
        if domain.name in self._answers and self._answers[domain.name] in domain:
            return self._answers[domain.name]
        if self._fallback is not None:
            return self._fallback.decide(domain)
        if domain.name not in self._answers:
            raise UserError(f"the genotype has no answer to {domain.name!r}; was it made for another space?")
        raise UserError(
            f"the genotype answers {self._answers[domain.name]!r} to {domain.name!r}, which is not in {domain}"
        )

    @property
    def unused(self) -> tuple[str, ...]:
        """The names answered in the genotype that were never asked."""
        return tuple(name for name in self._answers if name not in self._asked)


class Recorder(Chooser):
    """Lets another chooser answer and keeps every decision, in order."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._decisions: dict[str, Decision] = {}

    def decide(self, domain: Domain) -> Value:
        if domain.name in self._decisions:
            raise UserError(f"the space asks {domain.name!r} twice; give every question a name of its own")
        value = self._chooser.decide(domain)
        self._decisions[domain.name] = Decision(domain, value)
        return value

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions so far."""
        return tuple(self._decisions.values())

    @property
    def genotype(self) -> Genotype:
        """The answers so far."""
        return Genotype(tuple((name, decision.value) for name, decision in self._decisions.items()))


def mutate(decisions: tuple[Decision, ...], *, rng: random.Random) -> tuple[str, Genotype]:
    """Gives one decision, drawn uniformly among those with a choice, another answer; returns its name and the answers.

    The genotype returned may lack answers to questions that only now arise, or have some too many: replay it with a
    fallback, which answers what is new and leaves all else as it was.

    Raises:
        UserError: no decision has more than one answer.
    """
    open_decisions = [decision for decision in decisions if decision.domain.count > 1]
    if not open_decisions:
        raise UserError("nothing to mutate: every decision of this space has a single answer")
    chosen = rng.choice(open_decisions)
    value = other_answer(chosen, rng=rng)
    answers = tuple((d.name, value if d is chosen else d.value) for d in decisions)
    return chosen.name, Genotype(answers)


def other_answer(decision: Decision, *, rng: random.Random) -> Value:
    """An answer that was not given, uniformly; the question must have one."""
    value = decision.value
    while value == decision.value:
        value = decision.domain.sample(rng)
    return value


def neighbours(decisions: tuple[Decision, ...]) -> Iterator[tuple[str, Genotype]]:
    """Every way to answer one decision a little otherwise: its name and the answers, in the order of the decisions.

    - `OneOf`: every other option.
    - `Integer`: the numbers one below and one above.
    - `Subset`: one option put in or left out; where the size is fixed, one exchanged for another.

    So where the questions do not depend on the answers, the relation is symmetric and connects the whole space. The
    genotypes may lack answers or have some too many, as those of `mutate`.
    """
    for changed in decisions:
        for value in _near(changed):
            yield changed.name, Genotype(tuple((d.name, value if d is changed else d.value) for d in decisions))


def _near(decision: Decision) -> Iterator[Value]:
    match decision.domain, decision.value:
        case OneOf() as domain, value:
            yield from (option for option in domain.options if option != value)
        case Integer() as domain, int(value):
            yield from (number for number in (value - 1, value + 1) if number in domain)
        case Subset() as domain, tuple(value):
            chosen = set(value)
            flips: list[set[Scalar]] = [{option} for option in domain.options]
            if domain.minimum == domain.maximum:
                flips = [{gone, come} for gone in value for come in domain.options if come not in chosen]
            changes = (tuple(o for o in domain.options if (o in chosen) != (o in flip)) for flip in flips)
            yield from (change for change in changes if change in domain)
        case domain, value:
            raise AssertionError(f"{value!r} is no answer to {domain}")

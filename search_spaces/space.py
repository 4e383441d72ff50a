"""The contract of a search space, and what every space can do because of it."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.architecture import Architecture
from search_spaces.choices import (
    Chooser,
    Decision,
    Genotype,
    RandomChooser,
    Recorder,
    ReplayChooser,
    mutate,
    neighbours,
)
from search_spaces.enumeration import count, enumerate_choices
from search_spaces.errors import UserError
from search_spaces.slots import Slots


@dataclass(frozen=True, slots=True)
class Elaboration:
    """What a chooser made of a space: the decisions taken and the architecture they mean."""

    decisions: tuple[Decision, ...]
    architecture: Architecture

    @property
    def genotype(self) -> Genotype:
        """The answers alone, which suffice to make the architecture again."""
        return Genotype(tuple((decision.name, decision.value) for decision in self.decisions))


class SearchSpace(ABC):
    """A set of architectures, as a function from choices to an architecture.

    Contract of `build`: the same answers give an equal architecture; the questions asked depend on earlier answers
    alone; every answer within its domain gives an architecture that passes `verify`. `name` is what `load` knows the
    space by. A space is a value: equal parameters, equal space.
    """

    name: str

    @abstractmethod
    def build(self, choose: Chooser) -> Architecture:
        """The architecture that the answers of `choose` mean."""

    def slots(self) -> Slots:
        """The space as one network with slots, whose decisions are those of `build` in the same order.

        Only a space whose decisions each choose operations for fixed places has this form.

        Raises:
            UserError: the space is not of this form.
        """
        raise UserError(f"the space {self.name!r} is not one network with slots; analyze its networks one by one")

    def published_name(self, genotype: Genotype) -> tuple[str, str] | None:
        """The name that published tables give an architecture, behind that of the column; None where there are none."""
        return None

    def elaborate(self, chooser: Chooser) -> Elaboration:
        """Lets `chooser` answer, and keeps the decisions."""
        recorder = Recorder(chooser)
        architecture = self.build(recorder)
        return Elaboration(recorder.decisions, architecture)

    def sample(self, *, rng: random.Random) -> Architecture:
        """An architecture from uniform, independent answers."""
        return self.build(RandomChooser(rng=rng))

    def replay(self, genotype: Genotype) -> Elaboration:
        """Makes a recorded architecture again.

        Raises:
            UserError: the genotype lacks an answer, has one too many, or one outside its domain.
        """
        chooser = ReplayChooser(genotype)
        elaboration = self.elaborate(chooser)
        if chooser.unused:
            raise UserError(
                f"the space {self.name!r} does not ask {chooser.unused[0]!r}; was the genotype made for another?"
            )
        return elaboration

    def mutate(self, genotype: Genotype, *, rng: random.Random) -> tuple[str, Elaboration]:
        """Changes one decision at random and answers what newly arises at random; returns the name of the changed one."""
        name, changed = mutate(self.replay(genotype).decisions, rng=rng)
        return name, self.complete(changed, rng=rng)

    def complete(self, genotype: Genotype, *, rng: random.Random) -> Elaboration:
        """Answers as the genotype does, at random where it has no fitting answer; what it has too many is left out."""
        return self.elaborate(ReplayChooser(genotype, fallback=RandomChooser(rng=rng)))

    def neighbours(self, genotype: Genotype) -> Iterator[tuple[str, Elaboration]]:
        """Every architecture one small change of a decision away (see `choices.neighbours`), with the decision's name."""
        for name, changed in neighbours(self.replay(genotype).decisions):
            yield name, self.neighbour(changed)

    def neighbour(self, changed: Genotype) -> Elaboration:
        """The architecture that one of `choices.neighbours` means.

        Questions that the change raises are answered at random, but always alike for the same changed answers; so a
        neighbourhood is one finite set, however large the space behind a change.
        """
        return self.complete(changed, rng=random.Random(changed.to_json()))

    def enumerate(self) -> Iterator[tuple[Genotype, Architecture]]:
        """Every genotype with its architecture, each genotype once."""
        return enumerate_choices(self.build)

    def count(self) -> int:
        """The exact number of genotypes."""
        return count(self.build)

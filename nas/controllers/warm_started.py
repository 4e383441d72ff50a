"""Lets any controller begin with architectures that were chosen beforehand, and go on by itself from what became of them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

from db.trial import Trial
from nas.controllers.controller import Controller, Proposal
from search_spaces.choices import Genotype


class Start(NamedTuple):
    """An architecture to begin with, and how it came to be chosen, in JSON values."""

    genotype: Genotype
    chosen: dict[str, Any]


class WarmStarted(Controller):
    """Proposes up to `count` starts first, one for each number of a proposal; everything else is the controller's own.

    It observes the trials of the starts like any other (`Controller.adopt`). The starts are asked for when the first of
    them is proposed, so a search that is resumed behind them does not find them again. A proposal of one says so in
    its information, under `warm_start`.
    """

    def __init__(self, controller: Controller, find: Callable[[], Sequence[Start]], *, count: int) -> None:
        super().__init__(controller.space, controller.objectives, seed=controller.seed)
        self.ends_by_itself = controller.ends_by_itself
        self._controller = controller
        self._find = find
        self._count = count

    @cached_property
    def _starts(self) -> Sequence[Start]:
        return self._find()[: self._count]

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        if number >= self._count or number >= len(self._starts):
            return self._controller.propose(number, rng=rng)
        start = self._starts[number]
        proposal = self._controller.adopt(self.space.replay(start.genotype), number, rng=rng)
        return replace(proposal, information={**proposal.information, "warm_start": start.chosen})

    def observe(self, trial: Trial) -> None:
        self._controller.observe(trial)

    def incumbent(self) -> int | None:
        return self._controller.incumbent()

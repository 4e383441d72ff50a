"""Random search: every question answered uniformly, whatever was observed."""

import random

from db.trial import Trial
from nas.controllers.controller import Controller, Proposal
from search_spaces.choices import RandomChooser


class RandomSearch(Controller):
    """Proposes architectures from uniform, independent answers; the baseline that others must beat."""

    def propose(self, number: int, *, rng: random.Random) -> Proposal:
        return Proposal(self.space.elaborate(RandomChooser(rng=rng)))

    def observe(self, trial: Trial) -> None:
        pass

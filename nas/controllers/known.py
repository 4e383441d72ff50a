"""What was observed already, so that a controller does not spend a proposal on it.

Two genotypes are one architecture where their canonical keys agree. A key takes some milliseconds, which a proposal can
afford once; those worked out are kept for all controllers of a space in this process, as a bake-off has thousands.
"""

from collections.abc import Callable
from functools import lru_cache

from db.trial import Trial
from nas.controllers.controller import Proposal
from search_spaces.choices import Genotype
from search_spaces.space import Elaboration, SearchSpace

DRAWS = 20
"""How often a proposal is drawn before one is made that is known; in a space nearly used up, or for a method that has
converged, there may be no other."""


class KnownArchitectures:
    """The architectures of the trials added so far, whatever became of them."""

    def __init__(self, space: SearchSpace) -> None:
        self._genotypes: set[Genotype] = set()
        self._keys: set[str] = set()
        self._key_memo = keys_of(space)

    def add(self, trial: Trial) -> bool:
        """Takes in the architecture of a trial; returns whether it was new."""
        is_new = trial.key not in self._keys
        self._genotypes.add(trial.genotype)
        self._keys.add(trial.key)
        return is_new

    def first_unknown(self, draw: Callable[[], Proposal]) -> Proposal:
        """The first of up to `DRAWS` proposals whose architecture is not known, else the last."""
        for _ in range(DRAWS):
            proposal = draw()
            if proposal.elaboration not in self:
                break
        return proposal

    def __contains__(self, elaboration: Elaboration) -> bool:
        return elaboration.genotype in self._genotypes or self.key(elaboration) in self._keys

    def key(self, elaboration: Elaboration) -> str:
        """The canonical key of an architecture, known or not."""
        genotype = elaboration.genotype
        if genotype not in self._key_memo:
            self._key_memo[genotype] = elaboration.architecture.simplified().key
        return self._key_memo[genotype]


def keys_of(space: SearchSpace) -> dict[Genotype, str]:
    """The canonical keys of a space's architectures that were worked out in this process; a memo, filled by its users."""
    try:
        return _keys_of(space)
    except TypeError:
        # A space that cannot be hashed has a memo for each controller.
        return {}


@lru_cache(maxsize=4)
def _keys_of(space: SearchSpace) -> dict[Genotype, str]:
    return {}

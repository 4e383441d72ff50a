"""What was observed already, so that a controller does not spend a proposal on it.

Two genotypes are one architecture where their canonical keys agree. A key takes some milliseconds, which a proposal can
afford once; those worked out are kept for all controllers of a space in this process, as a bake-off has thousands.
"""

from functools import lru_cache

from db.trial import Trial
from search_spaces.choices import Genotype
from search_spaces.space import Elaboration, SearchSpace


class KnownArchitectures:
    """The architectures of the trials added so far, whatever became of them."""

    def __init__(self, space: SearchSpace) -> None:
        self._genotypes: set[Genotype] = set()
        self._keys: set[str] = set()
        self._key_memo = keys_of(space)

    def add(self, trial: Trial) -> None:
        """Takes in the architecture of a trial."""
        self._genotypes.add(trial.genotype)
        self._keys.add(trial.key)

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

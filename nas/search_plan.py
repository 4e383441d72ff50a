"""What a session needs to know of its search besides where to store it, and where its random numbers come from."""

import random
from dataclasses import dataclass
from hashlib import sha256

from nas.early_stopping import NEVER, StoppingRule
from nas.objectives import Constraint, Objective


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What a session needs to know of its search besides where to store it."""

    name: str
    space: str
    data: str
    budget: int
    epochs: int
    seed: int
    training_seed: int
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    evaluation_key: str
    reported: tuple[str, ...] = ()
    """Metrics that no controller sees."""
    time_budget_seconds: float | None = None
    """The seconds of evaluation, added up over all trials, after which no more are begun."""
    stopping: StoppingRule = NEVER
    checkpoints: str | None = None
    """Where evaluations keep their state, if they do: a directory's path or an fsspec URL."""


def proposal_rng(seed: int, proposal: int) -> random.Random:
    """The random numbers of one proposal: a function of the search's seed and the proposal's number alone."""
    return random.Random(int.from_bytes(sha256(f"{seed}/{proposal}".encode()).digest()[:8]))

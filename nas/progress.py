"""How far a search has come, as one value that any display can show."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from db.trial import UNBOUNDED, Trial


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """What one worker is at: which trial, how many of its epochs are measured, and for how long."""

    worker: str
    number: int
    epoch: int
    epochs: int
    seconds: float


def at_work(trials: Iterable[Trial], epochs_measured: Callable[[int], int]) -> tuple[WorkerProgress, ...]:
    """What the workers of these running trials are at."""
    now = time.time()
    return tuple(
        WorkerProgress(
            worker=trial.worker or "",
            number=trial.number or 0,
            epoch=epochs_measured(trial.number or 0),
            epochs=trial.fidelity,
            # Clocks may have been put back since.
            seconds=max(0.0, now - (trial.started_at or now)),
        )
        for trial in trials
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of a running search."""

    name: str
    objectives: tuple[str, ...]
    """The names of the objectives, the most important first."""
    budget: int
    finished: int
    running: int
    reused: int
    """Finished trials whose result was known already."""
    unsuccessful: int
    """Finished trials that failed or diverged."""
    stopped: int
    """Finished trials that were stopped early."""
    rejected: int
    """Proposals that broke a constraint and were never evaluated."""
    best: Trial | None
    elapsed_seconds: float
    finished_before: int
    """Trials that had finished before this session began, which say nothing about its rate."""
    spent_seconds: float = 0.0
    """The seconds of evaluation so far, added up over all trials."""
    time_budget_seconds: float | None = None
    """After how many of them no more trials are begun; None where only trials count."""
    workers: tuple[WorkerProgress, ...] = ()
    """Those that have a trial now."""
    devices: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By GPU, the bytes spoken for and all that it has."""
    away_seconds: float | None = None
    """For how long the database has not answered; None while it does."""
    spooled: int = 0
    """Results that wait on this machine's disk for the database to come back."""

    @property
    def is_bounded(self) -> bool:
        """Whether the number of trials is a bound."""
        return self.budget < UNBOUNDED

    @property
    def trials_per_second(self) -> float:
        """Finished trials a second since this session began."""
        return (self.finished - self.finished_before) / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The expected time to the end; None before the first trial of this session has finished, and with no bound."""
        rate = self.trials_per_second
        if rate <= 0:
            return None
        left = (self.budget - self.finished) / rate
        if self.time_budget_seconds is None:
            return left if self.is_bounded else None
        share = min(1.0, self.spent_seconds / self.time_budget_seconds)
        return min(left, self.elapsed_seconds * (1 - share) / share) if share > 0 else left

    @property
    def rejected_share(self) -> float:
        """The share of all proposals so far that broke a constraint."""
        return self.rejected / max(1, self.rejected + self.finished + self.running)

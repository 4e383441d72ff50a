"""The values that the database keeps: a search, an architecture with its figures, a trial and its measurements."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from search_spaces.choices import Genotype
from search_spaces.errors import UserError


class TrialState(StrEnum):
    """Where a trial stands."""

    REJECTED = "rejected"
    """Broke a constraint; never evaluated, does not count against the budget."""
    WAITING = "waiting"
    """Proposed and recorded, not handed to a worker (yet, or again after an interruption)."""
    RUNNING = "running"
    COMPLETE = "complete"
    DIVERGED = "diverged"
    """Gave a value that is not finite."""
    FAILED = "failed"
    STOPPED = "stopped"
    """Ended early, at a fidelity below the search's own: its values are of that, and do not compare with complete ones."""

    @property
    def is_finished(self) -> bool:
        """Whether the trial has ended after being handed out, well or badly."""
        return self in (TrialState.COMPLETE, TrialState.DIVERGED, TrialState.FAILED, TrialState.STOPPED)


class SearchState(StrEnum):
    """Where a search stands."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"


UNBOUNDED = 10**9
"""The budget of a search that ends for another reason: its time is up, or its controller has nothing left to propose."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search: its name, how it was started (`run`, the resolved run file as JSON text), and who drives it now."""

    name: str
    run: str
    space: str
    controller: str
    data: str
    seed: int
    budget: int
    """The number of trials that the search may evaluate; `UNBOUNDED` where their number is no bound."""
    state: SearchState = SearchState.RUNNING
    created_at: float = 0.0
    """Seconds since 1970, UTC."""
    driver_host: str | None = None
    driver_pid: int | None = None
    driver_started_at: float | None = None
    """When that process was created, seconds since 1970: a pid alone may have been given to another process since."""

    @property
    def trial_limit(self) -> int | None:
        """The budget as people read it: None where the number of trials is no bound."""
        return None if self.budget >= UNBOUNDED else self.budget


def check_search_name(name: str) -> None:
    """Makes sure that a search can be called this: one line that can be printed, typed and stored.

    Raises:
        UserError: the name is empty, longer than 200 characters, has blanks at an end, a colon (`NAME:best` is what an
            export is called by), or a character that cannot be printed or encoded as UTF-8.
    """
    # No character without a UTF-8 encoding (a lone surrogate) is printable.
    if not 1 <= len(name) <= 200 or not name.isprintable() or name != name.strip() or ":" in name:
        raise UserError(f"search name {name!r}: give 1 to 200 printable characters, no colon, no blanks at either end")


def is_sha256(text: str) -> bool:
    """Whether it is what SHA-256 is written as: 64 hexadecimal digits, and so nothing that leads to another file."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class ArchitectureRecord:
    """A simplified architecture under its canonical key, with the figures that the analysis found."""

    key: str
    space: str
    document: str
    """The architecture's JSON."""
    figures: Mapping[str, float]
    """`params`, `macs`, `peak_inference_bytes`, … as the analysis names them."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Metrics (`val_accuracy`, `train_loss`, …) of a trial after one epoch, counted from 1."""

    epoch: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluation of an architecture in a search, or a proposal that was rejected before it."""

    proposal: int
    """The how-manieth proposal of the search this was, from 0; its random numbers derive from (seed, proposal)."""
    number: int | None
    """The how-manieth admitted proposal, from 0; None where it was rejected. Counts against the budget."""
    state: TrialState
    genotype: Genotype
    key: str
    evaluation_key: str
    """Equal for trials whose results are interchangeable: same evaluator, data, recipe, fidelity and seed policy."""
    data: str
    fidelity: int
    """Epochs of training, or levels of a table."""
    seed: int
    """The seed of the training."""
    parent: int | None = None
    """The number of the trial that this one was made from."""
    mutation: str | None = None
    """The name of the decision that was changed in the parent."""
    information: Mapping[str, Any] = field(default_factory=dict)
    """What the controller wants to remember of the proposal, JSON values only (log-probability, sampler attributes)."""
    attempts: int = 0
    """How often it was handed to a worker."""
    worker: str | None = None
    started_at: float | None = None
    """Seconds since 1970, UTC, of the latest attempt."""
    finished_at: float | None = None
    seconds: float | None = None
    """Seconds that the evaluation took on the worker; those on the simulated clock where a table tells them."""
    values: Mapping[str, float] = field(default_factory=dict)
    """The figures of the analysis and, once complete, the metrics of the evaluation, by name."""
    reason: str | None = None
    """Why it was rejected, diverged or failed; one line."""
    reused_from: tuple[str, int] | None = None
    """The search and number of the trial whose result was taken over instead of evaluating again."""
    observed: int | None = None
    """The how-manieth observation of the controller this was, from 0; None before. Replay follows this order."""
    weights_sha256: str | None = None
    """The SHA-256 of the kept weights file, where weights were kept."""

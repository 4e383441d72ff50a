"""What passes between a search and those who do its work: the task, its outcome, and the three contracts around them."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from db.trial import Measurement, TrialState
from search_spaces.architecture import Architecture
from search_spaces.choices import Genotype


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """Evaluate this architecture for so many epochs; `number` is the trial's, `attempt` counts from 1.

    `genotype` has the answers that made the architecture, by which tables may call it. `alone` says that nothing else
    may run on the same GPU meanwhile: with others beside it the architecture ran out of memory.
    """

    number: int
    architecture: Architecture
    epochs: int
    seed: int
    attempt: int = 1
    genotype: Genotype = field(default=Genotype(()))
    alone: bool = False
    checkpoints: str | None = None
    """Where the evaluation keeps its state, if it makes checkpoints: a directory's path or an fsspec URL."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluator found in the end: final metrics, and the weights as safetensors bytes where it has any.

    `note` is what the user should know of a success, in one line; it is recorded where the reason of a failure would be.
    """

    values: Mapping[str, float]
    weights: bytes | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: complete, diverged or failed, with the final metrics or the reason in one line.

    `out_of_memory` says that it failed for want of memory; `peak_device_bytes` is what it held on a GPU at most.
    """

    state: TrialState
    seconds: float
    worker: str
    values: Mapping[str, float]
    reason: str | None = None
    weights: bytes | None = None
    out_of_memory: bool = False
    peak_device_bytes: int | None = None


class Diverged(Exception):
    """Raised by an evaluator when a value is not finite; the message says which and when."""


class MakesCheckpoints:
    """Inherited by evaluators that keep their state at `EvaluationTask.checkpoints` and go on from what they find there."""

    __slots__ = ()


class Evaluator(Protocol):
    """Measures an architecture.

    `evaluate` yields a measurement after every epoch and returns the evaluation. The same task gives the same values.
    It raises `Diverged` when a value is not finite, and may be told to stop where it calls `workers.stopping.stop_point`. Evaluators are picklable and cheap until first used: data are
    loaded in the worker, once. `identity` is a JSON text that is equal for evaluators whose results are interchangeable.

    A metric called `cost_seconds` stands for the time of the evaluation: that of a simulated clock.
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the final metrics that may be objectives, the usual objective first."""
        ...

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of those metrics that every measurement on the way has, by which a trial may be stopped early."""
        ...

    @property
    def reported(self) -> tuple[str, ...]:
        """The names of the final metrics that are recorded and shown, and that no controller ever sees."""
        ...

    @property
    def levels(self) -> int | None:
        """How many fidelities there are, the last one being whole; None where `epochs` may be any number."""
        ...

    @property
    def identity(self) -> str:
        """Evaluator, data and recipe, as canonical JSON text."""
        ...

    def device_bytes(self, architecture: Architecture) -> int:
        """The bytes of a GPU that measuring this architecture is predicted to take; 0 where it takes none."""
        ...

    def check(self, architecture: Architecture) -> None:
        """Refuses an architecture that this evaluator cannot measure.

        Raises:
            UserError: saying what does not fit.
        """
        ...

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        """Measures the architecture of `task`."""
        ...


class WorkSource(Protocol):
    """Where an executor gets its work and leaves its results; called from one thread only.

    The order of calls for a task is `next_task`, any number of `report`, then exactly one of `finish` and `lost`.
    """

    @property
    def finished(self) -> bool:
        """Whether no task will be handed out any more and none is out."""
        ...

    @property
    def is_blocked(self) -> bool:
        """Whether there is none only for now, as while the database is away: ask again in a moment."""
        ...

    def next_task(self, worker: str) -> EvaluationTask | None:
        """The next task, for the named worker; None when there is none now (wait for a running one, or `finished`)."""
        ...

    def report(self, number: int, measurement: Measurement) -> bool:
        """Takes an intermediate measurement; False means that the task is to be stopped."""
        ...

    def finish(self, number: int, outcome: Outcome) -> None:
        """Takes the outcome of a task."""
        ...

    def lost(self, number: int, reason: str, *, out_of_memory: bool = False) -> None:
        """Says that the worker died, or was killed for want of memory; the task comes again while it has attempts left."""
        ...

    def heartbeat(self, devices: Mapping[str, tuple[int, int]]) -> None:
        """Is called about every second while tasks are out; `devices` has the bytes spoken for on each GPU, and all it has."""
        ...


class Executor(Protocol):
    """Runs a work source to its end.

    `run` returns when the source is finished. On an exception or KeyboardInterrupt it stops its workers, leaves no
    process behind, and lets the exception through; tasks then out are neither finished nor lost.
    """

    @property
    def workers(self) -> int:
        """How many tasks can be out at once."""
        ...

    def run(self, source: WorkSource) -> None:
        """Hands out work until the source is finished."""
        ...

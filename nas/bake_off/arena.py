"""What all searches of a bake-off share within a process: keys, figures and evaluations, each worked out once.

A search on a table costs next to nothing but these: the key of a NAS-Bench-201 network takes about 3 ms, its figures
another 0.2 ms, and thousands of searches meet the same networks again and again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from analysis import analyze
from db.trial import Measurement
from nas.controllers.known import keys_of
from search_spaces.architecture import Architecture
from search_spaces.choices import Genotype
from search_spaces.space import SearchSpace
from workers.attempt import attempt
from workers.task import EvaluationTask, Evaluator, Outcome

WORKER = "bake-off"
_RECENT = 64
"""How many architectures are kept whole, so that one just keyed need not be made again to be evaluated."""


@dataclass(frozen=True, slots=True)
class Course:
    """An evaluation from its first measurement to its outcome, as it goes when nobody stops it."""

    measurements: tuple[Measurement, ...]
    outcome: Outcome


class Arena:
    """A space and an evaluator with their memories. Isomorphs differ in figures, a little, so those go by genotype."""

    def __init__(self, space: SearchSpace, evaluator: Evaluator, *, fidelity: int, training_seed: int) -> None:
        self._evaluator = evaluator
        self._fidelity = fidelity
        self._training_seed = training_seed
        # The very memory that controllers use.
        self._keys = keys_of(space)
        self._simplified: Callable[[Genotype], Architecture] = lru_cache(_RECENT)(
            lambda genotype: space.replay(genotype).architecture.simplified()
        )
        self._figures: dict[Genotype, Mapping[str, float]] = {}
        self._courses: dict[tuple[Genotype, Genotype], Course] = {}

    def key(self, genotype: Genotype) -> str:
        """The canonical key of what the genotype makes."""
        key = self._keys.get(genotype)
        if key is None:
            key = self._keys[genotype] = self._simplified(genotype).key
        return key

    def figures(self, genotype: Genotype) -> Mapping[str, float]:
        """The figures of the analysis of what the genotype makes, simplified."""
        if genotype not in self._figures:
            self._figures[genotype] = analyze(self._simplified(genotype)).figures()
        return self._figures[genotype]

    def course(self, genotype: Genotype, record: Genotype) -> Course:
        """The evaluation of a genotype; `record` makes the first of its isomorphs in this search, which stands for it."""
        known = self._courses.get((genotype, record))
        if known is None:
            known = self._courses[genotype, record] = self._evaluate(genotype, record)
        return known

    def _evaluate(self, genotype: Genotype, record: Genotype) -> Course:
        task = EvaluationTask(
            number=0,
            architecture=self._simplified(record),
            epochs=self._fidelity,
            seed=self._training_seed,
            genotype=genotype,
        )
        steps = attempt(self._evaluator, task, worker=WORKER)
        measurements: list[Measurement] = []
        try:
            measurements.append(next(steps))
            while True:
                measurements.append(steps.send(True))
        except StopIteration as end:
            return Course(tuple(measurements), end.value)


class Values(Mapping[str, float]):
    """The values of a trial: its metrics over the figures of the analysis, which are worked out when somebody asks."""

    __slots__ = ("_figures", "metrics")

    def __init__(self, figures: Callable[[], Mapping[str, float]], metrics: Mapping[str, float]) -> None:
        self._figures = figures
        self.metrics = metrics

    def __getitem__(self, name: str) -> float:
        return self.metrics[name] if name in self.metrics else self._figures()[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._figures(), **self.metrics})

    def __len__(self) -> int:
        return len({**self._figures(), **self.metrics})

    def with_metrics(self, metrics: Mapping[str, float]) -> "Values":
        """The same figures under other metrics."""
        return Values(self._figures, metrics)

"""What a search has found, read from the database: its trials, the best, the Pareto front, a data frame."""

import math
from dataclasses import dataclass
from functools import cached_property
from shlex import quote
from typing import TYPE_CHECKING, Any

from analysis import FIGURES
from db.store import Store
from db.trial import Search, SearchState, Trial, TrialState
from db.url import shown
from nas.config import RunConfig
from nas.objectives import Objective, parse_objective
from nas.pareto import gains_of, pareto_front
from search_spaces.architecture import Architecture
from search_spaces.errors import NotFound
from workers.tabular import split_names

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
"""The number of the JSON form of results; grows when a name changes its meaning."""


@dataclass(frozen=True, slots=True)
class Found:
    """A trial with the architecture that it evaluated."""

    trial: Trial
    architecture: Architecture

    @property
    def key(self) -> str:
        """The canonical key of the architecture."""
        return self.trial.key

    @property
    def values(self) -> dict[str, float]:
        """Figures of the analysis and metrics of the evaluation, by name."""
        return dict(self.trial.values)


class SearchResult:
    """A search as it stands in the database when it is first looked at.

    Raises:
        NotFound: there is no such database or search.
    """

    def __init__(self, db: str, name: str) -> None:
        self.db = db
        self.name = name
        with Store.open(db, mode="read") as store:
            self.search: Search = store.search(name)
            self.trials: list[Trial] = store.trials(name)
            self.rejected_count = store.rejected_count(name)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search optimises, the most important first."""
        return tuple(
            parse_objective(text, (text.partition(":")[0],)) for text in RunConfig.from_json(self.search.run).objectives
        )

    @property
    def rejected_share(self) -> float:
        """The share of all proposals that broke a constraint."""
        return self.rejected_count / max(1, self.rejected_count + len(self.trials))

    @cached_property
    def reported(self) -> tuple[str, ...]:
        """The values that were recorded and that no controller saw, as `--report` named them."""
        named = RunConfig.from_json(self.search.run).evaluator_settings.get("report", "")
        return tuple(name for name in split_names(str(named)) if name in self._value_names)

    @property
    def complete(self) -> list[Trial]:
        """The trials that have a result."""
        return [trial for trial in self.trials if trial.state is TrialState.COMPLETE]

    @property
    def best(self) -> Found:
        """The complete trial with the best first objective; ties go to the next ones.

        Raises:
            NotFound: no trial is complete.
        """
        return self._found(self.leaderboard()[0])

    def leaderboard(self, sort: str | None = None) -> list[Trial]:
        """The complete trials, the best first, by the objectives or by `sort` (`NAME`, `NAME:max` or `NAME:min`).

        Raises:
            NotFound: no trial is complete.
            UserError: no trial has a value named `sort`.
        """
        trials = self.complete
        if not trials:
            raise NotFound(f"search {self.name!r} has no complete trial; {self._remedy()}")
        if sort is None:
            return sorted(trials, key=lambda trial: gains_of(trial, self.objectives), reverse=True)
        objective = self._objective(sort)
        return sorted(trials, key=lambda trial: objective.gain(trial.values), reverse=True)

    def pareto(self, *names: str) -> list[Found]:
        """The trials that no other beats in every objective, or in every one of `names`; each architecture once.

        Raises:
            UserError: no trial has a value of that name.
        """
        objectives = tuple(self._objective(name) for name in names) or self.objectives
        distinct = {trial.key: trial for trial in reversed(self.complete)}
        trials = sorted(distinct.values(), key=lambda trial: objectives[0].gain(trial.values), reverse=True)
        front = pareto_front([gains_of(trial, objectives) for trial in trials])
        return [self._found(trials[index]) for index in sorted(front)]

    def frame(self) -> "pandas.DataFrame":
        """One row a trial, one column a field, figure or metric."""
        import pandas

        return pandas.DataFrame([self._row(trial) for trial in self.trials])

    def to_dict(self, trials: list[Trial] | None = None) -> dict[str, Any]:
        """The JSON form: `schema`, `search`, `state` and `trials`."""
        return {
            "schema": SCHEMA,
            "search": self.name,
            "state": str(self.search.state),
            "space": self.search.space,
            "data": self.search.data,
            "controller": self.search.controller,
            "seed": self.search.seed,
            "budget": self.search.trial_limit,
            "objectives": [str(objective) for objective in self.objectives],
            "reported": list(self.reported),
            "rejected": self.rejected_count,
            "rejected_share": self.rejected_share,
            "trials": [self._row(trial) for trial in (self.trials if trials is None else trials)],
        }

    def _row(self, trial: Trial) -> dict[str, Any]:
        """The trial's row with every value that any trial has, so that the names are the same in all rows."""
        row = trial_row(trial)
        return row | {name: None for name in self._value_names if name not in row}

    @cached_property
    def _value_names(self) -> tuple[str, ...]:
        names = [objective.name for objective in self.objectives]
        return tuple(dict.fromkeys([*(name for trial in self.trials for name in trial.values), *names]))

    def _remedy(self) -> str:
        place = f"{quote(self.name)} --db {quote(shown(self.db))}"
        if self.search.state is SearchState.COMPLETE:
            return f"see why with: nas results {place}"
        return f"continue it with: nas resume {place}"

    def _found(self, trial: Trial) -> Found:
        with Store.open(self.db, mode="read") as store:
            return Found(trial, Architecture.from_json(store.architecture(trial.key).document))

    def _objective(self, text: str) -> Objective:
        known = {name for trial in self.complete for name in trial.values} or set(FIGURES)
        name, _, direction = text.partition(":")
        for objective in self.objectives:
            if objective.name == name and not direction:
                return objective
        return parse_objective(text, known)


def trial_row(trial: Trial) -> dict[str, Any]:
    """A trial as a flat JSON object; values that are not finite become None, and no value hides a field."""
    values = {name: value if math.isfinite(value) else None for name, value in trial.values.items()}
    first = {"number": trial.number, "state": str(trial.state), "key": trial.key}
    return (first | values | first) | {
        "parent": trial.parent,
        "mutation": trial.mutation,
        "attempts": trial.attempts,
        "seconds": trial.seconds,
        "epochs": trial.fidelity,
        "worker": trial.worker,
        "reason": trial.reason,
        "reused_from": None if trial.reused_from is None else list(trial.reused_from),
        "genotype": dict(trial.genotype.values),
    }

"""The contest: who takes part in what, checked before anything runs, and one search of it."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.bake_off.arena import Arena
from nas.bake_off.contestants import Contestant, parse_contestants
from nas.bake_off.simulation import Rules, Run, Simulation
from nas.config import RunConfig, make_config
from nas.controllers import registry
from nas.objectives import Direction, Objective
from nas.preparation import Prepared, prepare, warm_started
from search_spaces.errors import UserError
from workers.tabular import COST, split_names

MARKS = (50, 100, 150, 200, 300)
"""The evaluations at which contestants are compared unless told otherwise, so far as the budget goes."""
CURVE_POINTS = 40
"""About how many points a curve has. Incumbents may cost a controller time, so they are not asked for everywhere."""
LEAST_SEEDS = 2
WARM_START = "warm_start"
"""The key of a run that stands among a contestant's settings, so that warm and cold starts can compete."""
_SHORTHANDS = ("table", "signal", "cost", "columns")
"""Settings of the evaluator that may be given beside the keys of a run file, as on the command line."""
_EACH_ITS_OWN = ("name", "controller", "controller_settings", "trials", "seed", "executor", "workers", "db")


@dataclass(frozen=True, slots=True)
class Contest:
    """Contestants, the problem as the keys of a run, the number of seeds, and where the searches are looked at."""

    contestants: tuple[Contestant, ...]
    run: dict[str, Any]
    """JSON values only."""
    seeds: int
    """The seeds are the numbers from 0 to one below this."""
    marks: tuple[float, ...]
    """Where the contestants are compared: evaluations, or seconds on the simulated clock where those are limited."""
    stops: tuple[float, ...]
    """The marks and the points of the curves between them."""
    unit: str
    """`evaluations` or `seconds`: what marks and stops are counted in."""
    measures: tuple[Objective, ...]
    """What is kept of an incumbent: the objectives, then what is only reported, each with the direction that is better."""
    judged: str
    """The measure that ranks: the first that is only reported, or else the first objective."""

    @property
    def jobs(self) -> list[tuple[int, int]]:
        """Every search as (number of the contestant, seed); all contestants with a seed come before the next seed."""
        return [(index, seed) for seed in range(self.seeds) for index in range(len(self.contestants))]

    def config(self, contestant: Contestant) -> RunConfig:
        """The run of a contestant."""
        return _config(self.run, contestant)


def make_contest(
    controllers: str | Iterable[str],
    *,
    seeds: int = 20,
    budget: int | None = None,
    at: Sequence[float] = (),
    report: str = "",
    **run: Any,
) -> Contest:
    """Checks everything that a bake-off names, by preparing every contestant.

    `run` are keys of a run file; `table`, `signal`, `cost` and `columns` stand for themselves in `evaluator_settings`.
    The evaluator is `tabular` unless told. `report` names columns as `nas search --report` does, each with `:min` or
    `:max` behind it where another end than that of the first objective is good.

    Raises:
        UserError: a name, a setting or a number is wrong; `NotFound` where there is no such table.
    """
    contestants = parse_contestants(controllers)
    _check_seeds(seeds)
    for key in run:
        if key in _EACH_ITS_OWN:
            raise UserError(f"{key}: a bake-off sets it for every search; leave it out")
    reported = [text.partition(":")[::2] for text in split_names(report)]
    given = {name: run.pop(name) for name in _SHORTHANDS if run.get(name) is not None}
    if reported:
        given["report"] = ",".join(name for name, _ in reported)
    settings = {**run.pop("evaluator_settings", {}), **given}
    keys = {key: value for key, value in run.items() if value not in (None, (), [], {})}
    keys = {"evaluator": "tabular", **keys, "evaluator_settings": settings, "executor": "serial"}
    if budget is None and keys.get("time_budget") is None:
        raise UserError("budget: say how many evaluations each search has")
    if budget is not None:
        keys["trials"] = budget
    try:
        # Any process must be able to make its own.
        keys = json.loads(json.dumps(keys))
    except (TypeError, ValueError) as error:
        raise UserError(f"a bake-off is described by numbers, texts, lists and the like: {error}") from None
    prepared = _prepared(keys, contestants)
    limit = prepared.config.time_budget
    if limit is not None and not _has_clock(prepared):
        raise UserError("time_budget: it is counted in simulated seconds, which need a column of them; name it as cost")
    unit, whole = ("evaluations", prepared.budget) if limit is None else ("seconds", limit)
    marks = _marks(at, whole, unit)
    directions = dict(reported)
    measures = (
        *prepared.objectives,
        *(_measure(name, directions.get(name, ""), prepared) for name in prepared.evaluator.reported),
    )
    return Contest(
        contestants,
        run=keys,
        seeds=seeds,
        marks=marks,
        stops=_stops(marks, whole, unit),
        unit=unit,
        measures=measures,
        judged=next(iter(prepared.evaluator.reported), prepared.objectives[0].name),
    )


class Searches:
    """Makes the searches of a contest, one after the other, in one process."""

    def __init__(self, contest: Contest) -> None:
        self._contest = contest
        prepared = prepare(contest.config(contest.contestants[0]))
        self._space = prepared.space
        self._arena = Arena(
            prepared.space,
            prepared.evaluator,
            fidelity=prepared.epochs,
            training_seed=prepared.config.training_seed,
        )
        self._rules = Rules(
            objectives=prepared.objectives,
            constraints=prepared.constraints,
            stopping=prepared.stopping,
            budget=prepared.budget,
            time_budget_seconds=prepared.config.time_budget,
            fidelity=prepared.epochs,
            training_seed=prepared.config.training_seed,
            data=prepared.data,
            evaluation_key=prepared.evaluation_key,
            reported=prepared.evaluator.reported,
            measures=tuple(measure.name for measure in contest.measures),
        )

    def simulation(self, index: int, seed: int) -> Simulation:
        """The search of a contestant with a seed, before its first trial."""
        config = self._contest.config(self._contest.contestants[index]).model_copy(update={"seed": seed})
        controller = registry.load(
            config.controller, self._space, self._rules.objectives, seed=seed, **config.controller_settings
        )
        controller = warm_started(controller, config, self._rules.constraints)
        return Simulation(self._arena, self._rules, controller, seed=seed)

    def run(self, index: int, seed: int) -> Run:
        """The search of a contestant with a seed."""
        return self.simulation(index, seed).run(self._contest.stops)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_seeds(seeds: int) -> None:
    if type(seeds) is not int or seeds < LEAST_SEEDS:
        raise UserError(
            f"seeds must be at least {LEAST_SEEDS}, got {seeds}: one search has no spread and proves nothing"
        )


def _config(run: dict[str, Any], contestant: Contestant) -> RunConfig:
    settings = dict(contestant.settings)
    warm_start = settings.pop(WARM_START, run.get(WARM_START))
    keys = {"controller": contestant.controller, "controller_settings": settings, WARM_START: warm_start}
    return make_config({**run, **keys})


def _prepared(run: dict[str, Any], contestants: tuple[Contestant, ...]) -> Prepared:
    """The run of the first contestant, once those of all have been found to be possible."""
    first, *others = [_config(run, contestant) for contestant in contestants]
    prepared = prepare(first)
    for config in others:
        # Whether the constraints can be kept does not depend on who proposes.
        prepare(config.model_copy(update={"constraints": ()}))
    return prepared


def _has_clock(prepared: Prepared) -> bool:
    settings = prepared.config.evaluator_settings
    return COST in prepared.evaluator.metrics and bool(settings.get("cost") or "table" not in settings)


def _measure(name: str, direction: str, prepared: Prepared) -> Objective:
    usual = prepared.objectives[0].direction
    if direction not in ("", *Direction):
        raise UserError(f"report: the direction of {name} must be max or min, got {direction!r}")
    return Objective(name, Direction(direction) if direction else usual)


def _marks(at: Sequence[float], whole: float, unit: str) -> tuple[float, ...]:
    if not at:
        usual: Iterable[float] = MARKS if unit == "evaluations" else (whole / 4, whole / 2, 3 * whole / 4)
        return (*(mark for mark in usual if mark < whole), whole)
    for mark in at:
        if not 0 < mark < math.inf or (unit == "evaluations" and mark != int(mark)):
            raise UserError(f"at: a mark must be a positive number of {unit}, got {mark:,.12g}")
        if mark > whole:
            raise UserError(f"at: the mark {mark:,.12g} is beyond the budget of {whole:,.12g} {unit}; leave it out")
    return tuple(sorted({int(mark) if unit == "evaluations" else float(mark) for mark in at}))


def _stops(marks: tuple[float, ...], whole: float, unit: str) -> tuple[float, ...]:
    step = whole / CURVE_POINTS
    if unit == "evaluations":
        step = max(1, round(step))
    grid = (step * number for number in range(1, CURVE_POINTS + CURVE_POINTS // 2))
    return tuple(sorted({*marks, whole, *(point for point in grid if point < whole)}))

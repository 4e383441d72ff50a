"""Starts and resumes searches: turns a run configuration into a space, an evaluator, a controller, a session and an executor."""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Any

import search_spaces
from analysis import FIGURES, analyze
from db.sqlite import database_path
from db.store import Store
from db.trial import Search, SearchState
from nas import driver
from nas.config import RunConfig
from nas.controllers import registry
from nas.controllers.controller import Controller
from nas.objectives import Constraint, Objective, parse_constraint, parse_objective
from nas.progress import Progress
from nas.result import SearchResult
from nas.session import SearchPlan, Session
from nas.weights import WeightsStore, weights_directory
from search_spaces.choices import RandomChooser
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from workers.data import describe
from workers.task import Evaluator, Executor
from workers.training import TrainingEvaluator

FEASIBILITY_SAMPLES = 500
"""How many random architectures may break the constraints before they count as impossible."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose every part was found to exist and to fit the others; nothing is written or started yet."""

    config: RunConfig
    space: SearchSpace
    evaluator: Evaluator
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    controller: Controller

    @property
    def evaluation_key(self) -> str:
        """Equal for runs whose results are interchangeable: same evaluator, data, recipe, epochs and training seed."""
        text = json.dumps([self.evaluator.identity, self.config.epochs, self.config.training_seed])
        return sha256(text.encode()).hexdigest()[:32]


def prepare(config: RunConfig) -> Prepared:
    """Finds every part that a run names.

    Raises:
        UserError: a name is unknown, a setting does not fit, the evaluator cannot measure what the space makes, or no
            architecture seems to keep the constraints.
    """
    data = describe(config.data)
    _refuse_reserved("space_settings", config.space_settings, _SET_FOR_SPACE)
    space = search_spaces.load(
        config.space, input_shape=data.input_shape, classes=data.classes, **config.space_settings
    )
    evaluator = TrainingEvaluator(data=config.data)
    objectives = tuple(parse_objective(text, (*evaluator.metrics, *FIGURES)) for text in config.objectives)
    names = [objective.name for objective in objectives]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"objectives: {twice} is named twice; give it once")
    constraints = tuple(parse_constraint(text, FIGURES) for text in config.constraints)
    controller = _make_controller(config, space, objectives)
    prepared = Prepared(config, space, evaluator, objectives, constraints, controller)
    # A sample with its decisions recorded also shows mistakes in a space of one's own.
    evaluator.check(space.elaborate(RandomChooser(rng=random.Random(config.seed))).architecture)
    _check_feasible(prepared)
    return prepared


def search(config: RunConfig, *, listener: Callable[[Progress], None] = lambda progress: None) -> SearchResult:
    """Runs a new search to its end.

    Raises:
        UserError: see `prepare`; `Conflict` where the name is taken. Nothing is written then.
        KeyboardInterrupt: what had finished is kept, and the search can be resumed.
    """
    prepared = prepare(config)
    WeightsStore(weights_directory(database_path(config.db))).check()
    with Store.open(config.db, mode="create") as store:
        name = config.name or _free_name(store, config)
        named = config.model_copy(update={"name": name})
        store.create_search(
            Search(
                name=name,
                run=named.to_json(),
                space=config.space,
                controller=config.controller,
                data=config.data,
                seed=config.seed,
                budget=config.trials,
                created_at=time.time(),
                driver_host=driver.host(),
                driver_pid=driver.pid(),
                driver_started_at=driver.started_at(driver.pid()),
            )
        )
        _drive(prepared, name, store, listener)
    return SearchResult(config.db, name)


def resume(name: str, db: str, *, listener: Callable[[Progress], None] = lambda progress: None) -> SearchResult:
    """Continues a search where it stopped; a complete one is left as it is.

    Raises:
        NotFound: there is no such database or search.
        Conflict: another process drives the search now.
    """
    with Store.open(db, mode="write") as store:
        found = store.search(name)
        if found.state is SearchState.COMPLETE:
            return SearchResult(db, name)
        prepared = prepare(RunConfig.from_json(found.run))
        driver.claim(store, found)
        _drive(prepared, name, store, listener)
    return SearchResult(db, name)


def make_executor(prepared: Prepared) -> Executor:
    """The executor that the run names."""
    config = prepared.config
    if config.executor == "serial":
        from workers.serial import SerialExecutor

        return SerialExecutor(prepared.evaluator)
    from workers.ray_pool import RayPoolExecutor

    return RayPoolExecutor(prepared.evaluator, workers=config.workers)


_SET_FOR_SPACE = {"name": "the key space", "input_shape": "the data", "classes": "the data"}
_SET_FOR_CONTROLLER = {
    "name": "the key controller",
    "space": "the key space",
    "objectives": "the key objectives",
    "seed": "the key seed",
}


def _refuse_reserved(key: str, settings: Mapping[str, Any], reserved: Mapping[str, str]) -> None:
    """Refuses settings that the rest of the run sets; `reserved` says by what."""
    for name in settings:
        if name in reserved:
            raise UserError(f"{key}: {name!r} is set by {reserved[name]}; leave it out")


def _make_controller(config: RunConfig, space: SearchSpace, objectives: tuple[Objective, ...]) -> Controller:
    settings = config.controller_settings
    _refuse_reserved("controller_settings", settings, _SET_FOR_CONTROLLER)
    if not settings:
        return registry.load(config.controller, space, objectives, seed=config.seed)
    try:
        controller = registry.load(config.controller, space, objectives, seed=config.seed, **settings)
        # Some values fail only where they are used; a proposal changes nothing, so this one is thrown away.
        controller.propose(0, rng=random.Random(config.seed))
    except UserError:
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        given = ", ".join(f"{name} = {value!r}" for name, value in settings.items())
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"controller_settings: {config.controller!r} cannot work with {given}: {reason}; change or leave out"
        ) from error
    return controller


def _drive(prepared: Prepared, name: str, store: Store, listener: Callable[[Progress], None]) -> None:
    config = prepared.config
    plan = SearchPlan(
        name=name,
        space=config.space,
        data=config.data,
        budget=config.trials,
        epochs=config.epochs,
        seed=config.seed,
        training_seed=config.training_seed,
        objectives=prepared.objectives,
        constraints=prepared.constraints,
        evaluation_key=prepared.evaluation_key,
    )
    session = Session(plan, prepared.controller, store, WeightsStore(weights_directory(store.path)), listener=listener)
    state = SearchState.INTERRUPTED
    try:
        make_executor(prepared).run(session)
        state = SearchState.COMPLETE
    finally:
        session.close()
        driver.release(store, name, state)


def _free_name(store: Store, config: RunConfig) -> str:
    """The first of CONTROLLER-DATA-1, -2, … that no search has."""
    taken = {summary.search.name for summary in store.searches()}
    stem = f"{config.controller.replace(':', '-')}-{config.data}"
    return next(name for number in count(1) if (name := f"{stem}-{number}") not in taken)


def _check_feasible(prepared: Prepared) -> None:
    """Refuses constraints that none of many random architectures keeps."""
    if not prepared.constraints:
        return
    rng = random.Random(prepared.config.seed)
    nearest: dict[str, float] = {}
    for _ in range(FEASIBILITY_SAMPLES):
        figures = analyze(prepared.space.sample(rng=rng).simplified()).figures()
        broken = [constraint for constraint in prepared.constraints if not constraint.holds(figures)]
        if not broken:
            return
        for constraint in broken:
            best = min if constraint.comparison in ("<", "<=") else max
            value = figures[constraint.name]
            nearest[constraint.name] = best(nearest.get(constraint.name, value), value)
    found = ", ".join(f"{name} {value:,.12g}" for name, value in nearest.items())
    wanted = " and ".join(str(constraint) for constraint in prepared.constraints)
    raise UserError(
        f"constraint {wanted}: none of {FEASIBILITY_SAMPLES} random architectures of {prepared.config.space!r} keeps it "
        f"(nearest: {found}); relax it"
    )

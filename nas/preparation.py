"""Prepares a run: finds the space, the evaluator, the objectives and the controller that it names, and tries them out."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import search_spaces
import workers.registry
from analysis import FIGURES, analyze
from db.trial import UNBOUNDED
from nas.config import RunConfig
from nas.controllers import registry
from nas.controllers.controller import Controller
from nas.controllers.warm_started import WarmStarted
from nas.early_stopping import NEVER, StoppingRule, make_rule
from nas.objectives import Constraint, Objective, parse_constraint, parse_objective
from nas.warm_start import Proxy, find_starts, parse_warm_start
from search_spaces.choices import RandomChooser
from search_spaces.errors import UserError, unknown_name
from search_spaces.space import SearchSpace
from workers.data import describe
from workers.task import Evaluator

DEFAULT_TRIALS = 30
DEFAULT_EPOCHS = 20
FEASIBILITY_SAMPLES = 500
"""How many random architectures may break the constraints before they count as impossible."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose every part was found to exist and to fit the others; nothing is written or started yet."""

    config: RunConfig
    """With everything spelled out that the run file left to its parts: `objectives`, `trials` and `epochs`."""
    space: SearchSpace
    evaluator: Evaluator
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    controller: Controller
    stopping: StoppingRule
    budget: int
    epochs: int

    @property
    def evaluation_key(self) -> str:
        """Equal for runs whose results are interchangeable: same evaluator, data, recipe, epochs and training seed."""
        text = json.dumps([self.evaluator.identity, self.epochs, self.config.training_seed])
        return sha256(text.encode()).hexdigest()[:32]

    @property
    def data(self) -> str:
        """What the results are measured on: a data set, or the name of a table."""
        table = self.config.evaluator_settings.get("table")
        return self.config.data if table is None else Path(str(table)).stem


def prepare(config: RunConfig) -> Prepared:
    """Finds every part that a run names.

    Raises:
        UserError: a name is unknown, a setting does not fit, the evaluator cannot measure what the space makes, or no
            architecture seems to keep the constraints.
    """
    space, evaluator = _make_space_and_evaluator(config)
    epochs = _epochs(config, evaluator)
    config = config.model_copy(
        update={"epochs": epochs, "objectives": config.objectives or (f"{evaluator.metrics[0]}:max",)}
    )
    objectives = tuple(parse_objective(text, (*evaluator.metrics, *FIGURES)) for text in config.objectives)
    names = [objective.name for objective in objectives]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"objectives: {twice} is named twice; give it once")
    constraints = tuple(parse_constraint(text, FIGURES) for text in config.constraints)
    controller = warm_started(_make_controller(config, space, objectives), config, constraints)
    unlimited = config.time_budget is not None or controller.ends_by_itself
    budget = config.trials or (UNBOUNDED if unlimited else DEFAULT_TRIALS)
    config = config.model_copy(update={"trials": budget})
    stopping = _make_stopping(config, evaluator, objectives, epochs)
    prepared = Prepared(config, space, evaluator, objectives, constraints, controller, stopping, budget, epochs)
    # A sample with its decisions recorded also shows mistakes in a space of one's own.
    evaluator.check(space.elaborate(RandomChooser(rng=random.Random(config.seed))).architecture)
    _check_feasible(prepared)
    return prepared


def _make_space_and_evaluator(config: RunConfig) -> tuple[SearchSpace, Evaluator]:
    """The space, made for the data where the evaluator measures on data, and the evaluator."""
    if workers.registry.takes_data(config.evaluator):
        data = describe(config.data)
        _refuse_reserved("space_settings", config.space_settings, _SET_FOR_SPACE)
        made_for: dict[str, Any] = {"input_shape": data.input_shape, "classes": data.classes}
    else:
        made_for = {}
    space = search_spaces.load(config.space, **made_for, **config.space_settings)
    _refuse_reserved("evaluator_settings", config.evaluator_settings, _SET_FOR_EVALUATOR)
    given = {"data": config.data, "space": space}
    return space, workers.registry.load(config.evaluator, given=given, settings=config.evaluator_settings)


def _epochs(config: RunConfig, evaluator: Evaluator) -> int:
    """How far a trial goes: the evaluator's own fidelities where it has them."""
    if evaluator.levels is None:
        return config.epochs or DEFAULT_EPOCHS
    if config.epochs not in (None, evaluator.levels):
        raise UserError(
            f"epochs: the evaluator {config.evaluator!r} has {evaluator.levels} levels of fidelity of its own; leave epochs out"
        )
    return evaluator.levels


def _make_stopping(
    config: RunConfig, evaluator: Evaluator, objectives: tuple[Objective, ...], epochs: int
) -> StoppingRule:
    if config.stopping is None:
        if config.stopping_settings:
            raise UserError("stopping_settings: they need stopping, which is not set; set it or leave them out")
        return NEVER
    for objective in objectives:
        if objective.name not in (*evaluator.measured, *FIGURES):
            raise UserError(
                f"stopping: {objective.name} is not known before a trial ends; stop by {', '.join(evaluator.measured)}"
            )
    settings = dict(config.stopping_settings)
    for key, value in settings.items():
        if key not in ("reduction", "least"):
            raise unknown_name("key in stopping_settings", key, ("reduction", "least"))
        if type(value) is not int:
            raise UserError(f"stopping_settings: {key} must be a whole number, got {value!r}")
    return make_rule(
        config.stopping,
        fidelity=epochs,
        levels=evaluator.levels,
        reduction=settings.get("reduction", 3),
        least=settings.get("least", 1),
    )


_SET_FOR_EVALUATOR = {"data": "the key data", "space": "the key space"}
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


def warm_started(controller: Controller, config: RunConfig, constraints: tuple[Constraint, ...]) -> Controller:
    """The controller as it begins where the run has a warm start, else as it is; nothing is drawn or scored yet.

    Raises:
        UserError: there is no such proxy, it cannot score what the space makes, or the controller needs none.
    """
    if config.warm_start is None:
        return controller
    wanted = parse_warm_start(config.warm_start)
    if controller.ends_by_itself:
        raise UserError(f"warm_start: the controller {config.controller!r} tries all there are; leave it out")
    space = controller.space
    data = config.data if workers.registry.takes_data(config.evaluator) else None
    proxy = Proxy(wanted.proxy, space, data=data, seed=config.training_seed)
    find = partial(find_starts, wanted, proxy, space, constraints, seed=config.seed)
    return WarmStarted(controller, find, count=wanted.count)


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

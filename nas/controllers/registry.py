"""Finds controllers by name: our own, those of other packages (entry points `nas.controllers`), and `module:attribute`.

Either leads to a subclass of `Controller`; its keyword arguments behind `seed` are the settings. Modules are
imported only when their controller is loaded, so that listing names needs neither torch nor optuna.
"""

import inspect
import typing
from typing import Any, TypeGuard

from nas.controllers.controller import Controller
from nas.objectives import Objective
from search_spaces.errors import UserError, unknown_name
from search_spaces.plugins import Plugins
from search_spaces.space import SearchSpace


def _is_controller(found: object) -> TypeGuard[type[Controller]]:
    return isinstance(found, type) and issubclass(found, Controller) and not inspect.isabstract(found)


_CONTROLLERS = Plugins(
    kind="controller",
    group="nas.controllers",
    built_in={
        "enumerate": "nas.controllers.enumerate_space:Enumeration",
        "random": "nas.controllers.random_search:RandomSearch",
        "evolution": "nas.controllers.evolution:RegularisedEvolution",
        "local-search": "nas.controllers.local_search:LocalSearch",
        "predictor": "nas.controllers.predictor:PredictorGuidedEvolution",
        "graph-gp": "nas.controllers.graph_gp:GraphGaussianProcess",
        "reinforce": "nas.controllers.reinforce:Reinforce",
        "pareto-evolution": "nas.controllers.pareto_evolution:ParetoEvolution",
        "ppo": "nas.controllers.ppo:Ppo",
        "optuna": "nas.controllers.optuna_sampler:OptunaSampler",
    },
    wanted="a subclass of nas.controllers.controller.Controller with propose and observe",
    fits=_is_controller,
)


def names() -> tuple[str, ...]:
    """The names that `load` knows, in order."""
    return _CONTROLLERS.names()


def descriptions() -> dict[str, str]:
    """The first line that the module of every controller says of itself, by name; of a broken one, what is wrong."""
    return _CONTROLLERS.descriptions(_CONTROLLERS.module_summary)


def load(name: str, space: SearchSpace, objectives: tuple[Objective, ...], *, seed: int, **settings: Any) -> Controller:
    """The named controller for a space.

    `optuna:SAMPLER` is short for `optuna` with the setting `sampler`; any other `module:attribute` is the user's own.

    Raises:
        UserError: the name or a setting is unknown, a setting has the wrong type, the controller refuses its value, or
            the package that offers it cannot be imported or offers something else.
    """
    base, colon, sampler = name.partition(":")
    if is_own(name):
        base = name
    _CONTROLLERS.check(base)
    if colon and base != name:
        if base != "optuna":
            raise UserError(f"controller {name!r}: only optuna takes a sampler behind a colon; write {base!r}")
        if not sampler:
            raise UserError(
                f"controller {name!r}: there is no sampler behind the colon; write 'optuna' or 'optuna:tpe'"
            )
        if settings.setdefault("sampler", sampler) != sampler:
            raise UserError(
                f"controller {name!r}: the setting sampler says {settings['sampler']!r}; give one of the two"
            )
    found = _CONTROLLERS.load(base)
    _check_settings(base, found, settings)
    try:
        inspect.signature(found).bind(space, objectives, seed=seed, **settings)
    except TypeError as error:
        raise UserError(
            f"controller {base!r}: it must be made by (space, objectives, *, seed, …), but: {error}"
        ) from None
    return found(space, objectives, seed=seed, **settings)


def is_own(name: str) -> bool:
    """Whether a name is a reference to a class of the user's own, `module:attribute`, whose module will be run."""
    base, colon, _ = name.partition(":")
    return bool(colon) and not _CONTROLLERS.has(base)


def _check_settings(name: str, found: type[Controller], settings: dict[str, Any]) -> None:
    """Refuses settings that the constructor does not know or whose type it does not declare."""
    parameters = inspect.signature(found).parameters
    try:
        hints = typing.get_type_hints(found.__init__)
    except NameError:
        # Annotations that only a type checker can follow say nothing here.
        hints = {}
    known = [key for key, item in parameters.items() if item.kind is inspect.Parameter.KEYWORD_ONLY and key != "seed"]
    takes_more = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    for key, value in settings.items():
        if key not in known:
            if takes_more:
                continue
            if not known:
                raise UserError(f"controller {name!r} has no settings, got {key!r}; leave it out")
            raise unknown_name(f"setting of controller {name!r}", key, known)
        wanted = hints.get(key)
        if wanted not in (bool, int, float, str):
            continue
        fits = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise UserError(f"controller {name!r}: {key} must be of type {wanted.__name__}, got {value!r}")

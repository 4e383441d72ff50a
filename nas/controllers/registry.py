"""Finds controllers by name: our own, and those that other packages offer by the entry point group `nas.controllers`.

An entry point names a subclass of `Controller`; its keyword arguments behind `seed` are the settings. Modules are
imported only when their controller is loaded, so that listing names needs neither torch nor optuna.
"""

import ast
import importlib
import inspect
import typing
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas.controllers.controller import Controller
from nas.objectives import Objective
from search_spaces.errors import UserError, unknown_name
from search_spaces.space import SearchSpace

GROUP = "nas.controllers"

_BUILT_IN = {
    "random": "nas.controllers.random_search:RandomSearch",
    "evolution": "nas.controllers.evolution:RegularisedEvolution",
    "reinforce": "nas.controllers.reinforce:Reinforce",
    "optuna": "nas.controllers.optuna_sampler:OptunaSampler",
}


def names() -> tuple[str, ...]:
    """The names that `load` knows, in order."""
    return tuple(sorted(_references()))


def descriptions() -> dict[str, str]:
    """The first line that the module of every controller says of itself, by the controller's name."""
    return {name: _first_docstring_line(reference) for name, reference in sorted(_references().items())}


def load(name: str, space: SearchSpace, objectives: tuple[Objective, ...], *, seed: int, **settings: Any) -> Controller:
    """The named controller for a space; `optuna:SAMPLER` is short for `optuna` with the setting `sampler`.

    Raises:
        UserError: the name or a setting is unknown, a setting has the wrong type, or the controller refuses its value.
    """
    base, _, sampler = name.partition(":")
    references = _references()
    if base not in references:
        raise unknown_name("controller", base, references)
    if sampler:
        if base != "optuna":
            raise UserError(f"controller {name!r}: only optuna takes a sampler behind a colon; write {base!r}")
        if settings.setdefault("sampler", sampler) != sampler:
            raise UserError(
                f"controller {name!r}: the setting sampler says {settings['sampler']!r}; give one of the two"
            )
    module, _, attribute = references[base].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert issubclass(found, Controller), f"the entry point {base!r} is not a Controller"
    _check_settings(base, found, settings)
    controller: Controller = found(space, objectives, seed=seed, **settings)
    return controller


def _references() -> dict[str, str]:
    """`module:class` by name; a built-in name cannot be taken by another package."""
    return {point.name: point.value for point in entry_points(group=GROUP)} | _BUILT_IN


def _first_docstring_line(reference: str) -> str:
    """Read from the source, because importing the module could import torch."""
    spec = find_spec(reference.partition(":")[0])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return docstring.splitlines()[0] if docstring else ""


def _check_settings(name: str, found: type[Controller], settings: dict[str, Any]) -> None:
    """Refuses settings that the constructor does not know or whose type it does not declare."""
    parameters = inspect.signature(found).parameters
    hints = typing.get_type_hints(found.__init__)
    known = [key for key, item in parameters.items() if item.kind is inspect.Parameter.KEYWORD_ONLY and key != "seed"]
    takes_more = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    for key, value in settings.items():
        if key not in known:
            if takes_more:
                continue
            if not known:
                raise UserError(f"controller {name!r} has no settings, got {key!r}; leave it out")
            raise unknown_name(f"setting of controller {name!r}", key, known)
        wanted = hints[key]
        fits = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise UserError(f"controller {name!r}: {key} must be of type {wanted.__name__}, got {value!r}")

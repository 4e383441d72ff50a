"""Finds evaluators by name: our own, and those that other packages offer by the entry point group `nas.evaluators`.

An entry point names a class or a function that makes a `workers.task.Evaluator`. Of its keyword arguments, `data` (the
name of a data set) and `space` (the `SearchSpace`) are given by the run where it has them; all others are settings.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeGuard

from search_spaces.errors import UserError, unknown_name
from search_spaces.plugins import Plugins
from workers.task import Evaluator

FROM_THE_RUN = ("data", "space")


def _makes_evaluator(found: object) -> TypeGuard[Callable[..., Evaluator]]:
    return callable(found)


_EVALUATORS = Plugins(
    kind="evaluator",
    group="nas.evaluators",
    built_in={
        "tabular": "workers.tabular:TabularEvaluator",
        "training": "workers.training:TrainingEvaluator",
        "zero_cost": "workers.zero_cost.evaluator:ZeroCostEvaluator",
    },
    wanted="a class or a function that makes an evaluator",
    fits=_makes_evaluator,
)


def names() -> tuple[str, ...]:
    """The names that `load` knows, in order."""
    return _EVALUATORS.names()


def takes_data(name: str) -> bool:
    """Whether the named evaluator measures on a data set, whose images the space has to be made for.

    Raises:
        UserError: the name is unknown.
    """
    return "data" in inspect.signature(_EVALUATORS.load(name)).parameters


def load(name: str, *, given: dict[str, Any], settings: dict[str, Any]) -> Evaluator:
    """The named evaluator with these settings; `given` has what the run knows of `FROM_THE_RUN`.

    Raises:
        UserError: the name or a setting is unknown, one is missing, or the evaluator refuses a value.
    """
    maker = _EVALUATORS.load(name)
    parameters = inspect.signature(maker).parameters
    known = [key for key in parameters if key not in FROM_THE_RUN]
    for key in settings:
        if key not in known:
            raise unknown_name(f"setting of evaluator {name!r}", key, known)
    for key in known:
        if parameters[key].default is inspect.Parameter.empty and key not in settings:
            raise UserError(f"evaluator {name!r} needs {key!r}; give it as --{key} or in evaluator_settings")
    try:
        return maker(**{key: value for key, value in given.items() if key in parameters}, **settings)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"evaluator_settings: {name!r} refuses {settings}: {' '.join(str(error).split())}") from error

"""The search spaces that come with nas, and how a space is found by its name."""

import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from search_spaces.errors import UserError, unknown_name
from search_spaces.ops import Shape
from search_spaces.space import SearchSpace
from search_spaces.spaces.cellular import Cellular
from search_spaces.spaces.nasbench201 import NasBench201

BUILT_IN: dict[str, type[SearchSpace]] = {"cellular": Cellular, "nasbench201": NasBench201}
"""The spaces of this package by name."""

ENTRY_POINT_GROUP = "nas.spaces"
"""Where other packages offer spaces: a callable that takes `input_shape`, `classes` and parameters of its own."""


def names() -> tuple[str, ...]:
    """The names that `load` knows, in order."""
    return tuple(sorted({*BUILT_IN, *_offered()}))


def descriptions() -> dict[str, str]:
    """The first line of the docstring of every space, by name.

    Raises:
        UserError: a space of another package cannot be imported.
    """
    return {name: (inspect.getdoc(_maker(name)) or "").partition("\n")[0] for name in names()}


def load(name: str, *, input_shape: Shape | None = None, classes: int = 10, **parameters: Any) -> SearchSpace:
    """The search space called `name`, for images of `input_shape` (channels, height, width; the space's own unless told).

    Raises:
        UserError: there is no such space, or it has no such parameter, or refuses its value.
    """
    maker = _maker(name)
    known = [
        parameter for parameter in inspect.signature(maker).parameters if parameter not in ("input_shape", "classes")
    ]
    for parameter in parameters:
        if parameter not in known:
            raise unknown_name(f"parameter of the space {name!r}", parameter, known)
    # Lists, as run files have them, would make the space unhashable.
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
    if input_shape is not None:
        given["input_shape"] = tuple(input_shape)
    return maker(classes=classes, **given)


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _maker(name: str) -> Callable[..., SearchSpace]:
    if name in BUILT_IN:
        return BUILT_IN[name]
    offered = _offered()
    if name not in offered:
        raise unknown_name("search space", name, {*BUILT_IN, *offered})
    try:
        maker: Callable[..., SearchSpace] = offered[name].load()
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the search space {name!r} ({offered[name].value}) cannot be imported: {error}; mend or remove its package"
        ) from error
    return maker

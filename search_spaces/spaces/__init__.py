"""The search spaces that come with nas, and how a space is found by its name.

Other packages offer spaces by the entry point group `nas.spaces`: a subclass of `SearchSpace`, or a function that makes
one, which takes `input_shape`, `classes` and parameters of its own.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeGuard

from search_spaces.errors import UserError, unknown_name
from search_spaces.ops import Shape
from search_spaces.plugins import Plugins, first_line
from search_spaces.space import SearchSpace


def _makes_space(found: object) -> TypeGuard[Callable[..., SearchSpace]]:
    return issubclass(found, SearchSpace) if isinstance(found, type) else callable(found)


_SPACES = Plugins(
    kind="search space",
    group="nas.spaces",
    built_in={
        "cellular": "search_spaces.spaces.cellular:Cellular",
        "digits201": "search_spaces.spaces.digits201:Digits201",
        "nasbench101": "search_spaces.spaces.nasbench101:NasBench101",
        "nasbench201": "search_spaces.spaces.nasbench201:NasBench201",
    },
    wanted="a subclass of search_spaces.SearchSpace or a function that makes one",
    fits=_makes_space,
)


def names() -> tuple[str, ...]:
    """The names that `load` knows, in order."""
    return _SPACES.names()


def descriptions() -> dict[str, str]:
    """The first line of the docstring of every space, by name; of a broken one, what is wrong with it."""
    return _SPACES.descriptions(lambda name: first_line(inspect.getdoc(_SPACES.load(name))))


def load(name: str, *, input_shape: Shape | None = None, classes: int = 10, **parameters: Any) -> SearchSpace:
    """The search space called `name`, for images of `input_shape` (channels, height, width; the space's own unless told).

    Raises:
        UserError: there is no such space, or it has no such parameter, or refuses its value, or the package that offers
            it cannot be imported or offers something else.
    """
    maker = _SPACES.load(name)
    taken = inspect.signature(maker).parameters
    known = [parameter for parameter in taken if parameter not in ("input_shape", "classes")]
    for parameter in parameters:
        if parameter not in known:
            raise unknown_name(f"parameter of the space {name!r}", parameter, known)
    # Lists, as run files have them, would make the space unhashable.
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
    # A space that is made for one kind of data need not take what tells of them.
    if input_shape is not None and "input_shape" in taken:
        given["input_shape"] = tuple(input_shape)
    if "classes" in taken:
        given["classes"] = classes
    try:
        inspect.signature(maker).bind(**given)
    except TypeError as error:
        raise UserError(f"the search space {name!r} cannot be made: {error}; give it in space_settings") from None
    space: object = maker(**given)
    if not isinstance(space, SearchSpace):
        raise UserError(
            f"the search space {name!r} makes {space!r}, which is no SearchSpace; mend or remove its package"
        )
    return space

"""What can be built: operations, graphs, and search spaces as functions from choices to architectures."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces import zoo
    from search_spaces.architecture import Architecture
    from search_spaces.choices import Genotype
    from search_spaces.space import SearchSpace
    from search_spaces.spaces import descriptions, load, names
    from search_spaces.torch_module import to_module

__all__ = ["Architecture", "Genotype", "SearchSpace", "descriptions", "load", "names", "to_module", "zoo"]

_HOMES = {
    "Architecture": "search_spaces.architecture",
    "Genotype": "search_spaces.choices",
    "SearchSpace": "search_spaces.space",
    "descriptions": "search_spaces.spaces",
    "load": "search_spaces.spaces",
    "names": "search_spaces.spaces",
    "to_module": "search_spaces.torch_module",
}


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and `nas --help` must not even wait for the spaces.
    if name == "zoo":
        return import_module("search_spaces.zoo")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

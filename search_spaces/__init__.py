"""What can be built: operations, graphs, and search spaces as functions from choices to architectures."""

from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture
from search_spaces.choices import Genotype
from search_spaces.space import SearchSpace
from search_spaces.spaces import descriptions, load, names

if TYPE_CHECKING:
    from search_spaces.torch_module import to_module

__all__ = ["Architecture", "Genotype", "SearchSpace", "descriptions", "load", "names", "to_module"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and what only describes architectures never needs it.
    if name == "to_module":
        from search_spaces.torch_module import to_module

        return to_module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

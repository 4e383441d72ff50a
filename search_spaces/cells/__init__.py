"""The families of cells, each faithful to its paper and in a file of its own, as functions that give a `Cell`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.cells.dense import dense_cell, transition_cell
    from search_spaces.cells.gated import gated_cell
    from search_spaces.cells.highway import highway_cell
    from search_spaces.cells.inception import BRANCHES, InceptionWidths, inception_cell, inception_widths
    from search_spaces.cells.inverted_residual import inverted_residual_cell, squeeze_excitation_cell
    from search_spaces.cells.plain import plain_cell
    from search_spaces.cells.pooling import POOLINGS, pooling_cell
    from search_spaces.cells.residual import basic_cell, bottleneck_cell, pre_activation_bottleneck_cell
    from search_spaces.cells.separable import separable_cell
    from search_spaces.cells.units import NORMALISATIONS, conv_unit, pre_activation_unit, unit_around

__all__ = [
    "BRANCHES",
    "NORMALISATIONS",
    "POOLINGS",
    "InceptionWidths",
    "basic_cell",
    "bottleneck_cell",
    "conv_unit",
    "dense_cell",
    "gated_cell",
    "highway_cell",
    "inception_cell",
    "inception_widths",
    "inverted_residual_cell",
    "plain_cell",
    "pooling_cell",
    "pre_activation_bottleneck_cell",
    "pre_activation_unit",
    "separable_cell",
    "squeeze_excitation_cell",
    "transition_cell",
    "unit_around",
]

_HOMES = {
    "BRANCHES": "inception",
    "InceptionWidths": "inception",
    "POOLINGS": "pooling",
    "NORMALISATIONS": "units",
    "dense_cell": "dense",
    "transition_cell": "dense",
    "gated_cell": "gated",
    "highway_cell": "highway",
    "inception_cell": "inception",
    "inception_widths": "inception",
    "inverted_residual_cell": "inverted_residual",
    "squeeze_excitation_cell": "inverted_residual",
    "plain_cell": "plain",
    "pooling_cell": "pooling",
    "basic_cell": "residual",
    "bottleneck_cell": "residual",
    "pre_activation_bottleneck_cell": "residual",
    "separable_cell": "separable",
    "conv_unit": "units",
    "pre_activation_unit": "units",
    "unit_around": "units",
}
"""The file that each name is in."""


def __getattr__(name: str) -> Any:
    # A network needs few families, and importing them all takes longer than making and analysing it.
    if name in _HOMES:
        return getattr(import_module(f"search_spaces.cells.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

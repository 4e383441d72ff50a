"""The families of cells, each faithful to its paper and in a file of its own, as functions that give a `Cell`."""

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

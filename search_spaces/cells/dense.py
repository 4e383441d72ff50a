"""The dense family: layers that add their channels to all those before them, and the transition between blocks.

A dense block is a chain of dense cells. This is DenseNet-BC: layers have a bottleneck, transitions may compress.

References:
    Huang, Liu, van der Maaten, Weinberger. Densely Connected Convolutional Networks. CVPR 2017 (section 3).
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import pre_activation_unit
from search_spaces.graph import Cell
from search_spaces.ops import Concat, pool2d

_BOTTLENECK = 4
"""The 1x1 convolution gives this many times the growth rate (section 3, "Bottleneck layers")."""


@lru_cache(maxsize=4_096)
def dense_cell(growth: int, *, kernel: int = 3, normalisation: str = "batch", activation: str = "relu") -> Cell:
    """The input, followed by `growth` new channels that a 1x1 and a `kernel` convolution make of it."""
    builder = GraphBuilder()
    value = builder.input()
    new = builder.chain(
        value,
        ("conv1", pre_activation_unit(_BOTTLENECK * growth, 1, normalisation=normalisation, activation=activation)),
        ("conv2", pre_activation_unit(growth, kernel, normalisation=normalisation, activation=activation)),
    )
    return builder.cell("dense", builder.add("concat", Concat(), value, new))


@lru_cache(maxsize=4_096)
def transition_cell(channels: int, *, normalisation: str = "batch", activation: str = "relu") -> Cell:
    """A 1x1 convolution to `channels` and an average pool of 2; the paper compresses to half of the input's channels."""
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(),
        ("conv", pre_activation_unit(channels, 1, normalisation=normalisation, activation=activation)),
        ("pool", pool2d("average", 2)),
    )
    return builder.cell("transition", end)

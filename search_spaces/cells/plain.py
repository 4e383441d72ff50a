"""The plain family: a stack of equal convolutions, as in VGG.

VGG has no normalisation and kernels of 3; both are parameters here.

References:
    Simonyan, Zisserman. Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015.
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import conv_unit
from search_spaces.graph import Cell


@lru_cache(maxsize=4_096)
def plain_cell(
    channels: int,
    *,
    layers: int = 2,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = False,
    normalisation: str = "batch",
    activation: str = "relu",
) -> Cell:
    """`layers` convolutions of `channels` each, one behind the other; the first has the stride.

    Without normalisation they have biases; with it only if `bias` asks for them.
    """
    builder = GraphBuilder()
    value = builder.input()
    for layer in range(layers):
        unit = conv_unit(
            channels,
            kernel,
            stride=stride if layer == 0 else 1,
            bias=bias,
            normalisation=normalisation,
            activation=activation,
        )
        value = builder.add(f"conv{layer + 1}", unit, value)
    return builder.cell("plain", value)

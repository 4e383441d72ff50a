"""The residual family: basic and bottleneck cells with post-activation, as in ResNet.

Where the cell changes the shape, the shortcut is a 1x1 convolution with the cell's stride (option B of the paper);
else it is the input itself. The bottleneck has its stride on the first 1x1 convolution, as published; torchvision
moved it to the 3x3.

References:
    He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016 (figure 5, equations 1 and 2).
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import conv_unit
from search_spaces.errors import UserError
from search_spaces.graph import Cell
from search_spaces.ops import Activation, Add


@lru_cache(maxsize=4_096)
def basic_cell(
    in_channels: int,
    channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    normalisation: str = "batch",
    activation: str = "relu",
) -> Cell:
    """Two convolutions of `channels` around a shortcut; `in_channels` decides whether that needs a projection."""
    first = conv_unit(channels, kernel, stride=stride, normalisation=normalisation, activation=activation)
    second = conv_unit(channels, kernel, normalisation=normalisation, activation=None)
    projection = _projection(in_channels, channels, stride, normalisation)
    return _around_shortcut("residual_basic", (first, second), projection, activation)


@lru_cache(maxsize=4_096)
def bottleneck_cell(
    in_channels: int,
    channels: int,
    *,
    expansion: int = 4,
    kernel: int = 3,
    stride: int = 1,
    normalisation: str = "batch",
    activation: str = "relu",
) -> Cell:
    """A 1x1, a `kernel` and a 1x1 convolution, the first two with `channels / expansion` channels, around a shortcut.

    Raises:
        UserError: `channels` is not a multiple of `expansion`.
    """
    if channels % expansion:
        raise UserError(f"bottleneck cell: channels {channels} must be a multiple of the expansion {expansion}")
    inner = channels // expansion
    units = (
        conv_unit(inner, 1, stride=stride, normalisation=normalisation, activation=activation),
        conv_unit(inner, kernel, normalisation=normalisation, activation=activation),
        conv_unit(channels, 1, normalisation=normalisation, activation=None),
    )
    projection = _projection(in_channels, channels, stride, normalisation)
    return _around_shortcut("residual_bottleneck", units, projection, activation)


def _around_shortcut(family: str, units: tuple[Cell, ...], projection: Cell | None, activation: str) -> Cell:
    builder = GraphBuilder()
    shortcut = value = builder.input()
    for number, unit in enumerate(units, start=1):
        value = builder.add(f"conv{number}", unit, value)
    if projection is not None:
        shortcut = builder.add("projection", projection, shortcut)
    total = builder.add("sum", Add(), value, shortcut)
    return builder.cell(family, builder.add("activation", Activation(activation), total))


def _projection(in_channels: int, channels: int, stride: int, normalisation: str) -> Cell | None:
    if stride == 1 and in_channels == channels:
        return None
    return conv_unit(channels, 1, stride=stride, normalisation=normalisation, activation=None)

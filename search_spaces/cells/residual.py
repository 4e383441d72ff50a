"""The residual family: basic and bottleneck cells with post-activation, and the bottleneck with pre-activation.

Where the cell changes the shape, the shortcut is a 1x1 convolution with the cell's stride (option B of the paper);
else it is the input itself. The bottleneck has its stride on the first 1x1 convolution, as published; torchvision
moved it to the 3x3, which is a parameter here.

With pre-activation a shortcut that changes the shape reads the activated input and is not normalised, as the authors'
code has it; the paper says so of the first cell alone.

References:
    He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016 (figure 5, equations 1 and 2).
    He, Zhang, Ren, Sun. Identity Mappings in Deep Residual Networks. ECCV 2016 (figure 4e and appendix).
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import conv_unit, norm_activation, pre_activation_unit
from search_spaces.errors import UserError
from search_spaces.graph import Cell
from search_spaces.ops import Activation, Add, conv2d


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
    stride_first: bool = True,
    normalisation: str = "batch",
    activation: str = "relu",
) -> Cell:
    """A 1x1, a `kernel` and a 1x1 convolution, the first two with `channels / expansion` channels, around a shortcut.

    The first 1x1 convolution has the stride, or the `kernel` one without `stride_first`.

    Raises:
        UserError: `channels` is not a multiple of `expansion`.
    """
    inner = _inner_channels(channels, expansion)
    first, second = (stride, 1) if stride_first else (1, stride)
    units = (
        conv_unit(inner, 1, stride=first, normalisation=normalisation, activation=activation),
        conv_unit(inner, kernel, stride=second, normalisation=normalisation, activation=activation),
        conv_unit(channels, 1, normalisation=normalisation, activation=None),
    )
    projection = _projection(in_channels, channels, stride, normalisation)
    return _around_shortcut("residual_bottleneck", units, projection, activation)


@lru_cache(maxsize=4_096)
def pre_activation_bottleneck_cell(
    in_channels: int,
    channels: int,
    *,
    expansion: int = 4,
    kernel: int = 3,
    stride: int = 1,
    normalisation: str = "batch",
    activation: str = "relu",
) -> Cell:
    """The bottleneck whose convolutions come after normalisation and activation, and whose sum is left as it is.

    Raises:
        UserError: `channels` is not a multiple of `expansion`.
    """
    inner = _inner_channels(channels, expansion)
    bias = normalisation == "none"
    style = {"normalisation": normalisation, "activation": activation}
    builder = GraphBuilder()
    shortcut = builder.input()
    activated = builder.chain(shortcut, *norm_activation(**style))
    value = builder.chain(
        activated,
        ("conv1", conv2d(inner, 1, stride=stride, bias=bias)),
        ("conv2", pre_activation_unit(inner, kernel, **style)),
        ("conv3", pre_activation_unit(channels, 1, **style)),
    )
    if stride != 1 or in_channels != channels:
        shortcut = builder.add("projection", conv2d(channels, 1, stride=stride, bias=bias), activated)
    return builder.cell("residual_pre_activation", builder.add("sum", Add(), value, shortcut))


def _inner_channels(channels: int, expansion: int) -> int:
    if channels % expansion:
        raise UserError(f"bottleneck cell: channels {channels} must be a multiple of the expansion {expansion}")
    return channels // expansion


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

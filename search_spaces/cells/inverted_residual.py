"""The inverted residual family: a thin value is widened, convolved channel by channel, and made thin again.

As MBConv of EfficientNet the cell has squeeze-and-excitation between the two last steps: each channel is scaled by a
gate that looks at all of them, averaged over the whole map. Stochastic depth, which EfficientNet has while training,
is left out.

References:
    Sandler et al. MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018 (table 1, figure 4).
    Hu, Shen, Sun. Squeeze-and-Excitation Networks. CVPR 2018 (figure 2).
    Tan, Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019 (table 1).
"""

from functools import lru_cache

from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import conv_unit, unit_around
from search_spaces.graph import Cell
from search_spaces.ops import Activation, Add, GlobalPool, Multiply, conv2d


@lru_cache(maxsize=4_096)
def inverted_residual_cell(
    in_channels: int,
    channels: int,
    *,
    expansion: int = 6,
    kernel: int = 3,
    stride: int = 1,
    squeeze: int = 0,
    normalisation: str = "batch",
    activation: str = "relu6",
) -> Cell:
    """A 1x1 convolution to `expansion` times the channels, a depthwise one, and a linear 1x1 one to `channels`.

    The input is added where the cell keeps the shape. An expansion of 1 has no first convolution; `squeeze` is the
    width inside of squeeze-and-excitation, which 0 leaves out.
    """
    wide = expansion * in_channels
    depthwise = conv2d(wide, kernel, stride=stride, groups=wide, bias=normalisation == "none")
    builder = GraphBuilder()
    value = shortcut = builder.input()
    if expansion != 1:
        value = builder.add("expand", conv_unit(wide, 1, normalisation=normalisation, activation=activation), value)
    value = builder.add("depthwise", unit_around(depthwise, normalisation=normalisation, activation=activation), value)
    if squeeze:
        value = builder.add("squeeze_excitation", squeeze_excitation_cell(wide, squeeze, activation=activation), value)
    value = builder.add("project", conv_unit(channels, 1, normalisation=normalisation, activation=None), value)
    if stride == 1 and in_channels == channels:
        value = builder.add("sum", Add(), value, shortcut)
    return builder.cell("inverted_residual", value)


@lru_cache(maxsize=4_096)
def squeeze_excitation_cell(channels: int, squeeze: int, *, activation: str = "relu") -> Cell:
    """The input, each channel scaled by a gate in (0, 1); `squeeze` is the width between the two layers of the gate."""
    builder = GraphBuilder()
    value = builder.input()
    gate = builder.chain(
        value,
        ("pool", GlobalPool()),
        ("reduce", conv2d(squeeze, 1, bias=True)),
        ("activation", Activation(activation)),
        ("restore", conv2d(channels, 1, bias=True)),
        ("gate", Activation("sigmoid")),
    )
    return builder.cell("squeeze_excitation", builder.add("scale", Multiply(), value, gate))

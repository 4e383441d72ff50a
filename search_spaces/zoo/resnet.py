"""ResNet for ImageNet with 18 to 152 layers, and the pre-activation ResNet for CIFAR with 164.

Bottlenecks of the ImageNet networks have their stride on the 3x3 convolution, as in torchvision; the paper has it on
the first 1x1. That moves no parameters, but 6 % of the multiplications.

References:
    He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016 (table 1).
    He, Zhang, Ren, Sun. Identity Mappings in Deep Residual Networks. ECCV 2016 (table 3 and appendix).
"""

from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import basic_cell, bottleneck_cell, conv_unit, pooling_cell, pre_activation_bottleneck_cell
from search_spaces.cells.units import norm_activation
from search_spaces.graph import Cell
from search_spaces.ops import Shape, conv2d
from search_spaces.zoo.parts import check_network, pooled_head, stage_cell

_WIDTHS = (64, 128, 256, 512)
_CELLS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Cells in each stage, by the number of layers: the columns of table 1."""

_EXPANSION = 4
"""A bottleneck gives this many times the channels of its 3x3 convolution."""


def _resnet(depth: int, /, *, input_shape: Shape = (3, 224, 224), classes: int = 1000) -> Architecture:
    check_network(f"resnet{depth}", input_shape, classes)
    stem = stage_cell((("conv", conv_unit(64, 7, stride=2)), ("pool", pooling_cell("overlapping_max_pool"))))
    builder = GraphBuilder()
    value = builder.add("stem", stem, builder.input())
    in_channels = 64
    for number, (width, count) in enumerate(zip(_WIDTHS, _CELLS[depth], strict=True), start=1):
        cells: list[tuple[str, Cell]] = []
        for index in range(count):
            stride = 2 if number > 1 and index == 0 else 1
            if depth < 50:
                cell = basic_cell(in_channels, width, stride=stride)
                in_channels = width
            else:
                cell = bottleneck_cell(
                    in_channels, _EXPANSION * width, expansion=_EXPANSION, stride=stride, stride_first=False
                )
                in_channels = _EXPANSION * width
            cells.append((f"cell{index}", cell))
        value = builder.add(f"stage{number}", stage_cell(cells), value)
    value = builder.add("head", pooled_head(classes), value)
    return Architecture(builder.graph(value), (input_shape,))


resnet18 = partial(_resnet, 18)
resnet34 = partial(_resnet, 34)
resnet50 = partial(_resnet, 50)
resnet101 = partial(_resnet, 101)
resnet152 = partial(_resnet, 152)


def resnet164(*, input_shape: Shape = (3, 32, 32), classes: int = 10) -> Architecture:
    """The pre-activation ResNet of three stages with 18 bottlenecks each, whose stride is on the first convolution.

    Raises:
        UserError: a parameter is refused.
    """
    check_network("resnet164", input_shape, classes)
    builder = GraphBuilder()
    value = builder.add("stem", conv2d(16, 3), builder.input())
    in_channels = 16
    for number, width in enumerate((16, 32, 64), start=1):
        cells = []
        for index in range(18):
            stride = 2 if number > 1 and index == 0 else 1
            cell = pre_activation_bottleneck_cell(in_channels, _EXPANSION * width, expansion=_EXPANSION, stride=stride)
            in_channels = _EXPANSION * width
            cells.append((f"cell{index}", cell))
        value = builder.add(f"stage{number}", stage_cell(cells), value)
    head = pooled_head(classes, *norm_activation(normalisation="batch", activation="relu"))
    return Architecture(builder.graph(builder.add("head", head, value)), (input_shape,))

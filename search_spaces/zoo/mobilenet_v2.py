"""MobileNetV2: inverted residuals in seven stages, with depthwise convolutions throughout.

References:
    Sandler et al. MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018 (table 2).
"""

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import conv_unit, inverted_residual_cell
from search_spaces.graph import Cell
from search_spaces.ops import Shape
from search_spaces.zoo.parts import check_network, pooled_head, stage_cell

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, number of cells and the stride of the first one: the columns t, c, n and s of table 2."""


def mobilenet_v2(*, input_shape: Shape = (3, 224, 224), classes: int = 1000, dropout: float = 0.2) -> Architecture:
    """MobileNetV2 of width 1.

    Raises:
        UserError: a parameter is refused.
    """
    check_network("mobilenet_v2", input_shape, classes)
    builder = GraphBuilder()
    value = builder.add("stem", conv_unit(32, 3, stride=2, activation="relu6"), builder.input())
    in_channels = 32
    for number, (expansion, channels, count, first_stride) in enumerate(_STAGES, start=1):
        cells: list[tuple[str, Cell]] = []
        for index in range(count):
            stride = first_stride if index == 0 else 1
            cell = inverted_residual_cell(in_channels, channels, expansion=expansion, stride=stride)
            cells.append((f"cell{index}", cell))
            in_channels = channels
        value = builder.add(f"stage{number}", stage_cell(cells), value)
    value = builder.add("last", conv_unit(1280, 1, activation="relu6"), value)
    value = builder.add("head", pooled_head(classes, dropout=dropout), value)
    return Architecture(builder.graph(value), (input_shape,))

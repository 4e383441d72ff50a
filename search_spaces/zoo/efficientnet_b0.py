"""EfficientNet-B0: inverted residuals with squeeze-and-excitation, found by a search for accuracy and few operations.

Batch norms have torch's usual epsilon, as torchvision's B0; the authors' code has 0.001. Stochastic depth, which acts
only while training, is left out.

References:
    Tan, Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019 (table 1).
"""

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import conv_unit, inverted_residual_cell
from search_spaces.graph import Cell
from search_spaces.ops import Shape
from search_spaces.zoo.parts import check_network, pooled_head, stage_cell

_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
"""Expansion, kernel, channels, number of cells and the stride of the first one: the MBConv rows of table 1."""


def efficientnet_b0(*, input_shape: Shape = (3, 224, 224), classes: int = 1000, dropout: float = 0.2) -> Architecture:
    """EfficientNet-B0.

    Raises:
        UserError: a parameter is refused.
    """
    check_network("efficientnet_b0", input_shape, classes)
    builder = GraphBuilder()
    value = builder.add("stem", conv_unit(32, 3, stride=2, activation="silu"), builder.input())
    in_channels = 32
    for number, (expansion, kernel, channels, count, first_stride) in enumerate(_STAGES, start=1):
        cells: list[tuple[str, Cell]] = []
        for index in range(count):
            cell = inverted_residual_cell(
                in_channels,
                channels,
                expansion=expansion,
                kernel=kernel,
                stride=first_stride if index == 0 else 1,
                squeeze=in_channels // 4,
                activation="silu",
            )
            cells.append((f"cell{index}", cell))
            in_channels = channels
        value = builder.add(f"stage{number}", stage_cell(cells), value)
    value = builder.add("last", conv_unit(1280, 1, activation="silu"), value)
    value = builder.add("head", pooled_head(classes, dropout=dropout), value)
    return Architecture(builder.graph(value), (input_shape,))

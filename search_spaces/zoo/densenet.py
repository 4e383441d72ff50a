"""DenseNet-BC for ImageNet with 121 to 201 layers, and for CIFAR with 100 layers and a growth of 12.

References:
    Huang, Liu, van der Maaten, Weinberger. Densely Connected Convolutional Networks. CVPR 2017 (table 1, section 3).
"""

from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import conv_unit, dense_cell, pooling_cell, transition_cell
from search_spaces.cells.units import norm_activation
from search_spaces.graph import Graph
from search_spaces.ops import Operation, Shape, conv2d
from search_spaces.zoo.parts import check_network, pooled_head, stage_cell

_LAYERS = {121: (6, 12, 24, 16), 161: (6, 12, 36, 24), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
"""Layers in each dense block, by the number of layers in all: the columns of table 1 (161 as torchvision has it)."""


def _densenet(depth: int, growth: int, /, *, input_shape: Shape = (3, 224, 224), classes: int = 1000) -> Architecture:
    check_network(f"densenet{depth}", input_shape, classes)
    stem = stage_cell((("conv", conv_unit(2 * growth, 7, stride=2)), ("pool", pooling_cell("overlapping_max_pool"))))
    return Architecture(_blocks(stem, growth, _LAYERS[depth], classes), (input_shape,))


densenet121 = partial(_densenet, 121, 32)
densenet161 = partial(_densenet, 161, 48)
densenet169 = partial(_densenet, 169, 32)
densenet201 = partial(_densenet, 201, 32)


def densenet100_bc(*, input_shape: Shape = (3, 32, 32), classes: int = 10) -> Architecture:
    """DenseNet-BC for CIFAR: three blocks of 16 layers with a growth of 12.

    Raises:
        UserError: a parameter is refused.
    """
    check_network("densenet100_bc", input_shape, classes)
    return Architecture(_blocks(conv2d(24, 3), 12, (16, 16, 16), classes), (input_shape,))


def _blocks(stem: Operation, growth: int, layers: tuple[int, ...], classes: int) -> Graph:
    """The stem, dense blocks with transitions between them that halve the channels, and the head."""
    builder = GraphBuilder()
    value = builder.add("stem", stem, builder.input())
    channels = 2 * growth
    for number, count in enumerate(layers, start=1):
        block = stage_cell((f"layer{index}", dense_cell(growth)) for index in range(count))
        value = builder.add(f"block{number}", block, value)
        channels += count * growth
        if number < len(layers):
            channels //= 2
            value = builder.add(f"transition{number}", transition_cell(channels), value)
    head = pooled_head(classes, *norm_activation(normalisation="batch", activation="relu"))
    return builder.graph(builder.add("head", head, value))

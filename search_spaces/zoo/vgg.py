"""VGG with 11, 13, 16 and 19 layers: stages of 3x3 convolutions, each ended by a pooling, and three linear layers.

The paper has no batch normalisation. With it (`vgg16_bn`) the convolutions keep their biases, as in torchvision. Its
averaging to 7x7 before the classifier does nothing at the published size, and lets the network take others.

References:
    Simonyan, Zisserman. Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015 (table 1).
"""

from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import plain_cell, pooling_cell
from search_spaces.ops import Shape
from search_spaces.zoo.parts import check_network, dense_head, stage_cell

_CHANNELS = (64, 128, 256, 512, 512)
_LAYERS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions in each stage: columns A, B, D and E of table 1."""


def _vgg(
    depth: int,
    normalisation: str,
    /,
    *,
    input_shape: Shape = (3, 224, 224),
    classes: int = 1000,
) -> Architecture:
    name = f"vgg{depth}" if normalisation == "none" else f"vgg{depth}_bn"
    check_network(name, input_shape, classes)
    builder = GraphBuilder()
    value = builder.input()
    for number, (channels, layers) in enumerate(zip(_CHANNELS, _LAYERS[depth], strict=True), start=1):
        convs = plain_cell(channels, layers=layers, bias=True, normalisation=normalisation)
        stage = stage_cell((("convs", convs), ("pool", pooling_cell("max_pool"))))
        value = builder.add(f"stage{number}", stage, value)
    head = dense_head(classes, features=(7, 7), dropout_first=False)
    return Architecture(builder.graph(builder.add("head", head, value)), (input_shape,))


vgg11 = partial(_vgg, 11, "none")
vgg13 = partial(_vgg, 13, "none")
vgg16 = partial(_vgg, 16, "none")
vgg19 = partial(_vgg, 19, "none")
vgg11_bn = partial(_vgg, 11, "batch")
vgg13_bn = partial(_vgg, 13, "batch")
vgg16_bn = partial(_vgg, 16, "batch")
vgg19_bn = partial(_vgg, 19, "batch")

"""AlexNet, as torchvision builds it: the single column of the second paper, which has no normalisation.

torchvision's five convolutions have 64, 192, 384, 256 and 256 channels. Its averaging to 6x6 before the classifier does
nothing at the published size, and lets the network take others.

References:
    Krizhevsky, Sutskever, Hinton. ImageNet Classification with Deep Convolutional Neural Networks. NIPS 2012.
    Krizhevsky. One Weird Trick for Parallelizing Convolutional Neural Networks. arXiv:1404.5997, 2014.
"""

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import conv_unit
from search_spaces.ops import Activation, Conv, Shape, pool2d
from search_spaces.zoo.parts import check_network, dense_head, stage_cell

_POOL = pool2d("max", 3, stride=2)


def alexnet(*, input_shape: Shape = (3, 224, 224), classes: int = 1000) -> Architecture:
    """AlexNet, for images of at least 63x63.

    Raises:
        UserError: a parameter is refused.
    """
    check_network("alexnet", input_shape, classes)
    features = stage_cell(
        (
            ("conv1", Conv(64, (11, 11), stride=(4, 4), padding=((2, 2), (2, 2)), bias=True)),
            ("activation1", Activation()),
            ("pool1", _POOL),
            ("conv2", conv_unit(192, 5, normalisation="none")),
            ("pool2", _POOL),
            ("conv3", conv_unit(384, 3, normalisation="none")),
            ("conv4", conv_unit(256, 3, normalisation="none")),
            ("conv5", conv_unit(256, 3, normalisation="none")),
            ("pool5", _POOL),
        )
    )
    head = dense_head(classes, features=(6, 6), dropout_first=True)
    builder = GraphBuilder()
    value = builder.chain(builder.input(), ("features", features), ("head", head))
    return Architecture(builder.graph(value), (input_shape,))

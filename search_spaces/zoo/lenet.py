"""LeNet-5, for digits of 32x32, with the second convolution reading all maps.

Deviations from the paper: C3 connects all maps instead of the subset of its table I, the subsampling has no weights of
its own, the classes are a linear layer instead of radial basis functions, and tanh is not scaled.

References:
    LeCun, Bottou, Bengio, Haffner. Gradient-Based Learning Applied to Document Recognition. Proc. IEEE 1998 (figure 2).
"""

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import UserError
from search_spaces.ops import Activation, Conv, Flatten, Linear, Shape, pool2d
from search_spaces.zoo.parts import check_network

_KERNEL = (5, 5)


def lenet5(*, input_shape: Shape = (1, 32, 32), classes: int = 10) -> Architecture:
    """LeNet-5 for images of 32x32.

    Raises:
        UserError: a parameter is refused.
    """
    check_network("lenet5", input_shape, classes)
    builder = GraphBuilder()
    features = builder.chain(
        builder.input(),
        ("conv1", Conv(6, _KERNEL, bias=True)),
        ("tanh1", Activation("tanh")),
        ("pool1", pool2d("average", 2)),
        ("conv2", Conv(16, _KERNEL, bias=True)),
        ("tanh2", Activation("tanh")),
        ("pool2", pool2d("average", 2)),
        ("conv3", Conv(120, _KERNEL, bias=True)),
    )
    height, width = Architecture(builder.graph(features), (input_shape,)).output_shapes[0][1:]
    if (height, width) != (1, 1):
        raise UserError(
            f"lenet5: an input_shape of {input_shape} gives features of {height}x{width}, but the classifier reads 1x1; "
            "use images of 32 to 35 pixels a side"
        )
    value = builder.chain(
        features,
        ("tanh3", Activation("tanh")),
        ("flatten", Flatten()),
        ("linear1", Linear(84)),
        ("tanh4", Activation("tanh")),
        ("linear2", Linear(classes)),
    )
    return Architecture(builder.graph(value), (input_shape,))

"""GoogLeNet: nine inception modules, with two auxiliary classifiers on the way where these are wanted.

As in torchvision, every convolution has batch normalisation instead of a bias, the widest branch has kernels of 3
instead of 5, and local response normalisation is gone. An auxiliary classifier averages to 4x4, as torchvision has it; the
paper averages windows of 5 with stride 3, which at the published size are other windows of the same number.

References:
    Szegedy et al. Going Deeper with Convolutions. CVPR 2015 (table 1 and section 5).
    Ioffe, Szegedy. Batch Normalization. ICML 2015 (section 4.2).
"""

from functools import lru_cache

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import InceptionWidths, conv_unit, inception_cell
from search_spaces.graph import Cell
from search_spaces.ops import Activation, AdaptivePool, Dropout, Flatten, Linear, Pool, Shape
from search_spaces.zoo.parts import check_network, pooled_head, stage_cell

_EPSILON = 0.001

_MODULES = {
    "inception3a": InceptionWidths(64, 96, 128, 16, 32, 32),
    "inception3b": InceptionWidths(128, 128, 192, 32, 96, 64),
    "inception4a": InceptionWidths(192, 96, 208, 16, 48, 64),
    "inception4b": InceptionWidths(160, 112, 224, 24, 64, 64),
    "inception4c": InceptionWidths(128, 128, 256, 24, 64, 64),
    "inception4d": InceptionWidths(112, 144, 288, 32, 64, 64),
    "inception4e": InceptionWidths(256, 160, 320, 32, 128, 128),
    "inception5a": InceptionWidths(256, 160, 320, 32, 128, 128),
    "inception5b": InceptionWidths(384, 192, 384, 48, 128, 128),
}
"""The rows of table 1."""

_POOLS_AFTER = {"inception3b": 3, "inception4e": 2}
"""The kernels of the poolings that halve the size behind a module; torchvision's second one is 2, the paper's is 3."""

_AUXILIARY_AFTER = {"inception4a": "auxiliary1", "inception4d": "auxiliary2"}


def googlenet(
    *,
    input_shape: Shape = (3, 224, 224),
    classes: int = 1000,
    auxiliary: bool = False,
    dropout: float = 0.2,
) -> Architecture:
    """GoogLeNet; with `auxiliary` it has the outputs `y`, `auxiliary1` and `auxiliary2`.

    Raises:
        UserError: a parameter is refused.
    """
    check_network("googlenet", input_shape, classes)
    stem = stage_cell(
        (
            ("conv1", conv_unit(64, 7, stride=2, epsilon=_EPSILON)),
            ("pool1", _halving(3)),
            ("conv2", conv_unit(64, 1, epsilon=_EPSILON)),
            ("conv3", conv_unit(192, 3, epsilon=_EPSILON)),
            ("pool2", _halving(3)),
        )
    )
    builder = GraphBuilder()
    value = builder.add("stem", stem, builder.input())
    outputs = {}
    for name, widths in _MODULES.items():
        value = builder.add(name, inception_cell(widths, large_kernel=3, epsilon=_EPSILON), value)
        if auxiliary and name in _AUXILIARY_AFTER:
            outputs[_AUXILIARY_AFTER[name]] = builder.add(_AUXILIARY_AFTER[name], _auxiliary_head(classes), value)
        if name in _POOLS_AFTER:
            value = builder.add(f"pool{name[-2:]}", _halving(_POOLS_AFTER[name]), value)
    outputs = {"y": builder.add("head", pooled_head(classes, dropout=dropout), value), **outputs}
    return Architecture(builder.graph(*outputs.values(), names=tuple(outputs)), (input_shape,))


def _halving(kernel: int) -> Pool:
    return Pool("max", (kernel, kernel), stride=(2, 2), ceil_mode=True)


@lru_cache
def _auxiliary_head(classes: int) -> Cell:
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(),
        ("pool", AdaptivePool("average", (4, 4))),
        ("conv", conv_unit(128, 1, epsilon=_EPSILON)),
        ("flatten", Flatten()),
        ("linear1", Linear(1024)),
        ("activation", Activation()),
        ("dropout", Dropout(0.7)),
        ("linear2", Linear(classes)),
    )
    return builder.cell("auxiliary_head", end)

"""Inception-v3: inception modules whose larger kernels are factorised, down to pairs of 1x7 and 7x1.

As in torchvision, whose modules are named A to E: three of figure 5, a reduction, four of figure 6, a reduction, and
two of figure 7.

References:
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna. Rethinking the Inception Architecture for Computer Vision. CVPR 2016.
"""

from functools import lru_cache

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells.units import unit_around
from search_spaces.graph import Cell
from search_spaces.ops import Concat, Conv, Flatten, GlobalPool, Linear, Operation, Pool, Shape, pool2d
from search_spaces.zoo.parts import check_network, pooled_head, stage_cell

_EPSILON = 0.001

_AVERAGE = Pool("average", (3, 3), stride=(1, 1), padding=(1, 1), count_include_pad=True)
_HALVE = pool2d("max", 3, stride=2)


def inception_v3(
    *,
    input_shape: Shape = (3, 299, 299),
    classes: int = 1000,
    auxiliary: bool = False,
    dropout: float = 0.5,
) -> Architecture:
    """Inception-v3; with `auxiliary` it has the outputs `y` and `auxiliary`.

    Raises:
        UserError: a parameter is refused.
    """
    check_network("inception_v3", input_shape, classes)
    stem = stage_cell(
        (
            ("conv1", _unit(32, 3, stride=2)),
            ("conv2", _unit(32, 3)),
            ("conv3", _unit(64, 3, same=True)),
            ("pool1", _HALVE),
            ("conv4", _unit(80, 1)),
            ("conv5", _unit(192, 3)),
            ("pool2", _HALVE),
        )
    )
    builder = GraphBuilder()
    value = builder.chain(
        builder.input(),
        ("stem", stem),
        *((f"module_a{number}", _module_a(channels)) for number, channels in enumerate((32, 64, 64), start=1)),
        ("module_b", _module_b()),
        *((f"module_c{number}", _module_c(inner)) for number, inner in enumerate((128, 160, 160, 192), start=1)),
    )
    outputs = {"auxiliary": builder.add("auxiliary", _auxiliary_head(classes), value)} if auxiliary else {}
    value = builder.chain(value, ("module_d", _module_d()), ("module_e1", _module_e()), ("module_e2", _module_e()))
    outputs = {"y": builder.add("head", pooled_head(classes, dropout=dropout), value), **outputs}
    return Architecture(builder.graph(*outputs.values(), names=tuple(outputs)), (input_shape,))


def _unit(channels: int, *kernel: int, stride: int = 1, same: bool = False) -> Cell:
    """Convolution, batch norm and ReLU; keeps the size only if `same`."""
    sides = kernel * 2 if len(kernel) == 1 else kernel
    padding = tuple((side // 2, side // 2) if same else (0, 0) for side in sides)
    return unit_around(Conv(channels, sides, stride=(stride, stride), padding=padding), epsilon=_EPSILON)


def _branches(family: str, *branches: tuple[Operation, ...]) -> Cell:
    """Chains that all read the input, side by side."""
    builder = GraphBuilder()
    value = builder.input()
    ends = []
    for number, branch in enumerate(branches, start=1):
        steps = ((f"branch{number}_{step}", operation) for step, operation in enumerate(branch, start=1))
        ends.append(builder.chain(value, *steps))
    return builder.cell(family, builder.add("concat", Concat(), *ends))


@lru_cache
def _module_a(pool_channels: int) -> Cell:
    return _branches(
        "inception_a",
        (_unit(64, 1),),
        (_unit(48, 1), _unit(64, 5, same=True)),
        (_unit(64, 1), _unit(96, 3, same=True), _unit(96, 3, same=True)),
        (_AVERAGE, _unit(pool_channels, 1)),
    )


@lru_cache
def _module_b() -> Cell:
    return _branches(
        "inception_b",
        (_unit(384, 3, stride=2),),
        (_unit(64, 1), _unit(96, 3, same=True), _unit(96, 3, stride=2)),
        (_HALVE,),
    )


@lru_cache
def _module_c(inner: int) -> Cell:
    row, column = _unit(inner, 1, 7, same=True), _unit(inner, 7, 1, same=True)
    return _branches(
        "inception_c",
        (_unit(192, 1),),
        (_unit(inner, 1), row, _unit(192, 7, 1, same=True)),
        (_unit(inner, 1), column, row, column, _unit(192, 1, 7, same=True)),
        (_AVERAGE, _unit(192, 1)),
    )


@lru_cache
def _module_d() -> Cell:
    return _branches(
        "inception_d",
        (_unit(192, 1), _unit(320, 3, stride=2)),
        (_unit(192, 1), _unit(192, 1, 7, same=True), _unit(192, 7, 1, same=True), _unit(192, 3, stride=2)),
        (_HALVE,),
    )


@lru_cache
def _module_e() -> Cell:
    split = _branches("inception_split", (_unit(384, 1, 3, same=True),), (_unit(384, 3, 1, same=True),))
    return _branches(
        "inception_e",
        (_unit(320, 1),),
        (_unit(384, 1), split),
        (_unit(448, 1), _unit(384, 3, same=True), split),
        (_AVERAGE, _unit(192, 1)),
    )


@lru_cache
def _auxiliary_head(classes: int) -> Cell:
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(),
        ("pool1", pool2d("average", 5, stride=3)),
        ("conv1", _unit(128, 1)),
        ("conv2", _unit(768, 5)),
        ("pool2", GlobalPool()),
        ("flatten", Flatten()),
        ("linear", Linear(classes)),
    )
    return builder.cell("auxiliary_head", end)

"""The `cellular` space: a stem, stages of repeated cells whose family each stage chooses, and a linear head.

The first stage keeps the size of the stem, every later one halves it. A stage asks first what its cell is (with the
questions which that family has), then how many there are of it and how they normalise and activate. What is asked
never depends on an earlier stage, so the space is counted stage by stage.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import (
    BRANCHES,
    POOLINGS,
    basic_cell,
    bottleneck_cell,
    conv_unit,
    dense_cell,
    inception_cell,
    inception_widths,
    plain_cell,
    pooling_cell,
    transition_cell,
)
from search_spaces.cells.units import norm_activation
from search_spaces.choices import Chooser
from search_spaces.errors import UserError
from search_spaces.graph import Cell
from search_spaces.ops import Dropout, Flatten, GlobalPool, Linear, Shape, pool2d
from search_spaces.parameters import check_image, check_positive
from search_spaces.space import SearchSpace

FAMILIES = ("plain", "residual", "bottleneck", "dense", "inception")
"""What the cells of a stage may be."""

_LEAST_STAGES, _MOST_STAGES = 2, 4
_LARGE_IMAGE = 96
"""From this size on the stem divides it by 4, as ResNet's and GoogLeNet's do."""


@dataclass(frozen=True, slots=True)
class CellChoice:
    """What the cells of a stage are; a field that the family does not have is None.

    `width` is the number of output channels, `growth` what each dense cell adds to them.
    """

    family: str
    width: int | None = None
    kernel: int | None = None
    expansion: int | None = None
    growth: int | None = None
    branches: tuple[str, ...] | None = None
    reduction: str | None = None


@dataclass(frozen=True, slots=True)
class StageChoice:
    """Everything a stage was asked: its cell, how often it stands there, and its normalisation and activation."""

    cell: CellChoice
    depth: int
    normalisation: str
    activation: str


@dataclass(frozen=True, slots=True)
class Cellular(SearchSpace):
    """Stages of plain, residual, bottleneck, dense or inception cells between a stem and a linear head.

    `input_shape` is (channels, height, width), at least 4 x 4; the smaller of the sizes limits the number of stages.
    `widths`, multiples of 8, are offered to the stem and to every stage, and so is every depth up to `deepest`.
    """

    input_shape: Shape = (1, 8, 8)
    classes: int = 10
    widths: tuple[int, ...] = (8, 16, 24, 32, 48)
    deepest: int = 3

    name = "cellular"

    def __post_init__(self) -> None:
        check_image(self.name, self.input_shape, smallest=4)
        check_positive(self.name, classes=self.classes, deepest=self.deepest)
        if (
            not isinstance(self.widths, tuple)
            or not self.widths
            or any(type(w) is not int or w < 8 or w % 8 for w in self.widths)
        ):
            raise UserError(f"cellular: widths must be a list of positive multiples of 8, got {self.widths!r}")

    def build(self, choose: Chooser) -> Architecture:
        stem_width = choose.independent("stem", lambda inner: inner.one_of("width", self.widths))
        stage_count = choose.integer("stages", _LEAST_STAGES, self._most_stages)
        stages = [
            choose.independent(f"stage{number}", self._stage_question(reduces=number > 1))
            for number in range(1, stage_count + 1)
        ]
        dropout = choose.independent("head", lambda inner: inner.one_of("dropout", (0.0, 0.2)))
        return self._architecture(stem_width, tuple(stages), dropout)

    @property
    def _most_stages(self) -> int:
        # The last stage still sees 2 x 2 positions.
        return min(_MOST_STAGES, (min(self._stem_sizes) // 2).bit_length())

    @property
    def _stem_sizes(self) -> Shape:
        return _stem(8, large=self._large).output_shape(self.input_shape)[1:]

    @property
    def _large(self) -> bool:
        return min(self.input_shape[1:]) >= _LARGE_IMAGE

    def _stage_question(self, *, reduces: bool) -> Callable[[Chooser], StageChoice]:
        def ask(choose: Chooser) -> StageChoice:
            cell = choose.independent("cell", lambda inner: _ask_cell(inner, self.widths, reduces=reduces))
            depth = choose.integer("depth", 1, self.deepest)
            normalisation, activation = choose.independent("unit", _ask_unit)
            return StageChoice(cell, depth, normalisation, activation)

        return ask

    def _architecture(self, stem_width: int, stages: tuple[StageChoice, ...], dropout: float) -> Architecture:
        builder = GraphBuilder()
        stem = _stem(stem_width, large=self._large)
        value = builder.add("stem", stem, builder.input())
        shape = stem.output_shape(self.input_shape)
        for number, choice in enumerate(stages, start=1):
            stage = _stage(choice, shape[0], reduces=number > 1)
            value = builder.add(f"stage{number}", stage, value)
            shape = stage.output_shape(shape)
        value = builder.add("head", _head(self.classes, dropout), value)
        return Architecture(builder.graph(value), (self.input_shape,))


def _ask_cell(choose: Chooser, widths: tuple[int, ...], *, reduces: bool) -> CellChoice:
    family = choose.one_of("family", FAMILIES)
    if family == "dense":
        # Between dense blocks stands the paper's transition, so there is no reduction to choose.
        return CellChoice(family, growth=choose.one_of("growth", (4, 8, 12)))
    width = choose.one_of("width", widths)
    branches = choose.subset("branches", BRANCHES, minimum=2) if family == "inception" else None
    kernel = None if family == "inception" else choose.one_of("kernel", (3, 5))
    expansion = choose.one_of("expansion", (2, 4)) if family == "bottleneck" else None
    reductions = POOLINGS if family == "inception" else (*POOLINGS, "strided_conv")
    reduction = choose.one_of("reduction", reductions) if reduces else None
    return CellChoice(family, width, kernel, expansion, branches=branches, reduction=reduction)


def _ask_unit(choose: Chooser) -> tuple[str, str]:
    return choose.one_of("normalisation", ("batch", "layer")), choose.one_of("activation", ("relu", "silu", "gelu"))


@lru_cache(maxsize=4_096)
def _stage(choice: StageChoice, in_channels: int, *, reduces: bool) -> Cell:
    cell = choice.cell
    style = {"normalisation": choice.normalisation, "activation": choice.activation}
    builder = GraphBuilder()
    value = builder.input()
    if cell.reduction in POOLINGS:
        value = builder.add("reduction", pooling_cell(cell.reduction), value)
    elif cell.family == "dense" and reduces:
        in_channels //= 2
        value = builder.add("transition", transition_cell(in_channels, **style), value)
    for index in range(choice.depth):
        stride = 2 if cell.reduction == "strided_conv" and index == 0 else 1
        repeated = _cell(cell, in_channels, stride, **style)
        value = builder.add(f"cell{index}", repeated, value)
        in_channels = cell.width or in_channels
    if cell.family == "dense":
        # Dense cells end in raw convolutions side by side; DenseNet normalises and activates before what follows.
        value = builder.chain(value, *norm_activation(**style))
    return builder.cell("stage", value)


def _cell(choice: CellChoice, in_channels: int, stride: int, *, normalisation: str, activation: str) -> Cell:
    match choice:
        case CellChoice("plain", width=int(width), kernel=int(kernel)):
            return plain_cell(width, kernel=kernel, stride=stride, normalisation=normalisation, activation=activation)
        case CellChoice("residual", width=int(width), kernel=int(kernel)):
            return basic_cell(
                in_channels, width, kernel=kernel, stride=stride, normalisation=normalisation, activation=activation
            )
        case CellChoice("bottleneck", width=int(width), kernel=int(kernel), expansion=int(expansion)):
            return bottleneck_cell(
                in_channels,
                width,
                expansion=expansion,
                kernel=kernel,
                stride=stride,
                normalisation=normalisation,
                activation=activation,
            )
        case CellChoice("dense", growth=int(growth)):
            return dense_cell(growth, normalisation=normalisation, activation=activation)
        case CellChoice("inception", width=int(width), branches=tuple(branches)):
            return inception_cell(inception_widths(width, branches), normalisation=normalisation, activation=activation)
    raise AssertionError(f"no cell for {choice}")


@lru_cache
def _stem(channels: int, *, large: bool) -> Cell:
    """A 3x3 convolution that keeps the size; for large images the 7x7 convolution and the pool of ResNet, both halving."""
    builder = GraphBuilder()
    value = builder.input()
    if large:
        value = builder.add("conv", conv_unit(channels, 7, stride=2), value)
        value = builder.add("pool", pool2d("max", 3, stride=2, padding=1), value)
    else:
        value = builder.add("conv", conv_unit(channels, 3), value)
    return builder.cell("stem", value)


@lru_cache
def _head(classes: int, dropout: float) -> Cell:
    builder = GraphBuilder()
    value = builder.chain(builder.input(), ("pool", GlobalPool("average")), ("flatten", Flatten()))
    if dropout:
        value = builder.add("dropout", Dropout(dropout), value)
    return builder.cell("head", builder.add("linear", Linear(classes), value))

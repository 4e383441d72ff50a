"""Hypothesis strategies for random valid architectures: nested, branching, with everything a 2-D operation may be."""

from hypothesis import strategies as st

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import InvalidArchitecture
from search_spaces.graph import Cell
from search_spaces.ops import (
    ACTIVATION_KINDS,
    PADDING_MODES,
    POOL_KINDS,
    UPSAMPLE_KINDS,
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Multiply,
    Operation,
    Pool,
    Shape,
    Upsample,
    Zero,
)

_Value = tuple[int, Shape]
"""The index of a node in its builder, and the shape of what it gives."""


@st.composite
def architectures(
    draw: st.DrawFn,
    *,
    steps: int = 6,
    depth: int = 2,
    inputs: int = 1,
    outputs: int = 1,
    classifier: bool | None = None,
) -> Architecture:
    """A valid architecture on small feature maps.

    `steps` bounds the operations, branches and cells at each level, `depth` the levels of cells (0 gives flat graphs),
    `inputs` and `outputs` the numbers of ends. A `classifier` ends in a vector; None leaves it open.
    """
    sizes = (draw(st.integers(4, 9)), draw(st.integers(4, 9)))
    shapes = tuple((draw(st.integers(1, 4)), *sizes) for _ in range(draw(st.integers(1, inputs))))
    builder = GraphBuilder()
    given = [(builder.input("x" if number == 1 else f"x{number}"), shape) for number, shape in enumerate(shapes, 1)]
    values = _grow(draw, builder, given, steps, depth, [])
    ends = [values[-1]]
    if draw(st.booleans()) if classifier is None else classifier:
        ends = [_classifier(draw, builder, values[-1])]
    for value in draw(st.lists(st.sampled_from(values), max_size=outputs - 1, unique=True)):
        if value not in ends:
            ends.append(value)
    names = tuple("y" if number == 1 else f"y{number}" for number in range(1, len(ends) + 1))
    return Architecture(builder.graph(*(index for index, _ in ends), names=names), shapes)


@st.composite
def unary_operations(draw: st.DrawFn, shape: Shape, *, keeps_shape: bool = False) -> Operation:
    """An operation that takes a feature map of `shape`; `keeps_shape` asks for one that gives such a map again."""
    kinds = (_convs, _convs, _pools, _elementwise) if keeps_shape else (_convs, _convs, _pools, _adaptive, _elementwise)
    return draw(draw(st.sampled_from(kinds))(shape, keeps_shape=keeps_shape))


@st.composite
def _convs(draw: st.DrawFn, shape: Shape, *, keeps_shape: bool) -> Conv:
    channels, *sizes = shape
    groups = draw(st.sampled_from([1, 1, channels]))
    width = channels if keeps_shape else groups * draw(st.integers(1, max(1, 6 // groups)))
    kernel, stride, padding, dilation = [], [], [], []
    for size in sizes:
        dilation.append(draw(st.integers(1, 2)))
        kernel.append(draw(st.integers(1, min(4, 1 + (size - 1) // dilation[-1]))))
        margin = dilation[-1] * (kernel[-1] - 1)
        if keeps_shape:
            before = draw(st.integers(0, margin))
            padding.append((before, margin - before))
            stride.append(1)
        else:
            padding.append((draw(st.integers(0, 2)), draw(st.integers(0, 2))))
            stride.append(draw(st.integers(1, 2)))
    return Conv(
        width,
        tuple(kernel),
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(PADDING_MODES)) if min(sizes) > 3 else "zeros",
    )


@st.composite
def _pools(draw: st.DrawFn, shape: Shape, *, keeps_shape: bool) -> Operation:
    kind = draw(st.sampled_from(POOL_KINDS))
    include = kind == "average" and draw(st.booleans())
    if keeps_shape:
        margins = tuple(draw(st.integers(0, 1)) for _ in shape[1:])
        return Pool(kind, tuple(2 * m + 1 for m in margins), (1,) * len(margins), margins, count_include_pad=include)
    kernel = tuple(draw(st.integers(1, min(3, size))) for size in shape[1:])
    stride = tuple(draw(st.integers(1, 3)) for _ in shape[1:])
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    # A last window that reads padding alone would have a maximum that is not a number.
    ceil = not any(padding) and draw(st.booleans())
    return Pool(kind, kernel, stride, padding, count_include_pad=include, ceil_mode=ceil)


def _adaptive(shape: Shape, *, keeps_shape: bool) -> st.SearchStrategy[Operation]:
    sizes = st.tuples(*(st.integers(1, 9) for _ in shape[1:]))
    return st.builds(AdaptivePool, st.sampled_from(POOL_KINDS), sizes)


def _elementwise(shape: Shape, *, keeps_shape: bool) -> st.SearchStrategy[Operation]:
    return st.one_of(
        st.builds(Activation, st.sampled_from(ACTIVATION_KINDS)),
        st.builds(BatchNorm, st.booleans()),
        st.builds(LayerNorm, st.booleans()),
        st.builds(LocalResponseNorm, st.integers(1, 6), st.floats(0.0, 1.0)),
        st.builds(ChannelShuffle, st.sampled_from([1, shape[0]])),
        st.just(ChannelSlice(0, shape[0])),
        st.just(Dropout(0.5)),
        st.just(Identity()),
        st.just(Zero()),
    )


def _grow(
    draw: st.DrawFn, builder: GraphBuilder, given: list[_Value], steps: int, depth: int, cells: list[Cell]
) -> list[_Value]:
    """Adds to `builder` until its last value depends on all those before; returns the values so far."""
    values = list(given)
    if len(given) > 1:
        values.append(_join(builder, Concat(), given))
    for _ in range(draw(st.integers(1, steps))):
        value = values[-1]
        kinds = ["operation", "operation", "branches", "skip", "gate", "upsample"] + ["cell", "cell"] * (depth > 0)
        match draw(st.sampled_from(kinds)):
            case "operation":
                values.append(_apply(builder, draw(unary_operations(value[1])), value))
            case "branches":
                values.append(_branches(draw, builder, value))
            case "skip":
                earlier = [v for v in values[:-1] if v[1][1:] == value[1][1:]]
                if earlier:
                    skipped = draw(st.sampled_from(earlier))
                    alike = skipped[1] == value[1] and draw(st.booleans())
                    values.append(_join(builder, Add() if alike else Concat(), [skipped, value]))
            case "gate":
                pooled = _apply(builder, GlobalPool(), value)
                gate = _apply(builder, Conv(value[1][0], (1, 1)), pooled)
                values.append(_join(builder, Multiply(), [gate, value] if draw(st.booleans()) else [value, gate]))
            case "upsample":
                if max(value[1][1:]) < 10:
                    upsample = Upsample(draw(st.integers(1, 3)), draw(st.sampled_from(UPSAMPLE_KINDS)))
                    values.append(_apply(builder, upsample, value))
            case "cell":
                values.append(_apply(builder, _cell(draw, value[1], steps, depth - 1, cells), value, name="cell"))
    return values


def _branches(draw: st.DrawFn, builder: GraphBuilder, value: _Value) -> _Value:
    ends = []
    for _ in range(draw(st.integers(2, 3))):
        end = value
        for _ in range(draw(st.integers(0, 2))):
            end = _apply(builder, draw(unary_operations(end[1], keeps_shape=True)), end)
        ends.append(end)
    return _join(builder, draw(st.sampled_from([Add(), Concat(), Multiply()])), ends)


def _cell(draw: st.DrawFn, shape: Shape, steps: int, depth: int, cells: list[Cell]) -> Cell:
    """A new cell for an input of `shape`, or one drawn before if it takes that."""
    fitting = [cell for cell in cells if _takes(cell, shape)]
    if fitting and draw(st.booleans()):
        return draw(st.sampled_from(fitting))
    builder = GraphBuilder()
    values = _grow(draw, builder, [(builder.input(), shape)], min(steps, 3), depth, cells)
    cells.append(builder.cell("random", values[-1][0]))
    return cells[-1]


def _takes(cell: Cell, shape: Shape) -> bool:
    try:
        cell.output_shape(shape)
    except InvalidArchitecture:
        return False
    return True


def _classifier(draw: st.DrawFn, builder: GraphBuilder, value: _Value) -> _Value:
    if draw(st.booleans()):
        value = _apply(builder, GlobalPool(draw(st.sampled_from(POOL_KINDS))), value)
    value = _apply(builder, Flatten(), value)
    return _apply(builder, Linear(draw(st.integers(1, 5)), bias=draw(st.booleans())), value)


def _apply(builder: GraphBuilder, operation: Operation, value: _Value, *, name: str | None = None) -> _Value:
    index = builder.add(name or type(operation).__name__.lower(), operation, value[0])
    return index, operation.output_shape(value[1])


def _join(builder: GraphBuilder, operation: Operation, values: list[_Value]) -> _Value:
    index = builder.add(type(operation).__name__.lower(), operation, *(index for index, _ in values))
    return index, operation.output_shape(*(shape for _, shape in values))

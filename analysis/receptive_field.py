"""What a value of a network sees of the network's input: as windows for every layer, and exactly for one position.

A **window** describes one axis: position `i` of the value sees the input from `stride * i + low` to
`stride * i + high`. Windows are theoretical: they are not clipped to the input, so a layer that "sees" more than the
whole input can be told from one that sees just all of it. They compose through nested cells (a cell is analysed once
and its windows are applied wherever it stands), and branches that join are united: the lowest low, the highest high,
so that uneven padding and branches are exact. What is global (`GlobalPool`, and `Flatten`, behind which positions are
no longer told apart) sees the union of the windows of all positions and has stride 0, as has everything behind it.
`Zero` sees nothing, which is None. A product sees what any of its factors sees, also where another is zero. Where branches of different strides join, no affine window is exact; the smallest
with the larger stride that holds both at every position is taken, or with stride 0 where one of them is global, as the
gate of squeeze-and-excitation is.

Behind an upsampling, or a pooling to a size that does not divide its input's, strides and ends may be fractions: positions differ in how many input positions they see, and the
window holds those of each; its size is the most that any sees. Padding that is not zeros is taken as outside of the
input, so windows are those of positions away from the border; `analysis.seen_box` knows what it mirrors or repeats.

References:
    Araujo, Norris, Sim: Computing receptive fields of convolutional neural networks. Distill, 2019.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from search_spaces.graph import Graph, Wiring
from search_spaces.ops import (
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    Dropout,
    Embedding,
    Flatten,
    GlobalPool,
    Identity,
    Input,
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


class Window(NamedTuple):
    """What the positions of one axis see: position `i` sees `stride * i + low` to `stride * i + high`."""

    stride: int | Fraction
    low: int | Fraction
    high: int | Fraction

    @property
    def size(self) -> int:
        """How many input positions one position sees at most, holes between them included."""
        return int(self.high - self.low) + 1

    @property
    def centre(self) -> float:
        """The middle of what position 0 sees."""
        return float((self.low + self.high) / 2)


_FARTHEST = 1 << 256
_ALL = Window(0, -_FARTHEST, _FARTHEST)
"""Strides multiply, so a file of a few thousand layers could ask for numbers of as many digits, or for such fractions."""

Field = tuple[Window, ...]
"""One window for each spatial axis of what is seen; empty if that is a vector, unless an embedding makes positions of it."""


class Taps(NamedTuple):
    """Which inputs one axis of an operation reads: output `i` reads `stride * i + dilation * t - before`, `t < kernel`."""

    kernel: int
    stride: int
    before: int
    dilation: int
    padding_mode: str = "zeros"

    @property
    def window(self) -> Window:
        """From the first tap to the last."""
        return Window(self.stride, -self.before, self.dilation * (self.kernel - 1) - self.before)

    def positions(self, output: int, length: int) -> Iterator[int]:
        """The positions of an input of this length that an output position reads."""
        first = self.stride * output - self.before
        for position in range(first, first + self.dilation * self.kernel, self.dilation):
            match self.padding_mode:
                case "reflect":
                    yield length - 1 - abs(length - 1 - abs(position))
                case "replicate":
                    yield min(max(position, 0), length - 1)
                case "circular":
                    yield position % length
                case _ if 0 <= position < length:
                    yield position


class Stretch(NamedTuple):
    """Which inputs one axis of an upsampling reads: the nearest, or those between which it `blends`."""

    factor: int
    blends: bool

    @property
    def window(self) -> Window:
        """From the first to the last that any output reads, relative to its own place."""
        stride = Fraction(1, self.factor)
        if not self.blends:
            return Window(stride, stride - 1, 0)
        # The place of an output lies between two inputs, in odd stretches sometimes on one: never nearer than `gap`.
        gap = stride if self.factor % 2 else stride / 2
        place = (stride - 1) / 2
        return Window(stride, place - 1 + gap, place + 1 - gap)

    def positions(self, output: int, length: int) -> Iterator[int]:
        """The positions of an input of this length that an output position reads."""
        if not self.blends:
            yield output // self.factor
            return
        place = max(Fraction(2 * output + 1, 2 * self.factor) - Fraction(1, 2), Fraction(0))
        first, rest = divmod(place, 1)
        yield first
        if rest:
            yield min(first + 1, length - 1)


class Sections(NamedTuple):
    """Which inputs one axis of an adaptive pooling reads: its share of them, rounded outwards to whole positions."""

    outputs: int
    inputs: int

    @property
    def window(self) -> Window:
        share = Fraction(self.inputs, self.outputs)
        rounding = 1 - Fraction(1, share.denominator)
        return Window(share if self.outputs > 1 else 0, -rounding, share - 1 + rounding)

    def positions(self, output: int, length: int) -> range:
        return range(output * length // self.outputs, -(-(output + 1) * length // self.outputs))


AxisTaps = Taps | Stretch | Sections

TapsRule = Callable[[Any, Shape], tuple[AxisTaps, ...] | None]
"""From an operation and the shape of one of its inputs to its taps on that: none at all if each position reads itself alone,
None if nothing is read."""


def _each_its_own(operation: Operation, shape: Shape) -> tuple[Taps, ...]:
    return ()


def _all_of_it(operation: Operation, shape: Shape) -> tuple[Taps, ...]:
    return tuple(Taps(size, 0, 0, 1) for size in shape[1:])


def _nothing(operation: Operation, shape: Shape) -> None:
    return None


def _conv(conv: Conv, shape: Shape) -> tuple[Taps, ...]:
    befores = (before for before, _ in conv.padding)
    return tuple(map(Taps, conv.kernel, conv.stride, befores, conv.dilation, (conv.padding_mode,) * len(conv.kernel)))


def _pool(pool: Pool, shape: Shape) -> tuple[Taps, ...]:
    return tuple(map(Taps, pool.kernel, pool.stride, pool.padding, (1,) * len(pool.kernel)))


def _adaptive_pool(pool: AdaptivePool, shape: Shape) -> tuple[Sections, ...]:
    return tuple(map(Sections, pool.output_size, shape[1:]))


def _upsample(upsample: Upsample, shape: Shape) -> tuple[Stretch, ...]:
    return (Stretch(upsample.factor, upsample.kind == "bilinear"),) * (len(shape) - 1)


def _multiply(multiply: Multiply, shape: Shape) -> tuple[Taps, ...]:
    is_gate = len(shape) > 1 and prod(shape[1:]) == 1
    return (Taps(1, 0, 0, 1),) * (len(shape) - 1) if is_gate else ()


def _embedding(embedding: Embedding, shape: Shape) -> tuple[Taps, ...]:
    return (Taps(1, 1, 0, 1),)


TAPS_RULES: dict[type[Operation], TapsRule] = {
    Input: _nothing,
    Identity: _each_its_own,
    Zero: _nothing,
    Conv: _conv,
    Pool: _pool,
    GlobalPool: _all_of_it,
    AdaptivePool: _adaptive_pool,
    Upsample: _upsample,
    Linear: _each_its_own,
    Embedding: _embedding,
    BatchNorm: _each_its_own,
    LayerNorm: _each_its_own,
    LocalResponseNorm: _each_its_own,
    Activation: _each_its_own,
    Dropout: _each_its_own,
    Flatten: _all_of_it,
    ChannelShuffle: _each_its_own,
    ChannelSlice: _each_its_own,
    Add: _each_its_own,
    Multiply: _multiply,
    Concat: _each_its_own,
}
"""Linear reads a vector, whose features are not positions."""


class Path(NamedTuple):
    """How a value depends on an input: through at most `depth` layers that multiply, by what window on each axis."""

    depth: int
    field: Field


ITSELF = Path(0, ())
"""Each position reads itself: the path of element-wise operations, whatever their shape."""


def operation_path(operation: Operation, input_shape: Shape, *, depth: int) -> Path | None:
    """The path through one operation that is not a cell, from an input of this shape; None if nothing passes."""
    taps = TAPS_RULES[type(operation)](operation, input_shape)
    return None if taps is None else Path(depth, tuple(tap.window for tap in taps))


@lru_cache(maxsize=4_096)
def whole(shape: Shape) -> Path:
    """The path of a value of this shape to itself."""
    return Path(0, (Window(1, 0, 0),) * (len(shape) - 1))


@lru_cache(maxsize=4_096)
def compose(before: Path, step: Path) -> Path:
    """The path of `before` continued by `step`."""
    depth = before.depth + step.depth
    if not step.field:
        return Path(depth, before.field)
    if len(before.field) != len(step.field):
        # An embedding of a vector: its elements become positions, unless a Flatten has joined them all before.
        return Path(depth, before.field or step.field)
    return Path(
        depth,
        tuple(
            _held(Window(b.stride * s.stride, b.stride * s.low + b.low, b.stride * s.high + b.high))
            for b, s in zip(before.field, step.field, strict=True)
        ),
    )


def _held(window: Window) -> Window:
    """The window, or one that holds it and all else, where its numbers are out of all proportion."""
    stride, low, high = window
    fits = -_FARTHEST < low <= high < _FARTHEST > stride
    return window if fits and max(stride.denominator, low.denominator, high.denominator) < _FARTHEST else _ALL


class _ShapeMatters(Exception):
    """Paths of different strides join, and where to depends on how long the axes are."""


@lru_cache(maxsize=4_096)
def unite(paths: tuple[Path, ...], shape: Shape | None) -> Path:
    """The path of a value of this shape at which several paths join: the deepest, and all that any of them sees.

    The shape matters only where strides differ; where it is not known and matters, `_ShapeMatters` is raised.
    """
    fields = [path.field for path in paths]
    depth = max([path.depth for path in paths])
    axes = len(fields[0])
    if any(len(field) != axes for field in fields):
        # One branch reads the positions of a vector, another all of it: what joins is no longer told apart.
        return Path(depth, ())
    united = []
    for axis, windows in enumerate(zip(*fields, strict=True), start=1):
        strides, lows, highs = zip(*windows, strict=True)
        stride = 0 if 0 in strides else max(strides)
        if min(strides) != stride or max(strides) != stride:
            if shape is None:
                raise _ShapeMatters
            last = shape[axis] - 1 if len(shape) == axes + 1 else 0
            lows = tuple([low + min(0, (own - stride) * last) for own, low, _ in windows])
            highs = tuple([high + max(0, (own - stride) * last) for own, _, high in windows])
        united.append(Window(stride, min(lows), max(highs)))
    return Path(depth, tuple(united))


def node_paths(
    graph: Graph,
    shapes: Sequence[Shape],
    steps: Sequence[Sequence[Path | None]],
    given: Mapping[int, Path | None],
) -> list[Path | None]:
    """The path to every node of `graph`, where `given` leads to its inputs (by the index of the node).

    `steps` holds for each node the paths from each of its inputs to its result.
    """
    return _paths(graph.wiring, shapes, steps, given)


def graph_paths(
    graph: Graph, shapes: Sequence[Shape], steps: tuple[tuple[Path | None, ...], ...]
) -> tuple[Path | None, ...]:
    """The path from each input of `graph` to its first output."""
    target = graph.outputs[0][1]
    starts = graph.inputs
    try:
        return _shapeless_paths(graph.wiring, steps, starts, tuple([len(shapes[start]) for start in starts]), target)
    except _ShapeMatters:
        return tuple([_paths(graph.wiring, shapes, steps, {start: whole(shapes[start])})[target] for start in starts])


@lru_cache(maxsize=4_096)
def repeated_path(part: Path | None, rank: int, times: int) -> Path | None:
    """The path through a chain of so many equal nodes, from a value of so many axes."""
    path = whole((1,) * rank)
    for _ in range(times):
        if part is None:
            return None
        path = path if part is ITSELF else compose(path, part)
    return path


@lru_cache(maxsize=1_024)
def _shapeless_paths(
    wiring: Wiring,
    steps: tuple[tuple[Path | None, ...], ...],
    starts: tuple[int, ...],
    ranks: tuple[int, ...],
    target: int,
) -> tuple[Path | None, ...]:
    """`graph_paths` where shapes do not matter, so that cells of one structure need it once for all sizes and widths."""
    given = [{start: whole((1,) * rank)} for start, rank in zip(starts, ranks, strict=True)]
    return tuple([_paths(wiring, None, steps, start)[target] for start in given])


def _paths(
    wiring: Wiring,
    shapes: Sequence[Shape] | None,
    steps: Sequence[Sequence[Path | None]],
    given: Mapping[int, Path | None],
) -> list[Path | None]:
    paths: list[Path | None] = []
    for sources, node_steps in zip(wiring, steps, strict=True):
        if len(sources) == 1:
            before, step = paths[sources[0]], node_steps[0]
            if before is None or step is None:
                paths.append(None)
            else:
                paths.append(before if step is ITSELF else compose(before, step))
        elif not sources:
            paths.append(given.get(len(paths)))
        else:
            arriving = []
            for source, step in zip(sources, node_steps, strict=True):
                before = paths[source]
                if before is not None and step is not None:
                    arriving.append(before if step is ITSELF else compose(before, step))
            shape = None if shapes is None else shapes[len(paths)]
            paths.append(arriving[0] if len(arriving) == 1 else unite(tuple(arriving), shape) if arriving else None)
    return paths

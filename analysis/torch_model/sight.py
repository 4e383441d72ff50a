"""What the positions of a tensor see of a model's input, where it is not known which of its axes are spatial.

A **sight** has, for each axis of the input, the first and the last position that the first position of the tensor sees
(`spans`), and for each axis of the tensor the **factors** that it is made of: a factor steps so many positions along
one input axis. So channels have no factor, the axes of a feature map one each, tokens two (rows and columns, behind a
`flatten(2)`), and an image cut into patches has two factors of each axis: from patch to patch, and within. Views,
permutations and slices keep all of this exact; what sums over an axis sees all that its positions see (`spread`); what
slides a window along one composes as in `receptive_field` (`slide`); what joins tensors sees what any of them sees
(`unite`), and tells positions apart only where all of them do.

A sight that is `local` forgets whatever came through a step that spreads: it is None there.

References:
    Araujo, Norris, Sim: Computing receptive fields of convolutional neural networks. Distill, 2019.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import NamedTuple

from analysis.receptive_field import Field, Window
from search_spaces.ops import Shape

Number = int | Fraction


class Factor(NamedTuple):
    """`size` positions along an axis of the input, `stride` apart; the axis is None where all see the same."""

    size: int
    axis: int | None
    stride: Number


Factors = tuple[Factor, ...]
"""What one axis of a tensor is made of, the outer factors first; none at all if its positions all see the same."""

Span = tuple[Number, Number]
"""The first and the last position on an axis of the input."""


class Sight(NamedTuple):
    """What a tensor sees: the factors of each of its axes, the span of its first position on each axis of the input."""

    axes: tuple[Factors, ...]
    spans: tuple[Span, ...]
    is_local: bool = False


def spread(sight: Sight, axes: Iterable[int]) -> Sight | None:
    """The sight in which these axes' positions all see what any of them sees."""
    chosen = [axis for axis in axes if sight.axes[axis]]
    if not chosen:
        return sight
    if sight.is_local:
        return None
    spans = list(sight.spans)
    for axis in chosen:
        for factor in sight.axes[axis]:
            _extend(spans, factor)
    return Sight(tuple(() if i in chosen else factors for i, factors in enumerate(sight.axes)), tuple(spans))


def spread_all(sight: Sight, dimensions: int) -> Sight | None:
    """The sight of a tensor of so many axes whose positions may all depend on all that this one sees."""
    blurred = spread(sight, range(len(sight.axes)))
    return None if blurred is None else blurred._replace(axes=((),) * dimensions)


def slide(sight: Sight, windows: Mapping[int, tuple[Window, int]]) -> Sight | None:
    """The sight behind windows that slide along some axes; each is given with the new size of its axis."""
    axes, spans = list(sight.axes), list(sight.spans)
    mixed = []
    for index, (window, size) in windows.items():
        if not axes[index]:
            continue
        plain = as_one_factor(axes[index])
        if plain is None or plain[0].axis is None or window.stride == 0:
            mixed.append(index)
            continue
        factor, before = plain
        _shift(spans, factor.axis, before, 0)
        _shift(spans, factor.axis, *_ordered(factor.stride * window.low, factor.stride * window.high))
        axes[index] = (Factor(size, factor.axis, factor.stride * window.stride),)
    return spread(Sight(tuple(axes), tuple(spans), sight.is_local), mixed)


def unite(sights: Sequence[Sight], shapes: Sequence[Shape], shape: Shape) -> Sight | None:
    """The sight of a tensor of `shape` whose elements each read one element of several tensors, broadcast to it."""
    aligned = [
        fitted
        for sight, own in zip(sights, shapes, strict=True)
        if (fitted := _broadcast(sight, own, shape)) is not None
    ]
    if len(aligned) < 2:
        return aligned[0] if aligned else None
    if len({len(sight.spans) for sight in aligned}) > 1:
        # One reads the positions of a vector, another all of it: what joins is no longer told apart.
        return Sight(((),) * len(shape), (), aligned[0].is_local)
    joined = [_same_strides(column) for column in zip(*(sight.axes for sight in aligned), strict=True)]
    apart = [index for index, factors in enumerate(joined) if factors is None]
    parts = [sight for before in aligned if (sight := _with_strides(spread(before, apart), joined)) is not None]
    if not parts:
        return None
    spans = tuple(
        (min(low for low, _ in column), max(high for _, high in column))
        for column in zip(*(sight.spans for sight in parts), strict=True)
    )
    return Sight(parts[0].axes, spans, parts[0].is_local)


def _same_strides(column: tuple[Factors, ...]) -> Factors | None:
    """The factors in which all agree, with the largest strides; None if they do not."""
    first = column[0]
    if all(factors == first for factors in column):
        return first
    if len({tuple((factor.size, factor.axis) for factor in factors) for factors in column}) > 1:
        return None
    if any(factor.stride < 0 for factors in column for factor in factors):
        return None
    return tuple(
        factors[0]._replace(stride=max(factor.stride for factor in factors)) for factors in zip(*column, strict=True)
    )


def _with_strides(sight: Sight | None, joined: Sequence[Factors | None]) -> Sight | None:
    """The smallest sight with these factors that holds this one at every position."""
    if sight is None:
        return None
    axes = tuple(factors or () for factors in joined)
    if sight.axes == axes:
        return sight
    spans = list(sight.spans)
    for own, factors in zip(sight.axes, axes, strict=True):
        for before, after in zip(own, factors, strict=True):
            _extend(spans, before._replace(stride=before.stride - after.stride))
    return Sight(axes, tuple(spans), sight.is_local)


def _broadcast(sight: Sight, own: Shape, shape: Shape) -> Sight | None:
    missing = len(shape) - len(own)
    if missing < 0:
        return spread_all(sight, len(shape))
    stretched = [
        index
        for index, (factors, size) in enumerate(zip(sight.axes, own, strict=True))
        if factors and size != shape[index + missing]
    ]
    fitted = spread(sight, stretched)
    if fitted is None or not missing:
        return fitted
    return fitted._replace(axes=((),) * missing + fitted.axes)


def regroup(sight: Sight, before: Shape, after: Shape) -> Sight | None:
    """The sight of the same elements in the same order in another shape."""
    rest = [factor for factors, size in zip(sight.axes, before, strict=True) for factor in _all_of(factors, size)]
    rest.reverse()
    axes: list[Factors] = []
    for index, size in enumerate(after):
        taken: list[Factor] = []
        need = size
        while need > 1 or (rest and rest[-1].size == 1 and ((size == 1 and not taken) or index == len(after) - 1)):
            if not rest:
                return spread_all(sight, len(after))
            factor = rest.pop()
            if need % factor.size == 0:
                taken.append(factor)
                need //= factor.size
            elif factor.size % need == 0:
                inner = factor.size // need
                taken.append(Factor(need, factor.axis, factor.stride * inner))
                rest.append(factor._replace(size=inner))
                need = 1
            else:
                return spread_all(sight, len(after))
        axes.append(merged(taken))
    return sight._replace(axes=tuple(axes))


def _all_of(factors: Factors, size: int) -> Factors:
    return factors or (Factor(size, None, 0),)


def merged(factors: Iterable[Factor]) -> Factors:
    """The same factors, those that step on evenly made into one; none if no position differs from another."""
    joined: list[Factor] = []
    for factor in factors:
        if factor.axis is None and factor.size == 1:
            continue
        outer = joined[-1] if joined else None
        if outer and outer.axis == factor.axis and outer.stride == factor.stride * factor.size:
            joined[-1] = Factor(outer.size * factor.size, factor.axis, factor.stride)
        else:
            joined.append(factor)
    return tuple(joined) if any(factor.axis is not None for factor in joined) else ()


def as_one_factor(factors: Factors) -> tuple[Factor, Number] | None:
    """The factors as one, and by how much what it sees begins before; None if no even step describes them.

    Positions that follow each other and see the same (as those of an enlarged image) are a step of a fraction.
    """
    if len(factors) == 1:
        return factors[0], 0
    longer = [factor for factor in factors if factor.size > 1]
    if len(longer) == 1 and longer[0].axis is not None:
        return longer[0], 0
    if len(longer) == 2 and longer[0].axis is not None and longer[1].axis is None:
        outer, times = longer[0], longer[1].size
        stride = Fraction(outer.stride) / times
        return Factor(outer.size * times, outer.axis, stride), -stride * (times - 1)
    return None


def cut(sight: Sight, axis: int, start: int, step: int, size: int) -> Sight | None:
    """The sight of every `step`-th position of an axis from `start` on, `size` of them; negative ones lie outside."""
    plain = as_one_factor(sight.axes[axis])
    if not sight.axes[axis]:
        return sight
    if plain is None or plain[0].axis is None:
        return spread(sight, (axis,))
    factor, before = plain
    spans = list(sight.spans)
    _shift(spans, factor.axis, before, 0)
    _shift(spans, factor.axis, factor.stride * start, factor.stride * start)
    replaced = (Factor(size, factor.axis, factor.stride * step),)
    return Sight((*sight.axes[:axis], replaced, *sight.axes[axis + 1 :]), tuple(spans), sight.is_local)


def field_of(sight: Sight | None) -> Field | None:
    """The windows of one position of the tensor, with the smallest step between positions on each axis of the input.

    Where an axis mixes positions with channels, as behind a `flatten`, positions are no longer told apart.
    """
    if sight is None:
        return None
    spans = list(sight.spans)
    strides: list[Number] = [0] * len(spans)
    for factors in sight.axes:
        plain = as_one_factor(factors) if factors else None
        if plain is not None:
            _shift(spans, plain[0].axis, plain[1], 0)
            factors = (plain[0],)  # noqa: PLW2901 - the same axis, told in another way
        is_mixed = any(factor.axis is None for factor in factors) and prod(factor.size for factor in factors) > 1
        for factor in factors:
            if factor.axis is None:
                continue
            if is_mixed:
                _extend(spans, factor)
            elif not strides[factor.axis] or factor.stride**2 < strides[factor.axis] ** 2:
                strides[factor.axis] = factor.stride
    return tuple(Window(stride, low, high) for stride, (low, high) in zip(strides, spans, strict=True))


def _extend(spans: list[Span], factor: Factor) -> None:
    if factor.axis is not None:
        _shift(spans, factor.axis, *_ordered(0, factor.stride * (factor.size - 1)))


def _shift(spans: list[Span], axis: int | None, low: Number, high: Number) -> None:
    assert axis is not None
    spans[axis] = spans[axis][0] + low, spans[axis][1] + high


def _ordered(one: Number, other: Number) -> Span:
    return (one, other) if one <= other else (other, one)

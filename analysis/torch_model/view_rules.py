"""What is seen behind the operations that put elements in another order, pick some of them, or join tensors."""

from analysis.torch_model.rules import (
    Rule,
    Seen,
    Sights,
    about_all,
    axes_of,
    axis_of,
    for_each,
    join,
    mixed,
    numbers,
    same,
    start,
    with_others,
)
from analysis.torch_model.sight import Sight, cut, regroup, spread, spread_all, unite
from analysis.torch_model.tape import Geometry, Operation, Value


def _view(operation: Operation, value: Value, sight: Sight) -> Seen:
    return regroup(sight, value.shape, operation.outputs[0].shape)


def _permuted(operation: Operation, value: Value, sight: Sight) -> Seen:
    return sight._replace(axes=tuple(sight.axes[axis] for axis in axes_of(operation, "dims", len(value.shape))))


def _transposed(operation: Operation, value: Value, sight: Sight) -> Seen:
    if operation.kind.name == "aten.t":
        # It has two axes at most.
        return sight._replace(axes=sight.axes[::-1])
    axes = list(sight.axes)
    one, other = operation.get("dim0"), operation.get("dim1")
    axes[one], axes[other] = axes[other], axes[one]
    return sight._replace(axes=tuple(axes))


def _unsqueezed(operation: Operation, value: Value, sight: Sight) -> Seen:
    axis = axis_of(operation, len(value.shape) + 1)
    return sight._replace(axes=(*sight.axes[:axis], (), *sight.axes[axis:]))


def _squeezed(operation: Operation, value: Value, sight: Sight) -> Seen:
    dimensions = len(value.shape)
    named = axes_of(operation, "dim", dimensions) if operation.get("dim") is not None else range(dimensions)
    gone = {axis for axis in named if value.shape[axis] == 1}
    return sight._replace(axes=tuple(factors for axis, factors in enumerate(sight.axes) if axis not in gone))


def _expanded(operation: Operation, value: Value, sight: Sight) -> Seen:
    return unite([sight], [value.shape], operation.outputs[0].shape)


def _selected(operation: Operation, value: Value, sight: Sight) -> Seen:
    axis = axis_of(operation, len(value.shape))
    index = int(operation.get("index")) % max(1, value.shape[axis])
    return _without(cut(sight, axis, index, 1, 1), axis)


def _without(sight: Sight | None, axis: int) -> Sight | None:
    return None if sight is None else sight._replace(axes=(*sight.axes[:axis], *sight.axes[axis + 1 :]))


def _sliced(operation: Operation, value: Value, sight: Sight) -> Seen:
    axis = axis_of(operation, len(value.shape))
    size, after = value.shape[axis], operation.outputs[0].shape[axis]
    first = operation.get("start") or 0
    first = max(0, first + size) if first < 0 else min(first, size)
    if first == 0 and after == size:
        return sight
    return cut(sight, axis, first, int(operation.get("step")), after)


def _split(operation: Operation, value: Value, sight: Sight) -> Seen:
    axis = axis_of(operation, len(value.shape))
    parts, first = [], 0
    for output in operation.outputs:
        size = output.shape[axis]
        parts.append(sight if size == value.shape[axis] else cut(sight, axis, first, 1, size))
        first += size
    return parts


def _unbound(operation: Operation, value: Value, sight: Sight) -> Seen:
    axis = axis_of(operation, len(value.shape))
    return [_without(cut(sight, axis, index, 1, 1), axis) for index in range(value.shape[axis])]


def _unfolded(operation: Operation, value: Value, sight: Sight) -> Seen:
    axis = axis_of(operation, len(value.shape), "dimension")
    within = cut(sight, axis, 0, 1, int(operation.get("size")))
    windows = cut(sight, axis, 0, int(operation.get("step")), operation.outputs[0].shape[axis])
    if windows is None or within is None:
        return None
    return windows._replace(axes=(*windows.axes, within.axes[axis]))


def _flipped(operation: Operation, value: Value, sight: Sight) -> Seen:
    seen: Sight | None = sight
    for axis in axes_of(operation, "dims", len(value.shape)):
        size = value.shape[axis]
        seen = None if seen is None else cut(seen, axis, size - 1, -1, size)
    return seen


def _rolled(operation: Operation, value: Value, sight: Sight) -> Seen:
    axes = axes_of(operation, "dims", len(value.shape))
    if not axes:
        return spread_all(sight, len(value.shape))
    seen: Sight | None = sight
    for axis, shift in zip(axes, numbers(operation.get("shifts")), strict=True):
        seen = None if seen is None else cut(seen, axis, -shift, 1, value.shape[axis])
    return seen


def _repeated(operation: Operation, value: Value, sight: Sight) -> Seen:
    shape = operation.outputs[0].shape
    missing = len(shape) - len(value.shape)
    seen = spread(sight, [axis for axis, size in enumerate(value.shape) if shape[axis + missing] != size])
    return None if seen is None else seen._replace(axes=((),) * missing + seen.axes)


def _padded(operation: Operation, value: Value, sight: Sight) -> Seen:
    shape, pads = operation.outputs[0].shape, numbers(operation.get("pad") or operation.get("padding"))
    seen: Sight | None = sight
    for index, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        axis = len(shape) - 1 - index
        if (before or after) and seen is not None:
            seen = cut(seen, axis, -before, 1, shape[axis])
    return seen


def _joined(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """`cat`: the positions of its axis are told apart if one tensor alone has any, moved by what stands before them."""
    shape = operation.outputs[0].shape
    axis = axis_of(operation, len(shape))
    parts, first = [], 0
    for value in operation.get("tensors"):
        sight = sights[value.number]
        if len(value.shape) == len(shape):
            if sight is not None:
                one = cut(sight, axis, -first, 1, shape[axis]) if len(read) == 1 else spread(sight, (axis,))
                parts.append(one)
            first += value.shape[axis]
    return join([part for part in parts if part is not None], shape)


def _stacked(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    axis = axis_of(operation, len(operation.outputs[0].shape))
    together = join([sight for value in read if (sight := sights[value.number]) is not None], read[0].shape)
    return None if together is None else together._replace(axes=(*together.axes[:axis], (), *together.axes[axis:]))


def _copied(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """`copy_`: what was there before is gone."""
    source = operation.get("src")
    sight = sights[source.number]
    return None if sight is None else unite([sight], [source.shape], operation.outputs[0].shape)


def _picked(operation: Operation, value: Value, sight: Sight) -> Seen:
    """Some of an axis, which ones is not known."""
    return spread(sight, axes_of(operation, "dim", len(value.shape)))


def _indexed(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """`x[indices]`: the other axes stay where they are if one axis is replaced by one."""
    value, indices = operation.get("self"), operation.get("indices")
    sight, shape = sights[value.number], operation.outputs[0].shape
    chosen = [axis for axis, index in enumerate(indices) if index is not None]
    seen = None if sight is None else spread(sight, chosen)
    if seen is not None and not (len(chosen) == 1 and len(indices[chosen[0]].shape) == 1):
        seen = spread_all(seen, len(shape))
    return with_others(operation, seen, [other for other in read if other is not value], sights)


def _looked_up(operation: Operation, value: Value, sight: Sight) -> Seen:
    if not sight.spans and len(value.shape) == 2:
        # A vector of real numbers gets positions as it is looked up.
        sight = start(value.shape, is_whole=True, is_local=sight.is_local)
    return sight._replace(axes=(*sight.axes, ()))


def _reread(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """A value as it is after parts of its memory were written to through others."""
    old, writes, geometry = operation.arguments
    parts = [sights[old.number]]
    for value, own in writes:
        sight = sights[value.number]
        parts.append(None if sight is None else _as_seen_from(sight, own, geometry))
    return join([part for part in parts if part is not None], operation.outputs[0].shape)


def _as_seen_from(sight: Sight, own: Geometry, reader: Geometry) -> Sight | None:
    """What was written to a part of a storage, for a tensor that lies there too: moved by what lies between them."""
    (own_shape, strides, offset), (shape, reader_strides, reader_offset) = own, reader
    if strides != reader_strides:
        return spread_all(sight, len(shape))
    rest, sign = abs(offset - reader_offset), 1 if offset >= reader_offset else -1
    seen: Sight | None = sight
    for axis in sorted(range(len(shape)), key=lambda axis: -strides[axis]):
        first, rest = divmod(rest, strides[axis]) if strides[axis] else (0, rest)
        if own_shape[axis] != shape[axis] and seen is not None:
            seen = cut(seen, axis, -sign * first, 1, shape[axis])
    return seen


VIEW_RULES: dict[str, Rule] = {
    **about_all(
        "self",
        {
            same: "alias alias_copy clone detach lift lift_fresh _to_copy _conj _neg_view channel_shuffle native_channel_shuffle",
            _view: "view view_copy _unsafe_view _reshape_alias",
            _permuted: "permute permute_copy",
            _transposed: "t transpose transpose_copy",
            _unsqueezed: "unsqueeze",
            _squeezed: "squeeze",
            _expanded: "expand expand_copy",
            _selected: "select select_copy",
            _sliced: "slice slice_copy",
            _split: "split split_copy split_with_sizes split_with_sizes_copy unsafe_split unsafe_split_with_sizes",
            _unbound: "unbind",
            _unfolded: "unfold",
            _flipped: "flip",
            _rolled: "roll",
            _repeated: "repeat",
            _padded: "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
            "replication_pad2d replication_pad3d",
            _picked: "index_select gather",
        },
    ),
    **about_all("indices", {_looked_up: "embedding"}),
    "aten.cat": _joined,
    **for_each(_stacked, "_stack stack"),
    "aten.copy": _copied,
    **for_each(_indexed, "_unsafe_index index"),
    "nas.reread": _reread,
    **for_each(
        mixed,
        "_embedding_bag _embedding_bag_forward_only _pack_padded_sequence _unique2 _unsafe_index_put as_strided block_diag "
        "bucketize col2im diag_embed diagonal diagonal_scatter index_add index_copy index_fill index_put index_reduce isin "
        "masked_scatter masked_select nonzero nonzero_static put repeat_interleave resize rot90 scatter scatter_add "
        "scatter_reduce searchsorted select_scatter slice_scatter take unique_consecutive unique_dim view_as_complex "
        "view_as_real",
    ),
}
"""By the names of operations; channels are shuffled where they are."""

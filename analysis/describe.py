"""What an operation is in a few words, for tables and drawings."""

from collections.abc import Callable, Iterator
from typing import Any

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
    Upsample,
    Zero,
)


def describe(operation: Operation) -> str:
    """The operation in a few words: its type, its kernel and whatever is not usual about it (`Conv 3x3 stride 2`)."""
    return " ".join((type(operation).__name__, *DETAILS[type(operation)](operation)))


def _no_details(operation: Operation) -> tuple[str, ...]:
    return ()


def _kind(operation: Activation | GlobalPool) -> tuple[str, ...]:
    return (operation.kind,)


def _affine(operation: BatchNorm | LayerNorm) -> tuple[str, ...]:
    return () if operation.affine else ("not affine",)


def _dropout(dropout: Dropout) -> tuple[str, ...]:
    return (f"{dropout.probability:g}",)


def _conv(conv: Conv) -> Iterator[str]:
    yield _by_axis(conv.kernel)
    if max(conv.stride) > 1:
        yield f"stride {_by_axis(conv.stride, together=True)}"
    if max(conv.dilation) > 1:
        yield f"dilation {_by_axis(conv.dilation, together=True)}"
    if conv.groups > 1:
        yield f"groups {conv.groups}"
    if conv.padding_mode != "zeros":
        yield conv.padding_mode


def _pool(pool: Pool) -> Iterator[str]:
    yield pool.kind
    yield _by_axis(pool.kernel)
    if max(pool.stride) > 1:
        yield f"stride {_by_axis(pool.stride, together=True)}"
    if pool.ceil_mode:
        yield "ceil"


def _adaptive_pool(pool: AdaptivePool) -> tuple[str, ...]:
    return (pool.kind, f"to {_by_axis(pool.output_size)}")


def _upsample(upsample: Upsample) -> tuple[str, ...]:
    return (upsample.kind, f"x{upsample.factor}")


def _embedding(embedding: Embedding) -> tuple[str, ...]:
    return (f"{embedding.rows}x{embedding.features}",)


def _local_response_norm(norm: LocalResponseNorm) -> tuple[str, ...]:
    return (f"size {norm.size}",)


def _channel_shuffle(shuffle: ChannelShuffle) -> tuple[str, ...]:
    return (f"groups {shuffle.groups}",)


def _channel_slice(channels: ChannelSlice) -> tuple[str, ...]:
    return (f"{channels.start}:{channels.stop}",)


def _by_axis(numbers: tuple[int, ...], *, together: bool = False) -> str:
    """`3x3`; with `together` a number that all axes share stands once."""
    return "x".join(map(str, numbers[:1] if together and len(set(numbers)) == 1 else numbers))


DETAILS: dict[type[Operation], Callable[[Any], tuple[str, ...] | Iterator[str]]] = {
    Input: _no_details,
    Identity: _no_details,
    Zero: _no_details,
    Conv: _conv,
    Pool: _pool,
    GlobalPool: _kind,
    AdaptivePool: _adaptive_pool,
    Upsample: _upsample,
    Linear: _no_details,
    Embedding: _embedding,
    BatchNorm: _affine,
    LayerNorm: _affine,
    LocalResponseNorm: _local_response_norm,
    Activation: _kind,
    Dropout: _dropout,
    Flatten: _no_details,
    ChannelShuffle: _channel_shuffle,
    ChannelSlice: _channel_slice,
    Add: _no_details,
    Multiply: _no_details,
    Concat: _no_details,
}
"""What `describe` says of an operation behind its type."""

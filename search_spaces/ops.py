"""The operations that networks are made of: what each one is, how many inputs it takes and what shape it gives.

An operation is a frozen value. It knows nothing of torch, cost or drawing: those are tables of rules in their own
rooms, and an operation that lacks a rule there is an error, never silently free.

Shapes leave the batch axis out: `(channels, *spatial)` for feature maps, `(features,)` for vectors. The number of
spatial axes is the length of `kernel`, so the same `Conv` is 1-D or 2-D. No operation stores its number of input
channels; it follows from the input shape, which makes an operation and its input shapes together a complete key.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from search_spaces.errors import InvalidArchitecture
from search_spaces.operation import Operation, Shape, check_kind, check_not_negative, check_shape
from search_spaces.windows import (
    PADDING_MODES,
    POOL_KINDS,
    UPSAMPLE_KINDS,
    AdaptivePool,
    Conv,
    GlobalPool,
    Padding,
    Pool,
    Upsample,
    conv2d,
    pool2d,
)

__all__ = [
    "ACTIVATION_KINDS",
    "LEAF_OPERATIONS",
    "PADDING_MODES",
    "POOL_KINDS",
    "UPSAMPLE_KINDS",
    "Activation",
    "AdaptivePool",
    "Add",
    "BatchNorm",
    "ChannelShuffle",
    "ChannelSlice",
    "Concat",
    "Conv",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalPool",
    "Identity",
    "Input",
    "LayerNorm",
    "Linear",
    "LocalResponseNorm",
    "Multiply",
    "Operation",
    "Padding",
    "Pool",
    "Shape",
    "Upsample",
    "Zero",
    "conv2d",
    "pool2d",
]

ACTIVATION_KINDS = ("relu", "relu6", "gelu", "silu", "hardswish", "sigmoid", "tanh", "complement")
"""`complement` is 1 - x: what a highway's gate leaves to its input."""


@dataclass(frozen=True, slots=True)
class Input(Operation):
    """Stands for a value that comes into the graph; its shape is given from outside."""

    arity: ClassVar[tuple[int, int | None]] = (0, 0)


@dataclass(frozen=True, slots=True)
class Identity(Operation):
    """Passes its input on."""

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Zero(Operation):
    """Gives zeros, of `shape` or else of its input's shape: the `none` of cell-based search spaces."""

    shape: Shape = ()

    def __post_init__(self) -> None:
        if self.shape:
            check_shape("Zero: shape", self.shape)

    def output_shape(self, *inputs: Shape) -> Shape:
        return self.shape or inputs[0]


@dataclass(frozen=True, slots=True)
class Linear(Operation):
    """A fully connected layer on a vector."""

    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        if self.out_features < 1:
            raise InvalidArchitecture(f"Linear: out_features must be positive, got {self.out_features}")

    @property
    def has_weights(self) -> bool:
        return True

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if len(shape) != 1:
            raise InvalidArchitecture(f"Linear: needs a vector, got shape {shape}; put a Flatten before it")
        return (self.out_features,)


@dataclass(frozen=True, slots=True)
class Embedding(Operation):
    """A learned vector for each whole number: `(length,)` of numbers in `[0, rows)` to `(features, length)`.

    The elements of the vector become positions of a 1-D feature map. The numbers may come as floats; those that are
    outside of the table are an error when the network runs.
    """

    rows: int
    features: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.features < 1:
            raise InvalidArchitecture(f"Embedding: rows {self.rows} and features {self.features} must be positive")

    @property
    def has_weights(self) -> bool:
        return True

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if len(shape) != 1:
            raise InvalidArchitecture(f"Embedding: needs a vector of whole numbers, got shape {shape}")
        return (self.features, *shape)


@dataclass(frozen=True, slots=True)
class BatchNorm(Operation):
    """Batch normalisation of each channel (Ioffe & Szegedy 2015)."""

    affine: bool = True
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_not_negative(self, epsilon=self.epsilon)

    @property
    def has_weights(self) -> bool:
        return True

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True, slots=True)
class LayerNorm(Operation):
    """Layer normalisation over the channels of each position, as ConvNeXt has it (Liu et al. 2022)."""

    affine: bool = True
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_not_negative(self, epsilon=self.epsilon)

    @property
    def has_weights(self) -> bool:
        return self.affine

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True, slots=True)
class LocalResponseNorm(Operation):
    """Divides each element by `(k + alpha · mean of squares)^beta` over `size` neighbouring channels.

    The mean is taken over `size` even where channels lack at the ends, as torch has it.

    Deviation from Krizhevsky, Sutskever, Hinton (NIPS 2012, section 3.3): there alpha stands before the sum.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidArchitecture(f"LocalResponseNorm: size must be positive, got {self.size}")
        check_not_negative(self, alpha=self.alpha, beta=self.beta, k=self.k)

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if len(shape) < 2:
            raise InvalidArchitecture(f"LocalResponseNorm: needs a feature map (channels, *spatial), got shape {shape}")
        return shape


@dataclass(frozen=True, slots=True)
class Activation(Operation):
    """A fixed non-linear function of each element."""

    kind: str = "relu"

    def __post_init__(self) -> None:
        check_kind(self, self.kind, ACTIVATION_KINDS)

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Dropout(Operation):
    """Sets elements to zero at random while training; two of them never draw the same elements."""

    probability: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability < 1.0:
            raise InvalidArchitecture(f"Dropout: probability must be in [0, 1), got {self.probability}")

    @property
    def has_weights(self) -> bool:
        return self.probability > 0.0

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Flatten(Operation):
    """Turns a feature map into a vector, channels outermost."""

    def output_shape(self, *inputs: Shape) -> Shape:
        return (prod(inputs[0]),)


@dataclass(frozen=True, slots=True)
class Add(Operation):
    """The element-wise sum of two or more values of one shape."""

    arity: ClassVar[tuple[int, int | None]] = (2, None)
    commutative: ClassVar[bool] = True

    def output_shape(self, *inputs: Shape) -> Shape:
        first = inputs[0]
        for shape in inputs:
            if shape != first:
                raise InvalidArchitecture(
                    f"Add: input shapes differ: {', '.join(map(str, inputs))}; they must be equal"
                )
        return first


@dataclass(frozen=True, slots=True)
class Multiply(Operation):
    """The element-wise product of two or more values: gates.

    All have one shape, but a feature map may have size 1 on every spatial axis: then each of its numbers scales a
    whole channel, as the gate of squeeze-and-excitation does (Hu, Shen, Sun, CVPR 2018).
    """

    arity: ClassVar[tuple[int, int | None]] = (2, None)
    commutative: ClassVar[bool] = True

    def output_shape(self, *inputs: Shape) -> Shape:
        largest = max(inputs, key=prod)
        for shape in inputs:
            if shape not in (largest, (largest[0], *(1 for _ in largest[1:]))):
                raise InvalidArchitecture(
                    f"Multiply: input shapes differ: {', '.join(map(str, inputs))}; "
                    "they must be equal, or of size 1 on all spatial axes"
                )
        return largest


@dataclass(frozen=True, slots=True)
class ChannelShuffle(Operation):
    """Deals the channels out: those of `groups` blocks take turns, so that grouped convolutions mix (ShuffleNet).

    Channel `i` of block `g` of `n` channels each goes to place `i · groups + g` (Zhang, Zhou, Lin, Sun, CVPR 2018).
    """

    groups: int

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise InvalidArchitecture(f"ChannelShuffle: groups must be positive, got {self.groups}")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if shape[0] % self.groups:
            raise InvalidArchitecture(
                f"ChannelShuffle: {shape[0]} channels cannot be split into {self.groups} groups; choose a divisor"
            )
        return shape


@dataclass(frozen=True, slots=True)
class ChannelSlice(Operation):
    """The channels from `start` up to `stop`, which is not among them, as Python slices."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise InvalidArchitecture(
                f"ChannelSlice: {self.start}:{self.stop} must be a positive number of channels, counted from 0"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if shape[0] < self.stop:
            raise InvalidArchitecture(
                f"ChannelSlice: {shape[0]} channels have no slice {self.start}:{self.stop}; stop at {shape[0]} at most"
            )
        return (self.stop - self.start, *shape[1:])


@dataclass(frozen=True, slots=True)
class Concat(Operation):
    """Joins two or more feature maps along the channels, in order."""

    arity: ClassVar[tuple[int, int | None]] = (2, None)

    def output_shape(self, *inputs: Shape) -> Shape:
        spatial = inputs[0][1:]
        for shape in inputs:
            if shape[1:] != spatial:
                raise InvalidArchitecture(
                    f"Concat: spatial sizes differ: {', '.join(map(str, inputs))}; they must be equal"
                )
        return (sum(shape[0] for shape in inputs), *spatial)


LEAF_OPERATIONS: tuple[type[Operation], ...] = (
    Input,
    Identity,
    Zero,
    Conv,
    Pool,
    GlobalPool,
    AdaptivePool,
    Upsample,
    Linear,
    Embedding,
    BatchNorm,
    LayerNorm,
    LocalResponseNorm,
    Activation,
    Dropout,
    Flatten,
    ChannelShuffle,
    ChannelSlice,
    Add,
    Multiply,
    Concat,
)
"""Every operation but `Cell`; the tables of rules in other rooms must cover all of them."""

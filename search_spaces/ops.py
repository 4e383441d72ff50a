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

Shape = tuple[int, ...]
"""Sizes without the batch axis: `(channels, *spatial)` or `(features,)`."""

Padding = tuple[tuple[int, int], ...]
"""One `(before, after)` pair for each spatial axis."""

POOL_KINDS = ("average", "max")
ACTIVATION_KINDS = ("relu", "relu6", "gelu", "silu", "hardswish", "sigmoid", "tanh")


@dataclass(frozen=True, slots=True)
class Operation:
    """What a node does: a pure function of tensors, perhaps with weights.

    Subclasses say how many inputs they take (`arity`, least and most), whether the order of the inputs matters
    (`commutative`), whether they own weights (`has_weights`) and what shape comes out (`output_shape`).
    """

    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    commutative: ClassVar[bool] = False

    @property
    def has_weights(self) -> bool:
        """Whether two equal operations on equal inputs may still give different results."""
        return False

    def output_shape(self, *inputs: Shape) -> Shape:
        """The shape of the result for inputs of these shapes.

        Raises:
            InvalidArchitecture: the inputs do not fit this operation.
        """
        raise NotImplementedError(type(self).__name__)


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

    def output_shape(self, *inputs: Shape) -> Shape:
        return self.shape or inputs[0]


@dataclass(frozen=True, slots=True)
class Conv(Operation):
    """A convolution over as many spatial axes as `kernel` has numbers, zero padded."""

    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: Padding = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        axes = len(self.kernel)
        _default(self, "stride", (1,) * axes)
        _default(self, "dilation", (1,) * axes)
        _default(self, "padding", ((0, 0),) * axes)
        _check_window(self, self.kernel, self.stride, self.padding, self.dilation)
        if self.out_channels < 1 or self.groups < 1 or self.out_channels % self.groups:
            raise InvalidArchitecture(
                f"Conv: out_channels {self.out_channels} must be a positive multiple of groups {self.groups}"
            )

    @property
    def has_weights(self) -> bool:
        return True

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        _check_axes(self, shape, len(self.kernel))
        if shape[0] % self.groups:
            raise InvalidArchitecture(f"Conv: {shape[0]} input channels cannot be split into {self.groups} groups")
        spatial = _window_sizes(self, shape[1:], self.kernel, self.stride, self.padding, self.dilation)
        return (self.out_channels, *spatial)


@dataclass(frozen=True, slots=True)
class Pool(Operation):
    """The average or the maximum of a sliding window; `count_include_pad` lets padding take part in an average."""

    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    count_include_pad: bool = False

    def __post_init__(self) -> None:
        axes = len(self.kernel)
        _check_kind(self, self.kind, POOL_KINDS)
        _default(self, "stride", self.kernel)
        _default(self, "padding", (0,) * axes)
        _check_window(self, self.kernel, self.stride, tuple((p, p) for p in self.padding), (1,) * axes)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise InvalidArchitecture(f"Pool: padding {self.padding} is more than half of the kernel {self.kernel}")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        _check_axes(self, shape, len(self.kernel))
        padding = tuple((p, p) for p in self.padding)
        return (shape[0], *_window_sizes(self, shape[1:], self.kernel, self.stride, padding, (1,) * len(self.kernel)))


@dataclass(frozen=True, slots=True)
class GlobalPool(Operation):
    """The average or the maximum over all spatial positions; the spatial axes stay, with size 1."""

    kind: str = "average"

    def __post_init__(self) -> None:
        _check_kind(self, self.kind, POOL_KINDS)

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if len(shape) < 2:
            raise InvalidArchitecture(f"GlobalPool: needs a feature map (channels, *spatial), got shape {shape}")
        return (shape[0], *(1 for _ in shape[1:]))


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
class BatchNorm(Operation):
    """Batch normalisation of each channel (Ioffe & Szegedy 2015)."""

    affine: bool = True
    epsilon: float = 1e-5

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

    @property
    def has_weights(self) -> bool:
        return self.affine

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Activation(Operation):
    """A fixed non-linear function of each element."""

    kind: str = "relu"

    def __post_init__(self) -> None:
        _check_kind(self, self.kind, ACTIVATION_KINDS)

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
                raise InvalidArchitecture(f"Add: input shapes differ: {', '.join(map(str, inputs))}")
        return first


@dataclass(frozen=True, slots=True)
class Concat(Operation):
    """Joins two or more feature maps along the channels, in order."""

    arity: ClassVar[tuple[int, int | None]] = (2, None)

    def output_shape(self, *inputs: Shape) -> Shape:
        spatial = inputs[0][1:]
        for shape in inputs:
            if shape[1:] != spatial:
                raise InvalidArchitecture(f"Concat: spatial sizes differ: {', '.join(map(str, inputs))}")
        return (sum(shape[0] for shape in inputs), *spatial)


LEAF_OPERATIONS: tuple[type[Operation], ...] = (
    Input,
    Identity,
    Zero,
    Conv,
    Pool,
    GlobalPool,
    Linear,
    BatchNorm,
    LayerNorm,
    Activation,
    Dropout,
    Flatten,
    Add,
    Concat,
)
"""Every operation but `Cell`; the tables of rules in other rooms must cover all of them."""


def conv2d(
    out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1, bias: bool = False
) -> Conv:
    """A square 2-D convolution whose padding keeps the size at stride 1 ("same" padding, odd kernels)."""
    margin = dilation * (kernel - 1) // 2
    return Conv(
        out_channels,
        (kernel, kernel),
        stride=(stride, stride),
        padding=((margin, margin), (margin, margin)),
        dilation=(dilation, dilation),
        groups=groups,
        bias=bias,
    )


def pool2d(kind: str, kernel: int, *, stride: int | None = None, padding: int = 0) -> Pool:
    """A square 2-D pooling whose averages leave the padding out; the stride is the kernel unless told."""
    step = kernel if stride is None else stride
    return Pool(kind, (kernel, kernel), stride=(step, step), padding=(padding, padding))


def _default(operation: Operation, name: str, value: object) -> None:
    if getattr(operation, name) == ():
        object.__setattr__(operation, name, value)


def _check_kind(operation: Operation, kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise InvalidArchitecture(
            f"{type(operation).__name__}: unknown kind {kind!r}; choose one of: {', '.join(known)}"
        )


def _check_window(
    operation: Operation,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
) -> None:
    name = type(operation).__name__
    if not (1 <= len(kernel) <= 2 and len(kernel) == len(stride) == len(padding) == len(dilation)):
        raise InvalidArchitecture(
            f"{name}: kernel {kernel}, stride {stride}, padding {padding} and dilation {dilation} "
            "must have one entry for each of 1 or 2 spatial axes"
        )
    if any(len(pair) != 2 for pair in padding):
        raise InvalidArchitecture(f"{name}: padding {padding} must be one pair (before, after) for each axis")
    if min((*kernel, *stride, *dilation)) < 1 or min(min(pair) for pair in padding) < 0:
        raise InvalidArchitecture(
            f"{name}: kernel {kernel}, stride {stride} and dilation {dilation} must be positive, padding {padding} not negative"
        )


def _check_axes(operation: Operation, shape: Shape, axes: int) -> None:
    if len(shape) != axes + 1:
        raise InvalidArchitecture(
            f"{type(operation).__name__}: needs a feature map with {axes} spatial axes, got shape {shape}"
        )


def _window_sizes(
    operation: Operation,
    sizes: Shape,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
) -> Shape:
    result = []
    for n, k, s, (before, after), d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        span = n + before + after - d * (k - 1) - 1
        if span < 0:
            raise InvalidArchitecture(
                f"{type(operation).__name__}: the kernel {kernel} is larger than its padded input {sizes}; "
                "use a larger input or fewer reductions"
            )
        result.append(span // s + 1)
    return tuple(result)

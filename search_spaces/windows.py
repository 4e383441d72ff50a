"""The operations that read windows of a feature map, or all of it, and the arithmetic of window sizes."""

from dataclasses import dataclass

from search_spaces.errors import InvalidArchitecture
from search_spaces.operation import Operation, Shape, check_kind

Padding = tuple[tuple[int, int], ...]
"""One `(before, after)` pair for each spatial axis."""

POOL_KINDS = ("average", "max")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
UPSAMPLE_KINDS = ("nearest", "bilinear")


@dataclass(frozen=True, slots=True)
class Conv(Operation):
    """A convolution over as many spatial axes as `kernel` has numbers.

    `padding_mode` says what stands in the padding, as in torch: zeros, the input mirrored at its border (`reflect`,
    the border itself not repeated), its border repeated (`replicate`) or its other end (`circular`). Without padding
    it means nothing and is `zeros`.
    """

    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: Padding = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    bias: bool = False
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        axes = len(self.kernel)
        _default(self, "stride", (1,) * axes)
        _default(self, "dilation", (1,) * axes)
        _default(self, "padding", ((0, 0),) * axes)
        _check_window(self, self.kernel, self.stride, self.padding, self.dilation)
        check_kind(self, self.padding_mode, PADDING_MODES)
        if not any(map(any, self.padding)):
            object.__setattr__(self, "padding_mode", "zeros")
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
            raise InvalidArchitecture(
                f"Conv: {shape[0]} input channels cannot be split into {self.groups} groups; choose a divisor"
            )
        # A mirror does not repeat the border, so it has one position less to give.
        spare = {"reflect": 1, "circular": 0}.get(self.padding_mode)
        if spare is not None and any(max(p) > n - spare for p, n in zip(self.padding, shape[1:], strict=True)):
            raise InvalidArchitecture(
                f"Conv: {self.padding_mode} padding {self.padding} needs more than its input {shape[1:]} has; "
                "use less padding or a larger input"
            )
        spatial = _window_sizes(self, shape[1:], self.kernel, self.stride, self.padding, self.dilation)
        return (self.out_channels, *spatial)


@dataclass(frozen=True, slots=True)
class Pool(Operation):
    """The average or the maximum of a sliding window; `count_include_pad` lets padding take part in an average.

    `ceil_mode` adds the window that reaches beyond the end, if it begins before it, as in torch: what lies outside is
    left out of it.
    """

    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    count_include_pad: bool = False
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        axes = len(self.kernel)
        check_kind(self, self.kind, POOL_KINDS)
        _default(self, "stride", self.kernel)
        _default(self, "padding", (0,) * axes)
        _check_window(self, self.kernel, self.stride, tuple((p, p) for p in self.padding), (1,) * axes)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise InvalidArchitecture(
                f"Pool: padding {self.padding} must not be more than half of the kernel {self.kernel}"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        _check_axes(self, shape, len(self.kernel))
        # A last window may reach beyond the end by a step less one, and is dropped if it begins there.
        beyond = tuple(s - 1 if self.ceil_mode else 0 for s in self.stride)
        padding = tuple((p, p + more) for p, more in zip(self.padding, beyond, strict=True))
        sizes = _window_sizes(self, shape[1:], self.kernel, self.stride, padding, (1,) * len(self.kernel))
        if self.ceil_mode:
            ends = zip(sizes, shape[1:], self.stride, self.padding, strict=True)
            sizes = tuple(m - ((m - 1) * s >= n + p) for m, n, s, p in ends)
        return (shape[0], *sizes)


@dataclass(frozen=True, slots=True)
class GlobalPool(Operation):
    """The average or the maximum over all spatial positions; the spatial axes stay, with size 1."""

    kind: str = "average"

    def __post_init__(self) -> None:
        check_kind(self, self.kind, POOL_KINDS)

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if len(shape) < 2:
            raise InvalidArchitecture(f"GlobalPool: needs a feature map (channels, *spatial), got shape {shape}")
        return (shape[0], *(1 for _ in shape[1:]))


@dataclass(frozen=True, slots=True)
class AdaptivePool(Operation):
    """The average or the maximum of as many windows as `output_size` asks for, whatever the size of the input.

    As in torch, output `i` of `m` reads the positions from `floor(i * n / m)` to `ceil((i + 1) * n / m) - 1` of `n`:
    windows overlap where `m` does not divide `n`, and repeat where it is larger.
    """

    kind: str
    output_size: tuple[int, ...]

    def __post_init__(self) -> None:
        check_kind(self, self.kind, POOL_KINDS)
        if not 1 <= len(self.output_size) <= 2 or min(self.output_size) < 1:
            raise InvalidArchitecture(
                f"AdaptivePool: output_size {self.output_size} must be one positive number for each of 1 or 2 spatial axes"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        _check_axes(self, shape, len(self.output_size))
        return (shape[0], *self.output_size)


@dataclass(frozen=True, slots=True)
class Upsample(Operation):
    """Makes every spatial axis `factor` times as long; `bilinear` blends neighbours (linearly, in 1-D).

    Positions are areas, whose centres are what is blended between: torch's `align_corners=False`.
    """

    factor: int
    kind: str = "nearest"

    def __post_init__(self) -> None:
        check_kind(self, self.kind, UPSAMPLE_KINDS)
        if self.factor < 1:
            raise InvalidArchitecture(f"Upsample: factor must be positive, got {self.factor}")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if not 2 <= len(shape) <= 3:
            raise InvalidArchitecture(f"Upsample: needs a feature map of 1 or 2 spatial axes, got shape {shape}")
        return (shape[0], *(size * self.factor for size in shape[1:]))


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


def pool2d(kind: str, kernel: int, *, stride: int | None = None, padding: int = 0, ceil_mode: bool = False) -> Pool:
    """A square 2-D pooling whose averages leave the padding out; the stride is the kernel unless told."""
    step = kernel if stride is None else stride
    return Pool(kind, (kernel, kernel), stride=(step, step), padding=(padding, padding), ceil_mode=ceil_mode)


def _default(operation: Operation, name: str, value: object) -> None:
    if getattr(operation, name) == ():
        object.__setattr__(operation, name, value)


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

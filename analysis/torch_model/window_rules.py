"""What is seen behind the operations that slide a window: convolutions, pools, and whatever changes the size of a map."""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from typing import Any

from analysis.receptive_field import Sections, Taps, Window
from analysis.torch_model.rules import Rule, Seen, about_all, numbers
from analysis.torch_model.sight import Factor, Sight, merged, slide, spread
from analysis.torch_model.tape import Operation, Value

CONVOLUTIONS = ("aten.convolution", "aten._convolution", "aten.convolution_overrideable")
POOLS = {
    "aten.avg_pool1d": 1,
    "aten.avg_pool2d": 2,
    "aten.avg_pool3d": 3,
    "aten.max_pool2d_with_indices": 2,
    "aten.max_pool3d_with_indices": 3,
    "aten.mkldnn_max_pool2d": 2,
}
"""Over how many axes each slides."""


def taps_of(operation: Operation) -> tuple[Taps, ...]:
    """How the windows of a convolution or a pooling lie on the last axes; none for other operations."""
    name = operation.kind.name
    if name in CONVOLUTIONS:
        kernel = operation.get("weight").shape[2:]
    elif name in POOLS:
        kernel = _per_axis(operation.get("kernel_size"), POOLS[name])
    else:
        return ()
    count = len(kernel)
    return _taps(
        kernel,
        _per_axis(operation.get("stride"), count) or kernel,
        _per_axis(operation.get("padding"), count),
        _per_axis(operation.get("dilation") or 1, count),
    )


@lru_cache(maxsize=1_024)
def _taps(
    kernel: tuple[int, ...], strides: tuple[int, ...], paddings: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[Taps, ...]:
    return tuple(map(Taps, kernel, strides, paddings, dilations))


def _per_axis(argument: Any, count: int) -> tuple[int, ...]:
    given = numbers(argument)
    return given * count if len(given) == 1 else given


def _slid(operation: Operation, sight: Sight | None, windows: Sequence[Window]) -> Sight | None:
    """Windows along the last axes."""
    shape = operation.outputs[0].shape
    first = len(shape) - len(windows)
    if sight is None:
        return None
    return slide(sight, {first + index: (window, shape[first + index]) for index, window in enumerate(windows)})


def _convolved(operation: Operation, value: Value, sight: Sight) -> Seen:
    taps = taps_of(operation)
    windows = map(_transposed, taps) if operation.get("transposed") else (tap.window for tap in taps)
    return _slid(operation, spread(sight, (1,)), tuple(windows))


def _transposed(tap: Taps) -> Window:
    """An output reads the inputs in whose windows it would be if the convolution ran the other way."""
    reach = tap.dilation * (tap.kernel - 1)
    return Window(Fraction(1, tap.stride), Fraction(tap.before - reach, tap.stride), Fraction(tap.before, tap.stride))


def _pooled(operation: Operation, value: Value, sight: Sight) -> Seen:
    return _slid(operation, sight, [tap.window for tap in taps_of(operation)])


def _pooled_to_size(operation: Operation, value: Value, sight: Sight) -> Seen:
    outputs = numbers(operation.get("output_size"))
    inputs = value.shape[len(value.shape) - len(outputs) :]
    return _slid(operation, sight, [Sections(*sizes).window for sizes in zip(outputs, inputs, strict=True)])


def _patches(operation: Operation, value: Value, sight: Sight) -> Seen:
    """`im2col`: (n, c, h, w) to (n, c x kernel, patches), row by row."""
    settings = (_per_axis(operation.get(name), 2) for name in ("kernel_size", "stride", "padding", "dilation"))
    taps = tuple(map(Taps, *settings))
    first = len(value.shape) - 2
    sizes = [
        (length + 2 * tap.before - tap.dilation * (tap.kernel - 1) - 1) // tap.stride + 1
        for length, tap in zip(value.shape[first:], taps, strict=True)
    ]
    seen = slide(sight, {first + axis: (taps[axis].window, sizes[axis]) for axis in range(2)})
    if seen is None:
        return None
    rows, columns = (seen.axes[first + axis] or (Factor(sizes[axis], None, 0),) for axis in range(2))
    return seen._replace(axes=(*seen.axes[:first], merged((*rows, *columns))))


def _resampled(operation: Operation, value: Value, sight: Sight) -> Seen:
    shape, kind = operation.outputs[0].shape, operation.kind.name.partition("upsample_")[2]
    count = len(numbers(operation.get("output_size")))
    first = len(shape) - count
    names = ("scales",) if count == 1 else ("scales_d", "scales_h", "scales_w")[-count:]
    corners = bool(operation.get("align_corners"))
    windows = []
    for before, after, name in zip(value.shape[first:], shape[first:], names, strict=True):
        scale = operation.get(name)
        if corners:
            step = Fraction(before - 1, after - 1) if after > 1 else Fraction(0)
        else:
            step = Fraction(1 / scale).limit_denominator(4_096) if scale else Fraction(before, after)
        windows.append(_resampling_window(kind, step, corners))
    return _slid(operation, sight, windows)


@lru_cache(maxsize=256)
def _resampling_window(kind: str, step: Fraction, corners: bool) -> Window:
    """From the first to the last input that any output reads, relative to `step` times its own place.

    What outputs read repeats itself after as many as the step has in its denominator.
    """
    reads = [_reads(kind, step, corners, place) for place in range(step.denominator)]
    low = min(first - step * place for place, (first, _) in enumerate(reads))
    high = max(last - step * place for place, (_, last) in enumerate(reads))
    return Window(step, low, high)


def _reads(kind: str, step: Fraction, corners: bool, place: int) -> tuple[int, int]:
    """The first and the last input of an output (aten/src/ATen/native/UpSample.h)."""
    centre = step * place if corners else step * (place + Fraction(1, 2)) - Fraction(1, 2)
    if kind.startswith("nearest"):
        nearest = floor(centre + Fraction(1, 2)) if "exact" in kind else floor(step * place)
        return nearest, nearest
    if kind.endswith("_aa"):
        reach = (2 if kind.startswith("bicubic") else 1) * max(step, Fraction(1))
        return floor(centre + 1 - reach), floor(centre + 1 + reach) - 1
    beyond = 1 if kind.startswith("bicubic") and centre.denominator > 1 else 0
    return floor(centre) - beyond, ceil(centre) + beyond


def _shuffled(operation: Operation, value: Value, sight: Sight) -> Seen:
    """`pixel_shuffle`: every position becomes a square of them, of its channels."""
    factor = int(operation.get("upscale_factor"))
    window = Window(Fraction(1, factor), Fraction(1 - factor, factor), 0)
    return _slid(operation, spread(sight, (len(value.shape) - 3,)), (window, window))


def _unshuffled(operation: Operation, value: Value, sight: Sight) -> Seen:
    """`pixel_unshuffle`: every square becomes a position."""
    factor = int(operation.get("downscale_factor"))
    window = Window(factor, 0, factor - 1)
    return _slid(operation, spread(sight, (len(value.shape) - 3,)), (window, window))


WINDOW_RULES: dict[str, Rule] = {
    **about_all("input", {_convolved: " ".join(name.removeprefix("aten.") for name in CONVOLUTIONS)}),
    **about_all(
        "self",
        {
            _pooled: " ".join(name.removeprefix("aten.") for name in POOLS),
            _pooled_to_size: "adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d "
            "adaptive_max_pool3d",
            _patches: "im2col",
            _shuffled: "pixel_shuffle",
            _unshuffled: "pixel_unshuffle",
            _resampled: "_upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d "
            "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_bicubic2d upsample_bilinear2d "
            "upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d",
        },
    ),
}
"""By the names of operations."""

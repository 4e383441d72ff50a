"""What a torch model sees, against the gradient: of random chains, and of models of which it is known."""

import itertools
import random
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from analysis import Window, analyze
from analysis.torch_model.kinds import kind_of
from analysis.torch_model.macs import FREE, MACS_RULES
from analysis.torch_model.receptive_field import rule_for
from tests.analysis.computes import Computes, parameter

Box = tuple[tuple[int, int], ...]


def gradient_boxes(model: nn.Module, shape: tuple[int, ...], *, most: int = 1_000) -> dict[tuple[int, ...], Box]:
    """For positions of the output, (n, c, ...), the first and last input position on each axis that they depend on."""
    model = model.double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.uniform_(0.5, 1.0)
    x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    output = model(x)
    boxes = {}
    places = list(itertools.product(*map(range, output.shape[2:])))
    for place in places[:: -(-len(places) // most)]:
        (gradient,) = torch.autograd.grad(output[(0, slice(None), *place)].sum(), x, retain_graph=True)
        seen = gradient[0].abs().sum(0).nonzero()
        if len(seen):
            boxes[place] = tuple((int(axis.min()), int(axis.max())) for axis in seen.T)
    return boxes


def assert_held(windows: tuple[Window, ...], boxes: dict[tuple[int, ...], Box]) -> None:
    """Every position sees no more than its window."""
    for place, box in boxes.items():
        for axis, (first, last) in enumerate(box):
            window, index = windows[axis], place[axis] if axis < len(place) else 0
            assert window.stride * index + window.low <= first, (place, windows[axis], box)
            assert window.stride * index + window.high >= last, (place, windows[axis], box)


def assert_tight(windows: tuple[Window, ...], boxes: dict[tuple[int, ...], Box], lengths: tuple[int, ...]) -> None:
    """Some position away from the border begins at its window's begin, and some ends at its end."""
    assert_held(windows, boxes)
    for axis, (window, length) in enumerate(zip(windows, lengths, strict=True)):
        inside = [
            (box[axis], window.stride * place[axis])
            for place, box in boxes.items()
            if window.stride * place[axis] + window.low >= 0 and window.stride * place[axis] + window.high < length
        ]
        assert inside, "the input is too short for this test"
        assert min(first - start for (first, _), start in inside) == window.low
        assert max(last - start for (_, last), start in inside) == window.high


def random_layer(rng: random.Random, channels: int, axes: int) -> tuple[nn.Module, int]:
    """A layer that sums what it sees with positive weights, and how many channels it gives."""
    kind = rng.choice(
        ("conv", "conv", "transposed", "pool", "nearest", "linear", "shuffle", "unshuffle", "pad", "flip")
    )
    convolution, transposed = ((nn.Conv1d, nn.ConvTranspose1d), (nn.Conv2d, nn.ConvTranspose2d))[axes - 1]
    kernel, stride, dilation = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 2)
    if kind == "conv":
        # No holes between neighbours, in which the gradient would see less than the window.
        padding = rng.randint(0, 2)
        return convolution(channels, 2, kernel, stride, padding, dilation, bias=False), 2
    if kind == "transposed":
        stride = min(stride, kernel)
        return transposed(channels, 2, kernel, stride, padding=rng.randint(0, kernel - 1), bias=False), 2
    if kind == "pool":
        pool = (nn.AvgPool1d, nn.AvgPool2d)[axes - 1]
        return pool(kernel, stride, padding=kernel // 2), channels
    if kind == "nearest":
        return nn.Upsample(scale_factor=rng.choice((2, 3)), mode="nearest"), channels
    if kind == "linear":
        mode = "linear" if axes == 1 else rng.choice(("bilinear", "bicubic"))
        return nn.Upsample(scale_factor=rng.choice((2, 3, 0.5)), mode=mode, align_corners=False), channels
    if kind == "shuffle" and axes == 2:
        return nn.Sequential(convolution(channels, 8, 1, bias=False), nn.PixelShuffle(2)), 2
    if kind == "unshuffle" and axes == 2:
        even = Computes(lambda self, x: x[..., : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2])
        return nn.Sequential(even, nn.PixelUnshuffle(2), convolution(4 * channels, 2, 1, bias=False)), 2
    if kind == "pad":
        pads = tuple(rng.randint(0, 2) for _ in range(2 * axes))
        return Computes(lambda self, x: functional.pad(x, pads)), channels
    if kind == "flip":
        start, step = rng.randint(0, 2), rng.randint(1, 2)
        return Computes(lambda self, x: x.flip(-1)[..., start::step].flip(-1)), channels
    return nn.Identity(), channels


@pytest.mark.parametrize("axes", [1, 2])
def test_windows_of_random_chains_hold_the_gradient(axes: int) -> None:
    for seed in range(80 if axes == 1 else 25):
        rng = random.Random(seed)
        channels, layers = 1, []
        for _ in range(rng.randint(1, 4)):
            layer, channels = random_layer(rng, channels, axes)
            layers.append(layer)
        model, shape = nn.Sequential(*layers), (1, *(60 if axes == 1 else 21,) * axes)
        with torch.no_grad():
            output = model(torch.rand(1, *shape))
        if output[0, 0].numel() not in range(1, 400):
            continue
        report = analyze(model, input_shape=shape, dtype="float64")
        assert report.without_rule == ()
        assert report.receptive_field is not None
        assert_held(report.receptive_field, gradient_boxes(model, shape, most=30))


TIGHT: dict[str, tuple[nn.Module, tuple[int, ...], Window]] = {
    "transposed": (nn.ConvTranspose1d(1, 1, 4, 2, 1), (1, 12), Window(Fraction(1, 2), Fraction(-1), Fraction(1, 2))),
    "transposed, dilated": (nn.ConvTranspose1d(1, 1, 3, 2, 2, dilation=2), (1, 16), Window(Fraction(1, 2), -1, 1)),
    "hourglass": (
        nn.Sequential(nn.Conv1d(1, 1, 3, 2, 1), nn.ConvTranspose1d(1, 1, 2, 2)),
        (1, 16),
        Window(Fraction(1), Fraction(-2), Fraction(1)),
    ),
    "enlarged by 5/3": (
        nn.Upsample(scale_factor=5 / 3, mode="linear"),
        (1, 30),
        Window(Fraction(3, 5), Fraction(-4, 5) - Fraction(1, 5), Fraction(3, 5)),
    ),
    "corners aligned": (
        nn.Upsample(21, mode="linear", align_corners=True),
        (1, 11),
        Window(Fraction(1, 2), Fraction(-1, 2), Fraction(1, 2)),
    ),
    "causal by cat": (
        Computes(
            lambda self, x: self.conv(torch.cat([x.new_zeros(x.shape[0], 1, 4), x], 2)),
            conv=nn.Conv1d(1, 1, 3, dilation=2, bias=False),
        ),
        (1, 16),
        Window(1, -4, 0),
    ),
    "shifted into a buffer": (
        Computes(lambda self, x: shifted(x, 2)),
        (1, 12),
        Window(1, -2, -2),
    ),
    "patches by views": (
        Computes(
            lambda self, x: self.linear(x.unflatten(2, (-1, 4)).permute(0, 2, 1, 3).flatten(2)).transpose(1, 2),
            linear=nn.Linear(8, 3),
        ),
        (2, 24),
        Window(4, 0, 3),
    ),
    "patches by unfold": (
        Computes(lambda self, x: (x.unfold(2, 5, 3) * self.weight).sum(3), weight=parameter(5)),
        (1, 20),
        Window(3, 0, 4),
    ),
    "differences": (Computes(lambda self, x: x[:, :, 1:] + x[:, :, :-1]), (1, 12), Window(1, 0, 1)),
    "every third": (Computes(lambda self, x: x[:, :, 2::3]), (1, 12), Window(3, 2, 2)),
}


def shifted(x: Tensor, by: int) -> Tensor:
    made = torch.zeros_like(x)
    made[:, :, by:] = x[:, :, :-by]
    return made


@pytest.mark.parametrize("name", TIGHT)
def test_windows_are_as_small_as_can_be(name: str) -> None:
    model, shape, window = TIGHT[name]
    report = analyze(model, input_shape=shape, dtype="float64")
    assert report.receptive_field == (window,)
    assert report.without_rule == ()
    assert_tight(report.receptive_field, gradient_boxes(model, shape), shape[1:])


class Patches(nn.Module):
    """A vision transformer's first half: patches, then tokens."""

    def __init__(self, *, attends: bool) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True) if attends else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.patch(x).flatten(2).transpose(1, 2))
        return tokens if self.attention is None else self.attention(tokens, tokens, tokens)[0]


def test_tokens_see_their_patches_until_they_attend_to_each_other() -> None:
    assert analyze(Patches(attends=False), input_shape=(3, 16, 24)).receptive_field == (Window(4, 0, 3),) * 2
    both = analyze(Patches(attends=True), input_shape=(3, 16, 24))
    assert both.receptive_field == (Window(0, 0, 15), Window(0, 0, 23))
    assert [row.receptive_field for row in both.layers][:2] == [(Window(4, 0, 3),) * 2] * 2


def window_attention(self: Any, x: Tensor, side: int = 4, shift: int = 0) -> Tensor:
    """Attention among the positions of each square, as in Swin: (n, c, h, w)."""
    x = torch.roll(x, (-shift, -shift), (2, 3))
    n, c, h, w = x.shape
    squares = x.view(n, c, h // side, side, w // side, side).permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, c)
    squares = functional.scaled_dot_product_attention(squares[:, None], squares[:, None], squares[:, None])[:, 0]
    y = squares.view(n, h // side, w // side, side, side, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
    return torch.roll(y, (shift, shift), (2, 3))


@pytest.mark.parametrize("shift", [0, 2])
def test_attention_within_windows_sees_them_alone(shift: int) -> None:
    model = Computes(lambda self, x: window_attention(self, x, shift=shift))
    report = analyze(model, input_shape=(3, 16, 16), dtype="float64")
    # A position sees its square, wherever in it it lies: three before it at most, and three behind it.
    assert report.receptive_field == (Window(1, -3, 3),) * 2


@pytest.mark.parametrize(
    ("model", "sees"),
    [
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4)), Window(0, 0, 9)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4)), Window(0, 0, 9)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), Window(0, 0, 9)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), Window(1, 0, 2)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.LayerNorm((4, 8, 8))), Window(0, 0, 9)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.Softmax(1)), Window(1, 0, 2)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.PReLU(4), nn.Dropout2d(), nn.GLU(1)), Window(1, 0, 2)),
        (Computes(lambda self, x: x.softmax(2).softmax(3)), Window(0, 0, 9)),
        (Computes(lambda self, x: torch.fft.fft2(x).real), Window(0, 0, 9)),
        (Computes(lambda self, x: x * x.mean((2, 3), keepdim=True)), Window(0, 0, 9)),
        (Computes(lambda self, x: torch.einsum("nchw,nchw->nhw", x, x)), Window(1, 0, 0)),
        (Computes(lambda self, x: x[:, :, 3, 4]), None),
        (Computes(lambda self, x: functional.grid_sample(x, x.new_zeros(x.shape[0], 5, 5, 2))), Window(0, 0, 9)),
        (Computes(lambda self, x: functional.unfold(x, 3)), Window(1, 0, 2)),
        (Computes(lambda self, x: x[:, [0, 1, 0]]), Window(1, 0, 0)),
        (Computes(lambda self, x: x[:, :, torch.arange(9, -1, -1)].movedim(3, 2)), None),
        (Computes(lambda self, x: torch.where(x > 0, x, x.transpose(2, 3))), Window(0, 0, 9)),
        (Computes(lambda self, x: torch.stack([x, x], 1).flatten(1, 2)), Window(1, 0, 0)),
    ],
)
def test_what_mixes_positions_sees_all_of_them_and_what_does_not_does_not(
    model: nn.Module, sees: Window | None
) -> None:
    report = analyze(model, input_shape=(2, 10, 10))
    assert report.without_rule == ()
    if sees is None:
        assert report.receptive_field in ((Window(0, 3, 3), Window(0, 4, 4)), (Window(0, 0, 9), Window(1, 0, 0)))
    else:
        assert report.receptive_field == (sees, sees)


def test_tokens_have_positions_and_vectors_have_none() -> None:
    model = nn.Sequential(
        nn.Embedding(50, 4), Computes(lambda self, x: x.transpose(1, 2)), nn.Conv1d(4, 4, 3, dilation=2)
    )
    assert analyze(model, input_shape=(30,)).receptive_field == (Window(1, 0, 4),)
    assert analyze(nn.Linear(4, 2), input_shape=(4,)).receptive_field == ()
    lstm = Computes(
        lambda self, x: self.lstm(self.table(x))[0], table=nn.Embedding(9, 4), lstm=nn.LSTM(4, 4, batch_first=True)
    )
    assert analyze(lstm, input_shape=(6,)).receptive_field == (Window(0, 0, 5),)


def test_what_cannot_be_followed_is_not_told() -> None:
    through_numpy = Computes(lambda self, x: torch.from_numpy(x.numpy() * 2))
    report = analyze(through_numpy, input_shape=(3, 8, 8))
    assert (report.traced_on, report.receptive_field, report.figures()["receptive_field"]) == ("cpu", None, 0)
    assert report.to_dict()["receptive_field"] is report.to_dict()["depth"] is None
    of_the_second = Computes(lambda self, x, y: y * 2)
    assert analyze(of_the_second, input_shape=((3, 8), (3, 8))).receptive_field is None


def test_an_operation_without_a_rule_sees_all_that_arrives_and_is_named() -> None:
    model = Computes(lambda self, x: torch.cdist(x, x))
    report = analyze(nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), model), input_shape=(3, 12))
    assert report.without_rule == ("aten._cdist_forward",)
    assert report.receptive_field == (Window(0, -1, 12),)


def test_the_border_layer_of_a_foreign_model() -> None:
    layers = [layer for _ in range(6) for layer in (nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.MaxPool2d(2, 1))]
    report = analyze(nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1), *layers), input_shape=(2, 16, 16))
    sizes = [row.receptive_field[0].size for row in report.layers if row.receptive_field]
    assert report.unproductive == tuple(
        row.name for row, before in zip(report.layers[1:], sizes, strict=False) if before > 16
    )
    assert report.unproductive


def test_every_operation_that_is_free_or_counted_has_a_rule() -> None:
    for name in sorted(FREE | set(MACS_RULES)):
        namespace, _, operator = name.partition(".")
        if namespace != "aten":
            continue
        packet = getattr(torch.ops.aten, operator, None) or getattr(torch.ops.aten, f"{operator}_")
        schema = getattr(packet, packet.overloads()[0])
        reads = any("Tensor" in str(argument.type) for argument in schema._schema.arguments)
        gives = any("Tensor" in str(result.type) for result in schema._schema.returns)
        assert rule_for(kind_of(schema)) is not None or not reads or not gives, name

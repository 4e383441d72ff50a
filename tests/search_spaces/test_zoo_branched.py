"""The networks with branches, gates and depthwise convolutions are the published ones, down to weights and outputs."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from analysis import analyze
from search_spaces import Architecture, to_module, zoo
from search_spaces.errors import UserError
from search_spaces.graph import walk
from search_spaces.ops import Conv

ALL = ("character_cnn", "efficientnet_b0", "googlenet", "inception_v3", "mobilenet_v2", "separable_pair", "wavenet")


@pytest.mark.parametrize(
    ("name", "params", "outputs"),
    [("googlenet", 13_004_888, ("y", "auxiliary1", "auxiliary2")), ("inception_v3", 27_161_264, ("y", "auxiliary"))],
)
def test_auxiliary_heads_are_outputs_of_their_own(name: str, params: int, outputs: tuple[str, ...]) -> None:
    architecture = zoo.load(name, auxiliary=True)
    assert analyze(architecture).params == params
    assert tuple(output for output, _ in architecture.graph.outputs) == outputs
    assert architecture.output_shapes == ((1000,),) * len(outputs)


@pytest.mark.parametrize(
    ("name", "last_feature", "size"),
    [("googlenet", "inception5b.concat", 379), ("mobilenet_v2", "last.activation", 491)],
)
def test_features_see_what_is_known(name: str, last_feature: str, size: int) -> None:
    layers = {layer.name: layer for layer in analyze(zoo.load(name)).layers}
    field = layers[last_feature].receptive_field
    assert field is not None
    assert [window.size for window in field] == [size, size]


@pytest.mark.parametrize("name", ALL)
def test_json_gives_the_same_network(name: str) -> None:
    architecture = zoo.load(name)
    assert Architecture.from_json(architecture.to_json()) == architecture


@pytest.mark.parametrize("name", ["efficientnet_b0", "googlenet", "inception_v3", "mobilenet_v2"])
def test_the_number_of_classes_is_a_parameter(name: str) -> None:
    assert zoo.load(name, classes=7).output_shapes == ((7,),)


def test_ten_layers_of_wavenet_see_1024_samples_of_the_past() -> None:
    architecture = zoo.load("wavenet")
    (window,) = analyze(architecture).receptive_field or ()
    assert (window.low, window.high, window.stride) == (-1023, 0, 1)
    (twice,) = analyze(zoo.load("wavenet", blocks=2)).receptive_field or ()
    assert twice.size == 2 * 1023 + 1
    assert architecture.output_shapes == architecture.input_shapes


def test_wavenet_computes_equation_2_with_residual_and_skip_sums() -> None:
    architecture = zoo.load("wavenet", input_shape=(5, 40), classes=4, layers=3, channels=6, skip_channels=7)
    module = to_module(architecture)
    weights = iter(module.state_dict().values())
    x = torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(1))
    conv1d = nn.functional.conv1d
    value, total = conv1d(x, next(weights)), torch.zeros(())
    for layer in range(3):
        past = nn.functional.pad(value, (2**layer, 0))
        filtered, gate = (conv1d(past, next(weights), dilation=2**layer) for _ in range(2))
        gated = filtered.tanh() * gate.sigmoid()
        total = total + conv1d(gated, next(weights))
        if layer < 2:
            value = value + conv1d(gated, next(weights))
    expected = conv1d(conv1d(total.relu(), next(weights)).relu(), next(weights))
    assert next(weights, None) is None
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-5)


def test_character_cnn_computes_convolutions_maxima_and_highways() -> None:
    architecture = zoo.load("character_cnn")
    module = to_module(architecture)
    weights = iter(module.state_dict().values())
    words = torch.randint(51, (3, 21), generator=torch.Generator().manual_seed(1))
    embedded = next(weights)[words].transpose(1, 2)
    maxima = []
    for width in range(1, 8):
        kernel, bias = next(weights), next(weights)
        assert kernel.shape == (min(200, 50 * width), 15, width)
        maxima.append(nn.functional.conv1d(embedded, kernel, bias).tanh().amax(dim=2))
    value = torch.cat(maxima, dim=1)
    for _ in range(2):
        new = nn.functional.linear(value, next(weights), next(weights)).relu()
        gate = nn.functional.linear(value, next(weights), next(weights)).sigmoid()
        value = gate * new + (1 - gate) * value
    assert next(weights, None) is None
    torch.testing.assert_close(module(words), value, rtol=0, atol=1e-5)


def test_a_separable_pair_is_the_convolution_with_the_outer_product() -> None:
    module = to_module(zoo.load("separable_pair", input_shape=(1, 9, 11), kernel=5))
    down, across, bias = module.state_dict().values()
    assert down.shape == (1, 1, 5, 1)
    assert across.shape == (1, 1, 1, 5)
    x = torch.randn(2, 1, 9, 11, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(x), nn.functional.conv2d(x, down * across, bias, padding=2), rtol=0, atol=1e-5)
    field = analyze(zoo.load("separable_pair")).receptive_field
    assert field is not None
    assert [window.size for window in field] == [3, 3]


def test_depthwise_convolutions_have_one_group_for_each_channel() -> None:
    convs = [node.operation for _, node in walk(zoo.load("mobilenet_v2").graph) if isinstance(node.operation, Conv)]
    assert sum(conv.groups == conv.out_channels > 1 for conv in convs) == 17


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("googlenet", {"input_shape": (224, 224)}),
        ("inception_v3", {"classes": 0}),
        ("wavenet", {"input_shape": (256, 16, 16)}),
        ("character_cnn", {"input_shape": (6,)}),
        ("separable_pair", {"kernel": 0}),
    ],
)
def test_a_refused_parameter_is_told_with_the_name_of_the_network(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=name):
        zoo.load(name, **parameters)


def unit(channels: int, out: int, kernel: int, activation: type[nn.Module] | None, **options: float) -> nn.Sequential:
    epsilon = options.pop("epsilon", 1e-5)
    conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False, **options)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.BatchNorm2d(out, eps=epsilon), *([] if activation is None else [activation()]))


class Shortcut(nn.Module):
    """A module whose input is added to its output."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class SqueezeExcitation(nn.Module):
    """Scales each channel by what two layers make of the channels' averages."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.restore = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.restore(nn.functional.silu(self.reduce(x.mean(dim=(2, 3), keepdim=True))))
        return x * gate.sigmoid()  # type: ignore[no-any-return]


def inverted_residuals(rows: str, activation: type[nn.Module], *, squeeze: bool) -> nn.Module:
    """`rows` are of expansion, kernel, channels, count and stride."""
    layers: list[nn.Module] = [unit(3, 32, 3, activation, stride=2)]
    channels = 32
    for row in rows.split(","):
        expansion, kernel, out, count, first_stride = map(int, row.split())
        for index in range(count):
            stride, wide = first_stride if index == 0 else 1, expansion * channels
            body = nn.Sequential(
                *([unit(channels, wide, 1, activation)] if expansion > 1 else []),
                unit(wide, wide, kernel, activation, stride=stride, groups=wide),
                *([SqueezeExcitation(wide, channels // 4)] if squeeze else []),
                unit(wide, out, 1, None),
            )
            layers.append(Shortcut(body) if stride == 1 and channels == out else body)
            channels = out
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))
    return nn.Sequential(*layers, unit(320, 1280, 1, activation), *head)


def mobilenet() -> nn.Module:
    rows = "1 3 16 1 1, 6 3 24 2 2, 6 3 32 3 2, 6 3 64 4 2, 6 3 96 3 1, 6 3 160 3 2, 6 3 320 1 1"
    return inverted_residuals(rows, nn.ReLU6, squeeze=False)


def efficientnet() -> nn.Module:
    rows = "1 3 16 1 1, 6 3 24 2 2, 6 5 40 2 2, 6 3 80 3 2, 6 5 112 3 1, 6 5 192 4 2, 6 3 320 1 1"
    return inverted_residuals(rows, nn.SiLU, squeeze=True)


class Branches(nn.Module):
    """Modules that read the same input, joined along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def googlenet() -> nn.Module:
    def conv(channels: int, out: int, kernel: int, **options: float) -> nn.Sequential:
        return unit(channels, out, kernel, nn.ReLU, epsilon=0.001, **options)

    def module(channels: int, a: int, b1: int, b: int, c1: int, c: int, d: int) -> Branches:
        return Branches(
            conv(channels, a, 1),
            nn.Sequential(conv(channels, b1, 1), conv(b1, b, 3)),
            nn.Sequential(conv(channels, c1, 1), conv(c1, c, 3)),
            nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), conv(channels, d, 1)),
        )

    def halve(kernel: int) -> nn.Module:
        return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)

    return nn.Sequential(
        conv(3, 64, 7, stride=2),
        halve(3),
        conv(64, 64, 1),
        conv(64, 192, 3),
        halve(3),
        module(192, 64, 96, 128, 16, 32, 32),
        module(256, 128, 128, 192, 32, 96, 64),
        halve(3),
        module(480, 192, 96, 208, 16, 48, 64),
        module(512, 160, 112, 224, 24, 64, 64),
        module(512, 128, 128, 256, 24, 64, 64),
        module(512, 112, 144, 288, 32, 64, 64),
        module(528, 256, 160, 320, 32, 128, 128),
        halve(2),
        module(832, 256, 160, 320, 32, 128, 128),
        module(832, 384, 192, 384, 48, 128, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1024, 1000),
    )


def load_by_position(module: nn.Module, reference: nn.Module) -> None:
    values: Iterator[Tensor] = iter(reference.state_dict().values())
    module.load_state_dict(dict(zip(module.state_dict(), values, strict=True)))


@pytest.mark.parametrize(
    ("name", "make"),
    [("googlenet", googlenet), ("mobilenet_v2", mobilenet), ("efficientnet_b0", efficientnet)],
)
def test_weights_of_a_reference_give_equal_outputs(name: str, make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    reference = make()
    x = torch.randn(2, 3, 224, 224)
    for part in reference.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            # Wide enough that ReLU6 cuts.
            nn.init.uniform_(part.weight, 1.0, 4.0)
    with torch.no_grad():
        # Statistics of the data itself keep the signal alive through all layers, so that a difference would show.
        reference.train()(x)
        expected = reference.eval()(x)
        module = to_module(zoo.load(name)).eval()
        load_by_position(module, reference)
        assert expected.std(dim=0).max() > 0.01
        torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-5)

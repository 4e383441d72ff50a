"""Weights prove the structure: the state of a network written by hand in torch fits ours by position, and computes the same."""

from collections.abc import Callable, Sequence
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from nas.export.python_code import render
from search_spaces import Architecture, to_module, zoo


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def stem(outputs: int) -> list[nn.Module]:
    return [convolution(3, outputs, 7, 2), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]


def vgg_reference(plan: Sequence[int | str], classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for step in plan:
        if isinstance(step, int):
            layers += [nn.Conv2d(channels, step, 3, padding=1), nn.ReLU()]
            channels = step
        else:
            layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    for inputs, outputs in ((7 * 7 * channels, 4096), (4096, 4096)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(4096, classes))


class BottleneckReference(nn.Module):
    """With its stride on the 3x3."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.residual = nn.Sequential(
            *(convolution(inputs, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
            *(convolution(width, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU()),
            *(convolution(width, outputs, 1), nn.BatchNorm2d(outputs)),
        )
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.residual(x) + self.shortcut(x))


def resnet_reference(counts: Sequence[int], classes: int) -> nn.Sequential:
    layers = stem(64)
    inputs = 64
    for number, count in enumerate(counts):
        for index in range(count):
            layers.append(BottleneckReference(inputs, 64 << number, stride=2 if number and not index else 1))
            inputs = 4 * 64 << number
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class PreActivationReference(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.activate = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.residual = nn.Sequential(
            convolution(inputs, width, 1, stride),
            *(nn.BatchNorm2d(width), nn.ReLU(), convolution(width, width, 3)),
            *(nn.BatchNorm2d(width), nn.ReLU(), convolution(width, outputs, 1)),
        )
        self.projection = convolution(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.activate(x)
        return self.residual(active) + (x if self.projection is None else self.projection(active))


def pre_activation_reference(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [convolution(3, 16, 3)]
    inputs = 16
    for width in (16, 32, 64):
        for index in range(18):
            layers.append(PreActivationReference(inputs, width, stride=2 if width > 16 and not index else 1))
            inputs = 4 * width
    head = (nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
    return nn.Sequential(*layers, *head)


class DenseLayerReference(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            *(nn.BatchNorm2d(inputs), nn.ReLU(), convolution(inputs, 4 * growth, 1)),
            *(nn.BatchNorm2d(4 * growth), nn.ReLU(), convolution(4 * growth, growth, 3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], dim=1)


def densenet_reference(counts: Sequence[int], growth: int, classes: int) -> nn.Sequential:
    channels = 2 * growth
    layers = stem(channels)
    for number, count in enumerate(counts):
        if number:
            transition = nn.BatchNorm2d(channels), nn.ReLU(), convolution(channels, channels // 2, 1), nn.AvgPool2d(2)
            layers += transition
            channels //= 2
        for _ in range(count):
            layers.append(DenseLayerReference(channels, growth))
            channels += growth
    head = (nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    return nn.Sequential(*layers, *head)


def assert_fits_and_computes_the_same(
    architecture: Architecture, make_reference: Callable[[], nn.Module], batch: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *architecture.input_shapes[0], generator=generator)
    with torch.device("meta"):
        ours, reference = to_module(architecture), make_reference()
    reference.to_empty(device="cpu")
    for module in reference.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.1, generator=generator)
    with torch.no_grad():
        if any(isinstance(module, nn.BatchNorm2d) for module in reference.modules()):
            # Batch norms take over the statistics of this batch, so that values stay of order 1.
            reference.train()(x)
        # Both share the weights, which are 0.5 GB in VGG-16.
        theirs = reference.state_dict()
        assert [weight.shape for weight in ours.state_dict().values()] == [weight.shape for weight in theirs.values()]
        ours.load_state_dict(dict(zip(ours.state_dict(), theirs.values(), strict=True)), assign=True)
        expected = reference.eval()(x[:1])
        assert expected.std() > 0.1
        torch.testing.assert_close(ours.eval()(x[:1]), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_vgg16() -> None:
    plan = (64, 64, "pool", 128, 128, "pool", *(256,) * 3, "pool", *(512,) * 3, "pool", *(512,) * 3, "pool")
    assert_fits_and_computes_the_same(zoo.load("vgg16"), lambda: vgg_reference(plan, 1000), batch=1)


def test_resnet50() -> None:
    network = zoo.load("resnet50", input_shape=(3, 64, 64))
    assert_fits_and_computes_the_same(network, lambda: resnet_reference((3, 4, 6, 3), 1000), batch=4)


def test_resnet164() -> None:
    network = zoo.load("resnet164", input_shape=(3, 16, 16))
    assert_fits_and_computes_the_same(network, lambda: pre_activation_reference(10), batch=4)


def test_densenet121() -> None:
    network = zoo.load("densenet121", input_shape=(3, 64, 64))
    assert_fits_and_computes_the_same(network, lambda: densenet_reference((6, 12, 24, 16), 32, 1000), batch=4)


def test_exported_resnet18_has_the_same_state_and_computes_the_same() -> None:
    architecture = zoo.load("resnet18", input_shape=(3, 64, 64), classes=10)
    source = render(architecture, title="resnet18")
    model = ModuleType("model")
    exec(compile(source, "model.py", "exec", dont_inherit=True), model.__dict__)
    torch.manual_seed(0)
    ours, exported = to_module(architecture).eval(), model.Network().eval()
    exported.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(exported(x), ours(x))

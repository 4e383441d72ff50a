"""Inception-v3 computes what a plain torch module of the same modules computes."""

import torch
from torch import Tensor, nn

from search_spaces import to_module, zoo


class Branches(nn.Module):
    """Modules that read the same input, joined along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def chain(channels: int, *steps: tuple[int, int, int] | nn.Module, stride: int = 1) -> nn.Sequential:
    """Steps are modules, or (out, height, width) of a kernel; the last has the stride, and no padding if that is 2."""
    modules: list[nn.Module] = []
    for number, step in enumerate(steps, start=1):
        if isinstance(step, nn.Module):
            modules.append(step)
            continue
        out, height, width = step
        last = number == len(steps)
        padding = (0, 0) if last and stride == 2 else (height // 2, width // 2)
        conv = nn.Conv2d(channels, out, (height, width), stride=stride if last else 1, padding=padding, bias=False)
        modules += [conv, nn.BatchNorm2d(out, eps=0.001), nn.ReLU()]
        channels = out
    return nn.Sequential(*modules)


def average() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1)


def module_c(inner: int) -> nn.Module:
    row, column = (inner, 1, 7), (inner, 7, 1)
    return Branches(
        chain(768, (192, 1, 1)),
        chain(768, (inner, 1, 1), row, (192, 7, 1)),
        chain(768, (inner, 1, 1), column, row, column, (192, 1, 7)),
        chain(768, average(), (192, 1, 1)),
    )


def module_e(channels: int) -> nn.Module:
    def split() -> nn.Module:
        return Branches(chain(384, (384, 1, 3)), chain(384, (384, 3, 1)))

    return Branches(
        chain(channels, (320, 1, 1)),
        chain(channels, (384, 1, 1), split()),
        chain(channels, (448, 1, 1), (384, 3, 3), split()),
        chain(channels, average(), (192, 1, 1)),
    )


def inception_v3() -> nn.Module:
    class Unpadded(nn.Sequential):
        """A 3x3 unit without padding, at stride 1."""

        def __init__(self, channels: int, out: int) -> None:
            super().__init__(nn.Conv2d(channels, out, 3, bias=False), nn.BatchNorm2d(out, eps=0.001), nn.ReLU())

    def module_a(channels: int, pool: int) -> nn.Module:
        return Branches(
            chain(channels, (64, 1, 1)),
            chain(channels, (48, 1, 1), (64, 5, 5)),
            chain(channels, (64, 1, 1), (96, 3, 3), (96, 3, 3)),
            chain(channels, average(), (pool, 1, 1)),
        )

    return nn.Sequential(
        chain(3, (32, 3, 3), stride=2),
        Unpadded(32, 32),
        chain(32, (64, 3, 3)),
        nn.MaxPool2d(3, stride=2),
        chain(64, (80, 1, 1)),
        Unpadded(80, 192),
        nn.MaxPool2d(3, stride=2),
        module_a(192, 32),
        module_a(256, 64),
        module_a(288, 64),
        Branches(
            chain(288, (384, 3, 3), stride=2),
            chain(288, (64, 1, 1), (96, 3, 3), (96, 3, 3), stride=2),
            nn.MaxPool2d(3, stride=2),
        ),
        *map(module_c, (128, 160, 160, 192)),
        Branches(
            chain(768, (192, 1, 1), (320, 3, 3), stride=2),
            chain(768, (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3), stride=2),
            nn.MaxPool2d(3, stride=2),
        ),
        module_e(1280),
        module_e(2048),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2048, 1000),
    )


def test_weights_of_a_reference_give_equal_outputs() -> None:
    torch.manual_seed(0)
    reference = inception_v3()
    x = torch.randn(2, 3, 299, 299)
    for part in reference.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        # Statistics of the data itself keep the signal alive through all layers, so that a difference would show.
        reference.train()(x)
        expected = reference.eval()(x)
        module = to_module(zoo.load("inception_v3")).eval()
        module.load_state_dict(dict(zip(module.state_dict(), reference.state_dict().values(), strict=True)))
        assert expected.std(dim=0).max() > 0.01
        torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-5)

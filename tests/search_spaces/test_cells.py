"""Every family of cells is what its paper says: compared with modules written by hand, and with closed forms."""

import pytest
import torch
from torch import Tensor, nn

from search_spaces import Architecture, to_module
from search_spaces.builder import GraphBuilder
from search_spaces.cells import (
    BRANCHES,
    NORMALISATIONS,
    POOLINGS,
    InceptionWidths,
    basic_cell,
    bottleneck_cell,
    conv_unit,
    dense_cell,
    inception_cell,
    inception_widths,
    plain_cell,
    pooling_cell,
    pre_activation_unit,
    transition_cell,
)
from search_spaces.errors import InvalidArchitecture, UserError
from search_spaces.graph import Cell, walk
from search_spaces.ops import BatchNorm, Conv, LayerNorm, Shape


def alone(cell: Cell, shape: Shape) -> Architecture:
    builder = GraphBuilder()
    return Architecture(builder.graph(builder.add("cell", cell, builder.input())), (shape,))


def params(cell: Cell, shape: Shape) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in to_module(alone(cell, shape)).parameters())


def assert_computes_the_same(cell: Cell, reference: nn.Module, shape: Shape) -> None:
    """Copies the weights by position and compares, in training mode, so that the norms have something to do."""
    module = to_module(alone(cell, shape))
    generator = torch.Generator().manual_seed(0)
    ours, theirs = list(module.parameters()), list(reference.parameters())
    assert [weight.shape for weight in ours] == [weight.shape for weight in theirs]
    with torch.no_grad():
        for one, other in zip(ours, theirs, strict=True):
            one.copy_(torch.randn(one.shape, generator=generator))
            other.copy_(one)
    x = torch.randn(4, *shape, generator=generator)
    torch.testing.assert_close(module(x), reference(x), rtol=1e-4, atol=1e-4)


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class ResNetReference(nn.Module):
    def __init__(self, residual: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual = residual
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.residual(x) + self.shortcut(x))


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(6, 6, 1), (6, 8, 1), (6, 6, 2), (6, 8, 2)])
def test_basic_cell_is_the_one_of_resnet(inputs: int, outputs: int, stride: int) -> None:
    residual = nn.Sequential(*conv_norm(inputs, outputs, 3, stride), nn.ReLU(), *conv_norm(outputs, outputs, 3))
    changes = inputs != outputs or stride != 1
    shortcut = nn.Sequential(*conv_norm(inputs, outputs, 1, stride)) if changes else nn.Identity()
    assert_computes_the_same(
        basic_cell(inputs, outputs, stride=stride), ResNetReference(residual, shortcut), (inputs, 7, 8)
    )


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(8, 8, 1), (4, 8, 1), (8, 16, 2)])
def test_bottleneck_cell_is_the_one_of_resnet(inputs: int, outputs: int, stride: int) -> None:
    inner = outputs // 4
    residual = nn.Sequential(
        *conv_norm(inputs, inner, 1, stride),
        nn.ReLU(),
        *conv_norm(inner, inner, 3),
        nn.ReLU(),
        *conv_norm(inner, outputs, 1),
    )
    changes = inputs != outputs or stride != 1
    shortcut = nn.Sequential(*conv_norm(inputs, outputs, 1, stride)) if changes else nn.Identity()
    assert_computes_the_same(
        bottleneck_cell(inputs, outputs, stride=stride), ResNetReference(residual, shortcut), (inputs, 7, 8)
    )


def test_residual_cells_of_resnet50_have_the_published_sizes() -> None:
    # Of He et al., table 1: the first block of conv2_x and a block of conv5_x, counted by hand with their norms.
    first = 64 * 64 + 2 * 64 + 9 * 64 * 64 + 2 * 64 + 64 * 256 + 2 * 256 + 64 * 256 + 2 * 256
    last = 2048 * 512 + 2 * 512 + 9 * 512 * 512 + 2 * 512 + 512 * 2048 + 2 * 2048
    assert params(bottleneck_cell(64, 256), (64, 8, 8)) == first
    assert params(bottleneck_cell(2048, 2048), (2048, 8, 8)) == last


def test_bottleneck_width_must_divide() -> None:
    with pytest.raises(UserError, match="multiple of the expansion 4"):
        bottleneck_cell(8, 10, expansion=4)


class DenseReference(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], dim=1)


def test_dense_cell_is_the_layer_of_densenet() -> None:
    assert_computes_the_same(dense_cell(5), DenseReference(6, 5), (6, 7, 8))


def test_transition_is_the_one_of_densenet() -> None:
    reference = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False), nn.AvgPool2d(2))
    assert_computes_the_same(transition_cell(4), reference, (8, 6, 7))


def test_a_dense_block_grows_by_its_rate() -> None:
    shape: Shape = (16, 4, 4)
    for layer in range(1, 6):
        shape = dense_cell(12).output_shape(shape)
        assert shape == (16 + 12 * layer, 4, 4)


class InceptionReference(nn.Module):
    def __init__(self, inputs: int, widths: InceptionWidths) -> None:
        super().__init__()

        def unit(a: int, b: int, kernel: int) -> list[nn.Module]:
            return [nn.Conv2d(a, b, kernel, padding=kernel // 2), nn.ReLU()]

        self.one = nn.Sequential(*unit(inputs, widths.conv1x1, 1))
        self.three = nn.Sequential(*unit(inputs, widths.reduce3x3, 1), *unit(widths.reduce3x3, widths.conv3x3, 3))
        self.five = nn.Sequential(*unit(inputs, widths.reduce5x5, 1), *unit(widths.reduce5x5, widths.conv5x5, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), *unit(inputs, widths.pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


def test_inception_cell_is_the_module_of_googlenet() -> None:
    widths = InceptionWidths(5, 3, 6, 2, 4, 3)
    assert_computes_the_same(inception_cell(widths, normalisation="none"), InceptionReference(7, widths), (7, 8, 9))


def test_widths_share_as_in_the_published_module() -> None:
    assert inception_widths(256) == InceptionWidths(64, 96, 128, 16, 32, 32)
    # Table 1 rounds the parameters of module 3a to 159K; they count to 163,696 with biases.
    published = 192 * (64 + 96 + 16 + 32) + 9 * 96 * 128 + 25 * 16 * 32 + (64 + 96 + 16 + 32 + 128 + 32)
    assert params(inception_cell(inception_widths(256), normalisation="none"), (192, 8, 8)) == published


@pytest.mark.parametrize("channels", [8, 24, 50])
@pytest.mark.parametrize("branches", [BRANCHES, ("conv1x1", "pool"), ("conv3x3", "conv5x5", "pool")])
def test_any_two_branches_share_all_the_channels(channels: int, branches: tuple[str, ...]) -> None:
    cell = inception_cell(inception_widths(channels, branches))
    assert cell.output_shape((3, 6, 5)) == (channels, 6, 5)


def test_inception_refuses_what_it_cannot_be() -> None:
    with pytest.raises(UserError, match="at least two"):
        inception_widths(16, ("conv1x1",))
    with pytest.raises(UserError, match="at least two"):
        inception_widths(16, ("conv1x1", "conv9x9"))
    with pytest.raises(UserError, match="too few"):
        inception_widths(3)
    with pytest.raises(InvalidArchitecture, match="concat"):
        inception_cell(InceptionWidths(4, 0, 0, 0, 0, 0))


def test_plain_cell_is_a_block_of_vgg() -> None:
    reference = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
    )
    assert_computes_the_same(plain_cell(6, layers=3, normalisation="none"), reference, (3, 6, 7))


def test_plain_cell_strides_once() -> None:
    assert plain_cell(6, layers=3, kernel=5, stride=2).output_shape((3, 9, 8)) == (6, 5, 4)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("max_pool", nn.MaxPool2d(2)),
        ("overlapping_max_pool", nn.MaxPool2d(3, 2, 1)),
        ("average_pool", nn.AvgPool2d(2)),
    ],
)
def test_poolings_halve(kind: str, reference: nn.Module) -> None:
    assert kind in POOLINGS
    assert_computes_the_same(pooling_cell(kind), reference, (3, 8, 6))
    assert pooling_cell(kind).output_shape((3, 8, 6)) == (3, 4, 3)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_normalisation_is_what_was_asked_for_in_every_family(normalisation: str) -> None:
    norm = {"batch": BatchNorm, "layer": LayerNorm, "none": None}[normalisation]
    cells = [
        conv_unit(4, 3, normalisation=normalisation),
        pre_activation_unit(4, 3, normalisation=normalisation),
        plain_cell(4, normalisation=normalisation),
        basic_cell(3, 4, normalisation=normalisation),
        bottleneck_cell(3, 4, normalisation=normalisation),
        dense_cell(4, normalisation=normalisation),
        transition_cell(4, normalisation=normalisation),
        inception_cell(inception_widths(8), normalisation=normalisation),
    ]
    for cell in cells:
        leaves = [node.operation for _, node in walk(cell.body)]
        convs = [operation for operation in leaves if isinstance(operation, Conv)]
        norms = [type(operation) for operation in leaves if isinstance(operation, BatchNorm | LayerNorm)]
        assert norms == ([] if norm is None else [norm] * len(convs))
        assert all(conv.bias == (norm is None) for conv in convs)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown normalisation 'bach'; did you mean 'batch'"):
        conv_unit(4, 3, normalisation="bach")
    with pytest.raises(UserError, match="unknown kind 'rleu'"):
        conv_unit(4, 3, activation="rleu")
    with pytest.raises(UserError, match="unknown pooling"):
        pooling_cell("median")

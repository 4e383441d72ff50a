"""The convolutional twin: equal at the original size, sliding on larger inputs."""

import random
from math import prod

import pytest
import torch

import search_spaces
from search_spaces import Architecture, to_module, zoo
from search_spaces.builder import GraphBuilder
from search_spaces.errors import InvalidArchitecture
from search_spaces.ops import (
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    LayerNorm,
    Linear,
    Pool,
    conv2d,
)
from search_spaces.torch_module import twin_state

QUICK = {
    "character_cnn": {},
    "lenet5": {},
    "alexnet": {"classes": 7},
    "resnet18": {"input_shape": (3, 64, 64)},
    "resnet50": {"input_shape": (3, 64, 64)},
    "resnet164": {"input_shape": (3, 16, 16)},
    "googlenet": {"input_shape": (3, 64, 64)},
    "inception_v3": {"input_shape": (3, 107, 107)},
    "mobilenet_v2": {"input_shape": (3, 64, 64)},
    "efficientnet_b0": {"input_shape": (3, 64, 64)},
    "densenet100_bc": {"input_shape": (3, 16, 16)},
    "densenet121": {"input_shape": (3, 64, 64)},
}
SLOW = {
    **{
        name: {"classes": 3}
        for name in ("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn")
    },
    **{name: {"input_shape": (3, 64, 64)} for name in ("resnet34", "resnet101", "resnet152")},
    **{name: {"input_shape": (3, 64, 64)} for name in ("densenet161", "densenet169", "densenet201")},
}
WITHOUT_DENSE_HEAD = {"wavenet", "separable_pair"}

MEMBERS = {
    f"{name}{seed}": search_spaces.load(name).sample(rng=random.Random(seed))
    for name in ("cellular", "nasbench201")
    for seed in range(3)
}
NAMES = [*QUICK, *MEMBERS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def load(name: str) -> Architecture:
    return MEMBERS[name] if name in MEMBERS else zoo.load(name, **{**QUICK, **SLOW}[name])


def test_every_network_with_a_dense_head_is_tried() -> None:
    assert {*QUICK, *SLOW, *WITHOUT_DENSE_HEAD} == set(zoo.names())


def calibrate(module: torch.nn.Module, x: torch.Tensor) -> None:
    """Gives every batch norm the statistics of `x`: an uncalibrated deep network gives its bias, whatever it reads."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.momentum = None
    module(x)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_equal_at_the_original_size(name: str) -> None:
    torch.manual_seed(0)
    network = load(name)
    twin = network.convolutionalized()
    module = to_module(network).double()
    with torch.device("meta"):
        twin_module = to_module(twin)
    x = torch.randn(4, *network.input_shapes[0], dtype=torch.float64)
    if name == "character_cnn":
        x = torch.randint(51, x.shape)
    with torch.no_grad():
        calibrate(module, x)
        # Both share the weights.
        twin_module.load_state_dict(twin_state(twin, module.state_dict()), assign=True)
        expected, given = module.eval()(x), twin_module.eval()(x)
    (shape,) = twin.output_shapes
    assert shape == (*network.output_shapes[0], *(1 for _ in shape[1:])) and len(shape) > 1
    assert expected.std(0).max() > 1e-3
    torch.testing.assert_close(given.flatten(1), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_is_its_own_twin_and_survives_json(name: str) -> None:
    twin = load(name).convolutionalized()
    assert twin.convolutionalized() == twin
    assert Architecture.from_json(twin.to_json()) == twin
    with torch.device("meta"):
        counts = [sum(prod(p.shape) for p in to_module(each).parameters()) for each in (twin, load(name))]
    assert counts[0] == counts[1]


def test_a_larger_input_gives_the_network_at_every_place() -> None:
    network = zoo.load("lenet5")
    twin = network.convolutionalized()
    module = to_module(network).eval()
    wide = Architecture(twin.graph, ((1, 40, 44),))
    assert wide.output_shapes == ((10, 3, 4),)
    sliding = to_module(wide).eval()
    sliding.load_state_dict(twin_state(twin, module.state_dict()))
    x = torch.randn(2, 1, 40, 44)
    with torch.no_grad():
        everywhere = sliding(x)
        # LeNet-5 halves twice, so its window moves by four.
        for row in range(3):
            for column in range(4):
                crop = x[:, :, 4 * row : 4 * row + 32, 4 * column : 4 * column + 32]
                torch.testing.assert_close(everywhere[:, :, row, column], module(crop), rtol=1e-4, atol=1e-5)


def test_a_global_pool_slides_in_the_head_and_stays_in_a_gate() -> None:
    twin = zoo.load("efficientnet_b0").convolutionalized()
    operations = [node.operation for node in twin.flatten().graph.nodes]
    assert operations.count(GlobalPool()) == 16
    assert Pool("average", (7, 7), stride=(1, 1)) in operations
    assert Architecture(twin.graph, ((3, 288, 288),)).output_shapes == ((1000, 3, 3),)


def test_a_head_of_several_layers_on_one_dimension() -> None:
    builder = GraphBuilder()
    x = builder.chain(builder.input(), ("conv", Conv(4, (3,))), ("flatten", Flatten()))
    left = builder.chain(x, ("left", Linear(5)), ("norm", BatchNorm()), ("scale", LayerNorm()), ("drop", Dropout(0.5)))
    right = builder.chain(x, ("right", Linear(6, bias=False)), ("relu", Activation()))
    network = Architecture(
        builder.graph(builder.add("last", Linear(3), builder.add("both", Concat(), left, right))), ((2, 9),)
    )
    twin = network.convolutionalized()
    module = to_module(network)
    x_NCL = torch.randn(8, 2, 9)
    module(x_NCL)
    sliding = to_module(twin)
    sliding.load_state_dict(twin_state(twin, module.state_dict()))
    torch.testing.assert_close(sliding.eval()(x_NCL)[:, :, 0], module.eval()(x_NCL))
    assert Architecture(twin.graph, ((2, 12),)).output_shapes == ((3, 4),)


def test_without_a_dense_head_nothing_changes() -> None:
    for name in WITHOUT_DENSE_HEAD:
        network = zoo.load(name)
        assert network.convolutionalized() is network


def test_what_reads_a_flat_map_as_features_is_refused_by_name() -> None:
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(), ("conv", conv2d(4, 3)), ("flatten", Flatten()), ("norm", BatchNorm()), ("linear", Linear(2))
    )
    with pytest.raises(InvalidArchitecture, match=r"node 'norm' \(BatchNorm\) has no convolutional form"):
        Architecture(builder.graph(end), ((1, 6, 6),)).convolutionalized()


def test_a_pool_whose_windows_differ_in_size_is_refused_by_name() -> None:
    network = zoo.load("vgg11")
    odd = Architecture(network.graph, ((3, 288, 288),))  # 9x9 to 7x7
    with pytest.raises(InvalidArchitecture, match=r"AdaptivePool.*multiple of \(7, 7\)"):
        odd.convolutionalized()

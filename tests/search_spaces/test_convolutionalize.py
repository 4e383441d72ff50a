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

SMALL = {
    "lenet5": {},
    "alexnet": {"classes": 7},
    "vgg11": {"classes": 3},
    "resnet18": {"input_shape": (3, 64, 64)},
    "googlenet": {"input_shape": (3, 64, 64)},
    "mobilenet_v2": {"input_shape": (3, 64, 64)},
    "efficientnet_b0": {"input_shape": (3, 64, 64)},
    "densenet100_bc": {},
}


def networks() -> dict[str, Architecture]:
    found = {}
    for name, parameters in SMALL.items():
        shape = parameters.get("input_shape")
        network = zoo.load(name, **{key: value for key, value in parameters.items() if key != "input_shape"})
        found[name] = network if shape is None else Architecture(network.graph, (shape,))
    for name in ("cellular", "nasbench201"):
        for seed in range(3):
            found[f"{name}{seed}"] = search_spaces.load(name).sample(rng=random.Random(seed))
    return found


NETWORKS = networks()


def calibrate(module: torch.nn.Module, x: torch.Tensor) -> None:
    """Gives every batch norm the statistics of `x`: an uncalibrated deep network gives its bias, whatever it reads."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.momentum = None
    module(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_equal_at_the_original_size(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]
    twin = network.convolutionalized()
    module, twin_module = to_module(network).double(), to_module(twin).double()
    x = torch.randn(4, *network.input_shapes[0], dtype=torch.float64)
    with torch.no_grad():
        calibrate(module, x)
        twin_module.load_state_dict(twin_state(twin, module.state_dict()))
        expected, given = module.eval()(x), twin_module.eval()(x)
    (shape,) = twin.output_shapes
    assert shape == (*network.output_shapes[0], *(1 for _ in shape[1:])) and len(shape) > 1
    assert expected.std(0).max() > 1e-3
    torch.testing.assert_close(given.flatten(1), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_twin_is_its_own_twin_and_survives_json(name: str) -> None:
    twin = NETWORKS[name].convolutionalized()
    assert twin.convolutionalized() == twin
    assert Architecture.from_json(twin.to_json()) == twin
    assert sum(prod(p.shape) for p in to_module(twin).parameters()) == sum(
        prod(p.shape) for p in to_module(NETWORKS[name]).parameters()
    )


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
    for name in ("wavenet", "separable_pair"):
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

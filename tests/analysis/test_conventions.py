"""What each convention counts is what its tool says of the built module: the classic networks, samples, random graphs."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from random_graphs import random_architecture
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from analysis import analyze
from analysis.conventions import CONVENTIONS, RULES, count, layer_counts
from search_spaces import Architecture, load, to_module, zoo
from search_spaces.builder import GraphBuilder
from search_spaces.errors import UserError
from search_spaces.ops import (
    ACTIVATION_KINDS,
    LEAF_OPERATIONS,
    POOL_KINDS,
    UPSAMPLE_KINDS,
    Activation,
    AdaptivePool,
    BatchNorm,
    Conv,
    Embedding,
    GlobalPool,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Operation,
    Pool,
    Shape,
    Upsample,
)
from tests import torchvision_oracle

pytestmark = [
    # thop imports it; fvcore scripts a function as soon as it is imported.
    pytest.mark.filterwarnings("ignore:.*distutils:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

NETWORKS = (
    "lenet5",
    "alexnet",
    "vgg16",
    "googlenet",
    "resnet50",
    "resnet152",
    "densenet121",
    "inception_v3",
    "mobilenet_v2",
    "efficientnet_b0",
)


def on_meta(architecture: Architecture) -> tuple[nn.Module, torch.Tensor]:
    with torch.device("meta"):
        return to_module(architecture).eval(), torch.empty((1, *architecture.input_shapes[0]))


def torch_flops(architecture: Architecture) -> int:
    module, x = on_meta(architecture)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    return counter.get_total_flops()


def fvcore_flops(architecture: Architecture) -> int:
    from fvcore.nn import FlopCountAnalysis

    # fvcore cannot trace on the meta device.
    module = to_module(architecture).eval()
    with torch.no_grad():
        counted = FlopCountAnalysis(module, torch.zeros((1, *architecture.input_shapes[0])))
        counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        return int(counted.total())


def torchinfo_summary(module: nn.Module, x: torch.Tensor) -> Any:
    import torchinfo

    return torchinfo.summary(module, input_data=x, device="meta", verbose=0)


def torchinfo_mult_adds(architecture: Architecture) -> int:
    return int(torchinfo_summary(*on_meta(architecture)).total_mult_adds)


def ptflops_macs(architecture: Architecture, backend: str) -> int:
    # It imports torchvision where it finds it.
    torchvision_oracle.obstacle()
    import ptflops

    # On the meta device torch computes in Python, by functions that ptflops patches, and all is counted once more.
    macs, _ = ptflops.get_model_complexity_info(
        to_module(architecture),
        architecture.input_shapes[0],
        as_strings=False,
        print_per_layer_stat=False,
        # Its own are not initialised: no numbers for an embedding to look up.
        input_constructor=lambda shape: torch.zeros((1, *shape)),
        backend=backend,
    )
    assert macs is not None, "ptflops has printed its error"
    return int(macs)


def thop_profile(architecture: Architecture) -> Any:
    import thop

    module, x = on_meta(architecture)
    return thop.profile(module, (x,), verbose=False, ret_layer_info=True)


TOOLS: dict[str, Callable[[Architecture], float]] = {
    "macs": lambda architecture: torch_flops(architecture) / 2,
    "flops": torch_flops,
    "fvcore": fvcore_flops,
    "torchinfo": torchinfo_mult_adds,
    "ptflops": lambda architecture: ptflops_macs(architecture, "pytorch"),
    "ptflops-aten": lambda architecture: ptflops_macs(architecture, "aten"),
    "thop": lambda architecture: thop_profile(architecture)[0],
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_classic_networks_cost_what_the_tool_says(name: str, convention: str) -> None:
    network = zoo.load(name)
    assert count(network, convention) == TOOLS[convention](network)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("nasbench201", {"input_shape": (3, 8, 8), "cells_per_stage": 1}), ("cellular", {"input_shape": (1, 8, 8)})],
)
def test_members_of_the_spaces_cost_what_the_tool_says(name: str, parameters: dict[str, Any], convention: str) -> None:
    space = load(name, **parameters)
    for seed in range(20):
        network = space.sample(rng=random.Random(seed))
        assert count(network, convention) == TOOLS[convention](network), seed


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("axes", [1, 2])
def test_random_graphs_cost_what_the_tool_says(axes: int, convention: str) -> None:
    for seed in range(30):
        network = random_architecture(random.Random(seed), axes=axes)
        assert count(network, convention) == TOOLS[convention](network), seed


def single(operation: Operation, shape: Shape) -> Architecture:
    builder = GraphBuilder()
    return Architecture(builder.graph(builder.add("node", operation, builder.input())), (shape,))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_single_operations_cost_what_the_tool_says(convention: str) -> None:
    cases: list[tuple[Operation, Shape]] = [(Activation(kind), (2, 5, 4)) for kind in ACTIVATION_KINDS]
    cases += [(Embedding(20, 4), (6,)), (Linear(3), (5,)), (Linear(3, bias=False), (5,))]
    cases += [(operation, (6,)) for operation in (BatchNorm(), BatchNorm(affine=False), LayerNorm())]
    for sizes in ((9,), (9, 7)):
        shape, axes = (4, *sizes), len(sizes)
        cases += [(operation, shape) for operation in (BatchNorm(), BatchNorm(affine=False), LayerNorm())]
        cases += [(LocalResponseNorm(5), shape), (LocalResponseNorm(2), shape)]
        cases += [(Upsample(3, kind), shape) for kind in UPSAMPLE_KINDS]
        for kind in POOL_KINDS:
            cases += [(GlobalPool(kind), shape), (Pool(kind, (3,) * axes, (2,) * axes, ceil_mode=True), shape)]
            # thop divides in floats and cuts the product down.
            cases += [(AdaptivePool(kind, (m, 12)[:axes]), shape) for m in range(1, 13)]
        for padding in ((0, 0), (1, 1), (1, 0)):
            for mode in ("zeros", "reflect"):
                conv = Conv(6, (3,) * axes, padding=(padding,) * axes, groups=2, bias=True, padding_mode=mode)
                cases.append((conv, shape))
    for operation, shape in cases:
        network = single(operation, shape)
        assert count(network, convention) == TOOLS[convention](network), (operation, shape)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0"])
def test_layers_have_their_paths_and_sum_to_the_whole(name: str, convention: str) -> None:
    network = zoo.load(name)
    layers = layer_counts(network, convention)
    assert list(layers) == [layer.name for layer in analyze(network).layers]
    assert sum(layers.values()) == count(network, convention) == count(network.flatten(), convention)


def test_layers_cost_what_torchinfo_says_of_each() -> None:
    network = zoo.load("densenet121")
    module, x = on_meta(network)
    paths = {part: path for path, part in module.named_modules()}
    said = {paths[info.module]: info.macs for info in torchinfo_summary(module, x).summary_list if info.is_leaf_layer}
    assert layer_counts(network, "torchinfo") == said


def test_layers_cost_what_thop_says_of_each() -> None:
    def leaves(told: dict[str, Any], prefix: str) -> dict[str, int]:
        found = {}
        for name, (macs, _, inner) in told.items():
            found |= leaves(inner, f"{prefix}{name}.") if inner else {prefix + name: int(macs)}
        return found

    network = zoo.load("googlenet")
    assert layer_counts(network, "thop") == leaves(thop_profile(network)[2], "")


def test_the_report_says_the_same_where_it_says_it() -> None:
    for name in NETWORKS:
        network = zoo.load(name)
        report = analyze(network)
        said = [count(network, convention) for convention in ("macs", "flops", "fvcore")]
        assert said == [report.macs, report.flops, report.fvcore_flops]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_has_a_rule_for_every_operation_and_no_other(convention: str) -> None:
    assert set(RULES[convention]) == set(LEAF_OPERATIONS)


def test_every_convention_is_described_in_one_line_and_has_a_table_and_a_tool() -> None:
    assert set(CONVENTIONS) == set(RULES) == set(TOOLS)
    assert all(text and "\n" not in text for text in CONVENTIONS.values())


@pytest.mark.parametrize("ask", [count, layer_counts])
def test_an_unknown_convention_is_told_in_one_line(ask: Callable[[Architecture, str], object]) -> None:
    with pytest.raises(UserError, match="unknown convention 'torchinf'; did you mean 'torchinfo'"):
        ask(zoo.load("lenet5"), "torchinf")


def test_an_operation_without_a_rule_is_an_error_and_not_free() -> None:
    class Unknown(Linear):
        pass

    with pytest.raises(KeyError, match="Unknown"):
        count(single(Unknown(3), (5,)), "thop")

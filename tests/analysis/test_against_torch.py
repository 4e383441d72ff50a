"""The report of random architectures of every space, against what torch and fvcore say of the built module.

Each case checks 25 architectures at once, so that the cases can be spread over processes.
"""

import random

import pytest
import torch
from input_gradient import Outputs, gradient_box, linear_module
from random_graphs import random_architecture
from torch.utils.flop_counter import FlopCounterMode

from analysis import analyze, seen_box
from search_spaces import Architecture, SearchSpace, load, to_module

SPACES = {
    # One cell a stage has all that five have: the others are equal to it.
    "nasbench201": load("nasbench201", input_shape=(3, 8, 8), cells_per_stage=1),
    "nasbench101": load("nasbench101", input_shape=(3, 8, 8), channels=16, cells_per_stack=1),
    "cellular": load("cellular", input_shape=(1, 8, 8)),
    "full nasbench201": load("nasbench201"),
    "full nasbench101": load("nasbench101"),
    "large cellular": load("cellular", input_shape=(3, 32, 32)),
}
MANY = [(name, first, 25) for name in ("nasbench201", "nasbench101", "cellular") for first in range(0, 200, 25)]
FEW = [(name, 0, 4) for name in ("full nasbench201", "large cellular")]
WITHOUT_STORAGE = [("full nasbench101", 0, 4)]
"""Networks of too many numbers to be run by the dozen."""


def slow(*names: str) -> list[object]:
    """Two hundred members of each of the spaces."""
    return [pytest.param(name, first, 25, marks=pytest.mark.slow) for name in names for first in range(0, 200, 25)]


SLOW = slow("full nasbench201", "large cellular")


def samples(space: SearchSpace, first: int, count: int) -> list[Architecture]:
    return [space.sample(rng=random.Random(seed)) for seed in range(first, first + count)]


@pytest.mark.parametrize(("name", "first", "count"), [*MANY, *FEW, *WITHOUT_STORAGE, *SLOW, *slow("full nasbench101")])
def test_shapes_params_and_macs_are_those_of_the_module_on_the_meta_device(name: str, first: int, count: int) -> None:
    for architecture in samples(SPACES[name], first, count):
        report = analyze(architecture)
        with torch.device("meta"):
            module = to_module(architecture).eval()
            x = torch.empty((1, *architecture.input_shapes[0]))
        with FlopCounterMode(display=False) as counter, torch.no_grad(), Outputs(module) as outputs:
            output = module(x)
        assert report.params == sum(parameter.numel() for parameter in module.parameters())
        assert report.weight_bytes == sum(tensor.nbytes for tensor in module.state_dict().values())
        assert report.macs == counter.get_total_flops() / 2
        assert architecture.output_shapes == (tuple(output.shape[1:]),)
        shapes = {layer.name: layer.output_shape for layer in report.layers}
        assert shapes == {path: tuple(outputs[path].shape[1:]) for path in shapes}
        params = {layer.name: layer.params for layer in report.layers}
        assert params == {path: sum(p.numel() for p in module.get_submodule(path).parameters()) for path in params}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize(("name", "first", "count"), [*MANY, *FEW, *SLOW])
def test_fvcore_flops_are_those_of_fvcore(name: str, first: int, count: int) -> None:
    from fvcore.nn import FlopCountAnalysis  # it scripts a function as soon as it is imported

    for architecture in samples(SPACES[name], first, count):
        module = to_module(architecture).eval()
        with torch.no_grad():
            # fvcore cannot trace on the meta device.
            counted = FlopCountAnalysis(module, torch.zeros((1, *architecture.input_shapes[0])))
            counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            assert analyze(architecture).fvcore_flops == counted.total()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_random_graphs_of_all_operations_cost_what_torch_and_fvcore_say() -> None:
    from fvcore.nn import FlopCountAnalysis

    for seed in range(60):
        architecture = random_architecture(random.Random(seed))
        report = analyze(architecture)
        module = to_module(architecture).eval()
        x = torch.zeros((1, *architecture.input_shapes[0]))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(x)
        assert report.params == sum(parameter.numel() for parameter in module.parameters())
        assert report.macs == counter.get_total_flops() / 2
        with torch.no_grad():
            counted = FlopCountAnalysis(module, x)
            counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            assert report.fvcore_flops == counted.total()


@pytest.mark.parametrize(("name", "first", "count"), [*MANY, *FEW, *SLOW])
def test_receptive_fields_are_bounding_boxes_of_the_gradient(name: str, first: int, count: int) -> None:
    for number, architecture in enumerate(samples(SPACES[name], first, count)):
        rng = random.Random(number)
        module = linear_module(architecture)
        x = torch.zeros((1, *architecture.input_shapes[0]), dtype=torch.float64, requires_grad=True)
        with Outputs(module) as outputs:
            output = module(x)
        assert seen_box(architecture, ()) == gradient_box(output, x, ())
        layer = rng.choice([layer for layer in analyze(architecture).layers if len(layer.output_shape) == 3])
        position = tuple(rng.randrange(size) for size in layer.output_shape[1:])
        assert seen_box(architecture, position, node=layer.name) == gradient_box(outputs[layer.name], x, position)

"""The roofline in closed form, and measured latencies beside it."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import search_spaces
from analysis import analyze
from analysis.device_profile import PROFILES, DeviceProfile, find_profile
from analysis.latency import measure_latency, measure_profile
from analysis.roofline import roofline
from search_spaces import Architecture, zoo
from search_spaces.builder import GraphBuilder
from search_spaces.errors import UserError
from search_spaces.ops import Activation, Dropout, Operation, conv2d


def network(*operations: Operation, shape: tuple[int, ...] = (4, 8, 8)) -> Architecture:
    builder = GraphBuilder()
    end = builder.chain(builder.input(), *((f"node{number}", operation) for number, operation in enumerate(operations)))
    return Architecture(builder.graph(end), (shape,))


def device(flops_per_second: float, bytes_per_second: float) -> DeviceProfile:
    return DeviceProfile("device", {"float32": flops_per_second}, bytes_per_second, "made up")


def test_a_convolution_is_bound_by_arithmetic_and_an_activation_by_memory() -> None:
    both = network(conv2d(16, 3), Activation())
    estimate = roofline(both, device(1e6, 1e9))
    computing_ms = 1e3 * 2 * 16 * 4 * 9 * 64 / 1e6
    moving_ms = 1e3 * 4 * (2 * 16 * 64) / 1e9
    assert estimate.latency_ms == pytest.approx(computing_ms + moving_ms)
    assert estimate.compute_bound_ms == pytest.approx(computing_ms)


def test_bytes_are_inputs_weights_and_output_once() -> None:
    estimate = roofline(network(conv2d(16, 3)), device(1e18, 1e6), batch=3)
    assert estimate.latency_ms == pytest.approx(1e3 * 4 * (16 * 4 * 9 + 3 * (4 * 64 + 16 * 64)) / 1e6)
    assert estimate.compute_bound_ms == 0.0


def test_views_take_no_time() -> None:
    assert roofline(network(Activation(), Dropout(0.5)), device(1e9, 1e9)) == roofline(
        network(Activation()), device(1e9, 1e9)
    )


@given(
    seed=st.integers(0, 50), flops=st.floats(1e8, 1e15), bandwidth=st.floats(1e8, 1e13), faster=st.floats(1.0, 100.0)
)
def test_a_faster_device_is_never_slower(seed: int, flops: float, bandwidth: float, faster: float) -> None:
    architecture = search_spaces.load("nasbench201").sample(rng=random.Random(seed))
    slow = roofline(architecture, device(flops, bandwidth)).latency_ms
    for better in (device(flops * faster, bandwidth), device(flops, bandwidth * faster)):
        assert roofline(architecture, better).latency_ms <= slow * (1 + 1e-9)
    assert roofline(architecture, device(flops, bandwidth), batch=2).latency_ms >= slow


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_plausible(name: str) -> None:
    profile = find_profile(name)
    ladder = [
        profile.flops_per_second[dtype]
        for dtype in ("float64", "float32", "float16")
        if dtype in profile.flops_per_second
    ]
    assert ladder == sorted(ladder)
    assert 1e10 < profile.bytes_per_second < 1e13
    assert roofline(zoo.load("resnet50"), profile).latency_ms > 0


class Indexed(nn.Module):
    """A table that is read by indexing."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(100_000, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table[x]


@pytest.mark.parametrize("table", [nn.Embedding(100_000, 8), Indexed()], ids=["embedding", "indexed"])
def test_of_a_table_no_more_is_moved_than_is_looked_up(table: nn.Module) -> None:
    costs = analyze(table, input_shape=(16,), input_dtypes=("int64",)).operation_costs()
    assert sum(moved_bytes for _, moved_bytes in costs) == 16 * 8 + 2 * 16 * 8 * 4


def test_a_recurrent_layer_moves_its_weights_once() -> None:
    recurrent = nn.LSTM(8, 8, batch_first=True)
    weight_bytes = 4 * sum(weight.numel() for weight in recurrent.parameters())
    short, long = (
        sum(moved_bytes for _, moved_bytes in analyze(recurrent, input_shape=(length, 8)).operation_costs())
        for length in (10, 20)
    )
    # All but the weights grows with the length, or hardly.
    assert weight_bytes < short < long < 2 * short - 0.9 * weight_bytes


def test_a_latency_is_measured_and_lies_above_the_roofline_of_this_machine() -> None:
    architecture = zoo.load("resnet18")
    latency = measure_latency(architecture)
    assert 0 < latency.low_ms <= latency.median_ms <= latency.high_ms
    assert latency.repeats >= 5
    # The machine may be busier while its peak is measured than while the network runs: half is conceded to that.
    assert latency.median_ms >= 0.5 * roofline(architecture, measure_profile()).latency_ms


def test_a_torch_module_and_several_types_are_measured() -> None:
    module = torch.nn.Conv2d(3, 4, 3)
    for dtype in ("float32", "float64", "bfloat16"):
        assert measure_latency(module, input_shapes=((3, 16, 16),), batch=2, dtype=dtype).median_ms > 0


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: measure_latency(zoo.load("lenet5"), device="gpu"), "unknown device 'gpu'; choose one of: cpu, cuda"),
        (lambda: measure_latency(zoo.load("lenet5"), dtype="float31"), "did you mean 'float32'"),
        (lambda: find_profile("a100-sxm-80"), "did you mean 'a100-sxm-80gb'"),
        (lambda: roofline(zoo.load("lenet5"), find_profile("v100-sxm2"), dtype="bfloat16"), "no figure for bfloat16"),
        (lambda: measure_latency(torch.nn.Linear(3, 2), input_shapes=((4,),)), "does not run on cpu"),
    ],
)
def test_bad_input_gets_one_line(ask: object, says: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*$") as raised:
        ask()  # type: ignore[operator]
    assert says in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_cuda_device_is_told() -> None:
    with pytest.raises(UserError, match="no CUDA device"):
        measure_latency(zoo.load("lenet5"), device="cuda")


@pytest.mark.gpu
def test_a_latency_on_cuda_lies_above_the_roofline() -> None:
    architecture = zoo.load("resnet50")
    latency = measure_latency(architecture, device="cuda", batch=32)
    assert latency.median_ms >= 0.5 * roofline(architecture, measure_profile("cuda"), batch=32).latency_ms

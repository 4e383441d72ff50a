"""Peaks of memory worked out by hand, and against what torch really holds while the built module runs."""

import random
import weakref
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_architecture, replace_operations
from torch.utils._python_dispatch import TorchDispatchMode

from analysis import analyze
from search_spaces import Architecture, load, to_module
from search_spaces.builder import GraphBuilder
from search_spaces.graph import Cell
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    Identity,
    LayerNorm,
    Linear,
    Zero,
    conv2d,
)

UNIT = 4 * 6 * 6
"""Bytes of one channel of the 6 x 6 maps below."""


def activation_peak(architecture: Architecture) -> int:
    """The peak without the weights, in channels of 6 x 6."""
    report = analyze(architecture)
    peak, rest = divmod(report.peak_inference_bytes - report.weight_bytes, UNIT)
    assert rest == 0
    return peak


def test_chain_holds_one_input_and_one_output_besides_what_the_caller_gave() -> None:
    builder = GraphBuilder()
    wide = builder.chain(builder.input(), ("a", conv2d(2, 1)), ("b", conv2d(5, 1)), ("c", conv2d(3, 1)))
    # The input (1) always lives; while b runs a and b do (2 + 5), while c runs b and c (5 + 3).
    assert activation_peak(Architecture(builder.graph(wide), ((1, 6, 6),))) == 1 + 5 + 3


def test_residual_holds_the_shortcut_until_the_sum() -> None:
    builder = GraphBuilder()
    start = builder.add("stem", conv2d(4, 1), builder.input())
    inner = builder.chain(start, ("expand", conv2d(16, 1)), ("project", conv2d(4, 1)))
    total = builder.add("sum", Add(), start, inner)
    # input 1, stem 4, expand 16, project 4 while project runs.
    assert activation_peak(Architecture(builder.graph(total), ((1, 6, 6),))) == 1 + 4 + 16 + 4


def test_input_of_a_cell_lives_while_the_cell_runs() -> None:
    inside = GraphBuilder()
    end = inside.chain(inside.input(), ("a", conv2d(2, 1)), ("b", conv2d(8, 1)), ("c", conv2d(8, 1)))
    cell = inside.cell("narrow_first", end)

    def network(operation: Cell) -> Architecture:
        builder = GraphBuilder()
        return Architecture(
            builder.graph(builder.chain(builder.input(), ("stem", conv2d(10, 1)), ("cell", operation))), ((1, 6, 6),)
        )

    nested = network(cell)
    # The stem's 10 live on inside of the cell, though only `a` reads them: 1 + 10 + (b 8 + c 8).
    assert activation_peak(nested) == 1 + 10 + 8 + 8
    # Without the cell they go after `a`: the peak is b and c alone.
    assert activation_peak(nested.flatten()) == 1 + 8 + 8


def test_views_take_no_memory_but_keep_their_source_alive() -> None:
    builder = GraphBuilder()
    start = builder.add("stem", conv2d(4, 1), builder.input())
    view = builder.chain(start, ("skip", Identity()), ("dropout", Dropout(0.5)))
    inner = builder.chain(start, ("a", conv2d(4, 1)), ("b", conv2d(4, 1)))
    total = builder.add("sum", Add(), view, inner)
    # While b runs: the stem's 4 (held by the view alone), a and b; the sum holds the stem's, b and itself.
    assert activation_peak(Architecture(builder.graph(total), ((1, 6, 6),))) == 1 + 4 + 4 + 4


def test_cell_that_only_passes_on_takes_nothing() -> None:
    inside = GraphBuilder()
    cell = inside.cell("skip", inside.add("skip", Identity(), inside.input()))
    builder = GraphBuilder()
    end = builder.chain(builder.input(), ("skip", cell), ("skip2", cell), ("relu", Activation()))
    assert activation_peak(Architecture(builder.graph(end), ((3, 6, 6),))) == 3 + 3


def test_sum_of_three_holds_a_partial_sum_and_uneven_padding_a_copy() -> None:
    builder = GraphBuilder()
    start = builder.input()
    three = builder.add("sum", Add(), start, start, start)
    assert activation_peak(Architecture(builder.graph(three), ((3, 6, 6),))) == 3 + 3 + 3
    builder = GraphBuilder()
    conv = Conv(2, (1, 4), padding=((0, 0), (1, 2)))
    report = analyze(Architecture(builder.graph(builder.add("conv", conv, builder.input())), ((1, 6, 6),)))
    assert report.peak_inference_bytes - report.weight_bytes == UNIT + 4 * 6 * 9 + 2 * UNIT


class LiveStorage(TorchDispatchMode):
    """Follows the float tensors that operations give, and notes the most bytes alive at one time, without weights."""

    def __init__(self, held: torch.Tensor, module: torch.nn.Module) -> None:
        super().__init__()
        self._weights = {weight.untyped_storage()._cdata for weight in module.state_dict().values()}
        self._alive: list[weakref.ref[torch.Tensor]] = [weakref.ref(held)]
        self.peak_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # What a kernel gives besides its result (the indices of a maximum) is its own business.
        first = result[0] if isinstance(result, tuple | list) else result
        if first.dtype == torch.float32:
            self._alive.append(weakref.ref(first))
        tensors = [tensor for reference in self._alive if (tensor := reference()) is not None]
        storages = {storage._cdata: storage.nbytes() for storage in (tensor.untyped_storage() for tensor in tensors)}
        activations = (size for identity, size in storages.items() if identity not in self._weights)
        self.peak_bytes = max(self.peak_bytes, sum(activations))
        return result


def torch_peak_bytes(architecture: Architecture) -> int:
    with torch.device("meta"):
        module = to_module(architecture).eval()
        x = torch.empty((1, *architecture.input_shapes[0]))
    with torch.no_grad(), LiveStorage(x, module) as live:
        module(x)
    return max(live.peak_bytes, 4 * prod(architecture.input_shapes[0]))


def predicted_peak_bytes(architecture: Architecture) -> int:
    report = analyze(architecture)
    return report.peak_inference_bytes - report.weight_bytes


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from((1, 2)))
def test_peak_is_what_torch_holds_on_random_graphs(rng: random.Random, axes: int) -> None:
    # Behind torch's layer norm over channels the memory is in another order, and Flatten may have to copy.
    architecture = replace_operations(random_architecture(rng, axes=axes), {LayerNorm: lambda _: BatchNorm()})
    assert predicted_peak_bytes(architecture) == torch_peak_bytes(architecture)


@pytest.mark.parametrize("seed", range(8))
def test_peak_is_what_torch_holds_on_nasbench201(seed: int) -> None:
    architecture = load("nasbench201").sample(rng=random.Random(seed))
    assert predicted_peak_bytes(architecture) == torch_peak_bytes(architecture)


def test_peak_of_a_network_that_ends_in_a_vector() -> None:
    builder = GraphBuilder()
    start = builder.input()
    joined = builder.add("join", Concat(), start, builder.add("zero", Zero(), start))
    end = builder.chain(joined, ("flatten", Flatten()), ("linear", Linear(5)))
    architecture = Architecture(builder.graph(end), ((2, 6, 6),))
    assert predicted_peak_bytes(architecture) == torch_peak_bytes(architecture) == UNIT * (2 + 2 + 4)

"""The report as a whole: its layers add up to its totals, nesting changes nothing, and its JSON has stable names."""

import json
import random
import subprocess
import sys
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_architecture

from analysis import FIGURES, analyze
from analysis.describe import describe
from search_spaces import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import UserError
from search_spaces.ops import (
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
    Conv,
    Dropout,
    Embedding,
    Flatten,
    GlobalPool,
    Linear,
    LocalResponseNorm,
    Multiply,
    Operation,
    Pool,
    Upsample,
    conv2d,
)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from((1, 2)))
def test_layers_add_up_to_the_totals(rng: random.Random, axes: int) -> None:
    report = analyze(random_architecture(rng, axes=axes))
    assert report.params == sum(layer.params for layer in report.layers)
    assert report.macs == sum(layer.macs for layer in report.layers)
    assert report.activation_bytes == sum(layer.activation_bytes for layer in report.layers)
    assert all(layer.activation_bytes == 4 * prod(layer.output_shape) for layer in report.layers)
    assert report.receptive_field == report.layers[-1].receptive_field


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from((1, 2)))
def test_nesting_changes_nothing_but_the_peak(rng: random.Random, axes: int) -> None:
    nested = analyze(random_architecture(rng, axes=axes))
    flat = analyze(nested.architecture.flatten())
    assert flat.layers == nested.layers
    assert (flat.weight_bytes, flat.fvcore_flops, flat.depth) == (
        nested.weight_bytes,
        nested.fvcore_flops,
        nested.depth,
    )
    assert flat.receptive_field == nested.receptive_field
    # A cell holds its inputs longer than a flat graph would.
    assert flat.peak_inference_bytes <= nested.peak_inference_bytes


def small_network() -> Architecture:
    builder = GraphBuilder()
    inside = GraphBuilder()
    cell = inside.cell("unit", inside.chain(inside.input(), ("conv", conv2d(4, 3, stride=2)), ("norm", BatchNorm())))
    end = builder.chain(
        builder.input(), ("stem", cell), ("pool", GlobalPool()), ("flatten", Flatten()), ("linear", Linear(2))
    )
    return Architecture(builder.graph(end), ((1, 8, 6),))


def test_json_has_the_names_that_are_promised() -> None:
    report = json.loads(json.dumps(analyze(small_network()).to_dict()))
    layers = report.pop("layers")
    assert report == {
        "inputs": [{"shape": [1, 8, 6], "dtype": "float32"}],
        "batch": 1,
        "dtype": "float32",
        "params": 36 + 8 + 10,
        "macs": 36 * 12 + 8,
        "flops": 2 * (36 * 12 + 8),
        "fvcore_flops": 36 * 12 + 8 + 2 * 48 + 48,
        "activation_bytes": 4 * (48 + 48 + 4 + 4 + 2),
        "weight_bytes": 4 * 54 + 2 * 16 + 8,
        "peak_inference_bytes": 4 * 54 + 40 + 4 * (48 + 48 + 48),
        "peak_training_bytes": analyze(small_network()).peak_training_bytes,
        "depth": 2,
        "receptive_field": {"size": [9, 7], "stride": [0, 0], "centre": [3.0, 2.0], "fraction": 1.0},
        "last_map": "stem.norm",
        "unproductive": [],
    }
    assert [layer["name"] for layer in layers] == ["stem.conv", "stem.norm", "pool", "flatten", "linear"]
    assert layers[0] == {
        "name": "stem.conv",
        "operation": "Conv 3x3 stride 2",
        "output_shape": [4, 4, 3],
        "params": 36,
        "weight_bytes": 144,
        "macs": 432,
        "flops": 864,
        "input_bytes": 192,
        "activation_bytes": 192,
        "arithmetic_intensity": round(864 / (192 + 144 + 192), 3),
        "receptive_field": {"size": [3, 3], "stride": [2, 2], "centre": [0.0, 0.0], "fraction": 9 / 48},
        "unproductive": False,
    }


def test_figures_are_those_that_objectives_may_name() -> None:
    report = analyze(small_network())
    figures = report.figures()
    assert tuple(figures) == FIGURES
    assert figures["receptive_field"] == 9
    assert all(figures[name] == getattr(report, name) for name in FIGURES if name != "receptive_field")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float64", 8), ("float16", 2), ("bfloat16", 2)])
def test_bytes_follow_the_batch_and_the_number_type(dtype: str, element_bytes: int) -> None:
    one, many = analyze(small_network()), analyze(small_network(), batch=5, dtype=dtype)
    assert (many.params, many.depth, many.receptive_field) == (one.params, one.depth, one.receptive_field)
    assert (many.macs, many.fvcore_flops) == (5 * one.macs, 5 * one.fvcore_flops)
    assert 4 * many.activation_bytes == 5 * element_bytes * one.activation_bytes
    # The counter of the batch norm stays an int64.
    assert 4 * (many.weight_bytes - 8) == element_bytes * (one.weight_bytes - 8)
    activations = one.peak_inference_bytes - one.weight_bytes
    assert 4 * (many.peak_inference_bytes - many.weight_bytes) == 5 * element_bytes * activations
    assert sum(layer.activation_bytes for layer in many.layers) == many.activation_bytes
    assert sum(layer.weight_bytes for layer in many.layers) == many.weight_bytes


def test_a_batch_or_number_type_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="batch must be at least 1, got 0"):
        analyze(small_network(), batch=0)
    with pytest.raises(UserError, match="unknown number type 'float3'; did you mean 'float32'"):
        analyze(small_network(), dtype="float3")


def test_layers_that_see_nothing_new_are_named_from_the_border_layer_on() -> None:
    builder = GraphBuilder()
    names = [f"conv{number}" for number in range(1, 6)]
    end = builder.chain(builder.input(), *((name, conv2d(2, 3)) for name in names), ("point", conv2d(2, 1)))
    report = analyze(Architecture(builder.graph(end), ((1, 6, 6),)))
    # conv3 gives windows of 7x7: the convolutions behind it read what sees more than 6x6.
    assert report.unproductive == ("conv4", "conv5")


def test_a_gate_makes_no_layer_unproductive() -> None:
    builder = GraphBuilder()
    x = builder.add("conv", conv2d(2, 3), builder.input())
    gate = builder.chain(x, ("pool", GlobalPool()), ("sigmoid", Activation("sigmoid")))
    end = builder.add("after", conv2d(2, 3), builder.add("scale", Multiply(), x, gate))
    report = analyze(Architecture(builder.graph(end), ((1, 6, 6),)))
    assert [window.size for window in report.receptive_field or ()] == [8, 8]
    assert report.unproductive == ()


def test_depth_counts_the_longest_path_alone() -> None:
    builder = GraphBuilder()
    start = builder.add("stem", conv2d(2, 1), builder.input())
    long = builder.chain(start, ("a", conv2d(2, 3)), ("relu", Activation()), ("b", conv2d(2, 3)))
    end = builder.add("sum", Add(), builder.add("short", conv2d(2, 1), start), long)
    assert analyze(Architecture(builder.graph(end), ((1, 4, 4),))).depth == 3


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (conv2d(8, 3), "Conv 3x3"),
        (conv2d(8, 3, stride=2, groups=4), "Conv 3x3 stride 2 groups 4"),
        (Conv(8, (1, 7), stride=(1, 2), dilation=(1, 3)), "Conv 1x7 stride 1x2 dilation 1x3"),
        (Conv(8, (5,)), "Conv 5"),
        (Pool("max", (3, 3), (2, 2)), "Pool max 3x3 stride 2"),
        (GlobalPool(), "GlobalPool average"),
        (AdaptivePool("max", (7, 1)), "AdaptivePool max to 7x1"),
        (BatchNorm(affine=False), "BatchNorm not affine"),
        (Dropout(0.2), "Dropout 0.2"),
        (Activation("silu"), "Activation silu"),
        (Linear(10), "Linear"),
        (Conv(8, (3,), padding=((1, 1),), padding_mode="reflect"), "Conv 3 reflect"),
        (Pool("max", (3, 3), (2, 2), ceil_mode=True), "Pool max 3x3 stride 2 ceil"),
        (Upsample(2, "bilinear"), "Upsample bilinear x2"),
        (Embedding(50, 8), "Embedding 50x8"),
        (LocalResponseNorm(5), "LocalResponseNorm size 5"),
        (ChannelShuffle(4), "ChannelShuffle groups 4"),
        (ChannelSlice(0, 42), "ChannelSlice 0:42"),
    ],
)
def test_operations_are_described_in_a_few_words(operation: Operation, text: str) -> None:
    assert describe(operation) == text


def test_analysis_needs_no_heavy_library() -> None:
    code = "import sys, analysis; print(*{'torch', 'numpy', 'networkx', 'pandas'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""

"""The report on torch models: equal to that of the graph where there is one, and to torch's own counts elsewhere."""

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from random_graphs import random_architecture
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from analysis import Layer, analyze
from analysis.torch_model import ModuleReport
from search_spaces import Architecture, to_module, zoo
from tests.analysis.computes import Computes, parameter
from tests.search_spaces.test_zoo_branched import efficientnet, googlenet, mobilenet
from tests.search_spaces.test_zoo_weights import densenet_reference, resnet_reference, vgg_reference

QUICK = ("alexnet", "character_cnn", "googlenet", "lenet5", "resnet18", "separable_pair", "wavenet")


def on_meta(architecture: Architecture) -> nn.Module:
    with torch.device("meta"):
        return to_module(architecture)


def flop_counter_macs(model: nn.Module, *inputs: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*inputs)
    return counter.get_total_flops() / 2


def assert_same(report: ModuleReport, graph: Any, *, blind: bool = False) -> None:
    """The report of a module and that of its graph; `blind` leaves out what is seen."""
    names = ("params", "macs", "flops", "activation_bytes", "weight_bytes")
    assert {name: getattr(report, name) for name in names} == {name: getattr(graph, name) for name in names}
    assert report.uncounted == report.without_rule == ()
    layers = {layer.name: layer for layer in report.layers}
    assert list(layers) == [layer.name for layer in graph.layers]
    for layer in graph.layers:
        # A map of one channel that is flattened is a row of positions still, to one who does not know of maps.
        unseen = blind or layer.operation == "Flatten"
        assert seen(layers[layer.name], blind=unseen) == seen(layer, blind=unseen)
    if not blind:
        assert (report.receptive_field, report.depth) == (graph.receptive_field, graph.depth)
        assert report.unproductive == graph.unproductive
        assert report.figures() | {"peak_inference_bytes": 0} == graph.figures() | {"peak_inference_bytes": 0}


def seen(layer: Layer, *, blind: bool) -> dict[str, Any]:
    """What of a layer does not depend on how its operation is called."""
    document = layer.to_dict() | {"operation": ""}
    return document | {"receptive_field": None, "unproductive": None} if blind else document


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.names()]
)
def test_a_classic_network_as_a_module_has_the_figures_of_its_graph(name: str) -> None:
    network = zoo.load(name)
    report, graph = analyze(on_meta(network), input_shape=network.input_shapes, batch=2), analyze(network, batch=2)
    assert_same(report, graph)
    assert report.peak_inference_bytes == pytest.approx(graph.peak_inference_bytes, rel=1e-4)
    ours, theirs = report.training_memory(optimizer="adam"), graph.training_memory(optimizer="adam")
    assert list(ours) == pytest.approx(list(theirs), rel=1e-3)


def test_random_graphs_as_modules_have_the_figures_of_their_graphs() -> None:
    for seed in range(60):
        network = random_architecture(random.Random(seed), axes=1 + seed % 2)
        report = analyze(on_meta(network), input_shape=network.input_shapes, batch=3)
        text = network.to_json()
        # A run does not know that what a mask hides is all, and sees what stands in circular padding.
        blind = '"Zero"' in text or '"circular"' in text
        assert_same(report, analyze(network, batch=3), blind=blind)


VGG16 = (64, 64, "M", 128, 128, "M", *(256,) * 3, "M", *(512,) * 3, "M", *(512,) * 3, "M")
REFERENCES: dict[str, Callable[[], nn.Module]] = {
    "resnet50": lambda: resnet_reference((3, 4, 6, 3), 1000),
    "vgg16": lambda: vgg_reference(VGG16, 1000),
    "densenet121": lambda: densenet_reference((6, 12, 24, 16), 32, 1000),
    "googlenet": googlenet,
    "mobilenet_v2": mobilenet,
    "efficientnet_b0": efficientnet,
}


@pytest.mark.parametrize("name", REFERENCES)
def test_plain_torch_models_have_the_figures_of_the_same_networks(name: str) -> None:
    with torch.device("meta"):
        model = REFERENCES[name]()
    graph = analyze(zoo.load(name))
    report = analyze(model, input_shape=(3, 224, 224))
    figures = ("params", "macs", "weight_bytes", "receptive_field", "depth")
    assert {figure: getattr(report, figure) for figure in figures} == {
        figure: getattr(graph, figure) for figure in figures
    }
    assert report.uncounted == report.without_rule == ()
    # Some rectify in place, which takes less.
    assert 0.95 * graph.peak_inference_bytes < report.peak_inference_bytes <= 1.001 * graph.peak_inference_bytes
    assert sum(layer.params for layer in report.layers) == report.params
    assert sum(layer.macs for layer in report.layers) == report.macs
    assert sum(layer.activation_bytes for layer in report.layers) == report.activation_bytes


def conv_transposed() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.ConvTranspose2d(6, 2, 4, dilation=2),
    )


COUNTED: dict[str, tuple[nn.Module, list[tuple[int, ...]]]] = {
    "convolution over 1 axis": (nn.Conv1d(3, 4, 3), [(3, 10)]),
    "convolution over 3 axes": (nn.Conv3d(3, 4, 3, stride=2), [(3, 7, 7, 7)]),
    "grouped and dilated": (nn.Conv2d(4, 8, 3, groups=2, dilation=2), [(4, 16, 16)]),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), [(4, 16, 16)]),
    "transposed": (conv_transposed(), [(4, 7, 7)]),
    "F.conv2d": (Computes(lambda self, x: functional.conv2d(x, self.w), w=parameter(4, 3, 3, 3)), [(3, 9, 9)]),
    "F.linear": (Computes(lambda self, x: functional.linear(x, self.w), w=parameter(4, 9)), [(3, 9)]),
    "matrix product": (Computes(lambda self, x: x @ self.w, w=parameter(9, 4)), [(3, 9)]),
    "product of inputs": (Computes(lambda self, x, y: x @ y.transpose(1, 2)), [(3, 9), (5, 9)]),
    "einsum": (Computes(lambda self, x: torch.einsum("nchw,nkhw->nck", x, x)), [(3, 9, 9)]),
    "bmm": (Computes(lambda self, x, y: torch.bmm(x, y)), [(3, 4), (4, 5)]),
    "baddbmm": (Computes(lambda self, x, y: torch.baddbmm(x.new_zeros(1), x, y)), [(3, 4), (4, 5)]),
    "attention with weights": (nn.MultiheadAttention(16, 4, batch_first=True), [(5, 16), (7, 16), (7, 16)]),
    "recurrent": (nn.GRU(8, 16, 2, bidirectional=True, batch_first=True), [(5, 8)]),
    "recurrent with projections": (nn.LSTM(8, 16, proj_size=4), [(5, 8)]),
    "embedding": (nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 3)), [(7,)]),
    "called twice": (Computes(lambda self, x: self.conv(self.conv(x)), conv=nn.Conv2d(3, 3, 3)), [(3, 9, 9)]),
    "several outputs": (Computes(lambda self, x: {"a": self.a(x), "b": (x, [self.a(x)])}, a=nn.Linear(9, 4)), [(3, 9)]),
    "scripted": (torch.nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), [(3, 9, 9)]),
    "weight norm": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)), [(4,)]),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", COUNTED)
def test_macs_and_parameters_are_torchs_own(name: str) -> None:
    model, shapes = COUNTED[name]
    report = analyze(model, input_shape=shapes, batch=2)
    inputs = [
        torch.rand(2, *each.shape) if each.dtype is None else torch.zeros(2, *each.shape, dtype=torch.long)
        for each in report.inputs
    ]
    assert report.macs == flop_counter_macs(copy.deepcopy(model), *inputs)
    assert report.params == sum(parameter.numel() for parameter in model.parameters())
    assert report.weight_bytes == sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    assert report.uncounted == ()
    assert report.traced_on == "meta"
    assert sum(layer.params for layer in report.layers) == report.params
    assert sum(layer.weight_bytes for layer in report.layers) == report.weight_bytes
    assert sum(layer.macs for layer in report.layers) == report.macs


TOKENS, WIDTH, INNER = 5, 16, 32
PROJECTIONS = 4 * TOKENS * WIDTH * WIDTH
SCORES = 2 * TOKENS * TOKENS * WIDTH


@pytest.mark.parametrize("norm_first", [False, True])
def test_attention_is_counted_also_where_torch_counts_none(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, 4, INNER, batch_first=True, norm_first=norm_first)
    report = analyze(layer, input_shape=(TOKENS, WIDTH), batch=3)
    assert report.macs == 3 * (PROJECTIONS + SCORES + 2 * TOKENS * WIDTH * INNER)
    # On a CPU in evaluation the whole layer is one operation that the counter does not know.
    assert flop_counter_macs(layer, torch.rand(3, TOKENS, WIDTH)) == 0
    assert {row.name: row.macs for row in report.layers if row.macs} == {
        "self_attn": 3 * (PROJECTIONS + SCORES),
        "linear1": 3 * TOKENS * WIDTH * INNER,
        "linear2": 3 * TOKENS * WIDTH * INNER,
    }
    assert {row.name: row.params for row in report.layers if row.name == "self_attn"} == {
        "self_attn": 4 * WIDTH * WIDTH + 4 * WIDTH
    }


def test_functional_attention_is_one_operation_and_masks_cost_nothing() -> None:
    model = Computes(lambda self, x: functional.scaled_dot_product_attention(x, x, x, is_causal=True))
    report = analyze(model, input_shape=(4, TOKENS, 8), batch=2)
    assert report.macs == 2 * 4 * 2 * TOKENS * TOKENS * 8
    (row,) = report.layers
    assert (row.name, row.output_shape) == ("scaled_dot_product_attention", (4, TOKENS, 8))
    # Three of the same size: no scores are held.
    assert report.peak_inference_bytes == 2 * 2 * 4 * TOKENS * 8 * 4


def test_recurrent_layers_are_counted_where_they_are_one_kernel() -> None:
    lstm = nn.LSTM(8, 16, 2, batch_first=True)
    every_step = 4 * 16 * (8 + 16) + 4 * 16 * (16 + 16)
    assert analyze(lstm, input_shape=(5, 8), batch=3).macs == 3 * 5 * every_step
    looks = Computes(lambda self, x: self.lstm(x)[0] if x.sum() > -1 else x, lstm=lstm)
    report = analyze(looks, input_shape=(5, 8), batch=3)
    assert (report.traced_on, report.macs) == ("cpu", 3 * 5 * every_step)


def test_fused_layers_are_counted_where_a_model_calls_them() -> None:
    plain = nn.TransformerEncoderLayer(WIDTH, 4, INNER, batch_first=True)
    names = "norm1.weight norm1.bias norm2.weight norm2.bias linear1.weight linear1.bias linear2.weight linear2.bias"

    def run(self: Computes, x: torch.Tensor) -> torch.Tensor:
        own = self.layer.self_attn
        weights = (own.in_proj_weight, own.in_proj_bias, own.out_proj.weight, own.out_proj.bias)
        _, scores = torch._native_multi_head_attention(x, x, x, WIDTH, 4, *weights)
        assert scores.sum() > 0  # There is no rule for the shape of a fused layer, so it has to run.
        others = map(self.layer.get_parameter, names.split())
        return torch._transformer_encoder_layer_fwd(x, WIDTH, 4, *weights, False, False, 1e-5, *others)

    report = analyze(Computes(run, layer=plain), input_shape=(TOKENS, WIDTH), batch=3)
    layer = analyze(plain, input_shape=(TOKENS, WIDTH), batch=3).macs
    assert (report.traced_on, report.uncounted) == ("cpu", ())
    assert report.macs == layer + 3 * (PROJECTIONS + SCORES)


def test_tied_and_shared_weights_are_counted_once_and_their_macs_each_time() -> None:
    model = nn.Sequential(nn.Embedding(100, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, 100, bias=False))
    model[2].weight = model[0].weight
    model.append(nn.Linear(100, 16, bias=False))
    model.append(model[1])
    report = analyze(model, input_shape=(7,))
    assert report.params == 100 * 16 + 16 * 16 + 100 * 16
    assert report.macs == 7 * (2 * 16 * 16 + 2 * 16 * 100)
    names = [layer.name for layer in report.layers]
    assert names == ["0", "1", "2", "3", "1#2"]
    assert [layer.params for layer in report.layers] == [1_600, 256, 0, 1_600, 0]


def test_what_cannot_be_counted_is_named_as_the_model_calls_it() -> None:
    model = Computes(
        lambda self, x: torch.linalg.inv(torch.fft.fft(x).real + torch.fft.fft(x).imag) + torch.cdist(x, x)
    )
    report = analyze(model, input_shape=(3, 3))
    assert dict(report.uncounted) == {
        "aten.fft_fft": 2,
        "aten.linalg_inv": 1,
        "aten.cdist": 1,
    }
    assert report.macs == 0
    assert report.to_dict()["uncounted"][0] == {"operation": "aten.fft_fft", "times": 2}
    assert set(report.without_rule) == {"aten.linalg_inv_ex", "aten._cdist_forward"}


def test_a_custom_operator_is_not_free() -> None:
    library = torch.library.Library("nas_tests", "DEF")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: x.clone(), "CompositeExplicitAutograd")
    report = analyze(Computes(lambda self, x: torch.ops.nas_tests.mystery(x)), input_shape=(4,))
    assert report.uncounted == (("nas_tests.mystery", 1),)


def test_rows_of_functional_operations_have_the_path_of_the_module_that_calls_them() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.scale = nn.Parameter(torch.ones(3, 1, 1))
            self.register_buffer("unused", torch.zeros(5))
            self.spare = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.relu(self.conv(x).flatten(2).view(x.shape) * self.scale + x) + x

    report = analyze(nn.Sequential(Block(), nn.Flatten()), input_shape=(3, 8, 8), batch=2)
    assert [(row.name, row.operation) for row in report.layers] == [
        ("0.conv", "Conv2d"),
        ("0.mul", "mul"),
        ("0.add", "add"),
        ("0.relu", "relu"),
        ("0.add#2", "add"),
        ("1", "Flatten"),
        ("0", "Block, not used"),
        ("0.spare", "Linear, not used"),
    ]
    by_name = {row.name: row for row in report.layers}
    assert (by_name["0.mul"].params, by_name["0"].weight_bytes, by_name["0.spare"].params) == (3, 20, 6)
    assert by_name["0.add"].input_bytes == 2 * by_name["0.add"].activation_bytes == 2 * 2 * 3 * 64 * 4
    assert by_name["1"].output_shape == (192,)

"""Receptive fields in closed form, and against the gradient of the built module on random graphs."""

import json
import random
from collections import Counter
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from input_gradient import Outputs, gradient_box, linear_module
from random_graphs import random_architecture

from analysis import Window, analyze, seen_box
from search_spaces import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import NotFound, UserError
from search_spaces.graph import walk
from search_spaces.ops import (
    PADDING_MODES,
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Embedding,
    Flatten,
    GlobalPool,
    Linear,
    Multiply,
    Operation,
    Pool,
    Shape,
    Upsample,
    Zero,
    conv2d,
    pool2d,
)


def chain(shape: Shape, *operations: Operation) -> Architecture:
    builder = GraphBuilder()
    named = [(f"layer{number}", operation) for number, operation in enumerate(operations)]
    return Architecture(builder.graph(builder.chain(builder.input(), *named)), (shape,))


def sizes(architecture: Architecture) -> tuple[int, ...]:
    field = analyze(architecture).receptive_field
    assert field is not None
    return tuple(window.size for window in field)


@pytest.mark.parametrize(("depth", "size"), [(1, 3), (2, 5), (3, 7), (10, 21)])
def test_stacked_3x3_convolutions_see_one_ring_more_each(depth: int, size: int) -> None:
    architecture = chain((3, 32, 32), *[conv2d(8, 3)] * depth)
    assert sizes(architecture) == (size, size)
    assert analyze(architecture).depth == depth


def test_doubling_dilations_of_kernel_2_see_1024() -> None:
    layers = [Conv(4, (2,), dilation=(2**power,), padding=((2**power, 0),)) for power in range(10)]
    architecture = chain((1, 2_000), *layers)
    assert sizes(architecture) == (1_024,)
    # The padding is all before: a causal network, whose position 0 sees up to itself.
    assert analyze(architecture).receptive_field == (Window(1, -1_023, 0),)
    assert seen_box(architecture, (1_500,)) == ((477, 1_500),)
    assert seen_box(architecture, (0,)) == ((0, 0),)


def test_vgg16_feature_map_sees_212_with_stride_32() -> None:
    # Araujo et al. 2019, table of receptive fields: VGG-16 212, effective stride 32.
    blocks = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
    layers = [layer for width, depth in blocks for layer in [*[conv2d(width, 3)] * depth, pool2d("max", 2)]]
    architecture = chain((3, 224, 224), *layers)
    assert sizes(architecture) == (212, 212)
    assert {window.stride for window in analyze(architecture).receptive_field or ()} == {32}


def test_centre_and_uneven_padding() -> None:
    architecture = chain((1, 20, 20), Conv(1, (4, 3), stride=(2, 1), padding=((2, 1), (0, 2))))
    field = analyze(architecture).receptive_field
    assert field == (Window(2, -2, 1), Window(1, 0, 2))
    assert [window.centre for window in field] == [-0.5, 1.0]


def test_branches_unite_and_zero_sees_nothing() -> None:
    builder = GraphBuilder()
    x = builder.input()
    left = builder.add("left", Conv(1, (3, 1), padding=((2, 0), (0, 0))), x)
    right = builder.add("right", Conv(1, (1, 5), padding=((0, 0), (1, 3))), x)
    none = builder.add("none", Zero(), builder.add("wide", conv2d(1, 9), x))
    architecture = Architecture(builder.graph(builder.add("sum", Add(), left, right, none)), ((1, 12, 12),))
    report = analyze(architecture)
    assert report.receptive_field == (Window(1, -2, 0), Window(1, -1, 3))
    assert report.depth == 1
    assert {layer.name: layer.receptive_field for layer in report.layers}["none"] is None
    assert seen_box(architecture, (5, 5)) == ((3, 5), (4, 8))


def test_network_cut_off_from_its_input_sees_nothing() -> None:
    report = analyze(chain((1, 8, 8), conv2d(4, 3), Zero(), conv2d(2, 3)))
    assert report.receptive_field is None
    assert (report.depth, report.figures()["receptive_field"]) == (0, 0)
    assert report.to_dict()["receptive_field"] is None
    assert seen_box(report.architecture, (4, 4)) is None


@pytest.mark.parametrize("ending", [[GlobalPool()], [GlobalPool("max"), Flatten(), Linear(3)], [Flatten(), Linear(3)]])
def test_what_is_global_sees_everything_with_stride_0(ending: list[Operation]) -> None:
    architecture = chain((1, 8, 6), conv2d(4, 3, stride=2), *ending)
    report = analyze(architecture)
    # 4 x 3 positions of stride 2 that see 3 each, from -1 on.
    assert report.receptive_field == (Window(0, -1, 7), Window(0, -1, 5))
    assert report.layers[0].receptive_field == (Window(2, -1, 1), Window(2, -1, 1))
    position = (0, 0) if len(report.layers[-1].output_shape) == 3 else ()
    assert seen_box(architecture, position) == ((0, 7), (0, 5))


@pytest.mark.parametrize("length", range(1, 13))
@pytest.mark.parametrize("count", range(1, 13))
def test_adaptive_pooling_sees_its_share_rounded_outwards(count: int, length: int) -> None:
    architecture = chain((1, length), AdaptivePool("average", (count,)))
    # torch/aten/src/ATen/native/AdaptivePooling.h
    boxes = [(i * length // count, -(-(i + 1) * length // count) - 1) for i in range(count)]
    assert [seen_box(architecture, (i,)) for i in range(count)] == [(box,) for box in boxes]
    (window,) = analyze(architecture).receptive_field or ()
    assert window.stride == (Fraction(length, count) if count > 1 else 0)
    assert window.size == max(last - first + 1 for first, last in boxes)
    assert window.low == min(first - window.stride * i for i, (first, _) in enumerate(boxes))
    assert window.high == max(last - window.stride * i for i, (_, last) in enumerate(boxes))


def test_branches_of_different_strides_are_held_by_the_window() -> None:
    builder = GraphBuilder()
    x = builder.input()
    strided = builder.add("strided", Conv(1, (1,), stride=(2,)), x)
    narrow = builder.add("narrow", Conv(1, (5,)), x)
    architecture = Architecture(builder.graph(builder.add("sum", Add(), strided, narrow)), ((1, 8),))
    assert analyze(architecture).receptive_field == (Window(2, -3, 4),)
    assert [seen_box(architecture, (i,)) for i in range(4)] == [((0, 4),), ((1, 5),), ((2, 6),), ((3, 7),)]


def test_the_gate_of_squeeze_and_excitation_sees_everything() -> None:
    builder = GraphBuilder()
    x = builder.add("stem", conv2d(4, 3), builder.input())
    gate = builder.chain(x, ("pool", GlobalPool()), ("squeeze", conv2d(4, 1)), ("gate", Activation("sigmoid")))
    architecture = Architecture(builder.graph(builder.add("scale", Multiply(), gate, x)), ((1, 9, 7),))
    assert analyze(architecture).receptive_field == (Window(0, -1, 9), Window(0, -1, 7))
    assert seen_box(architecture, (4, 4)) == ((0, 8), (0, 6))


def test_an_embedding_makes_positions_of_a_vector() -> None:
    architecture = chain((30,), Embedding(50, 4), Conv(4, (3,)), Conv(4, (3,), stride=(2,)))
    report = analyze(architecture)
    assert report.layers[0].receptive_field == (Window(1, 0, 0),)
    assert report.receptive_field == (Window(2, 0, 4),)
    assert seen_box(architecture, (5,)) == ((10, 14),)
    over_time = chain((30,), Embedding(50, 4), Conv(4, (3,)), GlobalPool("max"), Flatten(), Linear(2))
    assert analyze(over_time).receptive_field == (Window(0, 0, 29),)
    assert seen_box(over_time, ()) == ((0, 29),)


def test_a_vector_that_is_not_read_by_position_has_no_axes() -> None:
    assert seen_box(chain((4,), Linear(2)), ()) == ()
    builder = GraphBuilder()
    x = builder.input()
    linear = builder.add("linear", Linear(3), x)
    embedded = builder.chain(x, ("table", Embedding(5, 2)), ("conv", Conv(3, (6,))), ("flatten", Flatten()))
    both = Architecture(builder.graph(builder.add("sum", Add(), linear, embedded)), ((6,),))
    assert analyze(both).receptive_field == ()
    assert seen_box(both, ()) == ((0, 5),)


def test_upsampling_divides_the_stride_and_undoes_a_reduction() -> None:
    up = chain((1, 9, 9), Upsample(2))
    assert analyze(up).receptive_field == (Window(Fraction(1, 2), Fraction(-1, 2), 0),) * 2
    assert (sizes(up), seen_box(up, (3, 4))) == ((1, 1), ((1, 1), (2, 2)))
    assert json.dumps(analyze(up).to_dict()["receptive_field"]["stride"]) == "[0.5, 0.5]"
    hourglass = analyze(chain((1, 8, 8), conv2d(1, 3, stride=2), Upsample(2, "bilinear"))).receptive_field
    assert hourglass is not None
    assert [window.stride for window in hourglass] == [1, 1]


def test_what_stands_in_the_padding_is_seen_where_it_comes_from() -> None:
    boxes = {}
    for mode in PADDING_MODES:
        boxes[mode] = seen_box(chain((1, 9), Conv(1, (3,), padding=((2, 0),), padding_mode=mode)), (0,))
    assert boxes == {"zeros": ((0, 0),), "reflect": ((0, 2),), "replicate": ((0, 0),), "circular": ((0, 8),)}


@pytest.mark.parametrize(
    "layers",
    [
        [Conv(1, (1,), stride=(1 << 60,), padding=((0, 1 << 60),))] * 400,
        [Upsample((1 << 50) - 1), Conv(1, (4 * (1 << 50) - 7,))] * 400,
    ],
)
def test_numbers_out_of_all_proportion_become_a_window_that_holds_everything(layers: list[Operation]) -> None:
    architecture = chain((1, 4), *layers)
    field = analyze(architecture).receptive_field
    assert field is not None
    assert field[0].stride == 0
    assert field[0].low < -(1 << 63) and field[0].high > 1 << 63
    document = json.loads(json.dumps(analyze(architecture).to_dict()))
    assert document["receptive_field"]["fraction"] == 1.0
    # Those before are exact.
    assert analyze(chain((1, 4), *layers[:2])).layers == analyze(architecture).layers[:2]


def test_position_in_the_padding_sees_nothing() -> None:
    architecture = chain((1, 4, 4), Conv(1, (1, 1), padding=((1, 1), (0, 0))))
    assert seen_box(architecture, (0, 2)) is None
    assert seen_box(architecture, (1, 2)) == ((0, 0), (2, 2))


def test_holes_that_lie_outside_make_the_exact_box_smaller_than_the_window() -> None:
    # The first and the last tap lie outside of the input; the window alone, clipped, would say 0 to 6.
    architecture = chain((1, 7), Conv(1, (3,), dilation=(6,), padding=((6, 6),)))
    assert seen_box(architecture, (3,)) == ((3, 3),)


def test_bad_questions_are_answered_by_one_line() -> None:
    architecture = chain((1, 8, 8), conv2d(4, 3), BatchNorm(), Activation())
    with pytest.raises(NotFound, match="no layer 'layer7'"):
        seen_box(architecture, (0, 0), node="layer7")
    for position in ((8, 0), (0, -1), (0,), ()):
        with pytest.raises(UserError, match="is not in node 'layer2'"):
            seen_box(architecture, position)


RANDOM_GRAPHS = 200


def random_graph(number: int) -> Architecture:
    """A third of them of one axis, the others of two."""
    return random_architecture(random.Random(number), axes=1 if number % 3 == 0 else 2)


@pytest.mark.parametrize("number", range(RANDOM_GRAPHS))
def test_seen_box_is_the_bounding_box_of_the_gradient_on_random_graphs(number: int) -> None:
    architecture, rng = random_graph(number), random.Random(number)
    axes = len(architecture.input_shapes[0]) - 1
    module = linear_module(architecture)
    x = torch.zeros((1, *architecture.input_shapes[0]), dtype=torch.float64, requires_grad=True)
    with Outputs(module) as outputs:
        module(x)
    layers = analyze(architecture).layers
    for layer in rng.sample(layers, min(3, len(layers))):
        position = tuple(rng.choice((0, n - 1, rng.randrange(n))) for n in layer.output_shape[1:])
        box = seen_box(architecture, position, node=layer.name)
        assert box == gradient_box(outputs[layer.name], x, position), (layer.name, position)
        # A mirrored or repeated border is not in the windows.
        plain = all(getattr(node.operation, "padding_mode", "zeros") == "zeros" for _, node in walk(architecture.graph))
        if box is not None and plain:
            assert layer.receptive_field is not None
            for (first, last), window, index in zip(box, layer.receptive_field, position or (0,) * axes, strict=True):
                assert window.stride * index + window.low <= first
                assert last <= window.stride * index + window.high


def test_random_graphs_have_everything_in_them() -> None:
    met = Counter[str]()
    for number in range(RANDOM_GRAPHS):
        graph = random_graph(number).flatten().graph
        operations = [node.operation for node in graph.nodes]
        convs = [operation for operation in operations if isinstance(operation, Conv)]
        met["branches"] += max(len(set(readers)) for readers in graph.consumers()) > 1
        met["joins"] += any(isinstance(operation, Add | Concat) for operation in operations)
        met["uneven padding"] += any(before != after for conv in convs for before, after in conv.padding)
        met["dilation"] += any(max(conv.dilation) > 1 for conv in convs)
        met["stride"] += any(max(conv.stride) > 1 for conv in convs)
        met["squeeze-and-excitation"] += any(node.name.endswith(".excite") for node in graph.nodes)
        for mode in PADDING_MODES:
            met[mode] += any(conv.padding_mode == mode for conv in convs)
        for kind in (Pool, AdaptivePool, Upsample, GlobalPool, Multiply, Zero):
            met[kind.__name__] += any(isinstance(operation, kind) for operation in operations)
    assert all(count >= 10 for count in met.values()), met


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_window_is_exact_for_chains_that_do_not_touch_the_border(rng: random.Random) -> None:
    layers = [
        Conv(1, (rng.randint(1, 4),), stride=(rng.randint(1, 3),), dilation=(rng.randint(1, 3),))
        for _ in range(rng.randint(1, 4))
    ]
    architecture = chain((1, 600), *layers)
    (window,) = analyze(architecture).receptive_field or ()
    for index in (0, 1, architecture.output_shapes[0][1] - 1):
        assert seen_box(architecture, (index,)) == (
            (window.stride * index + window.low, window.stride * index + window.high),
        )

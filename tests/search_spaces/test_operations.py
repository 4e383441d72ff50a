"""Operations of the classic networks: they compute what torch computes, and refuse what does not fit them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces import Architecture, to_module
from search_spaces.builder import GraphBuilder
from search_spaces.encoding import encode_operation
from search_spaces.errors import InvalidArchitecture
from search_spaces.ops import (
    PADDING_MODES,
    Activation,
    AdaptivePool,
    Add,
    ChannelShuffle,
    ChannelSlice,
    Conv,
    Embedding,
    Flatten,
    GlobalPool,
    LocalResponseNorm,
    Multiply,
    Operation,
    Pool,
    Shape,
    Upsample,
    Zero,
    conv2d,
)
from search_spaces.torch_module import make_module


def gated(gate: Operation) -> Architecture:
    """A convolution, and what `gate` makes of the input, multiplied."""
    builder = GraphBuilder()
    x = builder.input()
    return Architecture(
        builder.graph(
            builder.add("product", Multiply(), builder.add("conv", conv2d(4, 3), x), builder.add("gate", gate, x))
        ),
        ((4, 6, 5),),
    )


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kind", ["average", "max"])
def test_ceil_mode_gives_the_windows_of_torch(kind: str, padding: int) -> None:
    for size in range(1, 12):
        for kernel in (2, 3, 5):
            for stride in (1, 2, 3, 4):
                operation = Pool(kind, (kernel, kernel), (stride, stride), (padding, padding), ceil_mode=True)
                x = torch.randn(1, 2, size, size + 1)
                pool = functional.max_pool2d if kind == "max" else functional.avg_pool2d
                include = {} if kind == "max" else {"count_include_pad": False}
                try:
                    expected = pool(x, kernel, stride, padding, ceil_mode=True, **include)
                except RuntimeError as error:
                    assert "Output size is too small" in str(error)
                    with pytest.raises(InvalidArchitecture, match="larger than its padded input"):
                        operation.output_shape((2, size, size + 1))
                    continue
                assert operation.output_shape((2, size, size + 1)) == tuple(expected.shape[1:])
                assert torch.equal(make_module(operation, ((2, size, size + 1),))(x), expected)


@pytest.mark.parametrize("kind", ["average", "max"])
def test_adaptive_pooling_gives_the_windows_of_torch(kind: str) -> None:
    pools = {"average": (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d)}
    pools["max"] = (functional.adaptive_max_pool1d, functional.adaptive_max_pool2d)
    for length in range(1, 10):
        for count in range(1, 10):
            for axes, pool in enumerate(pools[kind], start=1):
                operation = AdaptivePool(kind, (count, 3)[:axes])
                shape = (2, length, 5)[: axes + 1]
                x = torch.randn(2, *shape)
                expected = pool(x, operation.output_size)
                assert operation.output_shape(shape) == tuple(expected.shape[1:])
                assert torch.equal(make_module(operation, (shape,))(x), expected)


@pytest.mark.parametrize(
    ("operation", "shape", "reference"),
    [
        (LocalResponseNorm(5, 0.1, 0.6, 2.0), (7, 4, 3), nn.LocalResponseNorm(5, 0.1, 0.6, 2.0)),
        (LocalResponseNorm(4), (6, 9), nn.LocalResponseNorm(4)),
        (ChannelShuffle(3), (6, 4, 3), nn.ChannelShuffle(3)),
        (ChannelSlice(2, 5), (6, 4, 3), lambda x: x.split([2, 3, 1], dim=1)[1]),
        (ChannelSlice(0, 1), (6,), lambda x: x[:, :1]),
        (Upsample(3), (2, 4, 3), lambda x: x.repeat_interleave(3, 2).repeat_interleave(3, 3)),
        (Upsample(2), (2, 4), lambda x: x.repeat_interleave(2, 2)),
        (Upsample(2, "bilinear"), (2, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
        (Upsample(3, "bilinear"), (2, 4), nn.Upsample(scale_factor=3, mode="linear", align_corners=False)),
        (Activation("complement"), (3,), lambda x: 1 - x),
    ],
)
def test_they_compute_what_torch_computes(
    operation: Operation, shape: Shape, reference: Callable[[Tensor], Tensor]
) -> None:
    x = torch.randn(2, *shape)
    y = make_module(operation, (shape,))(x)
    torch.testing.assert_close(y, reference(x))
    assert tuple(y.shape[1:]) == operation.output_shape(shape)


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_padding_modes_are_those_of_torch(mode: str, axes: int) -> None:
    kind = nn.Conv1d if axes == 1 else nn.Conv2d
    theirs = kind(2, 3, 3, padding=2, padding_mode=mode)
    shape = (2, 5, 4)[: axes + 1]
    ours = make_module(Conv(3, (3,) * axes, padding=((2, 2),) * axes, bias=True, padding_mode=mode), (shape,))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, *shape)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_gate_scales_whole_channels() -> None:
    architecture = gated(GlobalPool())
    module = to_module(architecture)
    x = torch.randn(2, 4, 6, 5)
    torch.testing.assert_close(module(x), module.get_submodule("conv")(x) * x.mean((2, 3), keepdim=True))
    assert architecture.output_shapes == ((4, 6, 5),)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_an_embedding_makes_a_feature_map_of_whole_numbers(dtype: torch.dtype) -> None:
    builder = GraphBuilder()
    value = builder.chain(builder.input(), ("table", Embedding(20, 4)), ("conv", Conv(3, (2,))))
    architecture = Architecture(builder.graph(value), ((6,),))
    assert architecture.output_shapes == ((3, 5),)
    assert Architecture.from_json(architecture.to_json()) == architecture
    module = to_module(architecture)
    x = torch.randint(0, 20, (2, 6))
    weights = module.state_dict()
    expected = functional.conv1d(weights["table.weight"][x].transpose(1, 2), weights["conv.weight"])
    torch.testing.assert_close(module(x.to(dtype)), expected)


def test_a_product_with_a_dead_factor_is_dead() -> None:
    builder = GraphBuilder()
    x = builder.input()
    product = builder.add("product", Multiply(), builder.add("conv", conv2d(4, 3), x), builder.add("none", Zero(), x))
    total = builder.add("sum", Add(), x, product)
    kept = Architecture(builder.graph(total), ((4, 6, 5),)).simplified()
    assert [type(node.operation).__name__ for node in kept.graph.nodes] == ["Input"]


def test_the_key_of_a_product_does_not_know_an_order() -> None:
    def key(*order: int) -> str:
        builder = GraphBuilder()
        x = builder.input()
        factors = [builder.add("conv", conv2d(4, 3), x), builder.add("gate", GlobalPool(), x)]
        product = builder.add("product", Multiply(), *(factors[index] for index in order))
        return Architecture(builder.graph(product), ((4, 6, 5),)).key

    assert key(0, 1) == key(1, 0) != gated(GlobalPool("max")).key


def test_what_is_not_said_is_not_written() -> None:
    assert "padding_mode" not in encode_operation(conv2d(4, 3))
    assert "ceil_mode" not in encode_operation(Pool("max", (2, 2)))
    assert Conv(4, (3,), padding_mode="circular") == Conv(4, (3,)), "without padding the mode means nothing"


@pytest.mark.parametrize(
    ("operation", "shapes", "message"),
    [
        (Multiply(), ((4, 6, 5), (4, 6, 1)), "input shapes differ"),
        (Multiply(), ((4, 6, 5), (1, 6, 5)), "input shapes differ"),
        (Multiply(), ((4, 1, 5), (4, 6, 1)), "input shapes differ"),
        (Multiply(), ((4,), (4, 6)), "input shapes differ"),
        (LocalResponseNorm(3), ((4,),), "feature map"),
        (ChannelShuffle(3), ((4, 6),), "3 groups"),
        (ChannelSlice(1, 5), ((4, 6),), "no slice 1:5"),
        (Upsample(2), ((4,),), "feature map"),
        (Embedding(10, 4), ((1, 6),), "vector of whole numbers"),
        (AdaptivePool("max", (3, 3)), ((4, 6),), "2 spatial axes"),
        (AdaptivePool("max", (3,)), ((4,),), "1 spatial axes"),
        (Conv(1, (3,), padding=((4, 0),), padding_mode="reflect"), ((1, 4),), "less padding"),
        (Conv(1, (3,), padding=((0, 5),), padding_mode="circular"), ((1, 4),), "less padding"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(operation: Operation, shapes: tuple[Shape, ...], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        operation.output_shape(*shapes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LocalResponseNorm(0),
        lambda: ChannelShuffle(0),
        lambda: ChannelSlice(2, 2),
        lambda: ChannelSlice(-1, 2),
        lambda: AdaptivePool("max", ()),
        lambda: AdaptivePool("max", (3, 0)),
        lambda: AdaptivePool("max", (3, 3, 3)),
        lambda: AdaptivePool("mean", (3, 3)),
        lambda: Upsample(0),
        lambda: Upsample(2, "cubic"),
        lambda: Embedding(0, 4),
        lambda: Embedding(4, 0),
        lambda: Conv(1, (3,), padding_mode="mirror"),
    ],
)
def test_malformed_operations_are_refused(make: Callable[[], Operation]) -> None:
    with pytest.raises(InvalidArchitecture, match=r"positive|unknown kind"):
        make()


def test_gates_of_one_position_are_a_product_of_equals() -> None:
    assert Multiply().output_shape((4, 1, 1), (4, 1, 1)) == (4, 1, 1)
    assert Multiply().output_shape(Flatten().output_shape((4, 2)), (8,), (8,)) == (8,)

"""The torch module computes what the architecture says, under names that follow the graph."""

import copy
import math
import pickle
import weakref
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from search_spaces import Architecture, to_module
from search_spaces.builder import GraphBuilder
from search_spaces.ops import (
    LEAF_OPERATIONS,
    Activation,
    Add,
    BatchNorm,
    Conv,
    GlobalPool,
    Input,
    LayerNorm,
    Operation,
    Pool,
    Shape,
    Zero,
    conv2d,
)
from search_spaces.torch_module import MODULE_RULES, make_module
from tests.strategies import architectures

few = settings(max_examples=40, deadline=None)


def compute(module: nn.Module, architecture: Architecture, *, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(2, *shape, generator=generator) for shape in architecture.input_shapes]
    with torch.no_grad():
        outputs = module(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def chain(shape: Shape, *operations: tuple[str, Operation]) -> Architecture:
    builder = GraphBuilder()
    return Architecture(builder.graph(builder.chain(builder.input(), *operations)), (shape,))


def test_every_operation_has_a_rule() -> None:
    missing = [operation.__name__ for operation in LEAF_OPERATIONS if operation not in MODULE_RULES]
    assert missing == [Input.__name__], "values from outside are handed in; all else needs a rule"


def test_an_operation_without_a_rule_is_named() -> None:
    @dataclass(frozen=True, slots=True)
    class Mystery(Operation):
        pass

    with pytest.raises(NotImplementedError, match="Mystery"):
        make_module(Mystery(), ((1,),))


@few
@given(architectures(inputs=2, outputs=2))
def test_output_shapes_are_those_of_torch(architecture: Architecture) -> None:
    outputs = compute(to_module(architecture).eval(), architecture)
    assert tuple(tuple(output.shape[1:]) for output in outputs) == architecture.output_shapes


@few
@given(architectures(inputs=2, outputs=2))
def test_the_flattened_architecture_computes_the_same_with_the_same_weights(architecture: Architecture) -> None:
    nested = to_module(architecture).eval()
    flat = to_module(architecture.flatten()).eval()
    assert list(nested.state_dict()) == list(flat.state_dict())
    flat.load_state_dict(nested.state_dict())
    for one, other in zip(compute(nested, architecture), compute(flat, architecture), strict=True):
        assert torch.equal(one, other)


@few
@given(architectures())
def test_the_memory_format_and_the_device_do_not_change_what_is_computed(architecture: Architecture) -> None:
    module = to_module(architecture).eval()
    with torch.device("meta"):
        bare = to_module(architecture)
    assert {name: value.shape for name, value in bare.state_dict().items()} == {
        name: value.shape for name, value in module.state_dict().items()
    }
    (expected,) = compute(module, architecture)
    x = torch.randn(2, *architecture.input_shapes[0], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got = module.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@few
@given(architectures())
def test_gradients_reach_the_input_of_every_architecture(architecture: Architecture) -> None:
    x = torch.randn(2, *architecture.input_shapes[0], requires_grad=True)
    to_module(architecture).eval()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_weights_are_named_by_the_path_of_the_node() -> None:
    inner = GraphBuilder()
    cell = inner.cell("unit", inner.chain(inner.input(), ("conv", conv2d(4, 3)), ("norm", BatchNorm())))
    outer = GraphBuilder()
    stage = outer.cell("stage", outer.chain(outer.input(), ("cell0", cell), ("cell1", cell)))
    architecture = chain((4, 5, 5), ("stage1", stage))
    names = [name for name, _ in to_module(architecture).named_parameters()]
    assert names[:3] == ["stage1.cell0.conv.weight", "stage1.cell0.norm.weight", "stage1.cell0.norm.bias"]
    assert len(names) == 6


@pytest.mark.parametrize(
    "name", ["training", "forward", "T_destination", "_modules", "eval", "named_modules", "state_dict"]
)
def test_nodes_may_have_the_names_that_torch_uses_itself(name: str) -> None:
    inner = GraphBuilder()
    cell = inner.cell("unit", inner.chain(inner.input(), (name, conv2d(2, 3)), ("norm", BatchNorm())))
    architecture = chain((2, 4, 4), (name, cell), ("relu", Activation()))
    for module in (to_module(architecture), to_module(architecture.flatten())):
        module.train()
        compute(module, architecture)
        module.eval()
        assert f"{name}.{name}.weight" in module.state_dict()
        expected = compute(module, architecture)
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert not twin.training
            assert torch.equal(compute(twin, architecture)[0], expected[0])
        clone = to_module(architecture).eval()
        clone.load_state_dict(module.state_dict())
        assert torch.equal(compute(clone, architecture)[0], expected[0])


def test_values_are_let_go_after_their_last_use() -> None:
    architecture = chain((1, 4, 4), *[(f"relu{index}", Activation()) for index in range(20)])
    module = to_module(architecture)
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def remember(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal most
        alive.add(output)
        most = max(most, len(alive))

    for name, part in module.named_modules():
        if name:
            part.register_forward_hook(remember)
    compute(module, architecture)
    assert most == 2, "an activation needs its input and its output, and nothing else"


def test_an_output_that_others_read_is_kept() -> None:
    builder = GraphBuilder()
    first = builder.chain(builder.input(), ("relu", Activation()))
    last = builder.chain(first, ("tanh", Activation("tanh")))
    architecture = Architecture(builder.graph(first, last, names=("first", "last")), ((2, 3, 3),))
    one, other = compute(to_module(architecture), architecture)
    assert torch.equal(torch.tanh(one), other)


def test_inputs_are_taken_by_position() -> None:
    builder = GraphBuilder()
    left, right = builder.input("left"), builder.input("right")
    total = builder.add("sum", Add(), left, builder.add("none", Zero(), right))
    module = to_module(Architecture(builder.graph(total), ((1, 2, 2), (1, 2, 2))))
    one, other = torch.randn(3, 1, 2, 2), torch.full((3, 1, 2, 2), float("nan"))
    assert torch.equal(module(one, other), one)
    with pytest.raises(ValueError, match="takes 2 inputs, got 1"):
        module(one)


@pytest.mark.parametrize("shape", [(), (5,), (3, 2, 4)])
def test_zero_gives_zeros_and_a_gradient_of_zero_whatever_comes_in(shape: Shape) -> None:
    x = torch.tensor([[[[1.0, float("nan")], [float("inf"), -2.0]]]] * 3, requires_grad=True)
    y = make_module(Zero(shape), ((1, 2, 2),))(x)
    assert torch.equal(y, torch.zeros(3, *(shape or (1, 2, 2))))
    (y * 3 + 1).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("axes", [1, 2])
def test_uneven_padding_goes_where_it_is_said(axes: int) -> None:
    operation = Conv(3, (2, 3)[:axes], stride=(1, 2)[:axes], padding=((1, 0), (2, 3))[:axes], bias=True)
    shape = (2, 5, 6)[: axes + 1]
    module = make_module(operation, (shape,))
    x = torch.randn(2, *shape)
    margins = (1, 0) if axes == 1 else (2, 3, 1, 0)
    convolve = functional.conv1d if axes == 1 else functional.conv2d
    expected = convolve(functional.pad(x, margins), module.weight, module.bias, stride=operation.stride)  # type: ignore[arg-type,operator]
    torch.testing.assert_close(module(x), expected)
    assert tuple(expected.shape[1:]) == operation.output_shape(shape)


@pytest.mark.parametrize("shape", [(6,), (6, 5), (6, 5, 4)])
def test_layer_norm_normalises_the_channels_of_each_position(shape: Shape) -> None:
    x = torch.randn(3, *shape) * 5 + 2
    y = make_module(LayerNorm(), (shape,))(x)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    torch.testing.assert_close(y, (x - mean) / torch.sqrt(variance + 1e-6))


@pytest.mark.parametrize("shape", [(6,), (6, 5), (6, 5, 4)])
def test_batch_norm_takes_vectors_sequences_and_images(shape: Shape) -> None:
    module = make_module(BatchNorm(affine=False), (shape,))
    y = module(torch.randn(8, *shape) * 5 + 2)
    torch.testing.assert_close(y.transpose(0, 1).flatten(1).mean(1), torch.zeros(6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("include", [True, False])
def test_an_average_counts_the_padding_only_where_told(include: bool) -> None:
    module = make_module(Pool("average", (3, 3), (1, 1), (1, 1), count_include_pad=include), ((1, 2, 2),))
    assert module(torch.ones(1, 1, 2, 2))[0, 0, 0, 0].item() == pytest.approx(4 / 9 if include else 1)


@pytest.mark.parametrize(("kind", "reduce"), [("average", torch.mean), ("max", torch.amax)])
@pytest.mark.parametrize("axes", [1, 2])
def test_global_pool_leaves_one_position(kind: str, reduce: object, axes: int) -> None:
    shape = (3, 5, 4)[: axes + 1]
    x = torch.randn(2, *shape)
    y = make_module(GlobalPool(kind), (shape,))(x)
    torch.testing.assert_close(y, reduce(x, dim=tuple(range(2, 2 + axes)), keepdim=True))  # type: ignore[operator]


def test_convolutions_start_from_he_et_al_and_norms_from_the_identity() -> None:
    torch.manual_seed(0)
    module = to_module(chain((32, 8, 8), ("conv", Conv(64, (3, 3), bias=True)), ("norm", BatchNorm())))
    weights = module.state_dict()
    assert weights["conv.weight"].std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.03)
    assert abs(weights["conv.weight"].mean().item()) < 1e-3
    assert not weights["conv.bias"].any()
    assert (weights["norm.weight"] == 1).all()
    assert not weights["norm.bias"].any()


@given(st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_the_seed_set_outside_decides_the_weights(seed: int) -> None:
    architecture = chain((1, 4, 4), ("conv", conv2d(2, 3)))
    first, second = [torch.manual_seed(seed) and to_module(architecture).state_dict() for _ in range(2)]
    assert torch.equal(first["conv.weight"], second["conv.weight"])


def test_modules_of_equal_cells_do_not_share_weights() -> None:
    inner = GraphBuilder()
    cell = inner.cell("unit", inner.chain(inner.input(), ("conv", conv2d(2, 3))))
    module = to_module(chain((2, 4, 4), ("one", cell), ("two", cell)))
    weights = list(module.parameters())
    assert len(weights) == 2
    assert not torch.equal(weights[0], weights[1])

"""Turns an architecture into a torch module whose submodules and weights are named by the paths of the nodes.

Every node becomes a module: an operation the one that its rule in `MODULE_RULES` makes, a cell a `GraphModule` of its
own. The weights of node `conv` in cell `cell0` of cell `stage1` are `stage1.cell0.conv.weight`, whether the graph is
nested or flat, so the state dict of an architecture loads into its flattened form and back.

Weights are initialised as in torchvision's ResNet: convolutions from a normal distribution of variance
2 / (kernel size · output channels), norms with scale 1 and shift 0, linear layers as torch does by default. Seed with
`torch.manual_seed` before the call. Build under `with torch.device("meta")` for a module without storage.

References:
    He, Zhang, Ren, Sun. Delving Deep into Rectifiers. ICCV 2015 (equation 14, the backward case).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.architecture import Architecture
from search_spaces.graph import Cell, Graph, node_shapes
from search_spaces.ops import (
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    Dropout,
    Embedding,
    Flatten,
    GlobalPool,
    Identity,
    Input,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Multiply,
    Operation,
    Pool,
    Shape,
    Upsample,
    Zero,
)


def to_module(architecture: Architecture) -> "GraphModule":
    """The torch module that computes `architecture` on tensors with a batch axis in front.

    It takes one tensor per input, by position, and gives one tensor, or a tuple of them where the architecture has
    more than one output.
    """
    return GraphModule(architecture.graph, architecture.input_shapes)


def twin_state(twin: Architecture, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network, by the names of its state dict, in the shapes that its convolutional twin has them in."""
    with torch.device("meta"):
        expected = to_module(twin).state_dict()
    return {name: tensor.reshape(expected[name].shape) for name, tensor in state.items()}


class _Namespace(nn.Module):
    """A module that holds others under any name, also one that `nn.Module` uses itself (`training`, `forward`)."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module | Tensor):
            super().__setattr__(name, value)
        else:
            # nn.Module refuses to set its own flag `training` once a child has that name.
            object.__setattr__(self, name, value)

    def _hold(self, path: tuple[str, ...], module: nn.Module) -> None:
        holder: nn.Module = self
        for part in path[:-1]:
            holder = holder._modules.setdefault(part, _Namespace())  # type: ignore[assignment]
        holder._modules[path[-1]] = module

    def _held(self, path: tuple[str, ...]) -> nn.Module:
        module: nn.Module = self
        for part in path:
            module = module._modules[part]  # type: ignore[assignment]
        return module


class GraphModule(_Namespace):
    """Computes a graph: calls its nodes' modules in order and lets go of each value after its last use."""

    def __init__(self, graph: Graph, input_shapes: tuple[Shape, ...]) -> None:
        super().__init__()
        shapes = node_shapes(graph, input_shapes)
        self._input_indices = graph.inputs
        self._output_indices = tuple(index for _, index in graph.outputs)
        self._value_count = len(graph.nodes)
        last_reader = {source: index for index, node in enumerate(graph.nodes) for source in node.inputs}
        self._steps: list[tuple[int, tuple[str, ...], tuple[int, ...], tuple[int, ...]]] = []
        for index, node in enumerate(graph.nodes):
            if isinstance(node.operation, Input):
                continue
            path = tuple(node.name.split("."))
            self._hold(path, make_module(node.operation, tuple(shapes[source] for source in node.inputs)))
            done = {source for source in node.inputs if last_reader[source] == index} - set(self._output_indices)
            self._steps.append((index, path, node.inputs, tuple(done)))

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs of the graph for these inputs."""
        if len(inputs) != len(self._input_indices):
            raise ValueError(f"this network takes {len(self._input_indices)} inputs, got {len(inputs)}")
        values: list[Any] = [None] * self._value_count
        for index, value in zip(self._input_indices, inputs, strict=True):
            values[index] = value
        del inputs
        for index, path, sources, done in self._steps:
            values[index] = self._held(path)(*[values[source] for source in sources])
            for source in done:
                values[source] = None
        outputs = tuple(values[index] for index in self._output_indices)
        return outputs[0] if len(outputs) == 1 else outputs


def make_module(operation: Operation, input_shapes: tuple[Shape, ...]) -> nn.Module:
    """The module of one operation on inputs of these shapes (without batch).

    Raises:
        NotImplementedError: `MODULE_RULES` has no rule for this type of operation.
    """
    if isinstance(operation, Cell):
        return GraphModule(operation.body, input_shapes)
    rule = MODULE_RULES.get(type(operation))
    if rule is None:
        raise NotImplementedError(f"no module rule for {type(operation).__name__}; add one to MODULE_RULES")
    return rule(operation, input_shapes)


class ZeroModule(nn.Module):
    """Zeros, with a gradient of zero; an infinite or undefined input does not leak through.

    They have the shape of the input, or `shape` (without batch) where that is given.
    """

    def __init__(self, shape: Shape = ()) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        everywhere = torch.ones((), dtype=torch.bool, device=x.device)
        if not self.shape:
            return x.masked_fill(everywhere, 0.0)
        # One element of each sample keeps the result tied to the input, so that the gradient is zero and not absent.
        corner = x[(slice(None), *(slice(1) for _ in x.shape[1:]))].masked_fill(everywhere, 0.0)
        return corner.reshape(-1, *(1 for _ in self.shape)).expand(-1, *self.shape)


class AddModule(nn.Module):
    """The sum of all inputs, from the first to the last."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        total = first
        for other in others:
            total = total + other
        return total


class MultiplyModule(nn.Module):
    """The product of all inputs, from the first to the last; a single position scales its whole channel."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        product = first
        for other in others:
            product = product * other
        return product


class ComplementModule(nn.Module):
    """1 - x."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 - x


class ShuffleModule(nn.Module):
    """Deals the channels of `groups` blocks out in turns."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, 1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class SliceModule(nn.Module):
    """A view of the channels from `start` up to `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start = start
        self.stop = stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]


class PositionEmbedding(nn.Embedding):
    """Looks whole numbers up, features in front of positions."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.long()).movedim(-1, 1)


class ConcatModule(nn.Module):
    """All inputs side by side along the channels."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, dim=1)


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels (axis 1) of each position."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class PaddedConv1d(nn.Conv1d):
    """A 1-D convolution of a padded copy; `margins` and `margin_mode` as `torch.nn.functional.pad` has them."""

    margins: tuple[int, ...] = ()
    margin_mode: str = "constant"

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, self.margins, self.margin_mode))


class PaddedConv2d(nn.Conv2d):
    """A 2-D convolution of a padded copy; `margins` and `margin_mode` as `torch.nn.functional.pad` has them."""

    margins: tuple[int, ...] = ()
    margin_mode: str = "constant"

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, self.margins, self.margin_mode))


def _conv(operation: Conv, input_shapes: tuple[Shape, ...]) -> nn.Module:
    axes = len(operation.kernel)
    plain = operation.padding_mode == "zeros" and all(before == after for before, after in operation.padding)
    if plain:
        kind: type[nn.Conv1d] | type[nn.Conv2d] = nn.Conv1d if axes == 1 else nn.Conv2d
    else:
        kind = PaddedConv1d if axes == 1 else PaddedConv2d
    module: Any = kind(
        input_shapes[0][0],
        operation.out_channels,
        operation.kernel,  # type: ignore[arg-type]
        stride=operation.stride,  # type: ignore[arg-type]
        padding=tuple(before for before, _ in operation.padding) if plain else 0,  # type: ignore[arg-type]
        dilation=operation.dilation,  # type: ignore[arg-type]
        groups=operation.groups,
        bias=operation.bias,
    )
    if not plain:
        # torch's padding begins with the last axis.
        module.margins = tuple(margin for pair in reversed(operation.padding) for margin in pair)
        if operation.padding_mode != "zeros":
            module.margin_mode = operation.padding_mode
    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if operation.bias:
        nn.init.zeros_(module.bias)
    return module  # type: ignore[no-any-return]


def _pool(operation: Pool, input_shapes: tuple[Shape, ...]) -> nn.Module:
    axes = len(operation.kernel)
    window: Any = {
        "kernel_size": operation.kernel,
        "stride": operation.stride,
        "padding": operation.padding,
        "ceil_mode": operation.ceil_mode,
    }
    if operation.kind == "max":
        return nn.MaxPool1d(**window) if axes == 1 else nn.MaxPool2d(**window)
    window["count_include_pad"] = operation.count_include_pad
    return nn.AvgPool1d(**window) if axes == 1 else nn.AvgPool2d(**window)


def _global_pool(operation: GlobalPool, input_shapes: tuple[Shape, ...]) -> nn.Module:
    axes = len(input_shapes[0]) - 1
    if operation.kind == "max":
        return nn.AdaptiveMaxPool1d(1) if axes == 1 else nn.AdaptiveMaxPool2d(1)
    return nn.AdaptiveAvgPool1d(1) if axes == 1 else nn.AdaptiveAvgPool2d(1)


def _adaptive_pool(operation: AdaptivePool, input_shapes: tuple[Shape, ...]) -> nn.Module:
    size: Any = operation.output_size
    if operation.kind == "max":
        return nn.AdaptiveMaxPool1d(size) if len(size) == 1 else nn.AdaptiveMaxPool2d(size)
    return nn.AdaptiveAvgPool1d(size) if len(size) == 1 else nn.AdaptiveAvgPool2d(size)


def _upsample(operation: Upsample, input_shapes: tuple[Shape, ...]) -> nn.Module:
    if operation.kind == "nearest":
        return nn.Upsample(scale_factor=operation.factor, mode="nearest")
    mode = "linear" if len(input_shapes[0]) == 2 else "bilinear"
    return nn.Upsample(scale_factor=operation.factor, mode=mode, align_corners=False)


def _linear(operation: Linear, input_shapes: tuple[Shape, ...]) -> nn.Module:
    return nn.Linear(input_shapes[0][0], operation.out_features, bias=operation.bias)


def _batch_norm(operation: BatchNorm, input_shapes: tuple[Shape, ...]) -> nn.Module:
    (shape,) = input_shapes
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    return kind(shape[0], eps=operation.epsilon, affine=operation.affine)


def _layer_norm(operation: LayerNorm, input_shapes: tuple[Shape, ...]) -> nn.Module:
    return ChannelLayerNorm(input_shapes[0][0], eps=operation.epsilon, elementwise_affine=operation.affine)


def _local_response_norm(operation: LocalResponseNorm, input_shapes: tuple[Shape, ...]) -> nn.Module:
    return nn.LocalResponseNorm(operation.size, alpha=operation.alpha, beta=operation.beta, k=operation.k)


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "complement": ComplementModule,
}

ModuleRule = Callable[[Any, tuple[Shape, ...]], nn.Module]
"""Makes the module of an operation, given the shapes of its inputs."""

MODULE_RULES: dict[type[Operation], ModuleRule] = {
    Identity: lambda operation, shapes: nn.Identity(),
    Zero: lambda operation, shapes: ZeroModule(operation.shape),
    Conv: _conv,
    Pool: _pool,
    GlobalPool: _global_pool,
    AdaptivePool: _adaptive_pool,
    Upsample: _upsample,
    Linear: _linear,
    Embedding: lambda operation, shapes: PositionEmbedding(operation.rows, operation.features),
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    LocalResponseNorm: _local_response_norm,
    Activation: lambda operation, shapes: _ACTIVATIONS[operation.kind](),
    Dropout: lambda operation, shapes: nn.Dropout(operation.probability),
    Flatten: lambda operation, shapes: nn.Flatten(),
    ChannelShuffle: lambda operation, shapes: ShuffleModule(operation.groups),
    ChannelSlice: lambda operation, shapes: SliceModule(operation.start, operation.stop),
    Add: lambda operation, shapes: AddModule(),
    Multiply: lambda operation, shapes: MultiplyModule(),
    Concat: lambda operation, shapes: ConcatModule(),
}
"""How each operation computes; `Input` needs no rule, for the graph hands its values in."""

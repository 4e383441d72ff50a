"""How each operation is written in Python: two tables of rules, the modules that own weights and the lines of `forward`.

The source computes exactly what `search_spaces.torch_module` does. What owns weights or running statistics is a module
under its node's name; all else is a plain call in `forward`.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

from nas.export.python_layout import Bracketed, Expression, Sum, call
from search_spaces.errors import UserError
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

LayerRule = Callable[[Any, Shape], Expression]
"""Makes the expression that constructs an operation's module, given the shape of its input."""

ForwardRule = Callable[[Any, tuple[Shape, ...], str, tuple[str, ...]], Expression]
"""Makes the expression of an operation's result, given its input shapes, its module and its inputs as source."""


def literal(value: float | tuple[int, ...]) -> str:
    """A number, or the sizes of a window (one number where all are equal), as source.

    Raises:
        UserError: the number is infinite or undefined, which Python cannot write.
    """
    if isinstance(value, tuple):
        return literal(value[0]) if len(set(value)) == 1 else f"({', '.join(map(literal, value))})"
    assert type(value) in (int, float), f"{value!r} is not a number"
    if not isfinite(value):
        raise UserError(f"the number {value!r} cannot be written as Python; give the architecture a finite one")
    return repr(value)


def _unless(name: str, value: float | tuple[int, ...], default: float) -> tuple[str, ...]:
    """The keyword argument, or nothing where it says the default."""
    text = literal(value)
    return () if text == literal(default) else (f"{name}={text}",)


def _conv_layer(operation: Conv, shape: Shape) -> Expression:
    return call(
        f"nn.Conv{len(operation.kernel)}d",
        literal(shape[0]),
        literal(operation.out_channels),
        f"kernel_size={literal(operation.kernel)}",
        *_unless("stride", operation.stride, 1),
        *(() if _is_uneven(operation) else _unless("padding", tuple(before for before, _ in operation.padding), 0)),
        *_unless("dilation", operation.dilation, 1),
        *_unless("groups", operation.groups, 1),
        *(() if operation.bias else ("bias=False",)),
        *(
            ()
            if operation.padding_mode == "zeros" or _is_uneven(operation)
            else (f'padding_mode="{operation.padding_mode}"',)
        ),
    )


def _is_uneven(operation: Conv) -> bool:
    return any(before != after for before, after in operation.padding)


def _linear_layer(operation: Linear, shape: Shape) -> Expression:
    bias = () if operation.bias else ("bias=False",)
    return call("nn.Linear", literal(shape[0]), literal(operation.out_features), *bias)


def _embedding_layer(operation: Embedding, shape: Shape) -> Expression:
    return call("nn.Embedding", literal(operation.rows), literal(operation.features))


def _batch_norm_layer(operation: BatchNorm, shape: Shape) -> Expression:
    affine = () if operation.affine else ("affine=False",)
    kind = "nn.BatchNorm2d" if len(shape) == 3 else "nn.BatchNorm1d"
    return call(kind, literal(shape[0]), *_unless("eps", operation.epsilon, 1e-5), *affine)


def _layer_norm_layer(operation: LayerNorm, shape: Shape) -> Expression:
    affine = () if operation.affine else ("elementwise_affine=False",)
    return call("nn.LayerNorm", literal(shape[0]), *_unless("eps", operation.epsilon, 1e-5), *affine)


LAYERS: dict[type[Operation], LayerRule] = {
    Conv: _conv_layer,
    Linear: _linear_layer,
    Embedding: _embedding_layer,
    BatchNorm: _batch_norm_layer,
    LayerNorm: _layer_norm_layer,
}
"""The operations that are modules, because they own weights or running statistics."""


def _conv(operation: Conv, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]) -> Expression:
    if not _is_uneven(operation):
        return call(module, *inputs)
    # torch's padding begins with the last axis.
    margins = tuple(literal(margin) for pair in reversed(operation.padding) for margin in pair)
    mode = () if operation.padding_mode == "zeros" else (f'mode="{operation.padding_mode}"',)
    return call(module, call("F.pad", inputs[0], Bracketed("(", margins), *mode))


def _pool(operation: Pool, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]) -> Expression:
    kind = {"average": "avg", "max": "max"}[operation.kind]
    # torch counts the padding unless told not to; where there is none, it makes no difference.
    inside = operation.kind == "average" and any(operation.padding) and not operation.count_include_pad
    return call(
        f"F.{kind}_pool{len(operation.kernel)}d",
        *inputs,
        f"kernel_size={literal(operation.kernel)}",
        *(() if operation.stride == operation.kernel else (f"stride={literal(operation.stride)}",)),
        *_unless("padding", operation.padding, 0),
        *(("ceil_mode=True",) if operation.ceil_mode else ()),
        *(("count_include_pad=False",) if inside else ()),
    )


def _global_pool(operation: GlobalPool, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]) -> Expression:
    kind = {"average": "avg", "max": "max"}[operation.kind]
    return call(f"F.adaptive_{kind}_pool{len(shapes[0]) - 1}d", *inputs, "1")


def _adaptive_pool(
    operation: AdaptivePool, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]
) -> Expression:
    kind = {"average": "avg", "max": "max"}[operation.kind]
    return call(f"F.adaptive_{kind}_pool{len(operation.output_size)}d", *inputs, literal(operation.output_size))


def _upsample(operation: Upsample, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]) -> Expression:
    factor = f"scale_factor={literal(operation.factor)}"
    if operation.kind == "nearest":
        return call("F.interpolate", *inputs, factor)
    mode = "linear" if len(shapes[0]) == 2 else "bilinear"
    return call("F.interpolate", *inputs, factor, f'mode="{mode}"')


def _local_response_norm(
    operation: LocalResponseNorm, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]
) -> Expression:
    return call(
        "F.local_response_norm",
        *inputs,
        f"size={literal(operation.size)}",
        *_unless("alpha", operation.alpha, 1e-4),
        *_unless("beta", operation.beta, 0.75),
        *_unless("k", operation.k, 1.0),
    )


def _channel_shuffle(
    operation: ChannelShuffle, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]
) -> Expression:
    return f"{inputs[0]}.unflatten(1, ({literal(operation.groups)}, -1)).transpose(1, 2).flatten(1, 2)"


def _channel_slice(
    operation: ChannelSlice, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]
) -> Expression:
    start = literal(operation.start) if operation.start else ""
    return f"{inputs[0]}[:, {start}:{literal(operation.stop)}]"


def _activation(operation: Activation, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]) -> Expression:
    return f"1 - {inputs[0]}" if operation.kind == "complement" else call(_ACTIVATIONS[operation.kind], *inputs)


def _layer_norm(operation: LayerNorm, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]) -> Expression:
    if len(shapes[0]) == 1:
        return call(module, *inputs)
    return f"{module}({inputs[0]}.movedim(1, -1)).movedim(-1, 1)"


def _zero(operation: Zero, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]) -> Expression:
    if operation.output_shape(*shapes) == shapes[0]:
        return call("torch.zeros_like", *inputs)
    return call(f"{inputs[0]}.new_zeros", f"{inputs[0]}.shape[0]", *map(literal, operation.shape))


def _dropout(operation: Dropout, shapes: tuple[Shape, ...], module: str, inputs: tuple[str, ...]) -> Expression:
    return call("F.dropout", *inputs, f"p={literal(operation.probability)}", "training=self.training")


_ACTIVATIONS = {
    "relu": "F.relu",
    "relu6": "F.relu6",
    "gelu": "F.gelu",
    "silu": "F.silu",
    "hardswish": "F.hardswish",
    "sigmoid": "torch.sigmoid",
    "tanh": "torch.tanh",
}

FORWARD: dict[type[Operation], ForwardRule] = {
    Identity: lambda operation, shapes, module, inputs: inputs[0],
    Zero: _zero,
    Conv: _conv,
    Pool: _pool,
    GlobalPool: _global_pool,
    AdaptivePool: _adaptive_pool,
    Upsample: _upsample,
    Linear: lambda operation, shapes, module, inputs: call(module, *inputs),
    Embedding: lambda operation, shapes, module, inputs: f"{module}({inputs[0]}.long()).movedim(-1, 1)",
    BatchNorm: lambda operation, shapes, module, inputs: call(module, *inputs),
    LayerNorm: _layer_norm,
    LocalResponseNorm: _local_response_norm,
    Activation: _activation,
    Dropout: _dropout,
    Flatten: lambda operation, shapes, module, inputs: call("torch.flatten", *inputs, "1"),
    ChannelShuffle: _channel_shuffle,
    ChannelSlice: _channel_slice,
    Add: lambda operation, shapes, module, inputs: Sum(inputs),
    Multiply: lambda operation, shapes, module, inputs: Sum(inputs, "*"),
    Concat: lambda operation, shapes, module, inputs: call("torch.cat", Bracketed("(", inputs), "dim=1"),
}
"""What every operation computes; `Input` needs no rule, for it is an argument of `forward`."""

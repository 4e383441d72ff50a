"""What torch tells of an operator by its schema, its tags and its kernels, as the `Kind` that a tape names."""

from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload

from analysis.torch_model.tape import Kind

_HIDDEN_VIEWS = {"aten._unsafe_view", "aten._reshape_alias", "aten._conj", "aten._neg_view"}
"""Their schemas hide that they give the storage of their argument again."""

_TURNS_ITSELF = {"aten.detach_"}
"""Besides those that torch tags as in-place views: what they change is how a tensor lies, none of its numbers."""

_NOT_BY_SHAPE = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output, torch.Tag.inplace_view)


@cache
def kind_of(operator: Any) -> Kind:
    """The kind of an operator; of those of a higher order, which take functions, nothing is known but the name."""
    if not isinstance(operator, OpOverload):
        return Kind(f"higher_order.{operator}", {}, {}, False, False, False, (), False, False)
    schema = operator._schema
    namespace, _, name = schema.name.partition("::")
    name = f"{namespace}.{name}"
    writes = tuple(
        argument.name
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    aliases = any(result.alias_info is not None for result in schema.returns)
    turns_itself = torch.Tag.inplace_view in operator.tags or name in _TURNS_ITSELF
    is_view = name in _HIDDEN_VIEWS or turns_itself or (aliases and not writes)
    is_composite = _has_kernel(operator, "CompositeImplicitAutograd")
    gives_tensors = bool(schema.returns) and all(str(result.type) == "Tensor" for result in schema.returns)
    return Kind(
        name=name.removesuffix("_") if writes else name,
        positions={argument.name: index for index, argument in enumerate(schema.arguments)},
        defaults={argument.name: _frozen(argument.default_value) for argument in schema.arguments},
        is_pointwise=torch.Tag.pointwise in operator.tags,
        is_reduction=torch.Tag.reduction in operator.tags,
        is_view=is_view,
        writes=() if turns_itself else writes,
        is_composite=is_composite and not _has_own_kernel(operator),
        is_remembered=gives_tensors
        and not (is_view or aliases or writes or is_composite)
        and not any(tag in operator.tags for tag in _NOT_BY_SHAPE),
    )


def _frozen(default: Any) -> Any:
    return tuple(default) if isinstance(default, list) else default


def _has_own_kernel(operator: OpOverload) -> bool:
    """Whether the devices that we trace on have another kernel than the composite one."""
    return any(_has_kernel(operator, key) for key in ("CPU", "Meta", "CompositeExplicitAutograd"))


def _has_kernel(operator: OpOverload, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), key)  # type: ignore[no-untyped-call]

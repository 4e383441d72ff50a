"""The reference for receptive fields: what the gradient of a linear network with positive weights reaches.

Products are taken as sums, which show what each factor sees. In float64, since products of many small weights vanish in float32.
"""

from types import TracebackType
from typing import Any, Self

import torch
from random_graphs import LINEAR_INSTEAD, replace_operations

from search_spaces import Architecture, to_module
from search_spaces.torch_module import AddModule, MultiplyModule


def linear_module(architecture: Architecture) -> torch.nn.Module:
    """The module of `architecture` without activations, norms and maxima, all weights positive and equal in a layer."""
    module = to_module(replace_operations(architecture, LINEAR_INSTEAD)).double().eval()
    for part in module.modules():
        if isinstance(part, MultiplyModule):
            part.__class__ = AddModule
    with torch.no_grad():
        for weight in module.parameters():
            weight.fill_(1 / max(1, weight[0].numel()))
    return module


class Outputs(dict[str, torch.Tensor]):
    """What every submodule gave, by its path, while this context was open."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self._module = module
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        for name, module in self._module.named_modules(remove_duplicate=False):
            self._hooks.append(
                module.register_forward_hook(lambda _m, _i, output, name=name: self.update({name: output}))
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()


def gradient_box(
    value_NC: torch.Tensor, x_NC: torch.Tensor, position: tuple[int, ...]
) -> tuple[tuple[int, int], ...] | None:
    """First and last position on each spatial axis of the input at which the gradient of `position` is not 0."""
    if not value_NC.requires_grad:
        return None
    chosen = value_NC[(0, slice(None), *position)].sum()
    (gradient,) = torch.autograd.grad(chosen, x_NC, retain_graph=True, allow_unused=True)
    if gradient is None or not gradient.any():
        return None
    positions = gradient[0].sum(0).nonzero()
    return tuple((int(axis.min()), int(axis.max())) for axis in positions.T)

"""A torch module that computes what a test says."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Computes(nn.Module):
    """Calls a function with itself and the inputs, and holds what it is given."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(self, *inputs)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.rand(shape))

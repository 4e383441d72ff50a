"""What a proxy is given: a network at its initial weights and a batch; and the gradients that several proxies take.

The network is in training mode, so batch norms use the statistics of the batch, as in the authors' code of all
proxies; dropout is off, since it would only add noise.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.architecture import Architecture
from search_spaces.torch_module import to_module
from workers.data import load_data
from workers.task import EvaluationTask
from workers.trainer import TorchState, best_device


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A network to score: its module at initial weights, `images` (N, *input shape) and `labels` (N,)."""

    architecture: Architecture
    module: nn.Module
    images: Tensor
    labels: Tensor

    @property
    def weights(self) -> list[nn.Parameter]:
        """The kernels and matrices; the biases, and the scales and shifts of norms, are left out."""
        return [parameter for parameter in self.module.parameters() if parameter.ndim > 1]

    def loss(self, *, reduction: str = "mean") -> Tensor:
        """The cross-entropy of the batch, in nats."""
        return functional.cross_entropy(self.module(self.images), self.labels, reduction=reduction)


@contextmanager
def prepared(task: EvaluationTask, *, data: str | None, batch_size: int) -> Iterator[Candidate]:
    """A new candidate for the architecture of a task; within, torch's random numbers are seeded and its threads one.

    Weights and batch are drawn on the CPU, so a GPU gets the same ones.
    """
    architecture = task.architecture
    device = best_device()
    shape, classes = architecture.input_shapes[0], architecture.output_shapes[0][0]
    with TorchState(_seed(task.seed, "weights"), device).installed():
        module: nn.Module = to_module(architecture).to(device).train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    images, labels = _batch(data, shape, classes, batch_size, _seed(task.seed, "batch"))
    if images.ndim == 4:
        # Convolutions are nearly twice as fast this way.
        module, images = _channels_last(module), _channels_last(images)
    with TorchState(_seed(task.seed, "proxy"), device).installed():
        yield Candidate(architecture, module, images.to(device), labels.to(device))


def gradients(value: Tensor, sources: Sequence[Tensor], *, differentiable: bool = False) -> list[Tensor]:
    """The gradient of one number by each source; zeros where it does not depend on it."""
    if not value.requires_grad:
        return [torch.zeros_like(source) for source in sources]
    found = torch.autograd.grad(value, sources, create_graph=differentiable, allow_unused=True)
    return [
        torch.zeros_like(source) if gradient is None else gradient
        for source, gradient in zip(sources, found, strict=True)
    ]


def total(parts: Iterable[Tensor]) -> float:
    """The sum of all elements of all parts, in double precision."""
    return sum(float(part.detach().double().sum()) for part in parts)


@lru_cache(maxsize=16)
def _batch(data: str | None, shape: tuple[int, ...], classes: int, batch_size: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    if data is None:
        return torch.randn((batch_size, *shape), generator=rng), torch.randint(classes, (batch_size,), generator=rng)
    train = load_data(data).train
    chosen = torch.randperm(len(train), generator=rng)[:batch_size].numpy()
    return torch.tensor(train.images[chosen]), torch.tensor(train.labels[chosen])


def _channels_last(value: Any) -> Any:
    return value.to(memory_format=torch.channels_last)


def _seed(seed: int, purpose: str) -> int:
    """Another seed for each purpose: weights and images drawn by one seed would begin with the same numbers."""
    return int.from_bytes(sha256(f"{seed} {purpose}".encode()).digest()[:7])

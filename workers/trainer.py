"""Trains one network: seeded stochastic gradient descent, epoch by epoch, on images that are moved about.

Images are N x C x H x W, in channels-last layout. Data live on the device as a whole and batches are cut there, so
that small networks do not wait for anybody. On a GPU the arithmetic is mixed precision. On a CPU one thread is used,
whatever the process is set to, and the same task gives the same values bit for bit.

References:
    Loshchilov, Hutter. SGDR: Stochastic Gradient Descent with Warm Restarts. ICLR 2017 (the cosine, one period).
    Szegedy et al. Rethinking the Inception Architecture for Computer Vision. CVPR 2016 (label smoothing).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.architecture import Architecture
from search_spaces.torch_module import to_module
from workers.checkpoint import Checkpoint
from workers.checkpoint_place import CheckpointError, reason
from workers.data import DataSet, Part, load_data
from workers.recipe import Recipe
from workers.stopping import stop_point

EVALUATION_BATCH = 1024

METRICS = ("train_loss", "val_loss", "val_accuracy")
"""What an epoch is measured by."""


class Training:
    """A network on its way: weights, optimiser, schedule and data."""

    def __init__(
        self, architecture: Architecture, data: DataSet, recipe: Recipe, *, epochs: int, device: torch.device
    ) -> None:
        self._recipe = recipe
        self._device = device
        self._images, self._labels = _device_part(data.description.name, "train", device)
        self._validation = _device_part(data.description.name, "validation", device)
        self._background = data.background
        self._batch = min(recipe.batch_size, len(self._labels))
        self._steps_per_epoch = len(self._labels) // self._batch
        self._steps = epochs * self._steps_per_epoch
        self._step = 0
        module: Any = to_module(architecture)
        self._module = module.to(device=device, memory_format=torch.channels_last)
        self._optimiser = torch.optim.SGD(
            [
                {"params": [p for p in self._module.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
                {"params": [p for p in self._module.parameters() if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
        )
        self._precision = _mixed_precision(device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision is torch.float16)

    def epoch(self) -> dict[str, float]:
        """Trains for one epoch, in which the images that do not fill a batch are left out, and measures."""
        self._module.train()
        order = torch.randperm(len(self._labels), device=self._device)
        total = torch.zeros((), device=self._device)
        for batch in order[: self._steps_per_epoch * self._batch].view(-1, self._batch):
            stop_point()
            total += self._train(self._augmented(batch), self._labels[batch])
        loss, accuracy = measure(self._module, *self._validation)
        train_loss = total.item() / self._steps_per_epoch
        return {"train_loss": train_loss, "val_loss": loss, "val_accuracy": accuracy}

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights and buffers."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self._module.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        """A copy of all tensors that change while training: weights, momentum and the scale of the loss."""
        state = {f"weights.{name}": tensor for name, tensor in self.weights().items()}
        for name, parameter in self._module.named_parameters():
            momentum = self._optimiser.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                state[f"momentum.{name}"] = momentum.cpu().clone()
        if self._scaler.is_enabled():
            scaler = self._scaler.state_dict()
            state["scaler.scale"] = torch.tensor(scaler["scale"], dtype=torch.float64)
            state["scaler.growth_tracker"] = torch.tensor(scaler["_growth_tracker"])
        return state

    def possible_momentum(self) -> dict[str, Tensor]:
        """Tensors of the names and shapes that the momentum in `state` can have; there is none before the first step."""
        return {f"momentum.{name}": parameter.detach() for name, parameter in self._module.named_parameters()}

    def restore(self, state: Mapping[str, Tensor], *, epochs: int) -> None:
        """Takes up what `state` gave after so many epochs."""
        self._step = epochs * self._steps_per_epoch
        self._module.load_state_dict(_below("weights.", state))
        for name, parameter in self._module.named_parameters():
            momentum = state.get(f"momentum.{name}")
            if momentum is not None:
                # In the layout of the parameter, as the optimiser makes it.
                self._optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter.detach()).copy_(
                    momentum
                )
        if self._scaler.is_enabled():
            scaler = {
                "scale": state["scaler.scale"].item(),
                "_growth_tracker": int(state["scaler.growth_tracker"].item()),
            }
            self._scaler.load_state_dict({**self._scaler.state_dict(), **scaler})

    def _train(self, images: Tensor, labels: Tensor) -> Tensor:
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.learning_rate * self._schedule()
        with torch.autocast(self._device.type, dtype=self._precision, enabled=self._precision is not None):
            logits = self._module(images)
            loss = functional.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        # A network that sees nothing of its input has no weights, and nothing to learn.
        if loss.requires_grad:
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.step(self._optimiser)
            self._scaler.update()
            # Here and not before the next backward pass: gradients need not live while the next forward pass runs.
            self._optimiser.zero_grad()
        self._step += 1
        return loss.detach()

    def _schedule(self) -> float:
        """The fraction of the peak learning rate at this step."""
        warmup = min(round(self._recipe.warmup_epochs * self._steps_per_epoch), self._steps // 2)
        if self._step < warmup:
            return (self._step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (self._step - warmup) / (self._steps - warmup)))

    def _augmented(self, batch: Tensor) -> Tensor:
        """The images of a batch, each under a random affine map, with background where they come from outside."""
        images = self._images[batch]
        recipe = self._recipe
        height, width = images.shape[2:]
        spread = torch.rand((5, len(batch)), device=self._device) * 2 - 1
        angle = spread[0] * math.radians(recipe.rotation_degrees)
        scale = 1 + spread[1] * recipe.scale
        shear = spread[2] * recipe.shear
        # The coordinates of `affine_grid` go from -1 to 1, so a pixel is 2 / size of them.
        right = spread[3] * recipe.shift_pixels * 2 / width
        down = spread[4] * recipe.shift_pixels * 2 / height
        rows = [
            torch.stack([angle.cos() * scale, shear - angle.sin(), right], 1),
            torch.stack([angle.sin(), angle.cos() * scale, down], 1),
        ]
        grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        # Outside of an image `grid_sample` finds zeros.
        above = functional.grid_sample(images - self._background, grid, align_corners=False)
        return above + self._background


class Course:
    """A seeded training with what was measured on its way and the weights of its best epoch: all that a result depends on.

    Fulfils `workers.checkpoint.Resumable`.
    """

    def __init__(self, architecture: Architecture, data: DataSet, recipe: Recipe, *, epochs: int, seed: int) -> None:
        device = best_device()
        self._random = TorchState(seed, device)
        with self._random.installed():
            self._training = Training(architecture, data, recipe, epochs=epochs, device=device)
        self.measurements: list[Mapping[str, float]] = []
        self.best: Mapping[str, float] = {}
        self.best_weights: dict[str, Tensor] = {}

    def epoch(self) -> dict[str, float]:
        """Trains for one epoch and measures."""
        with self._random.installed():
            values = self._training.epoch()
        self.measurements.append(values)
        if not self.best or _rank(values) > _rank(self.best):
            self.best = values
            self.best_weights = self._training.weights()
        return values

    def layout(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        best = {f"best.{name}": tensor for name, tensor in self._training.weights().items()}
        return {**self._training.state(), **best, **self._random.state()}, self._training.possible_momentum()

    def snapshot(self) -> Checkpoint:
        best = {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        tensors = {**self._training.state(), **best, **self._random.state()}
        return Checkpoint(tuple(self.measurements), tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        if any(values.keys() != set(METRICS) for values in checkpoint.measurements):
            raise CheckpointError(f"it has other measurements than {', '.join(METRICS)}")
        self._random.restore(checkpoint.tensors)
        self._training.restore(checkpoint.tensors, epochs=len(checkpoint.measurements))
        self.measurements = list(checkpoint.measurements)
        self.best = max(self.measurements, key=_rank)
        self.best_weights = _below("best.", checkpoint.tensors)


def _rank(values: Mapping[str, float]) -> tuple[float, float]:
    return values["val_accuracy"], -values["val_loss"]


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class TorchState:
    """Torch's random numbers and threads: ours while installed, the caller's as they were before and after."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._gpus = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(self._gpus):
            torch.manual_seed(seed)
            self._save()

    @contextmanager
    def installed(self) -> Iterator[None]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(self._gpus):
                torch.set_rng_state(self._cpu)
                for gpu, gpu_state in zip(self._gpus, self._gpu, strict=True):
                    torch.cuda.set_rng_state(gpu_state, gpu)
                yield
                self._save()
        finally:
            torch.set_num_threads(threads)

    def state(self) -> dict[str, Tensor]:
        """The states of the random-number generators."""
        return {"random.cpu": self._cpu, **{f"random.cuda.{index}": gpu for index, gpu in enumerate(self._gpu)}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes up what `state` gave.

        Raises:
            CheckpointError: no generator takes it.
        """
        try:
            torch.Generator().set_state(state["random.cpu"])
            for index, gpu in enumerate(self._gpus):
                torch.Generator(gpu).set_state(state[f"random.cuda.{index}"])
        except RuntimeError as error:
            raise CheckpointError(f"its random numbers are damaged: {reason(error)}") from None
        self._cpu = state["random.cpu"]
        self._gpu = [state[f"random.cuda.{index}"] for index in range(len(self._gpus))]

    def _save(self) -> None:
        self._cpu = torch.get_rng_state()
        self._gpu = [torch.cuda.get_rng_state(gpu) for gpu in self._gpus]


def best_device() -> torch.device:
    """The current GPU, or the CPU where there is none."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _mixed_precision(device: torch.device) -> torch.dtype | None:
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def tensors(part: Part, device: torch.device) -> tuple[Tensor, Tensor]:
    """The images and labels of a part, copied to the device."""
    return torch.tensor(part.images, device=device), torch.tensor(part.labels, device=device)


@lru_cache
def _device_part(name: str, part: str, device: torch.device) -> tuple[Tensor, Tensor]:
    data = load_data(name)
    return tensors(data.train if part == "train" else data.validation, device)


def measure(module: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, in full precision and evaluation mode."""
    module.eval()
    with torch.no_grad():
        logits = torch.cat([module(batch) for batch in torch.split(images, EVALUATION_BATCH)])
        loss = functional.cross_entropy(logits, labels)
        return loss.item(), (logits.argmax(1) == labels).float().mean().item()

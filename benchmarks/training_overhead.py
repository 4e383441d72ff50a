"""What a training through `ray_pool` takes beside the same training in a plain loop of torch, written by hand.

    python benchmarks/training_overhead.py [--epochs 20] [--repeats 3] [--json FILE]

Both train the same random network of `cellular` on the digits, with the same recipe and batches: data as one tensor on
the device, batches cut there, one thread. They take turns; the ratio is that of the least times. That of the pool is
told twice: as its worker measured it, and from the moment the driver handed the task out to the outcome's arrival.
"""

import argparse
import json
import math
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from machine import machine_line
from torch import nn
from torch.nn import functional

import search_spaces
from db.trial import Measurement
from search_spaces.architecture import Architecture
from search_spaces.torch_module import to_module
from workers.data import load_data
from workers.ray_cluster import local_cluster
from workers.ray_pool import RayPoolExecutor
from workers.recipe import Recipe
from workers.task import EvaluationTask, Outcome
from workers.training import TrainingEvaluator


def plain(architecture: Architecture, epochs: int) -> float:
    """The seconds of a plain training loop, with what people write: augmentation, cosine, accuracy after each epoch."""
    begun = time.perf_counter()
    torch.manual_seed(0)
    data, recipe = load_data("digits"), Recipe()
    images, labels = torch.tensor(data.train.images), torch.tensor(data.train.labels)
    held_images, held_labels = torch.tensor(data.validation.images), torch.tensor(data.validation.labels)
    network: nn.Module = to_module(architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
    )
    batch = recipe.batch_size
    steps = len(labels) // batch
    warmup = round(recipe.warmup_epochs * steps)
    best, kept = -1.0, None
    for epoch in range(epochs):
        network.train()
        total = torch.zeros(())
        for index, chosen in enumerate(torch.randperm(len(labels))[: steps * batch].view(-1, batch)):
            step = epoch * steps + index
            rest = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (epochs * steps - warmup)))
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * ((step + 1) / warmup if step < warmup else rest)
            loss = functional.cross_entropy(
                network(moved(images[chosen], data.background, recipe)),
                labels[chosen],
                label_smoothing=recipe.label_smoothing,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        network.eval()
        with torch.no_grad():
            accuracy = (network(held_images).argmax(1) == held_labels).float().mean().item()
        if accuracy > best:
            best, kept = accuracy, {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert kept is not None
    return time.perf_counter() - begun


def moved(images: torch.Tensor, background: float, recipe: Recipe) -> torch.Tensor:
    """The images under small random affine maps."""
    spread = torch.rand((5, len(images))) * 2 - 1
    angle, scale = spread[0] * math.radians(recipe.rotation_degrees), 1 + spread[1] * recipe.scale
    shear = spread[2] * recipe.shear
    shift = spread[3:] * recipe.shift_pixels * 2 / images.shape[-1]
    top = torch.stack([angle.cos() * scale, shear - angle.sin(), shift[0]], 1)
    bottom = torch.stack([angle.sin(), angle.cos() * scale, shift[1]], 1)
    grid = functional.affine_grid(torch.stack([top, bottom], 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images - background, grid, align_corners=False) + background


@dataclass(slots=True)
class Turns:
    """A work source that hands the same training out again and again, and a plain one in between."""

    architecture: Architecture
    epochs: int
    repeats: int
    is_blocked: bool = False
    handed_out: int = 0
    began: float = 0.0
    plain_seconds: list[float] = field(default_factory=list)
    pool_seconds: list[float] = field(default_factory=list)
    worker_seconds: list[float] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether all turns are taken; the first of the pool warms its process up and does not count."""
        return len(self.pool_seconds) == self.repeats + 1

    def next_task(self, worker: str) -> EvaluationTask | None:
        """The training, after a plain one."""
        if self.finished or self.handed_out > len(self.pool_seconds):
            return None
        self.plain_seconds.append(plain(self.architecture, self.epochs))
        self.handed_out += 1
        self.began = time.perf_counter()
        return EvaluationTask(self.handed_out, self.architecture, self.epochs, seed=0)

    def report(self, number: int, measurement: Measurement) -> bool:
        """Goes on."""
        return True

    def finish(self, number: int, outcome: Outcome) -> None:
        """Takes the times."""
        assert outcome.weights is not None, outcome.reason
        self.pool_seconds.append(time.perf_counter() - self.began)
        self.worker_seconds.append(outcome.seconds)

    def lost(self, number: int, reason: str, *, out_of_memory: bool = False) -> None:
        """Gives up."""
        raise RuntimeError(reason)

    def heartbeat(self, devices: object) -> None:
        """Nothing to do."""


def main() -> None:
    """Takes turns and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    where = machine_line()
    print(where, flush=True)
    space = search_spaces.load("cellular", input_shape=(1, 8, 8), classes=10)
    architecture = space.sample(rng=random.Random(3)).simplified()
    turns = Turns(architecture, arguments.epochs, arguments.repeats)
    with local_cluster(cpus=1):
        RayPoolExecutor(TrainingEvaluator(), workers=1).run(turns)
    least = {name: min(times[1:]) for name, times in (("plain", turns.plain_seconds), ("pool", turns.pool_seconds))}
    worker = min(turns.worker_seconds[1:])
    found = {
        "plain_seconds": least["plain"],
        "pool_seconds": least["pool"],
        "worker_seconds": worker,
        "ratio": least["pool"] / least["plain"],
        "worker_ratio": worker / least["plain"],
    }
    print(
        f"{arguments.epochs} epochs of a network of {sum(w.numel() for w in to_module(architecture).parameters()):,} "
        f"parameters: plain {least['plain']:.2f} s, through ray_pool {least['pool']:.2f} s "
        f"({found['ratio']:.3f} times), on the worker {worker:.2f} s ({found['worker_ratio']:.3f} times)"
    )
    print("all plain:", [round(each, 2) for each in turns.plain_seconds[1:]])
    print("all pool:", [round(each, 2) for each in turns.pool_seconds[1:]])
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"where": where, **found}))


if __name__ == "__main__":
    main()

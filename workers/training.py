"""The evaluator that trains each architecture from scratch on a data set and keeps the weights of its best epoch.

This is the part that a search needs before anything is trained, so it loads without torch; `trainer.py` has the rest.
"""

import json
import math
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from analysis.training_memory import training_memory
from db.trial import Measurement
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from workers.data import describe, load_data
from workers.recipe import Recipe
from workers.task import Diverged, Evaluation, EvaluationTask, MakesCheckpoints

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrainingEvaluator(MakesCheckpoints):
    """Trains each architecture from scratch and measures it on the validation part.

    Yields `train_loss`, `val_loss` and `val_accuracy` of every epoch. In the end `val_accuracy` and `val_loss` are
    those of the best epoch (highest accuracy, then lowest loss), whose weights are returned; `last_val_accuracy` and
    `train_loss` are those of the last epoch. Accuracies are fractions, losses mean cross-entropies in nats, the
    training loss with label smoothing. The test part is never touched. With a place for checkpoints an attempt goes on
    from the last one, after it has yielded again what was measured before it.

    Raises:
        UserError: there is no such data set, or the architecture reads other images or tells other classes apart,
            or there are no epochs.
        Diverged: a loss is not finite.
    """

    data: str = "digits"
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        describe(self.data)

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("val_accuracy", "last_val_accuracy", "val_loss", "train_loss", "epochs")

    @property
    def measured(self) -> tuple[str, ...]:
        return ("val_accuracy", "val_loss", "train_loss")

    @property
    def reported(self) -> tuple[str, ...]:
        return ()

    @property
    def levels(self) -> int | None:
        return None

    @property
    def identity(self) -> str:
        content = {
            "evaluator": "training",
            "version": 1,
            "data": self.data,
            "split": describe(self.data).split,
            "recipe": asdict(self.recipe),
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    def device_bytes(self, architecture: Architecture) -> int:
        return training_memory(
            architecture, batch=self.recipe.batch_size, optimizer="momentum", mixed_precision=True, dtype="float32"
        ).peak_bytes

    def check(self, architecture: Architecture) -> None:
        description = describe(self.data)
        if architecture.input_shapes != (description.input_shape,):
            raise UserError(
                f"the architecture reads images of {architecture.input_shapes}, the data {description.name!r} are "
                f"{description.input_shape}; load the space with input_shape={description.input_shape}"
            )
        if architecture.output_shapes != ((description.classes,),):
            raise UserError(
                f"the architecture gives {architecture.output_shapes}, the data {description.name!r} need "
                f"{description.classes} numbers, one for each class; load the space with classes={description.classes}"
            )

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        from workers.checkpoint import Checkpoints
        from workers.trainer import Course

        if task.epochs < 1:
            raise UserError(f"epochs must be at least 1, got {task.epochs}")
        self.check(task.architecture)
        checkpoints = Checkpoints(task, self.identity)
        course = Course(task.architecture, load_data(self.data), self.recipe, epochs=task.epochs, seed=task.seed)
        checkpoints.resume(course)
        for epoch, values in enumerate(course.measurements, 1):
            yield Measurement(epoch, values)
        for epoch in range(len(course.measurements) + 1, task.epochs + 1):
            values = course.epoch()
            for name in ("train_loss", "val_loss"):
                if not math.isfinite(values[name]):
                    raise Diverged(f"{name} is {values[name]} in epoch {epoch} of {task.epochs}")
            if epoch < task.epochs:
                # Before it is told: what a search has seen of a training need not be trained again.
                checkpoints.offer(course)
            yield Measurement(epoch, values)
        best, last = course.best, course.measurements[-1]
        final = {
            "val_accuracy": best["val_accuracy"],
            "last_val_accuracy": last["val_accuracy"],
            "val_loss": best["val_loss"],
            "train_loss": last["train_loss"],
            "epochs": float(task.epochs),
        }
        return Evaluation(final, _to_bytes(course.best_weights), checkpoints.note)


def _to_bytes(weights: dict[str, "Tensor"]) -> bytes:
    from safetensors.torch import save

    document: bytes = save({name: tensor.contiguous() for name, tensor in weights.items()})
    return document

"""The evaluator that scores each architecture by zero-cost proxies instead of training it.

This is the part that a search needs before anything is scored, so it loads without torch.
"""

import json
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from db.trial import Measurement
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from search_spaces.graph import Cell, Graph
from search_spaces.ops import Embedding
from workers.data import describe
from workers.tabular import split_names
from workers.task import Diverged, Evaluation, EvaluationTask
from workers.zero_cost.table import PROXIES, check_names, find_proxy


@dataclass(frozen=True, slots=True)
class ZeroCostEvaluator:
    """Scores architectures by the proxies of these names, every one larger for networks that it takes for better.

    The names may also be one text, parted by commas. The first is the usual objective of a search.

    The batch is `batch_size` training images of `data` with their labels, drawn by the seed of the task; where `data`
    is None it is noise: standard normal images with random labels, for networks of any input shape. Weights, batch and
    the random numbers of a proxy depend on the seed alone, and not on which other proxies are asked for, so on a CPU
    the same task gives the same scores bit for bit. Nothing is trained and no measurement is yielded: there is one
    fidelity, the whole.

    Raises:
        UserError: a proxy or the data set is unknown, a proxy is named twice or none at all, the batch has fewer than
            two images, or the architecture is no classifier of such images.
        Diverged: a score is not finite; the message says which and, where that is known, why.
    """

    proxies: Sequence[str] = tuple(PROXIES)
    data: str | None = "digits"
    batch_size: int = 64

    def __post_init__(self) -> None:
        # From a run file it is a list, from the command line a text.
        names = split_names(self.proxies) if isinstance(self.proxies, str) else tuple(self.proxies)
        object.__setattr__(self, "proxies", names)
        check_names(names)
        if not self.proxies:
            raise UserError(f"no proxies; name some of: {', '.join(PROXIES)}")
        for name in self.proxies:
            if self.proxies.count(name) > 1:
                raise UserError(f"the proxy {name!r} is named twice; name it once")
        if self.batch_size < 2:
            raise UserError(f"batch_size must be at least 2, got {self.batch_size}: proxies compare images")
        if self.data is not None:
            describe(self.data)

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.proxies)

    @property
    def measured(self) -> tuple[str, ...]:
        return ()

    @property
    def reported(self) -> tuple[str, ...]:
        return ()

    @property
    def levels(self) -> int | None:
        return 1

    @property
    def identity(self) -> str:
        images: dict[str, Any] = {"images": "standard normal", "labels": "random"}
        if self.data is not None:
            images = {"data": self.data, "split": describe(self.data).split}
        content = {
            "evaluator": "zero_cost",
            "version": 1,
            "proxies": self.proxies,
            "batch_size": self.batch_size,
            **images,
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    def device_bytes(self, architecture: Architecture) -> int:
        return 0

    def check(self, architecture: Architecture) -> None:
        inputs, outputs = architecture.input_shapes, architecture.output_shapes
        if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0]) != 1:
            raise UserError(
                f"zero-cost proxies need a network with one input that gives one number for each class; this one "
                f"reads {inputs} and gives {outputs}"
            )
        if _looks_up(architecture.graph):
            raise UserError(
                "zero-cost proxies need a network that reads numbers of any size; this one looks whole numbers up "
                "(Embedding)"
            )
        if self.data is None:
            return
        description = describe(self.data)
        if (inputs[0], outputs[0]) != (description.input_shape, (description.classes,)):
            raise UserError(
                f"the architecture reads {inputs[0]} and tells {outputs[0][0]} classes apart, the data "
                f"{description.name!r} are {description.input_shape} with {description.classes} classes; load the "
                "space for them, or score on noise (data=None)"
            )

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        from workers.zero_cost.candidate import prepared

        self.check(task.architecture)
        scores = {}
        for name in self.proxies:
            with prepared(task, data=self.data, batch_size=self.batch_size) as candidate:
                score = find_proxy(name)(candidate)
            if not math.isfinite(score):
                raise Diverged(f"{name} is {score}")
            scores[name] = score
        yield from ()
        return Evaluation(scores)


def proxy_score(evaluator: ZeroCostEvaluator, architecture: Architecture, *, seed: int) -> float:
    """The score of an architecture by the one proxy of `evaluator`, -inf where it has none."""
    steps = evaluator.evaluate(EvaluationTask(0, architecture, epochs=1, seed=seed))
    try:
        next(steps)
    except StopIteration as end:
        (score,) = end.value.values.values()
        return float(score)
    except Diverged:
        return -math.inf
    raise AssertionError("proxies have no measurements on the way")


def _looks_up(graph: Graph) -> bool:
    operations = {node.operation for node in graph.nodes}
    return any(isinstance(each, Embedding) or (isinstance(each, Cell) and _looks_up(each.body)) for each in operations)

"""A search space and an evaluator that cost next to nothing, so that what is timed is everything around them."""

from collections.abc import Generator
from dataclasses import dataclass

from db.trial import Measurement
from search_spaces import SearchSpace
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.choices import Chooser
from search_spaces.ops import Activation, Flatten, GlobalPool, Linear, conv2d
from workers.task import Evaluation, EvaluationTask

LAYERS = 3
WIDTHS = 64


class Widths(SearchSpace):
    """Three convolutions, each of one of 64 widths: 262,144 architectures."""

    name = "widths"

    def build(self, choose: Chooser) -> Architecture:
        builder = GraphBuilder()
        value = builder.input()
        for layer in range(LAYERS):
            width = choose.integer(f"width{layer}", 1, WIDTHS)
            value = builder.chain(value, (f"conv{layer}", conv2d(width, 3)), (f"relu{layer}", Activation()))
        end = builder.chain(value, ("pool", GlobalPool("average")), ("flatten", Flatten()), ("linear", Linear(10)))
        return Architecture(builder.graph(end), ((1, 8, 8),))


def objective(widths: list[int]) -> float:
    """What is to be found: widths near the middle."""
    return -sum((width - WIDTHS / 2) ** 2 for width in widths)


@dataclass(frozen=True, slots=True)
class TrivialEvaluator:
    """Answers at once."""

    metrics = ("score",)
    measured = ("score",)
    reported = ()
    levels = None
    identity = '{"evaluator":"trivial"}'

    def device_bytes(self, architecture: Architecture) -> int:
        return 0

    def check(self, architecture: Architecture) -> None:
        pass

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        value = objective([int(str(answer)) for _, answer in task.genotype.values])
        yield Measurement(1, {"score": value})
        return Evaluation({"score": value})

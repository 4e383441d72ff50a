"""The actor that evaluates under Ray Tune, one task after the other: what Tune calls a trainable."""

from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from ray import cloudpickle
from ray.tune import Trainable
from ray.tune.result import DONE, TRAINING_ITERATION

from workers.attempt import attempt
from workers.ray_worker import DeviceMemory
from workers.task import Evaluator

TASK = "task"
"""The key of a Tune config under which the task travels."""

SEALED = "sealed"
"""The key of a Tune result under which the measurement or outcome travels, until the driver takes it out."""


class Sealed:
    """A value on its way through Tune, which copies, shows and logs whatever is in a config: of this, a label."""

    def __init__(self, value: Any, label: str) -> None:
        self.value = value
        self._label = label

    def __repr__(self) -> str:
        return self._label

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sealed":
        return self


class EvaluationTrainable(Trainable):  # type: ignore[misc] # ray has no types
    """Makes a Tune result of every measurement, and one more of the outcome, which is the last.

    A result has the values by their names, the epoch as `training_iteration` and, the last one, `state` and `reason`.
    The measurement or outcome itself lies sealed beside them, so that nothing depends on names that Tune uses too.
    """

    pickled_evaluator: ClassVar[bytes]

    def setup(self, config: dict[str, Any]) -> None:
        self._evaluator: Evaluator = cloudpickle.loads(self.pickled_evaluator)
        self._begin()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        # A task that was stopped early is still suspended, and learns it now.
        with suppress(StopIteration):
            self._steps.send(False)
        self._begin()
        return True

    def _begin(self) -> None:
        # Out of the config, which Tune puts into every result.
        task = self.config.pop(TASK).value
        self._memory = DeviceMemory()
        self._steps = attempt(self._evaluator, task, worker=self.config["worker"])
        self._answer: bool | None = None
        self._epoch = 0

    def step(self) -> dict[str, Any]:
        try:
            measurement = self._steps.send(self._answer)  # type: ignore[arg-type] # None starts a generator
        except StopIteration as end:
            outcome = replace(end.value, peak_device_bytes=self._memory.peak_bytes())
            return {
                **outcome.values,
                "state": outcome.state.value,
                **({} if outcome.reason is None else {"reason": outcome.reason}),
                TRAINING_ITERATION: self._epoch,
                DONE: True,
                SEALED: Sealed(outcome, "outcome"),
            }
        # Whether to go on is decided before the next step is asked for.
        self._answer = True
        self._epoch = measurement.epoch
        return {
            **measurement.values,
            TRAINING_ITERATION: measurement.epoch,
            DONE: False,
            SEALED: Sealed(measurement, "measurement"),
        }


def trainable_for(evaluator: Evaluator) -> type[EvaluationTrainable]:
    """The trainable that evaluates with `evaluator`, which is unpickled in the worker."""

    class Evaluation(EvaluationTrainable):
        pickled_evaluator = cloudpickle.dumps(evaluator)

    return Evaluation

"""A training that was interrupted after any epoch goes on from there, to the same bits as one that was not."""

import math
import os
import signal
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

import search_spaces
from db.trial import Measurement, TrialState
from tests.contracts.executor import ListSource
from tests.workers.test_checkpoint_place import largest_file
from tests.workers.test_training import linear_network, run, task
from workers import checkpoint, trainer
from workers.attempt import attempt
from workers.ray_pool import RayPoolExecutor
from workers.recipe import Recipe
from workers.serial import SerialExecutor
from workers.task import Diverged, Evaluation, EvaluationTask, Outcome
from workers.training import TrainingEvaluator

EPOCHS = 6


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "WRITE_SHARE", math.inf)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that are really trained from now on."""
    epochs: list[int] = []
    original = trainer.Course.epoch

    def epoch(course: trainer.Course) -> dict[str, float]:
        epochs.append(len(course.measurements) + 1)
        return original(course)

    monkeypatch.setattr(trainer.Course, "epoch", epoch)
    return epochs


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[Measurement], Evaluation]:
    return run(TrainingEvaluator().evaluate(task(epochs=EPOCHS)))


def interrupted(interrupted: EvaluationTask, *, after: int) -> None:
    """Evaluates the task up to the measurement of this number, and goes no further."""
    steps = TrainingEvaluator().evaluate(interrupted)
    for _ in range(after):
        next(steps)
    steps.close()


on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="bit for bit is promised on a CPU")


@on_a_cpu
@pytest.mark.parametrize("after", range(1, EPOCHS + 1))
def test_a_training_goes_on_from_any_epoch_to_the_same_bits(
    tmp_path: Path, trained: list[int], uninterrupted: tuple[list[Measurement], Evaluation], after: int
) -> None:
    asked = task(epochs=EPOCHS, checkpoints=str(tmp_path))
    interrupted(asked, after=after)
    # Whatever the next worker did before has no part in it.
    torch.manual_seed(after)
    torch.rand(after)
    assert run(TrainingEvaluator().evaluate(replace(asked, attempt=2, number=9))) == uninterrupted
    # No checkpoint is written after the last epoch, which is over at once.
    kept = min(after, EPOCHS - 1)
    assert trained == [*range(1, after + 1), *range(kept + 1, EPOCHS + 1)]


@on_a_cpu
def test_a_training_may_be_interrupted_after_every_epoch(
    tmp_path: Path, trained: list[int], uninterrupted: tuple[list[Measurement], Evaluation]
) -> None:
    asked = task(epochs=EPOCHS, checkpoints=str(tmp_path))
    for after in range(1, EPOCHS):
        interrupted(asked, after=after)
    assert run(TrainingEvaluator().evaluate(asked)) == uninterrupted
    assert trained == list(range(1, EPOCHS + 1))


@on_a_cpu
def test_a_best_epoch_before_the_interruption_keeps_its_weights(tmp_path: Path) -> None:
    for seed in range(20):
        asked = task(architecture=linear_network(), epochs=8, seed=seed)
        expected = run(TrainingEvaluator().evaluate(asked))
        accuracies = [measurement.values["val_accuracy"] for measurement in expected[0]]
        if max(accuracies[:6]) > max(accuracies[6:]):
            asked = replace(asked, checkpoints=str(tmp_path))
            interrupted(asked, after=6)
            assert run(TrainingEvaluator().evaluate(asked)) == expected
            return
    pytest.fail("the best epoch was always one of the last; the test shows nothing")


@on_a_cpu
def test_a_network_that_sees_nothing_goes_on_too(tmp_path: Path, trained: list[int]) -> None:
    space = search_spaces.load("nasbench201", input_shape=(1, 8, 8))
    nothing = space.from_arch_str("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|").simplified()
    asked = task(architecture=nothing, epochs=3, checkpoints=str(tmp_path))
    interrupted(asked, after=2)
    measurements, evaluation = run(TrainingEvaluator().evaluate(asked))
    assert len(measurements) == 3
    assert evaluation.note is None
    assert trained == [1, 2, 3]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_training_on_a_gpu_goes_on(tmp_path: Path, trained: list[int]) -> None:
    asked = task(epochs=EPOCHS, checkpoints=str(tmp_path))
    expected = run(TrainingEvaluator().evaluate(task(epochs=EPOCHS)))
    trained.clear()
    interrupted(asked, after=3)
    measurements, evaluation = run(TrainingEvaluator().evaluate(asked))
    assert trained == list(range(1, EPOCHS + 1))
    assert evaluation.note is None
    for one, other in zip(measurements, expected[0], strict=True):
        assert one.values["val_loss"] == pytest.approx(other.values["val_loss"], rel=0.2)


def attempted(evaluator: TrainingEvaluator, asked: EvaluationTask, *, stop_at: int | None = None) -> Outcome:
    steps = attempt(evaluator, asked, worker="here")
    try:
        measurement = next(steps)
        while True:
            assert list(Path(str(asked.checkpoints)).glob("*.json")), "there is no checkpoint to remove"
            measurement = steps.send(measurement.epoch != stop_at)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


class FailsInEpochThree(TrainingEvaluator):
    error: Exception = LookupError("of another kind")

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        steps = TrainingEvaluator.evaluate(self, task)
        yield next(steps)
        yield next(steps)
        raise self.error


class DivergesInEpochThree(FailsInEpochThree):
    error = Diverged("loss is nan")


class RunsOutOfMemoryInEpochThree(FailsInEpochThree):
    error = MemoryError()


@pytest.mark.parametrize(
    ("evaluator", "stop_at", "state"),
    [
        (TrainingEvaluator(), None, TrialState.COMPLETE),
        (TrainingEvaluator(), 2, TrialState.COMPLETE),
        (FailsInEpochThree(), None, TrialState.FAILED),
        (DivergesInEpochThree(), None, TrialState.DIVERGED),
    ],
    ids=["complete", "stopped", "failed", "diverged"],
)
def test_an_attempt_that_has_ended_leaves_no_checkpoint(
    tmp_path: Path, evaluator: TrainingEvaluator, stop_at: int | None, state: TrialState
) -> None:
    asked = task(architecture=linear_network(), epochs=4, checkpoints=str(tmp_path))
    assert attempted(evaluator, asked, stop_at=stop_at).state is state
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_comes_again_alone_for_want_of_memory_keeps_its_checkpoint(tmp_path: Path) -> None:
    asked = task(architecture=linear_network(), epochs=4, checkpoints=str(tmp_path))
    assert attempted(RunsOutOfMemoryInEpochThree(), asked).out_of_memory
    assert len(list(tmp_path.iterdir())) == 2
    assert attempted(RunsOutOfMemoryInEpochThree(), replace(asked, alone=True)).out_of_memory
    assert list(tmp_path.iterdir()) == []


def test_an_attempt_that_is_interrupted_leaves_its_checkpoint(tmp_path: Path) -> None:
    asked = task(architecture=linear_network(), epochs=4, checkpoints=str(tmp_path))
    steps = attempt(TrainingEvaluator(), asked, worker="here")
    next(steps)
    with patch.object(trainer.Course, "epoch", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        steps.send(True)
    assert len(list(tmp_path.iterdir())) == 2
    steps = attempt(TrainingEvaluator(), asked, worker="here")
    next(steps)
    steps.close()
    assert len(list(tmp_path.iterdir())) == 2


@on_a_cpu
def test_a_damaged_checkpoint_costs_time_and_is_said_with_the_result(tmp_path: Path, trained: list[int]) -> None:
    asked = task(architecture=linear_network(), epochs=4, checkpoints=str(tmp_path))
    expected = attempted(TrainingEvaluator(), asked)
    interrupted(asked, after=2)
    (tensors,) = tmp_path.glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1])
    trained.clear()
    outcome = attempted(TrainingEvaluator(), asked)
    assert trained == [1, 2, 3, 4]
    assert (outcome.state, outcome.values, outcome.weights) == (expected.state, expected.values, expected.weights)
    assert expected.reason is None
    assert outcome.reason is not None
    assert outcome.reason.startswith("begun anew, the checkpoint is of no use: ")
    assert list(tmp_path.iterdir()) == []


@on_a_cpu
def test_a_place_that_cannot_be_written_costs_the_checkpoints_alone(tmp_path: Path) -> None:
    asked = task(architecture=linear_network(), epochs=4)
    measurements, expected = run(TrainingEvaluator().evaluate(asked))
    (tmp_path / "file").write_text("")
    for place in (f"{tmp_path}/file/below", "nosuch://x"):
        found, evaluation = run(TrainingEvaluator().evaluate(replace(asked, checkpoints=place)))
        assert (found, replace(evaluation, note=None)) == (measurements, expected)
        assert evaluation.note is not None
        assert evaluation.note.count("no checkpoints: ") == 1


@on_a_cpu
def test_a_disk_that_fills_up_meanwhile_leaves_the_last_checkpoint(tmp_path: Path, trained: list[int]) -> None:
    asked = task(architecture=linear_network(), epochs=4, checkpoints=str(tmp_path))
    steps = TrainingEvaluator().evaluate(asked)
    next(steps)
    with largest_file(1000):
        next(steps)
        next(steps)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    _, evaluation = run(TrainingEvaluator().evaluate(asked))
    assert evaluation.note is None
    assert trained == [1, 2, 3, 2, 3, 4]
    with pytest.raises(StopIteration) as end:
        for _ in range(2):
            next(steps)
    assert end.value.value.note == f"no checkpoints: {str(tmp_path)!r} cannot be written: File too large"


def test_a_place_in_memory_will_do(trained: list[int]) -> None:
    asked = task(architecture=linear_network(), epochs=3, checkpoints="memory://trainings")
    interrupted(asked, after=2)
    assert run(TrainingEvaluator().evaluate(asked))[1].note is None
    assert trained == [1, 2, 3]


def test_a_training_that_diverges_after_a_checkpoint_diverges_again(tmp_path: Path) -> None:
    evaluator = TrainingEvaluator(recipe=Recipe(learning_rate=1e30))
    asked = task(epochs=3, checkpoints=str(tmp_path))
    for _ in range(2):
        with pytest.raises(Diverged):
            run(evaluator.evaluate(asked))


@dataclass(frozen=True, slots=True)
class SlowTraining(TrainingEvaluator):
    """Writes a checkpoint after every epoch, and a line with process and epoch into the diary before it."""

    diary: Path = Path()
    epoch_seconds: float = 0.3

    def evaluate(self, task: EvaluationTask) -> Generator[Measurement, None, Evaluation]:
        original = trainer.Course.epoch

        def epoch(course: trainer.Course) -> dict[str, float]:
            with self.diary.open("a") as diary:
                diary.write(f"{os.getpid()} {len(course.measurements) + 1}\n")
            time.sleep(self.epoch_seconds)
            return original(course)

        with (
            patch.object(checkpoint, "CHECKPOINT_SECONDS", 0.0),
            patch.object(checkpoint, "WRITE_SHARE", math.inf),
            patch.object(trainer.Course, "epoch", epoch),
        ):
            return (yield from TrainingEvaluator.evaluate(self, task))

    def entries(self) -> list[tuple[int, int]]:
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        return [(int(process), int(epoch)) for process, epoch in map(str.split, lines)]


def kill_when_in_epoch(evaluator: SlowTraining, wanted: int) -> None:
    """Kills, with SIGKILL, the first worker that has begun this epoch, in the middle of it."""
    while True:
        for process, epoch in evaluator.entries():
            if epoch == wanted:
                time.sleep(evaluator.epoch_seconds / 2)
                os.kill(process, signal.SIGKILL)
                return
        time.sleep(0.01)


@on_a_cpu
@pytest.mark.xdist_group("ray")
def test_a_worker_is_killed_and_the_next_one_goes_on_from_its_last_epoch(
    tmp_path: Path, uninterrupted: tuple[list[Measurement], Evaluation]
) -> None:
    evaluator = SlowTraining(diary=tmp_path / "diary")
    source = ListSource([task(epochs=EPOCHS, checkpoints=str(tmp_path / "place"))])
    killer = threading.Thread(target=kill_when_in_epoch, args=(evaluator, 5))
    killer.start()
    RayPoolExecutor(evaluator, workers=1).run(source)
    killer.join()
    assert len(source.losses) == 1
    (first, *_), (second, *_) = evaluator.entries()[0], evaluator.entries()[-1]
    assert first != second
    assert [epoch for process, epoch in evaluator.entries() if process == first] == [1, 2, 3, 4, 5]
    assert [epoch for process, epoch in evaluator.entries() if process == second] == [5, 6]
    number = next(iter(source.outcomes))
    outcome = source.outcomes[number]
    assert (outcome.state, outcome.reason) == (TrialState.COMPLETE, None)
    assert (source.reports[number], outcome.values, outcome.weights) == (
        uninterrupted[0],
        uninterrupted[1].values,
        uninterrupted[1].weights,
    )
    assert list((tmp_path / "place").iterdir()) == []


@on_a_cpu
def test_the_executor_of_this_process_resumes_too(
    tmp_path: Path, trained: list[int], uninterrupted: tuple[list[Measurement], Evaluation]
) -> None:
    asked = task(epochs=EPOCHS, checkpoints=str(tmp_path))
    interrupted(asked, after=3)
    source = ListSource([asked])
    SerialExecutor(TrainingEvaluator()).run(source)
    assert source.reports[asked.number] == uninterrupted[0]
    assert trained == list(range(1, EPOCHS + 1))

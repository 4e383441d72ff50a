"""The executor that evaluates under Ray Tune, for its loggers and callbacks: TensorBoard, MLflow, Weights & Biases."""

import logging
import math
import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import ray
from ray.tune import Callback, CheckpointConfig, RunConfig, TuneConfig, Tuner, with_resources
from ray.tune.experiment import Trial

from search_spaces.errors import UserError
from workers.ray_cluster import cluster
from workers.ray_connection import Connection
from workers.ray_executors import check_settings, gpu_share
from workers.ray_tune_bridge import Bridge, SourceSearcher, SourceStopper, WorkerCallback
from workers.ray_tune_worker import trainable_for
from workers.task import Evaluator, WorkSource

_TUNE_ENVIRONMENT: Mapping[str, str] = {
    # There is a Ray by then.
    "TUNE_DISABLE_AUTO_INIT": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # A worker that died is told to the work source, which has a line for it.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # A worker on a node that is taken away is lost like any other; Tune would begin its trial anew untold.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    # Tune's new output prints a table however silent it is told to be.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Evaluators find their files by relative paths, as with every executor.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}

_TUNE_ENVIRONMENT_UNSEEN: Mapping[str, str] = {
    # Nobody will read what these write.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
}


@dataclass(frozen=True, slots=True)
class RayTuneExecutor:
    """Runs every task as a trial of one Ray Tune run, on `workers` actors that are used again and again.

    The work source decides what is tried and what is stopped early; Tune has neither a search nor a schedule of its
    own. A task whose worker dies is an errored Tune trial, and another one if the source hands it out again. A Tune
    run is never restored: what is known stands in the database.

    `callbacks` are Tune's. With a `storage_path`, a directory or what pyarrow takes for one, every run writes a
    directory of its own there, with Tune's CSV, JSON and TensorBoard files besides what the callbacks write;
    otherwise Tune gets a private directory that is gone when `run` ends.

    On GPUs `slots_per_gpu` workers share one; without it they are spread evenly, whatever memory their tasks take. A
    worker that has shown nothing for `deadline_seconds` is killed, and its task has failed. A task that is to run
    alone waits until no other runs, on any GPU. Where Ray has fewer CPUs than `workers`, tasks wait in Tune's queue.

    Runs in the Ray that this process is connected to, else in that of `connection`: by default one of its own that is
    gone when `run` ends.

    Raises:
        UserError: less than one worker or slot, no time at all, a directory that cannot be made, or a Ray that cannot be used.
        RuntimeError: the source has no task although none is out and it is not finished.
    """

    evaluator: Evaluator
    workers: int
    callbacks: tuple[Callback, ...] = ()
    storage_path: str | Path | None = None
    slots_per_gpu: int | None = None
    deadline_seconds: float = math.inf
    connection: Connection | None = None

    def __post_init__(self) -> None:
        check_settings(self.workers, self.slots_per_gpu, self.deadline_seconds)

    def run(self, source: WorkSource) -> None:
        bridge = Bridge(source, workers=self.workers, deadline_seconds=self.deadline_seconds)
        storage = None if self.storage_path is None else _made(str(self.storage_path))
        with ExitStack() as stack:
            stack.enter_context(cluster(self.connection, cpus=self.workers))
            stack.enter_context(_environment(_TUNE_ENVIRONMENT))
            if storage is None:
                stack.enter_context(_environment(_TUNE_ENVIRONMENT_UNSEEN))
                # Within Ray's directory it goes when that goes, however this process ends.
                session_directory = ray._private.worker._global_node.get_session_dir_path()
                storage = stack.enter_context(tempfile.TemporaryDirectory(prefix="tune-", dir=session_directory))
            stack.enter_context(_untold_losses())
            stack.enter_context(_interrupting(bridge))
            stack.callback(bridge.kill_workers)
            try:
                self._tuner(bridge, storage).fit()
            except Exception:
                if bridge.error is None:
                    raise
            if bridge.error is not None:
                raise bridge.error

    def _tuner(self, bridge: Bridge, storage: str) -> Tuner:
        resources = {"cpu": 1.0, "gpu": gpu_share(self.workers, self.slots_per_gpu)}
        return Tuner(
            with_resources(trainable_for(self.evaluator), resources),
            tune_config=TuneConfig(
                search_alg=SourceSearcher(bridge),
                num_samples=-1,
                max_concurrent_trials=self.workers,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=RunConfig(
                name=f"{time.strftime('nas-%Y-%m-%d-%H-%M-%S')}-{secrets.token_hex(2)}",
                storage_path=storage,
                stop=SourceStopper(bridge),
                callbacks=[WorkerCallback(bridge), *self.callbacks],
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )


def _made(place: str) -> str:
    """A directory that now exists, or the URL of one."""
    if "://" in place:
        return place
    directory = Path(place).expanduser().absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the directory {str(directory)!r} for Ray Tune: {error.strerror}") from None
    return str(directory)


def _trial_name(trial: Trial) -> str:
    return f"trial-{trial.config['trial']:05d}-{trial.config['attempt']}"


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, which is how Tune takes many of its settings, and restores them in the end."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _untold_losses() -> Iterator[None]:
    """Keeps Tune from naming in the end the trials that were lost, which the work source has dealt with."""
    logger = logging.getLogger("ray.tune.tune")

    def passes(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Trials did not complete")

    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)


@contextmanager
def _interrupting(bridge: Bridge) -> Iterator[None]:
    """Lets the first Ctrl-C end the Tune run between two of its steps, so that it can clean up; the second is not waited for.

    Whoever handled the signal before handles it when Tune has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    caught: list[FrameType | None] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        caught.append(frame)
        bridge.error = KeyboardInterrupt()

    if callable(before[signal.SIGINT]):
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        # Tune leaves a handler of its own for SIGUSR1.
        for number, handler in before.items():
            signal.signal(number, handler)
        if caught:
            handler = before[signal.SIGINT]
            assert callable(handler)
            handler(signal.SIGINT, caught[0])

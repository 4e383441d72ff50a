"""What runs in the process of a Ray worker: one task after the other in a thread, whose results others come and fetch.

The thread never waits for the driver: measurements gather until they are fetched, so that a driver busy with another
worker's proposal delays nobody. Fetching and stopping are calls of their own beside it.
"""

import os
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import ray

from db.trial import Measurement
from workers.attempt import attempt
from workers.stopping import watch
from workers.task import EvaluationTask, Evaluator, Outcome

GATHER_SECONDS = 0.005
"""How long news of a running task may wait for more of it, so that short tasks cost one call."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker runs: the node, and its GPU with what that holds, where it has one."""

    node: str
    gpu: str | None = None
    gpu_bytes: int = 0

    @property
    def device(self) -> str:
        """A name of what its candidates share memory on: a GPU, or the node."""
        return self.node[:8] if self.gpu is None else f"{self.node[:8]}/{self.gpu}"

    @property
    def memory_bytes(self) -> int | None:
        """The memory of the GPU; None for a node, whose memory nobody predicts."""
        return None if self.gpu is None else self.gpu_bytes


@dataclass(frozen=True, slots=True)
class News:
    """A measurement or the outcome of the task of this number."""

    number: int
    result: Measurement | Outcome


class Worker:
    """Evaluates tasks one after the other; `fetch` and `stop` are called from other threads meanwhile."""

    def __init__(self, evaluator: Evaluator, name: str) -> None:
        self._evaluator = evaluator
        self._name = name
        self._changed = threading.Condition()
        self._task: EvaluationTask | None = None
        self._stopped: int | None = None
        self._news: deque[News] = deque()
        threading.Thread(target=self._work, daemon=True).start()

    def place(self) -> Place:
        """Where this worker is; the first call also tells that it has started."""
        context = ray.get_runtime_context()
        node: str = context.get_node_id()
        gpus = ray.get_gpu_ids()
        if not gpus:
            return Place(node)
        import torch

        return Place(node, str(gpus[0]), torch.cuda.mem_get_info()[1])

    def fetch(self, task: EvaluationTask | None) -> list[News]:
        """Begins `task`, if one is given, and returns what there is to tell as soon as there is anything."""
        with self._changed:
            if task is not None:
                self._task = task
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._news)
            if not isinstance(self._news[-1].result, Outcome):
                self._changed.wait_for(lambda: isinstance(self._news[-1].result, Outcome), GATHER_SECONDS)
            news = list(self._news)
            self._news.clear()
            return news

    def stop(self, number: int) -> None:
        """Has the task of this number end at its next stop point, or after the epoch that it is in."""
        self._stopped = number

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._task is not None)
                    task, self._task = self._task, None
                assert task is not None
                self._evaluate(task)
        except BaseException:  # noqa: BLE001 - whatever ends this thread ends the worker: the task is lost with it
            os._exit(1)

    def _evaluate(self, task: EvaluationTask) -> None:
        memory = DeviceMemory()
        watch(lambda: self._stopped == task.number)
        steps = attempt(self._evaluator, task, worker=self._name)
        try:
            measurement = next(steps)
            while True:
                self._tell(News(task.number, measurement))
                measurement = steps.send(self._stopped != task.number)
        except StopIteration as end:
            self._tell(News(task.number, replace(end.value, peak_device_bytes=memory.peak_bytes())))

    def _tell(self, news: News) -> None:
        with self._changed:
            self._news.append(news)
            self._changed.notify_all()


class DeviceMemory:
    """The most memory of the GPU that this process has held since this was made; nothing where it has no GPU."""

    def __init__(self) -> None:
        self._cuda: Any = _cuda_in_use()
        if self._cuda is not None:
            self._cuda.empty_cache()
            self._cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int | None:
        """The peak in bytes; what is free goes back to the device, where neighbours need it."""
        cuda = self._cuda or _cuda_in_use()
        if cuda is None:
            return None
        peak: int = cuda.max_memory_reserved()
        cuda.empty_cache()
        return peak


def _cuda_in_use() -> Any:
    """`torch.cuda` where this process has used a GPU by now; torch is not loaded for asking."""
    import sys

    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None

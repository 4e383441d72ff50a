"""Which candidates fit on a GPU beside one another, by the memory that the analysis predicts and what was measured.

A candidate is admitted to a GPU while the predictions of all that run there, each times a correction, and a reserve for
each worker's CUDA context fit into its memory. The correction follows what was measured: it is the largest ratio of
measured to predicted bytes among the latest candidates, and grows when one runs out of memory. One that is larger than a
whole GPU is let onto an empty one, where it fails by itself and harms nobody. Of workers without a GPU it only knows who
is to be alone on a node.
"""

from collections import deque
from dataclasses import dataclass, field

CONTEXT_BYTES = 600 * 2**20
"""What a process holds on a GPU before its first tensor: the CUDA context and the kernels of torch, by its size."""

REMEMBERED = 50
"""How many candidates the correction looks back on: allocators hold what the largest of them needed."""

OUT_OF_MEMORY_GROWTH = 1.5
"""By what the correction grows when a candidate that was admitted ran out of memory."""


@dataclass(slots=True)
class GpuMemory:
    """What is spoken for on each GPU, in bytes."""

    _sizes: dict[str, int | None] = field(default_factory=dict)
    _workers: dict[str, set[str]] = field(default_factory=dict)
    _spoken_for: dict[str, dict[int, int]] = field(default_factory=dict)
    _alone: dict[str, int] = field(default_factory=dict)
    _ratios: deque[float] = field(default_factory=lambda: deque([1.0], REMEMBERED))

    @property
    def correction(self) -> float:
        """What predictions are multiplied by."""
        return max(self._ratios)

    @property
    def usage(self) -> dict[str, tuple[int, int]]:
        """For each GPU the bytes spoken for, and all that it has."""
        return {
            device: (self._reserved(device) + self._taken(device), size)
            for device, size in self._sizes.items()
            if size is not None
        }

    def add_worker(self, worker: str, device: str, size_bytes: int | None) -> None:
        """A worker has started on this GPU, or on a node, whose size is None."""
        self._sizes[device] = size_bytes
        self._workers.setdefault(device, set()).add(worker)

    def remove_worker(self, worker: str) -> None:
        """A worker is gone, and its context with it."""
        for workers in self._workers.values():
            workers.discard(worker)

    def admits(self, device: str, predicted_bytes: int, *, alone: bool = False) -> bool:
        """Whether a candidate may begin on this GPU now, `alone` with nobody beside it."""
        if not self._spoken_for.get(device):
            return True
        if alone or device in self._alone:
            return False
        size = self._sizes[device]
        needed = self._corrected(predicted_bytes)
        return size is None or self._reserved(device) + self._taken(device) + needed <= size

    def begin(self, device: str, number: int, predicted_bytes: int, *, alone: bool = False) -> None:
        """The candidate of this number begins on this GPU."""
        self._spoken_for.setdefault(device, {})[number] = self._corrected(predicted_bytes)
        if alone:
            self._alone[device] = number

    def end(self, device: str, number: int) -> None:
        """The candidate of this number holds nothing any more."""
        self._spoken_for[device].pop(number)
        if self._alone.get(device) == number:
            del self._alone[device]

    def learn(self, predicted_bytes: int, measured_bytes: int) -> None:
        """A candidate has needed so much at most."""
        if predicted_bytes > 0:
            self._ratios.append(measured_bytes / predicted_bytes)

    def ran_out(self) -> None:
        """A candidate that was admitted had not the memory it needed."""
        self._ratios.append(self.correction * OUT_OF_MEMORY_GROWTH)

    def _corrected(self, predicted_bytes: int) -> int:
        return round(predicted_bytes * self.correction)

    def _reserved(self, device: str) -> int:
        return CONTEXT_BYTES * len(self._workers[device])

    def _taken(self, device: str) -> int:
        return sum(self._spoken_for.get(device, {}).values())

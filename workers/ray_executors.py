"""What every executor under Ray asks of its settings, its GPUs and a worker that does not start."""

import math

import ray
from ray.exceptions import RayError

from search_spaces.errors import UserError


def check_settings(workers: int, slots_per_gpu: int | None, deadline_seconds: float) -> None:
    """Refuses settings with which nothing could run.

    Raises:
        UserError: less than one worker or slot, or no time at all.
    """
    if workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}")
    if slots_per_gpu is not None and slots_per_gpu < 1:
        raise UserError(f"slots_per_gpu must be at least 1, got {slots_per_gpu}; leave it out where none is meant")
    if not deadline_seconds > 0:
        raise UserError(f"deadline must be more than 0 seconds, got {deadline_seconds:g}")


def gpu_count() -> int:
    """The GPUs of the Ray that this process is connected to."""
    return int(ray.cluster_resources().get("GPU", 0))


def gpu_share(workers: int, slots_per_gpu: int | None) -> float:
    """How much of a GPU each worker gets: spread evenly unless the slots are told, and nothing where there is none."""
    gpus = gpu_count()
    # A worker must fit on one GPU, so the share is that of the fullest.
    return 1 / (slots_per_gpu or math.ceil(workers / gpus)) if gpus else 0.0


def cannot_start(error: RayError) -> UserError:
    """What it means that a worker failed while it was made: of the traceback that Ray quotes, the line that says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return UserError(f"workers cannot start: {lines[-1] if lines else type(error).__name__}; mend that on every node")

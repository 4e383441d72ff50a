"""What the tests of checkpoints share."""

import math
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the checkpoint of two epochs."""
    from tests.workers.test_checkpoint import IDENTITY, make_course, make_task
    from workers import checkpoint as module

    place = tmp_path_factory.mktemp("written") / "place"
    task = make_task(place)
    course = make_course(task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(module, "WRITE_SHARE", math.inf)
        checkpoints = module.Checkpoints(task, IDENTITY)
        for _ in range(2):
            course.epoch()
            checkpoints.offer(course)
    assert checkpoints.note is None
    return place


@pytest.fixture
def place(written: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    shutil.copytree(written, tmp_path / "place")
    return tmp_path / "place"

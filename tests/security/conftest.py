"""What the security tests share: a canary, a finished search, and a directory of others that nothing may touch."""

import shutil
from pathlib import Path

import pytest

import nas
from tests.nas.conftest import run
from tests.security.hostile import Canary

__all__ = ["run"]

TRAINED = {
    "space": "nasbench201",
    "space_settings": {"channels": 2, "cells_per_stage": 1},
    "controller": "random",
    "executor": "serial",
    "trials": 2,
    "epochs": 1,
}


@pytest.fixture
def canary(tmp_path_factory: pytest.TempPathFactory) -> Canary:
    return Canary(tmp_path_factory.mktemp("canary") / "sang")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `nas.db`, in which the search `s` has trained two networks and kept weights."""
    directory = tmp_path_factory.mktemp("finished")
    nas.search(**TRAINED, name="s", db=str(directory / "nas.db"))
    return directory


@pytest.fixture
def trained(finished: Path, tmp_path: Path) -> Path:
    """The working directory of the test, with a copy of the finished search."""
    return Path(shutil.copytree(finished, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of somebody else's with files in it."""
    directory = tmp_path_factory.mktemp("others")
    (directory / "precious.txt").write_text("precious")
    (directory / "x.safetensors").write_bytes(b"precious")
    return directory

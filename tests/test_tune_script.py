"""The example of a Ray Tune run of one's own, run as it stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "tune_script.py"


@pytest.mark.slow
def test_the_example_trains_what_the_controller_proposes(tmp_path: Path) -> None:
    # Tune writes into the home directory.
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, str(EXAMPLE)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert 0.5 < float(done.stdout.splitlines()[-1]) <= 1.0
    assert len(list((tmp_path / "ray_results").glob("train_*/*/result.json"))) == 4


def test_it_is_short() -> None:
    assert len([line for line in EXAMPLE.read_text().splitlines() if line]) <= 30

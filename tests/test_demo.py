"""The main job, as `make demo` runs it: what the exported best model must reach."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "digits.toml"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_exported_best_of_the_demo_is_98_percent_accurate_on_unseen_digits(tmp_path: Path, seed: int) -> None:
    def nas(*arguments: str) -> str:
        command = [sys.executable, "-c", "import sys; from nas.cli import main; sys.exit(main())", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    nas("search", str(EXAMPLE), "--db", "nas.db", "--seed", str(seed))
    handed = json.loads(nas("export", "digits:best", "--db", "nas.db", "--to", "python,json", "--out", "m", "--json"))
    assert handed["params"] <= 100_000
    assert handed["test_accuracy"] >= 0.98

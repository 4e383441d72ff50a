import json
from pathlib import Path

import pytest

import nas
from nas.config import RunConfig, make_config
from nas.run import CHANGEABLE
from search_spaces.errors import UserError


def test_a_search_under_ray_tune_finds_what_it_finds_here_and_leaves_tunes_files(tmp_path: Path) -> None:
    def search(executor: str, **settings: str) -> nas.SearchResult:
        return nas.search(
            controller="random",
            evaluator="zero_cost",
            objectives=["naswot"],
            trials=3,
            workers=1,
            executor=executor,
            db=str(tmp_path / f"{executor}.db"),
            **settings,
        )

    by_tune = search("ray_tune", tune_directory=str(tmp_path / "tune"))
    here = search("serial")
    assert [(trial.key, trial.values, trial.state) for trial in by_tune.complete] == [
        (trial.key, trial.values, trial.state) for trial in here.complete
    ]
    (run,) = (tmp_path / "tune").iterdir()
    for trial in by_tune.complete:
        last = json.loads((run / f"trial-{trial.number:05d}-1" / "result.json").read_text().splitlines()[-1])
        assert last["naswot"] == trial.values["naswot"]
        assert last["config"]["key"] == trial.key


def test_the_directory_is_not_read_from_a_database() -> None:
    config = make_config({"executor": "ray_tune", "tune_directory": "somewhere"})
    recorded = config.to_json()
    assert "somewhere" not in recorded
    assert RunConfig.from_json(recorded).tune_directory is None
    assert RunConfig.from_json(json.dumps({"executor": "ray_tune", "tune_directory": "x"})).tune_directory is None
    assert "tune_directory" in CHANGEABLE


def test_a_directory_that_nobody_would_write_to_is_refused() -> None:
    with pytest.raises(UserError, match="tune_directory: only the executor ray_tune"):
        make_config({"tune_directory": "somewhere"})

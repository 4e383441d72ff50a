"""A search keeps the state of its trainings at a place that it tries first, and a resumed one goes on from it."""

import math
from pathlib import Path

import pytest

import nas
from nas.cli import main
from search_spaces.errors import UserError
from tests.nas.command_line import Run
from workers import checkpoint, trainer

EPOCHS = 3
SETTINGS = {
    "space": "nasbench201",
    "space_settings": {"channels": 2, "cells_per_stage": 1},
    "controller": "random",
    "executor": "serial",
    "trials": 2,
    "epochs": EPOCHS,
}


class Trained:
    """Counts the epochs that are trained, and interrupts the one of the number `interrupt_at`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.epochs: list[int] = []
        self.interrupt_at: int | None = None
        original = trainer.Course.epoch

        def epoch(course: trainer.Course) -> dict[str, float]:
            if len(self.epochs) + 1 == self.interrupt_at:
                raise KeyboardInterrupt
            self.epochs.append(len(course.measurements) + 1)
            return original(course)

        monkeypatch.setattr(trainer.Course, "epoch", epoch)
        monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(checkpoint, "WRITE_SHARE", math.inf)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """The values of the trials of a search that nothing interrupted."""
    database = tmp_path_factory.mktemp("uninterrupted") / "nas.db"
    return [dict(trial.values) for trial in nas.search(**SETTINGS, db=str(database)).trials]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trained:
    monkeypatch.chdir(tmp_path)
    return Trained(monkeypatch)


@pytest.mark.parametrize("place", [None, "some/where", "file"])
def test_a_resumed_search_goes_on_in_the_middle_of_a_training(
    uninterrupted: list[dict[str, float]],
    trained: Trained,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str | None,
) -> None:
    given = f"file://{tmp_path}/there" if place == "file" else place
    trained.interrupt_at = EPOCHS + 3
    with pytest.raises(KeyboardInterrupt):
        nas.search(**SETTINGS, db="nas.db", name="s", checkpoints=given)
    directory = tmp_path / {None: "nas.db.checkpoints", "some/where": "some/where", "file": "there"}[place]
    assert len(list(directory.iterdir())) == 2
    trained.interrupt_at = None
    # Whoever resumes it may stand elsewhere.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = nas.resume("s", db=str(tmp_path / "nas.db"))
    assert [trial.values for trial in result.trials] == uninterrupted
    assert trained.epochs == 2 * list(range(1, EPOCHS + 1))
    assert [trial.reason for trial in result.trials] == [None, None]
    assert list(directory.iterdir()) == []


def test_a_checkpoint_that_is_of_no_use_is_said_with_the_trial(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.interrupt_at = 3
    with pytest.raises(KeyboardInterrupt):
        nas.search(**SETTINGS, db="nas.db", name="s")
    (document,) = Path("nas.db.checkpoints").glob("*.json")
    document.write_text("{")
    trained.interrupt_at = None
    assert main(["resume", "s", "--db", "nas.db", "--json"]) == 0
    assert "begun anew, the checkpoint is of no use" in capsys.readouterr().out


def test_a_url_that_a_database_names_is_not_gone_to_without_trust(trained: Trained) -> None:
    trained.interrupt_at = 2
    with pytest.raises(KeyboardInterrupt):
        nas.search(**SETTINGS, db="nas.db", name="s", checkpoints="memory://searches")
    trained.interrupt_at = None
    with pytest.raises(UserError, match=r"\(checkpoints 'memory://searches'\); if you trust it"):
        nas.resume("s", db="nas.db")
    assert len(nas.resume("s", db="nas.db", trust_code=True).complete) == 2


def test_a_short_search_leaves_no_directory_of_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nas.search(**{**SETTINGS, "trials": 1, "epochs": 2})
    assert not Path("nas.db.checkpoints").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--checkpoints", "file"], 4, "cannot be written: Not a directory"),
        (["--checkpoints", "file/below"], 4, "cannot be written: Not a directory"),
        (["--checkpoints", "nosuch://x"], 4, "Protocol not known: nosuch"),
        (["--checkpoints", ""], 2, "checkpoints: "),
        (["--checkpoints", "sftp://me:secret@there/x"], 2, "passwords in the environment"),
        (["--db", "occupied.db"], 4, "'{directory}/occupied.db.checkpoints' cannot be written"),
        (["--evaluator", "zero_cost", "--checkpoints", "x"], 2, "the evaluator 'zero_cost' makes none"),
    ],
)
def test_a_place_that_will_not_do_gets_one_line_and_nothing_is_written(
    run: Run, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "occupied.db.checkpoints").write_text("")
    before = sorted(tmp_path.iterdir())
    ran = run("search", "--executor", "serial", "--controller", "random", *arguments)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert ran.err.startswith("nas: ")
    assert ran.err.count("\n") == 1
    assert says.format(directory=tmp_path) in ran.err
    assert sorted(tmp_path.iterdir()) == before

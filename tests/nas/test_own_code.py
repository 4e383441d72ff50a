"""A controller of the user's own by `module:attribute`: in every way to search; and what a database names runs only if trusted."""

import sys
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.controllers import registry
from nas.controllers.random_search import RandomSearch
from nas.progress import Progress
from search_spaces.errors import UserError
from tests.contracts.controller import ACCURACY, ToySpace
from tests.nas.command_line import Run

SOURCE = '''"""A controller and a space of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.controllers.random_search import RandomSearch
from search_spaces.spaces.digits201 import Digits201

if TYPE_CHECKING:
    from somewhere import Something


class Mine(RandomSearch):
    def __init__(self, space, objectives, *, seed: int = 0, width: int = 3, what: Something = None) -> None:
        super().__init__(space, objectives, seed=seed)
        self.width = width


class Unseeded(RandomSearch):
    def __init__(self, space, objectives) -> None:
        super().__init__(space, objectives)


NOTHING = 3
'''
TABLE = {"table": "digits201", "signal": "val_accuracy_e6_s0"}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the user's file in it."""
    (tmp_path / "my_code.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    # What the search for it adds is taken back with this.
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_code", raising=False)
    return tmp_path


def settings(**more: Any) -> dict[str, Any]:
    plain = {
        "space": "digits201",
        "evaluator": "tabular",
        "evaluator_settings": TABLE,
        "executor": "serial",
        "trials": 4,
    }
    return {**plain, "controller": "my_code:Mine", "name": "s", **more}


def test_it_is_found_with_its_settings() -> None:
    controller = registry.load("my_code:Mine", ToySpace(), (ACCURACY,), seed=4, width=5)
    assert type(controller).__name__ == "Mine"
    assert (controller.seed, vars(controller)["width"]) == (4, 5)
    assert registry.is_own("my_code:Mine")
    assert not any(map(registry.is_own, ("random", "optuna", "optuna:tpe", "random:x")))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("my_code:Absent", {}, "cannot be imported: module 'my_code' has no attribute 'Absent'"),
        ("no_code:Mine", {}, "cannot be imported: No module named 'no_code'; write module:attribute"),
        ("optunaa:tpe", {}, "cannot be imported: No module named 'optunaa'; write module:attribute"),
        ("my_code:NOTHING", {}, "is not a subclass of nas.controllers.controller.Controller"),
        ("my_code:", {}, "write module:attribute"),
        (":Mine", {}, "write module:attribute"),
        ("my_code.py:Mine", {}, "cannot be imported"),
        ("./my_code:Mine", {}, "write module:attribute"),
        ("my_code:Mine", {"widht": 5}, "did you mean 'width'"),
        ("my_code:Unseeded", {}, "must be made by .space, objectives, ., seed"),
        ("random:Mine", {}, "write 'random'"),
    ],
)
def test_mistakes_are_one_line(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        registry.load(name, ToySpace(), (ACCURACY,), seed=1, **given)
    assert "\n" not in str(caught.value)
    assert name.partition(":")[0] in str(caught.value)


def test_it_searches_from_python_a_run_file_and_the_command_line(own: Path, run: Run) -> None:
    from_python = nas.search(**settings())
    assert from_python.search.controller == "my_code:Mine"
    (own / "run.toml").write_text(
        'space = "digits201"\nevaluator = "tabular"\nexecutor = "serial"\ntrials = 4\ncontroller = "my_code:Mine"\n'
        '[evaluator_settings]\ntable = "digits201"\nsignal = "val_accuracy_e6_s0"\n[controller_settings]\nwidth = 4\n'
    )
    for command in (["search", "run.toml"], ["search", "run.toml", "--controller", "my_code:Mine"]):
        ran = run(*command, "--json")
        assert ran.code == 0, ran.err
        assert ran.document["search"].startswith("my_code-Mine-digits201-")
        assert [trial["key"] for trial in ran.document["trials"]] == [trial.key for trial in from_python.trials]


def test_it_takes_part_in_a_bake_off() -> None:
    found = nas.bakeoff("random,my_code:Mine[width=7]", space="digits201", **TABLE, seeds=2, budget=10, workers=2)
    own, others = found.entries[1], found.entries[0]
    assert own.contestant.label == "my_code:Mine[width=7]"
    assert own.standings[-1].measures == others.standings[-1].measures


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [("controller", "my_code:Mine", "controller 'my_code:Mine'"), ("space", "my_code:Digits201", "my_code:Digits201")],
)
def test_code_that_a_database_names_runs_only_if_trusted(
    run: Run, monkeypatch: pytest.MonkeyPatch, key: str, value: str, named: str
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.finished == 2:
            raise KeyboardInterrupt

    whole = nas.search(**settings(**{"controller": "random", key: value, "name": "whole"}))
    with pytest.raises(KeyboardInterrupt):
        nas.search(**settings(**{"controller": "random", key: value}), listener=interrupt)
    monkeypatch.delitem(sys.modules, "my_code")
    for command in (["resume", "s"], ["results", "s"], ["list"], ["results", "whole"], ["resume", "whole"]):
        ran = run(*command)
        assert "my_code" not in sys.modules, command
        assert ran.code == (2 if command == ["resume", "s"] else 0)
        assert (named in ran.err and "--trust-code" in ran.err) == (ran.code == 2)
    with pytest.raises(UserError, match="--trust-code"):
        nas.resume("s")
    ran = run("resume", "s", "--trust-code", "--json")
    assert ran.code == 0, ran.err
    assert "my_code" in sys.modules
    assert [trial["key"] for trial in ran.document["trials"]] == [trial.key for trial in whole.trials]


def test_a_name_of_ours_is_never_taken_for_a_module(own: Path) -> None:
    (own / "random.py").write_text("raise RuntimeError('imported')")
    assert isinstance(registry.load("random", ToySpace(), (ACCURACY,), seed=1), RandomSearch)

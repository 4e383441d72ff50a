"""What a run file sets for its space and its controller is refused before anything is written, if it cannot work."""

import sys
from pathlib import Path

import pytest

from nas.cli import main
from nas.config import make_config
from nas.preparation import prepare

BAD_SETTINGS = {
    "classes of a space": ("[space_settings]\nclasses = 3", "space_settings: 'classes' is set by the data"),
    "shape of a space": (
        "[space_settings]\ninput_shape = [1, 8, 8]",
        "space_settings: 'input_shape' is set by the data",
    ),
    "name of a space": ('[space_settings]\nname = "x"', "space_settings: 'name' is set by the key space"),
    "seed of a controller": ("[controller_settings]\nseed = 3", "controller_settings: 'seed' is set by the key seed"),
    "space of a controller": ('[controller_settings]\nspace = "x"', "'space' is set by the key space"),
    "objectives of a controller": (
        '[controller_settings]\nobjectives = ["x"]',
        "'objectives' is set by the key objectives",
    ),
    "name of a controller": ('[controller_settings]\nname = "x"', "'name' is set by the key controller"),
    "more than fits into memory": ("[controller_settings]\nhidden = 99999999999", "hidden = 99999999999"),
    "more than fits into a number": (
        f'controller = "evolution"\n[controller_settings]\npopulation = {2**80}',
        f"population = {2**80}",
    ),
    "a wrong type that Optuna overlooks": (
        'controller = "optuna"\n[controller_settings]\nn_startup_trials = "x"',
        "'optuna' cannot work with n_startup_trials = 'x'",
    ),
    "the controller itself": ('controller = "optuna"\n[controller_settings]\nself = 1', "cannot work with self = 1"),
    "no sampler": ('controller = "optuna:"', "no sampler behind the colon"),
    "a colon too many": ('controller = "random:"', "write 'random'"),
}


@pytest.mark.parametrize(("text", "says"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_get_one_line_and_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(f'executor = "serial"\n{text}\n')
    code = main(["search", "run.toml"])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, ""), captured.err
    assert captured.err.startswith("nas: ")
    assert captured.err.count("\n") == 1, captured.err
    assert says in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_settings_that_work_are_taken() -> None:
    config = make_config(
        {"controller": "optuna:nsga2", "controller_settings": {"population_size": 4}, "space_settings": {"deepest": 1}}
    )
    prepared = prepare(config)
    assert prepared.space.deepest == 1


OWN_SPACE = '''
from search_spaces import Architecture, SearchSpace
from search_spaces.builder import GraphBuilder
from search_spaces.ops import Flatten, Linear


class Own(SearchSpace):
    """A space of one's own."""

    name = "own"

    def __init__(self, *, input_shape=(1, 8, 8), classes=10, outputs=0, questions=("width",)):
        self.input_shape, self.outputs, self.questions = input_shape, outputs or classes, questions

    def build(self, choose):
        builder = GraphBuilder()
        value = builder.add("flatten", Flatten(), builder.input())
        for question in self.questions:
            value = builder.add("hidden", Linear(choose.one_of(question, (4, 8))), value)
        return Architecture(builder.graph(builder.add("linear", Linear(self.outputs), value)), (self.input_shape,))
'''


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ("", 0, ""),
        ("outputs = 6", 2, "6"),
        ('questions = ["width", "width"]', 2, "asks 'width' twice"),
    ],
)
def test_a_space_of_ones_own_is_searched_by_its_reference(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: str,
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_space", raising=False)
    (tmp_path / "own_space.py").write_text(OWN_SPACE)
    (tmp_path / "run.toml").write_text(f'space = "own_space:Own"\n[space_settings]\n{settings}\n')
    flags = ("--executor", "serial", "--trials", "1", "--epochs", "1", "--controller", "random")
    assert main(["search", "run.toml", *flags]) == code
    said = capsys.readouterr().err
    assert says in said
    assert (tmp_path / "nas.db").exists() == (code == 0)
    if code:
        assert said.startswith("nas: ") and said.count("\n") == 1

"""Controllers are found by name, refused in one clear line, and imported no sooner than needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from nas.controllers import registry
from nas.controllers.evolution import RegularisedEvolution
from search_spaces.errors import UserError
from tests.contracts.controller import ACCURACY, ToySpace, draws

PLUGIN = '''"""Always proposes the same."""

import random

from nas.controllers.controller import Controller, Proposal
from search_spaces.choices import RandomChooser


class Constant(Controller):
    def propose(self, number, *, rng):
        return Proposal(self.space.elaborate(RandomChooser(rng=random.Random(self.seed))))

    def observe(self, trial):
        pass
'''


def load(name: str, **settings: object):
    return registry.load(name, ToySpace(), (ACCURACY,), seed=1, **settings)


def test_every_controller_has_a_name_and_says_what_it_does() -> None:
    assert registry.names() == ("evolution", "optuna", "random", "reinforce")
    assert tuple(registry.descriptions()) == registry.names()
    assert all(text.endswith(".") and "\n" not in text for text in registry.descriptions().values())


def test_listing_imports_no_heavy_library() -> None:
    code = (
        "import sys; from nas.controllers import registry; registry.descriptions();"
        "sys.exit(' '.join({'torch', 'optuna', 'ray', 'sqlalchemy', 'numpy'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "\n"), "the exit message lists what was imported"


def test_settings_reach_the_controller() -> None:
    controller = load("evolution", population=3, sample=2)
    assert isinstance(controller, RegularisedEvolution)
    assert controller.seed == 1
    with pytest.raises(UserError, match="sample 9 of population 3"):
        load("evolution", population=3, sample=9)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("evolutoin", {}, "did you mean 'evolution'"),
        ("", {}, "choose one of: evolution, optuna, random, reinforce"),
        ("random:tpe", {}, "write 'random'"),
        ("random", {"population": 3}, "has no settings"),
        ("evolution", {"populatoin": 3}, "did you mean 'population'"),
        ("evolution", {"population": "ten"}, "must be of type int, got 'ten'"),
        ("evolution", {"population": True}, "must be of type int, got True"),
        ("reinforce", {"learning_rate": "fast"}, "must be of type float"),
        ("optuna:tpe", {"sampler": "nsga2"}, "give one of the two"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(name, **settings)
    assert "\n" not in str(caught.value)


def test_other_packages_offer_controllers_by_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "constant_controller.py").write_text(PLUGIN)
    information = tmp_path / "constant_controller-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: constant-controller\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[nas.controllers]\nconstant = constant_controller:Constant\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry.descriptions()["constant"] == "Always proposes the same."
    controller = load("constant")
    assert controller.propose(0, rng=draws(0)) == controller.propose(1, rng=draws(1))

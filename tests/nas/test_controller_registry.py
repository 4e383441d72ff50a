"""Controllers are found by name, refused in one clear line, and imported no sooner than needed."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.controllers import registry
from nas.controllers.evolution import RegularisedEvolution
from nas.controllers.random_search import RandomSearch
from search_spaces.errors import UserError
from tests.contracts.controller import ACCURACY, ToySpace, draws

BUILT_IN = (
    "enumerate",
    "evolution",
    "graph-gp",
    "local-search",
    "optuna",
    "pareto-evolution",
    "ppo",
    "predictor",
    "random",
    "reinforce",
)

PLUGIN = '''"""Always proposes the same."""

import random

from nas.controllers.controller import Controller, Proposal
from search_spaces.choices import RandomChooser


class Constant(Controller):
    def __init__(self, space, objectives, *, seed=0, before=()):
        super().__init__(space, objectives, seed=seed)

    def propose(self, number, *, rng):
        return Proposal(self.space.elaborate(RandomChooser(rng=random.Random(self.seed))))

    def observe(self, trial):
        pass
'''


def load(name: str, **settings: object):
    return registry.load(name, ToySpace(), (ACCURACY,), seed=1, **settings)


def test_every_controller_has_a_name_and_says_what_it_does() -> None:
    assert registry.names() == BUILT_IN
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
        ("", {}, "choose one of: " + ", ".join(BUILT_IN)),
        ("random:tpe", {}, "write 'random'"),
        ("random:", {}, "write 'random'"),
        ("optuna:", {}, "no sampler behind the colon; write 'optuna'"),
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


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Installs a package that offers one controller, in the module `offered`."""

    def offer(reference: str, source: str) -> None:
        (tmp_path / "offered.py").write_text(source)
        information = tmp_path / "offered-1.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1\n")
        (information / "entry_points.txt").write_text(f"[nas.controllers]\n{reference}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "offered", raising=False)

    return offer


def test_other_packages_offer_controllers_by_entry_points(offer: Callable[[str, str], None]) -> None:
    offer("constant = offered:Constant", PLUGIN)
    assert registry.descriptions()["constant"] == "Always proposes the same."
    assert "offered" not in sys.modules, "listing has imported it"
    controller = load("constant", before=[1])
    assert controller.propose(0, rng=draws(0)) == controller.propose(1, rng=draws(1))


def test_a_name_of_ours_cannot_be_taken(offer: Callable[[str, str], None]) -> None:
    offer("random = offered:Constant", PLUGIN)
    assert isinstance(load("random"), RandomSearch)
    assert registry.descriptions()["random"].startswith("Random search")


@pytest.mark.parametrize(
    ("value", "source", "message", "seen_in_the_listing"),
    [
        ("absent:Constant", PLUGIN, "cannot be imported: No module named 'absent'", True),
        ("absent.part:Constant", PLUGIN, "cannot be imported: No module named 'absent'", True),
        ("offered:Constant", "class Constant(:\n", "cannot be imported: ", True),
        ("offered:Absent", PLUGIN, "cannot be imported: module 'offered' has no attribute 'Absent'", False),
        ("offered:Constant", "raise RuntimeError('two\\nlines')", "cannot be imported: two lines", False),
        ("offered:Constant", "import absent_library", "cannot be imported: No module named 'absent_library'", False),
        ("offered:Constant", "Constant = 3", "is not a subclass of nas.controllers.controller.Controller", False),
        ("offered:Constant", "class Constant: pass", "is not a subclass", False),
        ("offered:Controller", PLUGIN, "is not a subclass", False),
    ],
)
def test_a_broken_controller_is_named_and_harms_no_other(
    offer: Callable[[str, str], None], value: str, source: str, message: str, seen_in_the_listing: bool
) -> None:
    offer(f"theirs = {value}", source)
    with pytest.raises(UserError, match=re.escape(f"the controller 'theirs' ({value}) {message}")) as caught:
        load("theirs")
    assert str(caught.value).endswith("mend or remove its package")
    assert "\n" not in str(caught.value)
    assert registry.names() == tuple(sorted((*BUILT_IN, "theirs")))
    descriptions = registry.descriptions()
    assert tuple(descriptions) == registry.names()
    assert descriptions["random"].startswith("Random search")
    assert (f"({value}) {message}" in descriptions["theirs"]) == seen_in_the_listing
    assert isinstance(load("random"), RandomSearch)

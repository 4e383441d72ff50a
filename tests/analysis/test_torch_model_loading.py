"""Torch models by the names that users give them, and what a wrong name gets."""

import sys
from pathlib import Path

import pytest
from torch import nn

from analysis.torch_model import load_module
from search_spaces.errors import NotFound, UserError

FILE = '''
"""Models in a file."""
from dataclasses import dataclass
from torch import nn
from beside import WIDTH


@dataclass
class Settings:
    width: int = WIDTH


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, Settings().width)


class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()


def make():
    import late_beside
    return nn.Linear(3, late_beside.WIDTH)


def breaks():
    raise ValueError("a reason\\nof two lines")


def gives_none():
    pass


def leaves():
    raise SystemExit(3)


instance = Net()
number = 3
'''


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("WIDTH = 5\n")
    (tmp_path / "late_beside.py").write_text("WIDTH = 7\n")
    (tmp_path / "json.py").write_text("from torch import nn\n\nmodel = nn.Linear(2, 2)\n")
    (tmp_path / "broken.py").write_text("def make(:\n")
    (tmp_path / "raises.py").write_text("raise RuntimeError('no\\nway')\n")
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "nets.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Linear(4, 6)\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("beside", "late_beside", "own_package", "own_package.nets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["make", "Net", "instance"])
def test_a_function_a_class_or_a_model_in_a_file(directory: Path, name: str) -> None:
    path = list(sys.path)
    model = load_module(f"./model.py:{name}")
    assert isinstance(model, nn.Module)
    assert sum(parameter.numel() for parameter in model.parameters()) == (28 if name == "make" else 20)
    assert load_module(f"{directory}/model.py:{name}") is not None
    assert sys.path == path


def test_a_file_may_have_the_name_of_a_module(directory: Path) -> None:
    import json

    assert isinstance(load_module("json.py:model"), nn.Linear)
    assert sys.modules["json"] is json


def test_a_package_that_is_installed_or_in_the_working_directory(directory: Path) -> None:
    assert isinstance(load_module("own_package.nets:make"), nn.Linear)
    assert isinstance(load_module("torch.nn:Identity"), nn.Identity)


BAD = {
    "./model.py:": "names no model; give package.module:callable",
    "./model.py:mak": "unknown callable 'mak'; did you mean 'make'",
    "torch.nn:Lineal": "unknown callable 'Lineal'; did you mean 'Linear'",
    "torch.nn:xqzw": "has nothing of the name 'xqzw'",
    "./model.py:number": "'number' is 3, no model",
    "./model.py:Needs": "calling 'Needs' fails: .*width.*; name a function that makes the model without arguments",
    "./model.py:breaks": "calling 'breaks' fails: a reason of two lines; mend it",
    "./model.py:gives_none": "'gives_none' gives a NoneType, no nn.Module",
    "./model.py:leaves": "calling 'leaves' fails: SystemExit: 3",
    "./broken.py:make": "broken.py fails: SyntaxError: invalid syntax",
    "./raises.py:make": "raises.py fails: RuntimeError: no way; mend it",
    "..:make": "cannot import",
}


@pytest.mark.parametrize("target", BAD)
def test_a_wrong_name_gets_one_line(directory: Path, target: str) -> None:
    with pytest.raises(UserError, match=BAD[target]) as caught:
        load_module(target)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, NotFound)


def test_a_module_that_is_not_there(directory: Path) -> None:
    with pytest.raises(
        NotFound, match=r"cannot import 'nowhere.at_all': ModuleNotFoundError: No module named 'nowhere'"
    ):
        load_module("nowhere.at_all:make")


def test_a_file_that_is_not_there(directory: Path) -> None:
    for target in ("./absent.py:make", "own_package.py:make"):
        with pytest.raises(NotFound, match=r"no file '.*\.py'; give the Python file"):
            load_module(target)

"""How a search space is found by name, and what importing it costs."""

import re
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

import search_spaces
from search_spaces import plugins
from search_spaces.errors import UserError
from search_spaces.spaces.cellular import Cellular
from search_spaces.spaces.nasbench201 import NasBench201


def test_built_in_spaces_are_loaded_by_name() -> None:
    assert search_spaces.load("nasbench201") == NasBench201()
    assert search_spaces.load("cellular", input_shape=(3, 32, 32), classes=7, deepest=2) == Cellular(
        input_shape=(3, 32, 32), classes=7, deepest=2
    )
    assert {"cellular", "nasbench101", "nasbench201"} <= set(search_spaces.names())
    for name in ("cellular", "nasbench101", "nasbench201"):
        assert search_spaces.load(name).name == name


def test_descriptions_are_one_line_each() -> None:
    descriptions = search_spaces.descriptions()
    assert tuple(descriptions) == search_spaces.names()
    assert all(line.endswith(".") and "\n" not in line for line in descriptions.values())


def test_an_unknown_space_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown search space 'celular'; did you mean 'cellular'"):
        search_spaces.load("celular")


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(UserError, match="unknown parameter of the space 'cellular' 'widhts'; did you mean 'widths'"):
        search_spaces.load("cellular", widhts=(8,))


def test_lists_from_a_run_file_are_taken() -> None:
    space = search_spaces.load("cellular", input_shape=[3, 16, 16], widths=[8, 16])  # type: ignore[arg-type]
    assert hash(space) == hash(Cellular(input_shape=(3, 16, 16), widths=(8, 16)))


def offer(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = EntryPoint(name, value, "nas.spaces")
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: EntryPoints([point]).select(group=group))


def test_spaces_of_other_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "theirs", "search_spaces.spaces.cellular:Cellular")
    assert search_spaces.load("theirs", deepest=1) == Cellular(deepest=1)
    assert "theirs" in search_spaces.names()
    assert "theirs" in search_spaces.descriptions()


def test_a_built_in_name_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "nasbench201", "search_spaces.spaces.cellular:Cellular")
    assert search_spaces.load("nasbench201") == NasBench201()


def test_built_in_spaces_need_no_look_at_the_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(plugins, "entry_points")
    assert search_spaces.load("cellular") == Cellular()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package:Space", "cannot be imported: No module named 'no_such_package'"),
        ("search_spaces:NoSuchSpace", "cannot be imported: module 'search_spaces' has no attribute 'NoSuchSpace'"),
        ("search_spaces:__all__", "is not a subclass of search_spaces.SearchSpace or a function"),
        ("search_spaces:Genotype", "is not a subclass of search_spaces.SearchSpace or a function"),
        ("search_spaces", "is not a subclass of search_spaces.SearchSpace or a function"),
        ("", "cannot be imported: "),
    ],
)
def test_a_broken_space_is_named_and_harms_no_other(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    offer(monkeypatch, "theirs", value)
    with pytest.raises(UserError, match=re.escape(f"the search space 'theirs' ({value}) {message}")) as caught:
        search_spaces.load("theirs")
    assert str(caught.value).endswith("mend or remove its package")
    assert {"cellular", "nasbench201", "theirs"} <= set(search_spaces.names())
    descriptions = search_spaces.descriptions()
    assert descriptions.pop("theirs") == str(caught.value)
    assert all(line.endswith(".") for line in descriptions.values())


def test_a_function_must_make_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_spaces.spaces.cellular.nothing", lambda classes: classes, raising=False)
    offer(monkeypatch, "theirs", "search_spaces.spaces.cellular:nothing")
    with pytest.raises(UserError, match="'theirs' makes 10, which is no SearchSpace"):
        search_spaces.load("theirs")


def test_importing_the_spaces_loads_nothing_heavy() -> None:
    program = (
        "import sys, search_spaces; search_spaces.load('cellular').count(); "
        "print(sorted({'torch', 'networkx', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_to_module_is_there_when_asked_for() -> None:
    assert callable(search_spaces.to_module)
    with pytest.raises(AttributeError, match="to_modul"):
        search_spaces.to_modul  # type: ignore[attr-defined]  # noqa: B018

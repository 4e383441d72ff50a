"""What the documents say runs: their Python runs, their commands exist, and the example is what the demo uses."""

import re
import tomllib
from pathlib import Path

import pytest

import search_spaces
from nas.cli.app import app
from nas.config import RunConfig, make_config, read_run_file
from nas.preparation import prepare

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCKS = [
    pytest.param(code, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("code", BLOCKS)
def test_python_in_the_documents_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    if "nas.results(" in code:
        import nas

        nas.search(name="digits", trials=1, epochs=1, executor="serial", controller="random", db="demo/nas.db")
    namespace: dict[str, object] = {"__name__": "documents"}
    exec(compile(code, "document", "exec"), namespace)
    for value in list(namespace.values()):
        if isinstance(value, type) and issubclass(value, search_spaces.SearchSpace) and value.__module__ == "documents":
            space = value()
            assert space.count() == sum(1 for _ in space.enumerate())


def test_run_files_in_the_documents_are_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "run-files.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        prepare(make_config(tomllib.loads(block)))


def test_every_key_of_a_run_file_is_documented() -> None:
    table = (ROOT / "docs" / "run-files.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted(RunConfig.model_fields)


def test_commands_in_the_documents_exist() -> None:
    known = {command.name for command in [*app.registered_commands, *app.registered_groups]}
    for path in DOCUMENTS:
        for command in re.findall(r"(?:^|`)nas ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert command in known, f"{path.name} names the command nas {command}"


def test_the_example_run_file_is_the_main_job() -> None:
    config = make_config(read_run_file(ROOT / "examples" / "digits.toml"))
    assert (config.data, config.controller, config.trials, config.workers) == ("digits", "reinforce", 30, 2)
    assert config.objectives == ("val_accuracy:max", "macs:min")
    assert config.constraints == ("params <= 100_000",)

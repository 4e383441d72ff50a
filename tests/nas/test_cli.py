"""The command line: what each command prints, and what bad input gets."""

import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

import search_spaces
from analysis import analyze
from db.store import Store
from nas.cli import main
from nas.controllers import registry
from tests.nas.command_line import Run
from tests.permissions import unprivileged
from workers.data import load_test, split_indices

SEARCH = [
    *("search", "--executor", "serial", "--trials", "3", "--epochs", "1", "--controller", "evolution", "--seed", "5"),
    *("--objective", "val_accuracy", "--objective", "macs:min", "--constraint", "params<=60_000"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one real search of three trials, named `done`."""
    path = tmp_path_factory.mktemp("cli") / "nas.db"
    assert main([*SEARCH, "--db", str(path), "--name", "done"]) == 0
    return path


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys; from nas.cli import main; code = main(['--help']); "
        "heavy = {'torch', 'ray', 'optuna', 'sqlalchemy', 'pandas', 'numpy', 'networkx', 'pydantic'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for command in ("search", "resume", "list", "results", "show", "export", "spaces", "controllers"):
        assert f" {command} " in ended.stdout


def test_a_search_shows_progress_on_stderr_and_its_leaderboard_on_stdout(run: Run) -> None:
    ran = run(*SEARCH, "--name", "s")
    assert ran.code == 0
    assert "3/3 trials" in ran.err
    assert "best val_accuracy" in ran.err
    assert "Leaderboard of s" in ran.out
    assert "Pareto front (val_accuracy:max, macs:min)" in ran.out
    assert "trials/min" not in ran.out


def test_results_json_has_its_stable_names(run: Run, database: Path) -> None:
    document = run("results", "done", "--db", str(database), "--json").document
    assert document["schema"] == 1
    assert (document["search"], document["state"]) == ("done", "complete")
    assert [trial["number"] for trial in document["trials"]] == [0, 1, 2]
    for trial in document["trials"]:
        assert {"number", "state", "key", "params", "macs", "val_accuracy", "parent", "attempts", "seconds"} <= set(
            trial
        )
        assert trial["state"] == "complete"
        assert trial["params"] <= 60_000
        assert 0 <= trial["val_accuracy"] <= 1


def test_results_can_be_sorted_limited_and_reduced_to_a_front(run: Run, database: Path) -> None:
    at = ("results", "done", "--db", str(database), "--json")
    by_macs = [trial["macs"] for trial in run(*at, "--sort", "macs").document["trials"]]
    assert by_macs == sorted(by_macs)
    by_params = [trial["params"] for trial in run(*at, "--sort", "params:max").document["trials"]]
    assert by_params == sorted(by_params, reverse=True)
    assert len(run(*at, "--limit", "1").document["trials"]) == 1
    (smallest,) = run(*at, "--pareto", "params").document["trials"]
    assert smallest["params"] == min(by_params)


def test_show_tells_layers_receptive_field_and_history(run: Run, database: Path) -> None:
    (best, *_) = run("results", "done", "--db", str(database), "--sort", "val_accuracy", "--json").document["trials"]
    document = run("show", best["key"][:10], "--db", str(database), "--json").document
    for name in ("params", "macs", "flops", "peak_inference_bytes"):
        assert isinstance(document[name], int)
    assert document["params"] == best["params"] == sum(layer["params"] for layer in document["layers"])
    assert document["macs"] == best["macs"] == sum(layer["macs"] for layer in document["layers"])
    assert document["flops"] == 2 * document["macs"]
    assert {"size", "stride", "centre", "fraction"} == set(document["receptive_field"])
    names = {"name", "operation", "output_shape", "params", "weight_bytes", "macs", "flops", "activation_bytes"}
    names |= {"input_bytes", "arithmetic_intensity", "receptive_field", "unproductive"}
    assert all(set(layer) == names for layer in document["layers"])
    assert document["history"][0]["search"] == "done"
    for row in document["history"]:
        assert (row["parent"] is None) == (row["parent_key"] is None)
    text = run("show", best["key"], "--db", str(database)).out
    assert "Layers" in text and "History" in text and best["key"] in text


def test_list_spaces_and_controllers(run: Run, database: Path) -> None:
    (row,) = run("list", "--db", str(database), "--json").document["searches"]
    assert (row["name"], row["state"], row["finished"], row["budget"]) == ("done", "complete", 3, 3)
    assert "done" in run("list", "--db", str(database)).out
    assert {row["name"] for row in run("spaces", "--json").document["spaces"]} >= {
        "cellular",
        "digits201",
        "nasbench201",
    }
    found = {row["name"] for row in run("controllers", "--json").document["controllers"]}
    assert found == set(registry.names())
    assert found >= {"random", "evolution", "reinforce", "optuna", "local-search", "graph-gp"}


def test_the_best_is_exported_and_measured(run: Run, database: Path, tmp_path: Path) -> None:
    ran = run("export", "done:best", "--db", str(database), "--to", "python,json", "--out", "model", "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert {Path(file).name for file in document["files"]} == {"weights.safetensors", "model.py", "architecture.json"}
    assert all(Path(file).is_file() for file in document["files"])
    assert document["test_images"] == len(load_test("digits"))
    assert 0.0 < document["test_accuracy"] <= 1.0
    spec = importlib.util.spec_from_file_location("model", "model/model.py")
    assert spec is not None and spec.loader is not None
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    assert document["preprocessing"] in " ".join(str(model.__doc__).split())
    digits = load_digits()
    images = eval(document["preprocessing"], {"images": torch.tensor(digits.images, dtype=torch.float32)[:, None]})
    test = split_indices(digits.target, salt="digits split 1").test
    labels = model.load("model/weights.safetensors")(images[test]).argmax(1).numpy()
    assert (labels == digits.target[test]).mean() == pytest.approx(document["test_accuracy"])
    again = run("export", "done:best", "--db", str(database), "--out", "model")
    assert again.code == 4
    assert again.err.count("\n") == 1 and "not empty" in again.err


def test_dry_run_shows_the_run_the_size_and_three_samples_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    ran = run("search", "--space", "nasbench201", "--dry-run")
    assert ran.code == 0
    assert "15,625" in ran.out
    assert ran.out.count("Sample ") == 3
    document = run("search", "--space", "nasbench201", "--seed", "3", "--dry-run", "--json").document
    assert document["space_size"] == 15_625
    assert document["run"]["seed"] == 3
    assert len(document["samples"]) == 3
    assert list(tmp_path.iterdir()) == []


def test_dry_run_figures_are_those_of_the_key(run: Run) -> None:
    document = run("search", "--space", "nasbench201", "--seed", "1", "--dry-run", "--json").document
    space = search_spaces.load("nasbench201", input_shape=(1, 8, 8))
    rng = random.Random(1)
    for sample in document["samples"]:
        simple = space.sample(rng=rng).simplified()
        assert (sample["key"], sample["params"]) == (simple.key, analyze(simple).params)


def test_nas_alone_prints_its_help(run: Run) -> None:
    ran = run()
    assert ran.code == 2
    assert "Commands" in ran.out + ran.err
    assert "nas: " not in ran.err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_output_is_one_line(database: Path, unbuffered: str) -> None:
    command = [sys.executable, "-c", "import sys; from nas.cli import main; sys.exit(main())"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*command, "results", "done", "--db", str(database)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert ended.returncode == 4
    (line,) = ended.stderr.splitlines()
    assert "cannot write the output" in line


def test_flags_override_the_run_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('space = "nasbench201"\ntrials = 7\nconstraints = ["macs <= 1e9"]\n')
    config = run("search", "run.toml", "--trials", "9", "--dry-run", "--json").document["run"]
    assert (config["space"], config["trials"], config["constraints"]) == ("nasbench201", 9, ["macs <= 1e9"])


def test_resuming_a_complete_search_changes_nothing(run: Run, database: Path) -> None:
    before = run("results", "done", "--db", str(database), "--json").out
    assert run("resume", "done", "--db", str(database)).code == 0
    assert run("results", "done", "--db", str(database), "--json").out == before


BAD_INPUT = {
    "unknown space": (["search", "--space", "cellulr"], 2, "did you mean 'cellular'"),
    "unknown controller": (["search", "--controller", "evolutoin"], 2, "did you mean 'evolution'"),
    "unknown sampler": (["search", "--controller", "optuna:tpee"], 2, "tpee"),
    "unknown data": (["search", "--data", "digit"], 2, "did you mean 'digits'"),
    "unknown objective": (["search", "--objective", "val_acuracy"], 2, "did you mean 'val_accuracy'"),
    "wrong direction": (["search", "--objective", "macs:least"], 2, "max or min"),
    "objective twice": (["search", "--objective", "macs", "--objective", "macs:max"], 2, "twice"),
    "unknown figure": (["search", "--constraint", "parms<=3"], 2, "did you mean 'params'"),
    "constraint on a metric": (["search", "--constraint", "val_accuracy>=0.9"], 2, "val_accuracy"),
    "no constraint at all": (["search", "--constraint", "small"], 2, "NAME<=NUMBER"),
    "impossible constraint": (["search", "--constraint", "params<=10"], 2, "relax"),
    "negative trials": (["search", "--trials", "-1"], 2, "trials"),
    "no trials": (["search", "--trials", "0"], 2, "trials"),
    "trials that are no number": (["search", "--trials", "many"], 2, "valid integer"),
    "more trials than can be counted": (["search", "--trials", "99999999999999999999"], 2, "trials"),
    "more epochs than can be counted": (["search", "--epochs", "99999999999999999999"], 2, "epochs"),
    "a name with blanks": (["search", "--name", " x"], 2, "name"),
    "a name that looks like an export": (["search", "--name", "a:b"], 2, "colon"),
    "a space in no module": (["search", "--space", "absent_module:Space"], 2, "absent_module"),
    "an empty name": (["search", "--name", ""], 2, "name"),
    "a database that is no text": (["search", "--db", "\udcff.db"], 2, "db"),
    "unknown executor": (["search", "--executor", "slurm"], 2, "executor"),
    "unknown flag": (["search", "--trails", "3"], 2, "--trails"),
    "unknown command": (["serach"], 2, "serach"),
    "no run file": (["search", "absent.toml"], 3, "absent.toml"),
    "broken run file": (["search", "broken.toml"], 2, "not valid TOML"),
    "unknown key in the run file": (["search", "unknown.toml"], 2, "did you mean 'trials'"),
    "wrong type in the run file": (["search", "wrong.toml"], 2, "epochs"),
    "unknown setting of a space": (["search", "setting.toml"], 2, "colour"),
    "foreign database file": (["search", "--db", "text.txt"], 4, "--db"),
    "database in no directory": (["search", "--db", "absent/nas.db"], 3, "absent"),
    "database of another kind": (["search", "--db", "mysql://localhost/x"], 2, "sqlite"),
    "no database": (["results", "s"], 3, "nas.db"),
    "foreign database to read": (["list", "--db", "text.txt"], 4, "text.txt"),
    "resume without a database": (["resume", "s"], 3, "nas.db"),
    "export of nothing": (["export", "abcd", "--out", "m"], 3, "nas.db"),
}


@pytest.mark.parametrize(("arguments", "code", "says"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_gets_one_line_and_writes_nothing(
    run: Run, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "text.txt").write_text("not a database, but somebody's text\n" * 100)
    (tmp_path / "broken.toml").write_text("trials = = 3\n")
    (tmp_path / "unknown.toml").write_text("trails = 3\n")
    (tmp_path / "wrong.toml").write_text('epochs = "three"\n')
    (tmp_path / "setting.toml").write_text('[space_settings]\ncolour = "red"\n')
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    ran = run(*arguments)
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert ran.err.startswith("nas: ")
    assert ran.err.count("\n") == 1, ran.err
    assert says in ran.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([*SEARCH, "--name", "done"], 4, "nas resume done"),
        (["results", "don"], 3, "'done'"),
        (["results", "done", "--sort", "accuracy"], 2, "val_accuracy"),
        (["results", "done", "--pareto", "val_accuracy,mac"], 2, "macs"),
        (["results", "done", "--sort", "macs", "--pareto", "macs"], 2, "exclude"),
        (["results", "done", "--limit", "0"], 2, "limit"),
        (["resume", "gone"], 3, "gone"),
        (["show", "zzzz"], 2, "hexadecimal"),
        (["show", "0123456789abcdef0123456789abcdef"], 3, "no architecture"),
        (["export", "done:worst", "--out", "m"], 2, "SEARCH:best"),
        (["export", "done:best", "--to", "onyx", "--out", "m"], 2, "onyx"),
    ],
)
def test_bad_input_on_a_real_database(
    run: Run, database: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    before = database.read_bytes()
    ran = run(*arguments, "--db", str(database))
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert ran.err.startswith("nas: ")
    assert ran.err.count("\n") == 1, ran.err
    assert says in ran.err
    assert database.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_database_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    # Not pytest's directory, which is closed to others anyway.
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    path = directory / "nas.db"
    Store.open(str(path), mode="create").close()
    path.chmod(0o444)
    before = path.read_bytes()
    assert main([*SEARCH, "--dry-run"]) == 0  # imports what nobody may not read
    capsys.readouterr()
    with unprivileged():
        code = main([*SEARCH, "--db", str(path)])
    err = capsys.readouterr().err
    assert code == 4, err
    assert err.startswith("nas: ") and err.count("\n") == 1
    assert str(path) in err
    assert path.read_bytes() == before
    shutil.rmtree(directory)

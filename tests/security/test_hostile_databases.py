"""A database may come from anybody: what it says steers no terminal, names no code, no cluster and no files of others."""

import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.spool import Spool
from nas.weights import WeightsStore
from search_spaces.errors import UserError
from tests.nas.command_line import Ran, Run
from tests.security.hostile import Canary, check_refused, state

READING = (["results", "s"], ["results", "s", "--json"], ["status", "s"], ["export", "s:best", "--out", "model"])
DEEP = "[" * 100_000
STEERING = "\x1b]0;owned\x07\x9b2J\u202e"


@pytest.fixture(autouse=True)
def nothing_runs(canary: Canary) -> Any:
    yield
    assert canary.is_silent


def change(statement: str, *values: Any) -> None:
    """Changes the database as only somebody else would."""
    connection = sqlite3.connect("nas.db")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def change_run(**keys: Any) -> None:
    """Changes the recorded run, and lets the search look unfinished: only then resuming it does anything."""
    connection = sqlite3.connect("nas.db")
    (run,) = connection.execute("SELECT run FROM searches").fetchone()
    connection.close()
    recorded = json.dumps({**json.loads(run), "trials": 3, **keys})
    change("UPDATE searches SET run = ?, state = 'interrupted', budget = 3", recorded)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE searches SET run = '{DEEP}', state = 'interrupted'",
        f"UPDATE trials SET genotype = '{DEEP}'",
        f"UPDATE trials SET information = '{DEEP}'",
        f"UPDATE trials SET metrics = '{DEEP}'",
        """UPDATE trials SET metrics = '{"val_accuracy": [1]}'""",
        """UPDATE trials SET metrics = '{"val_accuracy": "os:system"}'""",
        f"""UPDATE trials SET metrics = '{{"val_accuracy": {"9" * 4_000}}}'""",
        f"""UPDATE trials SET metrics = '{{"val_accuracy": {"9" * 5_000}}}'""",
        "UPDATE trials SET weights_sha256 = '../../x'",
        "UPDATE trials SET weights_sha256 = '/etc/passwd'",
        f"UPDATE trials SET weights_sha256 = '{'../' * 20}{'x' * 4}'",
        f"UPDATE trials SET weights_sha256 = '{'A' * 64}'",
        "UPDATE trials SET state = 'os:system'",
    ],
)
def test_values_that_make_no_sense(run: Run, tmp_path: Path, others: Path, statement: str) -> None:
    change(statement)
    before, theirs = state(tmp_path), state(others)
    for command in READING:
        check_refused(run(*command), 4, "damaged")
    if "searches" in statement:
        check_refused(run("resume", "s"), 4, "damaged")
    check_refused_after_output(run("db", "check"), 4, "damaged")
    with pytest.raises(UserError):
        nas.results("s", db="nas.db").to_dict()
    assert (state(tmp_path), state(others)) == (before, theirs)


def check_refused_after_output(ran: Ran, code: int, says: str) -> None:
    """`nas db check` shows what it has found first."""
    assert all(line.isprintable() for line in ran.out.splitlines()), ran.out
    check_refused(Ran(ran.code, "", ran.err), code, says)


@pytest.mark.parametrize("digest", ["../../x", "/etc/passwd", "..", "", "A" * 64, "a" * 63, "a" * 63 + "/"])
def test_a_digest_that_is_none_leads_to_no_file(tmp_path: Path, others: Path, digest: str) -> None:
    store = WeightsStore(others / "some" / "where")
    for use in (store.path, store.load, store.drop):
        with pytest.raises(UserError, match="SHA-256"):
            use(digest)
    assert (others / "x.safetensors").exists()
    spool = Spool("s", WeightsStore(tmp_path))
    line = {"version": 1, "number": 0, "attempt": 1, "state": "complete", "seconds": 1.0, "worker": "w", "values": {}}
    line |= {"reason": None, "out_of_memory": False, "measurements": []}
    texts = [json.dumps(line | {"weights": each}) for each in (digest, "ab" * 32)]
    spool.path.write_text("\n".join([*texts, DEEP, "null", ""]))
    assert [arrival.weights for arrival in spool.load()] == ["ab" * 32]


ACTING = {
    "a view without end": (
        "ALTER TABLE measurements RENAME TO hidden",
        "CREATE VIEW measurements AS WITH RECURSIVE r(search_id, proposal, epoch, metrics) AS "
        "(SELECT 1, 0, 1, '{}' UNION ALL SELECT 1, 0, epoch + 1, '{}' FROM r) SELECT * FROM r",
    ),
    "a trigger": ("CREATE TRIGGER t AFTER UPDATE ON searches BEGIN DELETE FROM trials; END",),
    "a virtual table": (
        "ALTER TABLE measurements RENAME TO hidden",
        "CREATE VIRTUAL TABLE measurements USING fts5(search_id, proposal, epoch, metrics)",
    ),
}


@pytest.mark.parametrize("statements", ACTING.values(), ids=ACTING)
def test_tables_that_act(trained: Path, run: Run, statements: tuple[str, ...]) -> None:
    for statement in statements:
        change(statement)
    before = state(trained)
    for command in (["list"], *READING, ["resume", "s"], ["db", "check"], ["search", "--executor", "serial"]):
        began = time.monotonic()
        check_refused(run(*command, "--db", "nas.db"), 4, "that nas never makes")
        assert time.monotonic() - began < 20
    assert state(trained) == before


@pytest.mark.usefixtures("trained")
def test_a_view_of_ones_own_beside_our_tables_is_nobodys_business(run: Run) -> None:
    change("CREATE VIEW best AS SELECT * FROM trials WHERE state = 'complete'")
    assert run("list").code == 0


@pytest.mark.usefixtures("trained")
def test_no_text_steers_the_terminal(run: Run) -> None:
    change("UPDATE searches SET space = ?, data = ?, controller = ?, driver_host = ?", *[STEERING] * 4)
    change("UPDATE trials SET reason = ?, worker = ?, mutation = ?", *[STEERING] * 3)
    change("UPDATE architectures SET space = ?", STEERING)
    key = nas.results("s", db="nas.db").best.key
    change(
        "INSERT INTO searches SELECT 2, ?, run, space, controller, data, seed, budget, state, created_at, "
        "driver_host, driver_pid, driver_started_at, driver_token, driver_seen_at FROM searches",
        STEERING,
    )
    commands = (["list"], *READING[:3], ["status", STEERING], ["results", STEERING], ["show", key], ["db", "check"])
    shown = ""
    for command in commands:
        for more in ([], ["--json"]):
            ran = run(*command, *more)
            assert all(line.isprintable() for line in (ran.out + ran.err).split("\n")), command
            shown += ran.out
    assert "\\x1b]0;owned" in shown
    assert "\\u009b" in shown
    check_refused(run("results", "nosuch" + STEERING), 3, "no search 'nosuch")


@pytest.mark.parametrize(
    "text", ['"""\n{code}\n"""', '\\"""\n{code}\n', "'''\n{code}", "\n{code}\n", "\r{code}\r", "\x0c{code}"]
)
def test_no_text_becomes_code_of_an_export(trained: Path, run: Run, canary: Canary, text: str) -> None:
    change("UPDATE architectures SET space = ?", text.format(code=f"import os; {canary.source}"))
    assert run("export", "s:best", "--out", "model").code == 0
    source = (trained / "model" / "model.py").read_text()
    names: dict[str, Any] = {"__name__": "model"}
    exec(compile(source, "model.py", "exec"), names)
    assert canary.is_silent
    assert "Network" in names


@pytest.mark.parametrize("key", ["space", "evaluator", "controller"])
@pytest.mark.parametrize("value", ["own_code:Thing", "os:system"])
def test_a_name_of_code_is_never_imported(
    trained: Path, run: Run, canary: Canary, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    (trained / "own_code.py").write_text(f"{canary.source}\n")
    best = nas.results("s", db="nas.db").best.key
    change_run(**{key: value})
    if key != "evaluator":
        change(f"UPDATE searches SET {key} = ?", value)
    for command in (["list"], ["results", "s"], ["status", "s"], ["show", best], ["export", best, "--out", "model"]):
        for more in ([], ["--json"]) if command[0] != "export" else ([],):
            ran = run(*command, *more)
            assert ran.code == 0, ran.err
            assert canary.is_silent, command
    found = nas.results("s", db="nas.db")
    assert found.pareto() and len(found.frame()) == 2 and found.to_dict()["trials"]
    check_refused(run("resume", "s"), 2, f"{key} {value!r}", "--trust-code")
    with pytest.raises(UserError, match="--trust-code"):
        nas.resume("s", db="nas.db")
    assert canary.is_silent
    if value.startswith("own_code"):
        # The canary does sing where it is let.
        run("resume", "s", "--trust-code")
        assert not canary.is_silent
        canary.path.unlink()


@pytest.mark.parametrize(
    "keys",
    [
        {"controller_settings": {"__class__": "os:system"}},
        {"controller": "optuna", "controller_settings": {"sampler": "os:system"}},
        {"controller": "optuna:os.system"},
        {"warm_start": "os:system"},
        {"warm_start": "../../own_code"},
        {"evaluator_settings": {"loss": "os:system"}},
        {"space_settings": {"channels": "os:system"}},
        {"data": "own_code:Thing"},
        {"data": "../../own_code"},
        {"objectives": ["__import__('os').system('true')"]},
        {"constraints": ["params<=__import__('os')"]},
        {"executor": "own_code:Thing"},
        {"stopping": "own_code:Thing"},
        {"epochs": "os:system"},
    ],
)
def test_no_other_key_names_code(trained: Path, run: Run, canary: Canary, keys: dict[str, Any]) -> None:
    (trained / "own_code.py").write_text(f"{canary.source}\n")
    change_run(**keys)
    before = state(trained)
    ran = run("resume", "s")
    assert ran.code in (2, 4), ran
    check_refused(ran, ran.code)
    assert state(trained) == before


def test_a_network_that_no_machine_holds(trained: Path, run: Run) -> None:
    key = nas.results("s", db="nas.db").best.key
    nodes = [["x", {"op": "Input"}, []], ["y", {"op": "Linear", "out_features": 2**24}, [0]]]
    document: dict[str, Any] = {"format": "nas.architecture", "version": 1, "input_shapes": [[2**24]], "cells": []}
    document["graph"] = {"nodes": nodes, "outputs": [["out", 1]]}
    change("UPDATE architectures SET document = ? WHERE key = ?", json.dumps(document), key)
    change("UPDATE trials SET weights_sha256 = NULL")
    assert run("show", key).code == 0
    before = state(trained)
    check_refused(run("export", key, "--out", "model"), 2, "free memory")
    assert state(trained) == before


def test_where_a_recorded_run_would_lead(
    trained: Path, run: Run, others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To no cluster, no files of Tune and no other database; to a URL with trust alone; to directories as it was begun.

    What is written there has names that are hashes of its content, so a database can add such files to a directory of
    its choice, and remove those of a hash that it knows, but neither read, change nor remove anything else.
    """
    for key, value in (("cluster", "127.0.0.1:1"), ("insecure", True), ("tune_directory", str(others))):
        change_run(**{key: value})
        config = nas.RunConfig.from_json(nas.results("s", db="nas.db").search.run)
        assert getattr(config, key) == nas.RunConfig.model_fields[key].default
    for url in ("s3://bucket/x", "http://127.0.0.1:1/x", "sftp://127.0.0.1/x", f"file://{others}/x", "memory://x"):
        change_run(checkpoints=url)
        check_refused(run("resume", "s"), 2, url, "--trust-code")
    for chain in (f"simplecache::file://{others}", "zip://x::http://127.0.0.1:1/x"):
        change_run(checkpoints=chain)
        assert run("resume", "s").code == 2
        check_refused(run("resume", "s", "--trust-code"), 4, "chain of file systems")

    theirs = state(others)
    change_run(
        cluster="127.0.0.1:1",
        insecure=True,
        tune_directory=str(others),
        db=str(others / "other.db"),
        weights=str(others),
        checkpoints=str(others),
    )
    assert run("resume", "s").code == 0
    after = state(others)
    assert {name: after.get(name) for name in theirs} == theirs
    new = after.keys() - theirs.keys()
    assert all(len(name) == 64 + len(".safetensors") for name in new), new
    assert not (others / "other.db").exists()

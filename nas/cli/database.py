"""`nas db check` and `nas db backup`: whether a database is sound, and a copy of it while searches write."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.output import DEFAULT_DATABASE, DatabaseOption, JsonFlag, make_table, stderr, stdout, write_json
from search_spaces.errors import Conflict

SHOWN_PROBLEMS = 20

app = typer.Typer(help="Check a database, or copy it.", no_args_is_help=True)


@app.command("check")
def check(db: DatabaseOption = DEFAULT_DATABASE, as_json: JsonFlag = False) -> None:
    """Read everything in a database and say what is damaged."""
    from db.store import Store

    with Store.open(db, mode="read") as store:
        name, health = store.name, store.check()
    count = len(health.problems)
    if as_json:
        write_json({"schema": 1, "database": name, "rows": dict(health.rows), "problems": list(health.problems)})
    else:
        stdout().print(make_table(f"Rows in {name}", ("table", "rows"), list(health.rows.items())))
        for problem in health.problems[:SHOWN_PROBLEMS]:
            stdout().print(problem, markup=False, soft_wrap=True)
        if count > SHOWN_PROBLEMS:
            stdout().print(f"… and {count - SHOWN_PROBLEMS} more; --json has them all", markup=False, soft_wrap=True)
    if count:
        damage = "1 problem" if count == 1 else f"{count} problems"
        raise Conflict(f"{name} is damaged ({damage}); restore it from a copy")
    stderr().print("no problem found", markup=False, soft_wrap=True)


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="The copy; a new file.")], db: DatabaseOption = DEFAULT_DATABASE
) -> None:
    """Copy an SQLite database, as it is at one moment, while searches may write to it."""
    from db.store import Store

    with Store.open(db, mode="read") as store:
        store.backup(file)
    stderr().print(f"wrote {file}; trained weights are files beside the database", markup=False, soft_wrap=True)

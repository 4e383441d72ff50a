"""`nas show`: one architecture, layer by layer, with what is known of it."""

from typing import Annotated

import typer

from nas.cli.output import DEFAULT_DATABASE, DatabaseOption, JsonFlag, make_table, stdout, write_json


def show(
    key: Annotated[str, typer.Argument(help="The architecture's key, or the beginning of it.")],
    db: DatabaseOption = DEFAULT_DATABASE,
    as_json: JsonFlag = False,
) -> None:
    """Show an architecture: layers, receptive field, parent, history."""
    from analysis import analyze
    from db.store import Store
    from nas.cli.report_tables import figure_rows, layer_table
    from nas.result import trial_row
    from search_spaces.architecture import Architecture

    with Store.open(db, mode="read") as store:
        record = store.architecture(key)
        history = store.history(record.key)
        parents: dict[tuple[str, int | None], str] = {
            (search, trial.parent): store.trial(search, trial.parent).key
            for search, trial in history
            if trial.parent is not None
        }
    report = analyze(Architecture.from_json(record.document))
    rows = [
        {"search": search, **trial_row(trial), "parent_key": parents.get((search, trial.parent))}
        for search, trial in history
    ]
    if as_json:
        write_json({"schema": 1, "key": record.key, "space": record.space, **report.to_dict(), "history": rows})
        return
    console = stdout()
    console.print(make_table(f"Architecture {record.key} of {record.space}", ("figure", "value"), figure_rows(report)))
    console.print()
    console.print(layer_table(report.layers))
    console.print()
    columns = ("search", "number", "state", "val_accuracy", "epochs", "parent", "parent_key", "mutation", "reason")
    console.print(make_table("History", columns, [[row.get(column) for column in columns] for row in rows]))

"""`nas show`: one architecture, layer by layer, with what is known of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.output import DEFAULT_DATABASE, DatabaseOption, JsonFlag, make_table, stdout, write_json

if TYPE_CHECKING:
    from rich.console import Group

    from analysis import Report


def show(
    key: Annotated[str, typer.Argument(help="The architecture's key, or the beginning of it.")],
    db: DatabaseOption = DEFAULT_DATABASE,
    as_json: JsonFlag = False,
) -> None:
    """Show an architecture: layers, receptive field, parent, history."""
    from analysis import analyze
    from db.store import Store
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
    console.print(layer_table(report))
    console.print()
    columns = ("search", "number", "state", "val_accuracy", "epochs", "parent", "parent_key", "mutation", "reason")
    console.print(make_table("History", columns, [[row.get(column) for column in columns] for row in rows]))


def figure_rows(report: "Report") -> list[tuple[str, object]]:
    """The totals of a report as rows of a table."""
    return list(report.figures().items())


def layer_table(report: "Report") -> "Group":
    """One row for each operation; the receptive field's size by axis, a dash where nothing is seen."""
    columns = ("layer", "operation", "output", "params", "macs", "activation_bytes", "receptive_field")
    rows = [
        (
            layer.name,
            layer.operation,
            "x".join(map(str, layer.output_shape)),
            layer.params,
            layer.macs,
            layer.activation_bytes,
            None if layer.receptive_field is None else "x".join(str(window.size) for window in layer.receptive_field),
        )
        for layer in report.layers
    ]
    return make_table("Layers", columns, rows)

"""`nas export`: an architecture as files that run without nas, and how accurate the exported model is."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.output import DEFAULT_DATABASE, DatabaseOption, JsonFlag, make_table, stderr, stdout, write_json


def export(
    target: Annotated[
        str, typer.Argument(metavar="KEY|SEARCH:best", help="An architecture's key, or a search's best.")
    ],
    out: Annotated[Path, typer.Option(help="The directory to make.")],
    to: Annotated[str, typer.Option(metavar="python,json", help="The formats, joined by commas.")] = "python",
    db: DatabaseOption = DEFAULT_DATABASE,
    as_json: JsonFlag = False,
) -> None:
    """Export an architecture, with its weights where the search kept them."""
    from db.url import is_postgresql, shown
    from nas.export.handover import hand_over

    formats = tuple(dict.fromkeys(part.strip() for part in to.split(",") if part.strip()))
    handed = hand_over(target, db=db, formats=formats, out=out)
    if as_json:
        write_json({"schema": 1, **handed.to_dict()})
        return
    if not handed.has_weights:
        stderr().print("no weights were kept for this architecture; the files have none", markup=False, soft_wrap=True)
    rows: list[tuple[str, object]] = [("key", handed.key), ("params", handed.params), ("macs", handed.macs)]
    if handed.val_accuracy is not None:
        rows.append(("validation accuracy in the search", handed.val_accuracy))
    if handed.test_accuracy is not None:
        rows.append((f"test accuracy on {handed.test_images} held-out {handed.data}", handed.test_accuracy))
    if handed.preprocessing is not None:
        rows.append(("reads", handed.preprocessing))
    rows.append(("database", shown(db) if is_postgresql(db) else str(Path(db).resolve())))
    rows.extend(("exported", str(path)) for path in handed.files)
    stdout().print(make_table("Exported model", ("what", "value"), rows))

"""`nas search` and `nas resume`: run a search, show how it goes, end with the leaderboard and the Pareto front."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.interruption import Terminated, interruptible_once
from nas.cli.output import DEFAULT_DATABASE, DatabaseOption, JsonFlag, make_table, stderr, stdout, write_json
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nas.preparation import Prepared
    from nas.progress import Progress
    from nas.result import SearchResult

LEADERBOARD_ROWS = 10
DRY_RUN_SAMPLES = 3


ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", envvar="RAY_ADDRESS", help="Run on this Ray cluster, or auto: the one of this machine."
    ),
]
TuneDirectoryOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="ray_tune: leave TensorBoard, CSV and JSON files here.")
]
InsecureFlag = Annotated[bool, typer.Option("--insecure", help="Accept a cluster that asks for no token.")]


SlotsOption = Annotated[
    str | None,
    typer.Option(metavar="auto|N", help="How many candidates share a GPU: by predicted memory (auto), or N."),
]
DeadlineOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Kill a worker that has shown nothing for so long (3600).")
]


def search(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE.toml]", help="A run file; flags override it.")] = None,
    space: Annotated[
        str | None, typer.Option(help="The search space (cellular); see: nas spaces. Your own: module:attribute.")
    ] = None,
    space_settings: Annotated[
        list[str] | None, typer.Option("--space-set", metavar="NAME=VALUE", help="A parameter of the space.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="The data set to train on (digits, the only one yet).")] = None,
    evaluator: Annotated[
        str | None, typer.Option(help="How candidates are measured (training): training, tabular or zero_cost.")
    ] = None,
    evaluator_settings: Annotated[
        list[str] | None, typer.Option("--evaluator-set", metavar="NAME=VALUE", help="A setting of the evaluator.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="tabular: the table, .parquet or .csv, or one that comes with nas."),
    ] = None,
    signal: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="tabular: what the controller sees, of rising fidelity.")
    ] = None,
    report: Annotated[str | None, typer.Option(metavar="COLUMNS", help="tabular: what is only ever reported.")] = None,
    cost: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="tabular: seconds for each signal, COLUMN or COLUMN*NUMBER.")
    ] = None,
    controller: Annotated[
        str | None,
        typer.Option(help="Who proposes (reinforce); see: nas controllers. Your own: module:attribute."),
    ] = None,
    controller_settings: Annotated[
        list[str] | None, typer.Option("--controller-set", metavar="NAME=VALUE", help="A setting of the controller.")
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            metavar="PROXY[:COUNT[:DRAWN]]", help="Begin with the best by a zero-cost proxy (10 of 100 drawn): naswot."
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="How many architectures to try (30).")] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Begin no more trials after so many seconds of evaluation in all."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of training for each (20).")] = None,
    stopping: Annotated[
        str | None, typer.Option(metavar="asha|hyperband", help="Stop trials early that fall behind at a rung.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of the search (0).")] = None,
    workers: Annotated[int | None, typer.Option(help="How many are trained at once under ray (2).")] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            help="ray: in worker processes (the default); ray_tune: those of Ray Tune; serial: in this process."
        ),
    ] = None,
    tune_directory: TuneDirectoryOption = None,
    cluster: ClusterOption = None,
    insecure: InsecureFlag = False,
    slots_per_gpu: SlotsOption = None,
    deadline: DeadlineOption = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:max|min]", help="What to optimise (val_accuracy:max); may be given several times."),
    ] = None,
    constraint: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help='A hard bound, such as "macs<=50e6"; several are allowed.')
    ] = None,
    db: Annotated[
        str | None, typer.Option(metavar="URL", help="The database (nas.db): a path or postgresql://…")
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Where trainings keep their state (DB.checkpoints): a directory, s3://…."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="DIRECTORY", help="Where trained weights are kept (beside a database file).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the search.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the run and three samples; start nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Search a space for good architectures."""
    from nas.config import make_config, read_run_file
    from nas.preparation import prepare
    from nas.run import search as run_search
    from nas.targets import parse_parameters

    values: dict[str, Any] = {} if file is None else read_run_file(file)
    of_table = {"table": table, "signal": signal, "report": report, "cost": cost}
    settings = {
        "space_settings": parse_parameters(space_settings or (), option="--space-set"),
        "controller_settings": parse_parameters(controller_settings or (), option="--controller-set"),
        "evaluator_settings": parse_parameters(evaluator_settings or (), option="--evaluator-set")
        | {key: value for key, value in of_table.items() if value is not None},
    }
    for key, given in settings.items():
        if given:
            values[key] = {**values.get(key, {}), **given}
    flags = {
        "space": space,
        "data": data,
        "evaluator": evaluator,
        "time_budget": time_budget,
        "stopping": stopping,
        "controller": controller,
        "warm_start": warm_start,
        "trials": trials,
        "epochs": epochs,
        "seed": seed,
        "workers": workers,
        "executor": executor,
        "tune_directory": tune_directory,
        "cluster": cluster,
        "insecure": insecure or None,
        "slots_per_gpu": _slots(slots_per_gpu),
        "weights": weights,
        "deadline": deadline,
        "objectives": objective or None,
        "constraints": constraint or None,
        "db": db,
        "checkpoints": checkpoints,
        "name": name,
    }
    values.update({key: value for key, value in flags.items() if value is not None})
    config = make_config(values)
    if dry_run:
        _show_plan(prepare(config), as_json=as_json)
        return
    _run(lambda listener: run_search(config, listener=listener), as_json=as_json, db=config.db)


def resume(
    name: Annotated[str, typer.Argument(help="The search to continue.")],
    db: DatabaseOption = DEFAULT_DATABASE,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the code that the search names: module:attribute.")
    ] = False,
    cluster: ClusterOption = None,
    insecure: InsecureFlag = False,
    workers: Annotated[int | None, typer.Option(help="How many are trained at once (as the search began).")] = None,
    slots_per_gpu: SlotsOption = None,
    deadline: DeadlineOption = None,
    tune_directory: TuneDirectoryOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Continue a search that was interrupted, here or on another machine."""
    from nas.run import resume as run_resume

    changes = {
        "cluster": cluster,
        "insecure": insecure or None,
        "workers": workers,
        "slots_per_gpu": _slots(slots_per_gpu),
        "deadline": deadline,
        "tune_directory": tune_directory,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    _run(
        lambda listener: run_resume(name, db, trust_code=trust_code, changes=given, listener=listener),
        as_json=as_json,
        db=db,
    )


def _run(start: "Callable[[Callable[[Progress], None]], SearchResult]", *, as_json: bool, db: str) -> None:
    from db.url import shown
    from nas.cli.progress import ProgressDisplay

    display = ProgressDisplay(stderr())
    try:
        with interruptible_once() as interruption, display:

            def listen(progress: "Progress") -> None:
                interruption.check()
                display.update(progress)

            result = start(listen)
    except (KeyboardInterrupt, Terminated):
        if display.search_name is not None:
            stderr().print(
                f"interrupted; continue with: nas resume {quote(display.search_name)} --db {quote(shown(db))}",
                markup=False,
                soft_wrap=True,
            )
        raise
    if as_json:
        write_json(result.to_dict())
    else:
        show_leaderboard(result)


def show_leaderboard(result: "SearchResult") -> None:
    """The best trials by the objectives, and the Pareto front where there are several objectives."""
    from nas.cli.results import trial_table

    console = stdout()
    best = result.leaderboard()[:LEADERBOARD_ROWS]
    shown = f" (best {len(best)} of {len(result.complete)})" if len(best) < len(result.complete) else ""
    console.print(trial_table(f"Leaderboard of {result.name}{shown}", best, result))
    if len(result.objectives) > 1:
        names = ", ".join(str(objective) for objective in result.objectives)
        console.print()
        console.print(trial_table(f"Pareto front ({names})", [found.trial for found in result.pareto()], result))


def _show_plan(prepared: "Prepared", *, as_json: bool) -> None:
    import random

    from analysis import analyze
    from db.trial import UNBOUNDED
    from nas.cli.report_tables import figure_rows

    rng = random.Random(prepared.config.seed)
    samples = [prepared.space.sample(rng=rng).simplified() for _ in range(DRY_RUN_SAMPLES)]
    reports = [analyze(architecture) for architecture in samples]
    size = prepared.space.count()
    run = prepared.config.model_dump(mode="json")
    if run["trials"] == UNBOUNDED:
        run["trials"] = None
    if as_json:
        document = {
            "schema": 1,
            "run": run,
            "space_size": size,
            "samples": [
                {"key": architecture.key, **report.to_dict()}
                for architecture, report in zip(samples, reports, strict=True)
            ],
        }
        write_json(document)
        return
    console = stdout()
    console.print(make_table("Run", ("key", "value"), [(key, _plain(value)) for key, value in run.items()]))
    console.print(f"\nThe space {prepared.config.space} has {size:,} genotypes.\n", markup=False, soft_wrap=True)
    for architecture, report in zip(samples, reports, strict=True):
        console.print(make_table(f"Sample {architecture.key[:12]}", ("figure", "value"), figure_rows(report)))
        console.print()
    stderr().print("dry run: nothing was started or written", markup=False, soft_wrap=True)


def _slots(text: str | None) -> int | None:
    """The number of slots in `--slots-per-gpu`; None for `auto`."""
    if text in (None, "auto"):
        return None
    if not text.isdecimal():
        raise UserError(f"--slots-per-gpu {text!r}: give a whole number, or auto")
    return int(text)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {item}" for key, item in value.items()) or "–"
    return "–" if value is None else str(value)

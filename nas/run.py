"""Starts and resumes searches: gives the parts of a prepared run to a session and an executor."""

import os
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from db.store import Store
from db.trial import Search, SearchState
from db.url import database_path, is_postgresql
from nas import driver
from nas.config import RunConfig, make_config
from nas.controllers import registry
from nas.preparation import Prepared, prepare
from nas.progress import Progress
from nas.result import SearchResult
from nas.search_plan import SearchPlan
from nas.session import Session
from nas.weights import WeightsStore, weights_directory
from search_spaces.errors import UserError, unknown_name
from workers.task import Executor, MakesCheckpoints

if TYPE_CHECKING:
    from workers.ray_connection import Connection

CHANGEABLE = ("cluster", "deadline", "insecure", "slots_per_gpu", "tune_directory", "workers")
"""Keys that may differ from now on when a search is resumed: they change nothing about what it finds."""


def search(config: RunConfig, *, listener: Callable[[Progress], None] = lambda progress: None) -> SearchResult:
    """Runs a new search to its end.

    Raises:
        UserError: see `prepare` and `checkpoint_place`; `Conflict` where the name is taken. Nothing is written then.
        KeyboardInterrupt: what had finished is kept, and the search can be resumed.
    """
    prepared = prepare(config)
    config = prepared.config
    weights = WeightsStore(weights_directory(config.db, config.weights))
    weights.check()
    _check_cluster(config)
    if config.weights is not None or is_postgresql(config.db):
        # Beside a file it needs no record, and may move with it.
        config = config.model_copy(update={"weights": str(weights.directory.absolute())})
    checkpoints = checkpoint_place(prepared, config.db)
    if config.checkpoints is not None:
        # Whoever resumes the search may do so in another directory.
        config = config.model_copy(update={"checkpoints": checkpoints})
    with Store.open(config.db, mode="create") as store:
        name = config.name or _free_name(store, config, prepared.data)
        named = config.model_copy(update={"name": name})
        store.create_search(
            Search(
                name=name,
                run=named.to_json(),
                space=config.space,
                controller=config.controller,
                data=prepared.data,
                seed=config.seed,
                budget=prepared.budget,
                created_at=time.time(),
                driver_host=driver.host(),
                driver_pid=driver.pid(),
                driver_started_at=driver.started_at(driver.pid()),
            )
        )
        _drive(prepared, name, store, weights, checkpoints, listener)
    return SearchResult(config.db, name)


def resume(
    name: str,
    db: str,
    *,
    trust_code: bool = False,
    changes: Mapping[str, Any] = MappingProxyType({}),
    listener: Callable[[Progress], None] = lambda progress: None,
) -> SearchResult:
    """Continues a search where it stopped; a complete one is left as it is.

    A database may come from anybody, so code that the search names (`module:attribute`) runs only with `trust_code`.
    `changes` are keys of the run that have another value here and now, some of `CHANGEABLE`.

    Raises:
        UserError: the search names such code and it is not trusted.
        NotFound: there is no such database or search.
        Conflict: another process drives the search now.
    """
    for key in changes:
        if key not in CHANGEABLE:
            raise unknown_name("change of a search that is resumed", key, CHANGEABLE)
    with Store.open(db, mode="write") as store:
        found = store.search(name)
        if found.state is SearchState.COMPLETE:
            return SearchResult(db, name)
        config = make_config({**dict(RunConfig.from_json(found.run)), **changes, "db": db})
        if not trust_code:
            _refuse_untrusted(name, config)
        prepared = prepare(config)
        _check_cluster(config)
        checkpoints = checkpoint_place(prepared, db)
        driver.claim(store, found)
        weights = WeightsStore(weights_directory(db, config.weights))
        _drive(prepared, name, store, weights, checkpoints, listener)
    return SearchResult(db, name)


def _refuse_untrusted(name: str, config: RunConfig) -> None:
    """Refuses a recorded run that names code outside nas and the installed packages, or a place on another machine."""
    named = {
        "space": config.space if ":" in config.space else None,
        "evaluator": config.evaluator if ":" in config.evaluator else None,
        "controller": config.controller if registry.is_own(config.controller) else None,
        "checkpoints": config.checkpoints if "://" in (config.checkpoints or "") else None,
    }
    code = ", ".join(f"{key} {value!r}" for key, value in named.items() if value is not None)
    if code:
        raise UserError(
            f"search {name!r} would run code or reach a place that its database names ({code}); "
            "if you trust it, resume with --trust-code"
        )


def checkpoint_place(prepared: Prepared, db: str) -> str | None:
    """Where the evaluations of a run keep their checkpoints; None where they make none or have no place for them.

    Raises:
        UserError: the run names a place and its evaluator makes none.
        Conflict: nothing can be written there.
    """
    given = prepared.config.checkpoints
    if not isinstance(prepared.evaluator, MakesCheckpoints):
        if given is not None:
            raise UserError(f"checkpoints: the evaluator {prepared.config.evaluator!r} makes none; leave it out")
        return None
    if given is None:
        if is_postgresql(db):
            return None
        beside = Path(f"{database_path(db)}.checkpoints").absolute()
        if not beside.exists():
            # It can be made where the database can.
            return str(beside)
        given = str(beside)
    from workers.checkpoint_place import CheckpointPlace

    return CheckpointPlace.checked(given).url


def make_executor(prepared: Prepared) -> Executor:
    """The executor that the run names."""
    config = prepared.config
    if config.executor == "serial":
        from workers.serial import SerialExecutor

        return SerialExecutor(prepared.evaluator)
    if config.executor == "ray_tune":
        from workers.ray_tune import RayTuneExecutor

        return RayTuneExecutor(
            prepared.evaluator,
            workers=config.workers,
            storage_path=config.tune_directory,
            slots_per_gpu=config.slots_per_gpu,
            deadline_seconds=config.deadline,
            connection=_connection(config),
        )
    from workers.ray_pool import RayPoolExecutor

    return RayPoolExecutor(
        prepared.evaluator,
        workers=config.workers,
        slots_per_gpu=config.slots_per_gpu,
        deadline_seconds=config.deadline,
        connection=_connection(config),
    )


def _connection(config: RunConfig) -> "Connection | None":
    address = config.cluster or os.environ.get("RAY_ADDRESS")
    if address is None:
        return None
    from workers.ray_connection import Connection

    return Connection(address, insecure=config.insecure)


def _check_cluster(config: RunConfig) -> None:
    """Refuses a cluster that cannot be used, before anything is written."""
    connection = None if config.executor == "serial" else _connection(config)
    if connection is not None:
        from workers.ray_connection import check

        check(connection)


def _drive(
    prepared: Prepared,
    name: str,
    store: Store,
    weights: WeightsStore,
    checkpoints: str | None,
    listener: Callable[[Progress], None],
) -> None:
    config = prepared.config
    plan = SearchPlan(
        name=name,
        space=config.space,
        data=prepared.data,
        budget=prepared.budget,
        epochs=prepared.epochs,
        seed=config.seed,
        training_seed=config.training_seed,
        objectives=prepared.objectives,
        constraints=prepared.constraints,
        evaluation_key=prepared.evaluation_key,
        reported=prepared.evaluator.reported,
        time_budget_seconds=config.time_budget,
        stopping=prepared.stopping,
        checkpoints=checkpoints,
    )
    session = Session(plan, prepared.controller, store, weights, listener=listener)
    state = SearchState.INTERRUPTED
    try:
        make_executor(prepared).run(session)
        state = SearchState.COMPLETE
    finally:
        session.close()
        driver.release(store, name, state)


def _free_name(store: Store, config: RunConfig, data: str) -> str:
    """The first of CONTROLLER-DATA-1, -2, … that no search has."""
    taken = {summary.search.name for summary in store.searches()}
    stem = f"{config.controller.replace(':', '-')}-{data}"
    return next(name for number in count(1) if (name := f"{stem}-{number}") not in taken)

"""How the values of `db.trial` become rows and come back, exactly."""

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from db.schema import FIGURES
from db.trial import ArchitectureRecord, Measurement, Search, SearchState, Trial, TrialState, is_sha256
from search_spaces.choices import Genotype

Record = dict[str, Any]

_INT64 = range(-(2**63), 2**63)
_LARGEST = int(sys.float_info.max)
"""Larger whole numbers could not be compared with fractions."""


def search_record(search: Search) -> Record:
    """The row of `searches`."""
    return {
        "name": search.name,
        "run": search.run,
        "space": search.space,
        "controller": search.controller,
        "data": search.data,
        "seed": search.seed,
        "budget": search.budget,
        "state": str(search.state),
        "created_at": search.created_at,
        "driver_host": search.driver_host,
        "driver_pid": search.driver_pid,
        "driver_started_at": search.driver_started_at,
    }


def search_from(row: Row[Any]) -> Search:
    """The search in a row of `searches`."""
    return Search(
        name=row.name,
        run=row.run,
        space=row.space,
        controller=row.controller,
        data=row.data,
        seed=row.seed,
        budget=row.budget,
        state=SearchState(row.state),
        created_at=row.created_at,
        driver_host=row.driver_host,
        driver_pid=row.driver_pid,
        driver_started_at=row.driver_started_at,
    )


def architecture_record(record: ArchitectureRecord) -> Record:
    """The row of `architectures`."""
    columns: Record = dict.fromkeys(FIGURES)
    others = {}
    for name, value in record.figures.items():
        if name in columns and type(value) is int and value in _INT64:
            columns[name] = value
        else:
            others[name] = value
    return {
        "key": record.key,
        "space": record.space,
        "document": record.document,
        **columns,
        "other_figures": _numbers_to_json(others),
    }


def architecture_from(row: Row[Any]) -> ArchitectureRecord:
    """The architecture in a row of `architectures`."""
    columns = ((name, getattr(row, name)) for name in FIGURES)
    figures = {name: value for name, value in columns if value is not None}
    return ArchitectureRecord(
        key=row.key,
        space=row.space,
        document=row.document,
        figures=figures | _numbers_from_json(row.other_figures),
    )


def trial_record(search_id: int, trial: Trial) -> Record:
    """The row of `trials`."""
    return {**proposal_record(search_id, trial), **result_record(trial)}


def proposal_record(search_id: int, trial: Trial) -> Record:
    """The part of a row of `trials` that stays as it was proposed."""
    return {
        "search_id": search_id,
        "proposal": trial.proposal,
        "number": trial.number,
        "genotype": trial.genotype.to_json(),
        "architecture_key": trial.key,
        "evaluation_key": trial.evaluation_key,
        "data": trial.data,
        "fidelity": trial.fidelity,
        "seed": trial.seed,
        "parent": trial.parent,
        "mutation": trial.mutation,
        "information": json.dumps(dict(trial.information)),
    }


def result_record(trial: Trial) -> Record:
    """The part of a row of `trials` that changes once the trial is proposed."""
    reused_search, reused_number = trial.reused_from or (None, None)
    return {
        "state": str(trial.state),
        "attempts": trial.attempts,
        "worker": trial.worker,
        "started_at": trial.started_at,
        "finished_at": trial.finished_at,
        "seconds": trial.seconds,
        "metrics": _numbers_to_json(trial.values),
        "reason": _storable(trial.reason),
        "reused_search": reused_search,
        "reused_number": reused_number,
        "observed": trial.observed,
        "weights_sha256": trial.weights_sha256,
    }


def trial_from(row: Row[Any]) -> Trial:
    """The trial in a row of `trials`."""
    return Trial(
        proposal=row.proposal,
        number=row.number,
        state=TrialState(row.state),
        genotype=Genotype.from_json(row.genotype),
        key=row.architecture_key,
        evaluation_key=row.evaluation_key,
        data=row.data,
        fidelity=row.fidelity,
        seed=row.seed,
        parent=row.parent,
        mutation=row.mutation,
        information=json.loads(row.information),
        attempts=row.attempts,
        worker=row.worker,
        started_at=row.started_at,
        finished_at=row.finished_at,
        seconds=row.seconds,
        values=_numbers_from_json(row.metrics),
        reason=row.reason,
        reused_from=None if row.reused_search is None else (row.reused_search, row.reused_number),
        observed=row.observed,
        weights_sha256=_digest(row.weights_sha256),
    )


def measurement_record(proposal: int, measurement: Measurement) -> Record:
    """The row of `measurements`, without its search."""
    return {"proposal": proposal, "epoch": measurement.epoch, "metrics": _numbers_to_json(measurement.values)}


def measurement_from(row: Row[Any]) -> Measurement:
    """The measurement in a row of `measurements`."""
    return Measurement(epoch=row.epoch, values=_numbers_from_json(row.metrics))


def _numbers_to_json(values: Mapping[str, float]) -> str:
    """A JSON object; what JSON has no number for is the text `nan`, `inf` or `-inf`, so that SQL can read it too."""
    return json.dumps({name: str(value) if _has_no_json(value) else value for name, value in values.items()})


def _numbers_from_json(text: str) -> dict[str, float]:
    values: object = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"{text[:40]!r} is no JSON object")
    return {name: _number(value) for name, value in values.items()}


def _number(value: object) -> float:
    """A number from JSON, where nan and the infinities are texts."""
    if value in ("nan", "inf", "-inf"):
        return float(str(value))
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < _LARGEST):
        return value
    raise ValueError(f"{str(value)[:40]!r} is no number")


def _digest(text: str | None) -> str | None:
    if text is not None and not is_sha256(text):
        raise ValueError(f"{text[:80]!r} is no SHA-256")
    return text


def _has_no_json(value: float) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _storable(reason: str | None) -> str | None:
    """`reason` with escapes for what an engine cannot hold: it quotes other people's errors and must never be one."""
    return None if reason is None else reason.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def is_row(row: Row[Any], record: Record) -> bool:
    """Whether a row says what `record` says, to the last bit; it may say more."""
    return all(row._mapping[name] == value for name, value in record.items())

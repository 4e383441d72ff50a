"""Ordinary values for the tests of the database."""

from dataclasses import replace
from typing import Any

from db import ArchitectureRecord, Search, Trial, TrialState
from search_spaces.choices import Genotype

KEY = "0123456789abcdef" * 2


def search(name: str = "digits", **changes: Any) -> Search:
    plain = Search(name, '{"trials": 30}', "cellular", "reinforce", "digits", seed=1, budget=30, created_at=1.7e9)
    return replace(plain, **changes)


def architecture(key: str = KEY, **figures: float) -> ArchitectureRecord:
    return ArchitectureRecord(key, "cellular", '{"format": "nas.architecture"}', figures or {"params": 7, "macs": 9})


def trial(proposal: int = 0, **changes: Any) -> Trial:
    plain = Trial(
        proposal=proposal,
        number=proposal,
        state=TrialState.WAITING,
        genotype=Genotype((("stem.width", 16), ("inputs", (0, 2)))),
        key=KEY,
        evaluation_key="training digits 3",
        data="digits",
        fidelity=3,
        seed=11,
        values={"params": 7},
    )
    return replace(plain, **changes)


def rejected(proposal: int, **changes: Any) -> Trial:
    return trial(proposal, number=None, state=TrialState.REJECTED, reason="params 7 > 5", **changes)


def complete(waiting: Trial, **changes: Any) -> Trial:
    done = replace(
        waiting,
        state=TrialState.COMPLETE,
        attempts=1,
        worker="serial",
        started_at=1.7e9,
        finished_at=1.7e9 + 2,
        seconds=1.9,
        values={**waiting.values, "val_accuracy": 0.9},
    )
    return replace(done, **changes)

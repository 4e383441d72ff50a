"""From the database to a directory: finds an architecture and its weights, exports them, and measures what was exported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import Report, analyze
from db.store import Store
from db.trial import Trial, TrialState
from nas.export.directory import export
from nas.export.verify import clean_accuracy
from nas.result import SearchResult
from nas.weights import WeightsStore, weights_directory
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from workers.data import load_data, load_test


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What was exported, and how accurate the exported files are."""

    key: str
    params: int
    macs: int
    files: tuple[Path, ...]
    has_weights: bool
    data: str | None = None
    val_accuracy: float | None = None
    """Of the trial whose weights these are."""
    test_accuracy: float | None = None
    """Of the exported `model.py` with the exported weights, on images that no search has seen."""
    test_images: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "key": self.key,
            "params": self.params,
            "macs": self.macs,
            "files": [str(path) for path in self.files],
            "has_weights": self.has_weights,
            "data": self.data,
            "val_accuracy": self.val_accuracy,
            "test_accuracy": self.test_accuracy,
            "test_images": self.test_images,
        }


def hand_over(target: str, *, db: str, formats: tuple[str, ...], out: Path) -> HandedOver:
    """Exports the architecture `target`, a key or `SEARCH:best`, to the new directory `out`.

    The weights are those that a search kept for it, the most accurate ones where several did. A `model.py` with
    weights is measured on the test images of the data set that it was trained on, in a clean process.

    Raises:
        NotFound: there is no such database, search or architecture.
        Conflict: `out` exists and is not an empty directory.
        UserError: a format is unknown, the kept weights are damaged, or a file does not verify.
    """
    key = _key(target, db)
    with Store.open(db, mode="read") as store:
        record = store.architecture(key)
        kept = [
            (search, trial) for search, trial in store.history(record.key) if trial.weights_sha256 and _accuracy(trial)
        ]
        weights_store = WeightsStore(weights_directory(store.path))
    architecture = Architecture.from_json(record.document)
    report = analyze(architecture)
    search, trial = max(kept, key=lambda pair: _accuracy(pair[1]), default=(None, None))
    weights = inputs = None
    if trial is not None:
        assert trial.weights_sha256 is not None
        weights = weights_store.load(trial.weights_sha256)
        inputs = (load_data(trial.data).validation.images[:64],)
    files = export(
        architecture,
        out=out,
        to=formats,
        weights=weights,
        title=f"Network {record.key[:12]} of the search space {record.space}",
        notes=_notes(report, search, trial),
        inputs=inputs,
    )
    if trial is None:
        return HandedOver(record.key, report.params, report.macs, tuple(files), has_weights=False)
    test = load_test(trial.data)
    return HandedOver(
        record.key,
        report.params,
        report.macs,
        tuple(files),
        has_weights=True,
        data=trial.data,
        val_accuracy=_accuracy(trial),
        test_accuracy=clean_accuracy(out, test.images, test.labels) if "python" in formats else None,
        test_images=len(test),
    )


def _key(target: str, db: str) -> str:
    search, colon, which = target.rpartition(":")
    if not colon:
        return target
    if which != "best":
        raise UserError(f"export target {target!r}: give a key or SEARCH:best")
    return SearchResult(db, search).best.key


def _accuracy(trial: Trial) -> float:
    return trial.values.get("val_accuracy", 0.0) if trial.state is TrialState.COMPLETE else 0.0


def _notes(report: Report, search: str | None, trial: Trial | None) -> tuple[str, ...]:
    notes = [f"{report.params:,} parameters, {report.macs:,} MACs, {report.peak_inference_bytes:,} bytes at the peak."]
    if report.receptive_field is not None:
        sizes = "x".join(str(window.size) for window in report.receptive_field)
        notes.append(f"Receptive field of the output: {sizes}.")
    if trial is not None:
        notes.append(
            f"Trained for {trial.fidelity} epochs on {trial.data} by trial {trial.number} of the search {search}; "
            f"validation accuracy {_accuracy(trial):.4f}."
        )
    return tuple(notes)

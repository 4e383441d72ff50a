"""From the database to a directory: finds an architecture and its weights, exports them, and measures what was exported."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis import Report, analyze
from db.store import Store
from db.trial import ArchitectureRecord, Trial
from nas.config import RunConfig
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
    preprocessing: str | None = None
    """How raw images become what the model reads, as a Python expression of `images`."""

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
            "preprocessing": self.preprocessing,
        }


def hand_over(target: str, *, db: str, formats: tuple[str, ...], out: Path) -> HandedOver:
    """Exports the architecture `target`, a key or `SEARCH:best`, to the new directory `out`.

    For `SEARCH:best` the weights are those of that search's best trial; for a key the most accurate ones that any
    search kept. A `model.py` with weights is measured on the test images of the data set that it was trained on, in a
    clean process.

    Raises:
        NotFound: there is no such database, search or architecture.
        Conflict: `out` exists and is not an empty directory.
        UserError: a format is unknown, the kept weights are damaged, or a file does not verify.
    """
    with Store.open(db, mode="read") as store:
        record, search, trial = _find(target, db, store)
        files = None if trial is None else _files(db, store, record.key, search, trial)
    architecture = Architecture.from_json(record.document)
    report = analyze(architecture)
    weights = inputs = None
    if trial is not None:
        assert files is not None and trial.weights_sha256 is not None
        weights = files.load(trial.weights_sha256)
        inputs = (load_data(trial.data).validation.images[:64],)
    written = export(
        architecture,
        out=out,
        to=formats,
        weights=weights,
        title=f"Network {record.key[:12]} of the search space {record.space}",
        notes=_notes(report, search, trial),
        inputs=inputs,
    )
    handed = HandedOver(record.key, report.params, report.macs, tuple(written), has_weights=trial is not None)
    if trial is None:
        return handed
    test = load_test(trial.data)
    return replace(
        handed,
        data=trial.data,
        val_accuracy=trial.values.get("val_accuracy"),
        test_accuracy=clean_accuracy(out, test.images, test.labels) if "python" in formats else None,
        test_images=len(test),
        preprocessing=load_data(trial.data).preprocessing,
    )


def _find(target: str, db: str, store: Store) -> tuple[ArchitectureRecord, str | None, Trial | None]:
    """The architecture, and the search and trial whose weights go with it, if any were kept."""
    search, colon, which = target.rpartition(":")
    if colon:
        if which != "best":
            raise UserError(f"export target {target!r}: give a key or SEARCH:best")
        trial = SearchResult(db, search).best.trial
        record = store.architecture(trial.key)
        return (record, search, trial) if trial.weights_sha256 else (record, None, None)
    record = store.architecture(target)
    kept = [(name, trial) for name, trial in store.history(record.key) if trial.weights_sha256]
    best = max(kept, key=lambda pair: pair[1].values.get("val_accuracy", 0.0), default=(None, None))
    return record, *best


def _files(db: str, store: Store, key: str, search: str | None, trial: Trial) -> WeightsStore:
    """Where the trial's weights are: where a result was taken over, they stay with the search that trained them."""
    assert search is not None and trial.weights_sha256 is not None
    names = dict.fromkeys([search, *(name for name, _ in store.history(key))])
    told = [RunConfig.from_json(store.search(name).run).weights for name in names]
    places = [WeightsStore(weights_directory(db, place)) for place in dict.fromkeys(told)]
    return next((place for place in places if place.path(trial.weights_sha256).exists()), places[0])


def _notes(report: Report, search: str | None, trial: Trial | None) -> tuple[str, ...]:
    notes = [f"{report.params:,} parameters, {report.macs:,} MACs, {report.peak_inference_bytes:,} bytes at the peak."]
    if report.receptive_field is not None:
        sizes = "x".join(str(window.size) for window in report.receptive_field)
        notes.append(f"Receptive field of the output: {sizes}.")
    if trial is not None:
        notes.append(
            f"Trained for {trial.fidelity} epochs on {trial.data} by trial {trial.number} of the search {search}; "
            f"validation accuracy {trial.values.get('val_accuracy', float('nan')):.4f}."
        )
        notes.append(f"It reads float32 images, from raw ones by: {load_data(trial.data).preprocessing}.")
    return tuple(notes)

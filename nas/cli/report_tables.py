"""The tables in which the commands show what a network costs and sees."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nas.cli.output import bytes_text, make_table, shape_text

if TYPE_CHECKING:
    from rich.console import Group

    from analysis import Layer, Report, Window
    from nas.study import Study


def figure_rows(report: "Report") -> list[tuple[str, object]]:
    """The figures that have a name for objectives, as rows of a table."""
    return list(report.figures().items())


def summary_rows(study: "Study") -> list[tuple[str, object, str]]:
    """All figures of a study as rows of a table, each with a reading that people take in at a glance."""
    from analysis.layer import last_map_of

    report, training, question = study.report, study.training, study.question
    rows: list[tuple[str, object, str]] = [
        (name, value, _reading(name, value)) for name, value in report.figures().items() if name != "receptive_field"
    ]
    if study.counts is not None:
        count = sum(study.counts.values())
        rows.insert(3, (f"counted by {question.convention}", count, _reading("", count)))
    how = f"{question.optimizer}, mixed precision" if question.mixed_precision else question.optimizer
    if training is None:
        rows.append(("peak_training_bytes", None, study.untrainable or ""))
    else:
        rows.append(("peak_training_bytes", training.peak_bytes, f"{bytes_text(training.peak_bytes)} with {how}"))
        rows.append(("saved for backward", training.saved_bytes, bytes_text(training.saved_bytes)))
    seen = "of an output, on the input" if report.receptive_field != () else "all of the input, which has no positions"
    rows.append(("receptive_field", windows_text(report.receptive_field), seen))
    last_map = last_map_of(report.layers)
    if last_map is not None:
        rows.append(("a position sees", windows_text(last_map.receptive_field), f"of the last map, {last_map.name}"))
    blind = report.unproductive
    rows.append(("unproductive layers", len(blind), f"from {blind[0]} on" if blind else ""))
    rows.extend(_time_rows(study))
    rows.extend(_trace_rows(study))
    return rows


def _time_rows(study: "Study") -> list[tuple[str, object, str]]:
    rows: list[tuple[str, object, str]] = []
    if study.latency is not None:
        measured = study.latency
        spread = f"{measured.low_ms:.4g} to {measured.high_ms:.4g} in {measured.repeats} runs on {measured.device}"
        rows.append(("latency_ms", measured.median_ms, spread))
    if study.roofline is not None:
        rows.append(("roofline_ms", study.roofline.latency_ms, f"at least, on {study.roofline.profile}"))
    return rows


def _trace_rows(study: "Study") -> list[tuple[str, object, str]]:
    """What a torch model's run could not tell."""
    from analysis import Report

    report = study.report
    if isinstance(report, Report):
        return []
    uncounted = ", ".join(f"{operation} ({times})" for operation, times in report.uncounted)
    note = f"their MACs are not in the figures: {uncounted}" if uncounted else "every operation is counted"
    rows: list[tuple[str, object, str]] = [("uncounted", sum(times for _, times in report.uncounted), note)]
    if report.without_rule:
        names = ", ".join(report.without_rule)
        rows.append(("receptive_field at most", len(report.without_rule), f"taken to mix all positions: {names}"))
    if report.traced_on == "cpu":
        rows.append(
            ("traced on", "cpu", "a run without numbers is not possible: the figures are those of a random input")
        )
    return rows


def compare_table(studies: Mapping[str, "Study"]) -> "Group":
    """One column for each network, one row for each figure."""
    columns = [
        {"input": ", ".join(study.inputs), **{name: value for name, value, _ in summary_rows(study)}}
        for study in studies.values()
    ]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, *(column.get(name) for column in columns)) for name in names]
    question = next(iter(studies.values())).question
    how = f"{question.optimizer}{', mixed precision' if question.mixed_precision else ''}"
    title = f"Side by side: batch {question.batch}, {question.dtype}, training with {how}"
    return make_table(title, ("figure", *studies), rows)


def layer_table(layers: Sequence["Layer"], *, counts: Mapping[str, int] | None = None, convention: str = "") -> "Group":
    """One row for each operation; the receptive field's size by axis, a dash where nothing is seen.

    `counts` adds a column with what `convention` counts in each layer.
    """
    columns = ["layer", "operation", "output", "params", "macs", *([convention] if counts is not None else [])]
    columns += ["weight_bytes", "activation_bytes", "flops/byte", "sees", "stride", "centre", "fraction", "note"]
    border = next((layer.name for layer in layers if layer.unproductive), None)
    rows = [
        (
            layer.name,
            layer.operation,
            shape_text(layer.output_shape),
            layer.params,
            layer.macs,
            *([counts[layer.name]] if counts is not None else []),
            layer.weight_bytes,
            layer.activation_bytes,
            round(layer.arithmetic_intensity, 2),
            *_sight(layer),
            ("unproductive, border" if layer.name == border else "unproductive") if layer.unproductive else "",
        )
        for layer in layers
    ]
    return make_table("Layers", columns, rows)


def _sight(layer: "Layer") -> tuple[object, object, object, object]:
    windows = layer.receptive_field
    if windows is None:
        return None, None, None, None
    return (
        windows_text(windows),
        "x".join(f"{float(window.stride):g}" for window in windows) or None,
        "x".join(f"{window.centre:g}" for window in windows) or None,
        layer.receptive_fraction,
    )


def windows_text(windows: "Sequence[Window] | None") -> str | None:
    """The size of a receptive field by axis (`427x427`); None where there is none, or the input has no axis."""
    return "x".join(str(window.size) for window in windows) if windows else None


def _reading(name: str, value: int | None) -> str:
    if value is None:
        return "not known"
    if name.endswith("_bytes"):
        return bytes_text(value)
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return ""

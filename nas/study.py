"""One network looked at in every way that was asked for: its report, a tool's count, the memory of training, latency."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import Report, analyze
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from search_spaces.ops import Shape

if TYPE_CHECKING:
    import torch

    from analysis.latency import Latency
    from analysis.roofline import RooflineEstimate
    from analysis.torch_model import ModuleReport
    from analysis.training_memory import TrainingMemory

_MODULE_CONVENTIONS = ("macs", "flops")
"""What a torch model's layers are counted in; other tools look at more than a run tells."""


@dataclass(frozen=True, slots=True)
class Question:
    """What people want to know of a network; the defaults ask for the report alone.

    Without `input_shapes` an architecture is looked at with its own. `input_dtypes` is for torch models: the number
    types of inputs that are not of the type `dtype`. `latency` names the device to measure on, `profile` the device to
    estimate for.
    """

    input_shapes: tuple[Shape, ...] = ()
    input_dtypes: tuple[str | None, ...] = ()
    batch: int = 1
    dtype: str = "float32"
    convention: str | None = None
    optimizer: str = "momentum"
    mixed_precision: bool = False
    latency: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """The answers to a `Question`; what was not asked for is None.

    `counts` has what the convention counts in each layer, by its name. `untrainable` says why `training` is None, where a
    training step of a torch model fails.
    """

    network: "Architecture | torch.nn.Module"
    report: "Report | ModuleReport"
    question: Question
    training: "TrainingMemory | None"
    untrainable: str | None = None
    counts: dict[str, int] | None = None
    latency: "Latency | None" = None
    roofline: "RooflineEstimate | None" = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs that the figures hold for: `3x224x224`, or `128:int64` where the number type is another."""
        if isinstance(self.network, Architecture):
            return tuple("x".join(map(str, shape)) for shape in self.network.input_shapes)
        return tuple(map(str, _of_module(self.report).inputs))

    def to_dict(self) -> dict[str, Any]:
        """The report under its JSON names, and what else was asked for."""
        document = self.report.to_dict()
        document["peak_training_bytes"] = document["training"] = None
        if self.training is not None:
            document["peak_training_bytes"] = self.training.peak_bytes
            document["training"] = {
                "optimizer": self.question.optimizer,
                "mixed_precision": self.question.mixed_precision,
                **self.training._asdict(),
            }
        if self.untrainable is not None:
            document["untrainable"] = self.untrainable
        if self.counts is not None:
            document["convention"] = {"name": self.question.convention, "count": sum(self.counts.values())}
            for layer in document["layers"]:
                layer["count"] = self.counts[layer["name"]]
        if self.latency is not None:
            document["latency"] = self.latency.to_dict()
        if self.roofline is not None:
            document["roofline"] = self.roofline.to_dict()
        return document


def study(network: "Architecture | torch.nn.Module", question: Question) -> Study:
    """Answers `question` on `network`.

    Raises:
        UserError: what was asked for cannot be told of such a network, or the name of an optimiser, a convention, a
            device or a profile is unknown.
    """
    shapes = question.input_shapes or None
    report: Report | ModuleReport
    counts = estimate = None
    if isinstance(network, Architecture):
        report = analyze(
            network,
            input_shape=shapes,
            input_dtypes=question.input_dtypes,
            batch=question.batch,
            dtype=question.dtype,
        )
        network = report.architecture
        if question.convention is not None:
            counts = _counts(network, question.convention, question.batch)
    else:
        _check_for_module(question)
        report = analyze(
            network,
            input_shape=shapes,
            input_dtypes=question.input_dtypes,
            batch=question.batch,
            dtype=question.dtype,
        )
        if question.convention is not None:
            counts = {layer.name: getattr(layer, question.convention) for layer in report.layers}
    if question.latency is not None or question.profile is not None:
        estimate = _roofline(report, question)
    training, untrainable = _training(report, question)
    return Study(
        network=network,
        report=report,
        question=question,
        training=training,
        untrainable=untrainable,
        counts=counts,
        latency=None if question.latency is None else _latency(network, report, question, question.latency),
        roofline=estimate,
    )


def _of_module(report: "Report | ModuleReport") -> "ModuleReport":
    from analysis.torch_model import ModuleReport

    assert isinstance(report, ModuleReport)
    return report


def _counts(architecture: Architecture, convention: str, batch: int) -> dict[str, int]:
    from analysis.conventions import layer_counts

    return {name: batch * count for name, count in layer_counts(architecture, convention).items()}


def _check_for_module(question: Question) -> None:
    if not question.input_shapes:
        raise UserError("a torch model does not tell the shape of its input; give it, like --input 3x224x224")
    if question.convention not in (None, *_MODULE_CONVENTIONS):
        raise UserError(
            f"--convention {question.convention} needs the graph of an architecture, which a torch model has not; "
            f"choose one of: {', '.join(_MODULE_CONVENTIONS)}"
        )


def _training(report: "Report | ModuleReport", question: Question) -> "tuple[TrainingMemory, None] | tuple[None, str]":
    options: dict[str, Any] = {"optimizer": question.optimizer, "mixed_precision": question.mixed_precision}
    if isinstance(report, Report):
        return report.training_memory(**options), None
    from analysis.torch_model import Untrainable

    try:
        return report.training_memory(**options), None
    except Untrainable as refusal:
        return None, str(refusal)


def _latency(
    network: "Architecture | torch.nn.Module", report: "Report | ModuleReport", question: Question, device: str
) -> "Latency":
    from analysis.latency import measure_latency

    inputs = () if isinstance(network, Architecture) else _of_module(report).inputs
    return measure_latency(
        network,
        input_shapes=tuple(each.shape for each in inputs),
        input_dtypes=tuple(each.dtype for each in inputs),
        device=device,
        batch=question.batch,
        dtype=question.dtype,
    )


def _roofline(report: "Report | ModuleReport", question: Question) -> "RooflineEstimate":
    from analysis.device_profile import find_profile
    from analysis.latency import measure_profile
    from analysis.roofline import bound, roofline

    if question.profile is None:
        profile = measure_profile(question.latency or "cpu", dtype=question.dtype)
    else:
        profile = find_profile(question.profile)
    if isinstance(report, Report):
        return roofline(report.architecture, profile, batch=question.batch, dtype=question.dtype)
    return bound(report.operation_costs(), profile, question.dtype)

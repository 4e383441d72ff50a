"""One network looked at in every way that was asked for: its report, a tool's count, the memory of training, latency."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import analyze
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from search_spaces.ops import Shape

if TYPE_CHECKING:
    import torch
    from analysis.torch_model import ModuleReport

    from analysis import Report
    from analysis.latency import Latency
    from analysis.roofline import RooflineEstimate
    from analysis.training_memory import TrainingMemory


@dataclass(frozen=True, slots=True)
class Question:
    """What people want to know of a network; the defaults ask for the report alone.

    Without `input_shapes` an architecture is looked at with its own. `latency` names the device to measure on,
    `profile` the device to estimate for.
    """

    input_shapes: tuple[Shape, ...] = ()
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

    `counts` has what the convention counts in each layer, by its name.
    """

    network: "Architecture | torch.nn.Module"
    report: "Report | ModuleReport"
    question: Question
    training: "TrainingMemory"
    counts: dict[str, int] | None = None
    latency: "Latency | None" = None
    roofline: "RooflineEstimate | None" = None

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """The shapes that the figures hold for."""
        known = self.network.input_shapes if isinstance(self.network, Architecture) else ()
        return self.question.input_shapes or known

    def to_dict(self) -> dict[str, Any]:
        """The report under its JSON names, and what else was asked for."""
        document = self.report.to_dict()
        document["peak_training_bytes"] = self.training.peak_bytes
        document["training"] = {
            "optimizer": self.question.optimizer,
            "mixed_precision": self.question.mixed_precision,
            **self.training._asdict(),
        }
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
    counts = estimate = latency = None
    if isinstance(network, Architecture):
        report = analyze(network, input_shape=shapes, batch=question.batch, dtype=question.dtype)
        network = report.architecture
        if question.convention is not None:
            counts = _counts(network, question.convention, question.batch)
        if question.latency is not None or question.profile is not None:
            estimate = _roofline(network, question)
    else:
        _refuse_for_modules(question)
        report = analyze(network, input_shape=shapes, batch=question.batch, dtype=question.dtype)
    if question.latency is not None:
        from analysis.latency import measure_latency

        latency = measure_latency(
            network,
            input_shapes=question.input_shapes,
            device=question.latency,
            batch=question.batch,
            dtype=question.dtype,
        )
    return Study(
        network=network,
        report=report,
        question=question,
        training=report.training_memory(optimizer=question.optimizer, mixed_precision=question.mixed_precision),
        counts=counts,
        latency=latency,
        roofline=estimate,
    )


def _counts(architecture: Architecture, convention: str, batch: int) -> dict[str, int]:
    from analysis.conventions import layer_counts

    return {name: batch * count for name, count in layer_counts(architecture, convention).items()}


def _roofline(architecture: Architecture, question: Question) -> "RooflineEstimate":
    from analysis.device_profile import find_profile
    from analysis.latency import measure_profile
    from analysis.roofline import roofline

    if question.profile is None:
        profile = measure_profile(question.latency or "cpu", dtype=question.dtype)
    else:
        profile = find_profile(question.profile)
    return roofline(architecture, profile, batch=question.batch, dtype=question.dtype)


def _refuse_for_modules(question: Question) -> None:
    for option, value in (("--convention", question.convention), ("--profile", question.profile)):
        if value is not None:
            raise UserError(f"{option} needs the graph of an architecture, which a torch model has not; leave it out")

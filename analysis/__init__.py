"""What an architecture costs and sees: parameters, MACs, memory and receptive field, before anything is trained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from analysis.layer import Layer
from analysis.receptive_field import Window
from analysis.report import FIGURES, Report, analyze
from analysis.seen_positions import seen_box
from analysis.training_memory import TrainingMemory

if TYPE_CHECKING:
    from analysis.batch import BatchReport, analyze_batch

__all__ = [
    "FIGURES",
    "BatchReport",
    "Layer",
    "Report",
    "TrainingMemory",
    "Window",
    "analyze",
    "analyze_batch",
    "seen_box",
]


def __getattr__(name: str) -> Any:
    # numpy takes longer to import than all of analysis.
    if name in ("BatchReport", "analyze_batch"):
        return getattr(import_module("analysis.batch"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

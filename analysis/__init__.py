"""What an architecture costs and sees: parameters, MACs, memory and receptive field, before anything is trained."""

from analysis.layer import Layer
from analysis.receptive_field import Window, seen_box
from analysis.report import FIGURES, Report, analyze
from analysis.training_memory import TrainingMemory

__all__ = ["FIGURES", "Layer", "Report", "TrainingMemory", "Window", "analyze", "seen_box"]

"""What an architecture costs and sees: parameters, MACs, memory and receptive field, before anything is trained."""

from analysis.layer import Layer
from analysis.receptive_field import Window, seen_box
from analysis.report import FIGURES, Report, analyze

__all__ = ["FIGURES", "Layer", "Report", "Window", "analyze", "seen_box"]

"""Panels for notebooks, each from one line.

They set traits and leave the work to the rooms below.
"""

from styletutor.widgets.budget import LessonBudget
from styletutor.widgets.explorer import LayerExplorer
from styletutor.widgets.gramlab import GramLab
from styletutor.widgets.reconstructions import ReconstructionLab
from styletutor.widgets.studio.panel import TransferStudio

__all__ = ["GramLab", "LayerExplorer", "LessonBudget", "ReconstructionLab", "TransferStudio"]

"""The optimisation core: `descend` moves a picture downhill on an objective, step by step."""

from styletutor.descent.method import Method
from styletutor.descent.steps import Step, Stop, descend

__all__ = ["Method", "Step", "Stop", "descend"]

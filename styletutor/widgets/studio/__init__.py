"""The transfer studio and its parts."""

from styletutor.widgets.studio.panel import TransferStudio

__all__ = ["TransferStudio"]

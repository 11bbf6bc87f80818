"""The command line."""

from styletutor.cli.words import main

__all__ = ["main"]

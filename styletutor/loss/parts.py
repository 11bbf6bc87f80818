"""Parts of a loss by name: a term and, for most, a layer, as in "style relu1_1" and "tv"."""

from __future__ import annotations

from typing import NamedTuple

TERMS = ("content", "style", "tv")


class Part(NamedTuple):
    """One summand of the total; written as its name, with a space between."""

    term: str
    layer: str = ""

    @classmethod
    def of(cls, name: str) -> Part:
        """The part of that name."""
        return cls(*name.split(" ", 1))

    def __str__(self) -> str:
        return " ".join(filter(None, self))

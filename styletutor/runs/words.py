"""Settings as words of a command line, whose parser then checks every value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def as_options(settings: Mapping[str, Any], without: Collection[str] = ()) -> list[str]:
    """{"size": 64, "style_layers": {"relu1_1": 2.0}} → ["--size=64", "--style-layers", …].

    A value in a list never becomes an option: one that begins with "-" is written as a path, "./-".
    """
    words = []
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if name in without or value is None:
            continue
        if isinstance(value, dict):
            value = [f"{key}={weight}" for key, weight in value.items()]
        if isinstance(value, list):
            items = (str(item) for item in value)
            words += [option, *(f"./{item}" if item.startswith("-") else item for item in items)]
        elif isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:
            words.append(f"{option}={value}")
    return words

"""Reading a report back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from styletutor.network.vgg import VGG
from styletutor.network.weightfiles import VGG19_SHA256
from styletutor.network.weights import VGG19_TORCHVISION
from styletutor.runs.checkpoints import read_checkpoint

MOST_BYTES = 2**27  # of a report; it has some hundred for each evaluation
# What a report or a checkpoint may set: what makes the picture, and nothing that writes a file.
SETTINGS = {
    "content", "styles", "style_at", "image", "layers", "blend", "masks", "size", "width",
    "style_scale", "colours", "recipe", "content_layers", "style_layers", "content_weight",
    "style_weight", "tv_weight", "pooling", "start", "noise_blend", "seed", "optimiser",
    "learning_rate", "beta1", "beta2", "epsilon", "coarse_to_fine", "evaluations", "precision",
    "tile", "weights",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a run is repeated by: its settings, and what no option says.

    `sha256` is of the weights, `turned` which of them were turned on the way (evaluation from which
    they counted → name → value), and `stop_after` where it was interrupted.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    turned: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    stop_after: int | None = None


def read_report(path: str, command: str) -> Replay:
    """The report of `command` at `path`; an error of one line for anything else."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            data = file.read(MOST_BYTES)
        report = json.loads(data.decode("utf-8-sig"))
        sha256 = report["backbone"]["sha256"]
        str(report["command"] + sha256)
        if not isinstance(report["settings"], dict):
            raise TypeError
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no report {path}; check the name") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(
            f"{path} is not a report of styletutor; give one made by --report"
        ) from None
    stop_after = report.get("evaluations") if report.get("interrupted") else None
    turned, settings = _turned(report, path), _check(report, path, command)
    return Replay(settings=settings, sha256=sha256, turned=turned, stop_after=stop_after)


def read_saved(path: str, command: str) -> Replay:
    """The same of a checkpoint, which keeps by itself what was turned and how far it came."""
    about = read_checkpoint(path)[0]["about"]
    return Replay(settings=_check(about, path, command), sha256=about["weights sha256"])


def _check(report: Mapping[str, Any], path: str, command: str) -> dict[str, Any]:
    """The settings in it, if it is of `command` and of named files."""
    if report["command"] != command:
        raise ValueError(f"{path} is of `{report['command']}`, not of `{command}`")
    if "tensor with sha256" in json.dumps(report["settings"]):
        raise ValueError(f"{path} is of pictures without a name; save them and start from files")
    if isinstance(report["settings"].get("blend"), dict):
        raise ValueError(f"{path} has a blend for each layer; only Python can repeat that")
    return report["settings"]


def check_network(vgg: VGG, sha256: str | None) -> None:
    """Raise ValueError, with what to ask for, unless the network is the one of a report."""
    if sha256 not in (None, vgg.sha256):
        torchvisions = sha256.startswith(VGG19_SHA256)
        raise ValueError(
            f"the weights {vgg.name!r} are not those of the report, whose file has the SHA-256 "
            f"{sha256[:8]}…; give --weights {VGG19_TORCHVISION if torchvisions else 'FILE'}"
        )


def _turned(report: Mapping[str, Any], path: str) -> dict[int, dict[str, Any]]:
    try:
        return {int(row["evaluation"]): dict(row["weights"]) for row in report.get("turned") or ()}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{path} says in a strange way which weights were turned") from None

"""What happens on a worker: its network is loaded once, and a picture is painted."""

from __future__ import annotations

import functools
import signal
import tempfile
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from styletutor.descent import Step, Stop
from styletutor.machine import is_out_of_memory
from styletutor.network.vgg import VGG
from styletutor.network.vgg19 import cached, find_vgg19
from styletutor.network.weights import VGG19_TORCHVISION, load_vgg
from styletutor.pictures.images import to_png
from styletutor.runs.solve import OnStep
from styletutor.runs.transfer import transfer
from styletutor.sweeps.grid import with_pictures
from styletutor.sweeps.sources import Unpacked
from styletutor.version import __version__

_loading = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Order:
    """A picture to paint: the arguments of `transfer` with pictures as they travel, and with whom.

    `weights` is a name or a file and `sha256` theirs, `version` of styletutor; a worker that has
    others does not begin. `threads` are PyTorch's, `device` as in `load_vgg`.
    """

    settings: Mapping[str, Any] = field(repr=False)
    weights: str
    sha256: str
    device: str | None
    threads: int
    version: str = __version__


@dataclass(frozen=True, kw_only=True)
class Painting:
    """What comes back: the picture as the bytes of a PNG file, its report, and what was warned."""

    png: bytes = field(repr=False)
    report: dict[str, Any] = field(repr=False)
    warned: tuple[str, ...]


def ignore_ctrl_c() -> None:
    """A terminal tells it to all processes in it; whoever began the sweep ends it in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def other_version(version: str) -> str:
    """What is wrong with this worker for whoever has such a version; "" if nothing is."""
    if version == __version__:
        return ""
    return f"has styletutor {__version__}, not {version}; install the same version there"


def fault(weights: str, sha256: str, version: str, device: str | None) -> str:
    """What is wrong with this worker for such pictures; "" if nothing is."""
    wrong = other_version(version)
    if wrong:
        return wrong
    try:
        own = _network(weights, device).sha256
    except (ValueError, OSError) as error:
        return f"cannot load the weights {weights!r}: {' '.join(str(error).split())}"
    if own != sha256:
        return (
            f"has other weights {weights!r}, with the SHA-256 {own[:8]}…, not {sha256[:8]}…; copy "
            "the file there, or name other weights"
        )
    return ""


def paint(order: Order) -> Painting:
    """Paint it; raises ValueError, in one line, for what cannot be painted."""
    wrong = fault(order.weights, order.sha256, order.version, order.device)
    if wrong:
        raise ValueError(f"a worker {wrong}")
    torch.set_num_threads(order.threads)
    vgg = _network(order.weights, order.device)
    # In dask's own folder, which is swept if a worker is killed: students' faces are in the files.
    scratch, look = _scratch_and_look()
    with (
        tempfile.TemporaryDirectory(dir=scratch) as folder,
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        unpacked = Unpacked(folder)
        settings = with_pictures(order.settings, unpacked)
        try:
            result = transfer(**settings, vgg=vgg, on_step=look, progress=False)
        except (ValueError, OSError) as error:
            raise ValueError(unpacked.renamed(" ".join(str(error).split()))) from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ValueError("out of memory; use a smaller size, or fewer workers") from None
        if result.interrupted:
            raise ValueError("ended early, out of memory; use a smaller size, or fewer workers")
        report = result.report()
        report["settings"] = unpacked.renamed(report["settings"])
    said = dict.fromkeys(" ".join(str(each.message).split()) for each in warned)
    return Painting(png=to_png(result.image), report=report, warned=tuple(said))


def _network(weights: str, device: str | None) -> VGG:
    with _loading:  # or two threads of a worker would each load it
        return _loaded(weights, device)


@functools.lru_cache(maxsize=2)
def _loaded(weights: str, device: str | None) -> VGG:
    here = {"vgg19": find_vgg19, VGG19_TORCHVISION: lambda: cached().is_file()}
    if weights in here and not here[weights]():  # thirty workers shall not download it thirty times
        raise FileNotFoundError("they are not there, and a worker downloads nothing")
    return load_vgg(weights, device=device)


def _scratch_and_look() -> tuple[str | None, OnStep | None]:
    """Where files may lie for a while, and what ends a run whose task nobody waits for any more."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # outside a worker
        return None, None
    task = worker.state.tasks[worker.get_current_task()]

    def look(_: Step) -> None:
        if task.state == "cancelled":
            raise Stop

    return worker.local_directory, look

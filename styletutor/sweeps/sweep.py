"""The verb `sweep`: transfers for all points of a grid, in one folder."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styletutor.network.weights import load_vgg
from styletutor.pictures.images import is_whole
from styletutor.pictures.writing import PathLike
from styletutor.runs.checkpoints import is_interrupt, without_interrupts
from styletutor.runs.inputs import Picture
from styletutor.sweeps.crew import check_installed, hired
from styletutor.sweeps.folder import Folder, Painted, make_key, make_name
from styletutor.sweeps.grid import Axis, Point, Style, make_grid, with_pictures
from styletutor.sweeps.sources import Sources
from styletutor.sweeps.worker import Order, Painting

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, kw_only=True)
class Job:
    """A point of the grid: its picture's name, the key that tells when it is done, its network."""

    point: Point
    name: str
    key: str
    weights: str
    sha256: str

    @property
    def place(self) -> tuple[int, ...]:
        return self.point.place


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep has painted.

    `axes` are content, style and what else was varied, `points` the grid, `pictures` has a
    `Painted` for each place (indices on the axes) that is done, `failed` for each other one that
    was tried why it is not. `fresh` says how many were painted now, `sheets` are the contact
    sheets, and `interrupted` says that it was ended early.
    """

    folder: Path
    axes: list[Axis]
    points: list[Point]
    pictures: dict[tuple[int, ...], Painted]
    failed: dict[tuple[int, ...], str]
    fresh: int
    sheets: list[Path]
    interrupted: bool

    def named(self, place: tuple[int, ...]) -> str:
        """What is varied at a place, in words."""
        pairs = zip(self.axes, place, strict=True)
        return ", ".join(axis.caption(at) for axis, at in pairs if axis.matters)

    def __repr__(self) -> str:
        axes = " × ".join(f"{len(axis.values)} {axis.words}" for axis in self.axes)
        faults = f", {len(self.failed)} failed" if self.failed else ""
        early = ", interrupted" if self.interrupted else ""
        done = f"{len(self.pictures)} of {len(self.points)} pictures in {self.folder}"
        return f"Sweep({axes}: {done}, {self.fresh} of them painted now{faults}{early})"


def sweep(
    contents: Picture | Sequence[Picture],
    styles: Style | Sequence[Style],
    output: PathLike,
    *,
    vary: Mapping[str, Iterable[Any]] | None = None,
    scheduler: str | Client | None = None,
    workers: int | None = None,
    device: str | None = None,
    on_picture: Callable[[Painted], object] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Sweep:
    """Paint every content in every style with every combination of settings, into a folder.

    `vary` names settings of `transfer`, or "weights" as in `load_vgg`, with their values, as in
    {"style_weight": [100, 1000], "seed": [0, 1]}; other `settings` are the same for all. A style
    that is itself a list is a mix. The folder `output` gets a PNG file and a report for each
    picture as soon as it is done, and contact sheets of all. A picture whose settings, files and
    weights are those of one that lies there whole is not painted again: after a stop or a kill the
    same call goes on.

    It runs on `workers` processes of this machine (None: one for each core, as far as the memory
    goes; they start anew, so a script has to call this under `if __name__ == "__main__":`), or on
    the cluster behind the `scheduler`, an address or a `distributed.Client`, whose workers are sent
    the pictures and must have the same version and the same weights. `on_picture` is called with
    each new `Painted`. Ctrl-C ends it early.

    Raises ModuleNotFoundError without dask, ValueError or FileNotFoundError for bad input before
    anything is painted, ConnectionError for a scheduler that does not answer, and OSError for a
    folder that cannot be written or is full. A picture that cannot be painted ends none of the
    others: it is in `failed`.
    """
    check_installed()
    if workers is not None and not (is_whole(workers) and workers >= 1):
        raise ValueError(f"workers={workers!r}; it must be a whole number of at least 1")
    if workers is not None and scheduler is not None:
        raise ValueError("a scheduler has workers of its own; give either scheduler or workers")
    axes, points = make_grid(contents, styles, vary or {}, settings)
    sources = Sources()
    jobs = _plan(axes, points, sources, device)
    folder = Folder(output)
    found = {job.place: folder.finished(job.name, job.key) for job in jobs}
    pictures = {place: painted for place, painted in found.items() if painted}
    todo, failed = [job for job in jobs if job.place not in pictures], {}
    before, interrupted = len(pictures), False
    networks = {job.weights: job.sha256 for job in todo}

    def keep(job: Job, painting: Painting | str) -> None:
        if isinstance(painting, str):
            failed[job.place] = painting
            return
        for said in painting.warned:
            warnings.warn(f"{job.name}: {said}", stacklevel=3)
        with without_interrupts():
            pictures[job.place] = folder.keep(job.name, job.key, painting)
        if on_picture is not None:
            on_picture(pictures[job.place])

    try:
        if todo:
            with (
                _bar(len(jobs), before, progress) as bar,
                hired(scheduler, workers, len(todo), device) as crew,
            ):
                crew.check(networks, device)
                orders = _orders(todo, sources, device, crew.threads, failed)
                for job, painting in crew.paint(orders):
                    keep(job, painting)
                    bar.update()
    except (KeyboardInterrupt, RuntimeError) as error:
        if not is_interrupt(error):
            raise
        interrupted = True
    from styletutor.sweeps.sheet import save_sheets  # which needs matplotlib

    with without_interrupts():
        sheets = save_sheets(axes, pictures, failed, folder.path)
    return Sweep(
        folder=folder.path,
        axes=axes,
        points=points,
        pictures=pictures,
        failed=failed,
        fresh=len(pictures) - before,
        sheets=sheets,
        interrupted=interrupted,
    )


def _plan(
    axes: Sequence[Axis], points: Sequence[Point], sources: Sources, device: str | None
) -> list[Job]:
    digests = [with_pictures(point.settings, sources.digest) for point in points]
    asked = dict.fromkeys(point.settings["weights"] for point in points)
    networks = {weights: _known(weights, device) for weights in asked}
    jobs = []
    for point, digest in zip(points, digests, strict=True):
        weights, sha256 = networks[digest.pop("weights")]
        key = make_key(digest, sha256)
        about = {"name": make_name(_labels(axes, point), key), "key": key}
        jobs.append(Job(point=point, weights=weights, sha256=sha256, **about))
    return jobs


def _orders(
    jobs: Sequence[Job],
    sources: Sources,
    device: str | None,
    threads: int,
    failed: dict[tuple[int, ...], str],
) -> Iterator[tuple[Job, Order]]:
    """What is sent for each job; a picture that cannot be read is noted as `failed`."""
    for job in jobs:
        settings = {name: v for name, v in job.point.settings.items() if name != "weights"}
        try:
            settings = with_pictures(settings, sources.packed)
        except (ValueError, OSError) as error:
            failed[job.place] = str(error)
            continue
        about = {"weights": job.weights, "sha256": job.sha256}
        yield job, Order(settings=settings, device=device, threads=threads, **about)


def _known(weights: Any, device: str | None) -> tuple[str, str]:
    """What a worker is to load, and its SHA-256: the network is looked at here, and let go."""
    if not isinstance(weights, str | Path):
        raise ValueError(f"weights={weights!r}; give a name or the path of a weight file")
    network = load_vgg(weights, device=device)
    return network.source, network.sha256


def _labels(axes: Sequence[Axis], point: Point) -> list[str]:
    """What a picture is called by: content, style, and what else has more than one value."""
    pairs = zip(axes, point.place, strict=True)
    return [axis.caption(at) for axis, at in pairs if axis.matters or axis.is_pictures]


@contextmanager
def _bar(total: int, done: int, wanted: bool | None) -> Iterator[Any]:
    from tqdm.auto import tqdm

    hidden = True if sys.stderr is None else None if wanted is None else not wanted
    how = {"unit": "picture", "desc": "sweep", "disable": hidden, "initial": done}
    with tqdm(total=total, **how) as bar:
        yield bar

"""What the command line prints and saves while a picture forms."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from styletutor.cli.replay import Replay
from styletutor.cli.telling import say
from styletutor.descent import Step, Stop
from styletutor.machine import warn
from styletutor.pictures.colours import keep_colours
from styletutor.pictures.images import save_image, to_uint8
from styletutor.pictures.writing import write_file
from styletutor.runs.result import Result
from styletutor.timelapse import Timelapse, spread

PERCENT, BRACES = re.compile(r"%(?:s|0?\d?d)"), re.compile(r"\{(?::0?\d?d)?\}")


class Watch:
    """What is printed and saved while the picture forms, and of it when it is done.

    What cannot be saved on the way is no reason to lose what is being painted: it is said, and the
    work goes on.
    """

    def __init__(self, arguments: argparse.Namespace, replay: Replay) -> None:
        for option, value in (
            ("--print-iterations", arguments.print_iterations),
            ("--checkpoint-iterations", arguments.checkpoint_iterations),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{option} {value}; it must be at least 1")
        if arguments.frames is not None and arguments.timelapse is None:
            raise ValueError("--frames belongs to --timelapse FILE; give both")
        self.arguments, self.replay, self.film = arguments, replay, None
        self.frames = 40 if arguments.frames is None else arguments.frames
        spread(1, self.frames)

    def __call__(self, step: Step) -> None:
        options = self.arguments
        if options.print_iterations and step.evaluation % options.print_iterations == 0:
            losses = ", ".join(f"{name} {value:g}" for name, value in step.losses.items())
            say(f"evaluation {step.evaluation}/{step.evaluations}: {losses}")
        if getattr(options, "colours", None) == "content":
            best = keep_colours(step.best.clamp(0, 1), step.objective.content)
            step = replace(step, best=best)
        every = options.checkpoint_iterations
        if options.checkpoint_output and step.evaluation % every == 0:
            try:
                path = numbered(options.checkpoint_output, step.evaluation)
                save_image(step.best[:1].clamp(0, 1), path)
            except OSError as error:
                warn(f"{error}; going on without", stacklevel=2)
        if options.timelapse:
            if self.film is None:
                self.film = Timelapse(spread(step.evaluations, self.frames))
            self.film(step)
        for name, value in self.replay.turned.get(step.evaluation + 1, {}).items():
            step.objective.set_weight(name, value)
        if step.evaluation == self.replay.stop_after:
            raise Stop

    def files(self, result: Result) -> Iterator[tuple[str, Callable[[str], None]]]:
        """Where report, film and losses go, as far as they are wanted, and what saves each."""
        options = self.arguments
        text, plot = progress_files(options)
        if options.report is not None:
            report = json.dumps(result.report(), indent=1, allow_nan=False).encode("utf-8")
            yield options.report, lambda path: write_file(path, report)
        if options.timelapse:
            film, last = self.film or Timelapse([]), to_uint8(result.image)
            if not film.frames or not np.array_equal(film.frames[-1], last):
                film.frames.append(last)
            yield options.timelapse, film.save
        if text is not None:
            terms = ("content", "style", "tv", "total")
            rows = ([row["evaluation"], *(row.get(t, 0) for t in terms)] for row in result.history)
            lines = [f"# itr {' '.join(terms)}", *(" ".join(map(str, row)) for row in rows), ""]
            table = "\n".join(lines).encode("ascii")
            yield str(text), lambda path: write_file(path, table)
        if plot is not None:
            from styletutor.plots import loss_curves

            yield str(plot), loss_curves(result).save


def progress_files(arguments: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Where --progress-write and --progress-plot write, if they are wanted."""
    folder = Path(arguments.output).parent
    text = folder / "progress.txt" if arguments.progress_write else None
    return text, folder / "progress.png" if arguments.progress_plot else None


def numbered(pattern: str, number: int) -> str:
    """A file name with the number in place of one %s, %d, %05d, {} or {:05d}, and else as it is."""
    places = PERCENT.findall(pattern) or BRACES.findall(pattern)
    if len(places) != 1 or "\0" in pattern:
        raise ValueError(f"{pattern!r} needs one %s where the number goes, as in out%s.jpg")
    place = places[0]
    return pattern.replace(place, place % number if place[0] == "%" else place.format(number))

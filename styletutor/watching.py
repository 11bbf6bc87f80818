"""What the command line prints and saves while a picture forms."""

from __future__ import annotations

import argparse
from pathlib import Path

from styletutor.descent import Step, Stop
from styletutor.files import write_file
from styletutor.images import save_image
from styletutor.result import Result
from styletutor.timelapse import Timelapse, spread


class Watch:
    """What is printed and saved while the picture forms, and of it when it is done."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        for option, value in (
            ("--print-iterations", arguments.print_iterations),
            ("--checkpoint-iterations", arguments.checkpoint_iterations),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{option} {value}; it must be at least 1")
        self.arguments, self.film = arguments, None
        if arguments.frames is not None and arguments.timelapse is None:
            raise ValueError("--frames belongs to --timelapse FILE; give both")

    def __call__(self, step: Step) -> None:
        options = self.arguments
        if options.print_iterations and step.evaluation % options.print_iterations == 0:
            losses = ", ".join(f"{name} {value:g}" for name, value in step.losses.items())
            print(f"evaluation {step.evaluation}/{step.evaluations}: {losses}", flush=True)
        every = options.checkpoint_iterations
        if options.checkpoint_output and step.evaluation % every == 0:
            path = numbered(options.checkpoint_output, step.evaluation)
            save_image(step.best[:1].clamp(0, 1), path)
        if options.timelapse:
            if self.film is None:
                self.film = Timelapse(spread(step.evaluations, options.frames or 40))
            self.film(step)
        if step.evaluation == getattr(options, "stop_after", None):
            raise Stop

    def finish(self, result: Result) -> None:
        """Save the film and the course of the losses, as far as they are wanted."""
        folder = Path(self.arguments.output).parent
        if self.film is not None:
            self.film.save(self.arguments.timelapse)
            print(f"saved {self.arguments.timelapse}")
        if self.arguments.progress_write:
            terms = ("content", "style", "tv", "total")
            rows = ([row["evaluation"], *(row.get(t, 0) for t in terms)] for row in result.history)
            lines = [f"# itr {' '.join(terms)}", *(" ".join(map(str, row)) for row in rows), ""]
            write_file(folder / "progress.txt", "\n".join(lines).encode("ascii"))
        if self.arguments.progress_plot:
            from styletutor.plots import loss_curves

            loss_curves(result).save(folder / "progress.png")


def numbered(pattern: str, number: int) -> str:
    """A file name with the number in place of %s, of %05d or of {}."""
    try:
        name = pattern % number if "%" in pattern else pattern.format(number)
    except (TypeError, ValueError, IndexError, KeyError):
        name = pattern
    if name == pattern:
        raise ValueError(f"{pattern!r} needs %s where the number goes, as in out%s.jpg")
    return name

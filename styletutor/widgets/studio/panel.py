"""The transfer studio: choose, start, and turn every knob while the picture forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets
from torch import Tensor

from styletutor.descent import Step
from styletutor.descent.method import EVALUATIONS
from styletutor.loss.meters import balanced_style
from styletutor.network.vgg import VGG
from styletutor.pictures.images import to_jpeg
from styletutor.pictures.loading import load_image
from styletutor.plots import made_by
from styletutor.runs.frames import Frame
from styletutor.runs.inputs import Picture
from styletutor.runs.result import Result
from styletutor.widgets.elements import PictureView
from styletutor.widgets.live import WRAP, Panel, button, in_columns
from styletutor.widgets.studio.controls import Controls
from styletutor.widgets.studio.desk import BALANCE, fader
from styletutor.widgets.studio.film import FrameSlider
from styletutor.widgets.studio.gauges import Gauges
from styletutor.widgets.studio.run import StudioRun
from styletutor.widgets.studio.saving import as_links, save_run

HINT = "choose pictures, then press Start; the faders work while it runs"


class TransferStudio(Panel):
    """A whole transfer under your hands.

    >>> widgets.TransferStudio("astronaut", "swirling-strokes")

    Pictures are (1, 3, H, W) in [0, 1], samples' names or paths; `styles` one or up to three.
    Faders count from the next evaluation on, all else from the next start. `vgg` None is what
    `load_vgg` takes for "auto"; the others are `transfer`'s, where the controls stand at first.
    Save writes into `folder`, or offers a download if that is None.
    """

    def __init__(
        self,
        content: Picture = "astronaut",
        styles: Picture | Sequence[Picture] = "swirling-strokes",
        *,
        vgg: VGG | None = None,
        recipe: str = "default",
        start: str = "content",
        size: int = 256,
        evaluations: int = EVALUATIONS,
        seed: int = 0,
        folder: str | Path | None = ".",
    ) -> None:
        settings = {"recipe": recipe, "start": start, "size": size, "evaluations": evaluations}
        self.controls = Controls(content, styles, vgg, seed=seed, **settings)
        self.folder, self.gauges = folder, Gauges(self.controls.board)
        self.view = PictureView(width=560)
        self.scrub = FrameSlider(max=0, label="frame", readout=False)
        self.downloads = widgets.HTML()
        super().__init__()
        self.reset_button = button("Reset", "undo", self.reset)
        self.save_button = button("Save", "save", self.save)
        hint = "go on from this frame as the faders stand"
        self.fork_button = button("Fork here", "code-fork", self.fork, hint=hint)
        self.keep_button = button("Keep as A", "thumb-tack", self.keep, hint="the newest picture")
        hint = "let content and style pull alike"
        self.balance_button = button("Balance now", "balance-scale", self.balance, hint=hint)
        self._lay_out()
        self.controls.board.observe(lambda _: self._turn(), ["values", "muted", "solo"])
        self.controls.contents.gallery.observe(lambda _: self._show_content(), "selected")
        self.scrub.observe(lambda _: self._show_frame(), "value")
        self._a: dict[str, str] = {}
        self._show_content()
        self.note.say(HINT)

    def _lay_out(self) -> None:
        self.buttons.children += (self.reset_button, self.save_button)
        more = widgets.Box([self.fork_button, self.keep_button, self.balance_button], layout=WRAP)
        stage = widgets.VBox([self.buttons, self.note, self.downloads, self.view, self.scrub, more])
        curves = widgets.Tab([self.gauges.terms, self.gauges.layers])
        curves.titles = ("Loss by term", "Loss by layer")
        desk = widgets.VBox([self.gauges.figures, self.controls.board, curves])
        rooms = (self.controls, "1 1 220px"), (stage, "2 1 392px"), (desk, "1 1 450px")
        self.children = [in_columns(*rooms)]

    def make_run(self) -> StudioRun:
        return StudioRun(*self.controls.arguments(), self.controls.describe())

    def on_begin(self, run: StudioRun) -> None:
        self.downloads.value = ""
        if not run.film.kept:
            self.gauges.clear()
            self._show_content()
        last = max(0, len(run.film.kept) - 1)
        self.scrub.show(max=last, value=last)

    def on_step(self, run: StudioRun, step: Step) -> None:
        picture = to_jpeg(step.best)
        if (frame := run.moment(step)) is not None:
            self.scrub.add(run.film, picture, frame)
        if self.scrub.newest:
            self._show_picture(picture, f"after {step.evaluation} evaluations", "")
        else:  # the film may have let go of the frame that was on show
            self._show_frame()
        counts = run.of_other(self.controls.recipe.value) or "running; the faders count at once"
        self.note.say("paused" if run.state == "paused" else counts)

    def on_every_step(self, run: StudioRun, step: Step) -> None:
        look = run.reading.look(step)
        with self._swap:
            ours = run is self.run and not run.of_other(self.controls.recipe.value)
            if look is not None and ours:
                self.gauges.show(look, run.reading.lengths)

    def on_end(self, run: StudioRun, result: Result) -> None:
        self.gauges.draw(result.history, run.settings["evaluations"])
        picture = to_jpeg(result.image)
        if run.frame is not None:
            self.scrub.add(run.film, picture, run.frame)
        if self.scrub.newest:
            self.view.show(value=picture, caption=made_by(result))
        if result.interrupted and run.frame is None:  # nobody stopped it
            words = f"out of memory after {len(result.history)} evaluations; choose a smaller size"
            self.note.say(words, error=True)
            return
        words = "stopped; Continue goes on" if result.interrupted else "done"
        changes = run.differs(self._a)
        self.note.say(f"{words}; A and now differ in: {changes}" if changes else words)

    def pause(self) -> None:
        """Pause, or go on, also where a stop was."""
        run = self.run
        if run is not None and run.stopped_midway:
            self._go_on(run, run.frame)
        else:
            super().pause()

    def reset(self) -> None:
        """Stop, and put settings and faders back; the chosen pictures stay."""
        with self._swap:
            self.stop()
            self.run, self._a = None, {}
            self.view.show(other=b"")
            self.scrub.show(max=0, value=0)
            self.controls.reset()
            self.gauges.clear()
            self._show_content()
            self._set_buttons()
            self.downloads.value = ""
            self.note.say(HINT)

    def fork(self) -> None:
        """Go on from the frame on show with the faders as they stand; what was is kept as A."""
        run = self.run
        with self._swap:
            if run is None or not run.film.kept:
                self.note.say("there is no frame yet; press Start first", error=True)
            elif self._go_on(run, run.film.kept[self.scrub.place(run.film)].frame):
                self._keep_as_a(run)

    def keep(self) -> None:
        """Keep the newest picture as A, at the left of the divider."""
        if self.run is None or not self.run.film.kept:
            self.note.say("there is no picture yet; press Start first", error=True)
        else:
            self._keep_as_a(self.run)
            self.note.say("kept as A, at the left; change a knob, press Start, drag the divider")

    def balance(self) -> None:
        """Turn the style's fader so that content and style pull equally strongly."""
        run = self.run
        try:
            if run is None:
                raise ValueError("nothing pulls yet; press Start first")
            if problem := run.of_other(self.controls.recipe.value):
                raise ValueError(problem)
            weight = balanced_style(run.reading.lengths, run.reading.style_weight)
        except ValueError as error:
            self.note.say(str(error), error=True)
            return
        board = self.controls.board
        place = fader(weight / self.controls.desk.recipe.style_weight)
        board.show(values={**board.values, BALANCE: place})

    def save(self) -> list[Path]:
        """Save the finished picture and the settings that make it again; what was written."""
        if (run := self.run) is None or run.result is None:
            self.note.say("there is no finished picture; wait, or press Stop first", error=True)
            return []
        try:
            if self.folder is None:
                self.downloads.value = as_links(run.result, run.pictures)
                self.note.say("here are the picture and the settings that make it again")
                return []
            written = save_run(run.result, run.pictures, self.folder)
        except (OSError, ValueError) as error:
            self.note.say(str(error), error=True)
            return []
        self.note.say(f"saved {', '.join(str(path) for path in written)}")
        return written

    def _keep_as_a(self, run: StudioRun) -> None:
        self._a = dict(run.words)
        self.view.show(other=run.film.kept[-1].picture)

    def _go_on(self, run: StudioRun, frame: Frame | None) -> bool:
        if problem := run.why_not(frame, self.controls.recipe.value):
            self.note.say(problem, error=True)
            return False
        other = run.going_on(frame, {**run.words, **self.controls.describe_faders()})
        other.turn(**self.controls.desk.knobs())
        self.drive(other)
        return True

    def _turn(self) -> None:
        if self.run is not None:
            knobs, words = self.controls.desk.knobs(), self.controls.describe_faders()
            self.run.follow(self.controls.recipe.value, knobs, words)

    def _show_frame(self) -> None:
        if self.run is None or not self.run.film.kept:
            return
        kept = self.run.film.kept[self.scrub.place(self.run.film)]
        words = f"after {kept.evaluation} evaluations"
        self.gauges.mark(0 if self.scrub.newest else kept.evaluation)
        self._show_picture(kept.picture, words, words, "now" if self.scrub.newest else words)

    def _show_picture(self, picture: bytes, words: str, caption: str, tag: str = "now") -> None:
        self.view.show(value=picture, alt=f"the picture {words}", caption=caption, tags=["A", tag])

    def _show_content(self) -> None:
        """The picture that is to be painted, until there is another one."""
        if self.run is not None and self.run.film.kept:
            return
        chosen = self.controls.contents.chosen
        if chosen:
            photo = chosen[0] if isinstance(chosen[0], Tensor) else load_image(chosen[0], 512)
            self.view.show(value=to_jpeg(photo[:1]), alt="the content picture", caption="")

    def _set_buttons(self) -> None:
        super()._set_buttons()
        if self.run is not None and self.run.stopped_midway:
            self.pause_button.disabled = False
            self.pause_button.description, self.pause_button.icon = "Continue", "play"

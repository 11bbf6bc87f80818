"""The transfer studio: choose, start, and turn every knob while the picture forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets
from torch import Tensor

from styletutor.checkpoints import Frame
from styletutor.descent import Step
from styletutor.images import to_jpeg
from styletutor.inputs import Picture
from styletutor.meters import balanced_style
from styletutor.plots import made_by
from styletutor.result import Result
from styletutor.run import Run
from styletutor.samples import load_image
from styletutor.transfer import transfer
from styletutor.vgg import VGG
from styletutor.widgets.controls import Controls
from styletutor.widgets.desk import BALANCE, fader
from styletutor.widgets.elements import PictureView, Slider
from styletutor.widgets.film import Film, Kept
from styletutor.widgets.gauges import Gauges
from styletutor.widgets.live import WRAP, Panel, button
from styletutor.widgets.saving import as_links, save_run

HINT = "choose pictures, then press Start; the faders work while it runs"


class TransferStudio(Panel):
    """A whole transfer under your hands.

    >>> widgets.TransferStudio("astronaut", "swirling-strokes")

    Pictures are (1, 3, H, W) in [0, 1], samples' names or paths; `styles` one or up to three.
    Faders count from the next evaluation on, all else from the next start. `vgg` is the pocket
    network if None; the other arguments are those of `transfer`, where the controls stand at first.
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
        evaluations: int = 300,
        seed: int = 0,
        folder: str | Path | None = ".",
    ) -> None:
        self.controls = Controls(
            content, styles, vgg, recipe=recipe, start=start, size=size, evaluations=evaluations,
            seed=seed,
        )  # fmt: skip
        self.folder, self.gauges = folder, Gauges(self.controls.board)
        self.view = PictureView(width=560)
        self.scrub = Slider(max=0, label="frame", readout=False)
        self.downloads = widgets.HTML()
        super().__init__()
        self.reset_button = button("Reset", "undo", self.reset)
        self.save_button = button("Save", "save", self.save)
        self.fork_button = button(
            "Fork here", "code-fork", self.fork, hint="go on from this frame as the faders stand"
        )
        self.keep_button = button("Keep as A", "thumb-tack", self.keep, hint="to compare with it")
        self.balance_button = button(
            "Balance now", "balance-scale", self.balance, hint="let content and style pull alike"
        )
        self._lay_out()
        self.controls.board.observe(lambda _: self._turn(), ["values", "muted", "solo"])
        self.controls.contents.gallery.observe(lambda _: self._show_content(), "selected")
        self.scrub.observe(lambda _: self._show_frame(), "value")
        self._a: dict[str, str] = {}
        self._clear()
        self.note.say(HINT)

    def _lay_out(self) -> None:
        self.buttons.children += (self.reset_button, self.save_button)
        more = widgets.Box([self.fork_button, self.keep_button, self.balance_button], layout=WRAP)
        stage = widgets.VBox([self.buttons, self.note, self.downloads, self.view, self.scrub, more])
        curves = widgets.Tab([self.gauges.terms, self.gauges.layers])
        curves.titles = ("Loss by term", "Loss by layer")
        desk = widgets.VBox([self.gauges.figures, self.controls.board, curves])
        columns = [(self.controls, "1 1 220px"), (stage, "2 1 392px"), (desk, "1 1 450px")]
        for box, room in columns:
            box.layout.flex, box.layout.min_width = room, "0"
        self.children = [widgets.Box([box for box, _ in columns], layout=WRAP)]

    def make_run(self) -> Run:
        self._arguments = self.controls.arguments()
        self._began_as = self.controls.describe()
        self._clear()
        pictures, settings = self._arguments
        return Run(transfer, *pictures, **settings)

    def on_step(self, step: Step) -> None:
        picture = to_jpeg(step.best)
        if self.film.wants(step.evaluation) or step.evaluation == step.evaluations:
            follow = self.scrub.value == self.scrub.max
            self.film.add(Kept(picture, self.run.keep()))
            self.scrub.max = len(self.film.kept) - 1
            if follow:
                self.scrub.value = self.scrub.max
        if self.scrub.value == self.scrub.max:
            self.view.show(value=picture, alt=f"the picture after {step.evaluation} evaluations")
        self.note.say("running; the faders count at once" if self.run.state == "running" else
                      "paused")  # fmt: skip

    def on_every_step(self, step: Step) -> None:
        self.gauges.read(step, self.run.record)

    def on_end(self, result: Result) -> None:
        self.gauges.draw(self.run.record, self.run.step.evaluations)
        if self.run.frame is not None:
            self.film.add(Kept(to_jpeg(result.image), self.run.frame))
            self.scrub.max = len(self.film.kept) - 1
            self.scrub.value = self.scrub.max
        if self.scrub.value == self.scrub.max:
            self.view.show(value=to_jpeg(result.image), caption=made_by(result))
        words = "stopped; Continue goes on" if result.interrupted else "done"
        now = self.controls.describe()
        changes = [
            f"{n} {self._a[n]} → {now[n]}" for n in now if n in self._a and self._a[n] != now[n]
        ]
        if changes:
            words += f"; A and now differ in: {', '.join(changes)}"
        self.note.say(words)

    def pause(self) -> None:
        """Pause, or go on, also where a stop was."""
        run = self.run
        if run is not None and run.state == "done" and run.frame is not None:
            self._go_on(run.frame)
        else:
            self.gauges.begin()
            super().pause()

    def reset(self) -> None:
        """Stop, and put settings and faders back; the chosen pictures stay."""
        self.stop()
        self.run, self._a = None, {}
        self.view.show(other=b"")
        self.controls.reset()
        self._clear()
        self._set_buttons()
        self.note.say(HINT)

    def fork(self) -> None:
        """Go on from the frame on show with the faders as they stand; what was is kept as A."""
        if not self.film.kept:
            self.note.say("there is no frame yet; press Start first", error=True)
            return
        self.keep()
        kept = self.film.kept[self.scrub.value]
        self.film.cut(kept.evaluation)
        self.scrub.max = len(self.film.kept) - 1
        self._go_on(kept.frame)

    def keep(self) -> None:
        """Keep the newest picture as A, at the left of the divider."""
        if not self.film.kept:
            self.note.say("there is no picture yet; press Start first", error=True)
            return
        latest = self.film.kept[-1].picture
        self._a = self._began_as
        self.view.show(other=latest, tags=["A", "now"])
        self.note.say("kept as A, at the left; change one knob, press Start, and drag the divider")

    def balance(self) -> None:
        """Turn the style's fader so that content and style pull equally strongly."""
        try:
            weight = balanced_style(self.gauges.lengths, self.gauges.style_weight)
        except ValueError as error:
            self.note.say(str(error), error=True)
            return
        board = self.controls.board
        place = fader(weight / self.controls.desk.recipe.style_weight)
        board.show(values={**board.values, BALANCE: place})

    def save(self) -> list[Path]:
        """Save the finished picture and the settings that make it again; what was written."""
        if self.run is None or self.run.result is None:
            self.note.say("there is no finished picture; wait, or press Stop first", error=True)
            return []
        (content, style), _ = self._arguments
        styles = style.values() if isinstance(style, dict) else [style]
        pictures = [content, *(p for s in styles for p in (s if isinstance(s, list) else [s]))]
        if self.folder is None:
            self.downloads.value = as_links(self.run.result)
            self.note.say("here are the picture and the settings that make it again")
            return []
        try:
            written = save_run(self.run.result, pictures, self.folder)
        except (OSError, ValueError) as error:
            self.note.say(str(error), error=True)
            return []
        self.note.say(f"saved {', '.join(str(path) for path in written)}")
        return written

    def _go_on(self, frame: Frame) -> None:
        pictures, settings = self._arguments
        if self.controls.recipe.value != settings["recipe"]:
            self.note.say("the recipe was changed; press Start to begin with it", error=True)
            return
        run = Run(transfer, *pictures, resume=frame, **settings)
        run.turn(**self.controls.desk.knobs())
        self.gauges.begin()
        self.scrub.value = self.scrub.max
        self.drive(run)

    def _turn(self) -> None:
        if self.run is not None and self.run.state in ("running", "paused"):
            self.run.turn(**self.controls.desk.knobs())

    def _show_frame(self) -> None:
        if self.scrub.value < len(self.film.kept):
            kept = self.film.kept[self.scrub.value]
            newest = self.scrub.value == self.scrub.max
            self.gauges.mark(0 if newest else kept.evaluation)
            self.view.show(
                value=kept.picture, alt=f"the picture after {kept.evaluation} evaluations"
            )

    def _show_content(self) -> None:
        """The picture that is to be painted, until there is another one."""
        chosen = self.controls.contents.chosen
        if self.film.kept or not chosen:
            return
        photo = chosen[0] if isinstance(chosen[0], Tensor) else load_image(chosen[0], 512)
        self.view.show(value=to_jpeg(photo[:1]), alt="the content picture", caption="")

    def _clear(self) -> None:
        self.film = Film()
        self.gauges.begin(self.controls.origin.value)
        self.scrub.value = self.scrub.max = 0
        self.downloads.value = ""
        self._show_content()

    def _set_buttons(self) -> None:
        super()._set_buttons()
        if self.run is not None and self.run.state == "done" and self.run.frame is not None:
            self.pause_button.disabled = False
            self.pause_button.description, self.pause_button.icon = "Continue", "play"

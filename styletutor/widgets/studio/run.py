"""A run of the transfer studio, with all that belongs to it and not to the panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from styletutor.cookbook.published import find_recipe
from styletutor.descent import Step
from styletutor.pictures.loading import load_image
from styletutor.runs.background import Run
from styletutor.runs.frames import Frame
from styletutor.runs.transfer import transfer
from styletutor.widgets.live import Pace
from styletutor.widgets.studio.film import Film
from styletutor.widgets.studio.gauges import Reading

KEEP_SHARE = 0.01


class StudioRun(Run):
    """A transfer with what the studio keeps of it: arguments, film, what was read, and how the
    controls stood, in `words`."""

    def __init__(
        self,
        pictures: tuple[Any, ...],
        settings: dict[str, Any],
        words: dict[str, str],
        resume: Frame | None = None,
    ) -> None:
        super().__init__(transfer, *pictures, resume=resume, **settings)
        self.pictures, self.settings, self.words = pictures, settings, words
        self.film, self.keeping = Film(), Pace(KEEP_SHARE, 0.0)
        recipe, content = find_recipe(settings["recipe"]), pictures[0]
        photo = content if isinstance(content, Tensor) else load_image(content, settings["size"])
        from_noise = settings["start"] == "noise"
        self.reading = Reading(photo.shape[2:], from_noise, settings["seed"], recipe.noise)

    def moment(self, step: Step) -> Frame | None:
        """The present moment, if it is one to keep: the optimiser's memory has to be copied."""
        due = self.keeping.due and self.film.wants(step.evaluation)
        if not due and step.evaluation != step.evaluations:
            return None
        with self.keeping.measured():
            return self.keep()

    def going_on(self, frame: Frame, words: dict[str, str]) -> StudioRun:
        """A run that goes on from a frame of this one."""
        other = StudioRun(self.pictures, self.settings, words, frame)
        other.film, other.reading = self.film.until(frame.evaluation), self.reading.going_on()
        return other

    @property
    def stopped_midway(self) -> bool:
        """Has it ended with something left to do?"""
        return self.state == "done" and self.goes_on_from(self.frame)

    def goes_on_from(self, frame: Frame | None) -> bool:
        """Is there anything left to do after it?"""
        return frame is not None and frame.evaluation < self.settings["evaluations"]

    def why_not(self, frame: Frame | None, recipe: str) -> str:
        """What to say if it cannot go on from there with the faders of this recipe."""
        if frame is None:
            return "of so large pictures only a few frames are kept whole; take another one"
        if not self.goes_on_from(frame):
            return "this is the last evaluation; go back to an earlier frame"
        return self.of_other(recipe)

    def of_other(self, recipe: str) -> str:
        """What to say if the faders are not those of its own recipe."""
        same = recipe == self.settings["recipe"]
        return "" if same else "the recipe was changed; press Start to begin with it"

    def follow(self, recipe: str, knobs: Mapping[str, Any], words: Mapping[str, str]) -> None:
        """Take what the faders say from now on, if it still runs and they are its recipe's."""
        if self.state in ("running", "paused") and not self.of_other(recipe):
            self.turn(**knobs)
            self.words |= words

    def differs(self, words: Mapping[str, str]) -> str:
        """In what the controls stood otherwise in another run, where both have them."""
        changes = [
            f"{name} {words[name]} → {now}"
            for name, now in self.words.items()
            if name in words and words[name] != now
        ]
        return ", ".join(changes)

"""Short quizzes: every answer, right or wrong, is explained."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import ipywidgets as widgets

from styletutor.widgets.elements import Guard
from styletutor.widgets.live import Note


@dataclass(frozen=True)
class Question:
    """`answers` maps each answer to what to say when it is chosen; `right` is one of them."""

    ask: str
    right: str
    answers: Mapping[str, str]


def load_quizzes() -> dict[str, list[Question]]:
    """The questions of each lesson, from quizzes.toml."""
    text = resources.files("styletutor.lessons").joinpath("quizzes.toml").read_text("utf-8")
    return {name: [Question(**q) for q in asked] for name, asked in tomllib.loads(text).items()}


class Quiz(widgets.VBox):
    """The questions of one lesson, with what to say about the chosen answers."""

    def __init__(self, name: str) -> None:
        quizzes = load_quizzes()
        if name not in quizzes:
            raise ValueError(f"there is no quiz {name!r}; choose one of {', '.join(quizzes)}")
        self.name, self.questions = name, quizzes[name]
        self.choices = [
            widgets.RadioButtons(options=list(q.answers), value=None, layout={"width": "auto"})
            for q in self.questions
        ]
        self.notes = [Note() for _ in self.questions]
        rows: list[widgets.Widget] = []
        for place, (choice, note) in enumerate(zip(self.choices, self.notes, strict=True)):
            choice.observe(lambda _, place=place: self._say(place), "value")
            rows += [Note(f"{place + 1}. {self.questions[place].ask}", live=False), choice, note]
        super().__init__([*rows, Guard()])
        self.add_class("st-panel")
        self.add_class("st-quiz")

    @property
    def right(self) -> int:
        """How many questions are answered rightly by now."""
        pairs = zip(self.questions, self.choices, strict=True)
        return sum(choice.value == question.right for question, choice in pairs)

    def _say(self, place: int) -> None:
        question, answer = self.questions[place], self.choices[place].value
        start = "✓ Right." if answer == question.right else "✗ Not quite."
        self.notes[place].say(f"{start} {question.answers[answer]}" if answer else "")

    def _repr_mimebundle_(self, **options: Any) -> Any:
        shown = super()._repr_mimebundle_(**options)
        (shown[0] if isinstance(shown, tuple) else shown)["text/plain"] = repr(self)  # all of it
        return shown

    def __repr__(self) -> str:
        lines = ["Run this cell to choose answers and read what speaks for and against each."]
        for place, question in enumerate(self.questions, start=1):
            lines += [f"{place}. {question.ask}", *(f"   ○ {a}" for a in question.answers)]
        return "\n".join(lines)


def quiz(name: str) -> Quiz:
    """The quiz of a lesson, such as "inside_vgg": a widget; ValueError for an unknown name."""
    return Quiz(name)

"""Exercises that check themselves: a function is tried on random shapes, and mistakes are named."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from styletutor.lessons.comparing import (
    alike,
    copies,
    far_off,
    one_line,
    random_numbers,
    scaled,
    what,
    wrong_kind,
    wrong_type,
)
from styletutor.lessons.habits import does_something, habit

Answer = Callable[..., Any]
checked: WeakKeyDictionary[Answer, bool | None] = WeakKeyDictionary()
tries: dict[str, list[Verdict]] = {}  # of each exercise, since Python was started
MARKS = {True: ("✓", "#1b7837"), False: ("✗", "#c0392b"), None: ("○", "#666666")}


@dataclass(frozen=True)
class Verdict:
    """What a check says. `right` is None for an exercise that is not finished.

    A `riddle` is shown as a bare ✗, and the words after a click or as `.words`.
    """

    name: str
    right: bool | None
    words: str
    riddle: bool = False

    @property
    def _withheld(self) -> bool:
        return self.riddle and self.right is False

    def __repr__(self) -> str:
        words = "something is wrong. What? (`.words` says it)" if self._withheld else self.words
        return f"{MARKS[self.right][0]} {self.name}: {words}"

    def _repr_html_(self) -> str:
        mark, colour = MARKS[self.right]
        style = f"border-left: 4px solid {colour}; padding: 4px 10px; margin: 2px 0"
        words = html.escape(self.words).replace("\n", "<br>")
        if self._withheld:
            words = f"<details><summary>Something is wrong. What?</summary>{words}</details>"
        return (
            f'<div style="{style}" role="status"><b style="color: {colour}">{mark}</b> '
            f"<code>{html.escape(self.name)}</code>: {words}</div>"
        )


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """Call it with the function that answers it; what comes back is a `Verdict`.

    `spec` is the definition, slow and plain; `cases` makes arguments from a generator of random
    numbers, of shapes that no two mistakes survive. `mistakes` holds, under what to say about it,
    a function for each likely wrong answer. Where an answer is a thing that does something, `seen`
    runs it and gives what can be compared. `properties` holds, under what to say if it does not
    hold, what must be true of any answer and its arguments: the last resort where no mistake is
    known. `praise` says what was found to be right. In a `riddle` the mistake is to be found by
    looking, so that its name waits behind a click.
    """

    name: str
    spec: Answer
    cases: Callable[[torch.Generator], Sequence[tuple[Any, ...]]]
    mistakes: Mapping[str, Answer]
    praise: str
    seen: Callable[..., Any] | None = None
    gradient: bool = False
    sizes: Callable[..., Mapping[str, float]] = field(default=lambda *_: {})
    properties: Mapping[str, Callable[..., bool]] = field(default_factory=dict)
    riddle: bool = False

    def __repr__(self) -> str:
        asked = (self.spec.__doc__ or "your function").split("\n")[0]
        return f"<exercise {self.name}: {asked}>"

    def __call__(self, answer: Answer, seed: int = 0) -> Verdict:
        """Try `answer` on random cases, which another `seed` draws anew."""
        return keep(self.name, answer, replace(self._verdict(answer, seed), riddle=self.riddle))

    def _verdict(self, answer: Answer, seed: int) -> Verdict:
        if not callable(answer):
            words = f"this is {what(answer)}; give the function itself, without calling it."
            return Verdict(self.name, False, words)
        name = getattr(answer, "__name__", self.name)
        cases = self.cases(torch.Generator().manual_seed(seed))
        try:
            given = [self._ask(answer, case) for case in cases]
        except _Unfinished:
            return Verdict(name, None, "not finished yet. Replace the dots by your own code.")
        except _Spoilt as error:
            return Verdict(name, False, str(error))
        fault = self._fault(given, cases, answer)
        if fault is None and self.gradient:
            fault = self._gradient_fault(answer, cases)
        return Verdict(name, fault is None, fault or self.praise)

    def _ask(self, answer: Answer, case: tuple[Any, ...]) -> Any:
        arguments = copies(case)
        try:
            value = self._see(answer, arguments)
        except NotImplementedError:
            raise _Unfinished from None
        except NoAnswer as error:
            raise _Spoilt(str(error)) from error
        except Exception as error:
            raise _Spoilt(one_line(error, case)) from error
        if value is None and does_something(answer):
            raise _Spoilt("nothing comes back: end with `return` and what you have computed.")
        if value is None or value is ...:
            raise _Unfinished
        if words := wrong_type(value):
            raise _Spoilt(words)
        for before, after in zip(case, arguments, strict=True):
            if isinstance(before, Tensor) and not torch.equal(before, after):
                raise _Spoilt(
                    "what was given is changed on the way: an operation that ends in an "
                    "underscore, += and -=, or an assignment to x[...] work in place. Begin with "
                    ".clone()."
                )
        return value

    def _see(self, answer: Answer, arguments: Sequence[Any]) -> Any:
        return self.seen(answer, *arguments) if self.seen else answer(*arguments)

    def _fault(
        self, given: Sequence[Any], cases: Sequence[tuple[Any, ...]], answer: Answer
    ) -> str | None:
        expected = [self._see(self.spec, copies(case)) for case in cases]
        if all(alike(*pair) for pair in zip(given, expected, strict=True)):
            return None
        if self.seen is None and random_numbers(given[0], self._ask(answer, cases[0])):
            return (
                "asked twice for the same, it gives two answers: is something random in it, or "
                "does it keep what it had?"
            )
        for words, wrong in self.mistakes.items():
            values = (self._see(wrong, copies(case)) for case in cases)
            if all(alike(*pair) for pair in zip(given, values, strict=True)):
                return words
        if words := habit(given, expected, cases, None if self.seen else self.spec):
            return words
        sizes = [self.sizes(*case) for case in cases]
        if factor := scaled(given, expected, sizes):
            return f"the right answer times {factor}: only the factor is wrong."
        for words, wrong in self.mistakes.items():
            values = [self._see(wrong, copies(case)) for case in cases]
            if not self.seen and scaled(given, values, sizes):
                return words
        for value, wanted, case in zip(given, expected, cases, strict=True):
            if words := wrong_kind(value, wanted, case):
                return words
        for words, holds in self.properties.items():
            if not all(holds(answer, *copies(case)) for case in cases):
                return f"{words} {far_off(given, expected, cases)}"
        return far_off(given, expected, cases)

    def _gradient_fault(self, answer: Answer, cases: Sequence[tuple[Any, ...]]) -> str | None:
        for case in cases:
            ours = self._gradient(self.spec, case)
            try:
                theirs = self._gradient(answer, case)
            except Exception as error:
                return (
                    f"the values are right, but where a gradient is wanted {one_line(error, case)}"
                )
            if theirs is None:
                return (
                    "the values are right, but no gradient comes through. Something cuts the "
                    "graph: .detach(), .item(), .data, torch.no_grad or a detour over NumPy."
                )
            if not alike(theirs, ours):
                return "the values are right, but the gradient is not: what is computed without it?"
        return None

    def _gradient(self, function: Answer, case: tuple[Any, ...]) -> Tensor | None:
        first = case[0].clone().requires_grad_()
        value = function(first, *case[1:])
        if not value.requires_grad:
            return None
        weights = torch.linspace(1, 2, value.numel(), dtype=value.dtype).view_as(value)
        (gradient,) = torch.autograd.grad((value * weights).sum(), first, allow_unused=True)
        return gradient


def keep(name: str, answer: Answer, verdict: Verdict) -> Verdict:
    """Remember what was said of an answer to the exercise called `name`."""
    with contextlib.suppress(TypeError):  # of what cannot be kept track of
        checked[answer] = verdict.right
    tries.setdefault(name, []).append(verdict)
    return verdict


def own(answer: Answer, otherwise: Answer | Exercise) -> Answer:
    """Your `answer` once its check has passed, and until then `otherwise`; says which it is.

    An exercise as `otherwise` stands for its own slow definition.
    """
    name = getattr(answer, "__name__", "your function")
    if checked.get(answer):
        print(f"{name}: yours")
        return answer
    if isinstance(otherwise, Exercise):
        print(f"{name}: not ready yet, the slow definition behind its check takes its place")
        return otherwise.spec
    print(f"{name}: not ready yet, {otherwise.__name__} of the module takes its place")
    return otherwise


class NoAnswer(Exception):
    """Raised by what looks at an answer, with what to say instead of comparing."""


class _Unfinished(Exception):
    """Nothing came back."""


class _Spoilt(Exception):
    """No value to compare; says why."""

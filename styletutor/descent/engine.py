"""What a descent does again and again, move, evaluate, remember the best; also as a CUDA graph."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from styletutor.descent.optimiser import Optimiser
from styletutor.loss.needs import Needs
from styletutor.loss.objective import Objective
from styletutor.machine import full_float32, warn
from styletutor.network.vgg import VGG

_one_recording = threading.Lock()  # CUDA allows one at a time in a process
_idle_streams: dict[torch.device, list[torch.cuda.Stream]] = {}
WARM_UP = 2  # steps before one is recorded: libraries set themselves up in the first


@dataclass
class Point:
    """A picture that was evaluated, what was found there, and the best one so far.

    `losses` and `best_losses` are (P, B), a row for each part.
    """

    image: Tensor
    losses: Tensor
    gradient: Tensor | None
    best: Tensor
    best_losses: Tensor

    def clone(self) -> Point:
        return Point(*(getattr(self, field.name).clone() for field in fields(self)))

    def copy_(self, other: Point) -> None:
        for field in fields(self):
            getattr(self, field.name).copy_(getattr(other, field.name))


class Engine:
    """A descent on one objective at one size and precision, a step at a time.

    On a GPU a step (optimiser, forward and backward pass, choice of the best) is recorded as a CUDA
    graph and replayed, so that no kernel waits for Python. What cannot be recorded runs as it is
    written, and says so once; after that nothing is recorded in this process (`records`), for what
    a broken recording leaves behind is not known.
    """

    records = True

    def __init__(
        self,
        objective: Objective,
        network: VGG,
        optimiser: Optimiser,
        image: Tensor,
        state: Mapping[str, Tensor] | None = None,
        float32: Callable[[torch.device], AbstractContextManager[None]] = full_float32,
    ) -> None:
        """Begin at `image`, or go on from a `state` without another look at it.

        `float32` is in which a GPU computes with float32 numbers.
        """
        self.float32 = float32
        self.objective, self.network, self.optimiser = objective, network, optimiser
        image = image if state is None else state["point.image"]
        self.recordable, self.graph, self._running = self.may_record(image), None, None
        self.stream: torch.cuda.Stream | None = None
        self.needs: Needs | None = None
        self.moves = -1
        self._prepare(len(image))
        if state is not None:
            mine = (n for n in state if n.startswith("optimiser."))
            own = {name.removeprefix("optimiser."): state[name] for name in mine}
            optimiser.load_state(own)
            self.point = Point(*(state[f"point.{field.name}"] for field in fields(Point)))
            return
        with float32(image.device):
            losses, gradient = self._evaluate(image)
        self.point = Point(image, losses, gradient, image, losses)

    def advance(self) -> None:
        """Move, and evaluate the new picture under the weights of now.

        What was best or learnt under other weights is then forgotten; the move itself still follows
        the old gradient, so that a knob which never rests does not freeze the picture.
        """
        turned = self._prepare(len(self.point.image))
        if turned:
            worst = self.point.losses.new_full((len(self.parts), len(self.point.image)), torch.inf)
            if self.graph is None:
                self.point.best_losses = worst
            else:
                self.point.best_losses.copy_(worst)
        with self.float32(self.point.image.device):
            self._step()
        if turned:
            self.optimiser.restart()

    def snapshot(self) -> Point:
        """The present point, as it stays when the next one is computed."""
        if self.graph is None:
            return self.point
        self._keep_pace()
        return self.point.clone()

    def state(self) -> dict[str, Tensor]:
        """Where it stands, to go on from: tensors that change with the next step."""
        values = {f"point.{f.name}": getattr(self.point, f.name) for f in fields(Point)}
        optimiser = self.optimiser.state().items()
        return {**values, **{f"optimiser.{name}": value for name, value in optimiser}}

    @staticmethod
    def may_record(image: Tensor) -> bool:
        """Are there CUDA graphs where this picture is?"""
        return image.is_cuda and Engine.records

    def _prepare(self, batch: int) -> bool:
        """Bring the knobs to the device; were they turned? With other parts in use, or a knob's
        tensor in another place, an old recording is void."""
        knobs = self.objective.knobs
        turned = knobs.sync()
        if self.needs is not None and not turned:
            return False
        needs = self.objective.needs(batch)
        if (self.needs, self.moves) != (needs, knobs.moves):
            self.graph, self.eager = None, WARM_UP
        self.needs, self.moves = needs, knobs.moves
        self.parts = (*needs.places, "tv") if needs.tv else (*needs.places,)
        return turned

    def _step(self) -> None:
        if self.recordable and self.graph is None and self.eager <= 0:
            self._record()
        if self.graph is not None:
            with torch.cuda.device(self.point.image.device):
                self.graph.replay()
        else:
            before, self.eager = self.point, self.eager - 1
            image = self._moved(before)
            before.gradient = None  # has served, and large pictures need the room
            self.point = self._looked_at(image, before)

    def _moved(self, point: Point) -> Tensor:
        return self.optimiser.step(point.image, point.losses.sum(0), point.gradient)

    def _looked_at(self, image: Tensor, point: Point) -> Point:
        losses, gradient = self._evaluate(image)
        better = losses.sum(0) < point.best_losses.sum(0)  # False for NaN
        best = torch.where(better.view(-1, 1, 1, 1), image, point.best)
        return Point(image, losses, gradient, best, torch.where(better, losses, point.best_losses))

    def _evaluate(self, image: Tensor) -> tuple[Tensor, Tensor]:
        # All in one thread: what cuDNN and cuBLAS have set up in another, a recording would miss.
        with torch.enable_grad(), torch.autograd.set_multithreading_enabled(False):
            image = image.detach().requires_grad_()
            losses = self.objective.table(image, self.network, self.needs)
            if not losses.requires_grad:  # all weights are 0
                return losses, torch.zeros_like(image)
            (gradient,) = torch.autograd.grad(losses, image, torch.ones_like(losses))
        return losses.detach(), gradient

    def _record(self) -> None:
        graph, device = torch.cuda.CUDAGraph(), self.point.image.device
        self.point = self.point.clone()  # the old one was given away and may not change
        self._take_stream(device)
        before = torch.cuda.current_stream(device)
        try:
            with (
                _one_recording,
                torch.cuda.device(device),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                self.point.copy_(self._looked_at(self._moved(self.point), self.point))
            self.graph = graph
        except RuntimeError as error:
            self.recordable = Engine.records = False
            reason = str(error).splitlines()[0]
            warn(f"no CUDA graph ({reason}); going on without, slower", stacklevel=2)
        finally:
            # A recording that CUDA has broken off leaves this thread on the stream of it.
            torch.cuda.set_stream(before)

    def _take_stream(self, device: torch.device) -> None:
        """One for all recordings of this engine, and of no other as long as it lives.

        cuBLAS keeps a workspace for each stream it has seen, and a graph those of its own.
        """
        if self.stream is None:
            idle = _idle_streams.setdefault(device, [])
            self.stream = idle.pop() if idle else torch.cuda.Stream(device)
            weakref.finalize(self, idle.append, self.stream)

    def _keep_pace(self) -> None:
        """Let Python be one step ahead of the GPU, no more, so that Stop means now."""
        before, self._running = self._running, torch.cuda.Event()
        self._running.record(torch.cuda.current_stream(self.point.image.device))
        if before is not None:
            before.synchronize()

"""CUDA graphs played on a CPU, as strictly as a GPU plays them.

While a step is recorded nothing is computed: what it would have written is as before, and what it
would have made is poisoned with NaN. A replay does the recorded operations again, on the same
memory and with the same numbers from Python; whatever a step keeps in Python, reads back or brings
from the host is therefore wrong in a replay or refused in the recording, as on a GPU.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from styletutor.descent.engine import Engine

# What has to know a value, or comes from the host's memory.
REFUSED = {
    "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "lift_fresh",
    "lift_fresh_copy", "_assert_async", "unique", "_unique2",
}  # fmt: skip
WITHOUT_VALUES = {
    "empty", "empty_like", "empty_strided", "new_empty", "detach", "alias", "_unsafe_view",
}  # fmt: skip


def tensors(values: object) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def name_of(operation: Any) -> str:
    return operation._schema.name.partition("::")[2]


class Watch(TorchDispatchMode):
    """Calls `seen(operation, arguments, made)` after each operation that a step consists of."""

    def __init__(self, seen: Callable[..., None]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        self.seen(operation, (args, kwargs or {}), made)
        return made


@contextmanager
def dispatched() -> Iterator[Counter[str]]:
    """How often each operation that computes something is dispatched meanwhile, by name."""
    seen: Counter[str] = Counter()

    def look(operation: Any, _: object, made: object) -> None:
        if not operation.is_view and name_of(operation) not in WITHOUT_VALUES:
            seen[name_of(operation)] += 1

    with Watch(look):
        yield seen


class Recording(TorchDispatchMode):
    """The operations of one step, and what was in the memory that they wrote to."""

    def __init__(self) -> None:
        super().__init__()
        self.tape: list[tuple[Any, tuple, dict, list[tuple[Tensor, bool]]]] = []
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, name_of(operation)
        by_mask = name in ("index", "index_put", "index_put_") and any(
            each.dtype == torch.bool for each in tensors(args[1])
        )
        if name in REFUSED or by_mask:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        for place, argument in enumerate(operation._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[place] if place < len(args) else kwargs.get(argument.name)
                for each in tensors(value):
                    memory = each.untyped_storage()
                    self.before.setdefault(memory._cdata, (memory, memory.clone()))
        made = operation(*args, **kwargs)
        if not operation.is_view and name not in WITHOUT_VALUES:
            given = {each.untyped_storage()._cdata for each in tensors((args, kwargs))}
            fresh = [(t, t.untyped_storage()._cdata not in given) for t in tensors(made)]
            self.tape.append((operation, args, kwargs, fresh))
        return made

    def undo(self) -> None:
        for memory, before in self.before.values():
            memory.copy_(before)
        for *_, made in self.tape:
            for each, fresh in made:
                memory = each.untyped_storage()
                if fresh and memory._cdata not in self.before:
                    memory.fill_(255)  # NaN, of whatever precision


class Graph:
    """Stands for torch.cuda.CUDAGraph."""

    def __init__(self) -> None:
        self.tape, self.replays = [], 0

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for operation, args, kwargs, made in self.tape:
            again = tensors(operation(*args, **kwargs))
            for new, (old, fresh) in zip(again, made, strict=True):
                if fresh:
                    old.copy_(new)


class Simulated:
    """What `simulated` gives a test: the graphs that were recorded, and the present stream."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.streams: list[object] = []
        self.of_thread, self.capturing = threading.local(), False

    @property
    def stream(self) -> object:
        """This thread's."""
        return getattr(self.of_thread, "stream", "the usual")

    def set_stream(self, stream: object) -> None:
        self.of_thread.stream = stream

    @contextmanager
    def record(self, graph: Graph, stream: object, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local" and not self.capturing
        self.capturing = True
        self.set_stream(stream)
        recording = Recording()
        try:
            with recording:
                yield
        except RuntimeError:
            # As CUDA does it: the capture cannot be ended any more, and that hides the reason.
            raise RuntimeError("operation failed due to a previous error during capture") from None
        else:
            self.set_stream("the usual")
        finally:
            self.capturing = False
            recording.undo()
        graph.tape = recording.tape
        self.graphs.append(graph)

    def new_stream(self, _: object = None) -> object:
        self.streams.append(stream := object())
        return stream


def simulate(monkeypatch: pytest.MonkeyPatch) -> Simulated:
    """From here on a descent on the CPU records its steps, on this stand-in for CUDA."""
    cuda = Simulated()
    event = SimpleNamespace(record=lambda _: None, synchronize=lambda: None)
    for name, value in {
        "CUDAGraph": Graph,
        "graph": cuda.record,
        "Stream": cuda.new_stream,
        "Event": lambda: event,
        "device": lambda _: nullcontext(),
        "current_stream": lambda _=None: cuda.stream,
        "set_stream": cuda.set_stream,
        "is_current_stream_capturing": lambda: cuda.capturing,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(Engine, "records", True)
    monkeypatch.setattr(Engine, "may_record", staticmethod(lambda _: Engine.records))
    monkeypatch.setattr("styletutor.descent.engine._idle_streams", {})
    return cuda


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Simulated:
    """As `simulate`, until the end of the test."""
    return simulate(monkeypatch)

"""One picture on many workers: each of its tiles is looked at by one of them."""

from __future__ import annotations

import io
import pickle
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from styletutor.loss.pieces import Hands
from styletutor.machine import warn
from styletutor.network.vgg import VGG
from styletutor.sweeps.crew import GONE, check_installed, hired
from styletutor.sweeps.worker import other_version
from styletutor.version import __version__

if TYPE_CHECKING:
    from distributed import Client

_Job = tuple[VGG, bytes]  # the network, and a job's other arguments
MANY = 10**6  # tiles: as many processes as the machine has room for
KEPT = 2  # networks on a worker: the exact one and the fast one
_networks: dict[str, VGG] = {}
_lock = threading.Lock()


@contextmanager
def crew(scheduler: str | Client | None = None, workers: int | None = None) -> Iterator[Hands]:
    """Who looks at the tiles of one picture: give it to `transfer` as its `crew`.

    Processes of this machine, as many as `workers` (None: one for each core, as far as the memory
    goes), or those of a `scheduler`, as in `sweep`. Pixels, targets and sums travel to and fro at
    each evaluation, 40 MB for a tile of 512 pixels; the picture and L-BFGS stay here. A tile whose
    worker dies goes to another, and if all of them are gone, the picture is painted here. Sums come
    in any order, so bits do not repeat.

    >>> with st.crew("tcp://192.168.0.10:8786") as crew:
    ...     st.transfer(photo, art, width=4096, crew=crew)

    Raises as `sweep`.
    """
    check_installed()
    with hired(scheduler, workers, MANY, "cpu") as found:
        found.ask(other_version, __version__)
        yield _Together(found.client)


class _Together:
    """The hands of a cluster; alone, once it is gone."""

    def __init__(self, client: Client) -> None:
        self.client, self.alone = client, False
        # By id, which nobody else gets as long as the network is kept here.
        self.known: dict[int, tuple[VGG, str]] = {}

    def __call__(
        self, function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Any]]:
        numbered, waiting = enumerate(jobs), dict[int, _Job]()
        if not self.alone:
            try:
                yield from self._far(function, numbered, waiting)
            except Exception as error:  # of many kinds; what is ours comes again, alone
                self.alone = True
                why = " ".join(str(error).split()) or GONE
                warn(f"the crew is gone ({why}); going on alone", stacklevel=2)
        for number, (network, packed) in waiting.items():
            yield number, function(network, *pickle.loads(packed))
        for number, job in numbered:
            yield number, function(*job)

    def _far(
        self,
        function: Callable[..., Any],
        numbered: Iterator[tuple[int, tuple[Any, ...]]],
        waiting: dict[int, _Job],
    ) -> Iterator[tuple[int, Any]]:
        """All jobs done by workers; if that fails, what is `waiting` has not been done."""
        from distributed import as_completed

        finished, numbers = as_completed(loop=self.client.loop), dict[Any, int]()

        def submit(number: int, with_network: bool = False) -> None:
            network, packed = waiting[number]
            token = self.known.setdefault(id(network), (network, uuid.uuid4().hex))[1]
            given = (token, _pack(network) if with_network else None, function, packed)
            future = self.client.submit(_work, *given, pure=False)
            numbers[future] = number
            finished.add(future)

        def submit_next() -> None:
            job = next(numbered, None)
            if job is not None:
                number, (network, *rest) = job
                waiting[number] = network, _pack(rest)
                submit(number)

        for _ in range(2 * max(1, len(self.client.nthreads()))):
            submit_next()
        for future in finished:
            found, number = future.result(), numbers.pop(future)
            if found is None:  # a worker that has not met this network
                submit(number, with_network=True)
                continue
            del waiting[number]
            submit_next()
            yield number, found


class _Packer(pickle.Pickler):
    """Of a tensor that is a part of a larger one, packs the part only."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes:
            return value.detach().clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return NotImplemented


def _pack(value: Any) -> bytes:
    data = io.BytesIO()
    _Packer(data, pickle.HIGHEST_PROTOCOL).dump(value)
    return data.getvalue()


def _work(token: str, network: bytes | None, function: Callable[..., Any], packed: bytes) -> Any:
    """On a worker: what comes of a job, or None without the network that it is for."""
    with _lock:
        if network is not None and token not in _networks:
            while len(_networks) >= KEPT:
                del _networks[next(iter(_networks))]
            _networks[token] = pickle.loads(network)
        here = _networks.get(token)
    if here is None:
        return None
    torch.set_num_threads(1)
    return function(here, *pickle.loads(packed))

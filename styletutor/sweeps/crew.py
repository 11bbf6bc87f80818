"""Who paints: processes of this machine, or the workers of a dask cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from styletutor.machine import GIB, default_device, free_bytes
from styletutor.sweeps.worker import Order, Painting, fault, ignore_ctrl_c, paint
from styletutor.version import __version__

if TYPE_CHECKING:
    from distributed import Client

INSTALL = "pip install -e '.[cluster]'"
GONE = "the scheduler is gone; start it again, and the same command goes on"
PATIENCE = 9  # seconds for a scheduler to answer: with all around it, ten
EACH = 1.5 * GIB  # what a process needs, about, with the published network at 512 pixels
WAITING = 16  # pictures that are sent ahead at least: each is some megabytes to the scheduler
LOGGERS = ("distributed", "distributed.client", "tornado.application")
# A worker's C library shall keep what PyTorch frees and asks for again; dask would have it give
# back all that is above 64 KiB.
ENVIRONMENT = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}
SETTINGS = {
    "distributed.nanny.pre-spawn-environ": ENVIRONMENT,
    "distributed.admin.large-graph-warning-threshold": "1GiB",
}


@dataclass(frozen=True)
class Crew:
    """A client of a cluster, and how many of PyTorch's threads paint a picture there."""

    client: Client
    threads: int

    def check(self, networks: Mapping[str, str], device: str | None) -> None:
        """Raise ValueError if a worker has another styletutor, or other weights (name → SHA-256).

        One that comes later is looked at before its first picture.
        """
        for weights, sha256 in networks.items():
            self.ask(fault, weights, sha256, __version__, device)

    def ask(self, fault_of: Callable[..., str], *arguments: Any) -> None:
        """Raise ValueError if a worker says that something is wrong with it, or cannot say it."""
        for worker, said in self.client.run(fault_of, *arguments, on_error="return").items():
            if isinstance(said, BaseException):
                said = f"cannot run styletutor {__version__} ({said}); install it there"
            if said:
                raise ValueError(f"the worker {worker} {said}")

    def paint(self, orders: Iterable[tuple[Any, Order]]) -> Iterator[tuple[Any, Painting | str]]:
        """Each order's name with its painting, or why there is none, as they come.

        A picture whose worker dies goes to another one, up to three times. Raises ConnectionError
        if the scheduler is gone.
        """
        from distributed import as_completed

        orders, names = iter(orders), dict[Any, Any]()
        finished = as_completed(loop=self.client.loop)

        def submit(most: int) -> None:
            while len(names) < most and (order := next(orders, None)):
                key = f"styletutor-{uuid.uuid4().hex}"
                future = self.client.submit(paint, order[1], key=key, pure=False)
                names[future] = order[0]
                finished.add(future)

        try:
            submit(self._ahead())
            for future in finished:
                name = names.pop(future)
                yield name, self._outcome(future)
                submit(self._ahead())
        except OSError:
            raise ConnectionError(GONE) from None
        finally:
            with suppress(Exception):  # whoever cannot be reached has nothing to cancel
                self.client.cancel(list(names), force=True)

    def _ahead(self) -> int:
        return max(WAITING, 2 * sum(self.client.nthreads().values()))

    def _outcome(self, future: Any) -> Painting | str:
        from distributed import KilledWorker

        if future.status in ("cancelled", "lost"):
            raise ConnectionError(GONE)
        try:
            return future.result()
        except KilledWorker:
            return "every worker that began it died, perhaps for want of memory; use a smaller size"
        except ValueError as error:
            return str(error)
        except Exception as error:  # of a bug, or of another program's: the others go on
            return f"{type(error).__name__}: {' '.join(str(error).split())}"


@contextmanager
def hired(
    scheduler: str | Client | None, workers: int | None, pictures: int, device: str | None
) -> Iterator[Crew]:
    """Processes of this machine, as many as `workers`, or those of a `scheduler`.

    Raises ModuleNotFoundError without dask, and ConnectionError if the scheduler does not answer
    within ten seconds.
    """
    dask, distributed = _dask()
    with ExitStack() as stack:
        stack.enter_context(_environment_kept())
        stack.enter_context(dask.config.set(SETTINGS))
        stack.enter_context(_silent())
        if isinstance(scheduler, distributed.Client):
            yield Crew(scheduler, 1)
        elif isinstance(scheduler, str):
            yield Crew(stack.enter_context(_client(scheduler)), 1)
        elif scheduler is not None:
            raise ValueError(f"scheduler={scheduler!r}; give an address or a distributed.Client")
        else:
            cores = _cores()
            count = workers or _workers(cores, pictures, device)
            cluster = _processes(count)
            client = stack.enter_context(
                distributed.Client(stack.enter_context(cluster), set_as_default=False)
            )
            client.run(ignore_ctrl_c)
            yield Crew(client, max(1, cores // count))


def _processes(count: int) -> Any:
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            security=True,  # or whoever else is on this machine could run code as this user
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise ChildProcessError(
            "the worker processes do not start; a script has to call this under "
            '`if __name__ == "__main__":`, because they read it too'
        ) from error


def check_installed() -> None:
    """Raise ModuleNotFoundError, with what to install, if dask or a part of it is not there."""
    _dask()


def _dask() -> tuple[Any, Any]:
    try:
        import cryptography  # noqa: F401
        import dask
        import distributed
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed, which a sweep runs on; in a clone, run: {INSTALL}"
        ) from None
    return dask, distributed


@contextmanager
def _client(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        # In a thread, because a notebook has a loop running in its own.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _knock(address)).result()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dask's table of versions; ours are compared
            client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ConnectionError(
            f"no scheduler answers at {address!r} ({why}); check the address, which looks like "
            "tcp://192.168.0.10:8786, and that `dask scheduler` runs there"
        ) from None
    with client:
        if not client.nthreads():
            warnings.warn(
                f"the scheduler has no workers yet; start some with `dask worker {address}`",
                stacklevel=2,
            )
        yield client


async def _knock(address: str) -> None:
    """Raise an error unless a scheduler answers: a client would wait for ever on a silent port."""
    from distributed.comm import connect
    from distributed.security import Security

    how = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=PATIENCE, **how), PATIENCE)
    await comm.close()


@contextmanager
def _silent() -> Iterator[None]:
    """What dask logs of connections that come and go is not for whoever paints."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _environment_kept() -> Iterator[None]:
    """What dask sets for its processes it leaves set in this one, whose other children would then
    have one thread, and other bits."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _cores() -> int:
    import psutil
    from dask.system import CPU_COUNT  # what a container, or a scheduler of batches, leaves of them

    return max(1, min(CPU_COUNT, psutil.cpu_count(logical=False) or CPU_COUNT))


def _workers(cores: int, pictures: int, device: str | None) -> int:
    if (device or default_device().type) != "cpu":
        return 1  # a GPU has enough to do with one picture
    from torch import device as of

    return max(1, min(cores, pictures, int(free_bytes(of("cpu")) // EACH)))

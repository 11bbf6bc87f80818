"""A dask cluster of this machine's own processes, for the tests that paint on several."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch


def make_cluster(workers: int, processes: bool = True) -> Any:
    """A `LocalCluster` of so many workers of one thread each, which says nothing; without
    `processes` they are threads of this one."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        processes=processes,
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A client of two workers."""
    from distributed import Client

    with make_cluster(2) as made, Client(made) as client:
        client.run(torch.set_num_threads, 1)
        yield client

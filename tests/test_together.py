"""One picture on several processes: the same gradient, also when one of them is killed."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from test_tiles import aims, doubles, loss_and_gradient
from workers import make_cluster

import styletutor as st
from styletutor.loss.objective import Objective
from styletutor.loss.units import Units
from styletutor.sweeps import together

distributed = pytest.importorskip("distributed", reason="dask is not installed: extra `cluster`")
pytest.importorskip("cryptography", reason="cryptography is not installed: extra `cluster`")


@pytest.mark.parametrize("statistic", ["gram", "wasserstein", "sliced"])
def test_the_gradient_is_that_of_one_process(cluster: Any, statistic: str) -> None:
    vgg, size = make_tiny_vgg().double(), (100, 140)
    left = torch.zeros(size)
    left[:, :60] = 1
    more = {"units": Units(statistic=statistic), "masks": [left]}
    alone = Objective(vgg, **aims(size, **more))
    losses, gradient = loss_and_gradient(alone, doubles(1, *size))
    shared = Objective(vgg, tile=32, **aims(size, **more))
    with st.crew(cluster) as crew:
        shared.hands = crew
        for _ in range(2):
            found, slope = loss_and_gradient(shared, doubles(1, *size))
            for name, value in losses.items():
                torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)
            assert ((slope - gradient).abs().max() / gradient.abs().max()).item() < 1e-9


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_worker_that_is_killed_is_no_loss(cluster: Any) -> None:
    photo, killed = random_pictures(1, 100, 140), []
    how = {"vgg": st.load_vgg("pocket", device="cpu"), "evaluations": 3, "tile": 48}
    how |= {"precision": "exact"}
    alone = st.transfer(photo, photo.flip(3), **how)

    def kill(step: Any) -> None:
        if step.evaluation == 1:
            killed.append(next(iter(cluster.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    with st.crew(cluster) as crew:
        shared = st.transfer(photo, photo.flip(3), crew=crew, on_step=kill, **how)
    assert killed and len(shared.history) == 3
    torch.testing.assert_close(shared.image, alone.image, rtol=0, atol=2e-3)


def test_a_crew_that_is_gone_leaves_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = random_pictures(1, 100, 140)
    how = {"vgg": st.load_vgg("pocket", device="cpu"), "evaluations": 3, "tile": 48}
    how |= {"precision": "exact"}
    alone = st.transfer(photo, photo.flip(3), **how)
    with make_cluster(1) as made:
        client = distributed.Client(made)

        def leave(step: Any) -> None:
            if step.evaluation == 1:
                client.close()

        hands = together._Together(client)
        with pytest.warns(UserWarning, match="the crew is gone"):
            shared = st.transfer(photo, photo.flip(3), crew=hands, on_step=leave, **how)
    torch.testing.assert_close(shared.image, alone.image, rtol=0, atol=2e-3)

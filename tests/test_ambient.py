"""What a caller has chosen for all of PyTorch changes no picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from torch import Tensor

import styletutor as st
from styletutor.descent import descend
from styletutor.machine import usual_torch
from styletutor.network.weights import untrained

Surroundings = Callable[[], AbstractContextManager]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


AMBIENT: dict[str, Surroundings] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: torch.device("meta"),  # a default device, as set_default_device makes it
}


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize("name", AMBIENT)
def test_transfers_are_the_same_everywhere(name: str, optimiser: str) -> None:
    vgg, photo, art = make_tiny_vgg(), random_pictures(1, 32, 40), random_pictures(1, 36, 32)
    how = {"vgg": vgg, "evaluations": 4, "progress": False, "optimiser": optimiser}
    how |= {"start": "noise", "tv_weight": 0.1}
    expected = st.transfer(photo, art, **how)
    with AMBIENT[name]():
        found = st.transfer(photo, art, **how)
    assert torch.equal(found.image, expected.image) and found.history == expected.history
    assert found.loss["end"]["total"] < found.loss["start"]["total"]
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", AMBIENT)
def test_reconstructions_networks_and_loops_are_the_same_everywhere(name: str) -> None:
    vgg, photo = make_tiny_vgg(), random_pictures(1, 32, 40)
    how = {"vgg": vgg, "evaluations": 3, "progress": False}

    def made() -> list[Tensor]:
        objective = st.Objective(vgg, content=photo, content_layers="relu2_1")
        *_, last = descend(objective, photo.flip(3), 3)
        content, style = (
            verb(photo, "relu2_1", **how).image
            for verb in (st.reconstruct_content, st.reconstruct_style)
        )
        return [last.best, content, style, *untrained((4, 4, 6, 6, 6)).parameters()]

    expected = made()
    with AMBIENT[name]():
        found = made()
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_many_threads_leave_the_default_type_as_it_was() -> None:
    """Whoever leaves first takes nothing away from the others; whoever chooses meanwhile wins."""

    def stay(entered: Event, leave: Event, seen: list[torch.dtype]) -> None:
        with usual_torch():
            entered.set()
            assert leave.wait(30)
            seen.append(torch.get_default_dtype())

    def chosen_meanwhile(dtype: torch.dtype | None) -> torch.dtype:
        seen: list[torch.dtype] = []
        stays = [(Event(), Event(), seen) for _ in range(2)]
        threads = [Thread(target=stay, args=each) for each in stays]
        with default_dtype(torch.float64):
            for each, thread in zip(stays, threads, strict=True):
                thread.start()
                assert each[0].wait(30)
            if dtype is not None:
                torch.set_default_dtype(dtype)
            for each, thread in zip(stays, threads, strict=True):
                each[1].set()
                thread.join()
            assert seen == 2 * [dtype or torch.float32]
            return torch.get_default_dtype()

    assert chosen_meanwhile(None) == torch.float64
    assert chosen_meanwhile(torch.float16) == torch.float16
    assert chosen_meanwhile(None) == torch.float64


def test_what_inference_mode_made_can_be_used_outside() -> None:
    with torch.inference_mode():
        vgg = untrained((4, 4, 6, 6, 6))
        photo, art = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    how = {"vgg": vgg, "evaluations": 3, "progress": False}
    result = st.transfer(photo, art, start="noise", **how)
    assert result.loss["end"]["total"] < result.loss["start"]["total"]


def test_a_network_of_few_digits_is_refused() -> None:
    photo = random_pictures(1, 32, 32)
    with pytest.raises(ValueError, match=r"float16.*precision='fast'"):
        st.transfer(photo, photo, vgg=make_tiny_vgg().half())


def test_weights_of_nothing_say_so() -> None:
    photo = random_pictures(1, 32, 32)
    how = {"vgg": make_tiny_vgg(), "evaluations": 2, "progress": False}
    with pytest.warns(UserWarning, match="all weights are 0"):
        st.transfer(photo, photo, content_weight=0, style_weight=0, **how)

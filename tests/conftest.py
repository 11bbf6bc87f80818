"""A network small enough for float64 oracles, and pictures for it."""

import os
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NoReturn

import pytest
import torch
from torch import Tensor

from styletutor.network.vgg import VGG, layer_table

pytest_plugins = ["browser", "graphs", "page", "workers"]

# A machine with a GPU often has PyTorch and little else; the core's tests need no more.
LAB = ("nbformat", "ipywidgets", "anywidget", "jupyter_server", "voila")
OF_THE_LAB = [
    f"test_{name}.py"
    for name in ("beyond", "grading", "lessons", "museum", "notebooks", "panels_in_browser",
                 "site", "studio", "studio_page", "widgets")
]  # fmt: skip
MISSING = [module for module in LAB if find_spec(module) is None]
collect_ignore = OF_THE_LAB if MISSING else []

ENVIRONMENT = dict(os.environ)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WIDTHS = (4, 5, 6, 7, 8)


def pytest_report_header() -> list[str]:
    return [f"without {', '.join(MISSING)}: lessons and panels are not tested"] if MISSING else []


def make_tiny_vgg(seed: int = 0, pooling: str = "avg", **about: str) -> VGG:
    generator = torch.Generator().manual_seed(seed)
    parameters, channels = {}, 3
    for layer in layer_table(WIDTHS):
        if layer.kind == "conv":
            weight = torch.randn(layer.channels, channels, 3, 3, generator=generator)
            bias = 0.1 * torch.randn(layer.channels, generator=generator)
            parameters[layer.name] = (weight * (2 / (9 * channels)) ** 0.5, bias)
            channels = layer.channels
    about = {"name": "tiny", "trained_on": "nothing", "sha256": "0" * 64} | about
    return VGG(parameters, pooling=pooling, **about)


def random_pictures(*shape: int, seed: int = 0) -> Tensor:
    """Smooth random pictures of the given (B, H, W), well inside [0, 1]."""
    batch, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (0.1 + 0.7 * smooth + 0.1 * torch.rand(smooth.shape, generator=generator)).clamp(0, 1)


@pytest.fixture(autouse=True)
def as_many_threads() -> Iterator[None]:
    """A test, or dask in it, may change how many threads there are, here or in what is started
    later: with another number the last bits are others."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    for name in THREADS:
        os.environ.pop(name, None)
        if name in ENVIRONMENT:
            os.environ[name] = ENVIRONMENT[name]


@pytest.fixture
def tiny_vgg() -> VGG:
    return make_tiny_vgg()


def ctrl_c_amid_waiting() -> NoReturn:
    """What `threading.Condition.wait` makes of Ctrl-C when it has just let go of its lock."""
    lock = threading.Lock()
    with lock:
        lock.release()
        raise KeyboardInterrupt

"""The studio's page, part by part in node: its kernels against the module that they stand for."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_pictures
from torch import Tensor

import styletutor as st
from styletutor.cookbook.recipe import STYLE_LAYERS
from styletutor.descent.lbfgs import LBFGS
from styletutor.loss.objective import Objective
from styletutor.network.vgg import VGG

ROOT = Path(__file__).parents[1]
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(not NODE, reason="node is not installed")

CONTENT, STYLES = {"relu4_2": 1.0}, dict.fromkeys(STYLE_LAYERS, 0.2)
SIZES = [(96, 96), (64, 101), (47, 80)]


@pytest.fixture(scope="module")
def pocket() -> VGG:
    return st.load_vgg("pocket")


Ask = Callable[[Mapping[str, Tensor], list[tuple[str, dict[str, Any]]]], list[Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """`ask({"x": tensor}, [("noise", {…})])` has page.mjs do that; tensors go and come as files."""

    def ask(tensors: Mapping[str, Tensor], todo: list[tuple[str, dict[str, Any]]]) -> list[Any]:
        for name, tensor in tensors.items():
            tensor.detach().numpy().astype("<f4").tofile(tmp_path / f"{name}.bin")
        (tmp_path / "given.json").write_text(json.dumps(todo))
        program = [NODE, str(ROOT / "tests/page.mjs"), str(tmp_path)]
        done = subprocess.run(program, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "found.json").read_text())

    return ask


def answer(folder: Path, name: str, like: Tensor) -> Tensor:
    return torch.from_numpy(np.fromfile(folder / f"{name}.bin", "<f4")).view_as(like)


def about(picture: Tensor, name: str) -> dict[str, Any]:
    return {"name": name, "height": picture.shape[2], "width": picture.shape[3]}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("terms", ["content", "style", "both"])
def test_losses_and_gradient_are_the_objectives(
    build: Any, pocket: VGG, ask: Ask, tmp_path: Path, size: tuple[int, int], terms: str
) -> None:
    (tmp_path / "plain.wasm").write_bytes(build.compile_kernels("plain"))
    (tmp_path / "network.safetensors").write_bytes(build.weights())
    photo = st.load_image("astronaut", 128)[:, :, : size[0], : size[1]]
    art = st.load_image("stained-glass", 90)
    if terms == "style":  # the picture has the size of what it is to be like
        art = st.load_image("stained-glass", 150)[:, :, : size[0], : size[1]]
    at = (photo + 0.1 * random_pictures(1, *size)).clamp(0, 1)
    at[:, :, :12, :12] = 0.5  # where nothing varies, maxima are ties
    use = {"content": terms != "style", "style": terms != "content"}
    layers = CONTENT if terms == "both" else {"relu2_2": 0.3, "relu4_4": 0.7}
    aims = {"content": photo, "content_layers": layers} if use["content"] else {}
    aims |= {"styles": [art], "style_layers": STYLES} if use["style"] else {}
    tv = 5.0 if terms == "both" else 0.0
    objective = Objective(pocket, **aims, style_weight=40.0, tv_weight=tv)
    weights = {name: value[0] for name, value in objective.weight_values().items()}
    turns = [{"content": 0.0}, {"style relu5_1": 0.0, "style": 3.0}] if terms == "both" else []
    problem = {
        "content": about(photo, "photo") if use["content"] else None,
        "style": about(art, "art") if use["style"] else None,
        "contentLayers": list(layers) if use["content"] else [],
        "styleLayers": list(STYLES) if use["style"] else [],
    }
    how = {"kernels": "plain.wasm", "knobs": weights, "at": "at", "turns": turns, "to": "gradient"}
    tensors = {"photo": photo, "art": art, "at": at}
    (found,) = ask(tensors, [("objective", {**problem, **how})])
    for number, turn in enumerate([{}, *turns]):
        for name, value in turn.items():
            objective.set_weight(name, value)
        image = at.clone().requires_grad_()
        parts = {name: loss for name, loss in objective.parts(image).items() if loss.item()}
        (gradient,) = torch.autograd.grad(sum(parts.values()).sum(), image)
        assert set(found[number]) == set(parts)
        for name, loss in parts.items():
            assert found[number][name] == pytest.approx(loss.item(), rel=1e-4), name
        off = answer(tmp_path, f"gradient-{number}", gradient) - gradient
        assert off.norm() <= 1e-4 * gradient.norm(), number
        assert off.abs().max() <= 1e-3 * gradient.abs().max()


@pytest.mark.parametrize("size", [(24, 30), (35, 22), (1, 7)], ids=str)
def test_damping_is_the_optimisers(ask: Ask, tmp_path: Path, size: tuple[int, int]) -> None:
    first, second = torch.randn(2, 1, 3, *size, generator=torch.Generator().manual_seed(0))
    how = {"height": size[0], "width": size[1], "wavelength": 32.0, "to": ["one", "two"]}
    ask({"a": first, "b": second}, [("damp", {"first": "a", "second": "b", **how})])
    for name, given in (("one", first), ("two", second)):
        wanted = LBFGS(wavelength=32.0)._damp(given).view_as(given)
        assert torch.allclose(answer(tmp_path, name, given), wanted, atol=1e-5)


@pytest.mark.parametrize(("count", "seed"), [(16, 0), (3 * 33 * 47, 7), (48, 2**31 - 1)])
def test_noise_is_pytorchs(ask: Ask, tmp_path: Path, count: int, seed: int) -> None:
    wanted = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    ask({}, [("noise", {"count": count, "seed": seed, "to": "noise"})])
    assert torch.allclose(answer(tmp_path, "noise", wanted), wanted, atol=1e-5)


@pytest.mark.parametrize("size", [64, 37, 100])
def test_pictures_shrink_as_in_the_module(ask: Ask, tmp_path: Path, size: int) -> None:
    picture = random_pictures(1, 100, 77)
    wanted = st.pictures.images.resize_image(picture, size)
    how = {"from": "picture", "height": 100, "width": 77, "size": size, "to": "small"}
    ask({"picture": picture}, [("resize", how)])
    assert torch.allclose(answer(tmp_path, "small", wanted), wanted, atol=2e-6)

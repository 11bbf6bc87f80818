"""The page docs/core.md: its code, run as it stands there, is the core in plain PyTorch."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

import styletutor as st
from styletutor.descent import Method, descend
from styletutor.loss.objective import Objective

PAGE = Path(__file__).parents[1] / "docs/core.md"
CORE, PAINT = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
STYLE_LAYERS = ["relu1_1", "relu1_2", "relu2_1", "relu3_1"]  # ¼ is an exact weight


@pytest.fixture(scope="module")
def page() -> SimpleNamespace:
    names: dict[str, object] = {}
    exec(compile(CORE, str(PAGE), "exec"), names)
    return SimpleNamespace(**names)


@pytest.mark.parametrize("start", ["photo", "noise"])
def test_ten_steps_are_those_of_the_core(page: SimpleNamespace, start: str) -> None:
    vgg = make_tiny_vgg().double().adapted(pooling="max")
    photo, art = (
        random_pictures(1, *size, seed=i).double() for i, size in enumerate(((34, 41), (29, 36)))
    )
    begin = photo if start == "photo" else random_pictures(1, 34, 41, seed=9).double()
    parameters = {name: (conv.weight, conv.bias) for name, conv in vgg.convolutions.items()}
    loss = page.transfer(
        lambda picture: page.features(parameters, vgg.mean, picture),
        photo, art, "relu2_2", STYLE_LAYERS, style_weight=40.0,
    )  # fmt: skip
    objective = Objective(
        vgg, content=photo, styles=[art], content_layers="relu2_2", style_layers=STYLE_LAYERS,
        style_weight=40.0,
    )  # fmt: skip
    steps = descend(objective, begin, 11, method=Method(clamp=False))
    for (value, picture), step in zip(page.lbfgs(loss, begin.clone(), 11), steps, strict=True):
        assert value == pytest.approx(step.losses["total"], rel=1e-9)
        torch.testing.assert_close(picture, step.image, rtol=0, atol=1e-9)
    assert step.losses["total"] < 0.5 * float(loss(begin))


def test_the_formulas_are_those_of_the_module(page: SimpleNamespace) -> None:
    vgg, picture = make_tiny_vgg().adapted(pooling="max"), random_pictures(1, 33, 40)
    parameters = {name: (conv.weight, conv.bias) for name, conv in vgg.convolutions.items()}
    found = page.features(parameters, vgg.mean, picture)
    for name, theirs in vgg(picture, list(found)).items():
        torch.testing.assert_close(found[name], theirs)
    torch.testing.assert_close(page.gram(found["relu2_1"]), st.gram_matrix(found["relu2_1"]))


def test_the_page_paints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Its example, with fewer evaluations and the smaller network."""
    monkeypatch.chdir(tmp_path)
    assert 'load_vgg("auto"' in PAINT and "photo.clone(), 60" in PAINT
    quick = PAINT.replace('load_vgg("auto"', 'load_vgg("pocket"').replace(
        "photo.clone(), 60", "photo.clone(), 8"
    )
    exec(compile(CORE + quick, str(PAGE), "exec"), {})
    losses = [float(line) for line in capsys.readouterr().out.split()]
    assert losses[-1] < 0.7 * losses[0]
    assert st.load_image("coffee-in-forty-lines.png").shape[3] == 128

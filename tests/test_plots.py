"""Figures: what is drawn where, from a thread too, and without pyplot."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

import styletutor as st
from styletutor import plots
from styletutor.descent import Step
from styletutor.network.vgg import VGG
from styletutor.pictures.images import to_uint8
from styletutor.runs.result import Result

PHOTO, ART = random_pictures(1, 24, 32, seed=1), random_pictures(1, 24, 32, seed=2)


@pytest.fixture(scope="module")
def result() -> Result:
    return st.transfer(
        PHOTO, ART, vgg=make_tiny_vgg(), evaluations=5, tv_weight=0.1,
        content_layers="relu2_2", style_layers=["relu1_1", "relu3_1"],
    )  # fmt: skip


def shown(sheet: plots.Sheet) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in sheet.axes if axes.images]


def test_picture_grid() -> None:
    sheet = plots.picture_grid({"photo": PHOTO, "art": ART, "again": PHOTO}, columns=2, title="T")
    assert [axes.get_title() for axes in sheet.axes] == ["photo", "art", "again"]
    for drawn, picture in zip(shown(sheet), (PHOTO, ART, PHOTO), strict=True):
        assert np.array_equal(drawn, to_uint8(picture))
    assert sheet.get_suptitle() == "T"
    assert "photo, art, again" in sheet.alt


def test_the_network_is_named_in_the_figure(result: Result) -> None:
    for sheet in (
        plots.side_by_side(PHOTO, ART, result),
        plots.reconstruction_grid(PHOTO, {"relu1_1": result}),
        plots.loss_curves(result),
        plots.layer_sheet(make_tiny_vgg(), PHOTO, ["relu1_1"], 2),
    ):
        assert "tiny, trained on nothing" in sheet.get_suptitle()


def test_layer_sheet_shows_the_strongest_channels(tiny_vgg: VGG) -> None:
    layers = ["relu1_1", "relu3_1"]
    sheet = plots.layer_sheet(tiny_vgg, PHOTO, layers, channels=3)
    drawn = shown(sheet)
    assert len(drawn) == 6
    for row, layer in enumerate(layers):
        maps = tiny_vgg(PHOTO, [layer])[layer][0]
        order = sorted(range(len(maps)), key=lambda c: -maps[c].abs().mean().item())
        assert np.array_equal(drawn[3 * row], maps[order[0]].numpy())
        assert sheet.axes[3 * row].get_ylabel().startswith(layer)


def test_loss_curves_are_the_history(result: Result) -> None:
    sheet = plots.loss_curves(result)
    terms, layers = ({line.get_label(): line for line in axes.lines} for axes in sheet.axes)
    assert set(terms) == {"content", "style", "tv", "total"}
    assert set(layers) == {"content relu2_2", "style relu1_1", "style relu3_1", "tv"}
    assert list(terms["total"].get_ydata()) == [row["total"] for row in result.history]
    expected = [row["parts"]["style relu3_1"] for row in result.history]
    assert list(layers["style relu3_1"].get_ydata()) == expected
    styles = {line.get_linestyle() for line in terms.values()}
    assert len(styles) == 4, "not by colour alone"


def test_loss_curves_of_a_term_that_comes_and_goes() -> None:
    def on_step(step: Step) -> None:
        step.objective.set_weight("tv", {3: 0.1, 5: 0.0}.get(step.evaluation, 0.0))

    result = st.transfer(
        PHOTO, ART, vgg=make_tiny_vgg(), evaluations=6, on_step=on_step,
        content_layers="relu2_2", style_layers=["relu1_1"],
    )  # fmt: skip
    axes = plots.loss_curves(result).axes[0]
    tv = next(line for line in axes.lines if line.get_label() == "tv")
    assert [i for i, y in enumerate(tv.get_ydata(), 1) if y == y] == [4]
    assert axes.get_yscale() == "log"


def test_a_loss_of_one_layer_is_one_curve() -> None:
    how = {"vgg": make_tiny_vgg(), "evaluations": 3, "progress": False}
    (axes,) = plots.loss_curves(st.reconstruct_content(PHOTO, "relu2_1", **how)).axes
    assert [line.get_label() for line in axes.lines] == ["content relu2_1"]


def test_marks_of_a_heatmap_do_not_run_together() -> None:
    gram = torch.zeros(1, 40, 40)
    for channel, strength in {10: 4.0, 11: 3.0, 30: 2.0, 39: 1.0}.items():
        gram[0, channel, channel] = strength
    axes = plots.gram_heatmap({"art": gram}).axes[0]
    assert list(axes.get_xticks()) == list(axes.get_yticks()) == [10, 30, 39]


def test_gram_heatmap(tiny_vgg: VGG) -> None:
    gram = st.gram_matrix(tiny_vgg(PHOTO, "relu2_1")["relu2_1"])
    assert np.array_equal(shown(plots.gram_heatmap({"photo": gram}))[0], gram[0].numpy())


def test_figures_can_be_made_in_a_thread_and_shown(result: Result) -> None:
    out = []
    thread = threading.Thread(target=lambda: out.append(plots.loss_curves(result)))
    thread.start()
    thread.join()
    bundle = out[0]._repr_mimebundle_()
    assert bundle["image/jpeg"][:3] == b"\xff\xd8\xff"
    assert "losses" in bundle["text/plain"]


def test_save_is_whole_or_refused(tmp_path: Path, result: Result) -> None:
    sheet = plots.side_by_side(PHOTO, ART, result)
    for suffix in ("png", "jpg", "webp"):
        sheet.save(tmp_path / f"sheet.{suffix}")
        assert st.load_image(tmp_path / f"sheet.{suffix}").shape[-1] > 600
    with pytest.raises(ValueError, match="expected a file name"):
        sheet.save(tmp_path / "sheet.doc")
    with pytest.raises(FileNotFoundError):
        sheet.save(tmp_path / "nowhere" / "sheet.png")


def test_no_pyplot() -> None:
    code = "import sys, styletutor.plots; print('matplotlib.pyplot' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_torch_is_not_left_with_gradients(tiny_vgg: VGG) -> None:
    plots.layer_sheet(tiny_vgg, PHOTO.clone().requires_grad_(), ["relu1_1"], 2)
    assert torch.is_grad_enabled()

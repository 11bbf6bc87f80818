"""The panels, driven by their traits as a browser would drive them."""

import io
import threading

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from PIL import Image

from styletutor import widgets
from styletutor.descent import Step

PHOTO, ART = random_pictures(1, 32, 48, seed=1), random_pictures(1, 32, 48, seed=2)
LAYERS = {"content_layers": "relu2_2", "style_layers": ["relu1_1"]}


def opened(picture: object) -> Image.Image:
    return Image.open(io.BytesIO(picture.value))


def button(panel: widgets.LivePanel, name: str) -> object:
    row = next(child for child in panel.children if hasattr(child, "children"))
    return next(b for b in row.children if b.description == name)


def test_channel_browser() -> None:
    browser = widgets.channel_browser(make_tiny_vgg(), PHOTO)
    (layer, channel), caption, picture = browser.children[0].children, *browser.children[1:]
    first = picture.value
    assert "trained on nothing" in caption.value
    assert opened(picture).size[0] >= 200
    channel.value = 2
    assert picture.value != first and "channel 2 of 4" in caption.value
    layer.value = "relu5_1"
    assert "relu5_1" in caption.value and channel.max == 7
    channel.value = 7
    layer.value = "conv1_1"
    assert channel.value == 3, "a layer with fewer channels moves the slider"
    assert "channel 3 of 4" in caption.value


def test_channel_browser_opens_at_the_channel_asked_for_and_looks_no_deeper() -> None:
    browser = widgets.channel_browser(make_tiny_vgg(), PHOTO[..., :8, :8], "relu2_1", channel=4)
    assert browser.children[0].children[1].value == 4
    assert "relu2_1, channel 4 of 5" in browser.children[1].value


def test_content_panel() -> None:
    panel = widgets.content_panel(make_tiny_vgg(), PHOTO, layer="relu2_1", evaluations=4)
    button(panel, "Start").click()
    result = panel.wait()
    assert result.settings["layers"] == "relu2_1"
    assert opened(panel.picture).size[0] >= 200
    assert "4 evaluations" in panel.caption.value
    panel.children[0].value = "relu3_1"
    assert panel.start().wait().settings["layers"] == "relu3_1"


def test_style_panel() -> None:
    panel = widgets.style_panel(make_tiny_vgg(), ART, ["relu1_1"], evaluations=3)
    panel.children[0].value = ("relu1_1", "relu2_1")
    assert panel.start().wait().settings["layers"] == ["relu1_1", "relu2_1"]


def test_the_fader_acts_on_the_running_picture() -> None:
    panel = widgets.balance_panel(
        make_tiny_vgg(), PHOTO, ART, style_weight=10.0, evaluations=8, **LAYERS
    )
    arrived, go, run = threading.Semaphore(0), threading.Semaphore(0), None

    def gate(step: Step) -> None:
        show(step)
        arrived.release()
        assert go.acquire(timeout=30)

    original = panel._make_run

    def gated() -> object:
        nonlocal run
        run = original()
        return run

    panel._make_run = gated
    show = panel._show
    panel._show = gate
    panel.start()
    assert arrived.acquire(timeout=30)
    assert "evaluation 1 of 8" in panel.caption.value
    assert opened(panel.picture).size[0] >= 200, "the picture shows while it forms"
    panel.children[0].value = 1000.0
    for _ in range(8):
        go.release()
    assert panel.wait().turned == [{"evaluation": 2, "weights": {"style": [1000.0]}}]


def test_stop_and_start_again() -> None:
    panel = widgets.content_panel(make_tiny_vgg(), PHOTO, layer="relu2_1", evaluations=100000)
    button(panel, "Stop").click()  # before anything runs: no harm
    first = panel.start().run
    button(panel, "Stop").click()
    assert panel.wait().interrupted
    second = panel.start().run
    third = panel.start().run
    assert second.wait(timeout=30).interrupted, "a new start stops the run before"
    panel.stop()
    third.wait(timeout=30)
    assert first is not third
    assert not [t for t in threading.enumerate() if t.name.startswith("styletutor-")]


def test_a_run_that_was_replaced_draws_nothing_more() -> None:
    panel = widgets.content_panel(make_tiny_vgg(), PHOTO, layer="relu2_1", evaluations=100000)
    old = panel.start().run
    panel.start()
    old.wait(timeout=30)
    panel.stop()
    panel.wait()
    panel.caption.value, panel._shown_at = "untouched", 0.0
    old.on_step(old.step)
    old.on_end(old)
    assert panel.caption.value == "untouched"


def test_an_error_in_the_thread_is_shown_and_raised() -> None:
    panel = widgets.content_panel(
        make_tiny_vgg(), PHOTO[:, :, :8, :8], layer="relu5_1", evaluations=3
    )
    panel.start()
    with pytest.raises(ValueError, match="too small"):
        panel.wait()
    assert "too small for relu5_1" in panel.caption.value


def test_wait_without_start() -> None:
    panel = widgets.content_panel(make_tiny_vgg(), PHOTO)
    with pytest.raises(RuntimeError, match="nothing was started"):
        panel.wait()
    assert torch.is_grad_enabled()

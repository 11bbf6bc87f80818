"""The panels but the studio, driven by their traits as a browser would drive them."""

import io
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from PIL import Image

import styletutor as st
from styletutor import widgets
from styletutor.network.layers import seen_by
from styletutor.widgets import budget, elements
from styletutor.widgets.explorer import strongest_places
from styletutor.widgets.live import Note

PHOTO, ART = random_pictures(1, 32, 48, seed=1), random_pictures(1, 32, 48, seed=2)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def finished(panel: object) -> st.Result:
    result = panel.wait(timeout=60)
    panel.run._thread.join()
    return result


# layer explorer


def test_the_explorer_opens_where_it_is_asked_to() -> None:
    explorer = widgets.LayerExplorer(make_tiny_vgg(), PHOTO, "relu2_1", channel=4)
    assert (explorer.layer, explorer.channel) == ("relu2_1", 4)
    assert [row["name"] for row in explorer.map.layers][:3] == ["conv1_1", "relu1_1", "conv1_2"]
    assert "relu2_1: 5 channels of 24×16" in explorer.about.text
    assert "each position sees 10×10 pixels" in explorer.about.text
    assert "trained on nothing" in explorer.about.text
    assert opened(explorer.large.value).size == (48, 32)
    assert widgets.LayerExplorer(make_tiny_vgg(), PHOTO[..., :8, :8], "relu2_1"), "no deeper look"


def test_another_layer_is_chosen_on_the_map() -> None:
    explorer = widgets.LayerExplorer(make_tiny_vgg(), PHOTO)
    before = explorer.large.value
    explorer.map.set_state({"selected": ["relu4_1"]})
    assert explorer.large.value != before and "relu4_1: 7 channels of 6×4" in explorer.about.text
    assert len(explorer.sheet.items) == 7


def test_the_sheet_is_sorted_by_strength() -> None:
    vgg = make_tiny_vgg()
    explorer = widgets.LayerExplorer(vgg, PHOTO, "relu3_1")
    strength = vgg(PHOTO, ["relu3_1"])["relu3_1"][0].abs().mean((1, 2))
    order = [int(item["label"]) for item in explorer.sheet.items]
    assert order == strength.argsort(descending=True).tolist()
    first = explorer.large.value
    explorer.sheet.set_state({"selected": [2]})
    assert explorer.channel == order[2] and explorer.large.value != first


def test_patches_are_where_the_channel_answers_most() -> None:
    vgg = make_tiny_vgg()
    explorer = widgets.LayerExplorer(vgg, PHOTO, "relu1_1")
    activation = vgg(PHOTO, ["relu1_1"])["relu1_1"][0, explorer.channel]
    row, column = divmod(int(activation.argmax()), 48)
    box = explorer.large.boxes[0]
    assert box["x"] * 48 == pytest.approx(column - 1) and box["y"] * 32 == pytest.approx(row - 1)
    assert float(explorer.patches.items[0]["label"]) == pytest.approx(
        float(activation.max()), rel=1e-2
    )


def test_places_keep_their_distance() -> None:
    activation = torch.zeros(12, 12)
    activation[4, 4], activation[4, 5], activation[9, 9] = 3.0, 2.9, 1.0
    assert strongest_places(activation, 2) == [(4, 4), (9, 9)]
    assert len(strongest_places(torch.zeros(3, 3), 5)) < 5


def test_a_click_says_what_the_position_sees() -> None:
    explorer = widgets.LayerExplorer(make_tiny_vgg(), PHOTO, "relu2_1")
    assert "click in the picture" in explorer.place.text
    explorer.large.set_state({"point": [0.5, 0.25]})
    assert explorer.place.text.startswith("row 4, column 12: ")
    assert explorer.large.boxes[-1]["strong"]
    assert explorer.large.boxes[-1]["width"] == pytest.approx(10 / 48)
    opaque = explorer.large.value
    explorer.opacity.value = 0.0
    assert explorer.large.value != opaque


def test_a_layer_too_deep_for_the_picture_is_said() -> None:
    explorer = widgets.LayerExplorer(make_tiny_vgg(), PHOTO[..., :8, :8], "relu2_1")
    explorer.map.set_state({"selected": ["relu5_1"]})
    assert "too small for relu5_1" in explorer.about.text and explorer.layer == "relu2_1"
    for bad in ([], ["nonsense"]):
        explorer.map.set_state({"selected": bad})
    for bad in ([1.0, 1.0], [float("nan"), 5], ["a", None], [1]):
        explorer.large.set_state({"point": bad})
    explorer.large.set_state({"point": [1.0, 1.0]})
    assert explorer.place.text.startswith("row 3, column 3")


def test_seen_by_is_where_the_gradient_is() -> None:
    vgg = make_tiny_vgg()
    for name, row, column in (("conv2_2", 5, 9), ("relu3_1", 3, 4), ("pool2", 4, 6)):
        x = PHOTO.clone().requires_grad_()
        vgg(x, [name])[name][0, :, row, column].sum().backward()
        rows, columns = np.nonzero(x.grad.abs().sum(1)[0].numpy())
        left, top, side = seen_by(vgg.layer(name), row, column)
        assert rows.min() >= top and rows.max() < top + side
        assert columns.min() >= left and columns.max() < left + side
        assert columns.min() == max(0, left), "and no further in than said"


def test_what_survives() -> None:
    explorer = widgets.LayerExplorer(make_tiny_vgg(), PHOTO, "relu2_1", evaluations=4)
    explorer.start_button.click()
    assert finished(explorer).settings["layers"] == "relu2_1"
    assert opened(explorer.survives.value).size == (48, 32)
    assert "what survives in relu2_1" in explorer.survives.caption
    explorer.map.set_state({"selected": ["relu1_2"]})
    assert finished(explorer.start()).settings["layers"] == "relu1_2"


# reconstruction lab


def make_lab(**changes: object) -> widgets.ReconstructionLab:
    settings = {"layers": ("relu1_1", "relu2_1"), "evaluations": 5} | changes
    return widgets.ReconstructionLab(make_tiny_vgg(), PHOTO, ART, **settings)


def test_layers_are_rebuilt_side_by_side() -> None:
    lab = make_lab()
    lab.start_button.click()
    result = finished(lab)
    assert result.image.shape == (2, 3, 32, 48) and lab.note.text.startswith("done: content")
    assert [item["label"].split(":")[0] for item in lab.gallery.items] == ["relu1_1", "relu2_1"]
    for place, layer in enumerate(("relu1_1", "relu2_1")):
        alone = st.reconstruct_content(
            PHOTO, layer, vgg=make_tiny_vgg(), evaluations=5, precision=result.settings["precision"]
        )
        loss = float(lab.gallery.items[place]["label"].split()[2].rstrip(","))
        assert loss == pytest.approx(alone.loss["end"]["total"], rel=0.06), "each has its own loss"


def test_layers_and_kind_are_chosen() -> None:
    lab = make_lab()
    lab.map.set_state({"selected": ["relu3_1", "relu1_1", "relu2_2"]})
    lab.kind.set_state({"index": 1})
    lab.nested.set_state({"value": True})
    lab.seed.set_state({"value": 3})
    lab.evaluations.set_state({"value": 2})
    settings = finished(lab.start()).settings
    assert settings["layers"] == ["relu1_1", "relu2_2", "relu3_1"], "in the order of the network"
    assert settings["nested"] and settings["seed"] == 3 and settings["evaluations"] == 2
    assert lab.gallery.items[2]["label"].startswith("relu1_1 … relu3_1: loss")
    assert lab.run.result.command == "reconstruct each style"


def test_no_layer_is_said() -> None:
    lab = make_lab()
    lab.map.set_state({"selected": []})
    lab.start_button.click()
    assert "no layer is chosen" in lab.note.text and lab.run is None


def test_stop_and_start_again() -> None:
    lab = make_lab(evaluations=500)
    lab.stop_button.click()  # before anything runs: no harm
    first = lab.start().run
    lab.stop_button.click()
    assert lab.wait().interrupted
    second, third = lab.start().run, lab.start().run
    assert second.wait(timeout=30).interrupted, "a new start stops the run before"
    lab.stop()
    third.wait(timeout=30)
    assert first is not third
    assert not [t for t in threading.enumerate() if t.name.startswith("styletutor-")]


def test_a_run_that_was_replaced_shows_nothing_more() -> None:
    lab = make_lab(evaluations=500)
    old = lab.start().run
    lab.start()
    old.wait(timeout=30)
    lab.stop()
    finished(lab)
    lab.note.say("untouched")
    old.on_step(old.step)
    old.on_end(old)
    assert lab.note.text == "untouched"


def test_an_error_in_the_thread_is_shown_and_raised() -> None:
    lab = widgets.ReconstructionLab(make_tiny_vgg(), PHOTO[..., :8, :8], layers=("relu5_1",))
    lab.start()
    with pytest.raises(ValueError, match="too small"):
        lab.wait()
    lab.run._thread.join()
    assert "too small for relu5_1" in lab.note.text and "st-error" in lab.note.value


def test_wait_without_start() -> None:
    with pytest.raises(RuntimeError, match="nothing was started"):
        make_lab().wait()


# Gram lab


def test_shuffled_features_have_the_same_gram_matrix() -> None:
    lab = widgets.GramLab(make_tiny_vgg(), PHOTO)
    assert "content loss): 0 %" in lab.figures.text and lab.entry.text == "no entry has moved"
    gram = lab.gram.value
    lab.shuffle_button.click()
    words = lab.figures.text.split()
    assert float(words[words.index("loss):") + 1]) > 20, "the content is lost"
    assert lab.figures.text.endswith("(style loss): 0 %") and lab.entry.text == "no entry has moved"
    assert lab.gram.value == gram
    lab.order_button.click()
    assert "content loss): 0 %" in lab.figures.text


def test_what_is_painted_moves_entries() -> None:
    lab = widgets.GramLab(make_tiny_vgg(), PHOTO)
    clean, gram = lab.view.value, lab.gram.value
    lab.brush.set_state({"value": 0.2})
    lab.colour.set_state({"index": lab.colour.options.index("red")})
    assert lab.view.brush == 0.2 and lab.view.brush_colour == "red"
    lab.view.set_state({"stroke": [[0.25, 0.5], [0.75, 0.5]]})
    red = (lab.painted == torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)).all(1)[0]
    assert red[16, 12:36].all() and not red[2].any() and not red[:, :4].any()
    assert int(red[:, 24].sum()) == pytest.approx(0.2 * 48, abs=2), "as wide as the brush"
    assert lab.view.value != clean and lab.gram.value != gram
    assert lab.entry.text.startswith("moved most: channels ")
    lab.clean_button.click()
    assert lab.gram.value == gram and torch.equal(lab.painted, PHOTO)
    lab.view.set_state({"stroke": [[0.25, 0.5], [0.75, 0.5]]})
    assert lab.gram.value != gram, "the same stroke again"


def test_a_dab_is_a_disc() -> None:
    lab = widgets.GramLab(make_tiny_vgg(), PHOTO)
    lab.view.set_state({"stroke": [[0.5, 0.5]]})
    assert 0 < int((lab.painted != PHOTO).any(1).sum()) < 20


def test_entries_are_those_of_the_gram_matrix() -> None:
    vgg = make_tiny_vgg()
    lab = widgets.GramLab(vgg, PHOTO, "relu3_1")
    lab.gram.set_state({"point": [4.5 / 6, 1.5 / 6]})
    features = vgg(PHOTO, ["relu3_1"])["relu3_1"][0].double().flatten(1)
    expected = float(features[1] @ features[4] / features.shape[1])
    assert f"channels 1 and 4: {expected:.4g} before, {expected:.4g} now" in lab.entry.text
    lab.layer.value = "relu1_1"
    assert "relu1_1, 4×4 channels" in lab.gram.caption


# lesson budget


def test_the_budget_is_measured_on_this_machine() -> None:
    panel = widgets.LessonBudget(make_tiny_vgg(), seconds=20)
    assert panel.size in budget.SIZES and panel.evaluations >= budget.FEWEST
    assert f"{panel.size}×{panel.size} pixels" in panel.note.text
    before = panel.size
    panel.slider.set_state({"value": 5})
    assert panel.size <= before and f"{panel.size}×{panel.size} pixels" in panel.note.text
    assert "with tiny" in panel.note.text


def test_a_budget_is_kept() -> None:
    for per_pixel in (1e-8, 1e-6, 3e-6):
        for seconds in (5, 20, 300):
            size, evaluations = budget.plan(seconds, per_pixel)
            cost = evaluations * per_pixel * size**2
            assert cost <= seconds or (size, evaluations) == (budget.SIZES[0], budget.FEWEST)
    assert budget.plan(20, 1e-7)[0] > budget.plan(5, 1e-7)[0]
    size, evaluations = budget.plan(5, 1e-5)
    assert (size, evaluations) == (budget.SIZES[0], budget.FEWEST)


# parts


def test_an_upload_is_a_picture_or_a_clear_word(tmp_path: Path) -> None:
    taken = []
    zone = elements.DropZone(lambda name, picture: taken.append((name, picture)), "Upload …")
    st.save_image(PHOTO, tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()

    def send(data: bytes, name: str = "a.png") -> str:
        zone._handle_custom_msg({"name": name}, [memoryview(data)])
        return zone.says

    said = []
    zone.observe(lambda change: said.append(change["new"]), "says")
    assert send(whole) == "a.png is there" and taken[0][1].shape == (1, 3, 32, 48)
    send(whole)
    assert said.count("a.png is there") == 2, "the same again is said again"
    taken.pop()
    assert "a.png" in send(whole[:100]) and len(taken) == 1
    assert "is not a picture" in send(b"#!/bin/sh\nrm -rf /")
    assert "0 bytes" in send(b"")
    assert "more than 6 MB" in send(bytes(6_000_001))
    huge = io.BytesIO()
    Image.new("1", (5800, 5800)).save(huge, "PNG")
    assert "too large: 5800 x 5800 pixels, expected at most 33.6 million" in send(huge.getvalue())
    assert len(taken) == 1
    st.save_image(torch.rand(1, 3, 10, 3000), tmp_path / "b.png")
    send((tmp_path / "b.png").read_bytes())
    assert taken[1][1].shape[3] == elements.MOST_SIDE


def test_a_note_shows_any_text_as_text() -> None:
    note = Note("<script>alert(1)</script>")
    assert "<script>" not in note.value and note.text == "<script>alert(1)</script>"


def test_modules_of_the_browser_fetch_nothing() -> None:
    for path in elements.STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "import " not in text and "fetch(" not in text and "@import" not in text, path
        links = [word for word in text.split() if "://" in word and "www.w3.org" not in word]
        assert not links, path


def test_traits_are_set_from_many_threads() -> None:
    view = elements.PictureView()

    def work(n: int) -> None:
        for i in range(200):
            view.show(value=bytes([n, i % 256]), caption=f"{n} {i}")
            view.set_state({"divider": i / 200})

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    view.show(caption="last", divider=0.3)
    assert (view.caption, view.divider) == ("last", 0.3)
    assert "notify_change" not in vars(view)

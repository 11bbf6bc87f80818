"""Pictures looked at tile by tile, against the same pictures looked at whole, in float64."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from torch import Tensor

import styletutor as st
from styletutor.cli import main
from styletutor.cookbook.published import recipes
from styletutor.cookbook.recipe import STYLE_LAYERS
from styletutor.descent import descend, forecast
from styletutor.descent.lbfgs import LBFGS
from styletutor.descent.method import Method
from styletutor.loss.objective import Objective, sum_terms
from styletutor.loss.units import STATISTICS, Units
from styletutor.network.tiles import cut, features_by_tiles
from styletutor.network.vgg import VGG

TILES = [32, 64, 80]
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def doubles(*shape: int, seed: int = 0) -> Tensor:
    return random_pictures(*shape, seed=seed).double()


def loss_and_gradient(objective: Objective, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    images = images.clone().requires_grad_()
    parts = objective.parts(images)
    (gradient,) = torch.autograd.grad(sum(part.sum() for part in parts.values()), images)
    return {name: value.detach() for name, value in parts.items()}, gradient


def check_same(tiled: Objective, whole: Objective, images: Tensor) -> None:
    losses, gradient = loss_and_gradient(tiled, images)
    expected, slope = loss_and_gradient(whole, images)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, **EXACT)
    assert slope.abs().max() > 0
    assert ((gradient - slope).abs().max() / slope.abs().max()).item() < 1e-9


def aims(size: tuple[int, int], **more: object) -> dict[str, object]:
    layers = {"content_layers": ["relu4_2", "conv2_2"], "style_layers": STYLE_LAYERS}
    pictures = {"content": doubles(1, *size, seed=1), "styles": [doubles(1, 150, 97, seed=2)]}
    return pictures | layers | {"tv_weight": 0.5} | more


@pytest.mark.parametrize("tile", [16, 32, 48, 100, 1000])
@pytest.mark.parametrize("size", [(33, 16), (100, 163), (96, 160), (79, 250)])
def test_tiles_cover_a_picture_once(size: tuple[int, int], tile: int, tiny_vgg: VGG) -> None:
    for layers in (["relu1_1"], ["relu3_1", "relu5_1"], ["pool4"]):
        stride = tiny_vgg.deepest(layers).stride
        tiles = cut(tiny_vgg, size, layers, tile)
        for name in tiny_vgg.layer_names[: tiny_vgg.layer_names.index(layers[-1]) + 1]:
            count = torch.zeros(1, 1, *tiny_vgg.grid(name, size))
            for each in tiles:
                each.of(tiny_vgg.layer(name), count).add_(1)
            assert (count == 1).all()
            shares = [each.share(tiny_vgg.layer(name), count.shape[2:]) for each in tiles]
            assert sum(shares) == pytest.approx(1)
        for span in (span for each in tiles for span in each):
            assert span.start % stride == span.low % stride == 0
            assert span.end - span.start < max(tile, stride) + stride
    assert len(cut(tiny_vgg, size, layers, None)) == 1


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(
    "habit",
    [{}, {"pooling": "max"}, {"round_up": True}, {"round_up": True, "pooling": "max"},
     {"edge": "repeat"}],
    ids=str,
)  # fmt: skip
def test_features_are_those_of_the_whole(tile: int, habit: dict[str, object]) -> None:
    vgg, images = make_tiny_vgg().double().adapted(**habit), doubles(2, 119, 173)
    found = features_by_tiles(vgg, images, vgg.layer_names, tile)
    for name, features in vgg(images, vgg.layer_names).items():
        torch.testing.assert_close(found[name], features, **EXACT)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_losses_and_gradients_are_those_of_the_whole(statistic: str, masked: bool) -> None:
    vgg, size = make_tiny_vgg().double(), (103, 171)
    more: dict[str, object] = {"units": Units(statistic=statistic)}
    if masked:
        left = torch.zeros(size)
        left[:, :40] = 1  # most tiles have nothing of it
        more["masks"] = [left, random_pictures(1, *size)[0, 0]]
        more["styles"] = [doubles(1, 150, 97, seed=2), doubles(1, 64, 101, seed=3)]
    whole, images = Objective(vgg, **aims(size, **more)), doubles(1, *size)
    for tile in TILES:
        check_same(Objective(vgg, tile=tile, **aims(size, **more)), whole, images)


def test_a_batch_in_which_each_picture_needs_other_layers(tiny_vgg: VGG) -> None:
    vgg, size = tiny_vgg.double(), (90, 141)
    weights = {
        "content_layers": {"relu4_2": [1.0, 0.0, 0.0], "relu1_2": [0.0, 1.0, 0.0]},
        "style_layers": {"relu1_1": [0.0, 1.0, 1.0], "relu5_1": [0.0, 0.0, 1.0]},
    }
    whole = Objective(vgg, **aims(size, **weights))
    check_same(Objective(vgg, tile=32, **aims(size, **weights)), whole, doubles(3, *size))


@pytest.mark.parametrize("name", recipes)
def test_all_recipes(name: str) -> None:
    vgg, size = make_tiny_vgg().double(), (85, 123)
    pictures = {"content": doubles(1, *size, seed=1), "styles": [doubles(1, 99, 70, seed=2)]}
    whole = recipes[name].objective(vgg, **pictures)
    check_same(recipes[name].objective(vgg, tile=48, **pictures), whole, doubles(1, *size))


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_descents_stay_together(optimiser: str, tiny_vgg: VGG) -> None:
    vgg, size = tiny_vgg.double(), (70, 121)
    paths: list[Iterator] = []
    for tile in (None, 32):
        objective = Objective(vgg, tile=tile, **aims(size))
        paths.append(descend(objective, doubles(2, *size), 8, method=Method(optimiser=optimiser)))
    for one, other in zip(*paths, strict=True):
        torch.testing.assert_close(one.image, other.image, rtol=0, atol=1e-7)
        assert sum_terms(one.parts)["total"] == pytest.approx(sum_terms(other.parts)["total"])


def test_bfloat16_is_as_near_as_it_is_to_itself_turned_around(tiny_vgg: VGG) -> None:
    size = (96, 128)
    settings = {name: value for name, value in aims(size).items() if name.endswith("layers")}
    pictures = {"content": random_pictures(1, *size, seed=1)}
    pictures |= {"styles": [random_pictures(1, 90, 90, seed=2)]}
    images, fast = random_pictures(1, *size), tiny_vgg.low_precision()
    totals = []
    for tile in (None, 32):
        objective = Objective(tiny_vgg, tile=tile, **pictures, **settings)
        totals.append(sum(objective.parts(images, fast).values()))
    torch.testing.assert_close(*totals, rtol=0.02, atol=0)


def test_a_transfer_in_tiles_and_its_report(tmp_path: Path) -> None:
    """The picture is that of the whole, and the report paints it again."""
    how = {"evaluations": 3, "size": 96, "vgg": st.load_vgg("pocket"), "precision": "exact"}
    whole = st.transfer("astronaut", "stained-glass", **how)
    tiled = st.transfer("astronaut", "stained-glass", tile=48, **how)
    assert tiled.settings["tile"] == 48
    assert whole.settings["tile"] is None
    torch.testing.assert_close(tiled.image, whole.image, rtol=0, atol=2e-3)
    assert not torch.equal(tiled.image, whole.image)  # it did go by tiles
    out, report = tmp_path / "out.png", tmp_path / "run.json"
    words = ["--size", "96", "--evaluations", "3", "--tile", "48", "--precision", "exact"]
    words += ["--weights", "pocket", "--output", str(out), "--report", str(report)]
    assert main(["transfer", "--content", "astronaut", "--styles", "stained-glass", *words]) == 0
    first = out.read_bytes()
    again = ["--settings", str(report), "--output", str(tmp_path / "again.png")]
    assert main(["transfer", *again]) == 0
    assert (tmp_path / "again.png").read_bytes() == first


@pytest.mark.parametrize("tile", [31, 0, -4, 48.5, "big", True])
def test_a_tile_that_is_none(tile: object, tiny_vgg: VGG) -> None:
    photo = random_pictures(1, 64, 64)
    with pytest.raises(ValueError, match=r"tile=.*for relu5_1 .* whole number of at least 32"):
        st.transfer(photo, photo, vgg=tiny_vgg, evaluations=1, tile=tile)
    with pytest.raises(ValueError, match=r"tile=.*for relu1_2 .* whole number of at least 2"):
        st.reconstruct_content(photo, "relu1_2", vgg=tiny_vgg, evaluations=1, tile=tile and 1)


def test_what_does_not_fit_whole_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """With less memory in smaller tiles; then with the history on disk; then there is an error."""
    vgg, size = st.load_vgg("pocket", device="cpu"), (900, 1400)
    layers = {"content_layers": ["relu3_2"], "style_layers": ["relu1_1", "relu3_1"]}

    def room_in(share: float) -> forecast.Room:
        whole = forecast.predict(vgg, size, **layers)
        monkeypatch.setattr(forecast, "free_bytes", lambda _: int(share * whole))
        return forecast.find_room(vgg, size, **layers)

    rooms = [room_in(share) for share in (1.3, 0.8, 0.65, 0.45)]
    assert rooms[0] == forecast.WHOLE
    assert rooms[1].tile > rooms[2].tile > 8
    assert [room.on_disk for room in rooms] == [False, False, False, True]
    for room in rooms:
        needed = forecast.predict(vgg, size, **layers, room=room)
        assert needed <= forecast.predict(vgg, size, **layers)
    with pytest.raises(ValueError, match="the largest that fits is size="):
        room_in(0.1)
    photo, how = random_pictures(1, 96, 120), {"vgg": vgg, "evaluations": 3, "precision": "exact"}
    results = []
    for room in (forecast.WHOLE, forecast.Room(48, on_disk=True)):
        monkeypatch.setattr("styletutor.runs.inputs.find_room", lambda *_, room=room, **__: room)
        results.append(st.transfer(photo, photo.flip(3), **how))
    assert [result.settings["tile"] for result in results] == [None, 48]
    torch.testing.assert_close(results[0].image, results[1].image, rtol=0, atol=2e-3)


def test_going_on_with_less_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint has no history where it was on disk, and may go on in smaller tiles."""
    vgg, photo = st.load_vgg("pocket", device="cpu"), random_pictures(1, 96, 120)
    rooms = [forecast.Room(48, on_disk=True), forecast.Room(64), forecast.Room(48, on_disk=True)]
    monkeypatch.setattr("styletutor.runs.inputs.find_room", lambda *_, **__: rooms.pop())
    how = {"vgg": vgg, "checkpoint": tmp_path / "run", "precision": "exact"}
    for evaluations in (3, 5, 8):
        resume = tmp_path / "run" if evaluations > 3 else None
        result = st.transfer(photo, photo.flip(3), evaluations=evaluations, resume=resume, **how)
        assert len(result.history) == evaluations
    assert result.loss["end"]["total"] < result.history[2]["total"]


def test_lbfgs_on_disk_goes_the_same_way() -> None:
    """Also from its state, though that begins to learn anew; and it leaves no file."""
    paths = []
    matrix = torch.linspace(0.5, 20, 2 * 3 * 12 * 20).view(2, 3, 12, 20)
    for on_disk in (False, True):
        method, x = LBFGS(wavelength=4.0, box=(0, 1), on_disk=on_disk), torch.full_like(matrix, 0.7)
        path = []
        for _ in range(12):
            loss = (matrix * (x - 0.3).square()).sum((1, 2, 3))
            x = method.step(x, loss, 2 * matrix * (x - 0.3))
            path.append(x)
        paths.append(torch.stack(path))
    torch.testing.assert_close(*paths, rtol=0, atol=1e-6)
    other, state = LBFGS(wavelength=4.0, box=(0, 1), on_disk=True), method.state()
    assert "basis" not in state
    other.load_state({name: value.clone() for name, value in state.items()})
    for _ in range(30):
        loss = (matrix * (x - 0.3).square()).sum((1, 2, 3))
        x = other.step(x, loss, 2 * matrix * (x - 0.3))
    torch.testing.assert_close(x, torch.full_like(x, 0.3), rtol=0, atol=1e-2)


def test_large_features_are_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way is the same to the bit, and what is forecast is less by just these."""
    vgg, photo = st.load_vgg("pocket", device="cpu"), random_pictures(1, 96, 120)
    how = {"vgg": vgg, "evaluations": 3, "tile": 48, "precision": "exact"}
    features = features_by_tiles(vgg, photo, ["relu4_2"], 48)["relu4_2"]
    images, needed = [], []
    for large in (2 * features.nbytes, features.nbytes):
        monkeypatch.setattr("styletutor.network.tiles.LARGE", large)
        images.append(st.transfer(photo, photo.flip(3), **how).image)
        needed.append(forecast.predict(vgg, (96, 120), ["relu4_2"], room=forecast.Room(48)))
    assert torch.equal(*images)
    assert needed[0] - needed[1] == features.nbytes * 5 // 3  # as all small ones are counted
    whole = forecast.Room(), forecast.Room(128)  # one tile, too, is in memory
    assert len({forecast.predict(vgg, (96, 120), ["relu4_2"], room=room) for room in whole}) == 1
    again = features_by_tiles(vgg, photo, ["relu4_2"], 48)["relu4_2"]
    assert again.is_contiguous(memory_format=torch.channels_last) and torch.equal(again, features)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage())
    with pytest.raises(OSError, match="set TMPDIR"):
        st.transfer(photo, photo.flip(3), **how)


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    method, x = LBFGS(on_disk=True), torch.rand(1, 3, 40, 40)
    method.step(x, torch.ones(1), torch.ones_like(x))
    del method
    gc.collect()
    assert not os.listdir(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage())
    with pytest.raises(OSError, match="set TMPDIR"):
        LBFGS(on_disk=True).step(x, torch.ones(1), torch.ones_like(x))


class Usage:
    free = 1000

"""Training the pocket network, in miniature, and the file that it made."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import styletutor as st
from styletutor.loss.losses import relative_error
from styletutor.network.layers import CONV_NAMES, layer_table
from styletutor.network.vgg import IMAGENET_MEAN, VGG
from styletutor.network.weights import POCKET_FILE, POCKET_WIDTHS, check_weights, untrained
from training import crops, judge, student, train
from training.pictures import make_picture

WIDTHS = (4, 4, 6, 6, 6)
SMALL = ["--widths", "4", "4", "6", "6", "6", "--pictures", "6", "--batch", "8", "--crop", "32",
         "--precision", "float32", "--device", "cpu"]  # fmt: skip
MEAN = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two photographs, and pictures drawn in this process."""
    monkeypatch.setattr(crops, "photographs", lambda: ["coffee", "coins"])
    monkeypatch.setattr(train, "photographs", lambda: ["coffee", "coins"])


@pytest.fixture
def pictures(tmp_path: Path) -> Tensor:
    return crops.collect(6, tmp_path / "pictures.npy")


def make_student(seed: int = 0, disturbed_norms: bool = True) -> student.Student:
    torch.manual_seed(seed)
    made = student.Student(WIDTHS, 14, {"relu3_1": 1.0, "relu4_2": 1.0})
    if disturbed_norms:
        for norm in made.trunk.norms.values():
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, std=0.3)
            torch.nn.init.normal_(norm.running_mean, std=0.3)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return made


# Pictures and crops


def test_a_picture_is_a_function_of_its_number() -> None:
    made = [make_picture(number, 64) for number in range(24)]
    for number, picture in enumerate(made):
        assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, make_picture(number, 64))
    assert len({picture.tobytes() for picture in made}) == 24
    assert sum(picture.std() > 5 for picture in made) >= 22  # a nearly plain one may occur


def test_the_collection_is_made_once_and_ends_with_the_photographs(tmp_path: Path) -> None:
    cache = tmp_path / "pictures.npy"
    first = crops.collect(6, cache)
    assert first.shape == (6 + 2 * 4, 3, 224, 224) and first.dtype == torch.uint8
    np.testing.assert_array_equal(first[3].permute(1, 2, 0), make_picture(3))
    written = cache.stat().st_mtime_ns
    assert torch.equal(crops.collect(6, cache), first)
    assert cache.stat().st_mtime_ns == written
    # The four corners of one photograph: those of the same side share nothing that is turned.
    assert not torch.equal(first[6], first[7])


def test_crops_show_the_pictures_that_they_are_said_to_show() -> None:
    """Pictures of one colour: a crop has to have that colour, give or take the jitter."""
    colours = torch.rand(20, 3, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    pictures = (colours * 255).round().byte().view(20, 3, 1, 1).expand(20, 3, 224, 224)
    shown, which = crops.sample(pictures, 40, 32, seed=3)
    assert shown.shape == (40, 3, 32, 32) and len(which.unique()) > 10
    expected = colours[which].view(40, 3, 1, 1)
    assert ((shown - expected).abs() <= 0.1 * expected + 0.03 + 0.003).all()
    again = crops.sample(pictures, 40, 32, seed=3)
    assert torch.equal(shown, again[0]) and torch.equal(which, again[1])
    assert not torch.equal(which, crops.sample(pictures, 40, 32, seed=4)[1])


def test_crops_of_one_picture_differ(pictures: Tensor) -> None:
    shown, which = crops.sample(pictures, 12, 48, seed=0)
    assert float(shown.min()) >= 0 and float(shown.max()) <= 1
    for i in range(0, 12, crops.CROPS_EACH):
        pair = range(i, i + crops.CROPS_EACH)
        assert len({int(which[j]) for j in pair}) == 1
        assert not torch.equal(shown[pair[0]], shown[pair[1]])


# The student


def test_the_folded_network_is_the_trunk(pictures: Tensor) -> None:
    trunk = make_student().trunk.eval()
    parameters = student.fold(trunk)
    network = VGG(parameters, name="x", trained_on="", sha256="", pooling="avg")
    photo = crops.sample(pictures, 2, 48, seed=1)[0]
    relus = [name.replace("conv", "relu") for name in CONV_NAMES]
    with torch.no_grad():
        expected = trunk((photo - MEAN) / student.SPREAD, relus)
    for name, features in network(photo, relus).items():  # borders included
        torch.testing.assert_close(features, expected[name], rtol=1e-3, atol=1e-4)


def test_balance_scales_whole_layers_to_mean_one(pictures: Tensor) -> None:
    parameters = student.fold(make_student().trunk.eval())
    photos = crops.sample(pictures, 4, 64, seed=1)[0]
    balanced = student.balance(parameters, photos)
    about = {"name": "x", "trained_on": "", "sha256": "", "pooling": "avg"}
    relus = [name.replace("conv", "relu") for name in CONV_NAMES]
    before = VGG(parameters, **about)(photos, relus)
    for name, features in VGG(balanced, **about)(photos, relus).items():
        assert float(features.mean()) == pytest.approx(1, rel=1e-3), name
        torch.testing.assert_close(
            features, before[name] / before[name].mean(), rtol=1e-3, atol=1e-3
        )


def test_the_worst_case_hurts_more_than_chance_and_stays_small(pictures: Tensor) -> None:
    taught, strength = make_student(disturbed_norms=False), 0.2
    photos, which = crops.sample(pictures, 12, 32, seed=1)
    with torch.no_grad():
        clean = float(taught(photos, which)[0])
    worst = student.worst_case(taught, photos, which, strength, seed=0)
    sizes = worst.square().mean((1, 2, 3)).sqrt()
    assert float(sizes.max()) <= 1.3 * strength and float(sizes.min()) > 0
    chance = torch.randn_like(worst) * sizes.view(-1, 1, 1, 1)
    with torch.no_grad():
        hurt, disturbed = (float(taught(photos, which, d)[0]) for d in (worst, chance))
    assert hurt - clean > 2 * abs(disturbed - clean)
    assert student.worst_case(taught, photos, which, 0.0, seed=0) == 0.0


def test_settling_measures_undisturbed_crops(pictures: Tensor) -> None:
    trunk = make_student().trunk
    student.settle(trunk, pictures, 32)
    seen = torch.cat([crops.sample(pictures, 64, 32, seed)[0] for seed in range(40)])
    outputs = trunk.convolutions["conv1_1"]((seen - MEAN) / student.SPREAD)
    norm = trunk.norms["conv1_1"]
    torch.testing.assert_close(norm.running_mean, outputs.mean((0, 2, 3)), rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(norm.running_var, outputs.var((0, 2, 3)), rtol=2e-2, atol=1e-3)


# The whole


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str) -> int:
        where = ["--work", str(tmp_path / name), "--output", str(tmp_path / f"{name}.safetensors")]
        return train.main([*SMALL, *where, "--batches", "6"])

    assert run("straight") == 0
    really, calls = train.sample, []

    def stopped(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return really(*arguments)

    monkeypatch.setattr(train, "sample", stopped)
    assert run("stopped") == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "stopped.safetensors").exists()
    monkeypatch.setattr(train, "sample", really)
    assert run("stopped") == 0
    ours, theirs = (st.load_vgg(tmp_path / f"{n}.safetensors") for n in ("stopped", "straight"))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_training_teaches(tmp_path: Path) -> None:
    """The classifier learns to tell few pictures apart, and the file says how it was made."""
    output = tmp_path / "taught.safetensors"
    arguments = [*SMALL, "--work", str(tmp_path), "--output", str(output), "--batches", "60"]
    assert train.main([*arguments, "--rate", "0.01"]) == 0
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    taught = student.Student(WIDTHS, 14, saved["settings"]["rebuild"])
    pictures = crops.collect(6, tmp_path / "pictures-6.npy")
    photos, which = crops.sample(pictures, 64, 32, seed=99)
    with torch.no_grad():
        before = float(taught(photos, which)[0])
        taught.load_state_dict(saved["student"])
        assert float(taught(photos, which)[0]) < 0.8 * before
    info, network = check_weights(output), st.load_vgg(output)
    assert (info.convention, info.dtype, network.pooling) == ("styletutor", "float16", "avg")
    assert "6 procedural pictures" in network.trained_on and network.layers == layer_table(WIDTHS)


# The judge


def test_the_judge_knows_the_style_and_the_content() -> None:
    photo, art = st.load_image("coffee", 64), st.load_image("stained-glass", 64)
    verdict = judge.Judge(untrained(WIDTHS), photo, art)
    resized = torch.nn.functional.interpolate(art, photo.shape[2:], mode="area")
    as_is, as_style = verdict(photo), verdict(resized)
    assert (as_is.style, as_is.content, as_is.colour) == (1, 0, 1)
    mixed = verdict(0.5 * photo + 0.5 * torch.rand_like(photo))
    assert mixed.content > 0
    art_itself = judge.Judge(untrained(WIDTHS), torch.rand_like(art), art)(art)
    assert (art_itself.style, art_itself.colour) == (0, 0) and art_itself.content > 0
    assert as_style.colour < 0.5


def test_the_style_at_equal_content_is_interpolated() -> None:
    points = [judge.Verdict(0.04, 0.8, 0), judge.Verdict(0.16, 0.4, 0)]
    assert judge.style_at_equal_content(points, 0.6) == pytest.approx(0.08)  # half-way, in log
    assert judge.style_at_equal_content(points, 0.1) == pytest.approx(0.16)
    assert judge.style_at_equal_content(points, 0.9) == pytest.approx(0.04)


def test_pairs_come_from_the_samples_and_from_a_folder(tmp_path: Path) -> None:
    own = [name for name, *_ in judge.pairs_of(None, 32)]
    assert len(own) == 8
    for name in ("a_house", "b"):
        st.save_image(torch.rand(1, 3, 40, 32), tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    names = [name for name, *_ in judge.pairs_of(tmp_path, 32)]
    assert names[:4] == ["a-house × b", "b × a-house", "astronaut × a-house", "astronaut × b"]
    assert len(names) >= 8


def test_a_report_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks = {"random": untrained(WIDTHS), "pocket": untrained((6, 6, 8, 8, 8))}
    arguments = Namespace(pairs=None, size=48, evaluations=3, output=tmp_path)
    lines = list(judge.judge_transfers(untrained(WIDTHS), networks, arguments))
    assert len(lines) == 2 + 8 + 1 and "of 8 pairs" in lines[-1]
    assert len(list(tmp_path.glob("*-x-*.jpg"))) == 8
    speeds = list(judge.speed_lines(networks, side=32, turns=1))
    assert len(speeds) == 2 and all("s per evaluation at 32×32" in line for line in speeds)


# The file in the package


def test_the_packaged_network_is_what_it_says() -> None:
    info, network = check_weights(POCKET_FILE), st.load_vgg("pocket", device="cpu")
    assert POCKET_FILE.stat().st_size <= 4e6
    assert (network.name, network.source, network.sha256) == ("pocket", "pocket", info.sha256)
    assert network.layers == layer_table(POCKET_WIDTHS) == st.load_vgg("random").layers
    assert (info.dtype, network.pooling) == ("float16", "avg")
    assert "procedural pictures" in network.trained_on
    from safetensors import safe_open

    with safe_open(POCKET_FILE, "pt") as file:
        about = file.metadata()
    assert {"date", "commit", "licence", "arguments", "minutes"} <= set(about)
    assert json.loads(about["arguments"])["widths"] == list(POCKET_WIDTHS)


def test_the_packaged_network_keeps_content_where_random_weights_do_not() -> None:
    photo = st.load_image("chelsea", 96)

    def error(name: str) -> float:
        how = {"evaluations": 100, "progress": False}
        made = st.reconstruct_content(photo, "relu4_2", vgg=st.load_vgg(name, device="cpu"), **how)
        return float(relative_error(made.image, photo))

    assert error("pocket") < 0.7 * error("random")

"""Training the pocket network, in miniature, and the file that it made."""

from __future__ import annotations

import json
from argparse import Namespace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import styletutor as st
from styletutor.cookbook.published import STYLE_LAYERS
from styletutor.network.layers import CONV_NAMES, layer_table
from styletutor.network.vgg import VGG
from styletutor.network.vgg19 import find_vgg19
from styletutor.network.weightfiles import write_weights
from styletutor.network.weights import POCKET_FILE, POCKET_WIDTHS, check_weights, untrained
from training import crops, judge, painted, selection, student, train
from training.pictures import make_picture

FULL = (6, 8, 12, 12, 12)  # the teacher here
WIDTHS = (4, 4, 6, 6, 8, 8, 8, 8, 10, 8, 8, 8, 12, 6, 6, 6)
ABOUT = {"name": "x", "trained_on": "", "sha256": ""}


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two photographs, and few crops to fit to."""
    for module in (crops, train):
        monkeypatch.setattr(module, "photographs", lambda: ["coffee", "coins"])
    monkeypatch.setattr(selection, "CROPS", (16, 16, 32, 32, 48))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Tensor]:
    return crops.collect(6, tmp_path / "pictures.npy")


@pytest.fixture
def teacher() -> VGG:
    return untrained(FULL)


def by_name(vgg: VGG) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (conv.weight, conv.bias) for name, conv in vgg.convolutions.items()}


def apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).square().sum() / theirs.square().sum())


# Pictures and crops


def test_a_picture_is_a_function_of_its_number() -> None:
    made = [make_picture(number, 64) for number in range(24)]
    for number, picture in enumerate(made):
        assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, make_picture(number, 64))
    assert len({picture.tobytes() for picture in made}) == 24
    assert sum(picture.std() > 5 for picture in made) >= 22  # a nearly plain one may occur


def test_the_collection_is_made_once_and_begins_with_the_photographs(tmp_path: Path) -> None:
    cache = tmp_path / "pictures.npy"
    first = crops.collect(6, cache)
    assert len(first) == 2 + 6 and all(picture.dtype == torch.uint8 for picture in first)
    torch.testing.assert_close(first[0][None] / 255, st.load_image("coffee"))
    np.testing.assert_array_equal(first[2 + 3].permute(1, 2, 0), make_picture(3))
    written = cache.stat().st_mtime_ns
    for one, other in zip(crops.collect(6, cache), first, strict=True):
        assert torch.equal(one, other)
    assert cache.stat().st_mtime_ns == written


def test_crops_are_a_function_of_the_seed(pictures: list[Tensor]) -> None:
    shown = crops.sample(pictures, 12, 48, seed=3)
    assert shown.shape == (12, 3, 48, 48) and float(shown.min()) >= 0 and float(shown.max()) <= 1
    assert torch.equal(shown, crops.sample(pictures, 12, 48, seed=3))
    assert not torch.equal(shown, crops.sample(pictures, 12, 48, seed=4))


def test_crops_come_from_all_of_a_picture_at_several_scales() -> None:
    """A slope from left to right, of which each crop shows a stretch, not always as wide."""
    slope = torch.linspace(0, 255, 400).round().byte().expand(3, 400, 400)
    shown = crops.sample([slope] * 3, 200, 40, seed=0)
    left, right = shown[:, :, :, 2].mean((1, 2)), shown[:, :, :, -3].mean((1, 2))
    widths = (right - left).abs()
    assert float(widths.min()) < 0.13 and float(widths.max()) > 0.25  # 40 to 120 of 400 pixels
    assert float(shown.mean((1, 2, 3)).min()) < 0.2 and float(shown.mean((1, 2, 3)).max()) > 0.8
    assert 0.3 < float((right > left).float().mean()) < 0.7  # half are mirrored


def test_the_share_of_photographs_is_what_it_says() -> None:
    """White photographs, black drawings, and crops told apart by their brightness."""
    white, black = (torch.full((3, 16, 16), v, dtype=torch.uint8) for v in (255, 0))
    shown = crops.sample([*[white] * 2, *[black] * 8], 1000, 4, seed=0)
    bright = (shown.mean((1, 2, 3)) > 0.5).float().mean()
    assert float(bright) == pytest.approx(crops.PHOTOGRAPHS, abs=0.05)  # deviation .015


# The choice of channels and their fit


def test_each_turn_takes_the_channel_that_leaves_least(pictures: list[Tensor]) -> None:
    mixing = torch.randn(9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features = mixing @ torch.rand(9, 400, generator=torch.Generator().manual_seed(1)).double()
    features[4] = 2 * features[1] - features[7]  # can be told from others
    chosen = selection.telling(features @ features.T / 400, 8)
    assert len(set(chosen)) == 8

    def left(by: list[int]) -> float:
        solved = torch.linalg.lstsq(features[by].T, features.T).solution
        return float((features[by].T @ solved - features.T).square().sum())

    for turn in range(4):
        before = chosen[:turn]
        others = [left([*before, c]) for c in range(9) if c not in before]
        assert left(chosen[: turn + 1]) == pytest.approx(min(others), rel=1e-6)
    assert left(chosen) < 1e-9 * left(chosen[:1])
    assert selection.telling(torch.eye(5), 5) == [0, 1, 2, 3, 4]


def test_the_fit_finds_the_convolution_that_there_is() -> None:
    torch.manual_seed(0)
    inputs = torch.rand(20, 3, 12, 12)
    weight, bias = torch.randn(4, 3, 3, 3), torch.randn(4)
    wanted = F.conv2d(inputs, weight, bias, padding=1)
    found, offset = selection.fit(inputs, wanted)
    torch.testing.assert_close(found, weight, rtol=0, atol=0.02)  # the ridge is 1e-4
    torch.testing.assert_close(offset, bias, rtol=0, atol=0.05)


def test_what_a_relu_hides_is_not_fitted() -> None:
    """Far below zero the aim is a wall that no convolution follows; after the ReLU nobody sees."""
    torch.manual_seed(1)
    inputs = torch.randn(20, 3, 12, 12)
    wanted = F.conv2d(inputs, torch.randn(4, 3, 3, 3), padding=1)
    wanted = torch.where(wanted < 0, -40.0 - 20 * torch.rand_like(wanted), wanted)

    seen, errors = wanted > 0, []
    for rounds in range(1, 8):
        weight, bias = selection.fit(inputs, wanted, rounds)
        made = F.conv2d(inputs, weight, bias, padding=1)
        wrong = torch.where(seen, made - wanted, made.clamp(min=0))
        errors.append(float(wrong.square().sum()))
    assert all(after <= before for before, after in pairwise(errors))
    assert errors[-1] < 0.3 * errors[0]


def test_a_student_as_wide_as_its_teacher_is_its_teacher(
    pictures: list[Tensor], teacher: VGG
) -> None:
    widths = {row.name: row.channels for row in teacher.layers if row.kind == "conv"}

    def shown(count: int) -> Tensor:
        return crops.sample(pictures, count, 48, 0)

    parameters, chosen = selection.select(teacher, widths, shown)
    assert all(chosen[name] == list(range(widths[name])) for name in CONV_NAMES)
    photo = crops.sample(pictures, 4, 48, 1)
    ours = VGG(parameters, **ABOUT)
    for name in ("relu1_1", "relu3_4", "relu4_2", "relu5_1"):
        assert apart(ours(photo, name)[name], teacher(photo, name)[name]) < 0.01, name


def test_a_narrow_student_has_the_channels_that_it_says(
    pictures: list[Tensor], teacher: VGG
) -> None:
    widths = dict(zip(CONV_NAMES, WIDTHS, strict=True))
    parameters, chosen = selection.select(
        teacher, widths, lambda n: crops.sample(pictures, n, 48, 0)
    )
    ours, photo = VGG(parameters, **ABOUT), crops.sample(pictures, 4, 48, 1)
    assert ours.layers == layer_table(WIDTHS)
    for name, most in (("relu1_2", 0.04), ("relu2_2", 0.1), ("relu3_1", 0.2)):
        theirs = teacher(photo, name)[name][:, chosen[name.replace("relu", "conv")]]
        assert apart(ours(photo, name)[name], theirs) < most, name


# What the student learns by


def test_styles_apart_is_the_mean_over_pairs() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.rand(5, 3, 4, 6), torch.rand(5, 3, 4, 6)

    def gram(x: Tensor) -> Tensor:
        return torch.stack([torch.stack([(a * b).mean() for b in x]) for a in x])

    wrong = whole = 0
    for i, j in combinations(range(5), 2):
        apart = gram(theirs[i]) - gram(theirs[j])
        wrong += (gram(ours[i]) - gram(ours[j]) - apart).square().sum()
        whole += apart.square().sum()
    torch.testing.assert_close(student.styles_apart(ours, theirs), wrong / whole)
    assert float(student.styles_apart(theirs, theirs)) == 0


def test_features_are_compared_with_the_channels_that_they_stand_for(
    pictures: list[Tensor], teacher: VGG
) -> None:
    """A student cut out of its teacher makes no error at the first layer, and one further on."""
    chosen = {name: [1, 3] if name == "conv1_1" else [0, 2, 5] for name in CONV_NAMES}
    cut, before = {}, [0, 1, 2]
    for name, (weight, bias) in by_name(teacher).items():
        cut[name] = weight[chosen[name]][:, before], bias[chosen[name]]
        before = chosen[name]
    cropped = crops.sample(pictures, 2, 48, 0)
    with torch.no_grad():
        found = student.errors(student.Student(cut, chosen), teacher, cropped)
    first, style = found["relu1_1"]
    assert float(first) < 1e-10 and float(style) < 1e-10 and float(found["relu2_1"][0]) > 0.01
    assert [name for name, e in found.items() if len(e) == 2] == list(STYLE_LAYERS)
    whole = sum(sum(map(float, e)) for n, e in found.items() if n in student.ASKED_FOR)
    aside = sum(sum(map(float, e)) for n, e in found.items() if n not in student.ASKED_FOR)
    assert float(student.loss(found)) == pytest.approx(whole + student.ASIDE * aside, rel=1e-5)


def test_features_are_scaled_as_a_whole(pictures: list[Tensor], teacher: VGG) -> None:
    photo = crops.sample(pictures, 4, 64, 1)
    factors = student.unit_factors(teacher, photo)
    scaled = VGG(student.rescaled(by_name(teacher), factors), **ABOUT)
    before, after = teacher(photo, student.RELUS), scaled(photo, student.RELUS)
    for name, features in after.items():
        assert float(features.mean()) == pytest.approx(1, rel=1e-3), name
        torch.testing.assert_close(
            features, before[name] / before[name].mean(), rtol=1e-3, atol=1e-3
        )


def test_losses_of_a_student_are_as_large_as_its_teachers(
    pictures: list[Tensor], teacher: VGG
) -> None:
    narrow, photo = untrained(WIDTHS), crops.sample(pictures, 4, 64, 1)
    factors = student.strength_factors(by_name(narrow), teacher, photo)
    scaled = VGG(
        student.rescaled(by_name(narrow), factors), **ABOUT, mean=teacher.mean.flatten().tolist()
    )
    for name in ("relu1_1", "relu4_1", "relu5_1"):
        ours, theirs = (
            st.gram_matrix(vgg(photo, name)[name]).square().mean() for vgg in (scaled, teacher)
        )
        assert float(ours) == pytest.approx(float(theirs), rel=1e-3), name
    for name in ("relu1_2", "relu4_2"):
        ours, theirs = (vgg(photo, name)[name].square().mean() for vgg in (scaled, teacher))
        assert float(ours) == pytest.approx(float(theirs), rel=1e-3), name


def test_what_a_painting_and_its_style_have_both_wrong_is_not_counted() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.rand(6, 5, 7, 9, generator=generator) for _ in range(2))

    def gram(features: Tensor) -> Tensor:
        flat = features.double().flatten(1)
        return flat @ flat.T / flat.shape[1]

    wrong = whole = 0.0
    for i in range(3):
        painting, style = (gram(ours[k]) - gram(theirs[k]) for k in (i, i + 3))
        wrong += float((painting - style).square().sum())
        whole += float(gram(theirs[i + 3]).square().sum())
    apart = painted.paintings_apart(ours, theirs)
    assert float(apart) == pytest.approx(painted.COUNTS * wrong / whole, rel=1e-4)
    same = painted.paintings_apart(ours[:3].repeat(2, 1, 1, 1), theirs[:3].repeat(2, 1, 1, 1))
    assert float(same) < 1e-9 * float(apart)  # but for rounding


def test_the_student_paints_a_crop_in_the_style_of_another(
    pictures: list[Tensor], teacher: VGG
) -> None:
    whole = {name: list(range(len(bias))) for name, (_, bias) in by_name(teacher).items()}
    taught = student.Student(by_name(teacher), whole)
    pair = crops.sample(pictures, 2, 48, 0)
    made = painted.paint(taught, teacher, pair)
    assert made.shape == pair.shape and made.dtype == torch.uint8
    torch.testing.assert_close(made[1] / 255, pair[1], rtol=0, atol=0.51 / 255)
    style = judge.DEFAULT.objective(teacher, content=pair[:1], styles=[pair[1:]])
    before, after = (float(style(x)["style"]) for x in (pair[:1], made[:1] / 255))
    assert after < 0.2 * before


# The whole


@pytest.fixture
def small(tmp_path: Path, teacher: VGG) -> list[str]:
    """A command line of few numbers, by a teacher in a file."""
    path = tmp_path / "teacher.safetensors"
    write_weights(teacher, path)
    return ["--teacher", str(path), "--widths", *map(str, WIDTHS), "--pictures", "6", "--batch",
            "4", "--crop", "48", "--precision", "float32", "--device", "cpu"]  # fmt: skip


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path,
    small: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(name: str) -> int:
        where = ["--work", str(tmp_path / name), "--output", str(tmp_path / f"{name}.safetensors")]
        return train.main([*small, *where, "--batches", "6"])

    assert run("straight") == 0
    really, calls = train.errors, []

    def stopped(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return really(*arguments)

    monkeypatch.setattr(train, "errors", stopped)
    assert run("stopped") == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "stopped.safetensors").exists()
    monkeypatch.setattr(train, "errors", really)

    def refuse(*_: object) -> None:
        raise AssertionError("the channels were chosen before the stop")

    monkeypatch.setattr(train, "select", refuse)
    assert run("stopped") == 0
    ours, theirs = (st.load_vgg(tmp_path / f"{n}.safetensors") for n in ("stopped", "straight"))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_training_teaches(
    tmp_path: Path,
    small: list[str],
    pictures: list[Tensor],
    teacher: VGG,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a fit to few crops the error on unseen ones falls; the file says how it was made."""
    monkeypatch.setattr(train, "PLAIN", 1)  # random weights paint noise, which teaches nothing
    monkeypatch.setattr(selection, "CROPS", (2, 2, 2, 2, 2))
    losses, seen = [], crops.sample(pictures, 16, 48, seed=99)
    unit = train.in_units(teacher, crops.sample(pictures, 64, 48, seed=98))
    for batches in ("0", "400"):
        output, work = tmp_path / f"{batches}.safetensors", tmp_path / batches
        where = ["--work", str(work), "--output", str(output), "--batches", batches]
        assert train.main([*small, *where, "--rate", "0.001"]) == 0
        saved = torch.load(work / "checkpoint.pt", weights_only=True)
        taught = student.Student.like(saved["student"], saved["chosen"])
        with torch.no_grad():
            losses.append(float(student.loss(student.errors(taught, unit, seen))))
    assert losses[1] < 0.95 * losses[0]
    info, network = check_weights(output), st.load_vgg(output, device="cpu")
    assert (info.convention, network.pooling) == ("styletutor", "max") and "8-bit" in info.format
    assert network.trained_on == "6 drawings and 2 photographs, by teacher"
    assert network.layers == layer_table(WIDTHS)
    # Eight bits, and one factor for all channels of a layer.
    with torch.no_grad():
        x = seen - unit.mean
        expected = taught(x)["relu3_1"]
    made = network(seen, "relu3_1")["relu3_1"]
    factor = (made * expected).sum() / expected.square().sum()
    assert apart(made, factor * expected) < 1e-3


def test_weights_of_eight_bits_are_within_half_a_step(teacher: VGG) -> None:
    for name, (weight, bias) in by_name(teacher).items():
        tensors = student.coded({name: (weight, bias)})
        codes, step = tensors[f"{name}.weight"], tensors[f"{name}.step"]
        assert codes.dtype == torch.int8 and int(codes.abs().max()) == 127
        apart = (codes * step.view(-1, 1, 1, 1) - weight).abs()
        assert bool((apart <= 0.501 * step.view(-1, 1, 1, 1)).all())
        assert torch.equal(tensors[f"{name}.bias"], bias)


# The judge


def test_the_judge_knows_the_style_and_the_content() -> None:
    photo, art = st.load_image("coffee", 64), st.load_image("stained-glass", 64)
    verdict = judge.Judge(untrained(FULL), photo, art)
    resized = F.interpolate(art, photo.shape[2:], mode="area")
    as_is, as_style = verdict(photo), verdict(resized)
    assert (as_is.style, as_is.content, as_is.colour) == (1, 0, 1)
    mixed = verdict(0.5 * photo + 0.5 * torch.rand_like(photo))
    assert mixed.content > 0
    art_itself = judge.Judge(untrained(FULL), torch.rand_like(art), art)(art)
    assert (art_itself.style, art_itself.colour) == (0, 0) and art_itself.content > 0
    assert as_style.colour < 0.5


def test_gradients_of_one_network_agree_and_of_opposed_ones_do_not() -> None:
    photo, art = st.load_image("coffee", 64), st.load_image("stained-glass", 64)
    one = judge.DEFAULT.objective(untrained(FULL), content=photo, styles=[art])
    other = judge.DEFAULT.objective(untrained(WIDTHS), content=photo, styles=[art])
    assert judge.gradients_agree(one, one, photo) == pytest.approx(1, abs=1e-4)
    assert abs(judge.gradients_agree(one, other, photo)) < 0.9


def test_pairs_come_from_the_samples_or_from_a_folder(tmp_path: Path) -> None:
    own = [name for name, *_ in judge.pairs_of(None, 32)]
    assert len(own) == 10 and "coffee* × stained-glass" in own
    assert "motorcycle-right × voronoi-mosaic" in own  # not learnt from
    for name in ("a_house", "b"):
        st.save_image(torch.rand(1, 3, 40, 32), tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    names = [name for name, *_ in judge.pairs_of(tmp_path, 32)]
    assert names == ["a-house × b", "b × a-house"]


def test_a_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "PAIRS", judge.PAIRS[:2])
    monkeypatch.setattr(judge, "MOMENTS", (1, 3))
    monkeypatch.setattr(judge, "DEPTHS", ("relu1_2", "relu2_2"))
    networks = {"random": untrained(WIDTHS), "pocket": untrained(FULL), "judge": untrained(FULL)}
    arguments = Namespace(pairs=None, size=64, evaluations=3, output=tmp_path)
    lines = list(judge.judge_transfers(networks, arguments))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    assert len(rows) == 2 + 2 + 1 and len({len(row) for row in rows}) == 1
    for row in rows[2:]:  # here the pocket network and the judge are the same
        assert row[2] == row[3] and row[4:] == ["1.00", "1.00", "1.00, 1.00"]
    assert len(list(tmp_path.glob("*-x-*.jpg"))) == 2
    assert len(list(judge.judge_reconstructions(networks, arguments))) == 2 + 3
    assert len(list(tmp_path.glob("reconstructions-*.jpg"))) == 2
    speeds = list(judge.speed_lines(networks, side=32, turns=1))
    assert len(speeds) == 3 and all("s per evaluation at 32×32" in line for line in speeds)


# The file in the package


def test_the_packaged_network_is_what_it_says() -> None:
    info, network = check_weights(POCKET_FILE), st.load_vgg("pocket", device="cpu")
    assert POCKET_FILE.stat().st_size <= 4e6
    assert (network.name, network.source, network.sha256) == ("pocket", "pocket", info.sha256)
    assert network.layers == layer_table(POCKET_WIDTHS) == st.load_vgg("random").layers
    assert "8-bit" in info.format and network.pooling == "max"
    assert "vgg19 (Oxford, 8-bit)" in network.trained_on and "photograph" in network.trained_on
    from safetensors import safe_open

    with safe_open(POCKET_FILE, "pt") as file:
        about = file.metadata()
    assert {"date", "commit", "licence", "arguments", "minutes", "teacher_sha256"} <= set(about)
    assert all(word in about["teacher_credit"] for word in ("Simonyan", "Zisserman", "CC BY"))
    assert json.loads(about["arguments"])["widths"] == list(POCKET_WIDTHS)


def test_the_packaged_network_keeps_content_where_random_weights_do_not() -> None:
    photo = st.load_image("chelsea", 96)

    def error(name: str) -> float:
        how = {"evaluations": 100, "progress": False}
        made = st.reconstruct_content(photo, "relu3_2", vgg=st.load_vgg(name, device="cpu"), **how)
        return apart(made.image, photo)

    assert error("pocket") < 0.5 * error("random")


def test_the_packaged_network_pulls_a_picture_as_its_teacher_does() -> None:
    """On a photograph and an artwork that it has not learnt from."""
    if find_vgg19() is None:
        pytest.skip("the published VGG-19 is not here")
    photo, art = st.load_image("motorcycle-right", 128), st.load_image("voronoi-mosaic", 128)
    pocket, random, teacher = (
        judge.DEFAULT.objective(st.load_vgg(name, device="cpu"), content=photo, styles=[art])
        for name in ("pocket", "random", "vgg19")
    )
    assert judge.gradients_agree(pocket, teacher, photo) > 0.4
    assert abs(judge.gradients_agree(random, teacher, photo)) < 0.2

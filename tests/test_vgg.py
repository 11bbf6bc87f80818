"""The network against torchvision's, and its layer table against what really happens."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from torch import Tensor, nn
from torchvision.models import vgg19

from styletutor.network.layers import CONV_NAMES, LAYER_NAMES, check_layer, layer_table
from styletutor.network.vgg import IMAGENET_MEAN, VGG, in_one
from styletutor.network.weights import load_vgg

TINY = (2, 3, 4, 3, 2)


def tiny_vgg(
    *, pooling: str = "avg", widths: tuple[int, ...] = TINY, positive: bool = False, upto: int = 16
) -> VGG:
    """A network with few channels; `positive` weights let no ReLU and no sum hide a pixel."""
    generator, parameters, channels = torch.Generator().manual_seed(1), {}, 3
    for row in [row for row in layer_table(widths) if row.kind == "conv"][:upto]:
        weight = torch.randn(row.channels, channels, 3, 3, generator=generator) / (3 * channels)
        bias = torch.randn(row.channels, generator=generator) / 10
        parameters[row.name] = (weight.abs(), bias.abs()) if positive else (weight, bias)
        channels = row.channels
    return VGG(parameters, name="tiny", trained_on="nothing", sha256="0", pooling=pooling)


def pictures(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def oracle() -> nn.Sequential:
    """torchvision's layers with random weights, none of which overwrites its input."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = vgg19(weights=None).features.eval().requires_grad_(False)
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
        elif isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.bias, std=0.05, generator=torch.Generator().manual_seed(2))
    return features


@pytest.fixture(scope="module")
def oracle_file(oracle: nn.Sequential, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({f"features.{key}": value for key, value in oracle.state_dict().items()}, path)
    return path


# The table


def seen_pixels(network: VGG, layer: str, side: int, position: int) -> tuple[int, int]:
    """First and last row of the picture that change the output in the row `position`."""
    picture = pictures(1, side, side).double().requires_grad_()
    features = network(picture, [layer])[layer]
    features[0, :, position, features.shape[3] // 2].sum().backward()
    rows = picture.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    return int(rows.min()), int(rows.max())


@pytest.mark.parametrize("layer", [row.name for row in layer_table() if row.receptive_field < 140])
def test_receptive_field_and_stride_are_those_a_gradient_finds(layer: str) -> None:
    network = tiny_vgg(positive=True).double()
    row = network.layer(layer)
    side = 2 * row.receptive_field + 2 * row.stride
    side += -side % row.stride
    middle = side // row.stride // 2
    first, last = seen_pixels(network, layer, side, middle)
    assert last - first + 1 == row.receptive_field
    assert seen_pixels(network, layer, side, middle + 1) == (
        first + row.stride,
        last + row.stride,
    )


@pytest.mark.parametrize("layer", ["pool1", "relu2_2", "relu3_1"])
def test_no_pixel_outside_the_receptive_field_matters_under_max_pooling(layer: str) -> None:
    network = tiny_vgg(pooling="max", positive=True).double()
    row = network.layer(layer)
    side = 4 * row.receptive_field + (-4 * row.receptive_field) % row.stride
    middle = side // row.stride // 2
    spans = []
    for seed in range(12):  # one maximum hides its neighbours, a dozen pictures hide no pixel
        base = pictures(1, side, side, seed).double().requires_grad_()
        network(base, [layer])[layer][0, :, middle, middle].sum().backward()
        spans.append(base.grad.abs().sum(dim=(0, 1, 3)))
    rows = torch.stack(spans).sum(0).nonzero()
    assert int(rows.max() - rows.min()) + 1 == row.receptive_field


def test_known_receptive_fields() -> None:
    # 1 + 2 per 3×3 convolution and 1 per pooling, each times the stride before it.
    field = {row.name: row.receptive_field for row in layer_table()}
    known = {"conv1_1": 3, "relu1_2": 5, "pool1": 6, "relu2_1": 10, "relu3_1": 24}
    known |= {"relu4_1": 68, "relu4_2": 84, "relu5_1": 156, "pool5": 268}
    assert {name: field[name] for name in known} == known


def test_sizes_and_channels_are_those_of_the_table() -> None:
    network = tiny_vgg()
    for name, features in network(pictures(1, 70, 97), LAYER_NAMES).items():
        row = network.layer(name)
        assert features.shape == (1, row.channels, 70 // row.stride, 97 // row.stride), name


def test_parameter_counts_are_torchs(oracle: nn.Sequential) -> None:
    counts = [sum(p.numel() for p in layer.parameters()) for layer in oracle]
    assert [row.parameters for row in layer_table()] == counts
    assert [row.name for row in layer_table() if row.kind == "conv"] == list(CONV_NAMES)
    network = tiny_vgg()
    assert sum(row.parameters for row in network.layers) == sum(
        p.numel() for p in network.parameters()
    )


def test_a_network_that_stops_early_has_the_rows_up_to_there() -> None:
    assert tiny_vgg(upto=8).layer_names == LAYER_NAMES[: LAYER_NAMES.index("pool3") + 1]
    assert tiny_vgg(upto=9).layer_names[-1] == "relu4_1"


# The features


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_every_layer_equals_torchvisions(oracle: nn.Sequential, oracle_file, pooling: str) -> None:
    network = load_vgg(oracle_file, pooling=pooling, device="cpu").double()
    picture = pictures(1, 64, 48).double()
    ours = network(picture, LAYER_NAMES)
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)  # float32, as the network keeps it
    x = (picture - mean) / torch.tensor((0.229, 0.224, 0.225)).double().view(1, 3, 1, 1)
    assert len(oracle) == len(LAYER_NAMES) == 37
    for name, layer in zip(LAYER_NAMES, deepcopy(oracle).double(), strict=True):
        if isinstance(layer, nn.MaxPool2d) and pooling == "avg":
            layer = nn.AvgPool2d(2)
        x = layer(x)
        torch.testing.assert_close(ours[name], x, rtol=1e-5, atol=1e-6 * float(x.abs().max()))


def test_float32_agrees_with_float64_to_rounding(oracle_file) -> None:
    network, picture = load_vgg(oracle_file, device="cpu"), pictures(1, 64, 64)
    single = network(picture, ["relu1_1", "relu4_2", "relu5_1"])
    exact = network.double()(picture.double(), single)
    for name, features in single.items():
        assert (features - exact[name]).norm() < 1e-4 * exact[name].norm(), name


def test_conv_is_before_and_relu_after_the_relu() -> None:
    features = tiny_vgg()(pictures(2, 32, 32), ["relu3_2", "conv3_2"])
    assert list(features) == ["relu3_2", "conv3_2"]
    assert (features["conv3_2"] < 0).any()
    assert torch.equal(features["relu3_2"], features["conv3_2"].clamp(min=0))


@pytest.mark.parametrize("layer", ["conv1_1", "relu2_1", "pool3", "relu4_2", "pool5"])
def test_no_convolution_runs_beyond_the_deepest_layer(layer: str) -> None:
    network, ran = tiny_vgg(), []
    for name, module in network.convolutions.items():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network(pictures(1, 32, 32), ["conv1_1", layer, layer])
    reached = LAYER_NAMES[: LAYER_NAMES.index(layer) + 1]
    assert ran == [name for name in reached if name in CONV_NAMES]


def test_weights_are_frozen_and_the_picture_gets_a_gradient() -> None:
    network, picture = tiny_vgg(), pictures(1, 32, 32).requires_grad_()
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    network(picture, ["relu4_2"])["relu4_2"].square().sum().backward()
    assert picture.grad is not None and float(picture.grad.abs().sum()) > 0
    assert all(p.grad is None for p in network.parameters())


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    network, batch = tiny_vgg(pooling="max").double(), pictures(3, 48, 32).double()
    together = network(batch, ["relu2_1", "relu5_1"])
    for i in range(3):
        for name, features in network(batch[i : i + 1], together).items():
            torch.testing.assert_close(features[0], together[name][i])


def test_neither_the_picture_nor_the_given_weights_are_changed_or_shared() -> None:
    weight, bias = torch.randn(4, 3, 3, 3), torch.randn(4)
    network = VGG({"conv1_1": (weight, bias)}, name="one", trained_on="nothing", sha256="0")
    picture = pictures(1, 8, 8)
    before, features = picture.clone(), network(picture, ["relu1_1"])["relu1_1"]
    weight.zero_()
    assert torch.equal(picture, before)
    assert torch.equal(network(picture, ["relu1_1"])["relu1_1"], features)


def test_the_padding_is_mean_coloured() -> None:
    network = tiny_vgg()
    uniform = network.mean.expand(1, 3, 12, 15)
    conv = network(uniform, ["conv1_1"])["conv1_1"]  # the bias, up to the corners
    assert torch.equal(conv, network.convolutions["conv1_1"].bias.view(1, -1, 1, 1).expand_as(conv))
    grey = network(uniform + 0.1, ["conv1_1"])["conv1_1"]
    assert not torch.allclose(grey[..., 0, 0], grey[..., 6, 6], rtol=1e-3)


# What goes wrong


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("conv4-2", "conv4_2"),
        ("relu42", "relu4_2"),
        ("relu_4_2", "relu4_2"),
        ("block4_conv2", "conv4_2"),
        ("Relu1_1", "relu1_1"),
        ("relu9_9", "relu"),
        ("pool6", "pool"),
        ("", "conv1_1 … pool5"),
        ("mixed", "conv1_1 … pool5"),
    ],
)
def test_an_unknown_layer_suggests_near_names(wrong: str, right: str) -> None:
    with pytest.raises(ValueError, match="unknown layer") as error:
        check_layer(wrong)
    assert repr(wrong) in str(error.value) and right in str(error.value)
    with pytest.raises(ValueError, match="unknown layer"):
        tiny_vgg()(pictures(1, 32, 32), ["relu1_1", wrong])


def test_a_layer_beyond_the_end_is_told_from_an_unknown_one() -> None:
    with pytest.raises(ValueError, match=r"relu4_2.*beyond the end.*stop at 'pool3'"):
        tiny_vgg(upto=8)(pictures(1, 32, 32), ["relu4_2"])


def test_no_layer_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no layer"):
        tiny_vgg()(pictures(1, 32, 32), [])


@pytest.mark.parametrize(("layer", "side"), [("relu2_1", 2), ("relu4_2", 8), ("pool5", 32)])
def test_too_small_a_picture_says_how_large_it_has_to_be(layer: str, side: int) -> None:
    network = tiny_vgg()
    assert min(network(pictures(1, side, 40), [layer])[layer].shape) == 1
    with pytest.raises(ValueError, match=rf"{side - 1} pixels is too small for .*{side} pixels"):
        network(pictures(1, side - 1, 40), [layer])


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(3, 32, 32),
        torch.zeros(1, 1, 32, 32),
        torch.zeros(1, 4, 32, 32),
        torch.zeros(1, 32, 32, 3),
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        "photo.jpg",
    ],
    ids=["no batch", "grey", "alpha", "channels last", "bytes", "a path"],
)
def test_what_is_no_batch_of_pictures_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        tiny_vgg()(wrong, ["relu1_1"])


def test_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'mean'.*max, avg"):
        tiny_vgg(pooling="mean")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1_2": None}, "no conv1_2"),
        ({"conv1_1": None}, "no conv1_1"),
        ({"conv2_2": (torch.zeros(3, 2, 3, 3), torch.zeros(3))}, "conv2_2 .*expected"),
        ({"conv2_2": (torch.zeros(3, 3, 5, 5), torch.zeros(3))}, "conv2_2 .*expected"),
        ({"conv2_2": (torch.zeros(3, 3, 3, 3), torch.zeros(4))}, "conv2_2 .*expected"),
        ({"conv1_2": (torch.full((2, 2, 3, 3), torch.nan), torch.zeros(2))}, "conv1_2.*finite"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(change: dict, message: str) -> None:
    good = tiny_vgg().convolutions
    parameters = {name: (module.weight, module.bias) for name, module in good.items()} | change
    parameters = {name: pair for name, pair in parameters.items() if pair is not None}
    with pytest.raises(ValueError, match=message):
        VGG(parameters, name="broken", trained_on="nothing", sha256="0")


def test_repr_says_which_network_it_is() -> None:
    text = repr(tiny_vgg())
    assert all(part in text for part in ("'tiny'", "nothing", "pool5", "avg", "cpu"))


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("edge", ["zero", "repeat"])
@pytest.mark.parametrize("round_up", [False, True])
def test_adapted_has_the_gradient_of_plain_pytorch(pooling: str, edge: str, round_up: bool) -> None:
    vgg = make_tiny_vgg().double()
    habits = {"pooling": pooling, "edge": edge, "round_up": round_up, "white": 1.1}
    habits |= {"strength": 7.0}
    adapted = vgg.adapted(gain=(2.0, 3.0, 4.0), **habits)
    x = random_pictures(2, 33, 29).double().requires_grad_()
    layers = ["relu2_1", "conv3_2", "relu4_1"]
    ours = adapted(x, layers)
    gain = torch.tensor([2.0, 3.0, 4.0]).view(3, 1, 1).double()
    y, plain = (1.1 * x - vgg.mean) * gain, {}
    for row in vgg.layers[: vgg.layer_names.index("relu4_1") + 1]:
        if row.kind == "conv":
            conv = vgg.convolutions[row.name]
            mode = "replicate" if edge == "repeat" and row.name == "conv1_1" else "constant"
            y = nn.functional.pad(y, (1, 1, 1, 1), mode=mode)
            y = nn.functional.conv2d(y, conv.weight, conv.bias)
        elif row.kind == "relu":
            y = y.relu()
        else:
            pool = nn.functional.max_pool2d if pooling == "max" else nn.functional.avg_pool2d
            y = pool(y, 2, ceil_mode=round_up)
        plain[row.name] = 7.0 * y
    for name in layers:
        torch.testing.assert_close(ours[name], plain[name])
        assert adapted.grid(name, (33, 29)) == tuple(plain[name].shape[2:])
    gradients = [
        torch.autograd.grad(sum(f[name].square().sum() for name in layers), x, retain_graph=True)[0]
        for f in (ours, plain)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert vgg.pooling == "avg" and vgg.edge == "zero" and not vgg.round_up, "a copy was adapted"
    torch.testing.assert_close(
        vgg(x.detach(), "relu1_1")["relu1_1"],
        make_tiny_vgg().double()(x.detach(), "relu1_1")["relu1_1"],
    )


def test_what_nobody_asks_for_is_computed_in_one() -> None:
    chain = layer_table()[:5]  # conv1_1 … pool1

    def groups(*wanted: str) -> list[str]:
        return [" ".join(row.name for row in group) for group in in_one(chain, wanted)]

    assert groups() == ["conv1_1 relu1_1", "conv1_2 relu1_2 pool1"]
    assert groups("relu1_2") == ["conv1_1 relu1_1", "conv1_2 relu1_2", "pool1"]
    assert groups("conv1_2") == ["conv1_1 relu1_1", "conv1_2", "relu1_2", "pool1"]
    assert groups("relu1_1", "pool1") == ["conv1_1 relu1_1", "conv1_2 relu1_2 pool1"]

"""Every recipe against its system's formula, written again in float64 from the published code.

Each oracle works in the system's own space of pixels and with weights for that space, pools and
pads as its framework does, and sums with numpy; only the parameters of the network are shared.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_tiny_vgg, random_pictures

from styletutor.cli import main
from styletutor.cookbook.published import find_recipe, recipes
from styletutor.cookbook.recipe import STYLE_LAYERS
from styletutor.cookbook.rosetta import as_lines, rosetta
from styletutor.loss.losses import content_loss, style_loss
from styletutor.loss.statistics import gram_matrix
from styletutor.loss.units import Units
from styletutor.network.fingerprint import PRINTS
from styletutor.network.vgg import VGG

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])
SIZES = [(33, 47), (32, 48)]  # odd ones, where poolings round
Arrays = dict[str, np.ndarray]


class Network:
    """VGG-19 in float64, for inputs `gain` times as strong as those that our weights are for."""

    def __init__(
        self, vgg: VGG, gain: np.ndarray | float, pool: str, ceil: bool = False, edge: str = "zeros"
    ) -> None:
        self.parameters = {
            name: (conv.weight.double().clone(), conv.bias.double())
            for name, conv in vgg.convolutions.items()
        }
        gains = torch.as_tensor(np.broadcast_to(gain, 3).copy())
        self.parameters["conv1_1"][0].div_(gains.view(1, 3, 1, 1))
        self.pool, self.ceil, self.edge = pool, ceil, edge

    def __call__(self, pixels: np.ndarray) -> Arrays:
        x, found = torch.from_numpy(pixels)[None], {}
        for block, repeats in enumerate((2, 2, 4, 4, 4), start=1):
            for i in range(1, repeats + 1):
                name = f"{block}_{i}"
                weight, bias = self.parameters[f"conv{name}"]
                edge = self.edge if name == "1_1" else "zeros"
                x = F.pad(x, (1, 1, 1, 1), mode="constant" if edge == "zeros" else edge)
                x = F.conv2d(x, weight, bias)
                found[f"conv{name}"] = x[0].numpy()
                x = x.clamp(min=0)
                found[f"relu{name}"] = x[0].numpy()
            pool = F.max_pool2d if self.pool == "max" else F.avg_pool2d
            x = pool(x, 2, 2, ceil_mode=self.ceil)
        return found


def column(values: np.ndarray) -> np.ndarray:
    return values.reshape(3, 1, 1)


def gram(features: np.ndarray, divisor: float) -> np.ndarray:
    rows = features.reshape(len(features), -1)
    result = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        for j, other in enumerate(rows):
            result[i, j] = float((row * other).sum())
    return result / divisor


def mean_square(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).mean())


def differences(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pixels[:, 1:] - pixels[:, :-1], pixels[:, :, 1:] - pixels[:, :, :-1]


def gatys2016(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 255.0, "avg")
    fx, fp, fa = (net(255 * (image - column(MEAN))) for image in (x, p, a))
    style = 0.0
    for block in range(1, 6):
        one, other = fx[f"conv{block}_1"], fa[f"conv{block}_1"]
        n, m, own = len(one), one[0].size, other[0].size
        # A of another size counts per position, as if it were of this one.
        d = gram(one, 1) - gram(other, 1) * m / own
        style += 0.2 * (d**2).sum() / (4 * n**2 * m**2)
    return {"content": 0.5 * ((fx["conv4_2"] - fp["conv4_2"]) ** 2).sum(), "style": 1e3 * style}


def gatys_notebook(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 255.0, "max")
    fx, fp, fa = (net(255 * image - 255 * column(MEAN)) for image in (x, p, a))
    style = 0.0
    for layer in STYLE_LAYERS:
        n, m, own = len(fx[layer]), fx[layer][0].size, fa[layer][0].size
        style += 1e3 / n**2 * mean_square(gram(fx[layer], m), gram(fa[layer], own))
    return {"content": mean_square(fx["relu4_2"], fp["relu4_2"]), "style": style}


def anishathalye(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 255.0, "max", ceil=True)  # TensorFlow's SAME
    fx, fp, fa = (net(255 * image - 255 * column(MEAN)) for image in (x, p, a))
    style = sum(
        0.2 * mean_square(gram(fx[name], fx[name].size), gram(fa[name], fa[name].size))
        for name in STYLE_LAYERS
    )
    dy, dx = differences(255 * x)
    return {
        "content": 5 * mean_square(fx["relu4_2"], fp["relu4_2"]),
        "style": 500 * style,
        "tv": 100 * ((dy**2).mean() + (dx**2).mean()),
    }


def pytorch_tutorial(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 1 / STD, "max")  # for pixels divided by the deviation
    fx, fp, fa = (net((image - column(MEAN)) / column(STD)) for image in (x, p, a))
    style = sum(
        mean_square(gram(fx[name], fx[name].size), gram(fa[name], fa[name].size))
        for name in ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
    )
    return {"content": mean_square(fx["conv2_2"], fp["conv2_2"]), "style": 1e6 * style}


def tensorflow_tutorial(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 255.0, "max")
    fx, fp, fa = (net(255 * image - 255 * column(MEAN)) for image in (x, p, a))
    style = sum(
        mean_square(gram(fx[name], fx[name][0].size), gram(fa[name], fa[name][0].size))
        for name in STYLE_LAYERS
    )
    dy, dx = differences(x)
    return {
        "content": 1e4 * mean_square(fx["relu5_2"], fp["relu5_2"]),
        "style": 1e-2 / 5 * style,
        "tv": 30 * (np.abs(dx).sum() + np.abs(dy).sum()),
    }


def keras_scipy(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 255.0, "max")
    fx, fp, fa = (net(255 * image - 255 * column(MEAN)) for image in (x, p, a))
    height, width = x.shape[1:]
    style = 0.0
    for layer in STYLE_LAYERS:
        m, own = fx[layer][0].size, fa[layer][0].size
        d = gram(fx[layer], 1) - gram(fa[layer], 1) * m / own
        style += 0.2 * (d**2).sum() / (4 * 3**2 * (height * width) ** 2)
    dy, dx = differences(255 * x)
    return {
        "content": 0.025 * ((fx["relu5_2"] - fp["relu5_2"]) ** 2).sum(),
        "style": style,
        "tv": np.abs(dy).sum() + np.abs(dx).sum(),
    }


def johnson(
    vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray, white: int, ceil: bool
) -> dict[str, float]:
    net = Network(vgg, 255.0, "max", ceil=ceil)
    fx, fp, fa = (net(white * image - 255 * column(MEAN)) for image in (x, p, a))
    style = sum(
        mean_square(gram(fx[name], fx[name].size), gram(fa[name], fa[name].size))
        for name in STYLE_LAYERS
    )
    return {"content": 5 * mean_square(fx["relu4_2"], fp["relu4_2"]), "style": 100 * style}


def jcjohnson(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    pixels = 256 * x
    corner = pixels[:, :-1, :-1]
    dx, dy = corner - pixels[:, :-1, 1:], corner - pixels[:, 1:, :-1]
    tv = 1e-3 * 0.5 * ((dx**2).sum() + (dy**2).sum())
    return {**johnson(vgg, x, p, a, 256, ceil=True), "tv": tv}


def neural_style_pt(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    dy, dx = differences(255 * x)
    tv = 1e-3 * (np.abs(dy).sum() + np.abs(dx).sum())
    return {**johnson(vgg, x, p, a, 255, ceil=False), "tv": tv}


def gordicaleksa(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    # Weights for pixels divided by the deviation, and pixels of 0 to 255.
    net = Network(vgg, 1 / STD, "max")
    fx, fp, fa = (net(255 * image - 255 * column(MEAN)) for image in (x, p, a))
    style = 0.0
    for name in STYLE_LAYERS:
        d = gram(fx[name], fx[name].size) - gram(fa[name], fa[name].size)
        style += (d**2).sum() / 5
    dy, dx = differences(255 * x)
    return {
        "content": 1e5 * mean_square(fx["relu4_2"], fp["relu4_2"]),
        "style": 3e4 * style,
        "tv": np.abs(dy).sum() + np.abs(dx).sum(),
    }


def newton_schulz(a: np.ndarray) -> np.ndarray:
    norm = np.sqrt((a**2).sum())
    y, z, one = a / norm, np.eye(len(a)), np.eye(len(a))
    for _ in range(12):
        t = 0.5 * (3 * one - z @ y)
        y, z = y @ t, t @ z
    return y * np.sqrt(norm)


def crowsonkb(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 1 / STD, "max", edge="replicate")
    fx, fp, fa = (net((image - column(MEAN)) / column(STD)) for image in (x, p, a))
    style = 0.0
    for weight, name in zip((256, 64, 16, 4, 1), STYLE_LAYERS, strict=True):
        moments = []
        for features in (fx[name], fa[name]):
            rows = features.reshape(len(features), -1)
            mean = rows.mean(1)
            second = gram(features, rows.shape[1])
            moments.append((mean, second - np.outer(mean, mean) + 1e-4 * np.eye(len(mean))))
        (mean, sigma), (other, target) = moments
        root = newton_schulz(target)
        mixed = newton_schulz(root @ sigma @ root)
        w2 = ((mean - other) ** 2).mean() + np.diag(target + sigma - 2 * mixed).mean()
        style += weight / 341 * w2
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    inner = padded[:, 1:-1, 1:-1]
    right, below = padded[:, 1:-1, 2:] - inner, padded[:, 2:, 1:-1] - inner
    one, two = padded[:, 1:, 1:] - padded[:, :-1, :-1], padded[:, 1:, :-1] - padded[:, :-1, 1:]
    tv = 2 * sum((d**2).mean() / n for d, n in ((right, 3), (below, 3), (one, 12), (two, 12)))
    return {
        "content": 0.015 * mean_square(fx["relu4_2"], fp["relu4_2"]),
        "style": style,
        "tv": 2 * tv,
    }


def d2l(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 1 / STD, "max")
    fx, fp, fa = (net((image - column(MEAN)) / column(STD)) for image in (x, p, a))
    style = sum(
        mean_square(gram(fx[name], fx[name].size), gram(fa[name], fa[name].size))
        for name in ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "conv5_1")
    )
    dy, dx = differences((x - column(MEAN)) / column(STD))
    return {
        "content": mean_square(fx["relu4_4"], fp["relu4_4"]),
        "style": 1e4 * style,
        "tv": 10 * 0.5 * (np.abs(dy).mean() + np.abs(dx).mean()),
    }


def default(vgg: VGG, x: np.ndarray, p: np.ndarray, a: np.ndarray) -> dict[str, float]:
    net = Network(vgg, 1.0, vgg.pooling)
    fx, fp, fa = (net(image - column(MEAN)) for image in (x, p, a))

    def share(one: np.ndarray, other: np.ndarray) -> float:
        return ((one - other) ** 2).sum() / (other**2).sum()

    content = share(fx["relu4_2"], fp["relu4_2"])
    style = sum(
        share(gram(fx[name], fx[name].size), gram(fa[name], fa[name].size)) / 5
        for name in STYLE_LAYERS
    )
    return {"content": content, "style": 40 * style}


ORACLES = {
    "default": default,
    "gatys2016": gatys2016,
    "gatys-notebook": gatys_notebook,
    "anishathalye": anishathalye,
    "pytorch-tutorial": pytorch_tutorial,
    "tensorflow-tutorial": tensorflow_tutorial,
    "keras-scipy": keras_scipy,
    "jcjohnson": jcjohnson,
    "neural-style-pt": neural_style_pt,
    "gordicaleksa": gordicaleksa,
    "crowsonkb": crowsonkb,
    "d2l": d2l,
}


def test_every_recipe_has_an_oracle_and_says_where_it_comes_from() -> None:
    assert set(ORACLES) == set(recipes)
    for name, recipe in recipes.items():
        assert recipe.name == name and recipe.source
        assert recipe.notes or name == "default"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ORACLES)
def test_terms_are_the_systems_own(name: str, size: tuple[int, int]) -> None:
    vgg = make_tiny_vgg().double()
    x, p = (random_pictures(1, *size, seed=seed).double() for seed in (1, 2))
    a = random_pictures(1, *((size[0] + 8, size[1] - 7) if name != "keras-scipy" else size), seed=3)
    a = a.double()
    terms = recipes[name].objective(vgg, content=p, styles=[a])(x)
    expected = ORACLES[name](vgg, *(image[0].numpy() for image in (x, p, a)))
    assert set(terms) - {"total"} == set(expected)
    for term, value in expected.items():
        assert terms[term].item() == pytest.approx(value, rel=1e-6), term
    assert terms["total"].item() == pytest.approx(sum(expected.values()), rel=1e-6)


def test_networks_are_brought_to_the_level_that_a_recipe_is_for() -> None:
    """A published network is taken as it is by the recipes written for it."""
    vgg, photo = make_tiny_vgg(), random_pictures(1, 32, 32)
    before = vgg(photo, "relu4_2")["relu4_2"]
    for whose, names in (
        (
            "Oxford",
            ("gatys2016", "anishathalye", "tensorflow-tutorial", "keras-scipy", "jcjohnson"),
        ),
        ("torchvision", ("pytorch-tutorial", "crowsonkb", "d2l")),
    ):
        for name in names:
            recipe = replace(recipes[name], pooling="avg", round_up=False, edge="zero", white=1.0)
            for owner in PRINTS:
                vgg.level = PRINTS[owner].level
                after = recipe.network(vgg)(photo, "relu4_2")["relu4_2"]
                ratio = PRINTS[whose].level / PRINTS[owner].level
                torch.testing.assert_close(after, ratio * before, rtol=1e-3, atol=1e-4 * ratio)
                if whose == owner:
                    assert torch.equal(after, before)


def test_anishathalyes_styles_blend_their_losses() -> None:
    """A constant more than the loss of the blended target, as its program sums them."""
    vgg = make_tiny_vgg().double()
    x, p, a, b = (random_pictures(1, 33, 29, seed=seed).double() for seed in range(4))
    recipe = recipes["anishathalye"]
    both = recipe.objective(vgg, content=p, styles=[a, b], blend=[1, 3])(x)["style"]
    one, other = (recipe.objective(vgg, content=p, styles=[s])(x)["style"] for s in (a, b))
    assert both.item() == pytest.approx((0.25 * one + 0.75 * other).item(), rel=1e-6)


@pytest.mark.parametrize("name", [n for n in recipes if n not in ("crowsonkb", "default")])
@pytest.mark.parametrize("other", ["gatys2016", "anishathalye", "gordicaleksa", "default", "d2l"])
def test_a_translation_has_the_same_gradient(name: str, other: str) -> None:
    vgg = make_tiny_vgg().double()
    x, p, a = (random_pictures(1, 33, 29, seed=seed).double() for seed in range(3))
    recipe = recipes[name]
    translated = recipe.translate_to(recipes[other], vgg, p, [a])
    assert translated.units.content == recipes[other].units.content
    gradients = []
    for each in (recipe, translated):
        x = x.detach().requires_grad_()
        total = each.objective(vgg, content=p, styles=[a])(x)["total"].sum()
        gradients.append(torch.autograd.grad(total, x)[0])
    torch.testing.assert_close(
        gradients[1], gradients[0], rtol=1e-5, atol=1e-6 * gradients[0].max()
    )


def test_translations_that_everybody_can_check() -> None:
    """jcjohnson's 5 and 100 are gatys-notebook's 1 and 1e3, times 5 and a tenth."""
    vgg = make_tiny_vgg()
    p, a = (random_pictures(1, 32, 32, seed=seed) for seed in (1, 2))
    theirs = recipes["jcjohnson"].translate_to(recipes["gatys-notebook"], vgg, p, [a])
    assert theirs.content_weight == pytest.approx(5)
    assert theirs.style_weight == pytest.approx(100)
    assert theirs.style_layers == pytest.approx(dict.fromkeys(STYLE_LAYERS, 1.0))
    paper = recipes["gatys-notebook"].translate_to(recipes["gatys2016"], vgg, p, [a])
    for layer, share in paper.style_layers.items():
        n = vgg.layer(layer).channels
        assert paper.style_weight * share == pytest.approx(4e3 / n**2, rel=1e-5)
    places = vgg.layer("relu4_2").channels * 16
    assert paper.content_weight == pytest.approx(2 / places)


def test_the_rosetta_table() -> None:
    """α and β, put into the paper's own formula, give each system's loss."""
    vgg = make_tiny_vgg().double()
    x, p, a = (random_pictures(1, 32, 48, seed=seed).double() for seed in range(3))
    rows = {row.name: row for row in rosetta(vgg, p, [a])}
    assert list(rows) == list(recipes)
    for name, row in rows.items():
        if name == "crowsonkb":
            assert not row.content and "wasserstein" in row.why
            continue
        recipe = recipes[name]
        network, terms = recipe.network(vgg), recipe.objective(vgg, content=p, styles=[a])(x)
        pairs = {
            layer: [network(picture, layer)[layer] for picture in (x, p, a)]
            for layer in (*row.content, *row.style)
        }
        content = sum(w * content_loss(*pairs[n][:2]) for n, w in row.content.items())
        style = sum(
            w * style_loss(gram_matrix(pairs[n][0]), gram_matrix(pairs[n][2]))
            for n, w in row.style.items()
        )
        assert content.item() == pytest.approx(terms["content"].item(), rel=1e-5)
        assert style.item() == pytest.approx(terms["style"].item(), rel=1e-5)
    early = VGG(
        {n: (c.weight, c.bias) for n, c in list(make_tiny_vgg().convolutions.items())[:8]},
        name="early", trained_on="nothing", sha256="0" * 64,
    )  # fmt: skip
    rows = {row.name: row for row in rosetta(early, p.float(), [a.float()])}
    assert rows["pytorch-tutorial"].style and "beyond the end of these weights" in rows["d2l"].why
    assert len(as_lines(list(rows.values()))) == len(recipes) + 1


def test_the_table_on_the_command_line(capsys: pytest.CaptureFixture) -> None:
    assert main(["recipes", "--weights", "pocket", "--size", "64"]) == 0
    out = capsys.readouterr().out
    assert all(out.count(name) >= 2 for name in recipes)
    assert main(["recipes", "crowsonkb"]) == 0
    assert "wasserstein" in capsys.readouterr().out
    assert main(["recipes", "crowson"]) == 2
    assert "did you mean crowsonkb" in capsys.readouterr().err


def test_a_weight_of_nothing_stays_nothing() -> None:
    vgg, p = make_tiny_vgg(), random_pictures(1, 32, 32)
    without = replace(recipes["jcjohnson"], content_weight=0.0)
    assert without.translate_to(recipes["d2l"], vgg, p, [p]).content_weight == 0


def test_what_cannot_be_translated_says_so() -> None:
    vgg, p = make_tiny_vgg(), random_pictures(1, 32, 32)
    with pytest.raises(ValueError, match="crowsonkb compares styles by wasserstein"):
        recipes["crowsonkb"].translate_to(recipes["d2l"], vgg, p, [p])


def test_the_pytorch_tutorial_is_found_under_its_other_name() -> None:
    assert find_recipe("zhenye-na") is recipes["pytorch-tutorial"]


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="did you mean jcjohnson"):
        find_recipe("jcjonson")
    with pytest.raises(ValueError, match="unknown style unit 'paeper'"):
        Units(style="paeper")
    with pytest.raises(ValueError, match="unknown statistic 'gramm'"):
        Units(statistic="gramm")
    with pytest.raises(ValueError, match="unknown edge"):
        replace(recipes["d2l"], edge="mirror").network(make_tiny_vgg())

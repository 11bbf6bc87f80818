"""The objective against float64 numpy formulas on the network's own features."""

import numpy as np
import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

import styletutor as st
from styletutor.loss.knobs import blend_shares, layer_shares
from styletutor.loss.objective import Objective, sum_terms
from styletutor.loss.units import Units
from styletutor.network.vgg import VGG

CONTENT = {"relu2_2": 3.0, "conv3_1": 1.0}
STYLE = {"relu1_1": 1.0, "relu3_1": 2.0}


def features_of(vgg: VGG, images: torch.Tensor, layer: str) -> np.ndarray:
    return vgg(images, [layer])[layer].double().numpy()


def gram_of(features: np.ndarray) -> np.ndarray:
    flat = features.reshape(len(features), -1)
    return flat @ flat.T / flat.size


def share(value: np.ndarray, target: np.ndarray) -> float:
    return float(((value - target) ** 2).sum() / (target**2).sum())


@pytest.fixture
def pictures() -> dict[str, torch.Tensor]:
    return {
        "images": random_pictures(3, 33, 27),  # odd sizes: poolings round down
        "content": random_pictures(1, 33, 27, seed=1),
        "brush": random_pictures(1, 40, 29, seed=2),
        "mosaic": random_pictures(1, 25, 31, seed=3),
    }


def make(vgg: VGG, pictures: dict[str, torch.Tensor], **changes: object) -> Objective:
    arguments = {
        "content": pictures["content"],
        "styles": [pictures["brush"], pictures["mosaic"]],
        "blend": [1, 3],
        "content_layers": CONTENT,
        "style_layers": STYLE,
        "content_weight": 2.0,
        "style_weight": 5.0,
        "tv_weight": 0.5,
    }
    return Objective(vgg, **(arguments | changes))


def test_terms_equal_the_formula(tiny_vgg: VGG, pictures: dict[str, torch.Tensor]) -> None:
    terms = make(tiny_vgg, pictures)(pictures["images"])
    for b in range(3):
        image = pictures["images"][b : b + 1]
        content = sum(
            weight
            / 4
            * share(
                features_of(tiny_vgg, image, layer)[0],
                features_of(tiny_vgg, pictures["content"], layer)[0],
            )
            for layer, weight in CONTENT.items()
        )
        style = 0.0
        for layer, weight in STYLE.items():
            gram = gram_of(features_of(tiny_vgg, image, layer)[0])
            brush, mosaic = (
                gram_of(features_of(tiny_vgg, pictures[name], layer)[0])
                for name in ("brush", "mosaic")
            )
            style += weight / 3 * share(gram, 0.25 * brush + 0.75 * mosaic)
        pixels = image[0].double().numpy()
        tv = np.mean(np.diff(pixels, axis=1) ** 2) + np.mean(np.diff(pixels, axis=2) ** 2)
        assert terms["content"][b].item() == pytest.approx(2 * content, rel=1e-4)
        assert terms["style"][b].item() == pytest.approx(5 * style, rel=1e-4)
        assert terms["tv"][b].item() == pytest.approx(0.5 * tv, rel=1e-4)
        total = 2 * content + 5 * style + 0.5 * tv
        assert terms["total"][b].item() == pytest.approx(total, rel=1e-4)


def test_the_papers_units(tiny_vgg: VGG, pictures: dict[str, torch.Tensor]) -> None:
    objective = make(
        tiny_vgg,
        pictures,
        styles=[pictures["brush"]],
        blend=None,
        content_layers="relu2_2",
        style_layers=["relu1_1"],
        content_weight=1,
        style_weight=1,
        tv_weight=0,
        units=Units(content="paper", style="paper"),
    )
    image = pictures["images"][:1]
    terms = objective(image)
    f, p = (features_of(tiny_vgg, i, "relu2_2")[0] for i in (image, pictures["content"]))
    g, a = (gram_of(features_of(tiny_vgg, i, "relu1_1")[0]) for i in (image, pictures["brush"]))
    assert terms["content"].item() == pytest.approx(0.5 * ((f - p) ** 2).sum(), rel=1e-4)
    assert terms["style"].item() == pytest.approx(0.25 * ((g - a) ** 2).sum(), rel=1e-4)
    assert "tv" not in terms


@pytest.mark.parametrize("units", ["paper", "share"])
def test_the_losses_that_the_lessons_teach_are_those_of_the_core(
    units: str, tiny_vgg: VGG, pictures: dict[str, torch.Tensor]
) -> None:
    """`st.content_loss` and `st.style_loss`, or `st.relative_error` for both, and the Objective."""
    images, photo, art = (pictures[name] for name in ("images", "content", "brush"))
    counts = Units(content=units, style=units)
    aims = {"content_layers": "relu2_2", "style_layers": "relu3_1", "units": counts}
    terms = Objective(tiny_vgg, content=photo, styles=[art], **aims)(images)
    now, kept = (tiny_vgg(x, ["relu2_2", "relu3_1"]) for x in (images, photo))
    grams = [st.gram_matrix(tiny_vgg(x, ["relu3_1"])["relu3_1"]) for x in (images, art)]
    content, style = {
        "paper": (st.content_loss, st.style_loss),
        "share": (st.relative_error, st.relative_error),
    }[units]
    torch.testing.assert_close(terms["content"], content(now["relu2_2"], kept["relu2_2"]))
    torch.testing.assert_close(terms["style"], style(*grams))


def test_a_target_of_nothing_counts_as_one_everywhere(tiny_vgg: VGG) -> None:
    """The share of a target that is zero: `relative_error`, and the Objective that counts so."""
    black = torch.zeros(1, 3, 16, 16)
    for convolution in tiny_vgg.convolutions.values():
        convolution.bias.zero_()
    tiny_vgg.mean.zero_()
    images = random_pictures(2, 16, 16)
    objective = Objective(tiny_vgg, content=black, content_layers="relu1_1")
    features = tiny_vgg(images, ["relu1_1"])["relu1_1"]
    expected = st.relative_error(features, torch.zeros_like(features))
    assert (expected > 0).all()
    torch.testing.assert_close(objective(images)["content"], expected)


def test_blended_target_has_the_gradient_of_blended_losses(
    tiny_vgg: VGG, pictures: dict[str, torch.Tensor]
) -> None:
    """Σ w ‖G - A‖² and ‖G - Σ w A‖² differ by a constant only, when the w sum to 1."""
    common = {"content": None, "units": Units(style="paper"), "tv_weight": 0, "style_weight": 1e4}
    both = make(tiny_vgg, pictures, **common)
    single = [
        make(tiny_vgg, pictures, styles=[pictures[name]], blend=None, **common)
        for name in ("brush", "mosaic")
    ]
    x = pictures["images"].clone().requires_grad_()
    (expected,) = torch.autograd.grad(
        sum(w * o(x)["total"].sum() for w, o in zip((0.25, 0.75), single, strict=True)), x
    )
    (actual,) = torch.autograd.grad(both(x)["total"].sum(), x)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_pictures_of_a_batch_do_not_mix(tiny_vgg: VGG, pictures: dict[str, torch.Tensor]) -> None:
    objective = make(tiny_vgg, pictures)
    x = pictures["images"].clone().requires_grad_()
    batch = objective(x)
    (gradient,) = torch.autograd.grad(batch["total"].sum(), x)
    for b in range(3):
        y = pictures["images"][b : b + 1].clone().requires_grad_()
        single = objective(y)
        (own,) = torch.autograd.grad(single["total"].sum(), y)
        for term, value in single.items():
            torch.testing.assert_close(batch[term][b : b + 1], value, rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient[b : b + 1], own, rtol=1e-3, atol=1e-6)


def test_each_picture_may_have_its_own_target_and_weight(
    tiny_vgg: VGG, pictures: dict[str, torch.Tensor]
) -> None:
    objective = make(tiny_vgg, pictures, content=pictures["images"].flip(0))
    objective.set_weight("style", [0.0, 1.0, 2.0])
    terms = objective(pictures["images"])
    assert terms["content"][1].item() == 0  # the middle one is its own target
    assert terms["content"][0] > 0
    assert terms["style"][0].item() == 0


def test_nothing_is_kept_but_detached_targets(
    tiny_vgg: VGG, pictures: dict[str, torch.Tensor]
) -> None:
    pictures = {name: picture.requires_grad_() for name, picture in pictures.items()}
    objective = make(tiny_vgg, pictures)
    assert set(objective.content_targets) == set(CONTENT)
    assert set(objective.style_targets) == set(STYLE)
    for name, target in (objective.content_targets | objective.style_targets).items():
        assert not target.requires_grad, name
        assert target.grad_fn is None
    for layer, target in objective.style_targets.items():
        channels = tiny_vgg.layer(layer).channels
        assert target.shape == (1, channels, channels)


def test_knobs(tiny_vgg: VGG, pictures: dict[str, torch.Tensor]) -> None:
    objective = make(tiny_vgg, pictures)
    before = objective.parts(pictures["images"])
    objective.set_weight("style relu1_1", 0)
    objective.set_weight("content", 20)
    objective.set_weight("tv", 0)
    after = objective.parts(pictures["images"])
    assert after["style relu1_1"].tolist() == [0, 0, 0]
    assert torch.equal(after["style relu3_1"], before["style relu3_1"])
    torch.testing.assert_close(after["content relu2_2"], 10 * before["content relu2_2"])
    assert "tv" not in after
    with pytest.raises(ValueError, match="no weight is called 'styel'"):
        objective.set_weight("styel", 1)


def test_parts_add_up() -> None:
    parts = {"style a": torch.tensor([1.0]), "style b": torch.tensor([2.0])}
    assert sum_terms({**parts, "tv": torch.tensor([4.0])}) == {"style": 3, "tv": 4, "total": 7}


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["content_weight", "style_weight", "tv_weight"])
def test_bad_term_weights(
    tiny_vgg: VGG, pictures: dict[str, torch.Tensor], name: str, weight: float
) -> None:
    with pytest.raises(ValueError, match="must be a finite number ≥ 0"):
        make(tiny_vgg, pictures, **{name: weight})


def test_bad_settings(tiny_vgg: VGG, pictures: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"3 blend weights for 2 style"):
        make(tiny_vgg, pictures, blend=[1, 1, 1])
    with pytest.raises(ValueError, match="all 0"):
        make(tiny_vgg, pictures, blend=[0, 0])
    with pytest.raises(ValueError, match="finite numbers"):
        make(tiny_vgg, pictures, style_layers={"relu1_1": -1})
    with pytest.raises(ValueError, match="did you mean conv4_2, relu4_2"):
        make(tiny_vgg, pictures, content_layers="rleu4_2")
    with pytest.raises(ValueError, match="nothing to aim at"):
        Objective(tiny_vgg)
    with pytest.raises(ValueError, match="the weight of style is x"):
        make(tiny_vgg, pictures, style_weight="x")
    with pytest.raises(ValueError, match="2 values for the weight of style, but 3 picture"):
        make(tiny_vgg, pictures, style_weight=[1.0, 2.0])(pictures["images"])
    with pytest.raises(ValueError, match="2 values for the style at relu1_1, but 3 picture"):
        pair = pictures["images"][:2]
        make(tiny_vgg, pictures, styles=[pair], blend=None)(pictures["images"])
    with pytest.raises(ValueError, match="same height and width"):
        make(tiny_vgg, pictures)(pictures["images"][:, :, :20])
    with pytest.raises(ValueError, match="too small for relu3_1"):
        make(tiny_vgg, pictures, styles=[pictures["brush"][:, :, :3]], blend=None)


def test_shares() -> None:
    assert layer_shares(["relu1_1", "relu2_1"]) == {"relu1_1": 0.5, "relu2_1": 0.5}
    assert layer_shares("relu1_1") == {"relu1_1": 1.0}
    assert layer_shares({"relu1_1": 1, "relu2_1": 3}) == {"relu1_1": 0.25, "relu2_1": 0.75}
    assert layer_shares({"relu1_1": 2, "relu2_1": 3}, average=False) == {"relu1_1": 2, "relu2_1": 3}
    assert blend_shares(None, 4, ["a"]) == {"a": [0.25] * 4}
    assert blend_shares({"a": [1, 3], "b": [0, 2]}, 2, ["a", "b"]) == {
        "a": [0.25, 0.75],
        "b": [0, 1],
    }


@pytest.mark.parametrize("masks", [False, True])
def test_the_table_of_a_descent_has_the_parts_as_rows(masks: bool) -> None:
    """Parts of some pictures only, weights for each, regions, two styles, total variation."""
    photo, start = random_pictures(1, 32, 48), random_pictures(3, 32, 48, seed=3)
    styles = [random_pictures(1, 40, 40, seed=seed) for seed in (1, 2)]
    left = torch.zeros(32, 48).index_fill(1, torch.arange(20), 1.0)
    objective = Objective(
        make_tiny_vgg(), content=photo, styles=styles, content_layers="relu3_2",
        style_layers={"relu1_1": [1.0, 0.0, 2.0], "relu2_1": [1.0, 1.0, 1.0]},
        style_weight=10.0, tv_weight=0.5, masks=[left, 1 - left] if masks else None,
    )  # fmt: skip
    objective.set_weight("content", [0.0, 1.0, 3.0])
    parts = objective.parts(start)
    table = objective.table(start, objective.vgg, objective.needs(3))
    torch.testing.assert_close(table, torch.stack(list(parts.values())), rtol=1e-6, atol=0)
    assert table.shape == (4, 3) and table[0, 0] == table[1, 1] == 0
    # Each part by itself is its distance times its weights.
    alone = Objective(
        make_tiny_vgg(), content=photo, content_layers="relu3_2", content_weight=3.0
    )  # fmt: skip
    assert parts["content relu3_2"][2].item() == pytest.approx(alone(start)["content"][2].item())

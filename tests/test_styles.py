"""What a style is: statistics against loops and eigenvalues, regions, layers of their own."""

import math

import numpy as np
import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from torch.autograd import gradcheck

import styletutor as st
from styletutor.loss.objective import Objective
from styletutor.loss.statistics import (
    BINS,
    EPSILON,
    STATISTICS,
    _directions,
    blend_moments,
    gram_matrix,
    moments,
    quantiles,
    square_roots,
    trace_of_root,
    wasserstein,
)
from styletutor.loss.units import STATISTICS as NAMES
from styletutor.loss.units import Units
from styletutor.network.vgg import VGG

STYLE = {"style_layers": ["relu1_1", "relu2_2"]}


def positive_definite(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(*shape, shape[-1], generator=generator, dtype=torch.float64)
    return a @ a.mT / shape[-1] + 0.1 * torch.eye(shape[-1])


def features(seed: int = 0, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 4, 5, generator=generator, dtype=torch.float64).relu()


def test_square_roots_are_those_of_the_eigenvalues() -> None:
    matrices = positive_definite(2, 6)
    roots, inverses = square_roots(matrices, iterations=20)
    values, vectors = torch.linalg.eigh(matrices)
    torch.testing.assert_close(roots, vectors @ torch.diag_embed(values.sqrt()) @ vectors.mT)
    torch.testing.assert_close(roots @ inverses, torch.eye(6).double().expand(2, 6, 6))


def test_square_roots_stay_finite_where_eigenvalues_are_tiny() -> None:
    """float32, a thousand times wider apart than twelve iterations reach."""
    values = torch.logspace(0, -7, 32)
    vectors = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))[0]
    root, inverse = square_roots(vectors @ torch.diag(values) @ vectors.T)
    assert torch.isfinite(root).all() and torch.isfinite(inverse).all()
    assert root.trace().item() == pytest.approx(values.sqrt().sum().item(), rel=0.05)


def test_gradients() -> None:
    assert gradcheck(quantiles, torch.randn(1, 3, 4, 5).double().requires_grad_(), atol=1e-5)
    matrices = positive_definite(2, 4).requires_grad_()
    symmetric = lambda m: trace_of_root(0.5 * (m + m.mT))  # noqa: E731
    assert gradcheck(symmetric, matrices, atol=1e-6)
    aim = STATISTICS["wasserstein"].aim(moments(features(1)))
    assert gradcheck(lambda f: wasserstein(moments(f), aim), features().requires_grad_(), atol=1e-5)
    weights = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(2)).double()
    assert gradcheck(lambda f: moments(f, weights), features().requires_grad_())
    assert gradcheck(lambda f: gram_matrix(f, weights=weights), features().requires_grad_())


def test_moments_are_those_of_numpy() -> None:
    values = features()
    for b in range(2):
        rows = values[b].flatten(1).numpy()
        expected = np.cov(rows, bias=True), rows.mean(1)
        found = moments(values)[b].numpy()
        np.testing.assert_allclose(found[:, :-1], expected[0], atol=1e-12)
        np.testing.assert_allclose(found[:, -1], expected[1], atol=1e-12)


def test_blended_moments_are_those_of_all_positions_together() -> None:
    one, other = features(0), features(1)
    together = torch.cat([one, other, other, other], 3)
    blended = blend_moments([moments(one), moments(other)], [0.25, 0.75])
    torch.testing.assert_close(blended, moments(together))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_that_hardly_vary_have_a_distance(dtype: torch.dtype) -> None:
    """As those of a white picture: their squares are large, their variances nothing."""
    flat = torch.full((1, 64, 40, 40), 300.0)
    flat[..., 0, 0] += 0.01
    aim = STATISTICS["wasserstein"].aim(moments(flat.to(dtype)))
    distance = wasserstein(moments(flat.to(dtype)), aim)
    assert distance.isfinite().all() and distance.abs().item() < 0.1


def test_wasserstein_is_that_of_two_normal_distributions() -> None:
    one, other = features(0), features(1)
    aim = STATISTICS["wasserstein"].aim(moments(other))
    found = wasserstein(moments(one), aim)
    for b in range(2):
        rows = [f[b].flatten(1).numpy() for f in (one, other)]
        means = [r.mean(1) for r in rows]
        sigmas = [np.cov(r, bias=True) + EPSILON * np.eye(3) for r in rows]
        # tr((Σ* ^½ Σ Σ*^½)^½) is the sum of the roots of the eigenvalues of Σ Σ*.
        mixed = np.sqrt(np.linalg.eigvals(sigmas[0] @ sigmas[1]).real.clip(0)).sum()
        expected = ((means[0] - means[1]) ** 2).sum()
        expected += np.trace(sigmas[0]) + np.trace(sigmas[1]) - 2 * mixed
        assert found[b].item() == pytest.approx(expected, rel=1e-4)


def quantiles_by_loops(values: torch.Tensor, weights: torch.Tensor) -> np.ndarray:
    """Each position's mass is dealt out to the bins that it falls into: (B, C, BINS)."""
    batch, channels = values.shape[:2]
    directions = _directions(channels).numpy()
    found = np.zeros((batch, channels, BINS))
    mass = (weights / weights.sum()).flatten().tolist()
    for b in range(batch):
        points = values[b].flatten(1).T.numpy()
        for d in range(channels):
            along = points @ directions[:, d]
            begin = 0.0
            for k in np.argsort(along):
                end = begin + mass[k]
                for q in range(BINS):
                    inside = min(end, (q + 1) / BINS) - max(begin, q / BINS)
                    found[b, d, q] += BINS * max(inside, 0) * along[k]
                begin = end
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_quantiles_are_the_loop(weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.ones(1, 1, 4, 5, dtype=torch.float64)
    if weighted:
        weights = (torch.rand(weights.shape, generator=generator, dtype=torch.float64) - 0.3).relu()
    found = quantiles(features(), weights if weighted else None)
    np.testing.assert_allclose(found.numpy(), quantiles_by_loops(features(), weights), atol=1e-9)


def test_directions_are_orthonormal() -> None:
    torch.testing.assert_close(_directions(7).T @ _directions(7), torch.eye(7).double())


def test_quantiles_give_the_distance_of_sorted_projections() -> None:
    """With as many positions as bins nothing is averaged."""
    one, other = (
        torch.rand(2, 5, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
        for seed in (0, 1)
    )
    distance = STATISTICS["sliced"].distance(quantiles(one), quantiles(other)) / BINS
    for b in range(2):
        along = [
            np.sort(f[b].flatten(1).numpy().T @ _directions(5).numpy(), 0) for f in (one, other)
        ]
        expected = ((along[0] - along[1]) ** 2).mean(0).sum()
        assert distance[b].item() == pytest.approx(expected, rel=1e-9)


def test_quantiles_do_not_depend_on_the_size_of_a_picture() -> None:
    values = features()
    torch.testing.assert_close(quantiles(torch.cat([values, values], 3)), quantiles(values))


@pytest.mark.parametrize("name", NAMES)
def test_a_style_is_no_distance_from_itself_and_blind_to_position(name: str) -> None:
    statistic, values = STATISTICS[name], features()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    shuffled = values.flatten(2)[:, :, order].view_as(values)
    aim = statistic.aim(statistic.measure(values, None))
    for same in (values, shuffled):
        distance = statistic.distance(statistic.measure(same, None), aim)
        assert distance.shape == (2,)
        assert distance.abs().max() < 1e-4
    far = statistic.distance(statistic.measure(features(5), None), aim)
    assert (far > 1e-3).all()


def test_all_names_have_a_statistic() -> None:
    assert set(NAMES) == set(STATISTICS)


def test_the_guided_gram_matrix_is_the_loop() -> None:
    values = features(batch=1)
    weights = torch.rand(1, 1, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            for y in range(4):
                for x in range(5):
                    expected[i, j] += weights[0, 0, y, x] * values[0, i, y, x] * values[0, j, y, x]
    found = gram_matrix(values, weights=weights)[0]
    torch.testing.assert_close(found, expected / (3 * weights.sum()))
    everywhere = torch.ones_like(weights)
    torch.testing.assert_close(gram_matrix(values, weights=everywhere), gram_matrix(values))


@pytest.mark.parametrize("statistic", NAMES)
def test_a_mask_makes_its_style_count_inside_only(statistic: str) -> None:
    """At conv1_1, which sees 3 pixels: each half has the gradient of an objective of its own."""
    vgg = make_tiny_vgg().double()
    x, a, b = (random_pictures(1, 20, 40, seed=seed).double() for seed in range(3))
    left = torch.zeros(20, 40)
    left[:, :20] = 1
    units = Units(style="sum", statistic=statistic)
    how = {"style_layers": ["conv1_1"], "units": units}
    both = Objective(vgg, styles=[a, b], masks=[left, 1 - left], **how)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(both(x)["total"].sum(), x)
    for style, cut in ((a, slice(0, 20)), (b, slice(20, 40))):
        alone = Objective(vgg, styles=[style], **how)
        half = x.detach()[..., cut].requires_grad_()
        (own,) = torch.autograd.grad(0.5 * alone(half)["total"].sum(), half)
        # Two columns at either end see across the border, or the border itself.
        inside = slice(3, 17)
        torch.testing.assert_close(
            gradient[..., cut][..., inside], own[..., inside],
            rtol=0.2, atol=0.2 * own.abs().max().item(),
        )  # fmt: skip


def test_one_mask_everywhere_is_no_mask(tiny_vgg: VGG) -> None:
    x, a = (random_pictures(1, 33, 29, seed=seed) for seed in range(2))
    plain = Objective(tiny_vgg, styles=[a], **STYLE)(x)["total"]
    masked = Objective(tiny_vgg, styles=[a], masks=[torch.ones(33, 29)], **STYLE)(x)["total"]
    torch.testing.assert_close(plain, masked)


def test_regions_count_by_area_and_a_batch_does_not_mix(tiny_vgg: VGG) -> None:
    x = random_pictures(2, 32, 32)
    a = random_pictures(1, 32, 32, seed=1)
    quarter = torch.zeros(32, 32)
    quarter[:16, :16] = 1
    objective = Objective(tiny_vgg, styles=[a, a], masks=[quarter, 1 - quarter], **STYLE)
    factors = objective.targets.factors["style relu1_1"][0]
    assert (factors[1] / factors[0]).item() == pytest.approx(3)
    together = objective(x)["total"]
    singles = torch.cat([objective(one)["total"] for one in x.split(1)])
    torch.testing.assert_close(together, singles)


def test_masks_move_with_the_picture(tiny_vgg: VGG) -> None:
    """Half the size, the same regions."""
    x, a = (random_pictures(1, 64, 96, seed=seed) for seed in range(2))
    mask = torch.zeros(64, 96)
    mask[:32] = 1
    objective = Objective(
        tiny_vgg, content=x, content_layers="relu2_1", styles=[a], masks=[mask], **STYLE
    )
    small = objective.shrunk(2)
    assert small(small.content)["total"].isfinite().all()
    (regions,) = [r for size, r in small.targets._grids.items() if size == (32, 48)]
    assert torch.equal(regions[0][0, 0], mask[::2, ::2])


@pytest.mark.parametrize(
    "masks, message",
    [
        ([torch.ones(8, 8)], r"1 mask\(s\) for 2 style"),
        ([torch.ones(8, 8), torch.zeros(8, 8)], "mask 2 has no pixels"),
        ([torch.ones(8, 8), torch.ones(8, 8, 3)], "mask 2 has shape"),
        ([torch.ones(8, 8), 2 * torch.ones(8, 8)], r"outside \[0, 1\]"),
        ([torch.ones(8, 8), torch.full((8, 8), math.nan)], r"outside \[0, 1\]"),
    ],
)
def test_bad_masks(masks: list, message: str, tiny_vgg: VGG) -> None:
    a = random_pictures(1, 16, 16)
    with pytest.raises(ValueError, match=message):
        Objective(tiny_vgg, styles=[a, a], masks=masks, **STYLE)


def test_a_style_for_each_layer(tiny_vgg: VGG) -> None:
    photo, a, b = (random_pictures(1, 24, 32, seed=seed) for seed in range(3))
    how = {"vgg": tiny_vgg, "evaluations": 4, "content_layers": "relu2_2", "precision": "exact"}
    layered = st.transfer(photo, {"relu1_1": a, "relu2_1": b}, **how)
    objective = Objective(
        tiny_vgg, content=photo, content_layers="relu2_2", styles=[a, b], style_weight=40,
        style_layers=["relu1_1", "relu2_1"], blend={"relu1_1": [1, 0], "relu2_1": [0, 1]},
    )  # fmt: skip
    assert layered.loss["start"]["total"] == pytest.approx(objective(photo)["total"].item())
    for layer, picture in (("relu1_1", a), ("relu2_1", b)):
        own = gram_matrix(tiny_vgg(picture, [layer])[layer])
        torch.testing.assert_close(objective.style_targets[layer], own)
    off = st.transfer(
        photo, {"relu1_1": a, "relu2_1": b}, style_layers={"relu1_1": 0, "relu2_1": 1}, **how
    )
    assert off.history[0]["parts"]["style relu1_1"] == 0
    mixed = st.transfer(photo, {"relu1_1": [a, b], "relu2_1": b}, **how)
    assert 0 < mixed.loss["start"]["total"] != layered.loss["start"]["total"]


@pytest.mark.parametrize(
    "style, changes, message",
    [
        ({}, {}, "no style picture was given"),
        ({"relu1_1": []}, {}, "no style picture was given for relu1_1"),
        ({"relu1_1": "coins"}, {"blend": [1]}, "have no blend"),
        ({"relu9_1": "coins"}, {}, "unknown layer 'relu9_1'"),
        ({"relu1_1": "coins"}, {"style_layers": ["relu2_1"]}, "the blend is silent about relu2_1"),
    ],
)
def test_bad_layered_styles(style: dict, changes: dict, message: str, tiny_vgg: VGG) -> None:
    photo = random_pictures(1, 24, 32)
    how = {"vgg": tiny_vgg, "evaluations": 1, "content_layers": "relu2_2"}
    with pytest.raises(ValueError, match=message):
        st.transfer(photo, style, **how, **changes)

"""The losses against float64 loops over the paper's formulas, and properties that must hold."""

import numpy as np
import pytest
import torch

from styletutor.loss.losses import (
    content_loss,
    relative_error,
    squared_distance,
    style_loss,
    total_variation,
)
from styletutor.loss.statistics import gram_matrix

SHAPE = (2, 3, 4, 5)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loop_gram(features: np.ndarray) -> np.ndarray:
    channels, height, width = features.shape
    gram = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            for y in range(height):
                for x in range(width):
                    gram[i, j] += features[i, y, x] * features[j, y, x]
    return gram


@pytest.mark.parametrize("normalise, divisor", [("none", 1), ("hw", 20), ("chw", 60)])
def test_gram_is_the_sum_over_positions(normalise: str, divisor: int) -> None:
    features = random(*SHAPE)
    expected = np.stack([loop_gram(f) for f in features.numpy()]) / divisor
    np.testing.assert_allclose(gram_matrix(features, normalise).numpy(), expected, rtol=1e-12)


def test_gram_is_symmetric_and_positive_semidefinite() -> None:
    gram = gram_matrix(random(3, 6, 2, 2))  # fewer positions than channels: rank-deficient
    assert torch.equal(gram, gram.mT)
    assert torch.linalg.eigvalsh(gram).min() > -1e-12


def test_gram_is_blind_to_where_a_feature_sits_but_content_is_not() -> None:
    features = random(1, 4, 6, 6)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(1))
    shuffled = features.flatten(2)[:, :, order].view_as(features)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(features), rtol=1e-12, atol=0)
    assert content_loss(shuffled, features) > 1


def test_gram_does_not_mix_the_pictures_of_a_batch() -> None:
    features = random(3, 4, 5, 5)
    changed = features.clone()
    changed[1] += 1
    before, after = gram_matrix(features), gram_matrix(changed)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_gram_needs_no_contiguous_features() -> None:
    features = random(2, 4, 6, 3)
    other = features.to(memory_format=torch.channels_last)
    torch.testing.assert_close(gram_matrix(other), gram_matrix(features), rtol=1e-12, atol=0)


def test_content_loss_is_equation_1() -> None:
    features, target = random(*SHAPE), random(*SHAPE, seed=1)
    f, p = features.numpy(), target.numpy()
    for b in range(2):
        expected = 0.5 * sum((f[b][i] - p[b][i]) ** 2 for i in np.ndindex(*SHAPE[1:]))
        assert content_loss(features, target)[b].item() == pytest.approx(expected, rel=1e-12)


def test_style_loss_is_equation_4_for_pictures_of_the_same_size() -> None:
    features, style = random(*SHAPE), random(*SHAPE, seed=1)
    n, m = SHAPE[1], SHAPE[2] * SHAPE[3]
    for b in range(2):
        g, a = loop_gram(features[b].numpy()), loop_gram(style[b].numpy())
        expected = sum((g[i] - a[i]) ** 2 for i in np.ndindex(n, n)) / (4 * n**2 * m**2)
        actual = style_loss(gram_matrix(features), gram_matrix(style))[b].item()
        assert actual == pytest.approx(expected, rel=1e-12)


def test_relative_error_is_a_share_of_the_target() -> None:
    value, target = random(2, 7), random(2, 7, seed=1)
    v, t = value.numpy(), target.numpy()
    for b in range(2):
        expected = sum((v[b] - t[b]) ** 2) / sum(t[b] ** 2)
        assert relative_error(value, target)[b].item() == pytest.approx(expected, rel=1e-12)
    assert relative_error(torch.zeros_like(target), target).tolist() == pytest.approx([1, 1])
    assert torch.isfinite(relative_error(value, torch.zeros_like(target))).all()


def test_total_variation_of_pictures_whose_value_is_known() -> None:
    y, x = torch.meshgrid(torch.arange(6), torch.arange(8), indexing="ij")
    checkerboard = ((x + y) % 2).double().expand(1, 3, 6, 8)
    ramp = (x / 10).double().expand(1, 3, 6, 8)
    assert total_variation(checkerboard).item() == pytest.approx(2)
    assert total_variation(ramp).item() == pytest.approx(0.01)
    assert total_variation(torch.full((1, 3, 5, 5), 0.3)).item() == 0
    assert total_variation(torch.ones(2, 3, 1, 1)).tolist() == [0, 0]


@pytest.mark.parametrize("mode", ["gram", "content", "style", "relative", "tv"])
def test_gradients(mode: str) -> None:
    features = random(2, 3, 3, 4).requires_grad_()
    target = random(2, 3, 3, 4, seed=1)
    functions = {
        "gram": gram_matrix,
        "content": lambda f: content_loss(f, target),
        "style": lambda f: style_loss(gram_matrix(f), gram_matrix(target)),
        "relative": lambda f: relative_error(gram_matrix(f), gram_matrix(target)),
        "tv": total_variation,
    }
    assert torch.autograd.gradcheck(functions[mode], features)


def test_second_derivatives_of_the_hand_written_gradient() -> None:
    features = random(1, 2, 2, 3).requires_grad_()
    assert torch.autograd.gradgradcheck(gram_matrix, features)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(3, 4, 5\)"):
        gram_matrix(random(3, 4, 5))
    with pytest.raises(ValueError, match="'n' is unknown"):
        gram_matrix(random(*SHAPE), "n")


@pytest.mark.parametrize("height", [3, 331])
def test_gram_of_bfloat16_features_is_summed_in_float32(height: int) -> None:
    """331 × 50 positions are slabs and a rest. A single bfloat16 number is up to 0.2 % off."""
    torch.manual_seed(0)
    features = torch.rand(2, 6, height, 50) * torch.linspace(0.2, 2, height).view(-1, 1)
    features = features.bfloat16().contiguous(memory_format=torch.channels_last)
    flat = features.double().flatten(2)
    expected = flat @ flat.mT / flat[0].numel()
    gram = gram_matrix(features)
    assert gram.dtype == torch.float32
    assert (gram.double() - expected).norm() < 1e-3 * expected.norm()
    d = torch.randn_like(gram)
    x = features.clone().requires_grad_()
    (mine,) = torch.autograd.grad(gram_matrix(x), x, d)
    y = features.double().requires_grad_()
    (exact,) = torch.autograd.grad(gram_matrix(y), y, d.double())
    assert (mine.double() - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("dims", [(1, 2, 3), (-2, -1)])
def test_squared_distance_by_hand_is_autograds(dims: tuple[int, ...]) -> None:
    value, target = random(*SHAPE).requires_grad_(), random(1, *SHAPE[1:], seed=1)
    found = squared_distance(value, target, dims)
    torch.testing.assert_close(found, (value - target).square().sum(dims))
    assert torch.autograd.gradcheck(lambda v: squared_distance(v, target, dims), value)
    low = value.detach().bfloat16().requires_grad_()
    distance = squared_distance(low, target.float(), dims)
    weights = torch.arange(1.0, 1 + distance.numel()).view_as(distance)
    (gradient,) = torch.autograd.grad((weights * distance).sum(), low)
    weights = weights.view(*found.shape, *[1] * len(dims))
    expected = 2 * weights * (low.detach().float() - target.float())
    assert distance.dtype == torch.float32 and torch.equal(gradient, expected.bfloat16())

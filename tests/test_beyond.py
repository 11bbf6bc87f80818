"""The exercises of lesson 6 name students' own mistakes, written here as students write them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import styletutor as st
from styletutor.lessons.going_further import (
    check_covariance,
    check_guided_gram,
    check_joined_gram,
    check_keep_colour,
)
from styletutor.loss.statistics import moments

EXERCISES = [check_guided_gram, check_keep_colour, check_covariance, check_joined_gram]


# --- the guided Gram matrix


def both_sides(features, weights):
    inside = features * weights
    flat = inside.flatten(2)
    return torch.bmm(flat, flat.transpose(1, 2)) / (features.shape[1] * weights.sum())


def all_positions(features, weights):
    flat = (features * weights.sqrt()).flatten(2)
    _, c, h, w = features.shape
    return flat @ flat.mT / (c * h * w)


def forgot_weights(features, weights):
    return st.gram_matrix(features)


def no_channels(features, weights):
    return torch.einsum("bihw,bjhw,hw->bij", features, features, weights[0, 0]) / weights.sum()


def sums_only(features, weights):
    return torch.einsum("bihw,bjhw,hw->bij", features, features, weights[0, 0])


def hard_edge(features, weights):
    inside = weights[0, 0] > 0.5
    chosen = features[:, :, inside]
    return chosen @ chosen.mT / (features.shape[1] * inside.sum())


def any_weight(features, weights):
    return st.gram_matrix(features, weights=(weights > 0).float())


def counts_inside(features, weights):
    flat = features.flatten(2)
    total = (flat * weights.flatten(2)) @ flat.mT
    return total / (features.shape[1] * torch.count_nonzero(weights))


def outside(features, weights):
    return st.gram_matrix(features, weights=1 - weights)


def twice_the_sum(features, weights):
    return st.gram_matrix(features, weights=weights) / weights.sum()


def loop_over_one(features, weights):
    return st.gram_matrix(features[:1], weights=weights)[0]


def no_gradient(features, weights):
    return st.gram_matrix(features.detach(), weights=weights)


# --- colours that stay

LUMA = torch.tensor([0.2126, 0.7152, 0.0722])


def y(pictures, weights=LUMA):
    return torch.einsum("bchw,c->bhw", pictures, weights)[:, None]


def uncut(styled, photo):
    return photo + y(styled) - y(photo)


def exchanged(styled, photo):
    return torch.clamp(styled + y(photo) - y(styled), 0, 1)


def plain_mean(styled, photo):
    light = styled.mean(dim=1, keepdim=True) - photo.mean(dim=1, keepdim=True)
    return (photo + light).clamp(0, 1)


def television(styled, photo):
    old = torch.tensor([0.299, 0.587, 0.114])
    return (photo + y(styled, old) - y(photo, old)).clip(0, 1)


def bgr_weights(styled, photo):
    return (photo + y(styled, LUMA.flip(0)) - y(photo, LUMA.flip(0))).clamp(0, 1)


def grey(styled, photo):
    return y(styled).repeat(1, 3, 1, 1)


def light_twice(styled, photo):
    return torch.clamp(photo + y(styled), 0, 1)


def minus(styled, photo):
    return torch.clamp(photo + y(photo) - y(styled), 0, 1)


def scaled(styled, photo):
    return torch.clamp(photo / y(photo) * y(styled), max=1)


def cut_too_early(styled, photo):
    return torch.clamp(photo + torch.clamp(y(styled) - y(photo), min=0, max=1), 0, 1)


def per_channel(styled, photo):
    return (photo + (styled - photo)).clamp(0, 1)


def in_place(styled, photo):
    photo += y(styled) - y(photo)
    return photo.clamp(0, 1)


def one_channel(styled, photo):
    return y(styled) - y(photo)


# --- the covariance


def keeps_means(features):
    flat = features.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def our_gram(features):
    return st.gram_matrix(features)


def torch_cov(features):
    return torch.stack([torch.cov(picture.flatten(1)) for picture in features])


def by_everything(features):
    return st.gram_matrix(features - features.mean((2, 3), keepdim=True))


def not_divided(features):
    off = features.flatten(2) - features.flatten(2).mean(2, keepdim=True)
    return torch.einsum("bik,bjk->bij", off, off)


def one_mean(features):
    return torch.stack([_product(picture - picture.mean()) for picture in features])


def wrong_axis(features):
    return torch.stack([_product(picture - picture.mean(0)) for picture in features])


def batch_mean(features):
    return torch.stack([_product(p) for p in features - features.mean((0, 2, 3), keepdim=True)])


def correlation(features):
    return torch.stack([torch.corrcoef(picture.flatten(1)) for picture in features])


def only_variances(features):
    return torch.var(features, dim=(2, 3), unbiased=False)


def takes_means_off_too_late(features):
    flat = features.flatten(2)
    mean = flat.mean(2, keepdim=True)
    return (flat @ flat.mT - mean @ mean.mT) / flat.shape[2]


def by_rows(features):
    off = features - features.mean((2, 3), keepdim=True)
    return torch.einsum("bihw,bjhw->bij", off, off) / features.shape[2]


def frozen_means(features):
    mean = features.mean((2, 3), keepdim=True).detach()
    gram = torch.einsum("bihw,bjhw->bij", features, features) / features[0, 0].numel()
    return gram - mean.flatten(2) @ mean.flatten(2).mT


# --- the Gram matrix of two tiles


def mean_of_two(left, right):
    return (st.gram_matrix(left) + st.gram_matrix(right)) / 2


def sum_of_two(left, right):
    return st.gram_matrix(left) + st.gram_matrix(right)


def mean_positions(left, right):
    a, b = left.flatten(2), right.flatten(2)
    return (a @ a.mT + b @ b.mT) / (a.shape[2] + b.shape[2])


def never_divided(left, right):
    return st.gram_matrix(left, "none") + st.gram_matrix(right, "none")


def divided_by_one(left, right):
    sums = st.gram_matrix(left, "none") + st.gram_matrix(right, "none")
    return sums / left[0].numel()


def only_the_left(left, right):
    return st.gram_matrix(left)


def other_ones_share(left, right):
    share = right.shape[3] / (left.shape[3] + right.shape[3])
    return share * st.gram_matrix(left) + (1 - share) * st.gram_matrix(right)


def left_is_given(left, right):
    return st.gram_matrix(torch.cat([left.detach(), right + 0 * left.sum()], 3))


def _product(picture: Tensor) -> Tensor:
    flat = picture.flatten(1)
    return flat @ flat.T / flat.shape[1]


PLANTED = [
    (check_guided_gram, both_sides, "the weights count twice"),
    (check_guided_gram, all_positions, "divided by C·H·W, all positions"),
    (check_guided_gram, forgot_weights, "the Gram matrix of the whole picture"),
    (check_guided_gram, no_channels, "the number of channels is missing"),
    (check_guided_gram, sums_only, "not divided yet"),
    (check_guided_gram, hard_edge, "cut to 0 and 1"),
    (check_guided_gram, any_weight, "every weight above 0 counts as 1"),
    (check_guided_gram, counts_inside, "the number of positions inside"),
    (check_guided_gram, outside, "the other region"),
    (check_guided_gram, twice_the_sum, "the right answer times 1 / Σw"),
    (check_guided_gram, loop_over_one, "only the first picture is answered for"),
    (check_guided_gram, no_gradient, "no gradient comes through"),
    (check_keep_colour, uncut, "cut them"),
    (check_keep_colour, exchanged, "the two are exchanged"),
    (check_keep_colour, plain_mean, "do not take their mean"),
    (check_keep_colour, television, "BT.601"),
    (check_keep_colour, bgr_weights, "in the order blue, green, red"),
    (check_keep_colour, grey, "the painting in grey"),
    (check_keep_colour, light_twice, "Take Y(photo) off"),
    (check_keep_colour, minus, "the sign is the other way round"),
    (check_keep_colour, scaled, "Here the difference is added"),
    (check_keep_colour, cut_too_early, "no pixel can become darker"),
    (check_keep_colour, per_channel, "this is the painting itself"),
    (check_keep_colour, in_place, "changed on the way"),
    (check_keep_colour, one_channel, "the shape should be (2, 3, 4, 5)"),
    (check_covariance, keeps_means, "the Gram matrix, divided by H·W"),
    (check_covariance, our_gram, "this is our Gram matrix"),
    (check_covariance, torch_cov, "correction=0"),
    (check_covariance, by_everything, "so divide by H·W"),
    (check_covariance, not_divided, "not divided yet"),
    (check_covariance, one_mean, "Each channel has a mean of its own"),
    (check_covariance, wrong_axis, "the mean over channels is taken off"),
    (check_covariance, batch_mean, "go over the pictures of the batch"),
    (check_covariance, correlation, "these are correlations"),
    (check_covariance, only_variances, "the diagonal"),
    (check_covariance, takes_means_off_too_late, "before the sum is divided"),
    (check_covariance, by_rows, "the right answer times W"),
    (check_covariance, frozen_means, "but the gradient is not"),
    (check_joined_gram, mean_of_two, "as if both tiles were as wide"),
    (check_joined_gram, sum_of_two, "divided by its own number of positions"),
    (check_joined_gram, mean_positions, "not by the number of channels"),
    (check_joined_gram, never_divided, "not divided yet"),
    (check_joined_gram, divided_by_one, "of the left tile only"),
    (check_joined_gram, only_the_left, "left tile's matrix alone"),
    (check_joined_gram, other_ones_share, "the weights are exchanged"),
    (check_joined_gram, left_is_given, "the gradient is not"),
]


@pytest.mark.parametrize(
    ("check", "answer", "words"), PLANTED, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_wrong_answer_is_understood(check: Any, answer: Callable[..., Any], words: str) -> None:
    verdict = check(answer)
    assert verdict.right is False and words in verdict.words, verdict


@pytest.mark.parametrize("check", EXERCISES, ids=lambda check: check.name)
def test_a_stub_does_not_pass(check: Any) -> None:
    assert check(lambda *arguments: ...).right is None


def test_right_answers_in_other_words_pass() -> None:
    """The module's own functions, and a detour, say the same as the definitions."""

    def kept(styled, photo):
        light = torch.tensordot(styled - photo, LUMA, dims=([1], [0])).unsqueeze(1)
        return torch.clamp(photo + light, min=0.0, max=1.0)

    def from_gram(features):
        mean = features.mean((2, 3))
        return st.gram_matrix(features, "hw") - mean[:, :, None] * mean[:, None, :]

    def by_shares(left, right):
        share = left.shape[3] / (left.shape[3] + right.shape[3])
        return share * st.gram_matrix(left) + (1 - share) * st.gram_matrix(right)

    for check, answer in [
        (check_guided_gram, lambda f, w: st.gram_matrix(f, weights=w)),
        (check_keep_colour, kept),
        (check_covariance, from_gram),
        (check_covariance, lambda f: moments(f)[..., :-1]),
        (check_joined_gram, lambda a, b: st.gram_matrix(torch.cat([a, b], 3))),
        (check_joined_gram, by_shares),
    ]:
        assert check(answer).right is True, check(answer)

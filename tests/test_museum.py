"""The bug museum: shipped faults are named, mended ones pass, and wrong repairs are understood.

The wrong answers are written as students write them, not as the checks know them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_lessons import (
    cuts_at_the_end,
    functions_of,
    never_back,
    piles_up,
    returns_nothing,
)

import styletutor as st
from styletutor import lessons
from styletutor.lessons.exercise import Exercise

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAME = "05_recipes_and_bugs.ipynb"
CHECKS = [
    "check_translate",
    "check_batch_loss",
    "check_to_picture",
    "check_noise_start",
    "check_two_layers",
    "check_batch_gram",
    "check_roughness",
    "check_still_closure",
]
BGR = torch.tensor([103.939, 116.779, 123.68]).reshape(1, 3, 1, 1)
RGB = torch.tensor([123.68, 116.779, 103.939]).reshape(1, 3, 1, 1)


# --- a weight in other units


def inverse(weight, channels):
    return weight / 4 * channels**2


def no_four(weight, channels):
    return weight / (channels * channels)


def four_below(weight, channels):
    return 0.25 * weight / channels**2


def one_axis(weight, channels):
    return weight * 4 / channels


def unchanged(weight, channels):
    return weight


def only_four(weight, channels):
    return torch.tensor(weight) * 4


# --- a picture that takes no part


def x_first(x, photo, art, network):
    features = network(torch.cat((x, photo, art)))
    return ((features[2] - features[0]) ** 2).sum()


def x_in_the_middle(x, photo, art, network):
    features = network(torch.cat([photo, x, art]))
    return (features[-1] - features[0]).pow(2).sum()


def a_copy(x, photo, art, network):
    features = network(torch.cat([photo, art, x.detach().clone()]))
    return (features[0] - features[2]).square().sum()


def without_graph(x, photo, art, network):
    with torch.no_grad():
        features = network(torch.cat([photo, art, x]))
    return (features[0] - features[2]).square().sum()


def as_number(x, photo, art, network):
    return (network(x) - network(photo)).square().sum().item()


def same_entry(x, photo, art, network):
    features = network(torch.cat([photo, art, x]))
    return (features[2] - features[-1]).square().sum()


def of_pixels(x, photo, art, network):
    network(torch.cat([photo, art, x]))
    return torch.sum((x - photo) ** 2)


# --- a picture to be saved


def only_flipped(y):
    mean = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    y = y.clamp(-128, 128)
    return ((y + mean).flip(1) / 255).clamp(0, 1)


def only_uncut(y):
    return torch.clamp((y + BGR) / 255, 0, 1)


def flipped_early(y):
    return ((y[:, [2, 1, 0]] + BGR) / 255).clamp(0, 1)


def rgb_mean(y):
    return ((y + RGB) / 255).clamp(0, 1)


def upside_down(y):
    return torch.flip(((y + BGR) / 255).clamp(0, 1), dims=[-2])


def mirrored(y):
    return torch.flip(((y + BGR) / 255).clamp(0, 1), dims=[-1])


def runs_over(y):
    blue, green, red = (y + BGR).unbind(1)
    return torch.stack((red, green, blue), dim=1) / 255


# --- noise


def one_more_255(z):
    return ((RGB + 255 * z) / 255).clamp(0, 1)


def no_mean(z):
    return torch.clamp(0.256 * 255 * z / 255, 0, 1)


def no_cut(z):
    return (RGB + 0.256 * 255 * z) / 255


def grey(z):
    return ((RGB + 0.256 * 255 * z[:, 0:1]) / 255).clamp(min=0, max=1)


def still_flat(z):
    return torch.clamp(RGB / 255 + 0.256 / 255 * z, 0, 1)


# --- a layer that is kept


def functional_in_place(x, convolve):
    z = convolve(x)
    return {"conv": z, "relu": torch.nn.functional.relu(z, inplace=True)}


def thrown_away(x, convolve):
    z = convolve(x)
    kept = {"conv": z}
    z.relu()
    kept["relu"] = z
    return kept


def detached(x, convolve):
    z = convolve(x)
    kept = {"conv": z.detach().clone()}
    kept["relu"] = z.relu_()
    return kept


def swapped(x, convolve):
    z = convolve(x)
    return {"relu": z, "conv": torch.relu(z)}


def copied_too_late(x, convolve):
    z = convolve(x)
    r = z.relu_()
    return {"conv": z.clone(), "relu": r}


def wrong_side(x, convolve):
    z = convolve(x)
    return {"conv": z, "relu": z.clamp(max=0)}


# --- Gram matrices of a batch


def divisor_kept(features):
    b, c, h, w = features.shape
    flat = features.reshape(b, c, h * w)
    return flat @ flat.mT / (b * c * h * w)


def summed(features):
    return torch.einsum("bihw,bjhw->ij", features, features) / features.numel()


def first_one(features):
    _, c, h, w = features.shape
    flat = features[0].reshape(c, h * w)
    return (flat @ flat.T / (c * h * w))[None]


def all_pairs(features):
    flat = features.flatten(2)
    return flat[:, None] @ flat[None].mT / features[0].numel()


def positions(features):
    b, c, h, w = features.shape
    flat = features.reshape(b, c, h * w)
    return flat.mT @ flat / (c * h * w)


# --- roughness


def of(images, function):
    here = images[:, :, :-1, :-1]
    down, right = images[:, :, 1:, :-1] - here, images[:, :, :-1, 1:] - here
    return function(down, right).flatten(1).sum(1)


def each_twice(images):
    return of(images, lambda down, right: (down**2) ** 2 + (right**2) ** 2)


def outer_square(images):
    return of(images, lambda down, right: (down + right) ** 2)


def no_squares(images):
    return of(images, lambda down, right: down + right)


def sizes_only(images):
    return of(images, lambda down, right: abs(down) + abs(right))


def one_number(images):
    return of(images, lambda down, right: down**2 + right**2).sum()


# --- the closure


def cut_copy(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        value = loss(torch.clamp(x, 0, 1))
        value.backward()
        return value

    return closure


PLANTED = [
    ("check_translate", inverse, "upside down"),
    ("check_translate", no_four, "a quarter of it"),
    ("check_translate", four_below, "on the wrong side"),
    ("check_translate", one_axis, "divided by N once"),
    ("check_translate", unchanged, "the same number"),
    ("check_translate", only_four, "the channels have no say"),
    ("check_batch_loss", x_first, "compared with the artwork"),
    ("check_batch_loss", x_in_the_middle, "x has no say"),
    ("check_batch_loss", a_copy, "nothing comes back to x"),
    ("check_batch_loss", without_graph, "nothing comes back to x"),
    ("check_batch_loss", as_number, "nothing comes back to x"),
    ("check_batch_loss", same_entry, "always zero"),
    ("check_batch_loss", of_pixels, "pixels are compared"),
    ("check_to_picture", only_flipped, "But the cut at ±128"),
    ("check_to_picture", only_uncut, "But blue still stands"),
    ("check_to_picture", flipped_early, "each other's mean"),
    ("check_to_picture", rgb_mean, "the mean is turned round"),
    ("check_to_picture", upside_down, "rows are turned round"),
    ("check_to_picture", mirrored, "columns are turned round"),
    ("check_to_picture", runs_over, "below 0 or above 1"),
    ("check_noise_start", one_more_255, "all 255 levels"),
    ("check_noise_start", no_mean, "the mean colour is missing"),
    ("check_noise_start", no_cut, "below 0 or above 1"),
    ("check_noise_start", grey, "grey noise"),
    ("check_noise_start", still_flat, "nearly flat"),
    ("check_two_layers", functional_in_place, "has become the ReLU"),
    ("check_two_layers", copied_too_late, "has become the ReLU"),
    ("check_two_layers", thrown_away, "nothing is cut"),
    ("check_two_layers", detached, "no gradient comes back"),
    ("check_two_layers", swapped, "exchanged"),
    ("check_two_layers", wrong_side, "takes negative numbers away"),
    ("check_batch_gram", divisor_kept, "divided by B·C·H·W"),
    ("check_batch_gram", summed, "sums over the pictures"),
    ("check_batch_gram", first_one, "the first picture's matrix"),
    ("check_batch_gram", all_pairs, "all pairs of pictures"),
    ("check_batch_gram", positions, "compares positions"),
    ("check_roughness", each_twice, "still fourth powers"),
    ("check_roughness", outer_square, "added before they are squared"),
    ("check_roughness", no_squares, "nothing is squared"),
    ("check_roughness", sizes_only, "absolute differences"),
    ("check_roughness", one_number, "mixes the pictures"),
    ("check_still_closure", cuts_at_the_end, "still inside the closure"),
    ("check_still_closure", cut_copy, "asked of a cut copy"),
    ("check_still_closure", piles_up, "gradients pile up"),
    ("check_still_closure", returns_nothing, "it returns nothing"),
    ("check_still_closure", never_back, "nothing calls .backward()"),
]

SHIPPED = {
    "check_batch_loss": "x has no say",
    "check_to_picture": "two faults",
    "check_noise_start": "nearly flat",
    "check_two_layers": "has become the ReLU",
    "check_batch_gram": "mixes the pictures",
    "check_roughness": "squared twice",
    "check_still_closure": "cuts the picture inside",
}


def exercise(name: str) -> Exercise:
    return getattr(lessons, name)


@pytest.mark.parametrize(
    ("name", "answer", "words"), PLANTED, ids=[f"{n}-{a.__name__}" for n, a, _ in PLANTED]
)
def test_a_wrong_answer_is_understood(name: str, answer: Callable[..., Any], words: str) -> None:
    for seed in (0, 1):
        verdict = exercise(name)(answer, seed)
        assert verdict.right is False and words in verdict.words, verdict


def test_every_exhibit_is_shipped_with_its_fault() -> None:
    asked = functions_of(NOTEBOOKS / NAME)
    assert list(asked) == CHECKS
    assert asked["check_translate"].right is None
    for name, words in SHIPPED.items():
        assert asked[name].right is False and words in asked[name].words, asked[name]


def test_every_solution_passes() -> None:
    solved = functions_of(NOTEBOOKS / "solutions" / NAME)
    assert list(solved) == CHECKS
    assert all(verdict.right is True for verdict in solved.values()), solved


def test_other_good_answers_pass() -> None:
    """A copy of the convolution, a mean that is turned round with the picture, a cat of two."""

    def cloned(x, convolve):
        z = convolve(x)
        return {"conv": z.clone(), "relu": z.relu_()}

    def both_turned(y):
        return ((y.flip(1) + RGB) / 255).clamp(0, 1)

    def two_are_enough(x, photo, art, network):
        kept, painted = network(torch.cat([photo, x]))
        return (painted - kept).pow(2).sum()

    def in_range(z):
        return (RGB / 255 + 0.256 * z).clamp(0, 1)

    for name, answer in [
        ("check_two_layers", cloned),
        ("check_to_picture", both_turned),
        ("check_batch_loss", two_are_enough),
        ("check_noise_start", in_range),
        ("check_batch_gram", st.gram_matrix),
    ]:
        assert exercise(name)(answer).right is True, name


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("answer", [3, lambda *_: None, lambda *_: "text", lambda: 0])
def test_anything_at_all_gets_an_answer(name: str, answer: Any) -> None:
    verdict = exercise(name)(answer)
    assert verdict.right is not True and len(verdict.words) < 400


def test_several_numbers_where_one_is_asked_for_get_an_answer() -> None:
    verdict = exercise("check_translate")(lambda *_: torch.ones(3))
    assert verdict.right is False and "it should be" in verdict.words

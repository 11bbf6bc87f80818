"""The checks of the exercises: right answers pass, stubs do not, and wrong ones are understood.

The wrong answers below are written as students write them, not as the checks know them.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
import torch.nn.functional as F

import styletutor as st
from styletutor import lessons
from styletutor.lessons import capstone, exercise, reporting
from styletutor.lessons.quizzes import load_quizzes

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def seen(answer: Callable[..., Any], of: str) -> str:
    verdict = getattr(lessons, of)(answer)
    assert verdict.right is False
    return verdict.words


# --- lesson 0


def rows_upside_down(images):
    return torch.flip(images, dims=[2])


def bgr(images):
    return images[:, [2, 1, 0]]


def half_circle(images):
    return images.rot90(2, (2, 3))


def forgot_to_keep(images):
    images.flip(3)
    return images


def turned(images):
    return images.transpose(2, 3)


# --- lesson 1


def no_bias(patch, kernel, bias):
    total = 0
    for c in range(len(patch)):
        total = total + torch.sum(patch[c] * kernel[c])
    return total


def bias_everywhere(patch, kernel, bias):
    total = 0.0
    for p, k in zip(patch.flatten(), kernel.flatten(), strict=True):
        total = total + p * k + bias
    return total


def averaged(patch, kernel, bias):
    return torch.mean(patch * kernel) + bias


def mathematicians(patch, kernel, bias):
    return (patch * torch.rot90(kernel, 2, (1, 2))).sum() + bias


def transposed_kernel(patch, kernel, bias):
    return F.conv2d(patch[None], kernel.transpose(1, 2)[None]).squeeze() + bias


def no_stride(kinds):
    field = 1 + 2 * kinds.count("conv") + kinds.count("pool")
    return field, 2 ** kinds.count("pool")


def pool_forgotten(kinds):
    field, stride = 1, 1
    for kind in kinds:
        if kind == "conv":
            field += 2 * stride
        if kind == "pool":
            stride *= 2
    return field, stride


def longer_by_one(kinds):
    field, stride = 1, 1
    for kind in kinds:
        if kind == "conv":
            field += 2 * stride
        if kind == "pool":
            field += stride
            stride += 1
    return field, stride


def adds_three(kinds):
    field, stride = 1, 1
    for kind in kinds:
        if kind == "conv":
            field = field + 3 * stride
        elif kind == "pool":
            field, stride = field + stride, stride * 2
    return field, stride


def doubles_first(kinds):
    field, stride = 1, 1
    for kind in kinds:
        if kind == "pool":
            stride = stride * 2
            field = field + stride
        elif kind == "conv":
            field = field + 2 * stride
    return field, stride


def starts_at_zero(kinds):
    field, stride = 0, 1
    for kind in kinds:
        field += stride * (2 if kind == "conv" else 1 if kind == "pool" else 0)
        stride *= 1 + (kind == "pool")
    return field, stride


def mean_only(features, count):
    strength = features.flatten(1).mean(1)
    return strength.argsort(descending=True)[:count]


def brightest(features, count):
    return features.abs().flatten(1).max(1).values.argsort(descending=True)[:count]


def weakest(features, count):
    return features.abs().mean((1, 2)).argsort()[:count]


def strengths(features, count):
    values, _ = torch.sort(features.abs().mean((1, 2)), descending=True)
    return values[:count]


def backwards(features, count):
    return features.abs().mean((1, 2)).argsort()[-count:]


def size_of_mean(features, count):
    return torch.topk(torch.abs(torch.mean(features, dim=(1, 2))), count)[1]


def two_of_three(patch, kernel, bias):
    total = bias
    for c in range(patch.shape[0]):
        for u in range(2):
            for v in range(2):
                total = total + patch[c, u, v] * kernel[c, u, v]
    return total


def with_relu(patch, kernel, bias):
    return torch.relu(torch.sum(patch * kernel) + bias)


def by_numpy(patch, kernel, bias):
    return (patch.numpy() * kernel.numpy()).sum() + bias.numpy()


def no_call(patch, kernel, bias):
    return (patch * kernel).sum


def forgot_return(patch, kernel, bias):
    total = (patch * kernel).sum() + bias  # noqa: F841


def prints(patch, kernel, bias):
    print((patch * kernel).sum() + bias)


def field_doubles(kinds):
    field, stride = 1, 1
    for kind in kinds:
        if kind == "conv":
            field += 2 * stride
        if kind == "pool":
            field *= 2
            stride *= 2
    return field, stride


def grows_by_one(kinds):
    field, stride = 1, 1
    for kind in kinds:
        field += {"conv": 1, "relu": 0, "pool": 1}[kind] * stride
        stride = stride * 2 if kind == "pool" else stride
    return field, stride


def whole_topk(features, count):
    return features.abs().mean((1, 2)).topk(count)


# --- lesson 2


def half_mse(f, p):
    return 0.5 * F.mse_loss(f, p)


def running_total(f, p):
    total, losses = torch.zeros(()), []
    for one, other in zip(f, p, strict=True):
        total = total + 0.5 * ((one - other) ** 2).sum()
        losses.append(total)
    return torch.stack(losses)


def whole_division(f, p):
    return ((f - p) ** 2).sum((1, 2, 3)) // 2


def half_is_none(f, p):
    return (1 // 2) * ((f - p) ** 2).sum((1, 2, 3))


def column(f, p):
    return 0.5 * ((f - p) ** 2).sum((1, 2, 3), keepdim=True)


def tv_cropped(images):
    here = images[:, :, :-1, :-1]
    down, right = images[:, :, 1:, :-1] - here, images[:, :, :-1, 1:] - here
    return (down**2).mean((1, 2, 3)) + (right**2).mean((1, 2, 3))


def tv_diff_2(images):
    return images.diff(2).pow(2).mean((1, 2, 3)) + images.diff(3).pow(2).mean((1, 2, 3))


def tv_of_colours(images):
    return images.diff(dim=1).pow(2).mean((1, 2, 3)) + images.diff(dim=2).pow(2).mean((1, 2, 3))


def no_half(f, p):
    return torch.sum((f - p) ** 2, dim=(1, 2, 3))


def one_number(f, p):
    return 0.5 * ((f - p) ** 2).sum()


def mse(f, p):
    return torch.stack([F.mse_loss(a, b) for a, b in zip(f, p, strict=True)])


def mse_of_all(f, p):
    return F.mse_loss(f, p)


def absolute(f, p):
    return 0.5 * torch.abs(f - p).sum(dim=(1, 2, 3))


def length(f, p):
    return torch.linalg.vector_norm(f - p, dim=(1, 2, 3))


def detached(f, p):
    return 0.5 * (f.detach() - p).square().flatten(1).sum(1)


def relu_no_mask(z, p):
    return torch.relu(z) - p


def no_relu(z, p):
    return z - p


def uphill_gradient(z, p):
    return torch.where(z > 0, p - z, torch.zeros_like(z))


def doubled(z, p):
    return torch.where(z > 0, 2 * (z - p), torch.zeros_like(z))


def masked_by_difference(z, p):
    return torch.clamp(z.relu() - p, min=0)


def masked_by_p(z, p):
    out = z.relu() - p
    return torch.where(p > 0, out, torch.zeros_like(out))


def ascent(image, gradient, rate):
    return torch.clamp(image + gradient * rate, 0, 1)


def no_cut(image, gradient, rate):
    return image - gradient * rate


def no_rate(image, gradient, rate):
    return torch.clamp(image - gradient, 0, 1)


def cuts_the_gradient(image, gradient, rate):
    return image - rate * torch.clamp(gradient, 0.0, 1.0)


def in_place(image, gradient, rate):
    image -= rate * gradient
    return image.clamp_(0, 1)


def only_rows(images):
    return ((images[:, :, :, 1:] - images[:, :, :, :-1]) ** 2).mean((1, 2, 3))


def tv_absolute(images):
    down = (images[:, :, 1:] - images[:, :, :-1]).abs()
    across = (images[..., 1:] - images[..., :-1]).abs()
    return down.mean((1, 2, 3)) + across.mean((1, 2, 3))


def tv_sum(images):
    return images.diff(dim=2).pow(2).sum((1, 2, 3)) + images.diff(dim=3).pow(2).sum((1, 2, 3))


def tv_one_number(images):
    return images.diff(dim=2).pow(2).mean() + images.diff(dim=3).pow(2).mean()


def tv_pooled(images):
    down, across = images.diff(dim=2).flatten(1), images.diff(dim=3).flatten(1)
    return torch.cat([down, across], dim=1).pow(2).mean(1)


def tv_copied(images):
    down = (images[:, :, 1:] - images[:, :, :-1]).pow(2).mean((1, 2, 3))
    across = (images[:, :, 1:] - images[:, :, :-1]).pow(2).mean((1, 2, 3))
    return down + across


def tv_rolls(images):
    down, across = torch.roll(images, -1, 2) - images, torch.roll(images, -1, 3) - images
    return (down**2).mean((1, 2, 3)) + (across**2).mean((1, 2, 3))


# --- lesson 3


def one_matrix(features):
    b, c, h, w = features.shape
    flat = features.view(b * c, h * w)
    return torch.mm(flat, flat.t()) / (b * c * h * w)


def positions_by_positions(features):
    flat = features.flatten(2)
    return flat.transpose(1, 2) @ flat / features[0].numel()


def undivided(features):
    return torch.einsum("bihw,bjhw->bij", features, features)


def by_positions(features):
    return torch.einsum("bihw,bjhw->bij", features, features) / features[0, 0].numel()


def twice(features):
    n = features.shape[1] * features.shape[2] * features.shape[3]
    return torch.einsum("bihw,bjhw->bij", features / n, features / n) * 1.0


def covariance(features):
    flat = features.flatten(2)
    flat = flat - flat.mean(2, keepdim=True)
    return torch.bmm(flat, flat.mT) / features[0].numel()


def torn(features):
    _, c, h, w = features.shape
    flat = features.view(c, -1)
    return torch.mm(flat, flat.t()) / (c * h * w)


def by_height_only(features):
    return torch.einsum("bihw,bjhw->bij", features, features) / features.shape[2]


def height_width_channels(features):
    b, c, h, w = features.shape
    flat = features.view(b, h * w, c)
    return flat.transpose(1, 2) @ flat / (c * h * w)


def one_matrix_undivided(features):
    b, c, h, w = features.shape
    flat = features.view(b * c, h * w)
    return flat @ flat.t()


def relu_inside(features):
    flat = torch.relu(features).flatten(2)
    return flat @ flat.mT / features[0].numel()


def root_of_size(features):
    flat = features.flatten(2)
    return flat @ flat.mT / features[0].numel() ** 0.5


def floored(features):
    flat = features.flatten(2)
    return flat @ flat.mT // features[0].numel()


def added_over_batch(features):
    total, out = 0, []
    for picture in features:
        flat = picture.flatten(1)
        total = total + flat @ flat.T / flat.numel()
        out.append(total)
    return torch.stack(out)


def returns_early(features):
    for picture in features:
        flat = picture.flatten(1)
        return flat @ flat.T / flat.numel()


def every_channel_anew(features, order):
    out = torch.empty_like(features)
    for c in range(features.shape[1]):
        out[:, c] = features[:, c].flatten(1)[:, order.roll(c)].view_as(out[:, c])
    return out


def own_order(features, order):
    mine = torch.arange(order.numel()).flip(0)
    return features.flatten(2)[:, :, mine].view_as(features)


def my_stub(features):
    """Of the exercise before."""
    ...


def on_a_stub(features, style):
    return 0.25 * (my_stub(features) - my_stub(style)).square().sum((1, 2))


def puts(features, order):
    flat = features.flatten(2)
    out = torch.empty_like(flat)
    out[:, :, order] = flat
    return out.view_as(features)


def stays_flat(features, order):
    return features.flatten(2)[..., order]


def not_assigned(features, order):
    features.flatten(2)[:, :, order]
    return features


def first_channel(features, order):
    out = features.clone()
    out[:, 0] = out[:, 0].flatten(1)[:, order].view_as(out[:, 0])
    return out


def batch_only(features, order):
    return features[:, order[order < features.shape[1]]]


def four_times(features, style):
    return (st.gram_matrix(features) - st.gram_matrix(style)).pow(2).sum((1, 2))


def one_size(features, style):
    n, m = features.shape[1], features.shape[2] * features.shape[3]
    g, a = st.gram_matrix(features, "none"), st.gram_matrix(style, "none")
    return (g - a).pow(2).sum((1, 2)) / (4 * n**2 * m**2)


def raw_matrices(features, style):
    g, a = st.gram_matrix(features, "none"), st.gram_matrix(style, "none")
    return (g - a).pow(2).sum((1, 2)) / 4


def summed_batch(features, style):
    return (st.gram_matrix(features) - st.gram_matrix(style)).pow(2).sum() / 4


def mse_of_grams(features, style):
    return (st.gram_matrix(features) - st.gram_matrix(style)).pow(2).mean((1, 2))


def divided_again(features, style):
    n, m = features.shape[1], features.shape[2] * features.shape[3]
    return (st.gram_matrix(features) - st.gram_matrix(style)).pow(2).sum((1, 2)) / (4 * n**2 * m**2)


def wrong_sign(features, a):
    step = (a - st.gram_matrix(features)) @ features.flatten(2)
    return step.view_as(features) / features[0].numel()


def keeps_quarter(features, a):
    step = (st.gram_matrix(features) - a) @ features.flatten(2)
    return step.view_as(features) / features[0].numel() / 4


def not_divided(features, a):
    return ((st.gram_matrix(features) - a) @ features.flatten(2)).view_as(features)


def with_relu_case(features, a):
    step = (st.gram_matrix(features) - a) @ features.flatten(2)
    step = step.view_as(features) / features[0].numel()
    return torch.where(features > 0, step, torch.zeros_like(step))


def raw_gram_in_gradient(features, a):
    g = st.gram_matrix(features, normalise="none")
    return ((g - a) @ features.flatten(2)).view_as(features) / features[0].numel()


def flat_gradient(features, a):
    return (st.gram_matrix(features) - a) @ features.flatten(2) / features[0].numel()


def positions_first(features, a):
    return features.flatten(2).mT @ (st.gram_matrix(features) - a) / features[0].numel()


# --- lesson 4


def adds_layers(content, styles, alpha, beta):
    total = alpha * content
    for loss in styles:
        total = total + beta * loss
    return total


def exchanged(content, styles, alpha, beta):
    return beta * content + alpha * styles.mean(dim=0)


def beta_on_all(content, styles, alpha, beta):
    return (alpha * content + styles.mean(dim=0)) * beta


def mean_of_all(content, styles, alpha, beta):
    return alpha * content + beta * torch.mean(styles)


def without_alpha(content, styles, alpha, beta):
    return content + sum(beta * loss for loss in styles) / len(styles)


def piles_up(x, optimiser, loss):
    def closure():
        value = loss(x)
        value.backward()
        return value

    return closure


def never_back(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        return loss(x)

    return closure


def returns_nothing(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        loss(x).backward()

    return closure


def clamps(x, optimiser, loss):
    def closure():
        x.data.clamp_(0, 1)
        optimiser.zero_grad()
        value = loss(x)
        value.backward()
        return value

    return closure


def steps_itself(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        value = loss(x)
        value.backward()
        optimiser.step()
        return value

    return closure


def outside(x, optimiser, loss):
    value = loss(x)

    def closure():
        optimiser.zero_grad()
        value.backward(retain_graph=True)
        return value

    return closure


def outside_once(x, optimiser, loss):
    value = loss(x)

    def closure():
        optimiser.zero_grad()
        value.backward()
        return value

    return closure


def clears_last(x, optimiser, loss):
    def closure():
        value = loss(x)
        value.backward()
        optimiser.zero_grad()
        return value

    return closure


def of_a_copy(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        copy = x.detach().clone().requires_grad_(True)
        value = loss(copy)
        value.backward()
        return value

    return closure


def cut_off(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        value = loss(x.detach())
        value.backward()
        return value

    return closure


def gives_the_function(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        loss(x).backward()
        return loss

    return closure


def cuts_in_the_maker(x, optimiser, loss):
    with torch.no_grad():
        x.clamp_(0, 1)

    def closure():
        optimiser.zero_grad()
        value = loss(x)
        value.backward()
        return value

    return closure


def cuts_at_the_end(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        value = loss(x)
        value.backward()
        with torch.no_grad():
            x.clamp_(0, 1)
        return value

    return closure


def keeps_the_closure(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        value = loss(x)
        value.backward()
        return value


def one_number_total(content, styles, alpha, beta):
    return alpha * content.sum() + beta * styles.mean(0).sum()


def adds_all(content, styles, alpha, beta):
    return alpha * content + beta * styles.sum()


def added_styles(grams, shares):
    return grams.sum(0)


def called(x, optimiser, loss):
    return loss(x)


def not_normalised(grams, shares):
    return torch.einsum("s,sij->ij", shares, grams)


def plain_mean(grams, shares):
    return sum(grams) / len(grams)


def by_count(grams, shares):
    return torch.einsum("s,sij->ij", shares, grams) / len(shares)


def still_apart(grams, shares):
    return grams * (shares / shares.sum()).view(-1, 1, 1)


def softmax(grams, shares):
    return torch.einsum("s,sij->ij", torch.softmax(shares, 0), grams)


PLANTED = [
    ("check_mirror", rows_upside_down, "top and bottom"),
    ("check_mirror", bgr, "red and blue"),
    ("check_mirror", half_circle, "half a circle"),
    ("check_mirror", forgot_to_keep, "nothing has changed"),
    ("check_mirror", turned, "rows and columns"),
    ("check_one_feature", no_bias, "the bias is missing"),
    ("check_one_feature", bias_everywhere, "added at every pixel"),
    ("check_one_feature", averaged, "the mean of the products"),
    ("check_one_feature", mathematicians, "half a circle"),
    ("check_one_feature", transposed_kernel, "rows and columns of the template"),
    ("check_receptive_field", no_stride, "each layer adds the same"),
    ("check_receptive_field", pool_forgotten, "a pooling, too, widens"),
    ("check_receptive_field", longer_by_one, "twice as long"),
    ("check_receptive_field", adds_three, "not 3"),
    ("check_receptive_field", doubles_first, "doubled the stride first"),
    ("check_receptive_field", starts_at_zero, "start with 1"),
    ("check_strongest_channels", mean_only, "mean of the sizes"),
    ("check_strongest_channels", brightest, "One bright spot"),
    ("check_strongest_channels", weakest, "the weakest"),
    ("check_strongest_channels", strengths, "these are the strengths"),
    ("check_strongest_channels", backwards, "strongest should come first"),
    ("check_strongest_channels", size_of_mean, "the size of the mean"),
    ("check_content_loss", no_half, "the ½ of Eq. 1 is missing"),
    ("check_content_loss", one_number, "mixes the pictures of the batch"),
    ("check_content_loss", mse, "this is the mean. Eq. 1 is half of a sum"),
    ("check_content_loss", mse_of_all, "over the pictures of the batch, too"),
    ("check_content_loss", absolute, "Eq. 1 squares them"),
    ("check_content_loss", length, "leave out the root"),
    ("check_content_loss", detached, "no gradient comes through"),
    ("check_content_gradient", relu_no_mask, "there the gradient is 0, whatever P is"),
    ("check_content_gradient", no_relu, "forgets the ReLU altogether"),
    ("check_content_gradient", uphill_gradient, "the sign is the other way round"),
    ("check_content_gradient", doubled, "twice too large"),
    ("check_content_gradient", masked_by_difference, "the mask is made of F − P"),
    ("check_content_gradient", masked_by_p, "the mask is made of P"),
    ("check_descend", ascent, "uphill"),
    ("check_descend", no_cut, "no picture: cut it"),
    ("check_descend", no_rate, "the rate is missing"),
    ("check_descend", cuts_the_gradient, "the gradient is cut"),
    ("check_descend", in_place, "changed on the way"),
    ("check_total_variation", only_rows, "those in a column count as well"),
    ("check_total_variation", tv_absolute, "here they are squared"),
    ("check_total_variation", tv_sum, "grow with the picture"),
    ("check_total_variation", tv_one_number, "mixes the pictures"),
    ("check_total_variation", tv_pooled, "one mean over all differences"),
    ("check_total_variation", tv_copied, "counted twice"),
    ("check_total_variation", tv_rolls, "what roll does"),
    ("check_gram", one_matrix, "mixes the pictures of a batch"),
    ("check_gram", positions_by_positions, "the transpose of what was expected"),
    ("check_gram", undivided, "not divided yet"),
    ("check_gram", by_positions, "the number of channels is missing"),
    ("check_gram", twice, "divided by C·H·W twice"),
    ("check_gram", covariance, "this is the covariance"),
    ("check_gram", torn, "torn the channels apart"),
    ("check_gram", by_height_only, "the right answer times C·W"),
    ("check_shuffle", puts, "puts"),
    ("check_shuffle", stays_flat, "still flat"),
    ("check_shuffle", not_assigned, "nothing has moved"),
    ("check_shuffle", first_channel, "every channel needs the same order"),
    ("check_shuffle", batch_only, "channels change their places"),
    ("check_style_loss", four_times, "the ¼ of Eq. 4 is missing"),
    ("check_style_loss", one_size, "a size of its own"),
    ("check_style_loss", raw_matrices, "not divided by C·H·W"),
    ("check_style_loss", summed_batch, "mixes the pictures"),
    ("check_style_loss", mse_of_grams, "this is the mean"),
    ("check_style_loss", divided_again, "once is enough"),
    ("check_style_gradient", wrong_sign, "G − A, not A − G"),
    ("check_style_gradient", keeps_quarter, "the ¼ does not stay"),
    ("check_style_gradient", not_divided, "a factor is missing"),
    ("check_style_gradient", with_relu_case, "belongs to the ReLU"),
    ("check_style_gradient", raw_gram_in_gradient, "G is not divided"),
    ("check_style_gradient", flat_gradient, "still flat"),
    ("check_style_gradient", positions_first, "positions before channels"),
    ("check_total_loss", adds_layers, "added, not averaged"),
    ("check_total_loss", exchanged, "α and β are exchanged"),
    ("check_total_loss", beta_on_all, "β is applied to everything"),
    ("check_total_loss", mean_of_all, "also goes over the pictures"),
    ("check_total_loss", without_alpha, "missing its α"),
    ("check_closure", piles_up, "gradients pile up"),
    ("check_closure", never_back, "nothing calls .backward()"),
    ("check_closure", returns_nothing, "return the loss"),
    ("check_closure", clamps, "cuts the picture inside"),
    ("check_closure", steps_itself, "takes the step itself"),
    ("check_closure", called, "returned without ()"),
    ("check_one_feature", two_of_three, "range(2)"),
    ("check_one_feature", with_relu, "a ReLU is in it already"),
    ("check_one_feature", by_numpy, "NumPy"),
    ("check_one_feature", no_call, "the function sum itself"),
    ("check_one_feature", forgot_return, "end with `return`"),
    ("check_one_feature", prints, "end with `return`"),
    ("check_receptive_field", field_doubles, "doubles the stride, not the field"),
    ("check_receptive_field", grows_by_one, "not 1"),
    ("check_strongest_channels", whole_topk, ".indices and .values"),
    ("check_content_loss", half_mse, "half the mean over everything"),
    ("check_content_loss", running_total, "begin anew for each"),
    ("check_content_loss", whole_division, "rounded down"),
    ("check_content_loss", half_is_none, "everything is 0"),
    ("check_content_loss", column, "in another shape: (2, 1, 1, 1)"),
    ("check_total_variation", tv_cropped, "left out"),
    ("check_total_variation", tv_diff_2, "says how often"),
    ("check_total_variation", tv_of_colours, "channels are compared"),
    ("check_gram", height_width_channels, "exchanges no axes"),
    ("check_gram", one_matrix_undivided, "mixes the pictures of a batch"),
    ("check_gram", relu_inside, "a ReLU is over what is given"),
    ("check_gram", root_of_size, "√(C·H·W)"),
    ("check_gram", floored, "rounded down"),
    ("check_gram", added_over_batch, "begin anew for each"),
    ("check_gram", returns_early, "only the first picture"),
    ("check_shuffle", every_channel_anew, "in its own way"),
    ("check_shuffle", own_order, "not to where `order` says"),
    ("check_style_loss", on_a_stub, "is that function finished"),
    ("check_closure", outside, "outside the closure"),
    ("check_closure", outside_once, "compute it anew each time"),
    ("check_closure", clears_last, "cleared after .backward()"),
    ("check_closure", of_a_copy, "of a copy"),
    ("check_closure", cut_off, "no way back to the picture"),
    ("check_closure", gives_the_function, "returns the function `loss` itself"),
    ("check_closure", cuts_in_the_maker, "where the closure is made"),
    ("check_closure", cuts_at_the_end, "after .backward(), still inside"),
    ("check_closure", keeps_the_closure, "end with `return`"),
    ("check_still_closure", outside, "outside the closure"),
    ("check_total_loss", one_number_total, "added up to one number"),
    ("check_total_loss", adds_all, "over layers and pictures"),
    ("check_blend", added_styles, "the plain sum"),
    ("check_blend", not_normalised, "have to sum to one"),
    ("check_blend", plain_mean, "the shares are not used"),
    ("check_blend", by_count, "divide by the sum of the shares"),
    ("check_blend", still_apart, "not yet added up"),
    ("check_blend", softmax, "a softmax changes the shares"),
]


@pytest.mark.parametrize(
    ("check", "answer", "words"), PLANTED, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_wrong_answer_is_understood(check: str, answer: Callable[..., Any], words: str) -> None:
    assert words in seen(answer, check)


def test_four_wrong_answers_for_every_exercise() -> None:
    import test_beyond
    import test_museum

    planted = [name for name, _, _ in PLANTED + test_museum.PLANTED]
    planted += [f"check_{check.name}" for check, _, _ in test_beyond.PLANTED]
    counts = {name: planted.count(name) for name in lessons.exercises}
    assert len(counts) >= 12 and min(counts.values()) >= 4, counts


@pytest.mark.parametrize("name", lessons.exercises)
def test_the_definition_is_right_and_no_mistake_is(name: str) -> None:
    """No diagnosis hides another: every mistake that a check knows gets its own words."""
    exercise = lessons.exercises[name]
    for seed in range(3):
        assert exercise(exercise.spec, seed).right is True
        for words, wrong in exercise.mistakes.items():
            verdict = exercise(wrong, seed)
            assert verdict.right is False and verdict.words == words
            assert len(words) < 300


def functions_of(notebook: Path, extra: str = "") -> dict[str, Any]:
    """What the cells that call a check say, by the name of the check."""
    verdicts: dict[str, Any] = {}
    space: dict[str, Any] = {"st": st, "torch": torch, "lessons": lessons}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code" and re.search(r"^lessons\.check_", cell.source, re.MULTILINE):
            *body, call = cell.source.strip().splitlines()
            exec("\n".join(body), space)
            verdicts[call.split("(")[0].removeprefix("lessons.")] = eval(call, space)
    return verdicts


def test_every_solution_passes_and_no_stub_does() -> None:
    solved: dict[str, Any] = {}
    for path in sorted((NOTEBOOKS / "solutions").glob("*.ipynb")):
        right = functions_of(path)
        asked = functions_of(NOTEBOOKS / path.name)
        assert set(right) == set(asked), f"{path.stem}: a solution for every exercise, no other"
        assert not [verdict for verdict in right.values() if verdict.right is not True]
        assert not [verdict for verdict in asked.values() if verdict.right is True]
        solved |= right
    assert set(solved) == {*lessons.exercises, "check_transfer"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda f: st.gram_matrix(f).triu() + f[0, 0, 0, 0] ** 2, "not symmetric"),
        (lambda f: st.gram_matrix(f) - torch.eye(f.shape[1]), "not positive semi-definite"),
        (
            lambda f: st.gram_matrix(f * torch.linspace(0, 1, f.shape[3])),
            "changes when positions change their places",
        ),
    ],
)
def test_a_mistake_that_nobody_knew_is_seen_by_what_must_hold(answer: Any, words: str) -> None:
    assert words in seen(answer, "check_gram")


def test_an_unfinished_exercise_says_so() -> None:
    def dots(features):
        """To do."""
        ...

    def raises(features):
        raise NotImplementedError

    for stub in (dots, raises):
        verdict = lessons.check_gram(stub)
        assert verdict.right is None and "not finished yet" in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (3, "give the function itself"),
        (torch.zeros(2, 3), "a tensor of shape (2, 3)"),
        (lambda features: "a matrix", "a tensor of shape (2, 3, 3) was expected, not a matrix"),
        (lambda features: 0.5, "was expected, not 0.5 (float)"),
        (lambda features: features.sum(), "the shape should be (2, 3, 3), yours is ()"),
        (lambda features: features.mean((2, 3))[:, None] / 0, "yours is (2, 1, 3)"),
        (lambda features: torch.zeros(features.shape[0], 3, 3) / 0, "NaN"),
        (lambda features: features @ features, "stopped with RuntimeError"),
        (lambda features, scale: features, "stopped with TypeError"),
        (lambda features: st.gram_matrix(features) + 0.7, "should be"),
        (lambda features: st.gram_matrix(features) * 3, "times 3:"),
        (
            lambda features: st.gram_matrix(features).numpy(),
            "this is a NumPy array",
        ),
        (lambda features: {"gram": st.gram_matrix(features)}, "was expected, not"),
    ],
)
def test_anything_at_all_gets_an_answer(answer: Any, words: str) -> None:
    verdict = lessons.check_gram(answer)
    assert words in verdict.words and verdict.right is False
    assert len(verdict.words) < 400


def without_axis(features):
    return st.gram_matrix(features - features.mean((2, 3)))


def turned_round(features):
    flat = features.flatten(2)
    return flat @ flat.T


def squared_by_a_hat(weight, channels):
    return 4 * weight / channels ^ 2


def of_the_wrong_axes(features, count):
    return features.abs().mean((0, 1)).topk(count).indices


def along_the_pictures(features, order):
    return features.flatten(2)[order]


def of_a_matrix_already(features, target):
    batch, channels, height, width = target.shape
    return features.view(batch, channels, height, width)


def not_flat(features, target):
    return (st.gram_matrix(features) - target) @ features


def weights_not_flat(features, weights):
    flat = features.flatten(2)
    return (flat * weights) @ flat.mT


def not_flat_either(features, order):
    return features[:, :, order]


def one_mean(images):
    return (images.diff(dim=2) ** 2 + images.diff(dim=3) ** 2).mean((1, 2, 3))


def backwards(images):
    return images[:, :, :, ::-1]


def as_a_list(features):
    return [st.gram_matrix(picture[None])[0] for picture in features]


def begins_anew(patch, kernel, bias):
    for one, other in zip(patch, kernel, strict=True):
        total = bias + (one * other).sum()
    return total


def noisy(features):
    return st.gram_matrix(features) + torch.rand(())


def moves_the_name(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        x -= 0.1  # noqa: F823
        value = loss(x)
        value.backward()
        return value

    return closure


def one_for_all(features):
    flat = features.flatten(2).transpose(0, 1).flatten(1)
    return flat @ flat.T


def uncut_relu(x, convolve):
    z = convolve(x)
    return {"conv": z, "relu": z.detach().relu()}


def pair_of_layers(x, convolve):
    return convolve(x), convolve(x).relu()


def once_and_for_all(x, optimiser, loss):
    value = loss(x)
    value.backward()
    return lambda: value


def asks_twice(x, optimiser, loss):
    def closure():
        optimiser.zero_grad()
        loss(x).backward()
        return loss(x)

    return closure


def relu_first(features, target):
    flat = features.flatten(2).relu()
    gradient = (st.gram_matrix(features) - target) @ flat
    return gradient.view_as(features) / features[0].numel()


@pytest.mark.filterwarnings("ignore:The use of `x.T`")
@pytest.mark.parametrize(
    ("check", "answer", "words"),
    [
        ("check_covariance", without_axis, "keepdim=True"),
        ("check_gram", turned_round, ".mT exchanges the last two"),
        ("check_translate", squared_by_a_hat, "a power is written **"),
        ("check_strongest_channels", of_the_wrong_axes, "which axes are left"),
        ("check_shuffle", along_the_pictures, "positions of what is flat"),
        ("check_style_gradient", of_a_matrix_already, "a Gram matrix already"),
        ("check_style_gradient", not_flat, "wants (B, C, H·W)"),
        ("check_guided_gram", weights_not_flat, "wants (B, C, H·W)"),
        ("check_shuffle", not_flat_either, "positions of what is flat"),
        ("check_total_variation", one_mean, "take each mean or sum by itself"),
        ("check_mirror", backwards, ".flip(axis) does it"),
        ("check_batch_gram", as_a_list, "torch.stack makes one"),
        ("check_one_feature", begins_anew, "only the last colour"),
        ("check_gram", noisy, "something random"),
        ("check_still_closure", moves_the_name, "makes a new one"),
        ("check_covariance", one_for_all, "The first axis counts pictures"),
        ("check_two_layers", uncut_relu, 'comes back through "relu"'),
        ("check_two_layers", pair_of_layers, "a dictionary is asked for"),
        ("check_closure", once_and_for_all, "computed once"),
        ("check_closure", asks_twice, "not computed once in each call"),
        ("check_style_gradient", relu_first, "should be"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_what_stops_or_passes_by_half_is_named(
    check: str, answer: Callable[..., Any], words: str
) -> None:
    verdict = getattr(lessons, check)(answer)
    assert verdict.right is False and words in verdict.words, verdict


def test_other_random_numbers_with_another_seed() -> None:
    """Right by luck is not right: an answer that knows the numbers fails with others."""
    known = [
        st.gram_matrix(case[0])
        for case in lessons.check_gram.cases(torch.Generator().manual_seed(0))
    ]
    by_heart = {tuple(gram.shape): gram for gram in known}

    def parrot(features):
        return (
            by_heart[features.shape[0], features.shape[1], features.shape[1]] + 0 * features.sum()
        )

    assert lessons.check_gram(parrot, seed=1).right is False


def test_values_without_gradient_are_not_enough() -> None:
    words = seen(lambda f: torch.from_numpy(st.gram_matrix(f.detach()).numpy()), "check_gram")
    assert "no gradient comes through" in words
    halved = seen(lambda f: 0.5 * (st.gram_matrix(f) + st.gram_matrix(f.detach())), "check_gram")
    assert "the gradient is not" in halved


def test_a_verdict_is_safe_to_show() -> None:
    def bad(features):
        raise ValueError("<script>alert(1)</script>")

    shown = lessons.check_gram(bad)._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and 'role="status"' in shown


def test_quizzes_explain_every_answer() -> None:
    for name, questions in load_quizzes().items():
        quiz = lessons.quiz(name)
        assert len(questions) >= 3 and quiz.right == 0
        for question, choice, note in zip(questions, quiz.choices, quiz.notes, strict=True):
            assert question.right in question.answers and len(question.answers) >= 3
            for answer, explanation in question.answers.items():
                choice.value = answer
                start = "✓ Right." if answer == question.right else "✗ Not quite."
                assert note.text == f"{start} {explanation}"
            choice.value = question.right
        assert quiz.right == len(questions)
        shown = quiz._repr_mimebundle_()
        assert questions[-1].ask in (shown[0] if isinstance(shown, tuple) else shown)["text/plain"]


def test_an_unknown_quiz_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no quiz 'vgg'; choose one of inside_vgg"):
        lessons.quiz("vgg")


# --- what is used and reported of answers


def test_a_function_is_used_once_it_has_passed(capsys: pytest.CaptureFixture[str]) -> None:
    def my_gram(features):
        return undivided(features)

    assert lessons.own(my_gram, st.gram_matrix) is st.gram_matrix  # nobody has checked it
    lessons.check_gram(my_gram)
    assert lessons.own(my_gram, st.gram_matrix) is st.gram_matrix
    assert "my_gram: not ready yet, gram_matrix of the module" in capsys.readouterr().out

    def my_gram(features):
        return undivided(features) / features[0].numel()

    lessons.check_gram(my_gram)
    assert lessons.own(my_gram, st.gram_matrix) is my_gram
    assert capsys.readouterr().out == "my_gram: yours\n"


def test_the_slow_definition_of_an_exercise_can_take_the_place() -> None:
    def my_shuffle(features, order): ...

    lessons.check_shuffle(my_shuffle)
    shuffle = lessons.own(my_shuffle, lessons.check_shuffle)
    features, order = torch.rand(1, 2, 2, 2), torch.tensor([3, 1, 0, 2])
    assert torch.equal(shuffle(features, order).flatten(2), features.flatten(2)[:, :, order])


def test_a_report_says_what_passed_and_at_which_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "tries", tries := {})
    monkeypatch.setattr(exercise, "tries", tries)

    def my_gram(features): ...

    for answer in (my_gram, undivided, by_positions, lessons.check_gram.spec, undivided):
        lessons.check_gram(answer)
    lessons.check_mirror(bgr)
    path = tmp_path / "me.json"
    said = lessons.report(path)
    assert json.loads(path.read_text(encoding="utf-8")) == said
    assert set(said["exercises"]) == {"gram", "mirror"}
    gram, mirror = said["exercises"]["gram"], said["exercises"]["mirror"]
    assert (gram["passed"], gram["passed_at_try"], gram["tries"]) == (True, 3, 4)
    assert ["not divided yet" in words for words in gram["mistakes"]] == [True, False, True]
    assert (mirror["passed"], mirror["passed_at_try"], mirror["tries"]) == (False, None, 1)


def test_the_diagnosis_of_an_exhibit_waits_behind_a_click() -> None:
    verdict = lessons.check_batch_gram(one_matrix)
    shown = verdict._repr_html_()
    assert shown.index("<summary>Something is wrong") < shown.index("mixes the pictures")
    assert "mixes" not in repr(verdict) and "mixes" in verdict.words
    assert "<details>" not in lessons.check_gram(one_matrix)._repr_html_()
    assert "<details>" not in lessons.check_batch_gram(lessons.check_gram.spec)._repr_html_()


# --- the capstone

STYLES = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


GRAMS = {
    "": st.gram_matrix,
    "undivided": lambda f: st.gram_matrix(f, "none"),
    "covariance": lambda f: st.gram_matrix(f - f.mean((2, 3), keepdim=True)),
    "dealt out": lambda f: st.gram_matrix(f.reshape(len(f), -1, 1, f.shape[1]).transpose(1, 3)),
}


def a_transfer(beta=40.0, alpha=1.0, layers=STYLES, sums=False, cut=True, more=1, back=True,
               gram="", root=0, content="relu4_2", start="photo", rate=0.02, clear=True,
               apart=False, anew=False, keep=False):  # fmt: skip
    """A transfer by Adam, right as it stands."""
    gram = GRAMS[gram]

    def share(ours, target):
        error = (ours - target).square().sum()
        error = error if sums else error / target.square().sum()
        return (error + root - 1).sqrt() if root else error

    def my_transfer(network, photo, art, evaluations):
        with torch.no_grad():
            kept = network(photo, [content])[content]
            targets = {n: gram(f) for n, f in network(art, layers).items()}
        x = (photo if start == "photo" else torch.full_like(photo, 0.5)).clone().requires_grad_()
        adam = torch.optim.Adam([x], lr=rate)
        for _ in range(int(more * evaluations)):
            if clear:
                adam.zero_grad()
            features = network(x, [*layers, content])
            if apart:
                features = {**network(x, layers), **network(x, [content])}
            style = sum(share(gram(features[n]), targets[n]) for n in layers)
            loss = alpha * share(features[content], kept) + beta * style / len(layers)
            if back:
                loss.backward()
                adam.step()
            if anew:
                x = x.detach().clamp(0, 1).requires_grad_()
        x = x if keep else x.detach()
        return x.clamp(0, 1) if cut else x

    return my_transfer


@pytest.fixture
def few_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capstone, "SIZE", 64)
    monkeypatch.setattr(capstone, "EVALUATIONS", 12)


def test_a_whole_transfer_is_accepted(few_evaluations: None) -> None:
    answer = a_transfer()
    assert lessons.own(answer, lessons.plain_transfer) is lessons.plain_transfer
    verdict = lessons.check_transfer(answer)
    assert verdict.right is True and "by the right loss" in verdict.words
    assert lessons.own(answer, lessons.plain_transfer) is answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (a_transfer(beta=8), "1 to 8 where 1 to 40"),
        (a_transfer(beta=200), "1 to 200 where 1 to 40"),
        (a_transfer(alpha=0), "content: not in the loss"),
        (a_transfer(beta=0), "the picture has not moved"),
        (a_transfer(beta=-40), "the wrong sign"),
        (a_transfer(layers=STYLES[:3]), "never asked for relu4_1, relu5_1"),
        (a_transfer(sums=True), "far too weak"),
        (a_transfer(layers=[*STYLES, "relu5_1"]), "do not count alike"),
        (a_transfer(layers=["conv1_1", *STYLES[1:]]), "asked for relu1_1, but conv1_1"),
        (a_transfer(gram="undivided"), "divide each matrix by its own"),
        (a_transfer(cut=False), "below 0 or above 1"),
        (a_transfer(more=2), "12 evaluations were allowed, and yours took 24"),
        (a_transfer(back=False), "no gradient ever came back"),
        (a_transfer(start="noise"), "is not the photo"),
        (a_transfer(clear=False), "Gradients pile up"),
        (a_transfer(rate=10.0), "the steps are too long"),
        (a_transfer(more=0.5), "Only 6 of 12 evaluations"),
        (a_transfer(apart=True), "ask for all six layers at once"),
        (a_transfer(anew=True), "still holds the first one"),
        (a_transfer(content="relu4_1"), "never asked for relu4_2"),
        (a_transfer(gram="covariance"), "these are covariances"),
        (a_transfer(gram="dealt out"), "exchanges no axes"),
        (a_transfer(root=1 + 1e-4), "roots or powers"),
        (a_transfer(root=1), "a root of 0 has no slope"),
        (a_transfer(alpha=40.0, beta=1.0), "the 40 belongs to the style"),
        (a_transfer(keep=True), "still carries its graph"),
        (lambda network, photo, art, evaluations: photo.clone(), "never saw a picture"),
        (lambda network, photo, art, evaluations: photo.clamp_(0.3, 1), "itself is changed"),
        (lambda network, photo, art, evaluations: photo[0], "the photo's shape"),
        (lambda network, photo, art, evaluations: print(end=""), "end with `return`"),
        (lambda network, photo, art, evaluations: network(photo, "relu9_9"), "stopped with"),
    ],
)
def test_what_is_wrong_with_a_transfer_is_told_from_its_gradients(
    few_evaluations: None, answer: Callable[..., Any], words: str
) -> None:
    verdict = lessons.check_transfer(answer)
    assert verdict.right is False and words in verdict.words, verdict


def test_an_empty_cell_is_not_finished() -> None:
    def my_transfer(network, photo, art, evaluations): ...

    assert lessons.check_transfer(my_transfer).right is None

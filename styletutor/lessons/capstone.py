"""The task at the end of lesson 4: a whole style transfer, checked by its gradients and picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from styletutor.cookbook.published import STYLE_LAYERS, recipes
from styletutor.lessons.comparing import one_line, what
from styletutor.lessons.exercise import Verdict, keep
from styletutor.lessons.habits import does_something
from styletutor.loss.losses import relative_error
from styletutor.loss.objective import Objective
from styletutor.loss.statistics import gram_matrix
from styletutor.network.vgg import VGG
from styletutor.network.weights import load_vgg
from styletutor.pictures.loading import load_image
from styletutor.runs.transfer import transfer

Network = Callable[[Tensor, Sequence[str]], dict[str, Tensor]]
Transfer = Callable[[Network, Tensor, Tensor, int], Tensor]
Place = tuple[Tensor, Tensor]  # a picture on the way, and the gradient that came back to it
SIZE, EVALUATIONS = 96, 40
ROOM = 1.6  # times the loss of st.transfer: L-BFGS without bounds and Adam stay below it

OTHER = (
    "this is another loss: its gradient is not made of the content's at relu4_2 and the Gram "
    "matrices' at the five style layers. Compare the terms with st.relative_error."
)


def check_transfer(answer: Transfer) -> Verdict:
    """Let `answer` paint. Is its loss the default recipe's, and its picture as good as ours?

    `answer(network, photo, art, evaluations)` gives a picture, (1, 3, H, W) in [0, 1], where
    `network(images, names)` gives features by name, those of pocket.
    """
    return keep("transfer", answer, _verdict(answer))


def plain_transfer(network: VGG, photo: Tensor, art: Tensor, evaluations: int) -> Tensor:
    """What the task asks for, by the module: `st.transfer` with its default recipe."""
    return transfer(photo, art, vgg=network, evaluations=evaluations, progress=False).image


def _verdict(answer: Transfer) -> Verdict:
    name = getattr(answer, "__name__", "transfer")
    photo, art = load_image("chelsea", SIZE), load_image("swirling-strokes", SIZE)
    vgg = load_vgg("pocket", device="cpu")
    way: list[Place] = []
    hooks: list[RemovableHandle] = []

    def network(images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        if images.requires_grad:
            there = images.detach().clone()
            if hooks:
                hooks[-1].remove()  # of a picture that has moved on
            hooks.append(images.register_hook(lambda g: way.append((there, g.clone()))))
        return vgg(images, [names] if isinstance(names, str) else list(names))

    given = photo.clone(), art.clone()
    try:
        picture = answer(network, *given, EVALUATIONS)
    except NotImplementedError:
        picture = ...
    except Exception as error:
        return Verdict(name, False, one_line(error, (photo, art)))
    if picture is ... or (picture is None and not does_something(answer)):
        return Verdict(name, None, "not finished yet. Replace the dots by your own code.")
    fault = ""
    if not (torch.equal(given[0], photo) and torch.equal(given[1], art)):
        fault = "the photo or the artwork itself is changed: begin with photo.clone()."
    fault = fault or _no_picture(picture, photo) or _idle(picture, photo, bool(hooks), len(way))
    objective = recipes["default"].objective(vgg, content=photo, styles=[art])
    fault = fault or _other_loss(way, objective)
    if fault is OTHER and _undivided(way, vgg, photo, art):
        fault = (
            "the Gram matrices are sums over positions, and the photo has another number of them "
            "than the artwork: divide each matrix by its own C·H·W, as in lesson 3."
        )
    if fault:
        return Verdict(name, False, fault)
    best = transfer(photo, art, vgg=vgg, evaluations=EVALUATIONS, progress=False).image
    with torch.no_grad():
        ours, theirs = (float(objective(x)["total"]) for x in (picture.detach(), best))
    numbers = f"the loss of your picture is {ours:.2f}, that of st.transfer's {theirs:.2f}"
    if ours > ROOM * theirs:
        words = f"the right loss, but {numbers}. Are the steps too short, or the cuts in the way?"
        return Verdict(name, False, words)
    return Verdict(name, True, f"painted, by the right loss: {numbers}, in as many evaluations.")


def _no_picture(picture: object, photo: Tensor) -> str:
    """What to say of a value that is none."""
    shape = tuple(photo.shape)
    if picture is None:
        return "nothing comes back: end with `return` and the picture."
    if not isinstance(picture, Tensor):
        return f"a picture was expected, a tensor of shape {shape}, not {what(picture)}."
    if picture.shape != photo.shape:
        return f"the picture should have the photo's shape {shape}, not {tuple(picture.shape)}."
    if not torch.isfinite(picture).all():
        return "there are infinite numbers or NaN in the picture: the steps are too long."
    if picture.min() < -1e-4 or picture.max() > 1 + 1e-4:
        return "some values are below 0 or above 1: cut what comes out, .clamp(0, 1)."
    return ""


def _idle(picture: Tensor, photo: Tensor, looked: bool, evaluations: int) -> str:
    """What is wrong with a descent that does not move or does not stop."""
    if not looked:
        return (
            "the network never saw a picture that wants a gradient: make one of the photo, "
            ".clone().requires_grad_(), and give it to the optimiser and to the network."
        )
    if evaluations > 1.3 * EVALUATIONS + 2:
        return f"{EVALUATIONS} evaluations were allowed, and yours took {evaluations}."
    if not evaluations:
        return "no gradient ever came back to the picture: where is loss.backward()?"
    if torch.allclose(picture.detach(), photo, atol=1e-4):
        return (
            "this is the photo: the picture has not moved. Does the optimiser hold it, and is its "
            "step called?"
        )
    return ""


def _made_of(
    way: Sequence[Place], shares: Callable[[Tensor], Sequence[Tensor]]
) -> tuple[Tensor, Tensor, float]:
    """Of how much of each share's gradient the gradients on the way consist, by least squares.

    The sizes of the shares' gradients, the factors of these made 1, and what is left unexplained.
    """
    rows, aims = [], []
    for image, gradient in way[2 :: max(1, len(way) // 3)] or way[-1:]:
        x = image.clone().requires_grad_()
        slopes = [torch.autograd.grad(s.sum(), x, retain_graph=True)[0] for s in shares(x)]
        rows.append(torch.stack([slope.flatten() for slope in slopes], 1).double())
        aims.append(gradient.flatten().double())
    terms, whole = torch.cat(rows), torch.cat(aims)
    size = terms.square().sum(0).sqrt()
    found = torch.linalg.lstsq(terms / size, whole[:, None]).solution[:, 0]
    rest = float((whole - terms / size @ found).square().sum() / whole.square().sum())
    return size, found, rest


def _undivided(way: Sequence[Place], vgg: VGG, photo: Tensor, art: Tensor) -> bool:
    """Whether the loss compares sums over positions of pictures that have not as many."""
    wanted = vgg(photo, "relu4_2")["relu4_2"]
    targets = {name: gram_matrix(f, "none") for name, f in vgg(art, STYLE_LAYERS).items()}

    def shares(x: Tensor) -> list[Tensor]:
        features = vgg(x, ["relu4_2", *STYLE_LAYERS])
        grams = {name: gram_matrix(features[name], "none") for name in STYLE_LAYERS}
        styles = [relative_error(grams[name], targets[name]) for name in STYLE_LAYERS]
        return [relative_error(features["relu4_2"], wanted), *styles]

    return _made_of(way, shares)[2] < 0.01


def _other_loss(way: Sequence[Place], objective: Objective) -> str:
    """What the gradients on the way say of the loss that they are of, if it is not ours."""
    worth = recipes["default"].style_weight / len(STYLE_LAYERS)

    def shares(x: Tensor) -> list[Tensor]:
        parts = objective.parts(x)
        styles = [parts[f"style {layer}"] / worth for layer in STYLE_LAYERS]
        return [parts["content relu4_2"], *styles]

    size, found, rest = _made_of(way, shares)
    if not rest < 0.01:
        return OTHER
    weights = dict(zip(["content", *STYLE_LAYERS], (found / size).tolist(), strict=True))
    missing = [
        name
        for name, part in zip(weights, found.abs() / found.abs().max(), strict=True)
        if part < 1e-5
    ]
    if missing:
        return (
            f"{', '.join(missing)}: not in the loss, or far too weak. Every error counts as a "
            "share, divided by the sum of squares of its own target."
        )
    if any(weight < 0 for weight in weights.values()):
        return "a term has the wrong sign: the loss adds content and style."
    balance = {name: weights[name] / weights["content"] for name in STYLE_LAYERS}
    low, high = min(balance.values()), max(balance.values())
    if high > 1.25 * low:
        worths = ", ".join(f"{name} {value:.3g}" for name, value in balance.items())
        return (
            f"the style layers do not count alike. In shares of their targets, with 1 for the "
            f"content: {worths}. Divide each by the sum of squares of its own target."
        )
    if not 36 < 5 * low < 44:
        return (
            f"the terms are right, but content to style is 1 to {5 * low:.3g} where 1 to 40 was "
            "asked for. Is the style a mean over the five layers, and are all errors shares?"
        )
    return ""

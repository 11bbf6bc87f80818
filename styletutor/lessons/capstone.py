"""The task at the end of lesson 4: a whole style transfer, checked by its gradients and picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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


@dataclass
class Watch:
    """What a network saw while somebody's program asked it."""

    vgg: VGG
    asked: set[str] = field(default_factory=set)
    shown: list[Tensor] = field(default_factory=list)  # each picture that wanted a gradient
    way: list[Place] = field(default_factory=list)
    leaves: list[Tensor] = field(default_factory=list)
    hook: RemovableHandle | None = None

    def __call__(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        names = [names] if isinstance(names, str) else list(names)
        self.asked.update(names)
        if images.requires_grad:
            there = images.detach().clone()
            if self.hook is not None:
                self.hook.remove()  # of a picture that has moved on
            self.hook = images.register_hook(lambda g: self.way.append((there, g.clone())))
            self.shown.append(there)
            if images.is_leaf and not any(images is leaf for leaf in self.leaves):
                self.leaves.append(images)
        return self.vgg(images, names)


def _verdict(answer: Transfer) -> Verdict:
    name = getattr(answer, "__name__", "transfer")
    photo, art = load_image("chelsea", SIZE), load_image("swirling-strokes", SIZE)
    vgg = load_vgg("pocket", device="cpu")
    watch, given = Watch(vgg), (photo.clone(), art.clone())
    try:
        picture = answer(watch, *given, EVALUATIONS)
    except NotImplementedError:
        picture = ...
    except Exception as error:
        return Verdict(name, False, one_line(error, (photo, art)) + _beside(watch, photo, error))
    if picture is ... or (picture is None and not does_something(answer)):
        return Verdict(name, None, "not finished yet. Replace the dots by your own code.")
    fault = ""
    if not (torch.equal(given[0], photo) and torch.equal(given[1], art)):
        fault = "the photo or the artwork itself is changed: begin with photo.clone()."
    if watch.way and not torch.isfinite(watch.way[0][1]).all():
        fault = (
            "the first gradient is NaN already: a root of 0 has no slope, and at the photo the "
            "content's share is 0. Add shares, not their roots."
        )
    fault = fault or _no_picture(picture, photo) or _idle(picture, photo, watch)
    objective = recipes["default"].objective(vgg, content=photo, styles=[art])
    fault = fault or _never_asked(watch) or _other_loss(watch.way, objective)
    if fault is OTHER:
        fault = _which_other(watch.way, vgg, photo, art) or fault
    if fault:
        return Verdict(name, False, fault)
    best = transfer(photo, art, vgg=vgg, evaluations=EVALUATIONS, progress=False).image
    with torch.no_grad():
        start, ours, theirs = (
            float(objective(x)["total"]) for x in (photo, picture.detach(), best)
        )
    numbers = f"the loss of your picture is {ours:.2f}, that of st.transfer's {theirs:.2f}"
    if ours > ROOM * theirs:
        return Verdict(name, False, f"the right loss, but {numbers}. {_why(watch, start, ours)}")
    words = f"painted, by the right loss: {numbers}. Evaluations: {len(watch.way)}."
    return Verdict(name, True, words)


def _beside(watch: Watch, photo: Tensor, error: Exception) -> str:
    """What may be behind an error about sizes."""
    if "size" not in str(error):
        return ""
    if watch.shown and watch.shown[0].shape != photo.shape:
        return " The picture that wants a gradient has not the photo's size: begin with the photo."
    return (
        " The photo and the artwork differ in size, and so do their features: only Gram matrices "
        "can be compared with the artwork's, and features only with the photo's."
    )


def _never_asked(watch: Watch) -> str:
    wanted = ["relu4_2", *STYLE_LAYERS]
    missing = [name for name in wanted if name not in watch.asked]
    if not missing:
        return ""
    others = sorted(name for name in watch.asked if name not in wanted)
    instead = f", but {', '.join(others)}" if others else ""
    return f"the network was never asked for {', '.join(missing)}{instead}."


def _why(watch: Watch, start: float, ours: float) -> str:
    """Why the right loss has not come down."""
    if len(watch.way) < 0.7 * EVALUATIONS:
        return f"Only {len(watch.way)} of {EVALUATIONS} evaluations were made."
    if len(watch.leaves) > 1:
        return (
            "x is a new tensor in each turn, and the optimiser still holds the first one: change "
            "its values in place, under torch.no_grad()."
        )
    piled = torch.stack([gradient for _, gradient in watch.way]).sum(0)
    left = watch.leaves[-1].grad if watch.leaves else None
    if left is not None and (left - piled).norm() < 1e-3 * piled.norm():
        return "Gradients pile up: PyTorch adds each to the last. Where is zero_grad()?"
    if ours > 0.8 * start:
        return f"It began at {start:.2f}: the steps are too long."
    return "Are the steps too short, or the cuts in the way?"


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


def _idle(picture: Tensor, photo: Tensor, watch: Watch) -> str:
    """What is wrong with a descent that does not begin, move or stop as it should."""
    if not watch.shown:
        return (
            "the network never saw a picture that wants a gradient: make one of the photo, "
            ".clone().requires_grad_(), and give it to the optimiser and to the network."
        )
    evaluations, most = len(watch.way), 1.3 * EVALUATIONS + 2
    if evaluations > 10 * EVALUATIONS:
        return (
            f"{EVALUATIONS} evaluations were allowed, and yours took {evaluations}: one step of "
            "LBFGS makes max_iter of them, 20 if nothing is said."
        )
    if evaluations > most:
        return f"{EVALUATIONS} evaluations were allowed, and yours took {evaluations}."
    if len(watch.shown) > most:
        return (
            f"for {evaluations} gradients the network was asked {len(watch.shown)} times: ask for "
            "all six layers at once."
        )
    if not evaluations:
        return "no gradient ever came back to the picture: where is loss.backward()?"
    if not torch.allclose(watch.shown[0], photo, atol=1e-3):
        return "the first picture that the network sees is not the photo: begin with it."
    if torch.allclose(picture.detach(), photo, atol=1e-4):
        return (
            "this is the photo: the picture has not moved. Does the optimiser hold it, and is its "
            "step called?"
        )
    if picture.requires_grad:
        return "the picture still carries its graph: give back x.detach(), cut to [0, 1]."
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
        rows.append(torch.stack([slope.flatten() for slope in slopes], 1).cpu().double())
        aims.append(gradient.flatten().cpu().double())
    terms, whole = torch.cat(rows), torch.cat(aims)
    size = terms.square().sum(0).sqrt()
    found = torch.linalg.lstsq(terms / size, whole[:, None]).solution[:, 0]
    rest = float((whole - terms / size @ found).square().sum() / whole.square().sum())
    return size, found, rest


def _which_other(way: Sequence[Place], vgg: VGG, photo: Tensor, art: Tensor) -> str:
    """What a loss is, if it is one of the likely others."""
    kept, wanted = vgg(photo, "relu4_2")["relu4_2"], vgg(art, STYLE_LAYERS)

    def shares_of(
        gram: Callable[[Tensor], Tensor], error: Callable[[Tensor, Tensor], Tensor] = relative_error
    ) -> Callable[[Tensor], list[Tensor]]:
        targets = {name: gram(f) for name, f in wanted.items()}

        def shares(x: Tensor) -> list[Tensor]:
            f = vgg(x, ["relu4_2", *STYLE_LAYERS])
            styles = [error(gram(f[name]), targets[name]) for name in STYLE_LAYERS]
            return [relative_error(f["relu4_2"], kept), *styles]

        return shares

    others: dict[str, Callable[[Tensor], list[Tensor]]] = {
        "the Gram matrices are sums over positions, and the photo has another number of them than "
        "the artwork: divide each matrix by its own C·H·W, as in lesson 3.": (
            shares_of(lambda f: gram_matrix(f, "none"))
        ),
        "these are covariances: the means are taken off. A Gram matrix keeps them.": (
            shares_of(lambda f: gram_matrix(f - f.mean((2, 3), keepdim=True)))
        ),
        ".view or .reshape to (B, H·W, C) exchanges no axes, so that channels are mixed: use "
        ".flatten(2).": shares_of(
            lambda f: gram_matrix(f.reshape(len(f), *f.shape[2:], f.shape[1]).permute(0, 3, 1, 2))
        ),
        "each error of the style is divided by the picture's own sum of squares; divide by its "
        "target's.": shares_of(gram_matrix, lambda one, other: relative_error(other, one)),
        "absolute differences of Gram matrices are added; a share is made of squares.": (
            shares_of(gram_matrix, lambda one, other: (one - other).abs().flatten(1).sum(1))
        ),
    }
    for words, shares in others.items():
        if _made_of(way, shares)[2] < 0.01:
            return words
    plain = shares_of(gram_matrix)
    if all(_made_of([place], plain)[2] < 0.01 for place in way[2 :: max(1, len(way) // 3)]):
        return "roots or powers of the shares are added; the shares themselves are asked for."
    return ""


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
            "share, divided by the sum of squares of its own target. Or is it cut off, by "
            ".detach() or torch.no_grad()?"
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
    if 5 * low < 1:
        found = f"content to style is 1 to {5 * low:.3g}, where 1 to 40 was asked for"
        return f"{found}: the 40 belongs to the style."
    if not 36 < 5 * low < 44:
        return (
            f"the terms are right, but content to style is 1 to {5 * low:.3g} where 1 to 40 was "
            "asked for. Is the style a mean over the five layers, and are all errors plain shares, "
            "without the ½ and ¼ of the paper's equations?"
        )
    return ""

"""Exercises of lesson 4: one loss out of many, the closure, and a mixture of styles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from styletutor.lessons.exercise import Exercise, NoAnswer


def _total_loss(content: Tensor, styles: Tensor, alpha: float, beta: float) -> Tensor:
    """Eq. 7: α L_content + β Σ E_l / L, for content (B,) and styles (L, B) → (B,)."""
    total = alpha * content
    for loss in styles:
        total = total + beta * loss / len(styles)
    return total


check_total_loss = Exercise(
    name="total_loss",
    spec=_total_loss,
    cases=lambda random: [
        (torch.rand(b, generator=random), torch.rand(layers, b, generator=random), alpha, beta)
        for b, layers, alpha, beta in [(2, 5, 1.0, 80.0), (3, 2, 0.5, 7.0), (5, 3, 2.0, 0.1)]
    ],
    mistakes={
        "the style losses are added, not averaged: with more layers β would mean something else.": (
            lambda c, s, alpha, beta: alpha * c + beta * s.sum(0)
        ),
        "α and β are exchanged: α belongs to the content.": (
            lambda c, s, alpha, beta: beta * c + alpha * s.mean(0)
        ),
        "β is applied to everything; it belongs to the style only.": (
            lambda c, s, alpha, beta: beta * (alpha * c + s.mean(0))
        ),
        "the average also goes over the pictures of the batch; take it over the layers, axis 0.": (
            lambda c, s, alpha, beta: alpha * c + beta * s.mean()
        ),
        "the average is taken over the pictures instead of the layers.": (
            lambda c, s, alpha, beta: (alpha * c).mean() + beta * s.mean(1)
        ),
        "everything is added up to one number; each picture of the batch has a loss of its own.": (
            lambda c, s, alpha, beta: alpha * c.sum() + beta * s.mean(0).sum()
        ),
        "the style losses are added up over layers and pictures; average them over the layers, "
        "axis 0.": lambda c, s, alpha, beta: alpha * c + beta * s.sum(),
        "divided by the number of pictures; the average is over the layers.": (
            lambda c, s, alpha, beta: alpha * c + beta * s.sum(0) / s.shape[1]
        ),
        "only the last layer counts: a loop that says = where it should add up, +=?": (
            lambda c, s, alpha, beta: alpha * c + beta * s[-1] / len(s)
        ),
        "only the last layer counts.": lambda c, s, alpha, beta: alpha * c + beta * s[-1],
        "only the first layer counts.": lambda c, s, alpha, beta: alpha * c + beta * s[0],
        "the content is added once for each layer; it is there once.": (
            lambda c, s, alpha, beta: len(s) * alpha * c + beta * s.mean(0)
        ),
        "the content is added once for each layer, and the styles are not averaged.": (
            lambda c, s, alpha, beta: len(s) * alpha * c + beta * s.sum(0)
        ),
        "divided by α: only the ratio matters for the minimum, but here the loss itself is asked "
        "for.": lambda c, s, alpha, beta: c + beta / alpha * s.mean(0),
        "the content is missing its α.": lambda c, s, alpha, beta: c + beta * s.mean(0),
        "the style is missing its β.": lambda c, s, alpha, beta: alpha * c + s.mean(0),
        "α and β are made to sum to one. Only their ratio matters for the minimum, but here the "
        "loss itself is asked for.": (
            lambda c, s, alpha, beta: (alpha * c + beta * s.mean(0)) / (alpha + beta)
        ),
        "α is applied to everything; it belongs to the content only.": (
            lambda c, s, alpha, beta: alpha * (c + beta * s.mean(0))
        ),
        "divided by 5, however many layers there are: divide by their number.": (
            lambda c, s, alpha, beta: alpha * c + beta * s.sum(0) / 5
        ),
        "the content is averaged over the pictures; each has its own.": (
            lambda c, s, alpha, beta: alpha * c.mean() + beta * s.mean(0)
        ),
        "content and style are multiplied; add them.": (
            lambda c, s, alpha, beta: alpha * c * beta * s.mean(0)
        ),
    },
    praise="right for three sets of layers and weights, one number for each picture.",
    gradient=True,
)


def closure(x: Tensor, optimiser: torch.optim.Optimizer, loss: Callable[[Tensor], Tensor]) -> Any:
    """What `torch.optim.LBFGS` calls: clear, compute, go backward, return the loss."""

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(x)
        value.backward()
        return value

    return closure


def _run_closure(make: Callable[..., Any], start: Tensor) -> dict[str, Any] | None:
    """All that two calls do, the picture moved in between, as L-BFGS moves it.

    Each thing under what to say if it is another one; in the end, how often a gradient came back to
    x, and how often the loss was asked of a copy that is cut off from x.
    """
    x = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([x], lr=0.1)
    target = torch.linspace(-0.5, 1.5, x.numel()).view_as(x)
    came, copied = [], []
    x.register_hook(lambda gradient: came.append(1))

    def loss(image: Tensor) -> Tensor:
        copied.append(float(image is not x and image.is_leaf))
        return (image - target).square().sum()

    function = make(x, optimiser, loss)
    if function is None:
        return None
    if function is loss:
        raise NoAnswer("this is the loss itself; what comes back should be the closure.")
    if not callable(function):
        raise NoAnswer(
            "what comes back should be the closure, a function made inside by `def closure():` and "
            "returned without ()."
        )
    made = x.detach().clone()
    losses, gradients, places = [], [], []
    for _ in range(2):
        value = function()
        if value is loss:
            raise NoAnswer(
                "the closure returns the function `loss` itself; return the value that it gave."
            )
        said = torch.full((), torch.nan) if value is None else torch.as_tensor(value).detach()
        gradient = torch.zeros_like(x) if x.grad is None else x.grad
        losses.append(said.nan_to_num(-1.0))
        gradients.append(gradient.clone())
        places.append(x.detach().clone())
        x.data += 0.25
    return {
        "x is another one once the closure is made: leave it as it is.": made,
        "what the closure returns is not the loss of x where it stands.": torch.stack(losses),
        "x has moved during a call: leave it as it is.": torch.stack(places),
        "x.grad is not the gradient of the loss where x stands. Is something between x and the "
        "loss, or done to the gradient?": torch.stack(gradients),
        "the gradient does not come back to x once in each call.": len(came),
        "the loss is asked of a copy that is cut off from x.": sum(copied),
        "the loss is not computed once in each call: keep what loss(x) gives, go back from it, and "
        "return it.": len(copied),
    }


def _faulty(clear: str = "first", back: bool = True, returns: bool = True, cut: str = "never",
            step: bool = False, copy: bool = False, stale: bool = False) -> Any:  # fmt: skip
    def make(x: Tensor, optimiser: Any, loss: Any) -> Any:
        def cut_if(now: str) -> None:
            if cut == now:
                x.data.clamp_(0, 1)

        cut_if("outside")
        before = loss(x) if stale else None

        def closure() -> Any:
            cut_if("first")
            if clear == "first":
                optimiser.zero_grad()
            value = before if stale else loss(x.detach().requires_grad_() if copy else x)
            if back:
                value.backward(retain_graph=True)
            if clear == "last":
                optimiser.zero_grad()
            if step:
                optimiser.step()
            cut_if("last")
            return value if returns else None

        return closure

    return make


def _all_outside(x: Tensor, optimiser: Any, loss: Any) -> Any:
    optimiser.zero_grad()
    value = loss(x)
    value.backward()
    return lambda: value


check_closure = Exercise(
    name="closure",
    spec=closure,
    seen=_run_closure,
    cases=lambda random: [
        (torch.randn(1, 3, h, w, generator=random),) for h, w in [(2, 3), (4, 2), (3, 3)]
    ],
    mistakes={
        "gradients pile up: PyTorch adds each one to the last. Begin with optimiser.zero_grad().": (
            _faulty(clear="never")
        ),
        "the gradient is cleared after .backward(), so that it is gone when L-BFGS looks: "
        "optimiser.zero_grad() comes first.": _faulty(clear="last"),
        "the loss is asked of a copy that is cut off from x, so that the gradient goes to the "
        "copy: give x itself to loss.": _faulty(copy=True),
        "the loss was computed once, outside the closure. L-BFGS moves x and asks again: call "
        "loss(x) inside.": _faulty(stale=True),
        "loss and gradient were computed once, where the closure is made, and the old ones come "
        "back for ever. L-BFGS moves x and asks again: put all four duties inside.": _all_outside,
        "there is no gradient: the loss is computed, but nothing calls .backward().": (
            _faulty(back=False)
        ),
        "it returns nothing, so that L-BFGS cannot see how good the place is: return the loss.": (
            _faulty(returns=False)
        ),
        "it cuts the picture inside the closure. L-BFGS then learns from a gradient at another "
        "place than the one it went to: leave x as it is.": _faulty(cut="first"),
        "it cuts the picture after .backward(), still inside the closure: x is moved behind "
        "L-BFGS's back. Leave x as it is.": _faulty(cut="last"),
        "the picture is cut where the closure is made, before L-BFGS has begun: leave x as it "
        "is.": _faulty(cut="outside"),
        "it takes the step itself. The optimiser calls the closure, not the other way round.": (
            _faulty(step=True)
        ),
        "neither .backward() nor a return of the loss.": _faulty(back=False, returns=False),
        "gradients pile up, and nothing is returned: begin with optimiser.zero_grad() and end with "
        "the loss.": _faulty(clear="never", returns=False),
    },
    praise="called at two places it gives the loss and the gradient of each, and leaves the "
    "picture alone.",
)


def _blend(grams: Tensor, shares: Tensor) -> Tensor:
    """A = Σ b_n A_n of (S, C, C) with shares (S,), brought to a sum of one, → (C, C)."""
    total = torch.zeros_like(grams[0])
    for gram, share in zip(grams, shares, strict=True):
        total = total + gram * share / shares.sum()
    return total


def _weighted(grams: Tensor, shares: Tensor) -> Tensor:
    return (grams * shares[:, None, None]).sum(0)


check_blend = Exercise(
    name="blend",
    spec=_blend,
    cases=lambda random: [
        (torch.rand(n, c, c, generator=random), 3 * torch.rand(n, generator=random) + 0.2)
        for n, c in [(2, 3), (3, 4), (4, 2)]
    ],
    mistakes={
        "the shares have to sum to one: divide by their sum, or twice two styles are four.": (
            _weighted
        ),
        "this is the plain mean: the shares are not used.": lambda g, b: g.mean(0),
        "this is the plain sum: the shares are not used.": lambda g, b: g.sum(0),
        "weighted, but divided by the number of styles; divide by the sum of the shares.": (
            lambda g, b: _weighted(g, b) / len(g)
        ),
        "divided twice: by the sum of the shares and by the number of styles.": (
            lambda g, b: _weighted(g, b) / b.sum() / len(g)
        ),
        "the largest share is made 1; it is their sum that has to be 1.": (
            lambda g, b: _weighted(g, b) / b.max()
        ),
        "divided by the length of the vector of shares; divide by their sum.": (
            lambda g, b: _weighted(g, b) / b.norm()
        ),
        "only the last style counts: a loop that says = where it should add up, +=?": (
            lambda g, b: g[-1] * b[-1] / b.sum()
        ),
        "only the last style counts, and its share is not divided.": lambda g, b: g[-1] * b[-1],
        "only the first two styles are mixed; there may be more.": (
            lambda g, b: _weighted(g[:2], b[:2]) / b[:2].sum()
        ),
        "everything is added up to one number; a mixture is a matrix.": (
            lambda g, b: _weighted(g, b).sum() / b.sum()
        ),
        "these are the weighted matrices, not yet added up.": (
            lambda g, b: g * (b / b.sum())[:, None, None]
        ),
        "a softmax changes the shares: 2 to 1 would become 2.7 to 1.": (
            lambda g, b: _weighted(g, b.softmax(0))
        ),
        "this is the style with the largest share alone.": lambda g, b: g[b.argmax()],
        "with s and 1 − s two styles can be mixed, if the shares sum to one. There may be more, "
        "and they need not: divide by the sum.": lambda g, b: b[0] * g[0] + (1 - b[0]) * g[1],
        "only the first two styles are mixed, and the shares are not divided by their sum.": (
            lambda g, b: _weighted(g[:2], b[:2])
        ),
        "only the first two styles are mixed; a sum over all of them is asked for.": (
            lambda g, b: _weighted(g[:2], b[:2]) / b.sum()
        ),
        "divided by the sum of the matrices; divide by the sum of the shares.": (
            lambda g, b: _weighted(g, b) / g.sum()
        ),
        "the matrices are added up without their shares, and only then divided.": (
            lambda g, b: g.sum(0) / b.sum()
        ),
        "added up over the wrong axis: axis 0 counts styles.": (
            lambda g, b: (g * (b / b.sum())[:, None, None]).sum(1)
        ),
        "the shares are squared.": lambda g, b: _weighted(g, (b / b.sum()) ** 2),
    },
    praise="right for two, three and four styles, whatever the shares sum to.",
)

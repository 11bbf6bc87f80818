"""L-BFGS for a batch of independent pictures, one evaluation per step, nothing read back.

The method is Nocedal's, without a line search, as style transfer has always used it, in the compact
form of Byrd, Nocedal & Schnabel, "Representations of Quasi-Newton Matrices and Their Use in Limited
Memory Methods" (1994), Eq. 3.13: two passes over the stored pairs in place of four, and small
matrices between them. Every picture of the batch has its own curvature, step length and safeguard,
all chosen by masks on the device: a batch gives what single runs would, a step never waits for the
host, and as its state stays where it is, a step can be recorded as a CUDA graph.

L-BFGS corrects a first guess of the inverse Hessian, usually a multiple of the identity: all pixels
alike. For a transfer there is a better one, since losses on features bend more along short waves
than along long ones: a multiple of P, which damps the wave of f cycles per pixel by 1 / sqrt(1 +
(wavelength · f)²). These are steps in a Sobolev metric (Neuberger, "Sobolev Gradients and
Differential Equations", 1997). Losses and their minima stay what they are.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from styletutor.descent import launched, passes
from styletutor.descent.optimiser import Optimiser
from styletutor.machine import zeros_on_disk

TINY = 1e-30
CHUNK = 4096  # variables whose products are summed before they are added to the rest


def _norm(rows: Tensor) -> Tensor:
    """The length of each row: (B, N) → (B, 1)."""
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True)


class LBFGS(Optimiser):
    """State of a batched limited-memory BFGS descent; call `step` once per evaluation.

    `history` pairs of differences are kept per picture (memory: 2 · history + 11 pictures). The
    first step moves the variables by `first_step` in the root mean square: for pictures in [0, 1] a
    sensible length whatever the scale of the loss. No step moves them by more than `max_step`.
    With a `wavelength` in pixels, waves shorter than that are damped in the first guess, as said
    above, and the variables are pictures (B, …, H, W); at 0 none are.

    With `box=(low, high)` every point stays in the box. Variables at a bound whose gradient points
    outwards are left out of the step (two-metric projection, Bertsekas 1982), and curvature pairs
    are differences of the points really visited, so that clamping does not falsify them.

    A picture whose loss or gradient is not finite, or whose loss explodes (rises by half or more
    in one step), goes back to the point before, forgets its curvature and goes on with steps a
    quarter as long, which may grow again. The other pictures go on undisturbed.

    With `on_disk` all that it remembers is in files, for pictures on a CPU that are too large for
    memory; its `state` is without the pairs then, so that one that goes on from it begins
    to learn anew.
    """

    STATE = (
        "basis", "valid", "sy", "yy", "slot", "gamma", "trust", "noise", "fresh", "curved",
        "x", "f", "g", "free",
    )  # fmt: skip
    LIKE = ("x", "f")

    def __init__(
        self,
        history: int = 8,
        first_step: float = 0.02,
        max_step: float = 0.1,
        box: tuple[float, float] | None = None,
        wavelength: float = 0.0,
        on_disk: bool = False,
    ) -> None:
        if history < 1:
            raise ValueError(f"history={history}, but L-BFGS needs at least one curvature pair")
        self.history, self.first_step, self.max_step, self.box = history, first_step, max_step, box
        self.wavelength, self.on_disk = wavelength, on_disk
        self.basis: Tensor | None = None
        self.damping: Tensor | None = None

    @torch.no_grad()
    def step(self, x: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """The next point to evaluate, of the shape of `x`; no argument is changed.

        `loss` (B,) and `gradient` (B, …) belong to `x` (B, …), which is the point that the
        previous step returned (any point at first, and after `restart`).
        """
        shape, x, g = x.shape, x.flatten(1), gradient.flatten(1)
        f = loss.unsqueeze(1).to(x.dtype)
        if self.basis is None:
            self._allocate(x, f)
        return self._move(self._learn(x, f, g, shape)).view(shape)

    @torch.no_grad()
    def restart(self, keep_curvature: bool = False) -> None:
        """Forget the point before, as another objective makes it; and what was learnt from all."""
        if self.basis is not None:
            self.fresh.fill_(True)
            self.g.zero_()
            if not keep_curvature:
                self.valid.zero_()
                self.curved.zero_()
                self.trust.fill_(1)

    def _allocate(self, x: Tensor, f: Tensor) -> None:
        batch, size = x.shape
        m = self.history
        # Ring buffers of differences of points s and of gradients P y, then the present P g, and
        # the newest s, y and g; the end is padded with zeros to whole chunks.
        padded = -(-size // CHUNK) * CHUNK
        zeros = partial(zeros_on_disk, dtype=x.dtype) if self.on_disk else x.new_zeros
        self.basis, self.new = zeros(2 * m + 1, batch, padded), zeros(3, batch, padded)
        self.valid = x.new_zeros(batch, m)  # 1 for a pair of good curvature, else 0
        self.pairs = x.new_zeros(batch, 2 * m, m)
        self.sy = self.pairs[:, :m]  # s_i · y_j where j is not older than i
        self.yy = self.pairs[:, m:]  # y_i · P y_j
        self.identity = torch.eye(2 * m, m, dtype=x.dtype, device=x.device).view(2, m, m)
        self.slot = torch.zeros(1, dtype=torch.long, device=x.device)  # where the newest pair goes
        self.places = torch.tensor([_places(slot, m) for slot in range(m)], device=x.device)
        self.first = x.new_tensor(self.first_step * size**0.5)  # length of the first step
        self.gamma = torch.ones_like(f)  # scale of the inverse Hessian
        self.trust = torch.ones_like(f)  # 1, or less after a failure
        self.noise = torch.zeros_like(f)  # rises as small as rounding are not explosions
        self.fresh = torch.ones_like(f, dtype=torch.bool)  # there is no point before
        self.masks = self.fresh.new_zeros(3, batch, 1)
        self.curved = torch.zeros_like(self.fresh)  # has had a good pair since the last failure
        self.x, self.g, self.free = (zeros(batch, size) for _ in range(3))
        self.x.copy_(x)
        self.f = f.clone()
        self.ends = None if self.box is None else x.new_tensor(self.box)
        self.passes = launched if launched.serves(x) else passes

    def state(self) -> dict[str, Tensor]:
        values = super().state()
        if self.on_disk:
            values.pop("basis", None)
        return values

    def load_state(self, state: dict[str, Tensor]) -> None:
        super().load_state(state)
        if state and "basis" not in state:
            self.restart()

    def _learn(self, x: Tensor, f: Tensor, g: Tensor, shape: torch.Size) -> Tensor:
        """Take in what was evaluated; a picture that failed gets its last good point back.

        Returns what `_inner` does.
        """
        self.passes.judge(f, _norm(g), self.f, self.noise, self.trust, self.fresh, self.masks)
        self.passes.take_in(x, g, self.masks, self.x, self.g, self.free, self.new, self.ends)
        m, slot = self.history, self.slot
        slot.add_(1).remainder_(m)
        places = self.places.index_select(0, slot).squeeze(0)
        rows, *self.order = places.split([3, 2 * m, 2 * m + 1])
        self.basis.index_copy_(0, rows, self.new)
        if self.wavelength:
            self._learn_damped(self.new[1:, :, : x.shape[1]].unflatten(2, shape[1:]), rows[1:])
        inner = self._inner()
        kept = self.gamma, self.curved, self.valid, self.pairs
        self.passes.learn(inner, self.slot, self.masks, *kept)
        return inner

    def _learn_damped(self, pictures: Tensor, rows: Tensor) -> None:
        """Put P times pictures (K, B, …, H, W) into K rows of the basis."""
        size = self.x.shape[1]
        if not self.on_disk:
            self.basis[:, :, :size].index_copy_(0, rows, self._damp(pictures).flatten(2))
            return
        for row, batch in zip(rows.tolist(), pictures, strict=True):
            for to, picture in zip(self.basis[row, :, :size], batch, strict=True):
                planes = picture.flatten(0, -3)
                for there, plane in zip(to.view_as(planes), planes, strict=True):
                    there.copy_(self._damp(plane))

    def _inner(self) -> Tensor:
        """Inner products of the basis with its newest rows: (B, 2 · history + 1, 3)."""
        chunks = [rows.unflatten(2, (-1, CHUNK)).flatten(1, 2) for rows in (self.new, self.basis)]
        inner = torch.bmm(chunks[0].transpose(0, 1), chunks[1].permute(1, 2, 0))
        return inner.unflatten(0, (len(self.x), -1)).sum(1).mT

    def _damp(self, pictures: Tensor) -> Tensor:
        """P times pictures (…, H, W)."""
        height, width = size = pictures.shape[-2:]
        if self.damping is None:
            like = {"device": pictures.device, "dtype": pictures.dtype}
            down, across = torch.fft.fftfreq(height, **like), torch.fft.rfftfreq(width, **like)
            squares = down.square().unsqueeze(1) + across.square()
            self.damping = (1 + self.wavelength**2 * squares).rsqrt()
        return torch.fft.irfft2(torch.fft.rfft2(pictures) * self.damping, s=size)

    def _move(self, inner: Tensor) -> Tensor:
        """The next point, against H g, which is limited in length: (B, N)."""
        steepest = self.first / _norm(self.basis[-1]).clamp_(min=TINY)
        weights = torch.where(self.curved, self.gamma, steepest)
        weights = self._correction(inner[:, :-1, 2], weights) * self.trust
        way = torch.bmm(weights.unsqueeze(1), self.basis.transpose(0, 1)).squeeze(1)
        length = _norm(way).mul_(1 / (self.g.shape[1] ** 0.5 * self.max_step))
        return self.passes.move(self.x, way, length, self.free, self.ends)

    def _correction(self, inner: Tensor, weights: Tensor) -> Tensor:
        """What multiplies each s and P y in H g, from their products with g, and P g, whose weight
        is given: (B, 2m + 1)."""
        m, gamma = self.history, self.gamma.unsqueeze(2)
        oldest_first, back = self.order
        valid = self.valid.index_select(1, oldest_first[:m]).unsqueeze(1)
        pairs = self.pairs.index_select(1, oldest_first).index_select(2, oldest_first[:m])
        # A pair that is not valid is a row and a column of the identity: it changes nothing.
        both = torch.logical_and(valid.mT, valid).unsqueeze(1)
        sy, yy = torch.where(both, pairs.unflatten(1, (2, m)), self.identity).unbind(1)
        products = inner.index_select(1, oldest_first).unflatten(1, (2, m)).mul_(valid)
        sg, yg = products.unsqueeze(3).unbind(1)
        u = torch.linalg.solve_triangular(sy, sg, upper=True)
        w = torch.baddbmm(yg, yy, u, beta=-1).mul_(gamma)
        w = torch.addcmul(w, sy.diagonal(dim1=1, dim2=2).unsqueeze(2), u)
        on_s = torch.linalg.solve_triangular(sy.mT, w, upper=False)
        every = torch.cat([on_s.squeeze(2), (u * gamma).squeeze(2).neg_(), weights], 1)
        return every.index_select(1, back)

    def __repr__(self) -> str:
        return f"LBFGS(history={self.history}, box={self.box})"


def _places(slot: int, m: int) -> list[int]:
    """Where things are in the basis when the newest pair is at `slot` of m: that pair and P g; all
    pairs, oldest first; and the way back from that order, with P g at the end."""
    order = [(place + slot + 1) % m for place in range(m)]
    back = [(place - slot - 1) % m for place in range(m)]
    second = [[place + m for place in places] for places in (order, back)]
    return [slot, slot + m, 2 * m, *order, *second[0], *back, *second[1], 2 * m]

"""L-BFGS for a batch of independent pictures, one evaluation per step, nothing read back.

The method is Nocedal's (Nocedal & Wright, "Numerical Optimization", Algorithms 7.4 and 7.5),
without a line search, as style transfer has always used it. Every picture of the batch has its own
curvature, step length and safeguard, all chosen by masks on the device: a batch gives what single
runs would, and a step never waits for the host.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-30


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each row: (B, N) · (B, N) → (B, 1)."""
    return torch.linalg.vecdot(a, b).unsqueeze(1)


class LBFGS:
    """State of a batched limited-memory BFGS descent; call `step` once per evaluation.

    `history` pairs of differences are kept per picture (memory: 2 · history + 4 pictures). The
    first step moves the variables by `first_step` in the root mean square: for pictures in [0, 1] a
    sensible length whatever the scale of the loss. No step moves them by more than `max_step`.

    With `box=(low, high)` every point stays in the box. Variables at a bound whose gradient points
    outwards are left out of the step (two-metric projection, Bertsekas 1982), and curvature pairs
    are differences of the points really visited, so that clamping does not falsify them.

    A picture whose loss or gradient is not finite, or whose loss explodes (rises by half or more
    in one step), goes back to the point before, forgets its curvature and goes on with steps a
    quarter as long, which may grow again. The other pictures go on undisturbed.
    """

    def __init__(
        self,
        history: int = 12,
        first_step: float = 0.02,
        max_step: float = 0.1,
        box: tuple[float, float] | None = None,
    ) -> None:
        if history < 1:
            raise ValueError(f"history={history}, but L-BFGS needs at least one curvature pair")
        self.history, self.first_step, self.max_step, self.box = history, first_step, max_step, box
        self.steps = 0

    @torch.no_grad()
    def step(self, x: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """The next point to evaluate, of the shape of `x`; no argument is changed.

        `loss` (B,) and `gradient` (B, …) belong to `x` (B, …), which is the point that the
        previous step returned (any point at first). When the objective changes, begin a new LBFGS.
        """
        shape, x, f, g = x.shape, x.flatten(1), loss.unsqueeze(1), gradient.flatten(1)
        if self.steps == 0:
            g = torch.nan_to_num(g, nan=0.0, posinf=0.0, neginf=0.0)  # there is no way back yet
            self._start(x, f)
        else:
            x, f, g = self._learn(x, f, g)
        self.steps += 1
        self.x, self.f, self.g = x, f, g
        self.free = self._free(x, g)
        x = x + self._move(g * self.free) * self.free
        return (x if self.box is None else x.clamp(*self.box)).view(shape)

    def _start(self, x: Tensor, f: Tensor) -> None:
        self.s = x.new_zeros(self.history, *x.shape)  # differences of points, a ring buffer
        self.y = torch.zeros_like(self.s)  # differences of gradients
        self.rho = x.new_zeros(self.history, len(x), 1)  # 1 / s·y, or 0: no such pair
        self.gamma = torch.ones_like(f)  # scale of the inverse Hessian
        self.trust = torch.ones_like(f)  # 1, or less after a failure
        self.curved = torch.zeros_like(f, dtype=torch.bool)  # has any curvature pair
        # Rises as small as rounding are not explosions.
        self.noise = torch.where(torch.isfinite(f), 1e-6 * f.abs(), 0)

    def _learn(self, x: Tensor, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take in what was evaluated; a picture that failed gets its last good point back."""
        exploded = f > self.f + 0.5 * self.f.abs() + self.noise
        failed = exploded | ~torch.isfinite(f) | ~torch.isfinite(_dot(g, g))
        x, f, g = (torch.where(failed, *p) for p in ((self.x, x), (self.f, f), (self.g, g)))
        # Variables that could not move say nothing about the curvature along the step.
        s, y = x - self.x, (g - self.g) * self.free
        sy, ss, yy = _dot(s, y), _dot(s, s), _dot(y, y)
        good = (sy > 1e-5 * (ss * yy).sqrt()) & torch.isfinite(sy / yy)
        slot = (self.steps - 1) % self.history
        self.s[slot], self.y[slot] = s, y
        self.rho[slot] = torch.where(good, 1 / sy, 0)
        self.rho.masked_fill_(failed, 0)
        self.gamma = torch.where(good, sy / yy, self.gamma)
        self.curved = (self.curved | good) & ~failed
        self.trust = torch.where(failed, self.trust / 4, self.trust * 2).clamp(1e-6, 1)
        return x, f, g

    def _free(self, x: Tensor, g: Tensor) -> Tensor:
        """1 where a variable may move against its gradient, 0 where the box forbids it."""
        if self.box is None:
            return torch.ones_like(x[:1, :1])
        low, high = self.box
        return (((x > low) | (g < 0)) & ((x < high) | (g > 0))).to(x.dtype)

    def _move(self, g: Tensor) -> Tensor:
        """The step from the present point, limited in length: (B, N)."""
        rms = g.shape[1] ** 0.5
        steepest = g * (self.first_step * rms / _dot(g, g).sqrt().clamp(min=TINY))
        move = torch.where(self.curved, self._inverse_hessian(g), steepest) * self.trust
        length = _dot(move, move).sqrt() / rms
        return -move * (self.max_step / length.clamp(min=self.max_step))

    def _inverse_hessian(self, g: Tensor) -> Tensor:
        """H g by the two-loop recursion (Nocedal & Wright, Algorithm 7.4)."""
        oldest = max(0, self.steps - 1 - self.history)
        slots = [i % self.history for i in range(oldest, self.steps - 1)]
        q, alphas = g, {}
        for i in reversed(slots):
            alphas[i] = self.rho[i] * _dot(self.s[i], q)
            q = q - alphas[i] * self.y[i]
        q = self.gamma * q
        for i in slots:
            beta = self.rho[i] * _dot(self.y[i], q)
            q = q + (alphas[i] - beta) * self.s[i]
        return q

    def __repr__(self) -> str:
        return f"LBFGS(history={self.history}, box={self.box}, after {self.steps} steps)"

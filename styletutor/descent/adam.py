"""Adam for a batch of pictures in a box, with its state on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from styletutor.descent.optimiser import Optimiser


class Adam(Optimiser):
    """Kingma & Ba, "Adam: A Method for Stochastic Optimization" (2015), Algorithm 1.

    `learning_rate` is in units of the
    variables. A gradient that is not finite counts as 0. With `box=(low, high)` every point is
    brought into the box. `decay=(factor, every)` multiplies the learning rate by `factor` after
    every so many steps.
    """

    STATE, LIKE = ("first", "second", "steps"), ("first",)

    def __init__(
        self,
        learning_rate: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        box: tuple[float, float] | None = None,
        decay: tuple[float, int] | None = None,
    ) -> None:
        self.learning_rate, self.betas, self.epsilon, self.box = learning_rate, betas, epsilon, box
        self.decay = decay
        self.first: Tensor | None = None

    @torch.no_grad()
    def step(self, x: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """The next point to evaluate, of the shape of `x`; no argument is changed.

        `gradient` (B, …) belongs to `x` (B, …); `loss` is not needed.
        """
        g = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        if self.first is None:
            self._allocate(g)
        self.first.lerp_(g, 1 - self.betas[0])
        self.second.mul_(self.betas[1]).addcmul_(g, g, value=1 - self.betas[1])
        first, second = -torch.expm1(self.steps.add_(1) * self.logarithms)  # 1 - βᵗ
        size = (self.second / second).sqrt_().add_(self.epsilon)
        rate = self.learning_rate / first
        if self.decay is not None:
            factor, every = self.decay
            rate = rate * factor ** ((self.steps - 1) / every).floor()
        x = x - rate * self.first / size
        return x if self.box is None else x.clamp_(*self.box)

    def restart(self, keep_curvature: bool = False) -> None:
        """Forget what was learnt, as another objective makes it; not if `keep_curvature`."""
        if self.first is not None and not keep_curvature:
            self.first.zero_()
            self.second.zero_()
            self.steps.zero_()

    def _allocate(self, like: Tensor) -> None:
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)
        self.steps = like.new_zeros(1)
        self.logarithms = (
            torch.tensor(self.betas, dtype=torch.float64).log().to(like.dtype).to(like.device)
        )

    def __repr__(self) -> str:
        return f"Adam({self.learning_rate}, box={self.box})"

"""How a picture is moved downhill: by which optimiser, in which precision, through which sizes."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from styletutor.descent.adam import Adam
from styletutor.descent.lbfgs import LBFGS
from styletutor.descent.optimiser import Optimiser
from styletutor.descent.stages import HUGE
from styletutor.machine import multiplies_bfloat16
from styletutor.pictures.images import is_whole

BOX = (0.0, 1.0)
EVALUATIONS = 200  # that a descent makes if nothing else is said
LARGE = 256  # pixels: shorter sides than this begin at full size
OPTIMISERS = ("lbfgs", "adam")
PRECISIONS = ("auto", "exact", "fast")


@dataclass(frozen=True, kw_only=True)
class Method:
    """All that `descend` is told of the way, as data that has checked itself.

    `optimiser` is "lbfgs", which needs no learning rate (`wavelength` is explained at
    `lbfgs.LBFGS`), or "adam", for which `learning_rate` is the step in units of the pixels' range
    (`betas`, `epsilon` and `decay` are explained at `adam.Adam`). With `clamp` every picture stays
    in [0, 1].

    `precision` is "exact" (float32 throughout, no TF32) or "fast": features and the network's
    weights in bfloat16, Gram matrices, losses and optimiser in float32, and the last fifth of the
    evaluations in float32, on CUDA with convolutions in TF32. What that costs in the final loss,
    with the same 200 evaluations on three pairs of pictures at 224 pixels: from the content picture
    -0.1 to +0.1 % with VGG-19's published early blocks and at most +0.3 % with the pocket network;
    from noise +0.4 to +1.3 % and at most +1.4 %. A reconstruction from an early layer, whose error
    becomes tiny, notices it more: about a decibel from relu2_1. TF32 in the end, its rounding
    imitated on a CPU, changed the loss of three transfers by -0.01 to -0.04 %; reconstructions lost
    .06 dB of 25 from relu2_1 and .9 dB of 35 from relu1_1. "auto" is fast where the device
    multiplies bfloat16 numbers natively. TF32 that a program has allowed, by PyTorch's old switches
    or its new ones, is not used in an exact step and allowed again after it.

    With `coarse_to_fine` a descent begins with smaller pictures, of half the size for each step
    down as long as the shorter side has 64 pixels. Up to 1024 pixels half of an equal share of the
    evaluations goes to each coarse size, the rest to the full one (`stages.plan_stages`). All
    pictures of the objective shrink alike, so that strokes keep their size in the picture. None
    means: where it wins, which is from noise and for large pictures. With `on_disk` L-BFGS has what
    it remembers in a file (CPU only).

    Raises ValueError for what cannot be followed.
    """

    optimiser: str = "lbfgs"
    learning_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    decay: tuple[float, int] | None = None
    clamp: bool = True
    wavelength: float = 0.0
    precision: str = "exact"
    coarse_to_fine: bool | None = False
    on_disk: bool = False

    def __post_init__(self) -> None:
        for name, known in (("optimiser", OPTIMISERS), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose {' or '.join(known)}")
        for name in ("learning_rate", "epsilon"):
            value = getattr(self, name)
            if not (isinstance(value, numbers.Real) and 0 < value < float("inf")):
                raise ValueError(f"{name}={value}; it must be a finite number above 0")
        if not all(isinstance(beta, numbers.Real) and 0 <= beta < 1 for beta in self.betas):
            betas = tuple(self.betas)
            raise ValueError(f"betas={betas}; they must be two numbers of at least 0, below 1")
        if not (self.coarse_to_fine is None or isinstance(self.coarse_to_fine, bool)):
            raise ValueError(
                f"coarse_to_fine={self.coarse_to_fine!r}; it must be True, False or None"
            )

    def settled(self, device: torch.device, start: object, size: Sequence[int]) -> Method:
        """With what "auto" and None mean on a device, from a `start` ("noise" or another) and at a
        size (H, W)."""
        precision, coarse = self.precision, self.coarse_to_fine
        if precision == "auto":
            precision = "fast" if multiplies_bfloat16(device) else "exact"
        if coarse is None:
            from_noise = isinstance(start, str) and start == "noise"
            coarse = (from_noise and min(size) >= LARGE) or min(size) > HUGE
        return replace(self, precision=precision, coarse_to_fine=coarse)

    def make_optimiser(self) -> Optimiser:
        """A new optimiser, which has learnt nothing yet."""
        box = BOX if self.clamp else None
        if self.optimiser == "adam":
            return Adam(self.learning_rate, self.betas, self.epsilon, box, self.decay)
        return LBFGS(box=box, wavelength=self.wavelength, on_disk=self.on_disk)


def check_evaluations(evaluations: int) -> None:
    """Raise ValueError unless it is a budget."""
    if not is_whole(evaluations) or evaluations < 1:
        raise ValueError(f"evaluations={evaluations}; it must be a whole number of at least 1")

"""In which units a system counts its losses, so that its weights can be read and translated.

All systems that compare Gram matrices minimise the same thing, sums of squares Σ (F - P)² of
features and Σ (G - A)² of Gram matrices, each times a factor of its own. G is divided by N·M here.
Such a factor depends on where it is: a layer with N channels and M positions, in a picture with K
pixels. Weights of one system mean nothing in another until its factors are known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from styletutor.loss.losses import HALF, QUARTER, VARIATIONS

STATISTICS = ("gram", "covariance", "wasserstein", "sliced")  # what `statistics` can measure
SHARE = "share"  # of the target's own sum of squares: no unit, so it serves every layer and size


@dataclass(frozen=True)
class Place:
    """A layer of a network, for a picture of a certain size."""

    channels: int  # N
    positions: int  # M
    pixels: int  # K


Factor = Callable[[Place], float]

# What Σ (F - P)² is multiplied by.
CONTENT_UNITS: dict[str, Factor] = {
    "paper": lambda place: HALF,  # Gatys et al. (2016), Eq. 1
    "mean": lambda place: 1 / (place.channels * place.positions),
    "sum": lambda place: 1.0,
}

# What Σ (G - A)² is multiplied by, or another distance between two styles.
STYLE_UNITS: dict[str, Factor] = {
    "paper": lambda place: QUARTER,  # Eq. 4: Σ (N M (G - A))² / (4 N² M²)
    "mean": lambda place: 1 / place.channels**2,  # the mean over the matrix
    "sum": lambda place: 1.0,
    "mean over channels": lambda place: 1 / place.channels,
    # Keras' example: as Eq. 4 with 3 for N and K for M in the divisor, at every layer.
    "keras": lambda place: (place.channels * place.positions / (6 * place.pixels)) ** 2,
}


@dataclass(frozen=True, kw_only=True)
class Units:
    """How an objective counts.

    `content` and `style` name a row of CONTENT_UNITS and STYLE_UNITS, or are "share". `statistic`
    is what is compared of a style (see `statistics`), `variation` a kind of
    `losses.total_variation`, of pixels times `pixel_scale` (one number, or one for each of R, G and
    B). With `average` the weights of a term's layers are scaled to sum to 1, else they are taken as
    they are. Several styles aim at one blend of their statistics, or, with `blend_losses`, at a
    blend of their losses: the same gradient, but a loss that is larger by a constant.
    """

    content: str = SHARE
    style: str = SHARE
    statistic: str = "gram"
    variation: str = "mean-squares"
    pixel_scale: float | tuple[float, float, float] = 1.0
    average: bool = True
    blend_losses: bool = False

    def __post_init__(self) -> None:
        for what, name, rows in (
            ("content unit", self.content, (SHARE, *CONTENT_UNITS)),
            ("style unit", self.style, (SHARE, *STYLE_UNITS)),
            ("statistic", self.statistic, STATISTICS),
            ("variation", self.variation, VARIATIONS),
        ):
            if name not in rows:
                raise ValueError(f"unknown {what} {name!r}; choose one of {', '.join(rows)}")


SHARES = Units()

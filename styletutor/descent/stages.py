"""How a budget of evaluations is spread over picture sizes and precisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_SHRINK = 64
SMALLEST = 64  # pixels: no coarse picture has a shorter side
HUGE = 1024  # pixels: beyond it the small sizes do most of the work,
FULL_SHARE = 512  # those up to this one with equal shares, and each larger one with fewer
POLISH = 0.2  # share of the evaluations at full size that a fast descent makes in full precision


@dataclass(frozen=True)
class Stage:
    """Evaluations at a size `shrink` times smaller than the whole, in one precision."""

    shrink: int
    evaluations: int
    precision: str


def plan_stages(
    size: Sequence[int],
    evaluations: int,
    precision: str,
    coarse_to_fine: bool,
    most_shrink: int = MAX_SHRINK,
) -> Iterator[Stage]:
    """The stages of a descent at `size` (H, W), of `evaluations` in all.

    Each coarse size gets half of an equal share, the full one the rest. Of a picture whose shorter
    side has more than 1024 pixels, all sizes up to 512 get the same, and a larger one so much less
    as its side is longer: the strokes are there already, and an evaluation costs by the area.
    """
    shrinks, most_shrink = [1], min(most_shrink, min(size) // SMALLEST)
    while coarse_to_fine and 2 * shrinks[0] <= most_shrink:
        shrinks.insert(0, 2 * shrinks[0])
    weights = [0.5] * len(shrinks)
    whole = float(len(shrinks))
    if min(size) > HUGE:
        weights = [min(1.0, FULL_SHARE * shrink / min(size)) for shrink in shrinks]
        whole = sum(weights)
    budget = evaluations
    for shrink, weight in zip(shrinks[:-1], weights, strict=False):
        if share := int(budget * weight / whole):
            yield Stage(shrink, share, precision)
            evaluations -= share
    exact = evaluations if precision == "exact" else max(1, round(POLISH * evaluations))
    if evaluations > exact:
        yield Stage(1, evaluations - exact, "fast")
    yield Stage(1, exact, "exact")

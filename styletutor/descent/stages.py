"""How a budget of evaluations is spread over picture sizes and precisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_SHRINK = 64
SMALLEST = 64  # pixels: no coarse picture has a shorter side
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
    """The stages of a descent at `size` (H, W), of `evaluations` in all."""
    shrinks, most_shrink = [1], min(most_shrink, min(size) // SMALLEST)
    while coarse_to_fine and 2 * shrinks[0] <= most_shrink:
        shrinks.insert(0, 2 * shrinks[0])
    share = evaluations // (2 * len(shrinks))
    for shrink in shrinks[:-1] if share else ():
        yield Stage(shrink, share, precision)
        evaluations -= share
    exact = evaluations if precision == "exact" else max(1, round(POLISH * evaluations))
    if evaluations > exact:
        yield Stage(1, evaluations - exact, "fast")
    yield Stage(1, exact, "exact")

"""What a GPU has to reach, judged by what was measured on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from styletutor.cookbook.published import STYLE_LAYERS
from styletutor.network.layers import FULL_WIDTH, layer_table

Found = Mapping[str, Sequence[Mapping]]  # part → its rows


@dataclass(frozen=True)
class Goal:
    """`value` of what was found is to be at most (or at least) `limit`; None: not measured."""

    text: str
    value: Callable[[Found], float | None]
    limit: float
    at_least: bool = False

    def judge(self, found: Found) -> tuple[float | None, str]:
        """The value, and PASS, FAIL or "not measured"."""
        value = self.value(found)
        if value is None:
            return None, "not measured"
        good = value >= self.limit if self.at_least else value <= self.limit
        return value, "PASS" if good else "FAIL"


def work(side: int) -> float:
    """Floating-point operations of an evaluation's convolutions, forward and backward."""
    table = layer_table(FULL_WIDTH)
    deepest = max(layer.name for layer in table if layer.name in STYLE_LAYERS)
    chain = table[: [layer.name for layer in table].index(deepest) + 1]
    return sum(2 * 2 * row.parameters * (side // row.stride) ** 2 for row in chain)


def row(found: Found, part: str, **wanted: object) -> Mapping:
    """The first row of a part with these values; empty if there is none."""
    rows = found.get(part, ())
    return next((r for r in rows if all(r.get(k) == v for k, v in wanted.items())), {})


def ms(found: Found, side: int, **wanted: object) -> float | None:
    """Of a row of the part `sizes`; of a step that was to be recorded only if it was."""
    timed = row(found, "sizes", side=side, **wanted)
    return timed.get("ms") if timed.get("graph", False) == timed.get("recorded", False) else None


def fast(found: Found, side: int) -> float | None:
    """Milliseconds of a recorded step of L-BFGS in bfloat16."""
    how = {"optimiser": "lbfgs", "precision": "fast", "recorded": True}
    return ms(found, side, loop="ours", **how)


def over_plain(found: Found, precision: str) -> float | None:
    """The same at 512 pixels over the plain loop's."""
    ours, plain = fast(found, 512), ms(found, 512, loop="plain", precision=precision)
    return ours / plain if ours and plain else None


def share_of_rate(found: Found) -> float | None:
    """How much of the rate of matrix products the convolutions have at 1024 pixels."""
    took, key = fast(found, 1024), "bf16 product, TFLOP/s"
    rate = next((r[key] for r in found.get("rates", ()) if key in r), None)
    return work(1024) / (took / 1000) / (rate * 1e12) if took and rate else None


def in_profile(found: Found, side: int, what: str) -> float | None:
    """Of the whole of a recorded step of L-BFGS."""
    rows = found.get("profile", ())
    whole = (r for r in rows if what in r and "class" not in r)
    how = (side, "lbfgs")
    return next((r[what] for r in whole if (r["side"], r["optimiser"]) == how), None)


def failures(found: Found) -> float | None:
    """Of the tests that need a GPU: how many failed; None if none passed."""
    end = next((r for r in found.get("tests", ()) if "tests" in r), {})
    ran = end.get("passed", 0) + end.get("failed", 0) + end.get("error", 0)
    return end.get("failed", 0) + end.get("error", 0) if ran else None


def forecast(found: Found) -> float | None:
    """How far the forecast of memory is from the peak, at worst."""
    key = "forecast over it"
    ratios = [r[key] for r in found.get("memory", ()) if key in r]
    return max((abs(ratio - 1) for ratio in ratios), default=None)


def memory_errors(found: Found) -> float | None:
    """Of both runs under compute-sanitizer."""
    errors = [r["errors"] for r in found.get("memcheck", ()) if "errors" in r and r["five"]]
    return sum(errors) if len(errors) == 2 else None


GOALS = (
    Goal("tests on the GPU that fail", failures, 0),
    Goal("512 px, fast: ms per evaluation (an H100's goal)", lambda f: fast(f, 512), 1.5),
    Goal("512 px, fast: of the plain loop in float32", lambda f: over_plain(f, "ieee"), 1 / 8),
    Goal("512 px, fast: of the plain loop in TF32", lambda f: over_plain(f, "tf32"), 1 / 4),
    Goal("1024 px, fast: share of the bfloat16 matrix rate", share_of_rate, 0.4, at_least=True),
    Goal("256 px, fast: gaps between kernels", lambda f: in_profile(f, 256, "gaps"), 0.05),
    Goal("kernels per recorded step", lambda f: in_profile(f, 256, "kernels"), 150),
    Goal(
        "Figure 1 as a batch, over ten runs",
        lambda f: next((r["ratio"] for r in f.get("figure", ()) if "ratio" in r), None),
        1 / 4,
    ),
    Goal("forecast of memory: furthest from the peak", forecast, 0.2),
    Goal("errors that memcheck finds", memory_errors, 0),
)


def sizes_table(found: Found) -> list[str]:
    """Milliseconds per evaluation of L-BFGS, as benchmarks/RESULTS.md has them."""
    ours = {"loop": "ours", "optimiser": "lbfgs", "recorded": True}
    columns = {"plain, float32": {"loop": "plain", "precision": "ieee"}}
    columns["plain, TF32"] = {"loop": "plain", "precision": "tf32"}
    for name, precision in (("exact", "exact"), ("exact but in TF32", "tf32"), ("fast", "fast")):
        columns[name] = {**ours, "precision": precision}
    lines = [f"| pixels | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for side in sorted({each["side"] for each in found.get("sizes", ()) if "side" in each}):
        took = [ms(found, side, **how) for how in columns.values()]
        cells = ["" if value is None else f"{value:.4g}" for value in took]
        lines.append(f"| {side} × {side} | {' | '.join(cells)} |")
    return lines

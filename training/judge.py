"""Judge the pocket network beside untrained ones, by the real VGG-19: `make pocket-report`.

Every network paints the same pairs of pictures with the same budget. The published network, of
which blocks 1 to 3 suffice, then measures how much of the distance to the style is left and how far
the content has moved. Tables and contact sheets go to a folder.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, permutations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.stats import wasserstein_distance
from skimage.color import rgb2lab
from torch import Tensor
from tqdm import tqdm

import styletutor as st
from styletutor.cookbook.published import STYLE_LAYERS, recipes
from styletutor.descent import descend
from styletutor.network.layers import FULL_WIDTH
from styletutor.network.vgg import VGG
from styletutor.network.weights import untrained
from styletutor.plots import picture_grid

EARLY_STYLE, EARLY_CONTENT = STYLE_LAYERS[:3], "relu3_4"
PAIRS = (
    ("astronaut", "swirling-strokes"),
    ("chelsea", "impasto-field"),
    ("coffee", "stained-glass"),
    ("rocket", "stripe-woodcut"),
    ("camera", "wave-print"),
    ("motorcycle-left", "voronoi-mosaic"),
    ("astronaut", "pointillist-dots"),
    ("chelsea", "marbled-paper"),
)
DEPTHS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")


@dataclass(frozen=True)
class Verdict:
    """One picture as the judge sees it.

    `style` is the distance of its Gram matrices to the style's as a share of the content picture's
    own, `content` ‖F - P‖² / ‖P‖² at relu3_4, `colour` the distance of its colours to the style's
    as a share of the content picture's own.
    """

    style: float
    content: float
    colour: float

    def __str__(self) -> str:
        return f"{self.style:.3f} / {self.content:.2f}"


class Judge:
    """Measures pictures of one pair by the early blocks of `vgg`."""

    @torch.no_grad()
    def __init__(self, vgg: VGG, content: Tensor, style: Tensor) -> None:
        self.vgg, self.style = vgg, style
        self.features, self.grams = vgg(content, EARLY_CONTENT)[EARLY_CONTENT], self._grams(style)
        self.own_style, self.own_colour = self._apart(content), _colours_apart(content, style)

    @torch.no_grad()
    def __call__(self, picture: Tensor) -> Verdict:
        """What the judge says of a (1, 3, H, W) picture."""
        features = self.vgg(picture, EARLY_CONTENT)[EARLY_CONTENT]
        return Verdict(
            self._apart(picture) / self.own_style,
            float(st.relative_error(features, self.features)),
            _colours_apart(picture, self.style) / self.own_colour,
        )

    def _grams(self, picture: Tensor) -> list[Tensor]:
        features = self.vgg(picture, EARLY_STYLE)
        return [st.gram_matrix(features[name], "hw") for name in EARLY_STYLE]

    def _apart(self, picture: Tensor) -> float:
        pairs = zip(self._grams(picture), self.grams, strict=True)
        return statistics.mean(float(st.relative_error(g, a)) for g, a in pairs)


def _colours_apart(one: Tensor, other: Tensor) -> float:
    """Mean over L*, a* and b* of the earth mover's distance between two pictures' histograms."""
    a, b = (rgb2lab(p[0].permute(1, 2, 0).numpy()).reshape(-1, 3) for p in (one, other))
    return statistics.mean(wasserstein_distance(a[:, i], b[:, i]) for i in range(3))


def paint(
    vgg: VGG, content: Tensor, style: Tensor, evaluations: int, balance: float = 1.0
) -> Tensor:
    """By the default recipe, but with content as when README.md's tables were made."""
    recipe, there = recipes["default"], set(vgg.layer_names)
    content_layers, style_layers = (
        {name: weight for name, weight in layers.items() if name in there}
        for layers in ({"relu2_1": 1.0, "relu4_2": 1.0}, recipe.style_layers)
    )
    return st.transfer(
        content,
        style,
        vgg=vgg,
        evaluations=evaluations,
        content_layers=content_layers or EARLY_CONTENT,
        style_layers=style_layers,
        style_weight=recipe.style_weight * balance,
        progress=False,
    ).image


def style_at_equal_content(points: list[Verdict], content: float) -> float:
    """Style left of a network that moves the content by as much, interpolated between `points`.

    Where it never moves it that little (or that much), its nearest point counts.
    """
    moved, left = zip(*sorted((p.content, p.style) for p in points), strict=True)
    return float(np.exp(np.interp(content, moved, np.log(left))))


def speed_lines(networks: Mapping[str, VGG], side: int = 256, turns: int = 5) -> Iterator[str]:
    """Median seconds per evaluation of a transfer at side × side, the networks taking turns."""
    laps: dict[str, list[float]] = {name: [] for name in networks if name != "judge"}
    pair = (st.load_image(name) for name in ("coffee", "swirling-strokes"))
    photo, art = (F.interpolate(picture, (side, side), mode="area") for picture in pair)
    for name in list(laps) * turns:
        objective = recipes["default"].objective(networks[name], content=photo, styles=[art])
        ends = [time.perf_counter() for _ in descend(objective, photo, 8)]
        laps[name] += np.diff(ends)[1:].tolist()
    for name, times in laps.items():
        yield f"\n{name}: {statistics.median(times):.3f} s per evaluation at {side}×{side}"


def pairs_of(folder: Path | None, size: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Our own pairs; with a folder, all pairs of its pictures and the astronaut in each manner."""
    files, known = sorted(folder.iterdir()) if folder else [], Image.registered_extensions()
    pictures = (file for file in files if file.suffix.lower() in known)
    named = {file.stem.replace("_", "-"): st.load_image(file, size) for file in pictures}
    named["astronaut"] = st.load_image("astronaut", size)
    for content, style in permutations(named, 2):
        if style != "astronaut":
            yield f"{content} × {style}", named[content], named[style]
    for content, style in PAIRS[:4] if folder else PAIRS:
        yield f"{content} × {style}", st.load_image(content, size), st.load_image(style, size)


def judge_transfers(
    judge: VGG, networks: Mapping[str, VGG], arguments: argparse.Namespace
) -> Iterator[str]:
    """Lines of the table of transfers; the contact sheets are saved on the way."""
    head = ["pair", *networks, "pocket at equal content", "colour left: pocket"]
    yield from (_row(head), _row(["---"] * len(head)))
    wins, rivals = [], [name for name in networks if name.startswith("random")]
    pairs = tqdm([*pairs_of(arguments.pairs, arguments.size)], desc="painting pairs", unit="pair")
    for name, content, style in pairs:
        measure, shown = Judge(judge, content, style), {"content": content, "style": style}
        found: dict[str, Verdict] = {}
        for network, vgg in networks.items():
            picture = paint(vgg, content, style, arguments.evaluations)
            found[network] = measure(picture)
            shown[f"{network}: {found[network]}"] = picture
        aim, equal = found["pocket"], []
        for rival in rivals:
            points, vgg = [found[rival]], networks[rival]
            # One more balance, on the other side of what the pocket network moved.
            balance = 0.03 if points[0].content > aim.content else 30
            points.append(measure(paint(vgg, content, style, arguments.evaluations, balance)))
            equal.append(style_at_equal_content(points, aim.content))
        wins.append(aim.style < min(equal))
        sheet = picture_grid(shown, 3, f"{name}: style left / content moved")
        sheet.save(arguments.output / f"{name.replace(' × ', '-x-')}.jpg")
        against = " and ".join(f"{style:.3f}" for style in equal)
        cells = [str(verdict) for verdict in found.values()]
        yield _row([name, *cells, f"{aim.style:.3f} against {against}", f"{aim.colour:.2f}"])
    yield f"\nLess style left than untrained: {sum(wins)} of {len(wins)} pairs.\n"


def judge_reconstructions(
    networks: Mapping[str, VGG], arguments: argparse.Namespace
) -> Iterator[str]:
    """Lines of the table of reconstructions at 256 px (PSNR, dB), and the sheets of Figure 1."""
    yield from (_row(["content of the astronaut from", *DEPTHS]), _row(["---"] * 6))
    photo, art = st.load_image("astronaut", 256), st.load_image("swirling-strokes", 256)
    for name, vgg in networks.items():
        shown, cells = {"content": photo}, []
        how = {"vgg": vgg, "evaluations": arguments.evaluations, "progress": False}
        depths = [layer for layer in DEPTHS if layer in vgg.layer_names]
        for layer in tqdm(depths, desc=f"reconstructing from {name}", unit="layer"):
            picture = st.reconstruct_content(photo, layer, **how).image
            cells.append(f"{-10 * float((picture - photo).square().mean().log10()):.1f}")
            shown[f"{layer}, {cells[-1]} dB"] = picture
        shown["style"] = art
        nested = [layer for layer in STYLE_LAYERS if layer in vgg.layer_names]
        for depth in range(1, len(nested) + 1):
            texture = st.reconstruct_style(art, nested[:depth], **how).image
            shown[f"style, up to {nested[depth - 1]}"] = texture
        picture_grid(shown, 1 + len(depths), f"{name}: content, then style from noise").save(
            arguments.output / f"reconstructions-{name.replace(' ', '-')}.jpg"
        )
        yield _row([name, *cells, *["–"] * (len(DEPTHS) - len(cells))])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser("training.judge", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--judge", default="vgg19", help="the published network to judge by: a weight file")
    add("--network", default="pocket", help="the weights to judge (default: those in the package)")
    add("--pairs", type=Path, help="folder of further pictures")
    add("--output", type=Path, default=Path("training/build/report"))
    add("--size", type=int, default=224, help="long side of the pictures, pixels")
    add("--evaluations", type=int, default=200)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    judge, pocket = (st.load_vgg(w, device="cpu") for w in (arguments.judge, arguments.network))
    networks = {
        "random": untrained([row.channels for row in pocket.layers if row.kind == "pool"]),
        "random full width": untrained(FULL_WIDTH),
        "pocket": pocket,
        "judge": judge,
    }
    path, quick = arguments.output / "report.md", dict(networks)
    del quick["random full width"]  # in reconstructions like the narrow one, only slower
    with path.open("w", encoding="utf-8") as report:
        for line in chain(
            [f"{arguments.evaluations} evaluations, {arguments.size} px; judge: {judge.name}\n"],
            judge_transfers(judge, networks, arguments),
            judge_reconstructions(quick, arguments),
            speed_lines(networks),
        ):  # fmt: skip
            print(line, file=report, flush=True)
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Judge the pocket network by the published one, its teacher: `make pocket-report`.

Untrained, pocket and judge paint the same pairs of pictures by the default recipe. The judge then
measures by the same losses how much of the distance to the style is left and how far the content
has moved. Tables and contact sheets, student and teacher next to each other, go to a folder.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
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
from styletutor.descent import Step, descend
from styletutor.loss.objective import Objective
from styletutor.network.vgg import VGG
from styletutor.network.weights import untrained
from styletutor.plots import picture_grid
from training.crops import photographs

PAIRS = (
    ("astronaut", "swirling-strokes"),
    ("chelsea", "impasto-field"),
    ("coffee", "stained-glass"),
    ("rocket", "stripe-woodcut"),
    ("camera", "wave-print"),
    ("motorcycle-right", "voronoi-mosaic"),
    ("astronaut", "pointillist-dots"),
    ("chelsea", "marbled-paper"),
    ("coffee", "swirling-strokes"),
    ("rocket", "impasto-field"),
)
DEPTHS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
MOMENTS = (1, 20, 200)  # evaluations at which gradients are compared
DEFAULT = recipes["default"]
Pictures = dict[str, Tensor]


@dataclass(frozen=True)
class Verdict:
    """One picture as the judge sees it.

    `style` is the default recipe's style loss as a share of the content picture's own, `content`
    its content loss, ‖F - P‖² / ‖P‖², and `colour` the distance of the picture's colours to the
    style's as a share of the content picture's own.
    """

    style: float
    content: float
    colour: float

    def __str__(self) -> str:
        return f"{self.style:.3f} / {self.content:.2f} / {self.colour:.2f}"


class Judge:
    """Measures pictures of one pair by `vgg`."""

    @torch.no_grad()
    def __init__(self, vgg: VGG, content: Tensor, style: Tensor) -> None:
        self.objective = DEFAULT.objective(vgg, content=content, styles=[style])
        self.style = style
        self.own_style = float(self.objective(content)["style"])
        self.own_colour = _colours_apart(content, style)

    @torch.no_grad()
    def __call__(self, picture: Tensor) -> Verdict:
        """What the judge says of a (1, 3, H, W) picture."""
        losses = self.objective(picture)
        return Verdict(
            float(losses["style"]) / self.own_style,
            float(losses["content"]) / DEFAULT.content_weight,
            _colours_apart(picture, self.style) / self.own_colour,
        )


def _colours_apart(one: Tensor, other: Tensor) -> float:
    """Mean over L*, a* and b* of the earth mover's distance between two pictures' histograms."""
    a, b = (rgb2lab(p[0].permute(1, 2, 0).numpy()).reshape(-1, 3) for p in (one, other))
    return statistics.mean(wasserstein_distance(a[:, i], b[:, i]) for i in range(3))


def gradients_agree(one: Objective, other: Objective, picture: Tensor) -> float:
    """Cosine of the angle between two objectives' gradients at a picture."""
    slopes = []
    for objective in (one, other):
        x = picture.clone().requires_grad_()
        slopes.append(torch.autograd.grad(objective(x)["total"].sum(), x)[0].flatten())
    return float(F.cosine_similarity(*slopes, dim=0))


def paint(vgg: VGG, content: Tensor, style: Tensor, evaluations: int) -> tuple[Tensor, Pictures]:
    """By the default recipe; the picture, and what it looked like at MOMENTS."""
    way: Pictures = {}

    def look(step: Step) -> None:
        if step.evaluation in MOMENTS:
            way[str(step.evaluation)] = step.image

    how = {"vgg": vgg, "evaluations": evaluations, "progress": False, "on_step": look}
    return st.transfer(content, style, **how).image, way


def pairs_of(folder: Path | None, size: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Our own pairs, or all pairs of the pictures in a folder; photographs learnt from have a *."""
    if folder is None:
        seen = photographs()
        for content, style in PAIRS:
            pictures = (st.load_image(name, size) for name in (content, style))
            yield f"{content}{'*' * (content in seen)} × {style}", *pictures
        return
    known = Image.registered_extensions()
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in known]
    named = {file.stem.replace("_", "-"): st.load_image(file, size) for file in files}
    for content, style in permutations(named, 2):
        yield f"{content} × {style}", named[content], named[style]


def judge_transfers(networks: Mapping[str, VGG], arguments: argparse.Namespace) -> Iterator[str]:
    """Lines of the tables of transfers; the contact sheets are saved on the way."""
    judge, pocket = networks["judge"], networks["pocket"]
    at = [n for n in MOMENTS if n <= arguments.evaluations]
    head = ["pair", *networks, "pocket's content / judge's", "colour", "gradients agree after "
            + ", ".join(map(str, at))]  # fmt: skip
    yield "Style left / content moved / colour left, by the judge.\n"
    yield from (_row(head), _row(["---"] * len(head)))
    pairs = tqdm([*pairs_of(arguments.pairs, arguments.size)], desc="painting pairs", unit="pair")
    every = []
    for name, content, style in pairs:
        measure, shown = Judge(judge, content, style), {"content": content, "style": style}
        found: dict[str, Verdict] = {}
        for network, vgg in networks.items():
            picture, way = paint(vgg, content, style, arguments.evaluations)
            found[network] = measure(picture)
            shown[f"{network}: {found[network]}"] = picture
            if network == "pocket":
                ours = DEFAULT.objective(pocket, content=content, styles=[style])
                agree = [gradients_agree(ours, measure.objective, p) for p in way.values()]
        plain = name.replace("*", "").replace(" × ", "-x-")
        columns = 2 + len(networks)
        picture_grid(shown, columns, name).save(arguments.output / f"{plain}.jpg")
        mine, theirs = found["pocket"], found["judge"]
        ratios = (mine.content / theirs.content, mine.colour / theirs.colour)
        every.append([*chain.from_iterable(map(astuple, found.values())), *ratios, *agree])
        yield _row([name, *map(str, found.values()), *_two(ratios), ", ".join(_two(agree))])
    median = np.median(every, axis=0).tolist()
    verdicts = [str(Verdict(*median[i : i + 3])) for i in range(0, 3 * len(networks), 3)]
    ratios, agree = median[3 * len(networks) :][:2], median[3 * len(networks) + 2 :]
    yield _row(["**median**", *verdicts, *_two(ratios), ", ".join(_two(agree))])
    yield "\n\\* a photograph that was learnt from\n"


def judge_reconstructions(
    networks: Mapping[str, VGG], arguments: argparse.Namespace
) -> Iterator[str]:
    """Lines of the table of reconstructions (PSNR, dB); teacher and student on one sheet each."""
    size, how = arguments.size, {"evaluations": arguments.evaluations, "progress": False}
    yield from (_row(["content of the astronaut from", *DEPTHS]), _row(["---"] * 6))
    photo, art = st.load_image("astronaut", size), st.load_image("swirling-strokes", size)
    contents: Pictures = {}
    styles: Pictures = {}
    for name, vgg in networks.items():
        cells = []
        for layer in tqdm(DEPTHS, desc=f"reconstructing from {name}", unit="layer"):
            picture = st.reconstruct_content(photo, layer, vgg=vgg, **how).image
            cells.append(f"{-10 * float((picture - photo).square().mean().log10()):.1f}")
            contents[f"{name}, {layer}: {cells[-1]} dB"] = picture
        for depth in range(1, len(STYLE_LAYERS) + 1):
            texture = st.reconstruct_style(art, STYLE_LAYERS[:depth], vgg=vgg, **how).image
            styles[f"{name}, up to {STYLE_LAYERS[depth - 1]}"] = texture
        yield _row([name, *cells])
    for what, shown in (("content", contents), ("style", styles)):
        sheet = picture_grid(shown, len(DEPTHS), f"{what} reconstructed from {', '.join(networks)}")
        sheet.save(arguments.output / f"reconstructions-of-{what}.jpg")


def speed_lines(networks: Mapping[str, VGG], side: int, turns: int = 5) -> Iterator[str]:
    """Median seconds per evaluation of a transfer at side × side, the networks taking turns."""
    laps: dict[str, list[float]] = {name: [] for name in networks}
    pair = (st.load_image(name) for name in ("coffee", "swirling-strokes"))
    photo, art = (F.interpolate(picture, (side, side), mode="area") for picture in pair)
    for name in list(laps) * turns:
        objective = DEFAULT.objective(networks[name], content=photo, styles=[art])
        ends = [time.perf_counter() for _ in descend(objective, photo, 8)]
        laps[name] += np.diff(ends)[1:].tolist()
    medians = {name: statistics.median(times) for name, times in laps.items()}
    for name, seconds in medians.items():
        share = f"{seconds / medians['judge']:.2f} of the judge's"
        yield f"\n{name}: {seconds:.3f} s per evaluation at {side}×{side}, {share}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _two(numbers: object) -> list[str]:
    return [f"{number:.2f}" for number in numbers]


def main() -> int:
    parser = argparse.ArgumentParser("training.judge", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--judge", default="vgg19", help="the published network to judge by: a name or a file")
    add("--network", default="pocket", help="the weights to judge (default: those in the package)")
    add("--pairs", type=Path, help="folder of pictures, in place of our own pairs")
    add("--output", type=Path, default=Path("training/build/report"))
    add("--size", type=int, default=256, help="long side of the pictures, pixels")
    add("--evaluations", type=int, default=200)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    judge, pocket = (st.load_vgg(w, device="cpu") for w in (arguments.judge, arguments.network))
    widths = [row.channels for row in pocket.layers if row.kind == "conv"]
    networks = {"random": untrained(widths), "pocket": pocket, "judge": judge}
    path = arguments.output / "report.md"
    with path.open("w", encoding="utf-8") as report:
        for line in chain(
            [f"{arguments.evaluations} evaluations, {arguments.size} px; judge: {judge.name}\n"],
            judge_transfers(networks, arguments),
            judge_reconstructions(networks, arguments),
            speed_lines(networks, 256),
        ):  # fmt: skip
            print(line, file=report, flush=True)
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Figures as `matplotlib.figure.Figure` objects: no pyplot, so they may be made in any thread."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from styletutor.network.vgg import VGG
from styletutor.pictures.images import check_writable, to_uint8
from styletutor.pictures.writing import write_file
from styletutor.runs.result import Result

LINE_STYLES = ("-", "--", ":", "-.")


class Sheet(Figure):
    """A Figure that a notebook shows as one compact JPEG; `alt` says in words what it shows."""

    alt: str = ""

    def save(self, path: str | Path) -> None:
        """Write it to `path` in the format of its suffix, whole or not at all."""
        check_writable(path)
        write_file(path, self._bytes(Path(path).suffix[1:], dpi=120))

    def _bytes(self, kind: str, dpi: int, quality: int = 88) -> bytes:
        buffer = io.BytesIO()
        jpeg = {"quality": quality, "optimize": True, "progressive": True}
        options = {"pil_kwargs": jpeg} if kind in ("jpeg", "jpg") else {}
        self.savefig(buffer, format=kind, dpi=dpi, **options)
        return buffer.getvalue()

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        jpeg = self._bytes("jpeg", 74, quality=55)  # a lesson with its pictures is below 1 MB
        return {"image/jpeg": jpeg, "text/plain": f"<figure: {self.alt}>"}


def picture_grid(
    pictures: Mapping[str, Tensor], columns: int | None = None, title: str = ""
) -> Sheet:
    """Pictures (1, 3, H, W) in [0, 1] under their captions, `columns` in a row.

    By default four make two rows of two, others rows of three: as large as a page has room for.
    """
    columns = min(columns or (2 if len(pictures) == 4 else 3), len(pictures))
    width = min(4.6, 13 / columns)
    tall = [width * p.shape[-2] / p.shape[-1] for p in pictures.values()]
    rows = [max(tall[k : k + columns]) + 0.35 for k in range(0, len(tall), columns)]
    sheet = _sheet(columns * width, sum(rows) + 0.3 * bool(title), title)
    places = sheet.add_gridspec(len(rows), columns, height_ratios=rows)
    for place, (caption, picture) in zip(places, pictures.items(), strict=False):
        axes = sheet.add_subplot(place)
        axes.imshow(to_uint8(picture), interpolation="lanczos")
        axes.set_title(caption, fontsize=10)
        axes.axis("off")
    sheet.alt = f"{title + ': ' if title else ''}pictures side by side: {', '.join(pictures)}"
    return sheet


def side_by_side(content: Tensor, style: Tensor, result: Result) -> Sheet:
    """Content, style and the transferred picture, with the network and the budget said."""
    pictures = {"content": content, "style": style, "result": result.image}
    return picture_grid(pictures, title=made_by(result))


def reconstruction_grid(
    original: Tensor, results: Mapping[str, Result], columns: int | None = None
) -> Sheet:
    """The original and what is left of it in each reconstruction, such as one per layer."""
    pictures = {"original": original, **{name: r.image for name, r in results.items()}}
    return picture_grid(pictures, columns, made_by(next(iter(results.values()))))


def made_by(result: Result) -> str:
    """Which network made a picture, on what it was trained, and with how many evaluations."""
    backbone = result.backbone
    return (
        f"weights: {backbone['name']}, trained on {backbone['trained_on']}; "
        f"{len(result.history)} evaluations"
    )


def layer_sheet(vgg: VGG, photo: Tensor, layers: Sequence[str] | str, channels: int = 8) -> Sheet:
    """A row per layer with its strongest channels for `photo` (1, 3, H, W), viridis, each scaled.

    Strength is the mean of the absolute activation. The brightest hundredth of a map is one colour,
    or a few points would leave the others dark.
    """
    layers = [layers] if isinstance(layers, str) else list(layers)
    with torch.no_grad():
        features = vgg(photo.to(vgg.device), layers)
    sheet = _sheet(
        1.8 * channels + 1.2, 1.95 * len(layers) * photo.shape[2] / photo.shape[3] + 1.1,
        f"strongest channels per layer\nweights: {vgg.name}, trained on {vgg.trained_on}",
    )  # fmt: skip
    for row, (name, maps) in enumerate(features.items()):
        strongest = strongest_channels(maps, channels)
        for column, channel in enumerate(strongest):
            axes = sheet.add_subplot(len(layers), channels, row * channels + column + 1)
            values = maps[0, channel].cpu().numpy()
            bright = np.quantile(values, 0.99)
            scale = {"vmin": values.min(), "vmax": bright if bright > values.min() else None}
            axes.imshow(values, cmap="viridis", interpolation="nearest", **scale)
            axes.set_title(f"channel {channel}", fontsize=7, pad=2)
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                height, width = maps.shape[2:]
                axes.set_ylabel(f"{name}\n{width}×{height}", fontsize=9)
    sheet.alt = f"activations of the {channels} strongest channels at {', '.join(layers)}"
    return sheet


def strongest_channels(features: Tensor, count: int) -> list[int]:
    """Indices of the `count` channels of (1, C, H, W) with the largest mean absolute activation."""
    strength = features[0].abs().mean((1, 2))
    return strength.topk(min(count, len(strength))).indices.tolist()


def gram_heatmap(grams: Mapping[str, Tensor], title: str = "") -> Sheet:
    """Gram matrices (1, C, C) as heat maps, viridis, on a scale of roots that all of them share.

    The marks at their sides are at the channels with the four largest entries on the diagonal,
    but for those too near to a larger one's to be read.
    """
    sheet = _sheet(4.8 * len(grams), 4.2 + 0.3 * bool(title), title)
    top = max(float(gram.max()) for gram in grams.values())
    how = {"cmap": "viridis", "norm": PowerNorm(0.5, 0, top), "interpolation": "nearest"}
    for place, (caption, gram) in enumerate(grams.items(), start=1):
        axes = sheet.add_subplot(1, len(grams), place)
        shown = axes.imshow(gram[0].detach().cpu().numpy(), **how)
        marked = _marked(gram[0].diagonal())
        axes.set_xticks(marked)
        axes.set_yticks(marked)
        axes.set_title(caption, fontsize=10)
        axes.set_xlabel("channel")
        axes.set_ylabel("channel" if place == 1 else "")
        sheet.colorbar(shown, ax=axes, shrink=0.75)
    sheet.alt = f"Gram matrices as heat maps: {', '.join(grams)}"
    return sheet


def _marked(diagonal: Tensor) -> list[int]:
    marked: list[int] = []
    for channel in diagonal.topk(min(4, len(diagonal))).indices.tolist():
        if all(abs(channel - other) > len(diagonal) / 20 for other in marked):
            marked.append(channel)
    return marked


def loss_curves(result: Result) -> Sheet:
    """Weighted losses against evaluations on a logarithmic scale: by term, and by layer.

    A loss of one layer alone is one curve. Where a coarse-to-fine descent goes on at a larger size,
    there is a dotted line.
    """
    evaluations = [row["evaluation"] for row in result.history]
    names = [name for row in result.history for name in row]
    terms = [name for name in dict.fromkeys(names) if name not in ("evaluation", "size", "parts")]
    parts = list(dict.fromkeys(name for row in result.history for name in row["parts"]))
    rows = [
        ("by term", terms, lambda row, name: row.get(name)),
        ("by layer", parts, lambda row, name: row["parts"].get(name)),
    ]
    if len(parts) == 1:
        rows = rows[1:]
    sheet = _sheet(10, 3.6, made_by(result))
    for place, (caption, names, read) in enumerate(rows, start=1):
        axes = sheet.add_subplot(1, len(rows), place)
        colours = colormaps["viridis"](torch.linspace(0, 0.85, len(names)).numpy())
        for name, colour, style in zip(names, colours, cycle(LINE_STYLES), strict=False):
            # Zero has no place on a logarithmic scale, and a term may come and go with its weight.
            values = [read(row, name) or float("nan") for row in result.history]
            dot = "." if len(values) == 1 else None
            axes.plot(evaluations, values, style, marker=dot, color=colour, label=name)
        for row, later in pairwise(result.history):
            if row["size"] != later["size"]:
                axes.axvline(later["evaluation"], color="0.6", linestyle=":")
        axes.set_yscale("log")
        axes.set_xlabel("evaluation")
        axes.set_ylabel("weighted loss")
        axes.set_title(caption, fontsize=10)
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    how = " and ".join(caption for caption, *_ in rows)
    sheet.alt = f"weighted losses against evaluations, {how}, on a logarithmic scale"
    return sheet


def _sheet(width: float, height: float, title: str) -> Sheet:
    sheet = Sheet(figsize=(width, height), layout="constrained")
    if title:
        sheet.suptitle(title, fontsize=10)
    return sheet

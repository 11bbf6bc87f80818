"""The reconstruction lab: what several layers keep of a picture, side by side as they form."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from torch import Tensor

from styletutor.descent import Step
from styletutor.network.vgg import VGG
from styletutor.plots import made_by
from styletutor.runs.background import Run
from styletutor.runs.inputs import Picture
from styletutor.runs.reconstruct import KINDS, reconstruct_each
from styletutor.runs.result import Result
from styletutor.widgets.elements import Gallery, LayerMap, Slider, tile
from styletutor.widgets.live import WRAP, Note, Panel, in_columns

MOST = 6  # pictures in a batch
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


class LabRun(Run):
    """A batch of reconstructions, their `names`, and their `first` losses at each size."""

    def __init__(self, names: list[str], *arguments: Any, kind: str, **settings: Any) -> None:
        super().__init__(reconstruct_each, *arguments, kind=kind, **settings)
        self.names, self.kind = names, kind
        self.first: dict[tuple[int, ...], list[float]] = {}


class ReconstructionLab(Panel):
    """Choose layers, content or style, and press Start: all are rebuilt as one batch.

    >>> widgets.ReconstructionLab(vgg, photo, style=art)

    `photo` is rebuilt by its content, `style` by its Gram matrices (the same picture, if None):
    (1, 3, H, W) in [0, 1], a sample's name or a path. Nested, each texture has the layers before
    its own, too, as in Figure 1 of Gatys et al. (2016). `settings` are those of `reconstruct_each`.
    """

    def __init__(
        self,
        vgg: VGG,
        photo: Picture,
        style: Picture | None = None,
        *,
        kind: str = "content",
        layers: tuple[str, ...] = LAYERS,
        nested: bool = False,
        evaluations: int = 120,
        **settings: Any,
    ) -> None:
        self.vgg, self.settings = vgg, settings
        self.pictures = {"content": photo, "style": photo if style is None else style}
        names = [vgg.layer(name).name for name in layers]
        words = f"layers to rebuild from, up to {MOST}"
        self.map = LayerMap(vgg.layers, names, most=MOST, label=words)
        self.kind = widgets.Dropdown(options=list(KINDS), value=kind, description="rebuild the")
        self.nested = widgets.Checkbox(
            value=nested, description="each with the layers before it", indent=False
        )
        most = max(500, evaluations)
        self.evaluations = Slider(value=evaluations, min=1, max=most, label="evaluations")
        self.seed = widgets.IntText(value=settings.pop("seed", 0), description="seed")
        self.gallery = Gallery(most=0, side=165, label="reconstructions")
        super().__init__()
        rows = [self.kind, self.nested, self.evaluations, self.seed]
        for row in rows:
            row.layout = {"width": "auto", "flex": "0 1 250px"}
        about = Note(f"up to {MOST} layers; weights: {vgg.name}, trained on {vgg.trained_on}")
        left = widgets.VBox([about, self.map, widgets.Box(rows, layout=WRAP)])
        right = widgets.VBox([self.buttons, self.note, self.gallery])
        self.children = [in_columns((left, "1 1 480px"), (right, "1 1 480px"))]
        self.note.say("choose layers, then press Start")

    def make_run(self) -> LabRun:
        order = [name for name in self.vgg.layer_names if name in self.map.selected][:MOST]
        if not order:
            raise ValueError("no layer is chosen; choose one on the map and press Start")
        kind = self.kind.value
        nested = self.nested.value and kind == "style"
        names = [order[0], *(f"{order[0]} … {n}" for n in order[1:])] if nested else order
        settings = {"evaluations": int(self.evaluations.number), "seed": self.seed.value}
        settings |= {"kind": kind, "nested": nested, "vgg": self.vgg, **self.settings}
        return LabRun(names, self.pictures[kind], order, **settings)

    def on_step(self, run: LabRun, step: Step) -> None:
        self._show(run, step, step.best)
        self.note.say(f"evaluation {step.evaluation} of {step.evaluations}")

    def on_end(self, run: LabRun, result: Result) -> None:
        self._show(run, run.step, result.image)
        words = "stopped" if result.interrupted else "done"
        self.note.say(f"{words}: {run.kind}; {made_by(result)}")

    def _show(self, run: LabRun, step: Step, pictures: Tensor) -> None:
        losses = sum(step.best_parts.values()).tolist()
        size = tuple(step.image.shape[2:])  # losses of two sizes do not compare
        first = run.first.setdefault(size, sum(step.parts.values()).tolist())
        items = []
        for name, picture, loss, start in zip(run.names, pictures, losses, first, strict=True):
            left = f", {100 * loss / start:.2g} % of the start" if start else ""
            items.append(tile(picture[None], f"{name}: loss {loss:.2g}{left}"))
        self.gallery.show(items=items)

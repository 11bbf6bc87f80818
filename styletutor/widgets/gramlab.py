"""The Gram lab: what a Gram matrix notices of a change, and what it does not."""

from __future__ import annotations

import ipywidgets as widgets
import torch
from matplotlib import colormaps
from PIL import ImageColor
from torch import Tensor

from styletutor.loss.losses import relative_error
from styletutor.loss.statistics import gram_matrix
from styletutor.network.vgg import VGG
from styletutor.pictures.images import to_jpeg, to_png
from styletutor.plots import strongest_channels
from styletutor.widgets.elements import Gallery, Guard, PictureView, Slider, tile, within
from styletutor.widgets.explorer import small, viridis
from styletutor.widgets.live import WRAP, Note, button, in_columns

MOVED = 4  # entries that are named
FEATURES = 4  # feature maps that are shown
COLOURS = ("yellow", "orange", "red", "blue", "green", "black", "white")
MOST_POINTS = 500  # of a stroke
NOISE = 1e-9  # of the whole; what is smaller comes from the order of a sum


class GramLab(widgets.VBox):
    """The Gram matrix of a layer, beside what becomes of it.

    >>> widgets.GramLab(vgg, photo, layer="relu2_1")

    Shuffle the positions of the features: the Gram matrix stays and the content is lost. Paint into
    the picture: see which entries move. `photo` is (1, 3, H, W) in [0, 1].
    """

    def __init__(self, vgg: VGG, photo: Tensor, layer: str = "relu2_1") -> None:
        self.vgg, self.photo, self.painted = vgg, photo.cpu(), photo.cpu().clone()
        relus = [row.name for row in vgg.layers if row.kind == "relu"]
        self.layer = widgets.Dropdown(options=relus, value=layer, description="layer")
        hint = "drag, or arrow keys and Space, to paint"
        self.view = PictureView(width=320, tool="paint", caption=hint)
        self.colour = widgets.Dropdown(options=COLOURS, description="brush")
        self.brush = Slider(value=0.08, min=0.02, max=0.3, step=0.01, label="width", readout=False)
        self.clean_button = button("Clean picture", "eraser", self.clean)
        self.shuffle_button = button("Shuffle positions", "random", self.shuffle, "primary")
        self.order_button = button("Back in order", "sort", self.order)
        self.gram = PictureView(width=300, tool="point", pixelated=True)
        self.change = PictureView(width=300, tool="point", pixelated=True)
        self.maps = Gallery(most=0, side=72, pixelated=True, label="feature maps")
        self.figures, self.entry = Note(), Note()
        self._shuffled = 0
        left = widgets.VBox([self.layer, self.view, self.colour, self.brush, self.clean_button])
        middle = widgets.VBox([self.gram, self.entry])
        buttons = widgets.Box([self.shuffle_button, self.order_button], layout=WRAP)
        right = widgets.VBox([buttons, self.maps, self.figures, self.change])
        rooms = [(column, "1 1 300px") for column in (left, middle, right)]
        super().__init__([in_columns(*rooms), Guard()])
        self.add_class("st-panel")
        self.layer.observe(lambda _: self._measure(), "value")
        self.view.observe(lambda change: self.paint(change["new"]), "stroke")
        self.colour.observe(lambda change: self.view.show(brush_colour=change["new"]), "value")
        self.brush.observe(lambda change: self.view.show(brush=change["new"]), "value")
        for view in (self.gram, self.change):
            view.observe(self._show_entry, "point")
        self.view.show(brush=self.brush.value, brush_colour=self.colour.value)
        self._measure()

    def __repr__(self) -> str:
        return f"GramLab({self.layer.value})"

    def shuffle(self) -> None:
        """Put the feature vectors in another order, each time a new one."""
        self._shuffled += 1
        self._measure()

    def order(self) -> None:
        """The features back where they were."""
        self._shuffled = 0
        self._measure()

    def clean(self) -> None:
        """The picture as it was before it was painted."""
        self.painted = self.photo.clone()
        self._measure()

    def paint(self, stroke: list[list[float]]) -> None:
        """Draw a line through points [x, y], shares of the sides, with brush and colour."""
        if not stroke:
            return
        self.view.show(stroke=[])  # so that the same again is news
        stroke = [[within(share, -1, 2) for share in point[:2]] for point in stroke[:MOST_POINTS]]
        height, width = self.painted.shape[2:]
        ends = torch.tensor(stroke, dtype=torch.float32) * torch.tensor([width, height])
        ends = torch.cat([ends, ends[-1:]])
        rows = torch.arange(height, dtype=torch.float32).view(-1, 1) + 0.5
        columns = torch.arange(width, dtype=torch.float32) + 0.5
        inside = torch.zeros(height, width, dtype=torch.bool)
        for (x, y), (to_x, to_y) in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            dx, dy = to_x - x, to_y - y
            along = ((columns - x) * dx + (rows - y) * dy) / max(dx * dx + dy * dy, 1e-6)
            along = along.clamp(0, 1)
            away = (columns - x - along * dx).square() + (rows - y - along * dy).square()
            inside |= away <= (self.brush.number * width / 2) ** 2
        ink = torch.tensor(ImageColor.getrgb(self.colour.value)[:3]).view(1, 3, 1, 1) / 255
        self.painted = torch.where(inside, ink, self.painted)
        self._measure()

    @torch.no_grad()
    def _measure(self) -> None:
        name = self.layer.value
        before, after = (
            self.vgg(picture.to(self.vgg.device), name)[name].cpu()
            for picture in (self.photo, self.painted)
        )
        if self._shuffled:
            generator = torch.Generator().manual_seed(self._shuffled)
            places = torch.randperm(after[0, 0].numel(), generator=generator)
            after = after.flatten(2)[:, :, places].view_as(after)
        # In float64: what is left then is the change itself, not the order of a sum.
        self._grams = [gram_matrix(f.double(), normalise="hw")[0] for f in (before, after)]
        self._show(before, after)
        self._show_entry()

    def _show(self, before: Tensor, after: Tensor) -> None:
        name, (gram, other) = self.layer.value, self._grams
        style = float((other - gram).square().sum() / gram.square().sum().clamp_min(1e-30))
        content = float(relative_error(after, before))
        self.figures.say(
            f"change of the features (content loss): {100 * content:.3g} % · change of the Gram "
            f"matrix (style loss): {100 * style if style > NOISE else 0:.3g} %"
        )
        self.view.show(value=to_jpeg(self.painted), alt="the picture, as painted")
        nudge, alt = [1 / len(gram)] * 2, f"Gram matrix of {name} as a heat map"
        words = (
            f"Gram matrix of {name}, {len(gram)}×{len(gram)} channels; square roots, "
            "yellow is high. Click an entry."
        )
        self.gram.show(value=to_png(viridis(other.sqrt())), alt=alt, caption=words, nudge=nudge)
        changes = to_png(diverging(other - gram, float(gram.max())))
        words = "change of each entry: white none, red more, blue less"
        self.change.show(value=changes, alt=words, caption=words, nudge=nudge)
        strongest = strongest_channels(before, FEATURES)
        maps = [
            tile(small(features[0, n]), f"channel {n}{when}", sharp=True)
            for when, features in (("", before), (", now", after))
            for n in strongest
        ]
        self.maps.show(items=maps)

    def _show_entry(self, change: dict | None = None) -> None:
        gram, other = self._grams
        moved = (other - gram).abs().triu().flatten().topk(MOVED)
        words = []
        if change is not None and len(change["new"]) == 2:
            column, row = (int(within(share, 0, 0.9999) * len(gram)) for share in change["new"])
            words.append(
                f"channels {row} and {column}: {gram[row, column]:.4g} before, "
                f"{other[row, column]:.4g} now"
            )
        if moved.values[0] > NOISE * gram.max():
            pairs = [divmod(int(at), len(gram)) for at in moved.indices]
            names = ", ".join(f"{i} with {j}" for i, j in pairs)
            words.append(f"moved most: channels {names}")
        else:
            words.append("no entry has moved")
        self.entry.say(" · ".join(words))


def diverging(values: Tensor, most: float) -> Tensor:
    """(H, W) as (1, 3, H, W): red above zero, blue below; full colour at a quarter of `most`."""
    scaled = (values / (most / 4)).clamp(-1, 1).numpy()
    colours = torch.from_numpy(colormaps["RdBu_r"](0.5 + scaled / 2)[..., :3])
    return colours.permute(2, 0, 1)[None].float()

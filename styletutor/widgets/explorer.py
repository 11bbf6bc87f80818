"""The layer explorer: what each layer and channel of VGG-19 answers to in a picture."""

from __future__ import annotations

from operator import mul
from typing import Any

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from torch import Tensor

from styletutor.descent import Step
from styletutor.network.layers import seen_by
from styletutor.network.vgg import VGG
from styletutor.pictures.images import to_jpeg
from styletutor.plots import made_by, strongest_channels
from styletutor.runs.background import Run
from styletutor.runs.reconstruct import reconstruct_content
from styletutor.runs.result import Result
from styletutor.widgets.elements import Gallery, LayerMap, PictureView, Slider, tile, within
from styletutor.widgets.live import Note, Panel, in_columns

CHANNELS = 24  # on the sheet
PATCHES = 6
SIDE = 48  # pixels of a tile


class LayerExplorer(Panel):
    """Choose a layer on the map, then a channel, then a place in the picture.

    >>> widgets.LayerExplorer(vgg, photo, layer="relu2_1")

    `photo` is (1, 3, H, W) in [0, 1]. Start shows what survives of it in the layer: the content
    reconstruction. `settings` are those of `reconstruct_content`.
    """

    def __init__(
        self, vgg: VGG, photo: Tensor, layer: str = "relu2_1", channel: int = 0, **settings: Any
    ) -> None:
        self.vgg, self.photo, self.settings = vgg, photo.cpu(), settings
        self._layer = vgg.layer(layer).name
        self.map = LayerMap(vgg.layers, [self._layer])
        self.sheet = Gallery(side=SIDE, pixelated=True, label="channels, the strongest first")
        self.large = PictureView(width=340, tool="point")
        self.opacity = Slider(value=0.7, max=1, step=0.05, label="map over picture", readout=False)
        words = "patches of the picture that excite the channel most"
        self.patches = Gallery(side=64, most=0, label=words)
        self.about, self.place = Note(), Note()
        self.survives = PictureView(width=340)
        super().__init__()
        self.start_button.description = "What survives?"
        self.start_button.tooltip = "rebuild the picture from this layer alone"
        self._lay_out()
        self.map.observe(lambda _: self._look(), "selected")
        self.sheet.observe(lambda _: self._show_channel(), "selected")
        self.large.observe(lambda _: self._show_channel(), "point")
        self.opacity.observe(lambda _: self._show_channel(), "value")
        self._look(channel)

    def _lay_out(self) -> None:
        channels = Note("channels, the strongest first; each scaled by itself")
        left = widgets.VBox([channels, self.sheet])
        middle = widgets.VBox([self.about, self.large, self.opacity, self.place])
        patches = Note("patches that excite this channel most, and boxed in the picture")
        right = widgets.VBox([patches, self.patches, self.buttons, self.note, self.survives])
        rooms = (left, "1 1 240px"), (middle, "1 1 340px"), (right, "1 1 340px")
        self.children = [self.map, in_columns(*rooms)]

    @property
    def layer(self) -> str:
        """The layer on show."""
        return self._layer

    @property
    def channel(self) -> int:
        """The channel on show."""
        return self._order[self.sheet.chosen[0]]

    def on_begin(self, run: Run) -> None:
        self.survives.show(value=b"", alt=f"what survives in {self.layer}", caption="")

    def make_run(self) -> Run:
        return Run(reconstruct_content, self.photo, self.layer, vgg=self.vgg, **self.settings)

    def on_step(self, run: Run, step: Step) -> None:
        self.survives.show(value=to_jpeg(step.best))
        self.note.say(f"evaluation {step.evaluation} of {step.evaluations}")

    def on_end(self, run: Run, result: Result) -> None:
        loss, layer = result.loss["end"]["content"], result.settings["layers"]
        caption = f"what survives in {layer}: error {loss:.2g} of the features; {made_by(result)}"
        alt = f"the photograph as far as {layer} keeps it"
        self.survives.show(value=to_jpeg(result.image), caption=caption, alt=alt)
        self.note.say("stopped" if result.interrupted else "done")

    def _look(self, channel: int | None = None) -> None:
        """The features of the layer that was chosen, of which only one is ever held."""
        try:
            row = self.vgg.layer(next(iter(self.map.selected), self._layer))
            with torch.no_grad():
                features = self.vgg(self.photo.to(self.vgg.device), row.name)[row.name]
        except ValueError as error:
            self.about.say(str(error), error=True)
            return
        self._layer = row.name
        self._maps = features[0].cpu()
        self._order = strongest_channels(features, CHANNELS)
        if channel is not None and channel < len(self._maps) and channel not in self._order:
            self._order = [channel, *self._order[:-1]]
        at = self._order.index(channel) if channel in self._order else 0
        items = [
            tile(small(self._maps[n]), f"{n}", f"channel {n}", sharp=True) for n in self._order
        ]
        self.sheet.show(items=items, selected=[at])
        height, width = self._maps.shape[1:]
        self.large.show(nudge=[1 / width, 1 / height])
        self.about.say(
            f"{row.name}: {row.channels} channels of {width}×{height}, each position sees "
            f"{row.receptive_field}×{row.receptive_field} pixels; weights: {self.vgg.name}, "
            f"trained on {self.vgg.trained_on}"
        )
        self._show_channel()

    def _show_channel(self) -> None:
        if not self.sheet.chosen or self.sheet.chosen[0] >= len(self._order):
            return
        activation = self._maps[self.channel]
        size = tuple(self.photo.shape[2:])
        over = F.interpolate(viridis(activation), size, mode="nearest")
        grey = self.photo.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        mixed = torch.lerp(grey, over, self.opacity.number)
        places = strongest_places(activation, PATCHES)
        boxes = [self._box(*place) for place in places]
        alt = f"channel {self.channel} of {self.layer} over the photograph"
        words = "click in the picture, or use the arrow keys, to see what a position sees"
        if len(self.large.point) == 2:
            shares = (within(share, 0, 0.9999) for share in reversed(self.large.point))
            row, column = map(int, map(mul, shares, activation.shape))
            boxes.append({**self._box(row, column), "strong": True})
            value = float(activation[row, column])
            words = f"row {row}, column {column}: {value:.3g}; the thick box is what it sees"
        self.place.say(words)
        self.large.show(value=to_jpeg(mixed), alt=alt, boxes=boxes)
        patches = [
            tile(self._crop(*place), f"{float(activation[place]):.3g}", f"patch at row {place[0]}")
            for place in places
        ]
        self.patches.show(items=patches)

    def _box(self, row: int, column: int) -> dict[str, float]:
        height, width = self.photo.shape[2:]
        left, top, side = seen_by(self.vgg.layer(self.layer), row, column)
        sides = {"width": side / width, "height": side / height}
        return {"x": left / width, "y": top / height, **sides}

    def _crop(self, row: int, column: int) -> Tensor:
        """What the position sees; grey beyond the picture."""
        left, top, side = map(int, seen_by(self.vgg.layer(self.layer), row, column))
        padded = F.pad(self.photo, (side,) * 4, value=0.5)
        crop = padded[:, :, top + side : top + 2 * side, left + side : left + 2 * side]
        return F.interpolate(crop, (64, 64), mode="nearest" if side < 64 else "area")


def viridis(values: Tensor) -> Tensor:
    """(H, W) as a picture (1, 3, H, W), from dark blue at the lowest to yellow at the highest."""
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) / ((high - low) or 1.0)).numpy()
    colours = torch.from_numpy(colormaps["viridis"](scaled)[..., :3])
    return colours.permute(2, 0, 1)[None].float()


def small(activation: Tensor, side: int = 72) -> Tensor:
    """The same for a tile, of at most `side` pixels."""
    factor = max(1, -(-max(activation.shape) // side))
    return viridis(F.avg_pool2d(activation[None, None], factor)[0, 0])


def strongest_places(activation: Tensor, count: int) -> list[tuple[int, int]]:
    """(row, column) of the strongest responses, none next to another."""
    left, places = activation.clone(), []
    for _ in range(count):
        at = int(left.argmax())
        row, column = divmod(at, left.shape[1])
        if left[row, column] == -torch.inf:
            break
        places.append((row, column))
        left[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = -torch.inf
    return places

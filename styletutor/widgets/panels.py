"""A browser of channels, and a live panel that shows a descent while the kernel stays free."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib import colormaps
from torch import Tensor

from styletutor.descent import Step
from styletutor.images import to_jpeg
from styletutor.plots import made_by
from styletutor.recipes import recipes
from styletutor.reconstruct import reconstruct_content, reconstruct_style
from styletutor.result import Result
from styletutor.run import Run
from styletutor.transfer import transfer
from styletutor.vgg import VGG

SECONDS_BETWEEN_PICTURES = 0.2
WIDE = {"description_width": "8em"}
NATURAL = {"width": "360px", "align_self": "flex-start"}  # not stretched across the page


def enlarged_jpeg(image: Tensor, side: int = 320) -> bytes:
    """A picture (1, 3, H, W) in [0, 1] as JPEG, its pixels repeated up to about `side` of them."""
    factor = max(1, round(side / max(image.shape[2:])))
    return to_jpeg(image[:1].repeat_interleave(factor, 2).repeat_interleave(factor, 3))


def channel_browser(
    vgg: VGG, photo: Tensor, layer: str = "relu1_1", channel: int = 0
) -> widgets.Widget:
    """Choose a layer and a channel and see where the picture (1, 3, H, W) excites it."""
    layers = widgets.Dropdown(options=vgg.layer_names, value=layer, description="layer")
    last = vgg.layer(layer).channels - 1
    channels = widgets.IntSlider(value=channel, min=0, max=last, description="channel")
    features: dict[str, Tensor] = {}  # of the layer on show only
    shown, caption = widgets.Image(format="jpeg", layout=NATURAL), widgets.Label()

    def show(_: object = None) -> None:
        row = vgg.layer(layers.value)
        if row.name not in features:
            features.clear()
            with torch.no_grad():
                features.update(vgg(photo.to(vgg.device), row.name))
        maps = features[row.name][0]
        channels.max = len(maps) - 1
        activation = maps[channels.value].cpu()
        low, high = float(activation.min()), float(activation.max())
        scaled = (activation - low) / ((high - low) or 1.0)
        colours = torch.from_numpy(colormaps["viridis"](scaled.numpy())[..., :3])
        shown.value = enlarged_jpeg(colours.permute(2, 0, 1)[None].float())
        caption.value = (
            f"{row.name}, channel {channels.value} of {row.channels}: {low:.3g} (dark) to "
            f"{high:.3g} (bright); each position sees "
            f"{row.receptive_field}×{row.receptive_field} pixels; weights: {vgg.name}, "
            f"trained on {vgg.trained_on}"
        )

    layers.observe(show, "value")
    channels.observe(show, "value")
    show()
    return widgets.VBox([widgets.HBox([layers, channels]), caption, shown])


class LivePanel(widgets.VBox):
    """Start and Stop, the picture as it forms, and its losses in words.

    `make_run()` gives a new `Run` from what the `controls` say whenever Start is pressed; the run
    before it is stopped. From code: `panel.start()`, then `panel.wait()` for the `Result`, which
    raises what went wrong.
    """

    def __init__(
        self, make_run: Callable[[], Run], controls: Sequence[widgets.Widget] = ()
    ) -> None:
        self._make_run, self._shown_at = make_run, 0.0
        self.run: Run | None = None
        start = widgets.Button(description="Start", icon="play", button_style="success")
        stop = widgets.Button(description="Stop", icon="stop")
        start.on_click(lambda _: self.start())
        stop.on_click(lambda _: self.stop())
        self.picture = widgets.Image(format="jpeg", layout=NATURAL)
        self.caption = widgets.Label("press Start")
        super().__init__([*controls, widgets.HBox([start, stop]), self.caption, self.picture])

    def start(self) -> LivePanel:
        """Begin a new run with the present settings, after stopping the one before."""
        self.stop()
        self.caption.value, self._shown_at = "starting …", 0.0
        self.run = self._make_run()
        run = self.run
        run.on_step = lambda step: run is self.run and self._show(step)
        run.on_end = lambda run: run is self.run and self._finish(run)
        run.start()
        return self

    def stop(self) -> None:
        """Stop the present run, if any, after the evaluation under way; never blocks."""
        if self.run is not None:
            self.run.stop()

    def wait(self) -> Result:
        """The `Result` of the present run, once it is there."""
        if self.run is None:
            raise RuntimeError("nothing was started in this panel; call start() first")
        return self.run.wait()

    def _show(self, step: Step) -> None:
        if time.monotonic() - self._shown_at > SECONDS_BETWEEN_PICTURES:
            self._shown_at = time.monotonic()
            self.picture.value = enlarged_jpeg(step.best)
            losses = ", ".join(f"{name} {value:.3g}" for name, value in step.losses.items())
            self.caption.value = f"evaluation {step.evaluation} of {step.evaluations}: {losses}"

    def _finish(self, run: Run) -> None:
        if run.error is not None:
            self.caption.value = f"stopped by an error: {run.error}"
        else:
            loss = run.result.loss
            self.picture.value = enlarged_jpeg(run.result.image)
            self.caption.value = (
                f"{'stopped' if run.result.interrupted else 'done'}: loss "
                f"{loss['start']['total']:.3g} → {loss['end']['total']:.3g}; {made_by(run.result)}"
            )


def content_panel(vgg: VGG, photo: Tensor, layer: str = "relu3_1", **settings: Any) -> LivePanel:
    """Choose a layer, press Start, and see what that layer keeps of `photo` (1, 3, H, W)."""
    choice = widgets.Dropdown(options=_relus(vgg), value=layer, description="layer")
    return LivePanel(
        lambda: Run(reconstruct_content, photo, choice.value, vgg=vgg, **settings), [choice]
    )


def style_panel(
    vgg: VGG, style: Tensor, layers: Sequence[str] = ("relu1_1", "relu2_1"), **settings: Any
) -> LivePanel:
    """Choose layers (Ctrl or Shift for several), press Start, and see the style they hold."""
    choice = widgets.SelectMultiple(
        options=_relus(vgg), value=tuple(layers), rows=8, description="layers"
    )
    return LivePanel(
        lambda: Run(reconstruct_style, style, choice.value, vgg=vgg, **settings), [choice]
    )


def balance_panel(
    vgg: VGG, photo: Tensor, style: Tensor, style_weight: float | None = None, **settings: Any
) -> LivePanel:
    """A transfer with the style's weight on a fader, which acts on the running picture.

    It begins at `style_weight`, or at the default recipe's.
    """
    if style_weight is None:
        style_weight = recipes["default"].style_weight
    fader = widgets.FloatLogSlider(
        value=style_weight, min=-1, max=4, step=0.01, description="style weight", style=WIDE
    )
    panel = LivePanel(
        lambda: Run(transfer, photo, style, vgg=vgg, style_weight=fader.value, **settings), [fader]
    )
    fader.observe(lambda change: panel.run and panel.run.turn(style=change["new"]), "value")
    return panel


def _relus(vgg: VGG) -> list[str]:
    return [layer.name for layer in vgg.layers if layer.kind == "relu"]

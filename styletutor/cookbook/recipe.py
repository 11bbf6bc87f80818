"""A set-up of a style transfer as data, and the network, method and objective that it describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from torch import Tensor

from styletutor.descent.method import EVALUATIONS, Method
from styletutor.descent.starts import GREY_NOISE, Noise
from styletutor.loss.knobs import Blend, LayerWeights
from styletutor.loss.objective import Objective
from styletutor.loss.parts import TERMS, Part
from styletutor.loss.units import SHARES, Units
from styletutor.network.vgg import VGG

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One set-up, in the words and the numbers of whoever published it.

    Weights multiply losses that are counted in `units`. The network is used with this `pooling`
    (None: its own), `round_up`, `edge`, `gain` and `white` (`VGG.adapted`). Its numbers
    are for features of a certain `level` (mean activation): a network whose level is known and far
    from it (less than half, more than twice) is brought to it, so that the balance is roughly that
    of the published network. `pixels` is how wide its range of pixels is: `learning_rate` and
    `epsilon` are in those. `decay` (factor, every) lowers the learning rate, and `wavelength` is
    what L-BFGS begins with (`lbfgs.LBFGS`). `side` says which side of the pictures is shrunk to how
    many pixels, `style_scale` how many times as wide as the content the styles are made. Without
    `clamp` pixels may leave [0, 1] on the way, and are cut at the end. `notes` are the differences
    between the program, its description and this recipe.
    """

    name: str
    source: str
    notes: str = ""
    content_layers: LayerWeights = field(default_factory=lambda: {"relu4_2": 1.0})
    style_layers: LayerWeights = field(default_factory=lambda: dict.fromkeys(STYLE_LAYERS, 1.0))
    content_weight: float = 1.0
    style_weight: float = 1.0
    tv_weight: float = 0.0
    units: Units = SHARES
    pooling: str | None = None
    round_up: bool = False
    edge: str = "zero"
    gain: float | tuple[float, float, float] = 1.0
    white: float = 1.0
    level: float | None = None
    optimiser: str = Method.optimiser
    learning_rate: float = Method.learning_rate
    betas: tuple[float, float] = Method.betas
    epsilon: float = Method.epsilon
    decay: tuple[float, int] | None = Method.decay
    pixels: float = 1.0
    start: str = "content"
    noise: Noise = GREY_NOISE
    clamp: bool = Method.clamp
    wavelength: float = Method.wavelength
    coarse_to_fine: bool | None = Method.coarse_to_fine
    evaluations: int = EVALUATIONS
    side: tuple[str, int] | None = None
    style_scale: float | None = None

    def network(self, vgg: VGG) -> VGG:
        """The network as this recipe uses it."""
        names = ("pooling", "round_up", "edge", "gain", "white")
        strength = self.level / vgg.level if self.level and vgg.level else 1.0
        strength = 1.0 if 0.5 < strength < 2 else strength
        return vgg.adapted(**{n: getattr(self, n) for n in names}, strength=strength)

    def method(self, **given: Any) -> Method:
        """How this recipe moves a picture, its units of pixels made those of [0, 1].

        `given` are fields of a `Method` that replace what it says, in its own units.
        """
        same = {f.name for f in fields(Method)} & {f.name for f in fields(self)}
        own = Method(**{**{name: getattr(self, name) for name in same}, **given})
        rate, epsilon = own.learning_rate / self.pixels, own.epsilon * self.pixels
        return replace(own, learning_rate=rate, epsilon=epsilon)

    def objective(
        self,
        vgg: VGG,
        *,
        content: Tensor | None = None,
        styles: Sequence[Tensor] = (),
        blend: Blend = None,
        masks: Sequence[Tensor] | None = None,
        tile: int | None = None,
    ) -> Objective:
        """This recipe's objective for the given pictures: its loss is that system's loss.

        Pictures are (1 or B, 3, H, W) in [0, 1] on the network's device; styles of any size. For
        other layers or weights: `dataclasses.replace(recipe, style_weight=…).objective(…)`. Raises
        what `Objective` raises.
        """
        weighed = [f"{term}_weight" for term in TERMS] + ["content_layers", "style_layers", "units"]
        own = {name: getattr(self, name) for name in weighed}
        given = {"content": content, "styles": styles, "blend": blend, "masks": masks, "tile": tile}
        return Objective(self.network(vgg), **own, **given)

    def translate_to(
        self, other: Recipe, vgg: VGG, content: Tensor, styles: Sequence[Tensor]
    ) -> Recipe:
        """This recipe with its weights in the units of `other`, for these pictures.

        The same layers, the same network and the same gradient, in the numbers that one would give
        to the other system. Raises ValueError if the two compare different things of a style.
        """
        if self.units.statistic != other.units.statistic:
            raise ValueError(
                f"{self.name} compares styles by {self.units.statistic}, {other.name} by "
                f"{other.units.statistic}: no weight makes the one of the other"
            )
        kept = {name: getattr(self.units, name) for name in ("variation", "pixel_scale")}
        units = replace(other.units, **kept, blend_losses=self.units.blend_losses)
        changes: dict[str, object] = {"units": units, "name": f"{self.name} as {other.name}"}
        ours = self.objective(vgg, content=content, styles=styles)
        theirs = replace(self, units=units).objective(vgg, content=content, styles=styles)
        weights = ours.weight_values()
        for term in ("content", "style"):
            new = {
                Part.of(part).layer: weights[term][0]
                * weights[part][0]
                * (factor / theirs.targets.factors[part]).mean().item()
                for part, factor in ours.targets.factors.items()
                if Part.of(part).term == term
            }
            # With `average` the new layer weights sum to 1, as they are scaled to.
            whole = sum(new.values()) if units.average else max(new.values())
            changes[f"{term}_weight"] = whole
            if whole > 0:
                changes[f"{term}_layers"] = {n: value / whole for n, value in new.items()}
        return replace(self, **changes)

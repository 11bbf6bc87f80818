"""What the faders of a mixing board mean: from their positions to the weights of a recipe."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from styletutor.cookbook.recipe import Recipe
from styletutor.loss.knobs import layer_shares
from styletutor.widgets.elements import within

BALANCE, TV = "style", "tv"
LOUDEST = 3.0  # a layer's fader at the top
OFF = -3.0  # total variation's fader at the bottom


@dataclass(frozen=True)
class Desk:
    """The faders over a recipe.

    `values` maps a strip to its fader: "style" and "tv" are powers of ten by which the recipe's
    weights are multiplied (the lowest position of "tv" is off), a layer's own is a factor. With
    `solo` only those layers sound, and `muted` ones never do.
    """

    recipe: Recipe
    values: Mapping[str, float] = field(default_factory=dict)
    muted: Collection[str] = ()
    solo: Collection[str] = ()

    def style_layers(self) -> dict[str, float]:
        """The style layers' weights; shares that sum to 1 where the recipe's are."""
        own = layer_shares(self.recipe.style_layers, self.recipe.units.average)
        faded = {
            name: weight * self.values.get(name, 1.0) * self._sounds(name)
            for name, weight in own.items()
        }
        whole = sum(faded.values())
        if not self.recipe.units.average or not whole:
            return faded
        return {name: weight / whole for name, weight in faded.items()}

    def style_weight(self) -> float:
        return self.recipe.style_weight * 10 ** self.values.get(BALANCE, 0.0)

    def tv_weight(self) -> float:
        value = self.values.get(TV, home(self.recipe)[TV])
        return 0.0 if value <= OFF else tv_unit(self.recipe) * 10**value

    def settings(self) -> dict[str, Any]:
        """What to give to `transfer`, so that it starts as the faders stand."""
        layers, weight = self.style_layers(), self.style_weight()
        if not any(layers.values()):  # a recipe's layers cannot all have no weight
            layers, weight = dict.fromkeys(layers, 1.0), 0.0
        return {"style_layers": layers, "style_weight": weight, "tv_weight": self.tv_weight()}

    def knobs(self) -> dict[str, float]:
        """What to give to `Run.turn`, so that a descent under way goes on as they stand."""
        layers = {f"style {name}": weight for name, weight in self.style_layers().items()}
        return {"style": self.style_weight(), "tv": self.tv_weight(), **layers}

    def _sounds(self, name: str) -> bool:
        return name not in self.muted and (not self.solo or name in self.solo)


def tv_unit(recipe: Recipe) -> float:
    """Where the recipe has no total variation, an eighth of the style's weight: with losses as
    shares it is about where grain begins to go."""
    return recipe.tv_weight or recipe.style_weight / 8


def home(recipe: Recipe) -> dict[str, float]:
    """The faders' positions that are the recipe as it is."""
    return {
        BALANCE: 0.0,
        TV: 0.0 if recipe.tv_weight else OFF,
        **dict.fromkeys(layer_shares(recipe.style_layers), 1.0),
    }


def strips(recipe: Recipe) -> list[dict[str, Any]]:
    """The board's strips for a recipe: one for each style layer, for style as a whole, and tv."""
    start = home(recipe)
    log = {"scale": "log", "step": 0.05, "kind": "term"}
    rows = [
        {"name": BALANCE, "title": "style", "min": -2, "max": 2, **log},
        {"name": TV, "title": "tv", "min": OFF, "max": 2, "off": True, **log},
    ]
    layer = {"kind": "layer", "scale": "linear", "min": 0, "max": LOUDEST, "step": 0.05}
    names = [name for name in start if name not in (BALANCE, TV)]
    rows += [{"name": name, "title": name, "off": True, **layer} for name in names]
    return [{**row, "home": start[row["name"]]} for row in rows]


def cleaned(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, float]:
    """Positions from a browser: those of this recipe's strips, within their bounds."""
    return {
        row["name"]: float(within(values.get(row["name"], row["home"]), row["min"], row["max"]))
        for row in strips(recipe)
    }


def fader(factor: float) -> float:
    """Where the style's fader has to be for this factor, as far as it reaches."""
    return max(-2.0, min(2.0, math.log10(factor)))

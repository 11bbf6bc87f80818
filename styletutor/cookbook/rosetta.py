"""The Rosetta table: what the published systems' weights are in one another's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from styletutor.cookbook.published import recipes
from styletutor.cookbook.recipe import Recipe
from styletutor.network.vgg import VGG


@dataclass(frozen=True)
class Row:
    """One recipe's weights in the paper's units, for certain pictures and a network.

    `content` maps its layers to α, what Eq. 1's ½ Σ (F - P)² is multiplied by, and `style` its
    layers to β, what Eq. 4's E is multiplied by. `why` says what keeps it from being translated.
    """

    name: str
    content: dict[str, float]
    style: dict[str, float]
    why: str = ""

    @property
    def balance(self) -> float:
        """α / β, summed over the layers of each."""
        style = sum(self.style.values())
        return sum(self.content.values()) / style if style else float("nan")


def rosetta(vgg: VGG, content: Tensor, styles: Sequence[Tensor]) -> list[Row]:
    """Every recipe in the paper's units, for the given pictures (1, 3, H, W) and network.

    Each for the network as that recipe uses it. The factors depend on channels and positions, so on
    network and size; and where a recipe counts in shares of its targets, on the pictures. A recipe
    that needs a layer which the network does not have has a row that says so.
    """
    return [_row(recipe, vgg, content, styles) for recipe in recipes.values()]


def _row(recipe: Recipe, vgg: VGG, content: Tensor, styles: Sequence[Tensor]) -> Row:
    try:
        paper = recipe.translate_to(recipes["gatys2016"], vgg, content, styles)
    except ValueError as error:
        return Row(recipe.name, {}, {}, str(error))
    alphas = {n: w * paper.content_weight for n, w in paper.content_layers.items()}
    betas = {n: w * paper.style_weight for n, w in paper.style_layers.items()}
    return Row(recipe.name, alphas, betas)


def as_lines(rows: Sequence[Row]) -> list[str]:
    """The table as text: α of the content layers, β of the style layers, and their ratio."""
    lines = [f"{'recipe':16} {'α / β':>9}  α by layer; β by layer"]
    for row in rows:
        if row.why:
            lines.append(f"{row.name:16} {'—':>9}  {row.why}")
            continue
        alphas, betas = (
            ", ".join(f"{layer} {weight:.3g}" for layer, weight in weights.items())
            for weights in (row.content, row.style)
        )
        lines.append(f"{row.name:16} {row.balance:9.2g}  {alphas}; {betas}")
    return lines

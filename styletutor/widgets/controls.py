"""What the transfer studio's controls say: pictures, settings and faders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from styletutor.inputs import Picture
from styletutor.recipes import find_recipe, recipes
from styletutor.vgg import VGG
from styletutor.weights import find_vgg19, load_vgg
from styletutor.widgets.desk import Desk, home, strips
from styletutor.widgets.elements import Board, Slider
from styletutor.widgets.pictures import Pictures

WORDS = {"description_width": "6.5em"}
MOST_STYLES = 3
SMALLEST, LARGEST = 64, 1024  # pixels


class Controls(widgets.Tab):
    """Pictures and settings in three tabs, and the `board` of faders, which stands elsewhere."""

    def __init__(
        self,
        content: Picture,
        styles: Picture | Sequence[Picture],
        vgg: VGG | None,
        *,
        recipe: str,
        start: str,
        size: int,
        evaluations: int,
        seed: int,
    ) -> None:
        styles = list(styles) if isinstance(styles, list | tuple) else [styles]
        self._networks = {} if vgg is None else {vgg.name: vgg}
        self.contents = Pictures("content", "photographs", [content])
        self.styles = Pictures("style", "artworks", styles, MOST_STYLES)
        names = [*self._networks, *(["vgg19"] if find_vgg19() else []), "pocket", "random"]
        self.weights = widgets.Dropdown(options=list(dict.fromkeys(names)), description="weights")
        self.recipe = widgets.Dropdown(options=list(recipes), value=recipe, description="recipe")
        self.origin = widgets.Dropdown(
            options=["content", "noise"], value=start, description="start from"
        )
        self.size = Slider(
            value=size, min=SMALLEST, max=max(LARGEST, size), step=16, label="size", unit="px"
        )
        self.evaluations = Slider(
            value=evaluations, min=1, max=max(1000, evaluations), label="evaluations"
        )
        self.seed = widgets.IntText(value=seed, description="seed")
        self._own = dict(self.settings)
        self.board = Board()
        rows = [self.recipe, self.weights, self.origin, self.size, self.evaluations, self.seed]
        for row in (self.recipe, self.weights, self.origin, self.seed):
            row.style, row.layout = WORDS, {"width": "auto"}
        super().__init__([self.contents, self.styles, widgets.VBox(rows)])
        self.titles = ("Content", "Style", "Settings")
        self.recipe.observe(lambda _: self.set_home(), "value")
        self.styles.gallery.observe(lambda _: self._name_styles(), "selected")
        self.set_home()
        self._name_styles()

    @property
    def settings(self) -> dict[str, Any]:
        """The third tab's, as arguments of `transfer`."""
        return {
            "recipe": self.recipe.value,
            "start": self.origin.value,
            "size": self.size.value,
            "evaluations": self.evaluations.value,
            "seed": self.seed.value,
        }

    @property
    def desk(self) -> Desk:
        """The faders as they stand."""
        board = self.board
        return Desk(find_recipe(self.recipe.value), board.values, board.muted, board.solo)

    def arguments(self) -> tuple[tuple[Any, Any], dict[str, Any]]:
        """The pictures, and the other arguments of `transfer`; ValueError if one is missing."""
        contents, styles = self.contents.chosen, self.styles.chosen
        if not contents or not styles:
            missing = "style" if contents else "content"
            raise ValueError(f"no {missing} picture is chosen; choose one and press Start")
        desk = self.desk.settings()
        style: Any = styles[0] if len(styles) == 1 else self._by_layer(styles, desk)
        settings = {**desk, **self.settings, "vgg": self.network()}
        return (contents[0], style), settings

    def describe(self) -> dict[str, str]:
        """All that can be chosen, in words, to say what is different from another time."""
        words = {"content": self.contents.names, "style": self.styles.names}
        layers = self.desk.recipe.style_layers if len(self.styles.chosen) > 1 else ()
        for layer in layers:
            at = self.board.sources.get(layer, -1)
            words[f"style of {layer}"] = dict(enumerate(self.styles.names)).get(at, "blend")
        words |= {**self.settings, "weights": self.weights.value}
        board, start = self.board, home(self.desk.recipe)
        for name in start:
            silent = "muted " * (name in board.muted) + "solo " * (name in board.solo)
            words[f"fader {name}"] = f"{silent}{board.values.get(name, start[name]):.2f}"
        desk = self.desk.settings()
        for name in ("style_weight", "tv_weight"):
            words[name.replace("_", " ")] = f"{desk[name]:.3g}"
            del words[f"fader {name.removesuffix('_weight')}"]
        return {name: str(value) for name, value in words.items()}

    def network(self) -> VGG:
        name = self.weights.value
        if name not in self._networks:
            self._networks[name] = load_vgg(name)
        return self._networks[name]

    def set_home(self) -> None:
        """The faders where they are the recipe as it is."""
        recipe = self.desk.recipe
        self.board.show(
            values=home(recipe), muted=[], solo=[], sources={}, strips=strips(recipe),
            pulls={}, removed={}, terms={},
        )  # fmt: skip

    def reset(self) -> None:
        """Settings and faders as at the beginning; the pictures stay."""
        for control, name in (
            (self.recipe, "recipe"),
            (self.origin, "start"),
            (self.size, "size"),
            (self.evaluations, "evaluations"),
            (self.seed, "seed"),
        ):
            control.value = self._own[name]
        self.set_home()

    def _by_layer(self, styles: list[Picture], desk: dict[str, Any]) -> Any:
        places = {layer: self.board.sources.get(layer, -1) for layer in desk["style_layers"]}
        if not any(0 <= at < len(styles) for at in places.values()):
            return styles
        return {
            layer: [styles[at]] if 0 <= at < len(styles) else list(styles)
            for layer, at in places.items()
        }

    def _name_styles(self) -> None:
        self.board.show(styles=self.styles.names)

"""What the transfer studio's controls say: pictures, settings and faders."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from torch import Tensor

from styletutor.cookbook.published import find_recipe, recipes
from styletutor.descent.starts import STARTS
from styletutor.doctor import SIZE, measure
from styletutor.network.vgg import VGG
from styletutor.network.vgg19 import automatic
from styletutor.network.weights import WEIGHT_NAMES, load_vgg
from styletutor.pictures.images import to_png
from styletutor.pictures.reading import decode_image
from styletutor.runs.inputs import Picture
from styletutor.widgets.elements import Board, Slider
from styletutor.widgets.live import Note
from styletutor.widgets.studio.desk import Desk, cleaned, home, strips
from styletutor.widgets.studio.pictures import Pictures

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
        named = vgg and (vgg.source if vgg.source in WEIGHT_NAMES else vgg.name)
        self._networks = {named: vgg} if named else {}
        self.contents = Pictures("content", "photographs", [content])
        self.styles = Pictures("style", "artworks", styles, MOST_STYLES)
        names = dict.fromkeys([*self._networks, automatic()[0], "pocket", "random"])
        self.weights = widgets.Dropdown(options=list(names), description="weights")
        self.costs, self._loading = Note(""), threading.Lock()
        self._measuring = threading.Thread(target=self._measure, name="costs", daemon=True)
        self.recipe = widgets.Dropdown(
            options=list(recipes), value=find_recipe(recipe).name, description="recipe"
        )
        self.origin = widgets.Dropdown(options=STARTS, value=start, description="start from")
        self.size = Slider(
            value=size, min=SMALLEST, max=max(LARGEST, size), step=16, label="size", unit="px"
        )
        most = max(1000, evaluations)
        self.evaluations = Slider(value=evaluations, min=1, max=most, label="evaluations")
        self.seed = widgets.IntText(value=seed, description="seed")
        self.board, self._named = Board(), []
        for row in (self.recipe, self.weights, self.origin, self.seed):
            row.style, row.layout = WORDS, {"width": "auto"}
        rows = [self.recipe, self.weights, self.origin, self.size, self.evaluations, self.seed]
        self._own = {control: control.value for control in rows}
        rows.insert(2, self.costs)  # below the networks
        super().__init__([self.contents, self.styles, widgets.VBox(rows)])
        self.titles = ("Content", "Style", "Settings")
        self.observe(lambda _: self._show_costs(), "selected_index")
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
            "size": int(self.size.number),
            "evaluations": int(self.evaluations.number),
            "seed": self.seed.value,
        }

    @property
    def desk(self) -> Desk:
        """The faders as they stand."""
        board, recipe = self.board, find_recipe(self.recipe.value)
        return Desk(recipe, cleaned(recipe, board.values), board.muted, board.solo)

    def arguments(self) -> tuple[tuple[Any, Any], dict[str, Any]]:
        """The pictures, and the other arguments of `transfer`; ValueError if one is missing."""
        contents, styles = (self._ready(some.chosen) for some in (self.contents, self.styles))
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
        sources = [*self.styles.names, "blend"]  # a layer without a style of its own has -1
        for layer in self.desk.recipe.style_layers if len(self.styles.chosen) > 1 else ():
            words[f"style of {layer}"] = sources[self._source(layer)]
        words |= {**self.settings, "weights": self.weights.value, **self.describe_faders()}
        return {name: str(value) for name, value in words.items()}

    def describe_faders(self) -> dict[str, str]:
        """Those that count while a run goes on."""
        desk = self.desk
        weights = {"style weight": desk.style_weight(), "tv weight": desk.tv_weight()}
        words = {name: f"{weight:.3g}" for name, weight in weights.items()}
        for name in desk.recipe.style_layers:
            silent = "muted " * (name in desk.muted) + "solo " * (name in desk.solo)
            words[f"fader {name}"] = f"{silent}{desk.values[name]:.2f}"
        return words

    def network(self, name: str | None = None) -> VGG:
        """The one that is chosen, or another of those on offer."""
        name = name or self.weights.value
        with self._loading:
            if name not in self._networks:
                self._networks[name] = load_vgg(name)
            return self._networks[name]

    def _show_costs(self) -> None:
        """When the settings are opened for the first time: until then nobody waits for it."""
        if self.titles[self.selected_index or 0] == "Settings" and self._measuring.ident is None:
            self.costs.say("measuring what an evaluation costs here …")
            self._measuring.start()

    def _measure(self) -> None:
        try:
            networks = [self.network(n) for n in self.weights.options if n != "random"]
            costs = [f"{measure(each):.2g} s with {each.name}" for each in networks]
            self.costs.say(f"an evaluation at {SIZE} px takes here about {', '.join(costs)}")
        except (MemoryError, OSError, RuntimeError, ValueError) as error:
            self.costs.say(str(error), error=True)

    def set_home(self) -> None:
        """The faders where they are the recipe as it is."""
        recipe = self.desk.recipe
        nothing = {"muted": [], "solo": [], "sources": {}, "pulls": {}, "removed": {}, "terms": {}}
        self.board.show(values=home(recipe), strips=strips(recipe), **nothing)

    def reset(self) -> None:
        """Settings and faders as at the beginning; the pictures stay."""
        for control, value in self._own.items():
            control.value = value
        self.set_home()

    def _source(self, layer: str) -> int:
        at = self.board.sources.get(layer, -1)
        return at if type(at) is int and 0 <= at < len(self.styles.chosen) else -1

    def _ready(self, pictures: list[Picture]) -> list[Picture]:
        """Uploads as their files would be read at this size: what is saved makes the same again."""
        size = int(self.size.number)
        return [
            decode_image(to_png(picture[:1]), "the picture", size)
            if isinstance(picture, Tensor)
            else picture
            for picture in pictures
        ]

    def _by_layer(self, styles: list[Picture], desk: dict[str, Any]) -> Any:
        places = {layer: self._source(layer) for layer in desk["style_layers"]}
        if all(at < 0 for at in places.values()):
            return styles
        return {layer: styles if at < 0 else [styles[at]] for layer, at in places.items()}

    def _name_styles(self) -> None:
        """A layer keeps the picture that it has as long as that is chosen."""
        chosen, before = self.styles.gallery.chosen, self._named
        sources = {
            layer: chosen.index(before[at])
            for layer, at in self.board.sources.items()
            if type(at) is int and 0 <= at < len(before) and before[at] in chosen
        }
        self._named = chosen
        self.board.show(styles=self.styles.names, sources=sources)

"""The published set-ups as data, and ours."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from styletutor.cookbook.recipe import STYLE_LAYERS, Recipe
from styletutor.descent.starts import Noise
from styletutor.loss.units import Units
from styletutor.network.fingerprint import PRINTS
from styletutor.network.vgg import CAFFE_MEAN, IMAGENET_MEAN, IMAGENET_STD

__all__ = ["STYLE_LAYERS", "Recipe", "find_recipe", "recipes"]

BLOCKS = range(1, 6)
OXFORD, TORCHVISION = (PRINTS[name].level for name in ("Oxford", "torchvision"))
WAVELENGTH = 32.0  # pixels: what our own L-BFGS begins with
MEAN_SQUARES = Units(content="mean", style="mean", average=False)

_JCJOHNSON = Recipe(
    name="jcjohnson",
    source="J. Johnson, neural-style (neural_style.lua)",
    notes="White is 256 before the mean is taken off. Caffe's poolings round up. Total "
    "variation enters its gradient only, not the loss that it prints; here both.",
    content_weight=5.0,
    style_weight=100.0,
    tv_weight=1e-3,
    units=Units(
        content="mean", style="mean", variation="half-sum-squares", pixel_scale=256.0, average=False
    ),
    pooling="max",
    level=OXFORD,
    round_up=True,
    white=256 / 255,
    learning_rate=10.0,
    pixels=256.0,
    start="noise",
    noise=Noise(spread=0.001 / 256, about=tuple(v * 255 / 256 for v in CAFFE_MEAN)),
    clamp=False,
    evaluations=1000,
    side=("long", 512),
)

_ALL = [
    Recipe(
        name="default",
        source="Gatys et al. (2016), the layers of Section 3, after the ReLU; losses as shares, "
        "and their balance chosen by looking",
        style_weight=40.0,
        wavelength=WAVELENGTH,
        coarse_to_fine=None,
    ),
    Recipe(
        name="gatys2016",
        source="Gatys, Ecker & Bethge, Image Style Transfer Using Convolutional Neural Networks "
        "(CVPR 2016), Eqs. 1 to 7",
        notes="The paper rescales its network so that each filter's mean activation is 1. With "
        "α/β = 1e-3 that leaves the photograph as it was: for features of 1 the content's sum is "
        "thousands of times the style's. With the published weights as they are, as here, the "
        "ratio gives pictures like the paper's.",
        content_layers={"conv4_2": 1.0},
        style_layers={f"conv{block}_1": 1.0 for block in BLOCKS},
        style_weight=1e3,
        units=Units(content="paper", style="paper"),
        pooling="avg",
        level=OXFORD,
        start="noise",
        clamp=False,
        evaluations=1000,
    ),
    Recipe(
        name="gatys-notebook",
        source="L. Gatys, PytorchNeuralStyleTransfer (NeuralStyleTransfer.ipynb)",
        notes="Its layer weights 1e3/N² times the mean square of G/M are 1e3 times the mean square "
        "of G/(N M). It goes on to 800 pixels with weights of the same kind; here that is a second "
        "run, from the first one's picture.",
        style_weight=1e3,
        units=MEAN_SQUARES,
        pooling="max",
        level=OXFORD,
        clamp=False,
        evaluations=500,
        side=("short", 512),
    ),
    Recipe(
        name="anishathalye",
        source="A. Athalye, neural-style (stylize.py, neural_style.py)",
        notes="Its article says average pooling, its program takes the maximum; poolings round up, "
        "as TensorFlow pads. The noise it starts from is nearly flat. With several styles their "
        "losses are blended. Widths of styles are those of the picture times --style-scales.",
        content_weight=5.0,
        style_weight=500.0,
        tv_weight=100.0,
        units=Units(content="mean", style="mean", pixel_scale=255.0, blend_losses=True),
        pooling="max",
        level=OXFORD,
        round_up=True,
        optimiser="adam",
        learning_rate=10.0,
        pixels=255.0,
        start="noise",
        noise=Noise(spread=0.256 / 255, about=CAFFE_MEAN),
        clamp=False,
        evaluations=1000,
        style_scale=1.0,
    ),
    Recipe(
        name="pytorch-tutorial",
        source="A. Jacq, Neural Transfer Using PyTorch (PyTorch's tutorials), and Z. Na, "
        "neural-style-pytorch, which follows it",
        notes="Faults: what it calls conv_1 to conv_5 are the first five convolutions, before the "
        "ReLU, not the paper's layers, and that is kept here. It cuts pixels inside the closure, "
        "behind L-BFGS's back; here the optimiser is ours, which knows of the bounds. Its 300 "
        "steps are evaluations, in rounds of 20, and end at 320; Z. Na's program makes 620. Of "
        "that one --lr and --mode do nothing, and its README claims Adam, a start from noise and "
        "average pooling.",
        content_layers={"conv2_2": 1.0},
        style_layers=dict.fromkeys(("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"), 1.0),
        style_weight=1e6,
        units=MEAN_SQUARES,
        pooling="max",
        level=TORCHVISION,
        wavelength=WAVELENGTH,
        evaluations=320,
        side=("short", 512),
    ),
    Recipe(
        name="tensorflow-tutorial",
        source="Neural style transfer (TensorFlow's tutorials: style_transfer.ipynb)",
        notes="Its Gram matrix is divided by the positions and not by the channels, which is why "
        "its style weight is a millionth of its content weight. It runs a second time with the "
        "total variation that is set here; without, first. Its Adam adds 0.1 before the early "
        "steps are corrected, here after.",
        content_layers={"relu5_2": 1.0},
        content_weight=1e4,
        style_weight=1e-2,
        tv_weight=30.0,
        units=Units(content="mean", style="sum", variation="sum-absolute"),
        pooling="max",
        level=OXFORD,
        optimiser="adam",
        learning_rate=0.02,
        betas=(0.99, 0.999),
        epsilon=0.1,
        evaluations=1000,
        side=("long", 512),
    ),
    Recipe(
        name="keras-scipy",
        source="Keras' neural style transfer example as an article spread it (scipy's L-BFGS-B)",
        notes="This is what was meant. Faults: the generated picture never enters the network, so "
        "its gradient is None; a third picture of the batch is read that was never there; the "
        "result is saved with red and blue exchanged and cut at ±128 after the mean was taken off; "
        "every layer's loss is divided as if it had 3 channels and the picture's positions; its "
        "own total variation squares twice.",
        content_layers={"relu5_2": 1.0},
        content_weight=0.025,
        tv_weight=1.0,
        units=Units(content="sum", style="keras", variation="sum-absolute", pixel_scale=255.0),
        pooling="max",
        level=OXFORD,
        pixels=255.0,
        start="noise",
        noise=Noise("uniform", 0.5, tuple(value - 0.5 / 255 for value in CAFFE_MEAN)),
        clamp=False,
        evaluations=100,
        side=("long", 800),
    ),
    _JCJOHNSON,
    replace(
        _JCJOHNSON,
        name="neural-style-pt",
        source="ProGamerGov, neural-style-pt (neural_style.py)",
        notes="As jcjohnson, with white at 255, poolings that round down, and absolute values in "
        "the total variation.",
        units=Units(
            content="mean", style="mean", variation="sum-absolute", pixel_scale=255.0, average=False
        ),
        round_up=False,
        white=1.0,
        learning_rate=1.0,
        pixels=255.0,
        noise=Noise(spread=0.001 / 255, about=CAFFE_MEAN),
    ),
    Recipe(
        name="gordicaleksa",
        source="A. Gordić, pytorch-neural-style-transfer (neural_style_transfer.py)",
        notes="Pixels of 0 to 255 go into a network that was trained for about -2 to 2: all "
        "features are some 57 times too strong, and biases hardly count. An in-place ReLU makes "
        "relu4_2 of what it calls conv4_2. It searches along lines; here there is no search.",
        content_weight=1e5,
        style_weight=3e4,
        tv_weight=1.0,
        units=Units(content="mean", style="sum", variation="sum-absolute", pixel_scale=255.0),
        pooling="max",
        level=TORCHVISION,
        gain=tuple(255 * std for std in IMAGENET_STD),
        learning_rate=10.0,
        pixels=255.0,
        noise=Noise("uniform", 90 / 255, IMAGENET_MEAN),
        clamp=False,
        evaluations=1000,
        side=("height", 400),
    ),
    Recipe(
        name="crowsonkb",
        source="K. Crowson, style-transfer-pytorch (style_transfer.py)",
        notes="It grows by √2 from 128 pixels and shows an average over its iterates; here the "
        "picture doubles, and the best one counts.",
        style_layers=dict(zip(STYLE_LAYERS, (256.0, 64.0, 16.0, 4.0, 1.0), strict=True)),
        content_weight=0.015,
        tv_weight=2.0,
        units=Units(
            content="mean",
            style="mean over channels",
            statistic="wasserstein",
            variation="nine-point",
        ),
        pooling="max",
        level=TORCHVISION,
        edge="repeat",
        optimiser="adam",
        learning_rate=0.02,
        betas=(0.9, 0.99),
        coarse_to_fine=True,
        evaluations=3000,
        side=("long", 512),
    ),
    Recipe(
        name="d2l",
        source="A. Zhang et al., Dive into Deep Learning, Section 14.12 (neural-style.md)",
        notes="In-place ReLUs make relu1_1 to relu4_1 and relu4_4 of what is read as convolutions; "
        "only conv5_1, the last layer, stays one. Its learning rate is for pixels divided by each "
        "channel's standard deviation; here by their mean.",
        content_layers={"relu4_4": 1.0},
        style_layers=dict.fromkeys((*STYLE_LAYERS[:4], "conv5_1"), 1.0),
        style_weight=1e4,
        tv_weight=10.0,
        units=Units(
            content="mean",
            style="mean",
            variation="mean-absolute",
            pixel_scale=tuple(1 / s for s in IMAGENET_STD),
            average=False,
        ),
        pooling="max",
        level=TORCHVISION,
        optimiser="adam",
        learning_rate=0.3,
        decay=(0.8, 50),
        pixels=3 / sum(IMAGENET_STD),
        clamp=False,
        evaluations=500,
        side=("long", 450),
    ),
]

recipes: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})
OTHER_NAMES = {"zhenye-na": "pytorch-tutorial"}


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`; ValueError with the nearest names if there is none."""
    name = OTHER_NAMES.get(name, name)
    if name in recipes:
        return recipes[name]
    near = difflib.get_close_matches(str(name), recipes, n=3, cutoff=0.4) or list(recipes)
    raise ValueError(f"unknown recipe {name!r}; did you mean {', '.join(near)}?")

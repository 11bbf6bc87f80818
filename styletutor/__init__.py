"""Learn and teach neural style transfer: look inside VGG-19, reconstruct, transfer."""

import os

# PyTorch's threads on Linux wait for each other by spinning, each on its core. Beside any other
# busy program, such as a browser, small networks then run many times slower; a short spin mends it.
# It has to be said before torch is loaded, and JupyterLab's kernels inherit it.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# And its memory for features comes in small pages, each of which costs the system a fault whenever
# it is handed out anew. Large pages, where Linux has them, make large pictures up to 1.5 times as
# fast.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from styletutor.checkpoints import Frame
from styletutor.images import resize_image, save_image
from styletutor.layers import Layer, layer_table
from styletutor.losses import (
    content_loss,
    gram_matrix,
    relative_error,
    style_loss,
    total_variation,
)
from styletutor.objective import Objective
from styletutor.recipe import Recipe
from styletutor.recipes import recipes
from styletutor.reconstruct import (
    figure_one,
    reconstruct_content,
    reconstruct_each,
    reconstruct_style,
)
from styletutor.result import Result
from styletutor.rosetta import rosetta
from styletutor.run import Run
from styletutor.samples import load_image, sample_names
from styletutor.timelapse import Timelapse
from styletutor.transfer import transfer
from styletutor.version import __version__ as __version__
from styletutor.vgg import VGG
from styletutor.weights import load_vgg

__all__ = [
    "VGG",
    "Frame",
    "Layer",
    "Objective",
    "Recipe",
    "Result",
    "Run",
    "Timelapse",
    "content_loss",
    "figure_one",
    "gram_matrix",
    "layer_table",
    "load_image",
    "load_vgg",
    "recipes",
    "reconstruct_content",
    "reconstruct_each",
    "reconstruct_style",
    "relative_error",
    "resize_image",
    "rosetta",
    "sample_names",
    "save_image",
    "style_loss",
    "total_variation",
    "transfer",
]

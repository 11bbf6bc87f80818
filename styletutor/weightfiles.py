"""A weight file: what it holds, in which convention, and the network made from it.

Every file becomes the one convention of `VGG`: RGB in [0, 1], the mean subtracted explicitly,
scale and channel order folded into conv1_1. Files of this project's own making, in safetensors,
are written so: tensors "conv1_1.weight", "conv1_1.bias", …, and metadata "trained_on", "pooling".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from styletutor.layers import CONV_NAMES, LAYER_NAMES
from styletutor.vgg import IMAGENET_MEAN, VGG

# Name → channels in the order R, G, B; what turns a picture in [0, 1] into that scale; RGB mean.
CONVENTIONS = {
    "styletutor": ((0, 1, 2), (1.0, 1.0, 1.0), IMAGENET_MEAN),
    "torchvision": ((0, 1, 2), (1 / 0.229, 1 / 0.224, 1 / 0.225), IMAGENET_MEAN),
    "caffe": ((2, 1, 0), (255.0, 255.0, 255.0), (123.68 / 255, 116.779 / 255, 103.939 / 255)),
}

VGG19_SHA256, CAFFE_SHA256 = "dcbb9e9d", "d01eb7cb"  # the first digits of the published files
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
    # "torchvision": RGB, [0, 1], mean and std; "caffe": BGR, 0–255, mean; "styletutor": as `VGG`
    convention: str
    reason: str
    known: str | None  # "vgg19" if it is a published network
    trained_on: str

    def __repr__(self) -> str:
        return (
            f"WeightsInfo({self.path.name}: {self.size / 1e6:.1f} MB, conv1_1 … {self.last_layer}, "
            f"{self.widths} channels, {self.dtype}, {self.convention} convention ({self.reason}), "
            f"trained on: {self.trained_on}, sha256 {self.sha256[:8]}…)"
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a whole file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: Path, pooling: str | None, asked: str | None) -> tuple[VGG, WeightsInfo]:
    """The network in the file at `path`, on the CPU, and what is known of it.

    `pooling` None means what the network was trained with; `asked` is a name in CONVENTIONS, or
    None: by the evidence of the contents. Raises ValueError of one sentence, which names the file,
    for one that cannot be used.
    """
    sha256 = sha256_of(path)
    try:
        state, about = _state(path)
        parameters = _parameters(state, own=bool(about))
        weight, bias = parameters["conv1_1"]
        convention, reason, trained_on = _convention(sha256, weight, about)
        pooling = pooling or about.get("pooling", "max")
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


def _state(path: Path) -> tuple[Mapping[str, Tensor], dict[str, str]]:
    # The tensors of a file by name, and what it says of itself if it is one of this project's.
    state, about = None, {}
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start.endswith(b"{"):  # safetensors: the header's length, then its JSON
            with safe_open(path, "pt") as file:
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                if "conv1_1.weight" in state:
                    about = {"trained_on": "unknown"} | (file.metadata() or {})
        else:  # torch's older format, not zipped, cannot be memory-mapped
            zipped = start.startswith(b"PK")
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception:  # damaged bytes make an unpickler fail in any way whatever
        state = None
    if not isinstance(state, Mapping):
        raise ValueError("it is damaged or no PyTorch state dict; get it again or choose another")
    return state, about


def _parameters(state: Mapping[str, Tensor], own: bool) -> dict[str, tuple[Tensor, Tensor]]:
    # LAYER_NAMES counts as torchvision's `features` do: convolutions, ReLUs and poolings alike.
    keys = {name: f"features.{LAYER_NAMES.index(name)}." for name in CONV_NAMES}
    if own:
        keys = {name: f"{name}." for name in CONV_NAMES}
    prefix = "conv" if own else "features."
    expected = [key + part for key in keys.values() for part in ("weight", "bias")]
    strange = [k for k in state if str(k).startswith(prefix) and k not in expected]
    if strange or expected[0] not in state:
        what = f"has {strange[0]}" if strange else f"lacks {expected[0]}"
        raise ValueError(f"it {what}, so it is no VGG-19 in a known layout; choose another")
    parameters = {}
    for name, key in keys.items():
        pair = [state.get(key + part) for part in ("weight", "bias")]
        if all(isinstance(t, Tensor) and t.is_floating_point() and t.ndim for t in pair):
            parameters[name] = (pair[0].detach(), pair[1].detach())
        elif any(t is not None for t in pair):
            raise ValueError(f"its {name} ({key}*) lacks weights or biases; get it again")
    return parameters


def _convention(sha256: str, weight: Tensor, about: Mapping[str, str]) -> tuple[str, str, str]:
    # The convention, the evidence for it, and what the weights were trained on.
    if about:
        return "styletutor", "safetensors in styletutor's layout", about["trained_on"][:200]
    oxford = "ImageNet (published VGG-19, Caffe conversion)"
    if sha256.startswith(VGG19_SHA256):
        return "torchvision", "SHA-256 of torchvision's file", "ImageNet (torchvision)"
    if sha256.startswith(CAFFE_SHA256):
        return "caffe", "SHA-256 of the published Caffe conversion", oxford
    if hashlib.sha256(weight.half().contiguous().numpy().tobytes()).hexdigest() == _OXFORD_CONV1_1:
        return "caffe", "conv1_1 is that of Oxford's VGG-19", oxford
    # Initialised for [0, 1] it is above .04. Large weights prove nothing: Oxford's have .16.
    if weight.float().abs().mean() < 0.02:
        return "caffe", "conv1_1 is so small that it must be for 0–255", "unknown"
    return "torchvision", "assumed, for lack of evidence", "unknown"

"""A weight file: in which convention it is, the network made from it, and writing a small one.

Every file becomes the one convention of `VGG`: RGB in [0, 1], the mean subtracted explicitly,
scale and channel order folded into conv1_1. Files of this project's own making, in safetensors,
are written so: tensors "conv1_1.weight", "conv1_1.bias", …, and metadata "trained_on", "pooling",
"mean" and, where it is known, "level". Weights in 8 bits are counted in a "conv1_1.step" per output
channel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from styletutor.network.fingerprint import PRINTS, publisher
from styletutor.network.formats import Contents, read_contents
from styletutor.network.layers import CONV_NAMES, check_layer
from styletutor.network.vgg import CAFFE_MEAN, IMAGENET_MEAN, IMAGENET_STD, VGG
from styletutor.pictures.writing import write_file

# Name → channels in the order R, G, B; what turns a picture in [0, 1] into that scale; RGB mean.
CONVENTIONS = {
    "styletutor": ((0, 1, 2), (1.0, 1.0, 1.0), IMAGENET_MEAN),
    "torchvision": ((0, 1, 2), tuple(1 / std for std in IMAGENET_STD), IMAGENET_MEAN),
    "caffe": ((2, 1, 0), (255.0, 255.0, 255.0), CAFFE_MEAN),
    "keras": ((2, 1, 0), (255.0, 255.0, 255.0), CAFFE_MEAN),
    "matconvnet": ((0, 1, 2), (255.0, 255.0, 255.0), CAFFE_MEAN),
}

VGG19_SHA256, CAFFE_SHA256 = "dcbb9e9d", "d01eb7cb"  # the first digits of the published files
TRAINED_ON = {
    "Oxford": "ImageNet (published VGG-19 of Oxford's Visual Geometry Group, CC BY)",
    "torchvision": "ImageNet (torchvision)",
}
CODES = 256  # of a weight of 8 bits
MOST_BYTES = 2**31  # of a file; the whole network takes 575 MB, with Adam's state three times that


@dataclass(frozen=True, repr=False, kw_only=True)
class WeightsInfo:
    """What a weight file holds, and the `reason` why it is read in that `convention`."""

    path: Path
    size: int  # bytes
    sha256: str
    format: str
    last_layer: str
    widths: tuple[int, ...]  # channels of the first layer of each block that the file reaches
    dtype: str
    # "torchvision": RGB, [0, 1], mean and std; "caffe" and "keras": BGR, 0–255, mean;
    # "matconvnet": RGB, 0–255, mean; "styletutor": as `VGG`
    convention: str
    reason: str
    known: str | None  # "vgg19 (Oxford)", "vgg19 (torchvision)": a published network
    trained_on: str

    def __repr__(self) -> str:
        return (
            f"WeightsInfo({self.path.name}: {self.format}, {self.size / 1e6:.1f} MB, conv1_1 … "
            f"{self.last_layer}, {self.widths} channels, {self.dtype}, {self.convention} "
            f"convention ({self.reason}), trained on: {self.trained_on}, "
            f"{'known as ' + self.known if self.known else 'no known file'}, sha256 {self.sha256})"
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
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(
            f"cannot use the weight file {path}: it has {path.stat().st_size / 1e9:.1f} GB, "
            f"expected at most {MOST_BYTES / 1e9:.1f}; name another"
        )
    sha256 = sha256_of(path)
    try:
        contents = read_contents(path)
        parameters, about = contents.parameters, contents.about
        weight, bias = parameters["conv1_1"]
        convention, reason, trained_on, whose = _evidence(sha256, contents)
        pooling = pooling or about.get("pooling", "max")
        if asked:
            convention, reason, whose = asked, "as asked for", _publisher(weight, asked)
        elif reason.startswith("assumed"):
            trained_on += " (convention assumed)"
        known = whose and f"vgg19 ({whose}{', 8-bit' * _is_coded(contents)})"
        says = {"name": known or path.stem, "trained_on": trained_on, "sha256": sha256}
        says["level"] = PRINTS[whose].level if whose else _level(about)
        mean = _mean(contents) or CONVENTIONS[convention][2]
        if weight.shape[1:] == (3, 3, 3):  # if not, VGG says so
            parameters["conv1_1"] = (_for_rgb(weight, convention), bias)
        network = VGG(parameters, mean=mean, pooling=pooling, **says)
    except ValueError as error:
        raise ValueError(f"cannot use the weight file {path}: {error}") from None
    widths = tuple(len(pair[1]) for name, pair in parameters.items() if name.endswith("_1"))
    dtype, last = str(weight.dtype).removeprefix("torch."), network.layer_names[-1]
    file = {"path": path, "size": path.stat().st_size, "sha256": sha256}
    inside = {"format": contents.format, "last_layer": last, "widths": widths, "dtype": dtype}
    read = {"convention": convention, "reason": reason, "known": known, "trained_on": trained_on}
    return network, WeightsInfo(**file, **inside, **read)


def write_weights(network: VGG, path: str | Path, last: str | None = None) -> int:
    """Write the convolutions of a network up to the layer `last` (None: all) as safetensors.

    Weights are rounded to half precision, by at most 1 part in 2048 or 3e-8. Returns the file's
    size in bytes. Raises ValueError for an unknown layer or weights beyond that precision's range,
    and otherwise as `writing.try_writing`.
    """
    from safetensors.torch import save

    names = network.layer_names
    end = len(names) if last is None else 1 + names.index(check_layer(last, names))
    tensors = {}
    for name in (name for name in names[:end] if name in CONV_NAMES):
        conv = network.convolutions[name]
        half = conv.weight.half().contiguous()
        if not half.isfinite().all():
            raise ValueError(f"{name} has weights above 65504, too large for half precision")
        tensors |= {f"{name}.weight": half, f"{name}.bias": conv.bias}
    mean = json.dumps(network.mean.flatten().tolist())
    says = {"trained_on": network.trained_on, "pooling": network.pooling, "mean": mean}
    says |= {"level": str(network.level)} if network.level else {}
    data = save(tensors, says)
    write_file(path, data)
    return len(data)


def _level(about: Mapping[str, str]) -> float | None:
    try:
        level = float(about["level"]) if "level" in about else None
        if level is None or 0 < level < 1e6:
            return level
    except ValueError:
        pass
    raise ValueError("its level is no positive number; get it again")


def _mean(contents: Contents) -> tuple[float, ...] | None:
    mean = contents.mean
    try:
        if "mean" in contents.about:
            mean = tuple(map(float, json.loads(contents.about["mean"])))
        if mean is None or (len(mean) == 3 and all(0 <= value <= 1 for value in mean)):
            return mean
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError("its mean is not three numbers in [0, 1]; get it again")


def _evidence(sha256: str, contents: Contents) -> tuple[str, str, str, str | None]:
    # The convention, the evidence for it, what the weights were trained on, and who published them.
    weight, prescribed = contents.parameters["conv1_1"][0], contents.convention
    if prescribed is not None:
        whose, trained_on = _publisher(weight, prescribed), "unknown"
        if prescribed == "styletutor":
            says = contents.about["trained_on"][:200]
            trained_on = "".join(c if c.isprintable() else " " for c in says)
        if whose and trained_on == "unknown":
            trained_on = TRAINED_ON[whose]
        return prescribed, f"as in {contents.format}", trained_on, whose
    for digits, convention, whose, what in (
        (VGG19_SHA256, "torchvision", "torchvision", "torchvision's file"),
        (CAFFE_SHA256, "caffe", "Oxford", "the published Caffe conversion"),
    ):
        if sha256.startswith(digits):
            return convention, f"SHA-256 of {what}", TRAINED_ON[whose], whose
    for convention in ("torchvision", "caffe", "matconvnet", "styletutor"):
        if whose := _publisher(weight, convention):
            reason = f"its conv1_1 is that of {whose}'s VGG-19 for such pictures"
            return convention, reason, TRAINED_ON[whose], whose
    # Initialised for [0, 1] it is above .04. Large weights prove nothing: Oxford's have .16.
    if weight.float().abs().mean() < 0.02:
        return "caffe", "conv1_1 is so small that it must be for 0–255", "unknown", None
    return "torchvision", "assumed, for lack of evidence", "unknown", None


def _publisher(weight: Tensor, convention: str) -> str | None:
    return publisher(_for_rgb(weight, convention)) if weight.shape[1:] == (3, 3, 3) else None


def _for_rgb(weight: Tensor, convention: str) -> Tensor:
    """A conv1_1 of that convention for RGB pictures in [0, 1]."""
    order, scale, _ = CONVENTIONS[convention]
    return weight.double()[:, order] * torch.tensor(scale, dtype=torch.float64).view(1, 3, 1, 1)


def _is_coded(contents: Contents) -> bool:
    # A full-width conv1_2 has 36,864 weights, some 13,000 different ones in half precision.
    weight = contents.parameters.get("conv1_2", contents.parameters["conv1_1"])[0]
    return len(weight.float().unique()) <= CODES

"""A weight file: in which convention it is, the network made from it, and writing a small one.

Every file becomes the one convention of `VGG`: RGB in [0, 1], the mean subtracted explicitly,
scale and channel order folded into conv1_1. Files of this project's own making, in safetensors,
are written so: tensors "conv1_1.weight", "conv1_1.bias", …, and metadata "trained_on", "pooling"
and "mean".
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from styletutor.files import write_file
from styletutor.formats import Contents, read_contents
from styletutor.layers import CONV_NAMES, check_layer
from styletutor.vgg import CAFFE_MEAN, IMAGENET_MEAN, IMAGENET_STD, VGG

# Name → channels in the order R, G, B; what turns a picture in [0, 1] into that scale; RGB mean.
CONVENTIONS = {
    "styletutor": ((0, 1, 2), (1.0, 1.0, 1.0), IMAGENET_MEAN),
    "torchvision": ((0, 1, 2), tuple(1 / std for std in IMAGENET_STD), IMAGENET_MEAN),
    "caffe": ((2, 1, 0), (255.0, 255.0, 255.0), CAFFE_MEAN),
    "keras": ((2, 1, 0), (255.0, 255.0, 255.0), CAFFE_MEAN),
    "matconvnet": ((0, 1, 2), (255.0, 255.0, 255.0), CAFFE_MEAN),
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
    format: str
    last_layer: str
    widths: tuple[int, ...]  # channels of each block that the file reaches
    dtype: str
    # "torchvision": RGB, [0, 1], mean and std; "caffe" and "keras": BGR, 0–255, mean;
    # "matconvnet": RGB, 0–255, mean; "styletutor": as `VGG`
    convention: str
    reason: str
    known: str | None  # "vgg19" if it is a published network
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
    sha256 = sha256_of(path)
    try:
        contents = read_contents(path)
        parameters, about = contents.parameters, contents.about
        weight, bias = parameters["conv1_1"]
        convention, reason, trained_on = _convention(sha256, contents)
        pooling = pooling or about.get("pooling", "max")
        if asked:
            convention, reason = asked, "as asked for"
        elif reason.startswith("assumed"):
            trained_on += " (convention assumed)"
        known = "vgg19" if "ImageNet" in trained_on and convention != "styletutor" else None
        says = {"name": known or path.stem, "trained_on": trained_on, "sha256": sha256}
        order, scale, mean = CONVENTIONS[convention]
        mean = _mean(contents) or mean
        if weight.shape[1:] == (3, 3, 3):  # if not, VGG says so
            scales = torch.tensor(scale, dtype=torch.float64).view(1, 3, 1, 1)
            parameters["conv1_1"] = (weight.double()[:, order] * scales, bias)
        network = VGG(parameters, mean=mean, pooling=pooling, **says)
    except ValueError as error:
        raise ValueError(f"cannot use the weight file {path}: {error}") from None
    widths = tuple(len(pair[1]) for name, pair in parameters.items() if name.endswith("_1"))
    dtype, last = str(weight.dtype).removeprefix("torch."), network.layer_names[-1]
    size, kind = path.stat().st_size, contents.format
    says = (path, size, sha256, kind, last, widths, dtype, convention, reason, known, trained_on)
    return network, WeightsInfo(*says)


def write_weights(network: VGG, path: str | Path, last: str | None = None) -> int:
    """Write the convolutions of a network up to the layer `last` (None: all) as safetensors.

    `load_vgg` of that file gives the same features to the bit. Returns the file's size in bytes.
    Raises ValueError for an unknown layer, and otherwise as `files.try_writing`.
    """
    end = (
        len(network.layer_names)
        if last is None
        else 1 + network.layer_names.index(check_layer(last, network.layer_names))
    )
    tensors = {}
    for name in (name for name in network.layer_names[:end] if name in CONV_NAMES):
        conv = network.convolutions[name]
        tensors |= {f"{name}.weight": conv.weight.contiguous(), f"{name}.bias": conv.bias}
    mean = json.dumps(network.mean.flatten().double().tolist())
    says = {"trained_on": network.trained_on, "pooling": network.pooling, "mean": mean}
    data = save(tensors, says)
    write_file(path, data)
    return len(data)


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


def _convention(sha256: str, contents: Contents) -> tuple[str, str, str]:
    # The convention, the evidence for it, and what the weights were trained on.
    weight, prescribed = contents.parameters["conv1_1"][0], contents.convention
    if prescribed == "styletutor":
        says = "".join(c if c.isprintable() else " " for c in contents.about["trained_on"][:200])
        return "styletutor", contents.format, says
    oxford = "ImageNet (published VGG-19, Caffe conversion)"
    if prescribed is not None:
        is_oxfords = _is_oxfords(weight[:, [2, 1, 0]] if prescribed == "matconvnet" else weight)
        return prescribed, f"as in {contents.format}", oxford if is_oxfords else "unknown"
    if sha256.startswith(VGG19_SHA256):
        return "torchvision", "SHA-256 of torchvision's file", "ImageNet (torchvision)"
    if sha256.startswith(CAFFE_SHA256):
        return "caffe", "SHA-256 of the published Caffe conversion", oxford
    if _is_oxfords(weight):
        return "caffe", "conv1_1 is that of Oxford's VGG-19", oxford
    # Initialised for [0, 1] it is above .04. Large weights prove nothing: Oxford's have .16.
    if weight.float().abs().mean() < 0.02:
        return "caffe", "conv1_1 is so small that it must be for 0–255", "unknown"
    return "torchvision", "assumed, for lack of evidence", "unknown"


def _is_oxfords(weight: Tensor) -> bool:
    data = weight.half().contiguous().numpy().tobytes()
    return hashlib.sha256(data).hexdigest() == _OXFORD_CONV1_1

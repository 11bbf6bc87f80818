"""Picture files, and what else people call a picture, to tensors.

What comes out is float32 in [0, 1] on the CPU. Colour profiles are not applied: the numbers in the
file are taken as sRGB.
"""

import io
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from styletutor.machine import shortage
from styletutor.pictures import images
from styletutor.pictures.images import fitted, too_large
from styletutor.pictures.writing import PathLike

AVIF = ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()  # from Pillow 11.3 on
READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", *AVIF)
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0
SCANS = 64  # a progressive JPEG has about ten; each costs as much as the whole picture
UPLOADED = 2**25  # pixels; their decoding costs whoever runs the page up to 20 bytes each
# Pixels that a byte can stand for at most: 1032 bytes of bits, and 4096 pixels in 12 bits.
PER_BYTE = {"PNG": 1032 * 8, "GIF": 4096 * 8 / 12}


def read_image(path: PathLike, size: int | None = None, enlarge: bool = False) -> Tensor:
    """Read a picture file: float32 RGB in [0, 1], shape (1, 3, H, W), on the CPU.

    `size` is the long side in pixels; a smaller picture stays as it is unless `enlarge`.
    The first frame counts, the camera's orientation is applied, and what is transparent
    turns white. Grey values deeper than 8 bits are taken as 16 bit, unless the file says how many
    they have, or as [0, 1] if floating; of a deeper colour the upper 8 bits count.

    Raises FileNotFoundError or IsADirectoryError for a path that is no file, and ValueError for
    a file that is no whole picture, has more than MAX_PIXELS pixels, or for a bad `size`.
    """
    _check_is_file(path := os.path.expanduser(path))
    with open(path, "rb") as file:
        return _decode(file, path, size, enlarge)


def decode_image(data: bytes, name: str, size: int | None = None) -> Tensor:
    """The same from the bytes of a file that somebody sent under a `name`; ValueError as there.

    It may have UPLOADED pixels.
    """
    if not data:
        raise ValueError(f"{name} is empty (0 bytes), expected a picture; send the file again")
    return _decode(io.BytesIO(data), name, size, enlarge=False, most=UPLOADED)


def read_mask(path: PathLike) -> Tensor:
    """Read a mask: (1, 1, H, W) in [0, 1], 1 inside. Raises as `read_image`.

    A picture's brightness; what is transparent is outside. If all that is drawn has one colour,
    it is inside, whichever colour that is.
    """
    _check_is_file(path := os.path.expanduser(path))
    with open(path, "rb") as file:
        return mask_of(_open(file, path), path)


def picture_of(picture: Image.Image | np.ndarray, name: str = "the picture") -> Tensor:
    """A Pillow image or a NumPy array as `read_image` gives it.

    An array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of uint8 or of floats in [0, 1]; what is
    transparent turns white. Raises ValueError for another.
    """
    if isinstance(picture, Image.Image):
        return _tensor(_loaded(picture, name))
    values = _floats(np.asarray(picture), name)  # of a matrix no slice has three dimensions
    if values.shape[2] == 4:
        values = values[..., :3] * values[..., 3:] + 1 - values[..., 3:]
    values = np.array(np.broadcast_to(values, (*values.shape[:2], 3)))
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def mask_of(picture: Image.Image, name: PathLike = "the mask") -> Tensor:
    """A Pillow image as `read_mask` gives it."""
    if not picture.has_transparency_data or picture.mode == "F" or picture.mode.startswith("I"):
        return _tensor(_loaded(picture, name)).mean(1, keepdim=True)
    values = np.asarray(_loaded(picture, name, "RGBA"), dtype=np.float32) / 255
    light, alpha = values[..., :3].mean(2), values[..., 3]
    drawn = light[alpha > 0]
    one_colour = drawn.size and np.ptp(drawn) < 1 / 255
    return torch.from_numpy(alpha if one_colour else light * alpha)[None, None]


def _open(file: BinaryIO, path: PathLike, most: int | None = None) -> Image.Image:
    """A picture of which only the header has been read, and found to be of a size to read."""
    with _one_line_errors(path):
        start = file.read(3)
        picture = Image.open(file, formats=READABLE)
    width, height = picture.size
    if width * height > (most or images.MAX_PIXELS):
        raise too_large(path, f"{width} x {height}", most)
    if start[:2] in (b"P1", b"P2", b"P3"):  # its numbers are written in words, read one by one
        raise ValueError(f"{path} is a plain (ASCII) PPM; export it as PNG")
    length = file.seek(0, io.SEEK_END)
    if width * height > PER_BYTE.get(picture.format, float("inf")) * length:
        raise ValueError(f"{path} is too short for {width} x {height} pixels; get a whole copy")
    if picture.format in ("JPEG", "MPO") and _count(file, b"\xff\xda") > SCANS:
        raise ValueError(f"{path} is a JPEG of more than {SCANS} scans; export it as PNG")
    return picture


def _count(file: BinaryIO, marker: bytes) -> int:
    """How often two bytes stand in a file, a piece at a time."""
    file.seek(0)
    found, last = 0, b""
    while piece := file.read(1 << 20):
        found += (last + piece).count(marker)
        last = piece[-1:] if piece[-1:] == marker[:1] else b""
    return found


def _loaded(picture: Image.Image, name: PathLike, mode: str | None = None) -> Image.Image:
    """All of its pixels, upright, flattened or in another `mode`."""
    with _one_line_errors(name):
        picture.load()
        tags = getattr(picture, "tag_v2", {})  # of TIFF; a turned picture has them no more
        with suppress(Exception):  # garbled camera notes are no reason to refuse good pixels
            picture = ImageOps.exif_transpose(picture)
        return picture.convert(mode) if mode else _flatten(picture, tags)


def _decode(
    file: BinaryIO, path: PathLike, size: int | None, enlarge: bool, most: int | None = None
) -> Tensor:
    picture = _loaded(_open(file, path, most), path)
    if size is not None:
        height, width = fitted(picture.height, picture.width, size, enlarge)
        if (width, height) != picture.size:
            picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return _tensor(picture)


def _tensor(picture: Image.Image) -> Tensor:
    values = np.asarray(picture, dtype=np.float32)
    # Lanczos overshoots at edges, and only 8-bit pixels clip by themselves.
    values = values / 255 if picture.mode == "RGB" else np.stack([values.clip(0, 1)] * 3, axis=2)
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def _floats(array: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 1, 3 or 4) in [0, 1]."""
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(
            f"{name} is an array of shape {array.shape}; expected (H, W) or (H, W, 3), or a tensor "
            "(1, 3, H, W)"
        )
    if array.dtype == np.uint8:
        return array.astype(np.float32) / 255
    if array.dtype == bool or np.issubdtype(array.dtype, np.floating):
        values = array.astype(np.float32)
        if values.min() >= 0 and values.max() <= 1:  # so written that NaN fails as well
            return values
    numeric = np.issubdtype(array.dtype, np.number)
    spread = f" from {array.min()} to {array.max()}" if numeric else ""
    raise ValueError(
        f"{name} is an array of {array.dtype}{spread}; expected uint8, or floats in [0, 1]"
    )


def _check_is_file(path: PathLike) -> None:
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}; check the name and the folder")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, expected a picture file; name one inside")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a regular file; save the picture to a file first")
    if os.path.getsize(path) == 0:
        raise ValueError(f"{path} is empty (0 bytes), expected a picture; copy the file again")


@contextmanager
def _one_line_errors(path: PathLike) -> Iterator[None]:
    """Whatever Pillow raises on a bad file (nearly anything) becomes one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes, which are ours to judge, and metadata
            yield
    except Image.DecompressionBombError as error:
        given = re.search(r"\d+", str(error))  # Pillow tells the number in its message only
        raise too_large(path, given[0] if given else "too many") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture; give one of {', '.join(READABLE)}") from None
    except Exception as error:
        if lacks := shortage(error):
            raise OSError(f"cannot read {path}: {lacks}; close other programs first") from None
        raise ValueError(
            f"cannot read {path} as a picture ({error or type(error).__name__}); "
            "get a whole copy of it, or export it again as PNG or JPEG"
        ) from None


def _flatten(picture: Image.Image, tags: Mapping[int, Any]) -> Image.Image:
    """To mode RGB (8 bits), or F (grey in [0, 1]) for what would lose depth as RGB."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _flatten_deep(picture, tags)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _flatten_deep(picture: Image.Image, tags: Mapping[int, Any]) -> Image.Image:
    values = np.array(picture, dtype=np.float32)
    bits = tags.get(BITS, (16,))[0]
    full = 1 if picture.mode == "F" else 2**bits - 1 if 8 < bits < 16 else 65535
    if "transparency" in picture.info:
        values[values == picture.info["transparency"]] = full
    if not (values.min() >= 0 and values.max() <= full):  # so written that NaN fails as well
        raise ValueError(f"grey from {values.min():g} to {values.max():g}, expected 0 to {full}")
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # which Pillow turns round for 8 bits only
        values = full - values
    return Image.fromarray(values / full)

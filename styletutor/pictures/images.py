"""Pictures as tensors, scaled, and saved as files.

A picture is float32 RGB in [0, 1], shape (1, 3, H, W).
"""

import hashlib
import io
import numbers
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from styletutor.pictures.writing import PathLike, try_writing, write_file

MAX_PIXELS = 8192 * 8192  # 64 binary megapixels, so that a 64 MP phone's 9248 x 6936 fits
LONGEST = {".webp": 16_383, ".jpg": 65_500, ".jpeg": 65_500, ".gif": 65_535}  # pixels a side
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


def resize_image(images: Tensor, size: int, enlarge: bool = False) -> Tensor:
    """Scale (B, 3, H, W) so that the long side has `size` pixels, with antialiasing.

    The result is in [0, 1]; smaller pictures come back untouched unless `enlarge`.
    Raises ValueError for another shape or a bad `size`.
    """
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"got shape {tuple(images.shape)}, expected pictures (B, 3, H, W)")
    height, width = fitted(images.shape[2], images.shape[3], size, enlarge)
    if (height, width) == tuple(images.shape[2:]):
        return images
    resized = interpolate(images, (height, width), mode="bicubic", antialias=True)
    return resized.clamp(0, 1)  # bicubic overshoots at edges


def resample(image: Tensor, size: Sequence[int], shrink: int = 1) -> Tensor:
    """Pictures (B, 3, h, w) at `size` (H, W) divided by `shrink`, in [0, 1] if that is another."""
    size = [max(1, round(side / shrink)) for side in size]
    if list(image.shape[2:]) == size:
        return image
    return interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)


def save_image(image: Tensor, path: PathLike, quality: int = 95) -> None:
    """Save one picture, (1, 3, H, W) or (3, H, W), clamped to [0, 1] and rounded.

    The suffix chooses the format: TIFF has 16 bits a channel, the others have 8. `quality`
    (1 to 100) matters for JPEG and WebP only.
    The file appears whole or not at all: an old one survives until the new one is complete.
    Raises ValueError for a bad picture or suffix, and otherwise as `check_writable`.
    """
    kind = _kind(path)
    options = {"JPEG": {"quality": quality, "subsampling": 0}, "WEBP": {"quality": quality}}
    data = io.BytesIO()
    pixels = _rounded(image.cpu(), torch.uint16) if kind == "TIFF" else to_uint8(image)
    try:
        if kind == "TIFF":  # Pillow has no colour picture of 16 bits
            import tifffile  # a quarter of a second that few need

            tifffile.imwrite(data, pixels, photometric="rgb", metadata=None, software=False)
        else:
            Image.fromarray(pixels).save(data, format=kind, **options.get(kind, {}))
    except Exception as error:  # each encoder has its own limits and its own way to say so
        height, width = pixels.shape[:2]
        raise ValueError(
            f"cannot save {width} x {height} pixels as {kind} ({error}); use .png"
        ) from None
    write_file(path, data.getvalue())


def check_writable(path: PathLike) -> None:
    """Before long work, find out whether a picture can be saved at `path`.

    Raises ValueError for an unknown suffix, and otherwise as `writing.try_writing`.
    """
    _kind(path)
    try_writing(path)


def check_fits(path: PathLike, size: Sequence[int]) -> None:
    """Raise ValueError if the format at `path` has no room for a picture of `size` (H, W)."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if max(size) > LONGEST.get(suffix, max(size)):
        raise ValueError(
            f"{path} cannot hold {size[1]} x {size[0]} pixels: {suffix} ends at {LONGEST[suffix]} "
            "a side; use .png or .tif, or a smaller size"
        )


def to_uint8(image: Tensor) -> np.ndarray:
    """One picture, (1, 3, H, W) or (3, H, W), as (H, W, 3) uint8, clamped and rounded.

    Raises ValueError for a batch, another shape, whole numbers, or values that are not finite.
    """
    return _rounded(image, torch.uint8)


def _rounded(image: Tensor, kind: torch.dtype) -> np.ndarray:
    """As `to_uint8`, in all the steps that unsigned numbers of that `kind` have."""
    single = image.ndim == 3 or (image.ndim == 4 and len(image) == 1)
    if not single or image.shape[-3] != 3 or not image.numel() or not image.is_floating_point():
        raise ValueError(
            f"got {tuple(image.shape)} of {image.dtype}, expected one floating-point picture, "
            "(1, 3, H, W) or (3, H, W); from a batch, pick one with image[0]"
        )
    pixels = image.detach().reshape(image.shape[-3:]).float()
    if not pixels.isfinite().all():
        raise ValueError("the picture has NaN or infinite pixels, expected [0, 1]: start afresh")
    steps = pixels.clamp(0, 1).mul_(torch.iinfo(kind).max).round_()  # large pictures: one copy
    return steps.to(kind).permute(1, 2, 0).cpu().numpy()


def to_jpeg(image: Tensor) -> bytes:
    """One picture as the bytes of a JPEG file, to be shown; raises as `to_uint8`."""
    data = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(data, "JPEG", quality=90)
    return data.getvalue()


def to_png(image: Tensor) -> bytes:
    """The same as PNG, without any loss: for few and sharp pixels, and for keeping."""
    data = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(data, "PNG")
    return data.getvalue()


def pixels_sha256(image: Tensor) -> str:
    """SHA-256 in hexadecimal of shape and float32 pixels; (3, H, W) counts as (1, 3, H, W)."""
    image = image[None] if image.ndim == 3 else image
    pixels = image.detach().float().cpu().contiguous().numpy().astype("<f4", copy=False)
    return hashlib.sha256(f"{tuple(pixels.shape)}".encode() + pixels.tobytes()).hexdigest()


def is_whole(value: object) -> bool:
    """Is it a whole number, and no truth value?"""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def too_large(what: object, given: str, most: int | None = None) -> ValueError:
    return ValueError(
        f"{what} is too large: {given} pixels, expected at most {(most or MAX_PIXELS) / 1e6:.3g} "
        "million; make it smaller first"
    )


def fitted(height: int, width: int, size: int, enlarge: bool) -> tuple[int, int]:
    """Height and width with the long side at `size`, the aspect kept, at least 1 pixel each."""
    if not is_whole(size) or size < 1:
        raise ValueError(f"got size {size!r}, expected the long side in pixels, such as 256")
    longest = max(height, width)
    if size >= longest and not enlarge:
        return height, width
    most = min(size, MAX_PIXELS + 1)  # too large as well, and not for a float
    height, width = (max(1, round(side * most / longest)) for side in (height, width))
    if height * width > MAX_PIXELS:
        raise too_large(f"size {size}", f"{width} x {height}")
    return height, width


def _kind(path: PathLike) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise ValueError(f"got {path}, expected a file name that ends in {', '.join(WRITABLE)}")
    return Image.registered_extensions()[suffix]

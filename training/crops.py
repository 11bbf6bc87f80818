"""What the student is shown: crops of procedural pictures and of packaged photographs, varied."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import styletutor as st
from training.pictures import make_picture

PHOTOGRAPHS = 0.6  # share of the crops: what blocks 4 and 5 react to is hardly in drawn pictures
WIDEST = 3  # times the side of a crop: the most of a picture that is shown in one


def collect(count: int, cache: Path) -> list[Tensor]:
    """The photographs, then `count` procedural pictures, each uint8 (3, H, W)."""
    if not cache.exists():
        with ProcessPoolExecutor() as pool:
            made = pool.map(make_picture, range(count), chunksize=8)
            drawn = list(tqdm(made, total=count, desc="drawing pictures", unit="picture"))
        np.save(cache, np.stack(drawn))
    photos = [(255 * st.load_image(name)[0]).round().byte() for name in photographs()]
    drawings = torch.from_numpy(np.load(cache, mmap_mode="r+")).permute(0, 3, 1, 2)
    return [*photos, *drawings]


def photographs() -> list[str]:
    """The samples that are seen in training: all of scikit-image's but a chart and a double."""
    left_out = ("colour-wheel", "motorcycle-right")
    return [name for name in st.sample_names().photographs if name not in left_out]


def sample(pictures: list[Tensor], count: int, side: int, seed: int) -> Tensor:
    """`count` crops (count, 3, side, side) in [0, 1] of random pictures, places and scales.

    Shrunk as pictures are for a transfer, for a student of smoother crops is wrong by half as much
    again on whole pictures. Half are mirrored and half tinted, some are mixed with another or carry
    noise: on its way a descent shows the network pictures that no camera took.
    """
    generator = torch.Generator().manual_seed(seed)
    photos = len(photographs())

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    def crop() -> Tensor:
        first, last = (0, photos) if uniform(0, 1) < PHOTOGRAPHS else (photos, len(pictures))
        picture = pictures[int(uniform(first, last))]
        smallest, largest = min(picture.shape[1:]), min(*picture.shape[1:], WIDEST * side)
        window = int(min(side, smallest) ** (1 - (zoom := float(uniform(0, 1)))) * largest**zoom)
        top, left = (int(uniform(0, length - window + 1)) for length in picture.shape[1:])
        part = picture[:, top : top + window, left : left + window].float()[None] / 255
        part = F.interpolate(part, (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)
        return part.flip(2) if uniform(0, 1) < 0.5 else part

    def some(share: float) -> Tensor:
        return uniform(0, 1, count, 1, 1, 1) < share

    crops = torch.stack([crop() for _ in range(count)])
    share, other = uniform(0, 1, count, 1, 1, 1), torch.randperm(count, generator=generator)
    crops = torch.where(some(0.2), share * crops + (1 - share) * crops[other], crops)
    gain, shift = uniform(0.7, 1.3, count, 3, 1, 1), uniform(-0.1, 0.1, count, 3, 1, 1)
    crops = torch.where(some(0.5), (crops - 0.5) * gain + 0.5 + shift, crops)
    strength = uniform(0, 0.5, count, 1, 1, 1).square() * some(0.3)
    crops = crops + strength * torch.randn(crops.shape, generator=generator)
    return crops.clamp(0, 1).contiguous(memory_format=torch.channels_last)

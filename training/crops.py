"""What the pocket network is shown: crops of procedural pictures and of packaged photographs."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import styletutor as st
from training.pictures import SIZE, make_picture

CROPS_EACH = 2


def collect(count: int, cache: Path) -> Tensor:
    """`count` procedural pictures and crops of scikit-image's photographs, uint8 (N, 3, S, S)."""
    if not cache.exists():
        with ProcessPoolExecutor() as pool:
            made = pool.map(make_picture, range(count), chunksize=8)
            drawn = list(tqdm(made, total=count, desc="drawing pictures", unit="picture"))
        np.save(cache, np.stack([*drawn, *photograph_crops()]))
    return torch.from_numpy(np.load(cache)).permute(0, 3, 1, 2).contiguous()


def photographs() -> list[str]:
    """The samples that are seen in training: all of scikit-image's but a chart and a double."""
    left_out = ("colour-wheel", "motorcycle-right")
    return [name for name in st.sample_names().photographs if name not in left_out]


def photograph_crops() -> list[np.ndarray]:
    """The four corners of each of scikit-image's packaged photographs, uint8 (S, S, 3)."""
    crops = []
    for name in photographs():
        photo = st.load_image(name)
        height, width = (round(side * 2 * SIZE / min(photo.shape[2:])) for side in photo.shape[2:])
        photo = F.interpolate(photo, (height, width), mode="area")[0].permute(1, 2, 0)
        pixels = (photo * 255).round().byte().numpy()
        ends = (slice(None, SIZE), slice(-SIZE, None))
        crops += [pixels[rows, columns] for rows in ends for columns in ends]
    return crops


def sample(pictures: Tensor, count: int, side: int, seed: int) -> tuple[Tensor, Tensor]:
    """`count` random crops, turned, scaled and mirrored, in [0, 1], and which pictures they show.

    Two of each picture. Brightness moves by 10 % and each colour by 3 % only: with more, the
    network would learn not to see colour.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    which = torch.randint(len(pictures), (count // CROPS_EACH,), generator=generator)
    angle, scale = uniform(-0.3, 0.3), torch.exp(uniform(-0.5, 0.5)) * 1.3 * side / SIZE
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin, room = angle.cos() * scale, angle.sin() * scale, (1 - scale).clamp(min=0)
    rows = [cos * flip, -sin, uniform(-1, 1) * room, sin * flip, cos, uniform(-1, 1) * room]
    light, tint = uniform(0.9, 1.1, 1, 1, 1), uniform(-0.03, 0.03, 3, 1, 1)
    theta = torch.stack(rows, 1).view(count, 2, 3)
    where = F.affine_grid(theta, [count, 3, side, side], align_corners=False)
    device = pictures.device
    chosen = pictures[which.to(device)].float() / 255  # costs more than all the rest: hence two
    crops = F.grid_sample(
        chosen,
        where.view(len(which), CROPS_EACH * side, side, 2).to(device),
        padding_mode="reflection",
        align_corners=False,
    )
    crops = crops.unflatten(2, (CROPS_EACH, side)).transpose(1, 2).flatten(0, 1)
    crops = (crops * light.to(device) + tint.to(device)).clamp(0, 1)
    crops = crops.contiguous(memory_format=torch.channels_last)
    return crops, which.repeat_interleave(CROPS_EACH).to(device)

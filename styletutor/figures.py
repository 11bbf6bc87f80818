"""Many reconstructions as one batched descent: layers side by side, and the paper's Figure 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from styletutor.inputs import Picture, ready, source, to_picture
from styletutor.method import EVALUATIONS, Method
from styletutor.reconstruct import aim, rebuild
from styletutor.result import Result
from styletutor.solve import OnStep, Way
from styletutor.vgg import VGG

BLOCKS = range(1, 6)
CONTENT_LAYERS = tuple(f"conv{block}_2" for block in BLOCKS)
STYLE_LAYERS = tuple(f"conv{block}_1" for block in BLOCKS)
KINDS = ("content", "style")


def figure_one(
    photo: Picture,
    style: Picture,
    *,
    vgg: VGG | None = None,
    evaluations: int = EVALUATIONS,
    size: int | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    precision: str = "auto",
    progress: bool | None = None,
) -> Result:
    """Figure 1 of Gatys, Ecker & Bethge (2016) as one descent on a batch of ten pictures.

    `result.image` is (10, 3, H, W), of the size of `photo`: first its content as it can be rebuilt
    from conv1_2, conv2_2, … conv5_2, each alone; then textures with the style of conv1_1 alone, of
    conv1_1 and conv2_1, … of conv1_1 to conv5_1. All start from noise, the content ones and the
    style ones from the same. Each picture goes only as deep into the network as it needs. The
    arguments, the result and the errors are otherwise those of `reconstruct_content`.
    """
    method, way = (
        Method(precision=precision, coarse_to_fine=None),
        Way(on_step=on_step, progress=progress),
    )
    vgg = ready(vgg, evaluations, seed)
    target, art = to_picture(photo, vgg, size), to_picture(style, vgg, size)
    each, none = torch.eye(len(BLOCKS)), torch.zeros(len(BLOCKS), len(BLOCKS))
    alone, nested = torch.cat([each, none]), torch.cat([none, torch.ones_like(none).tril()])
    aims = {
        "content": target,
        "styles": [art],
        "content_layers": dict(zip(CONTENT_LAYERS, alone.T.tolist(), strict=True)),
        "style_layers": dict(zip(STYLE_LAYERS, nested.T.tolist(), strict=True)),
    }
    settings = {"image": source(photo), "style": source(style), "size": size}
    settings |= {"seed": seed, "evaluations": evaluations}
    return rebuild("figure one", vgg, target, aims, settings, method, way, count=len(alone))


def reconstruct_each(
    picture: Picture,
    layers: Sequence[str],
    *,
    kind: str = "content",
    nested: bool = False,
    vgg: VGG | None = None,
    evaluations: int = EVALUATIONS,
    size: int | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    precision: str = "auto",
    progress: bool | None = None,
) -> Result:
    """What each of `layers` keeps of `picture` by itself, all of them as one descent.

    `result.image` is (B, 3, H, W), one picture for each of B layers, in their order, from the same
    noise. `kind` is "content" or "style"; if `nested`, each picture has the layers before it, too,
    as the textures of the paper's Figure 1. The arguments, the result and the errors are otherwise
    those of `reconstruct_content`.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; choose {' or '.join(KINDS)}")
    if isinstance(layers, str) or len(set(layers)) < len(layers) or not layers:
        raise ValueError(f"layers={layers!r}; give a list of different layers, one per picture")
    method, way = (
        Method(precision=precision, coarse_to_fine=None),
        Way(on_step=on_step, progress=progress),
    )
    vgg = ready(vgg, evaluations, seed)
    target = to_picture(picture, vgg, size)
    square = torch.ones(len(layers), len(layers)).tril() if nested else torch.eye(len(layers))
    weights = dict(zip(layers, square.T.tolist(), strict=True))
    aims = aim(kind, target, weights)
    settings = {"image": source(picture), "layers": list(layers), "nested": nested, "size": size}
    settings |= {"seed": seed, "evaluations": evaluations}
    command = f"reconstruct each {kind}"
    return rebuild(command, vgg, target, aims, settings, method, way, count=len(layers))

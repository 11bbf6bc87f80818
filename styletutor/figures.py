"""Many reconstructions as one batched descent: the paper's Figure 1."""

from __future__ import annotations

from typing import Any

import torch

from styletutor.inputs import Picture, ready, source, to_picture
from styletutor.memory import ensure_fit
from styletutor.objective import Objective
from styletutor.result import Result
from styletutor.solve import OnStep, as_json, run_descent
from styletutor.stages import choose_coarse, choose_precision
from styletutor.starts import make_start
from styletutor.vgg import VGG

BLOCKS = range(1, 6)
CONTENT_LAYERS = tuple(f"conv{block}_2" for block in BLOCKS)
STYLE_LAYERS = tuple(f"conv{block}_1" for block in BLOCKS)


def figure_one(
    photo: Picture,
    style: Picture,
    *,
    vgg: VGG | None = None,
    evaluations: int = 200,
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
    how: dict[str, Any] = {"evaluations": evaluations, "precision": precision}
    how |= {"optimiser": "lbfgs", "learning_rate": 0.02}
    vgg = ready(vgg, seed, how)
    target, art = to_picture(photo, vgg, size), to_picture(style, vgg, size)
    each, none = torch.eye(len(BLOCKS)), torch.zeros(len(BLOCKS), len(BLOCKS))
    alone, nested = torch.cat([each, none]), torch.cat([none, torch.ones_like(none).tril()])
    objective = Objective(
        vgg,
        content=target,
        styles=[art],
        content_layers=dict(zip(CONTENT_LAYERS, alone.T.tolist(), strict=True)),
        style_layers=dict(zip(STYLE_LAYERS, nested.T.tolist(), strict=True)),
    )
    how["precision"] = choose_precision(precision, vgg.device)
    how["coarse_to_fine"] = choose_coarse(None, "noise", target.shape[2:])
    batch = objective.structure(len(alone)).layers
    needs = {"batch": batch, "precision": how["precision"], "styles": [art.shape[2:]]}
    ensure_fit(vgg, target.shape[2:], CONTENT_LAYERS, STYLE_LAYERS, **needs)
    noise = make_start("noise", target, seed)
    start = noise.repeat(len(alone), 1, 1, 1)
    named = {"image": source(photo), "style": source(style), "size": size, "start": "noise"}
    about = {"weights": vgg.source, "pooling": vgg.pooling}
    settings = as_json({**named, "seed": seed, **how, **about})
    return run_descent("figure one", objective, start, settings, how, on_step, progress)

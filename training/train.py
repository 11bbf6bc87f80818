"""Train the pocket network: VGG-19 with few channels, taught by the published one.

    python -m training.train --output styletutor/network/pocket.safetensors        (or: make pocket)

Channels of the teacher are chosen and fitted by least squares, layer by layer; then all layers
descend together on what is wrong with their features and Gram matrices. Stop it with Ctrl-C
whenever you like: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

import styletutor as st
from styletutor.machine import default_device
from styletutor.network.layers import CONV_NAMES
from styletutor.network.vgg import VGG
from styletutor.network.weights import POCKET_WIDTHS
from styletutor.pictures.writing import write_file
from training.crops import collect, photographs, sample
from training.painted import KEPT, paint, paintings_apart
from training.selection import beside, select
from training.student import (
    ASKED_FOR,
    Student,
    coded,
    errors,
    loss,
    rescaled,
    strength_factors,
    styles_apart,
    unit_factors,
)

BUILD = Path(__file__).parent / "build"
PLAIN = 0.2  # of the batches come before the student paints
EVERY = 10  # batches between new paintings
FAR = 2**40  # seeds of crops that are not for the descent


def main(arguments: list[str] | None = None) -> int:
    """Train by the command line's `arguments`; returns the exit code."""
    options = _parser().parse_args(arguments)
    settings = {k: v for k, v in vars(options).items() if k not in ("output", "device", "work")}
    device = torch.device(options.device) if options.device else default_device()
    options.work.mkdir(parents=True, exist_ok=True)
    pictures = collect(options.pictures, options.work / f"pictures-{options.pictures}.npy")
    teacher = st.load_vgg(options.teacher, device=device)

    def crops(count: int, seed: int = FAR) -> Tensor:
        return sample(pictures, count, options.crop, options.seed * FAR + seed).to(device)

    try:
        state, checkpoint = None, options.work / "checkpoint.pt"
        if checkpoint.exists():
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
            state = saved if saved["settings"] == settings else None
        unit = in_units(teacher, crops(64))
        if state is None:
            began = time.monotonic()
            parameters, chosen = select(
                unit, dict(zip(CONV_NAMES, options.widths, strict=True)), crops
            )
            state = {"settings": settings, "chosen": chosen, "done": 0, "optimiser": None}
            state |= {"student": Student(parameters, chosen).state_dict(), "paintings": {}}
            state |= {"seconds": time.monotonic() - began}
            _keep(state, checkpoint)
        student = train(unit, crops, state, checkpoint)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    parameters = student.parameters_by_name()
    strength = strength_factors(parameters, teacher.cpu(), crops(64).cpu())
    tensors = coded(rescaled(parameters, strength))
    write_file(options.output, save(tensors, about(teacher, settings, state["seconds"])))
    print(f"wrote {options.output}, {options.output.stat().st_size / 1e6:.2f} MB")
    return 0


def in_units(teacher: VGG, crops: Tensor) -> VGG:
    """The teacher with each layer's features, as a whole, scaled to mean 1 over `crops`."""
    parameters = {n: (conv.weight, conv.bias) for n, conv in teacher.convolutions.items()}
    return beside(teacher, rescaled(parameters, unit_factors(teacher, crops)))


def train(teacher: VGG, crops: Callable[..., Tensor], state: dict, checkpoint: Path) -> Student:
    """The student after all its batches, from `state` on, which is kept up to date.

    `crops(n, seed)` gives n crops. Raises KeyboardInterrupt after a Ctrl-C, with the checkpoint
    written.
    """
    settings, began, before = state["settings"], time.monotonic(), state["seconds"]
    student = Student.like(state["student"], state["chosen"]).to(teacher.device)
    optimiser = torch.optim.Adam(student.parameters(), betas=(0.9, 0.99))
    if state["optimiser"]:
        optimiser.load_state_dict(state["optimiser"])
    low = settings["precision"] == "bfloat16"
    quick, device = teacher.low_precision() if low else teacher, teacher.device.type
    batches = settings["batches"]
    first = int(PLAIN * batches)
    bar = tqdm(initial=state["done"], total=batches, desc="training", unit="batch", smoothing=0.05)

    def keep() -> None:
        state["seconds"] = before + time.monotonic() - began
        state.update(student=student.state_dict(), optimiser=optimiser.state_dict())
        _keep(state, checkpoint)

    def painted(done: int) -> Tensor:
        pairs, count = state["paintings"], settings["batch"] // 2
        wanted = count + (done - first) // EVERY
        numbers = range(max(0, wanted - KEPT), wanted)
        for number in numbers:
            if number not in pairs:
                pairs[number] = paint(student, teacher, crops(2, FAR // 2 + number))
        for old in pairs.keys() - numbers:
            del pairs[old]
        generator = torch.Generator().manual_seed(done)
        drawn = torch.randperm(len(numbers), generator=generator)[:count]
        shown = torch.stack([pairs[numbers[i]] for i in drawn], 1)
        return shown.flatten(0, 1).to(teacher.device) / 255

    try:
        while state["done"] < batches:
            done = state["done"]
            slope = 0.5 * (1 + math.cos(math.pi * done / batches))
            for group in optimiser.param_groups:
                group["lr"] = settings["rate"] * slope * min(1, (done + 1) / 50)
            if done >= first and done % 2:
                shown, apart = painted(done), paintings_apart
            else:
                shown, apart = crops(settings["batch"], done), styles_apart
            with torch.autocast(device, torch.bfloat16, enabled=low):
                found = errors(student, quick, shown, apart)
            optimiser.zero_grad(set_to_none=True)
            loss(found).backward()
            optimiser.step()
            state["done"] += 1
            bar.update()
            if done % 20 == 0:
                bar.set_postfix({name: f"{found[name][0].item():.3f}" for name in ASKED_FOR})
            if done % 500 == 499:
                keep()
    finally:
        bar.close()
        keep()
    return student


def _keep(state: Mapping, checkpoint: Path) -> None:
    partial = checkpoint.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(checkpoint)


def about(teacher: VGG, settings: Mapping, seconds: float) -> dict[str, str]:
    """What the file says of itself."""
    says = {
        "trained_on": f"{settings['pictures']} drawings and {len(photographs())} photographs, by "
        f"{teacher.name}",
        "teacher": f"{teacher.name}, trained on {teacher.trained_on}",
        "teacher_sha256": teacher.sha256,
        "changes": "fewer channels, their weights fitted and trained anew, in 8 bits",
        "pooling": teacher.pooling,
        "mean": json.dumps(teacher.mean.flatten().double().tolist()),
        "date": date.today().isoformat(),
        "commit": _commit(),
        "arguments": json.dumps(settings),
        "minutes": f"{seconds / 60:.0f}",
        "licence": "MIT",
    }
    if teacher.level:
        says["level"] = str(teacher.level)
    if "Oxford" in teacher.name:
        says["teacher_credit"] = (
            "VGG-19 by Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of "
            "Oxford, CC BY 4.0"
        )
    return says


def _commit() -> str:
    try:
        git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m training.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, help="the weight file to write")
    add("--work", type=Path, default=BUILD, help="folder for pictures and checkpoint")
    add("--teacher", default="vgg19", help="whose features are learnt: a name or a weight file")
    add("--device", help="cpu, cuda or mps (default: the fastest)")
    add("--widths", type=int, nargs=16, default=list(POCKET_WIDTHS), help="channels per layer")
    add("--pictures", type=int, default=512, help="procedural pictures to draw")
    add("--batches", type=int, default=7500)
    add("--batch", type=int, default=6, help="crops per batch")
    add("--crop", type=int, default=192, help="side of a crop, pixels")
    add("--rate", type=float, default=2e-4, help="Adam's highest learning rate")
    add("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    add("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())

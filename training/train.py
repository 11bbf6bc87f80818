"""Train the pocket network: VGG-19's layers, narrower, on pictures that need no download.

    python -m training.train --output styletutor/network/pocket.safetensors        (or: make pocket)

The network learns to tell pictures apart from small crops, by the mean and deviation of its
features alone, at the end of each block: statistics without positions, as a Gram matrix is. Beside
that, small decoders must rebuild the crop from some layers, which keeps content and colour in them.
Batch normalisation is folded into the convolutions afterwards. Stop it with Ctrl-C whenever you
like: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from styletutor.machine import default_device
from styletutor.network.weights import POCKET_WIDTHS
from styletutor.pictures.writing import write_file
from training.crops import collect, photographs, sample
from training.student import SPREAD, Student, balance, fold, settle, worst_case

REBUILD = (("relu2_1", 1.0), ("relu3_1", 3.0), ("relu4_2", 6.0))
BUILD = Path(__file__).parent / "build"


def main(arguments: list[str] | None = None) -> int:
    """Train by the command line's `arguments`; returns the exit code."""
    options = _parser().parse_args(arguments)
    options.rebuild = dict(options.rebuild)
    settings = {k: v for k, v in vars(options).items() if k not in ("output", "device", "work")}
    device = torch.device(options.device) if options.device else default_device()
    options.work.mkdir(parents=True, exist_ok=True)
    pictures = collect(options.pictures, options.work / f"pictures-{options.pictures}.npy")
    torch.manual_seed(options.seed)
    student = Student(options.widths, len(pictures), options.rebuild).to(device)
    student.to(memory_format=torch.channels_last)
    try:
        seconds = train(student, pictures.to(device), settings, options.work / "checkpoint.pt")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    settle(student.trunk, pictures.to(device), options.crop)
    parameters = balance(fold(student.trunk), sample(pictures, 64, 128, 0)[0])
    save_pocket(parameters, options.output, settings, seconds, len(pictures))
    print(f"wrote {options.output}, {options.output.stat().st_size / 1e6:.2f} MB")
    return 0


def train(student: Student, pictures: Tensor, settings: dict, checkpoint: Path) -> float:
    """Train in place, from `checkpoint` on if that has the same settings; seconds that it took."""
    optimiser = torch.optim.AdamW(student.parameters(), weight_decay=settings["weight_decay"])
    batches, done, seconds = settings["batches"], 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=pictures.device, weights_only=True)
        if saved["settings"] == settings:
            student.load_state_dict(saved["student"])
            optimiser.load_state_dict(saved["optimiser"])
            done, seconds = saved["done"], saved["seconds"]
    dtype = torch.bfloat16 if settings["precision"] == "bfloat16" else torch.float32
    bar = tqdm(initial=done, total=batches, desc="training", unit="batch", smoothing=0.05)
    accuracy, began = 0.0, time.monotonic()

    def keep() -> None:
        spent = seconds + time.monotonic() - began
        state = {"student": student.state_dict(), "optimiser": optimiser.state_dict()}
        state |= {"settings": settings, "done": done, "seconds": spent}
        partial = checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(checkpoint)

    try:
        while done < batches:
            warm = min(1, (done + 1) / 100)
            rate = settings["rate"] * warm * 0.5 * (1 + math.cos(math.pi * done / batches))
            for group in optimiser.param_groups:
                group["lr"] = rate
            seed = settings["seed"] * 2**32 + done
            crops, which = sample(pictures, settings["batch"], settings["crop"], seed)
            with torch.autocast(crops.device.type, dtype, enabled=dtype != torch.float32):
                disturbance = worst_case(student, crops, which, settings["disturb"], seed)
                loss, right, errors = student(crops, which, disturbance)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            done += 1
            bar.update()
            if done % 20 == 0:
                accuracy += (right.item() - accuracy) * (0.1 if accuracy else 1)
                told = {name: f"{error.item():.3f}" for name, error in errors.items()}
                bar.set_postfix(right=f"{accuracy:.0%}", loss=f"{loss.item():.2f}", **told)
            if done % 1000 == 0:
                keep()
    except KeyboardInterrupt:
        keep()
        raise
    finally:
        bar.close()
    keep()
    return seconds + time.monotonic() - began


def save_pocket(
    parameters: Mapping[str, tuple[Tensor, Tensor]],
    path: Path,
    settings: Mapping,
    seconds: float,
    classes: int,
) -> None:
    """Write the weights as float16 safetensors, with how they came about as metadata."""
    tensors = {}
    for name, (weight, bias) in parameters.items():
        tensors |= {f"{name}.weight": weight.half().contiguous(), f"{name}.bias": bias.half()}
    photos = 4 * len(photographs())
    metadata = {
        "trained_on": f"{classes - photos} procedural pictures and {photos} photograph crops",
        "pooling": "avg",
        "date": date.today().isoformat(),
        "commit": _commit(),
        "arguments": json.dumps(settings),
        "minutes": f"{seconds / 60:.0f}",
        "licence": "MIT",
    }
    write_file(path, save(tensors, metadata))


def _commit() -> str:
    try:
        git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _share(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    return name, float(weight)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m training.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, help="the weight file to write")
    add("--work", type=Path, default=BUILD, help="folder for pictures and checkpoint")
    add("--device", help="cpu, cuda or mps (default: the fastest)")
    add("--widths", type=int, nargs=5, default=list(POCKET_WIDTHS), help="channels per block")
    add("--pictures", type=int, default=768, help="procedural pictures to draw")
    add("--batches", type=int, default=6500)
    add("--batch", type=int, default=64, help="crops per batch")
    add("--crop", type=int, default=64, help="side of a crop, pixels")
    add("--rate", type=float, default=2e-3, help="AdamW's highest learning rate")
    add("--weight-decay", type=float, default=0.05)
    add("--rebuild", type=_share, nargs="*", default=REBUILD, metavar="LAYER=WEIGHT",
        help="layers from which the crop must be rebuilt")  # fmt: skip
    add("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    add(
        "--disturb",
        type=float,
        default=0.03,
        help=f"strength of the worst-case noise, in units of {SPREAD}",
    )
    add("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())

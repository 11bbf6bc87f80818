"""Damaged files: a value or one clear error comes of each, soon, and no other file is touched.

The test suite damages some of each kind; `python -m tests.fuzz --minutes 30` goes on for long, and
keeps what it finds in a folder. The same `--seed` damages in the same way.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from safetensors.torch import load, save, save_file

import styletutor as st
from styletutor.cli import main as command
from styletutor.network.weights import untrained
from styletutor.pictures.reading import read_image, read_mask
from styletutor.runs import checkpoints

SECONDS, BYTES = 5.0, 500_000_000
CLEAR = (ValueError, OSError)
ODD = (None, True, -1, 0, 1e300, float("inf"), "", "no such", "--output", "\0", "é" * 300, [], [[]],
       {}, {"relu1_1": -1}, ["relu9_9"], 10**30)  # fmt: skip
HOW = {"content_layers": "relu2_1", "style_layers": ["relu1_1"], "progress": False}
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """Files of one kind: how a sound one is written, and who reads it."""

    name: str
    write: Callable[[Path], object]
    read: Read
    damage: Callable[[bytes, random.Random], bytes]
    goes_on: bool = False  # a checkpoint that is resumed is written again


def in_bytes(data: bytes, chance: random.Random) -> bytes:
    """Some bits, bytes, lengths or pieces of it changed."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(changed) or 1)
        piece = changed[at : at + chance.choice((1, 2, 4, 8, 64))]
        how = chance.randrange(7)
        if how == 0 and changed:
            changed[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            changed[at : at + len(piece)] = chance.randbytes(len(piece))
        elif how == 2:
            changed[at : at + len(piece)] = bytes([chance.choice((0, 255, 127))]) * len(piece)
        elif how == 3:
            changed[at : at + 4] = chance.choice((2**31, 2**32 - 1, 10**6)).to_bytes(4, "big")
        elif how == 4:
            changed[at:at] = piece * chance.choice((1, 2, 50))
        elif how == 5:
            del changed[at : at + chance.choice((1, 10, 1000))]
        else:
            del changed[at:]
    return bytes(changed)


def in_words(data: bytes, chance: random.Random) -> bytes:
    """A value somewhere in the JSON changed to an odd one, or removed; or its bytes damaged."""
    if chance.random() < 0.3:
        return in_bytes(data, chance)
    words = json.loads(data)
    inside = words["settings"] if chance.random() < 0.8 else words
    name = chance.choice(sorted(inside))
    if chance.random() < 0.2:
        del inside[name]
    else:
        inside[name] = chance.choice(ODD)
    return json.dumps(words).encode()


def in_meaning(data: bytes, chance: random.Random) -> bytes:
    """A word or a tensor of a checkpoint changed to an odd one, or removed; its digest is right."""
    tensors, header = load(data), data[8 : 8 + int.from_bytes(data[:8], "little")]
    saved = json.loads(json.loads(header)["__metadata__"][checkpoints.KEY])
    del saved["sha256"]
    inside = tensors if chance.random() < 0.3 else saved
    while inside is not tensors and chance.random() < 0.8:
        deeper = list(inside.values() if isinstance(inside, dict) else inside)
        deeper = [each for each in deeper if isinstance(each, dict | list) and each]
        if not deeper:
            break
        inside = chance.choice(deeper)
    name = chance.choice(sorted(inside) if isinstance(inside, dict) else range(len(inside)))
    if chance.random() < 0.2:
        del inside[name]
    elif inside is tensors:
        shape = chance.choice(((), (1,), (0,), (1, 3, 8, 8), tuple(tensors[name].shape)))
        inside[name] = torch.full(shape, chance.choice((0, 1, torch.nan, -torch.inf)))
    else:
        inside[name] = chance.choice(ODD)
    saved["sha256"] = checkpoints._digest(tensors, saved)
    return save(tensors, {checkpoints.KEY: json.dumps(saved)})


def picture(height: int = 24, width: int = 20) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def small_network() -> st.VGG:
    return untrained(widths=(4, 4, 4, 4, 4))


def state() -> dict[str, torch.Tensor]:
    network, tensors = small_network(), {}
    for name, conv in network.convolutions.items():
        tensors |= {
            f"{name}.weight": conv.weight.contiguous().clone(),
            f"{name}.bias": conv.bias.clone(),
        }
    return tensors


def saved_as(suffix: str, **how: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = io.BytesIO()
        st.save_image(picture(), path.with_suffix(".png"))
        with Image.open(path.with_suffix(".png")) as made:
            made.save(data, suffix, **how)
        path.with_suffix(".png").unlink()
        path.write_bytes(data.getvalue())

    return write


def run(path: Path, **how: object) -> object:
    return st.transfer(
        picture(), picture(20, 24), vgg=small_network(), evaluations=3, precision="exact",
        start="noise", **HOW, **how,
    )  # fmt: skip


def write_report(path: Path) -> None:
    out = path.with_name("first.png")
    arguments = ["transfer", "--content", "coins", "--styles", "brick", "--weights", "random"]
    arguments += ["--size", "24", "--evaluations", "1", "--style-layers", "relu1_1"]
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        assert command([*arguments, "--output", str(out), "--report", str(path)]) == 0
    out.unlink()


def read_report(path: Path) -> object:
    """On the command line, where an error is a line and an exit code."""
    out, said = path.with_name("out.png"), io.StringIO()
    arguments = ["--settings", str(path), "--size", "24", "--evaluations", "1"]
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            code = command(["transfer", *arguments, "--weights", "random", "--output", str(out)])
    except SystemExit as end:
        code = end.code
    out.unlink(missing_ok=True)
    if code == 2:
        raise ValueError(said.getvalue().strip().splitlines()[-1])
    assert code == 0, f"exit code {code}: {said.getvalue()}"
    return code


KINDS = [
    *(
        Kind(name, saved_as(name, **how), read_image, in_bytes)
        for name, how in {
            "PNG": {}, "JPEG": {"progressive": True}, "WEBP": {}, "GIF": {}, "BMP": {}, "PPM": {},
            "TIFF": {"compression": "tiff_lzw"},
        }.items()
    ),
    Kind("mask", saved_as("PNG"), read_mask, in_bytes),
    Kind("pth", lambda path: torch.save(state(), path), st.load_vgg, in_bytes),
    Kind("safetensors", lambda path: save_file(state(), path), st.load_vgg, in_bytes),
    Kind("checkpoint", lambda path: run(path, checkpoint=path),
         lambda path: run(path, resume=path), in_bytes, goes_on=True),
    Kind("crafted checkpoint", lambda path: run(path, checkpoint=path),
         lambda path: run(path, resume=path), in_meaning, goes_on=True),
    Kind("report", write_report, read_report, in_words),
]  # fmt: skip


def peak() -> int:
    """The most memory that this process has had, in bytes; 0 where nobody says."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def folder_of(path: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in path.parent.iterdir()}


def try_once(kind: Kind, data: bytes, path: Path) -> str:
    """What is wrong with what came of these bytes, or nothing."""
    path.write_bytes(data)
    before, most, began = folder_of(path), peak(), time.perf_counter()
    try:
        kind.read(path)
    except CLEAR as error:
        text = str(error)
        if "\n" in text or not text or len(text) > 1000:
            return f"an error that is not one line: {text[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    took, more = time.perf_counter() - began, peak() - most
    if took > SECONDS:
        return f"it took {took:.0f} seconds"
    if more > BYTES:
        return f"it took {more / 1e6:.0f} MB"
    after = folder_of(path)
    if kind.goes_on:
        after[path.name] = before[path.name]
    if after != before:
        return "files were written or changed"
    return ""


def damaged(kind: Kind, seed: int, folder: Path) -> Iterator[tuple[bytes, str]]:
    """Damaged files without end, and what is wrong with what came of each."""
    path = folder / "file"
    kind.write(path)
    sound, chance = path.read_bytes(), random.Random(f"{kind.name} {seed}")
    kind.read(path)  # a sound one is read, which also loads what reading needs
    while True:
        data = kind.damage(sound, chance)
        yield data, try_once(kind, data, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder of findings")
    arguments = parser.parse_args()
    ends, counts, found = time.monotonic() + 60 * arguments.minutes, dict.fromkeys(KINDS, 0), 0
    with TemporaryDirectory() as folder:
        places = {kind: Path(folder) / kind.name for kind in KINDS}
        for place in places.values():
            place.mkdir()
        files = {kind: damaged(kind, arguments.seed, places[kind]) for kind in KINDS}
        for kind in itertools.cycle(KINDS):
            if time.monotonic() > ends:
                break
            data, wrong = next(files[kind])
            counts[kind] += 1
            if wrong:
                found += 1
                arguments.keep.mkdir(parents=True, exist_ok=True)
                (arguments.keep / f"{kind.name}-{counts[kind]}").write_bytes(data)
                print(f"{kind.name} {counts[kind]}: {wrong}", flush=True)
    print(", ".join(f"{kind.name} {count}" for kind, count in counts.items()), f"; found {found}")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())

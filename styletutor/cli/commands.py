"""What the other commands do: tables, weights, forecasts, JupyterLab, the studio's page."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import styletutor as st
from styletutor.cookbook.published import find_recipe
from styletutor.cookbook.rosetta import as_lines, rosetta
from styletutor.network.vgg import VGG
from styletutor.network.vgg19 import automatic, fetch_vgg19
from styletutor.network.weights import check_weights, convert_weights, describe_vgg19
from styletutor.pictures.images import check_writable
from styletutor.pictures.writing import check_apart, try_writing, write_file


def layers(arguments: argparse.Namespace) -> None:
    """`styletutor layers`: the table, or a sheet of activations."""
    if (arguments.image is None) != (arguments.output is None):
        raise ValueError("--image and --output belong together; give both for a sheet, or neither")
    if arguments.image is not None:
        from styletutor.plots import layer_sheet

        check_writable(arguments.output)
        check_apart([arguments.output], [arguments.image, arguments.weights])
        photo = st.load_image(arguments.image, 512)
        layer_sheet(_network(arguments), photo, arguments.layers).save(arguments.output)
        print(f"saved {arguments.output}")
        return
    rows = st.layer_table() if arguments.weights is None else _network(arguments).layers
    print("layer    kind  channels stride  sees pixels parameters")
    for row in rows:
        sees = f"{row.receptive_field}×{row.receptive_field}"
        numbers = f"{row.channels:8} {row.stride:6} {sees:>12} {row.parameters:10,}"
        print(f"{row.name:8} {row.kind:5} {numbers}")


def _network(arguments: argparse.Namespace) -> VGG:
    how = {"pooling": arguments.pooling, "device": arguments.device}
    return st.load_vgg("auto" if arguments.weights is None else arguments.weights, **how)


def weights(arguments: argparse.Namespace) -> None:
    """`styletutor weights [status | fetch | check FILE | convert FILE OUT]`."""
    expected = {"check": 1, "convert": 2}.get(arguments.action, 0)
    if len(arguments.files) != expected:
        raise ValueError(
            f"`weights {arguments.action}` takes {expected} files, not {len(arguments.files)}; as "
            "in: weights check FILE, weights convert FILE OUT.safetensors"
        )
    if arguments.action == "check":
        print(check_weights(arguments.files[0]))
    elif arguments.action == "convert":
        size = convert_weights(*arguments.files, last=arguments.last)
        print(f"saved {arguments.files[1]} ({size / 1e6:.1f} MB, up to {arguments.last})")
    elif arguments.action == "fetch":
        print(f"torchvision's VGG-19 weights are at {fetch_vgg19()}")
    else:
        print(f"pocket  in the package: {st.load_vgg('pocket', device='cpu')}")
        print(f"vgg19   {describe_vgg19()}")
        print(f"auto    means {automatic()[0]} here")


def grade(arguments: argparse.Namespace) -> None:
    """`styletutor grade FOLDER [--output MARKS.csv]`: run the checks of handed-in notebooks."""
    from styletutor.lessons import grading

    if arguments.output is not None:
        try_writing(arguments.output)
    marks = []
    for row in grading.grade(Path(os.path.expanduser(arguments.folder)), arguments.seconds):
        marks.append(row)
        print(f"{row.path}: {row.passed} of {len(row.verdicts)} passed", flush=True)
        for note in row.notes:
            print(f"    {note}")
    if arguments.output is not None:
        write_file(arguments.output, grading.to_csv(marks).encode("utf-8-sig"))
        print(f"saved {arguments.output}")


def recipes(arguments: argparse.Namespace) -> None:
    """`styletutor recipes [NAME]`: the Rosetta table, or one recipe's data."""
    if arguments.name is not None:
        recipe = find_recipe(arguments.name)
        for field in fields(recipe):
            print(f"{field.name:15} {getattr(recipe, field.name)}")
        return
    for recipe in st.recipes.values():
        print(f"{recipe.name:16} {recipe.source}")
    vgg = _network(arguments)
    photo, *styles = (
        st.load_image(name, arguments.size).to(vgg.device)
        for name in (arguments.content, *arguments.styles)
    )
    height, width = photo.shape[2:]
    print(
        f"\nIn the paper's units (α ½Σ(F-P)² + β ΣE), for {width}×{height} pixels and {vgg.name}:"
    )
    for line in as_lines(rosetta(vgg, photo, styles)):
        print(line)


def doctor(arguments: argparse.Namespace) -> None:
    """`styletutor doctor`."""
    from styletutor.doctor import examine

    for line in examine(_network(arguments)):
        print(line, flush=True)


def lab(arguments: argparse.Namespace) -> int:
    """`styletutor lab`: JupyterLab, with its token, on the notebooks."""
    places = [Path(__file__).resolve().parents[2] / "notebooks", Path("notebooks").resolve()]
    folder = next((p for p in places if p.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(
            f"there are no notebooks at {places[0]} or {places[1]}; run this in a clone of the "
            "repository"
        )
    _check_installed("jupyterlab", "JupyterLab")
    command = [sys.executable, "-m", "jupyterlab", str(folder), *arguments.options]
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # JupyterLab has had it too, and asks what to do
            continue


def studio(arguments: argparse.Namespace) -> None:
    """`styletutor studio`: the transfer studio as a page without code, with its token."""
    _check_installed("voila", "Voilà")
    from styletutor.widgets.kiosk import serve

    serve(arguments.options)


def _check_installed(module: str, name: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{name} is not installed; run `make lab` in a clone, or: pip install -e '.[lab]'"
        ) from None

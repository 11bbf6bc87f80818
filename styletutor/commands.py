"""What the commands of the command line do: read settings, call a verb, save what comes out."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import styletutor as st
from styletutor.descent import STARTS
from styletutor.files import check_apart, try_writing, write_file
from styletutor.images import check_writable
from styletutor.reports import as_options, read_report
from styletutor.result import Result
from styletutor.vgg import VGG
from styletutor.weights import check_weights, fetch_vgg19, find_vgg19

NOT_SETTINGS = {
    "run", "parser", "kind", "output", "report", "settings", "expected_sha256",
    "weights", "pooling", "device",
}  # fmt: skip
# What a recipe sets: another recipe than the report's must be free to set it anew.
RECIPE_SETTINGS = {"recipe", *(field.name for field in fields(st.Recipe))}


def transfer(arguments: argparse.Namespace) -> int:
    """`styletutor transfer`."""
    settings = _settings(arguments, "transfer", ("content", "styles"))
    _check_files(arguments, [settings["content"], *settings["styles"]])
    styles = settings.pop("styles")
    return _finish(arguments, st.transfer, (settings.pop("content"), styles), settings)


def reconstruct(arguments: argparse.Namespace) -> int:
    """`styletutor reconstruct content|style`."""
    settings = _settings(arguments, f"reconstruct {arguments.kind}", ("image", "layers"))
    _check_files(arguments, [settings["image"]])
    verb = {"content": st.reconstruct_content, "style": st.reconstruct_style}[arguments.kind]
    return _finish(arguments, verb, (settings.pop("image"), settings.pop("layers")), settings)


def _settings(
    arguments: argparse.Namespace, command: str, required: Sequence[str]
) -> dict[str, Any]:
    """What the verb is called with: the options, and where they are silent the report."""
    if arguments.settings is not None:
        _fill_in(arguments, command)
    missing = [f"--{name}" for name in required if getattr(arguments, name) is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be given, or --settings with a report")
    return {
        name: _layer_weights(value) if name.endswith("layers") else value
        for name, value in vars(arguments).items()
        if name not in NOT_SETTINGS and value is not None
    }


def _fill_in(arguments: argparse.Namespace, command: str) -> None:
    """Give the options that were left out the values that the report has for them."""
    report = read_report(arguments.settings, command)
    if arguments.weights is None:
        arguments.expected_sha256 = report["backbone"]["sha256"]
    if report.get("turned"):
        print("styletutor: weights were turned in that run; this one keeps the first", flush=True)
    without = RECIPE_SETTINGS if getattr(arguments, "recipe", None) is not None else ()
    words = [arguments.kind] if "kind" in arguments else []
    options = as_options(report["settings"], without)
    recorded = arguments.parser.parse_args([*words, "--output", arguments.output, *options])
    for name, value in vars(recorded).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def _layer_weights(layers: Sequence[str]) -> list[str] | dict[str, float]:
    """["relu1_1", "relu2_1=2"] → {"relu1_1": 1.0, "relu2_1": 2.0}; names alone stay a list."""
    if not any("=" in layer for layer in layers):
        return list(layers)
    weights = {}
    for layer in layers:
        name, _, weight = layer.partition("=")
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            raise ValueError(f"{layer!r} is not NAME or NAME=WEIGHT, as in relu2_1=0.5") from None
    return weights


def _check_files(arguments: argparse.Namespace, pictures: Sequence[str]) -> None:
    """Before the work, find out whether its results can be saved and its pictures be read.

    Raises ValueError if an output would overwrite an input.
    """
    check_writable(arguments.output)
    if arguments.report is not None:
        try_writing(arguments.report)
    start, weights = getattr(arguments, "start", None), arguments.weights
    pictures = [*pictures, *([start] if start is not None and start not in STARTS else [])]
    check_apart([arguments.output, arguments.report], [*pictures, weights])
    for name in pictures:
        st.load_image(name, arguments.size)


def _finish(
    arguments: argparse.Namespace,
    verb: Callable[..., Result],
    pictures: tuple[Any, ...],
    settings: dict[str, Any],
) -> int:
    vgg = _network(arguments)
    if getattr(arguments, "expected_sha256", vgg.sha256) != vgg.sha256:
        raise ValueError(f"the weights {vgg.name!r} are not those of the report; give --weights")
    result = verb(*pictures, vgg=vgg, **settings)
    result.save(arguments.output)
    if arguments.report is not None:
        text = json.dumps(result.report(), indent=1)
        write_file(arguments.report, text.encode("utf-8"))
    print(f"{result}\nsaved {arguments.output}")
    if result.interrupted:
        print("styletutor: interrupted; saved the best picture so far", file=sys.stderr)
        return 130
    return 0


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
    return st.load_vgg(
        arguments.weights or "auto", pooling=arguments.pooling, device=arguments.device
    )


def weights(arguments: argparse.Namespace) -> None:
    """`styletutor weights [status | fetch | check FILE]`."""
    if (arguments.action == "check") != (arguments.file is not None):
        raise ValueError("`weights check` needs a FILE, and only that; as in: weights check my.pth")
    if arguments.action == "check":
        print(check_weights(arguments.file))
    elif arguments.action == "fetch":
        print(f"the VGG-19 weights are at {fetch_vgg19()}")
    else:
        found = find_vgg19()
        print(f"pocket  in the package: {st.load_vgg('pocket', device='cpu')}")
        where = (
            found or "not on this machine; `styletutor weights fetch` downloads it (about 550 MB)"
        )
        print(f"vgg19   {where}")
        print(f"auto    means {'vgg19' if found else 'pocket'} here")


def doctor(arguments: argparse.Namespace) -> None:
    """`styletutor doctor`."""
    from styletutor.doctor import examine

    for line in examine(_network(arguments)):
        print(line, flush=True)


def lab(arguments: argparse.Namespace) -> int:
    """`styletutor lab`: JupyterLab, with its token, on the notebooks."""
    places = [Path(__file__).resolve().parents[1] / "notebooks", Path("notebooks").resolve()]
    folder = next((p for p in places if p.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(
            f"there are no notebooks at {places[0]} or {places[1]}; run this in a clone of the "
            "repository"
        )
    try:
        import jupyterlab  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "JupyterLab is not installed; run `make lab` in a clone, or: pip install -e '.[lab]'"
        ) from None
    command = [sys.executable, "-m", "jupyterlab", str(folder), *arguments.options]
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # JupyterLab has had it too, and asks what to do
            continue

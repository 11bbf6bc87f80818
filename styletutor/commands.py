"""What the commands of the command line do: read settings, call a verb, save what comes out."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import styletutor as st
from styletutor.files import try_writing, write_file
from styletutor.images import check_writable
from styletutor.result import Result
from styletutor.vgg import VGG
from styletutor.weights import check_weights, fetch_vgg19, find_vgg19


def transfer(arguments: argparse.Namespace) -> int:
    """`styletutor transfer`."""
    settings = _settings(arguments, "transfer", ("content", "styles"))
    _check_outputs(arguments, [settings["content"], *settings["styles"]])
    styles = settings.pop("styles")
    return _finish(arguments, st.transfer, (settings.pop("content"), styles), settings)


def reconstruct(arguments: argparse.Namespace) -> int:
    """`styletutor reconstruct content|style`."""
    settings = _settings(arguments, f"reconstruct {arguments.kind}", ("image", "layers"))
    _check_outputs(arguments, [settings["image"]])
    verb = {"content": st.reconstruct_content, "style": st.reconstruct_style}[arguments.kind]
    return _finish(arguments, verb, (settings.pop("image"), settings.pop("layers")), settings)


def _settings(
    arguments: argparse.Namespace, command: str, required: Sequence[str]
) -> dict[str, Any]:
    """What the verb and `load_vgg` are called with: the report's settings, then the options."""
    settings: dict[str, Any] = {}
    if arguments.settings is not None:
        report = _read_report(arguments.settings, command)
        settings = dict(report["settings"])
        if arguments.weights is None:
            arguments.expected_sha256 = report["backbone"]["sha256"]
    mine = {"run", "kind", "output", "report", "settings", "device", "expected_sha256"}
    for name, value in vars(arguments).items():
        if name not in mine and value is not None:
            settings[name] = _layer_weights(value) if name.endswith("layers") else value
    unknown = set(settings) - set(vars(arguments))
    if unknown:
        raise ValueError(f"{arguments.settings} has settings that are unknown here: {unknown}")
    missing = [f"--{name}" for name in required if settings.get(name) is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be given, or --settings with a report")
    unnamed = [str(value) for value in settings.values() if "tensor with sha256" in str(value)]
    if unnamed:
        raise ValueError(f"the report is of a picture without a name ({unnamed[0]}); give its file")
    return settings


def _read_report(path: str, command: str) -> dict[str, Any]:
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        wrong = report["command"] != command
        dict(report["settings"]), str(report["backbone"]["sha256"])
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no report {path}; check the name") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} is not a report of styletutor; give one made by --report"
        ) from None
    if wrong:
        raise ValueError(f"{path} is the report of `{report['command']}`, not of `{command}`")
    return report


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


def _check_outputs(arguments: argparse.Namespace, inputs: Sequence[str]) -> None:
    """Find out before the work whether its results can be saved, and harm none of its inputs."""
    check_writable(arguments.output)
    if arguments.report is not None:
        try_writing(arguments.report)
        if Path(arguments.report).resolve() == Path(arguments.output).resolve():
            raise ValueError(f"--output and --report are both {arguments.report}; give two names")
    for name in inputs:
        if Path(name).exists() and Path(name).resolve() == Path(arguments.output).resolve():
            raise ValueError(f"--output would overwrite the input {name}; choose another name")


def _finish(
    arguments: argparse.Namespace,
    verb: Callable[..., Result],
    pictures: tuple[Any, ...],
    settings: dict[str, Any],
) -> int:
    asked = settings.pop("weights", None) or "auto"
    vgg = st.load_vgg(
        asked, pooling=settings.pop("pooling", None) or "max", device=arguments.device
    )
    if getattr(arguments, "expected_sha256", vgg.sha256) != vgg.sha256:
        raise ValueError(f"the weights {vgg.name!r} are not those of the report; give --weights")
    print(f"{vgg}", flush=True)
    result = verb(*pictures, vgg=vgg, **settings)
    resolved = asked if asked != "auto" else ("pocket" if vgg.name == "pocket" else "vgg19")
    result.settings["weights"] = resolved
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
        arguments.weights or "auto", pooling=arguments.pooling or "max", device=arguments.device
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

"""What `styletutor transfer` and `styletutor reconstruct` do: options, a verb, files."""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import fields, replace
from typing import Any

from torch import Tensor

import styletutor as st
from styletutor.cli.progress import Watch, numbered, progress_files
from styletutor.cli.replay import SETTINGS, Replay, check_network, read_report, read_saved
from styletutor.cli.telling import save_somewhere, say
from styletutor.cookbook.published import find_recipe
from styletutor.descent.starts import STARTS
from styletutor.loss.pieces import Hands
from styletutor.network.vgg19 import places
from styletutor.pictures.images import check_fits, check_writable
from styletutor.pictures.writing import check_apart, real_path, try_writing
from styletutor.runs.checkpoints import without_interrupts
from styletutor.runs.inputs import check_once, scale_content
from styletutor.runs.result import Result
from styletutor.runs.words import as_options
from styletutor.timelapse import check_film

MOST_NAMES = 100_000  # of pictures on the way that are looked at, some seconds' worth
# What a recipe sets: another recipe than the report's must be free to set it anew.
RECIPE_SETTINGS = {"recipe", "beta1", "beta2"} | {f.name for f in fields(st.Recipe)}


def transfer(arguments: argparse.Namespace) -> int:
    """`styletutor transfer`."""
    replay = _replay(arguments, "transfer")
    _seed_words(arguments)
    _check_given(arguments, "content", *([] if arguments.style_at else ["styles"]))
    styles = _styles(arguments)
    each = styles.values() if isinstance(styles, dict) else [styles]
    pictures = [arguments.content, *(picture for given in each for picture in given)]
    photo = _check_files(arguments, [*pictures, *(arguments.masks or [])])
    return _finish(arguments, replay, photo, st.transfer, arguments.content, styles)


def reconstruct(arguments: argparse.Namespace) -> int:
    """`styletutor reconstruct content|style`."""
    replay = _replay(arguments, f"reconstruct {arguments.kind}")
    _check_given(arguments, "image", "layers")
    photo = _check_files(arguments, [arguments.image])
    verb = {"content": st.reconstruct_content, "style": st.reconstruct_style}[arguments.kind]
    return _finish(arguments, replay, photo, verb, arguments.image, layer_weights(arguments.layers))


def _seed_words(arguments: argparse.Namespace) -> None:
    """Options of A. Athalye's neural_style.py that say otherwise what others say."""
    recipe = find_recipe(arguments.recipe or "default")
    if arguments.preserve_colors:
        arguments.colours = "content"
    blend, exponent = arguments.content_weight_blend, arguments.style_layer_weight_exp
    for given, other, option in (
        (blend, arguments.content_layers, "--content-weight-blend"),
        (exponent, arguments.style_layers, "--style-layer-weight-exp"),
    ):
        if given is not None and other is not None:
            raise ValueError(f"{option} and the layers' own weights are both given; give one")
    if blend is not None:
        if not 0 <= blend <= 1:
            raise ValueError(f"--content-weight-blend {blend}; it must be a number from 0 to 1")
        pair = {"relu4_2": blend, "relu5_2": 1 - blend}
        arguments.content_layers = [f"{n}={w}" for n, w in pair.items() if w > 0]
    if exponent is not None:
        if not 0 < exponent < float("inf"):
            raise ValueError(f"--style-layer-weight-exp {exponent}; it must be above 0")
        layers = enumerate(recipe.style_layers)
        arguments.style_layers = [f"{layer}={exponent**place}" for place, layer in layers]
    if arguments.noise_blend is not None and arguments.start is None:
        arguments.start = "content"
    careful = recipe.name == "anishathalye" and not arguments.overwrite
    if careful and os.path.isfile(arguments.output):
        raise ValueError(f"{arguments.output} exists; replace it with --overwrite")


def _styles(arguments: argparse.Namespace) -> list[str] | dict[str, list[str]]:
    if (arguments.styles is None) == (arguments.style_at is None):
        raise ValueError("either --styles or --style-at must be given, or --settings with a report")
    if arguments.styles is not None:
        return arguments.styles
    styles: dict[str, list[str]] = {}
    for word in arguments.style_at:
        layer, equals, picture = word.partition("=")
        if not (layer and equals and picture):
            raise ValueError(f"{word!r} is not LAYER=PICTURE, as in relu1_1=brush.jpg")
        styles.setdefault(layer, []).append(picture)
    return styles


def _check_given(arguments: argparse.Namespace, *required: str) -> None:
    missing = [f"--{name}" for name in required if getattr(arguments, name) is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be given, or --settings with a report")


def _replay(arguments: argparse.Namespace, command: str) -> Replay:
    """Give the options that were left out the values that a report, or a checkpoint, has."""
    if arguments.resume is not None and arguments.settings is not None:
        raise ValueError("--resume has its own settings; leave out --settings")
    if arguments.resume is not None:
        replay = read_saved(arguments.resume, command)
    elif arguments.settings is not None:
        replay = read_report(arguments.settings, command)
    else:
        return Replay()
    if arguments.weights is not None:
        replay = replace(replay, sha256=None)
    if arguments.evaluations is not None:
        replay = replace(replay, stop_after=None)
    given = {name for name, value in vars(arguments).items() if value not in (None, False)}
    if replay.turned and given & RECIPE_SETTINGS:
        replay = replace(replay, turned={})
        kept = "with other settings they stay as they begin"
        say(f"styletutor: weights were turned in that run; {kept}")
    words = [arguments.kind] if "kind" in arguments else []
    recorded = replay.settings
    strange = [name for name in recorded if name not in SETTINGS & set(vars(arguments))]
    if strange:
        raise ValueError(f"{arguments.settings or arguments.resume} sets {strange[0]!r}, which is "
                         "no setting; give one made by --report")  # fmt: skip
    options = as_options(recorded, _overruled(arguments, given, recorded))
    recorded = arguments.parser.parse_args([*words, "--output", arguments.output, *options])
    for name, value in vars(recorded).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return replay


def _overruled(
    arguments: argparse.Namespace, given: set[str], recorded: dict[str, Any]
) -> set[str]:
    """Settings of a report that others, given now, leave no place for."""
    without = set(RECIPE_SETTINGS) if "recipe" in given else set()
    for option, names in (
        ("style_at", {"styles", "style_layers", "blend", "masks", "style_scale"}),
        ("size", {"width"}),
        ("width", {"size"}),
        ("content_weight_blend", {"content_layers"}),
        ("style_layer_weight_exp", {"style_layers"}),
    ):
        without |= names if option in given else set()
    if "styles" in given:
        without |= {"style_at", "style_layers"} if recorded.get("style_at") else set()
        per_style = ("blend", "masks", "style_scale")
        lists = {n: recorded[n] for n in per_style if isinstance(recorded.get(n), list)}
        without |= {n for n, value in lists.items() if len(value) != len(arguments.styles)}
    return without


def layer_weights(layers: Sequence[str]) -> list[str] | dict[str, float]:
    """["relu1_1", "relu2_1=2"] → {"relu1_1": 1.0, "relu2_1": 2.0}; names alone stay a list."""
    if not any("=" in layer for layer in layers):
        return list(layers)
    weights = {}
    for layer in layers:
        name, _, weight = layer.partition("=")
        check_once([*weights, name])
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            raise ValueError(f"{layer!r} is not NAME or NAME=WEIGHT, as in relu2_1=0.5") from None
    return weights


def _check_files(arguments: argparse.Namespace, pictures: Sequence[str]) -> Tensor:
    """Before the work, find out whether its results can be saved and its pictures be read.

    Returns the first of the pictures. Raises ValueError if an output would overwrite an input.
    """
    check_writable(arguments.output)
    outputs = [arguments.output, arguments.report, arguments.checkpoint, arguments.timelapse]
    outputs += progress_files(arguments)
    for path in (arguments.report, arguments.checkpoint, *progress_files(arguments)):
        if path is not None:
            try_writing(path)
    if arguments.timelapse is not None:
        check_film(arguments.timelapse)
    often, where = arguments.checkpoint_iterations, arguments.checkpoint_output
    kept = arguments.checkpoint or arguments.resume
    if (where and not often) or (often and not where and not kept):
        raise ValueError(
            "--checkpoint-iterations says how often, --checkpoint-output FILE%s where; give both, "
            "or --checkpoint FILE to be able to go on"
        )
    if arguments.checkpoint_output is not None:
        check_writable(numbered(arguments.checkpoint_output, 0))
    if arguments.start not in (None, *STARTS):
        pictures = [*pictures, arguments.start]
    inputs = [*pictures, arguments.weights, arguments.settings, *places()]
    check_apart(outputs, inputs)
    if where:
        most = max(10_000, min(arguments.evaluations or 0, MOST_NAMES))
        names = {real_path(numbered(where, n)) for n in range(often, most + 1, often)}
        for name in (*inputs, *outputs, arguments.resume):
            if name is not None and real_path(name) in names:
                raise ValueError(f"--checkpoint-output {where} would overwrite {name}; change it")
    check_apart([o for o in outputs if o != arguments.checkpoint], [arguments.resume])
    first, *others = pictures
    for name in others:
        st.load_image(name, arguments.size)
    return st.load_image(first, arguments.size)


def _finish(
    arguments: argparse.Namespace,
    replay: Replay,
    photo: Tensor,
    verb: Callable[..., Result],
    *first: Any,
) -> int:
    taken = list(inspect.signature(verb).parameters)[len(first) :]
    settings = {
        name: layer_weights(value) if name.endswith("layers") else value
        for name, value in vars(arguments).items()
        if name in taken and value is not None
    }
    pooling = None if "pooling" in taken else arguments.pooling
    weights = "auto" if arguments.weights is None else arguments.weights
    vgg = st.load_vgg(weights, pooling=pooling, device=arguments.device)
    check_network(vgg, replay.sha256)
    recipe = find_recipe(settings.get("recipe", "default"))
    sides = (settings.get(name) for name in ("size", "width"))
    size = scale_content(photo, vgg, *sides, recipe.side).shape[2:]
    for path in (arguments.output, arguments.checkpoint_output, arguments.timelapse):
        if path is not None:
            check_fits(path, size)
    watch = Watch(arguments, replay)
    with _crew(arguments) as crew:
        if crew is not None:
            settings["crew"] = crew
        result = verb(*first, vgg=vgg, on_step=watch, **settings)
    with suppress(KeyboardInterrupt), without_interrupts():  # nobody waits long for it
        faults = _save(arguments, watch, result)
    say(str(result))
    if len(result.history) == replay.stop_after:
        say("styletutor: ended where the run of the report was interrupted")
    elif result.interrupted and not faults:
        say("styletutor: interrupted; saved the best picture so far", error=True)
        return 130
    return 2 if faults else 0


def _crew(arguments: argparse.Namespace) -> AbstractContextManager[Hands | None]:
    given = {name: getattr(arguments, name, None) for name in ("scheduler", "workers")}
    return nullcontext() if not any(given.values()) else st.crew(**given)


def _save(arguments: argparse.Namespace, watch: Watch, result: Result) -> bool:
    """Save all that is wanted, the picture first; was there a file that found no place of its own?

    One that finds no place at all is said as well, and the others are still saved.
    """
    beside = [os.path.dirname(os.path.abspath(name)) for name in _inputs(arguments)]
    words: list[tuple[str, bool]] = []
    for path, save in ((arguments.output, result.save), *watch.files(result)):
        try:
            path, fault = save_somewhere(save, path, beside)
            words.append((fault or f"saved {path}", bool(fault)))
        except OSError as error:
            words.append((f"{error}; it is lost", True))
    for text, fault in words:
        say(f"styletutor: error: {text}" if fault else text, error=fault)
    return any(fault for _, fault in words)


def _inputs(arguments: argparse.Namespace) -> list[str]:
    """The files that the command line names, the content picture first."""
    named = [getattr(arguments, name, None) for name in ("content", "image", "settings")]
    given = (os.path.expanduser(name) for name in named if name is not None)
    return [name for name in given if os.path.isfile(name)]

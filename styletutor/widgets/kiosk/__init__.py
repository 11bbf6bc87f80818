"""Voilà serves the transfer studio as a page without code, to who has its token."""

import gc
import os
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemBytecodeCache
from tornado.ioloop import PeriodicCallback
from traitlets import Float, default
from voila.app import Voila
from voila.exporter import VoilaExporter
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler

from styletutor.widgets.kiosk.visitors import (
    CHECKED_EVERY,
    GuardedConnection,
    Leavers,
    bound_headers,
)

HERE = Path(__file__).parent
OPTIONS = [
    *("--token", "--template=studio"),
    # Else whoever was given the token may set a password for all that Jupyter serves here.
    "--PasswordIdentityProvider.allow_password_change=False",
]


class Kiosk(Voila):
    """Voilà, which also opens its page with the token, takes `--ip` as JupyterLab does, and minds
    its visitors."""

    aliases = {**Voila.aliases, "ip": "Voila.ip"}  # noqa: RUF012
    left = Float(20, config=True, help="Seconds after which the kernel of a closed page ends.")
    unseen = Float(45, config=True, help="Seconds after which a kernel ends that no page came for.")

    @default("kernel_websocket_connection_class")
    def _guarded(self) -> type:
        return GuardedConnection

    def init_settings(self) -> dict[str, Any]:
        settings = super().init_settings()
        leavers = Leavers(self.kernel_manager, self.left, self.unseen)
        self.watch = PeriodicCallback(leavers.check, 1000 * CHECKED_EVERY)
        self.watch.start()
        return settings

    def launch_browser(self) -> threading.Thread:
        address, _, _ = self.display_url.partition("?")
        address += f"?token={quote(self.identity_provider.token)}"
        # In a thread, since a browser in the terminal comes back only when it is left.
        thread = threading.Thread(target=webbrowser.open, args=[address], daemon=True)
        thread.start()
        return thread


def serve(options: Sequence[str]) -> None:
    """Serve the page until Ctrl-C; `options` are Voilà's and win over ours."""
    # Voilà's page says goodbye without the proof that this asks for, and its kernel would stay
    # for a while. The request has to name a kernel's id, which no other site can guess.
    VoilaShutdownKernelHandler.check_xsrf_cookie = lambda _: None
    bound_headers()
    _compile_templates_once()
    others = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(HERE), others]))
    given = {option.partition("=")[0] for option in options}
    # What is loaded by now stays. To look through all of it for garbage, PyTorch included, takes
    # half a second in which the page answers to nobody, and many times that beside busy kernels.
    gc.collect()
    gc.freeze()
    ours = [option for option in OPTIONS if option.partition("=")[0] not in given]
    Kiosk.launch_instance([str(HERE / "studio.ipynb"), *ours, *options])


def _compile_templates_once() -> None:
    """Voilà compiles them for each visitor, half a second in which the page answers to nobody."""
    create, compiled = VoilaExporter._create_environment, FileSystemBytecodeCache()

    def _create_environment(self: VoilaExporter) -> Environment:
        environment = create(self)
        environment.bytecode_cache = compiled
        return environment

    VoilaExporter._create_environment = _create_environment

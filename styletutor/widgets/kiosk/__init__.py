"""Voilà serves the transfer studio as a page without code, to who has its token."""

import os
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from voila.app import Voila
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler

HERE = Path(__file__).parent
OPTIONS = [
    *("--token", "--template=studio"),
    # In seconds, for a page that could not say goodbye: a tablet without its network, say.
    *("--MappingKernelManager.cull_idle_timeout=300", "--MappingKernelManager.cull_interval=60"),
    "--MappingKernelManager.cull_connected=False",
    # Else whoever was given the token may set a password for all that Jupyter serves here.
    "--PasswordIdentityProvider.allow_password_change=False",
]


class Kiosk(Voila):
    """Voilà, which also opens its page with the token and takes `--ip` as JupyterLab does."""

    aliases = {**Voila.aliases, "ip": "Voila.ip"}  # noqa: RUF012

    def launch_browser(self) -> threading.Thread:
        address, _, _ = self.display_url.partition("?")
        address += f"?token={quote(self.identity_provider.token)}"
        # In a thread, since a browser in the terminal comes back only when it is left.
        thread = threading.Thread(target=webbrowser.open, args=[address], daemon=True)
        thread.start()
        return thread


def serve(options: Sequence[str]) -> None:
    """Serve the page until Ctrl-C; `options` are Voilà's and win over ours."""
    # Voilà's page says goodbye without the proof that this asks for, and its kernel, a gigabyte
    # each, would stay. The request has to name a kernel's id, which no other site can guess.
    VoilaShutdownKernelHandler.check_xsrf_cookie = lambda _: None
    others = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(HERE), others]))
    Kiosk.launch_instance([str(HERE / "studio.ipynb"), *OPTIONS, *options])

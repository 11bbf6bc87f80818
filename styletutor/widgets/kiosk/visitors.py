"""Visitors of the page who send rubbish, go without a word, or never look at what they asked for.

They share one server: what one of them does must cost the others nothing.
"""

from __future__ import annotations

import time
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.web import Finish
from voila.tornado import kernel_websocket_handler

PROTOCOL = "v1.kernel.websocket.jupyter.org"
PARTS = 100  # of one message; an upload has six
CHECKED_EVERY = 2.0  # seconds


class GuardedConnection(ZMQChannelsWebsocketConnection):
    """A page's connection to its kernel, which ends where it is not of the newest protocol.

    jupyter_server 2.21 (`deserialize_msg_from_ws_v1`) counts as far as the first eight bytes of a
    message say: practically for ever, and with it the server of all visitors. Once a connection is
    closing it takes what still comes for the older protocol's (`deserialize_binary_message`), which
    counts likewise, in the other order of bytes.
    """

    async def prepare(self) -> None:
        asked = self.websocket_handler.request.headers.get("Sec-WebSocket-Protocol", "")
        if PROTOCOL not in asked:
            self.websocket_handler.set_status(400, f"speak {PROTOCOL}")
            raise Finish
        await super().prepare()

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        if self.subprotocol != PROTOCOL:
            return
        if isinstance(incoming_msg, bytes) and _has_few_parts(incoming_msg):
            super().handle_incoming_message(incoming_msg)
        else:
            self.websocket_handler.close(1003, "this is no message to a kernel")


def bound_headers() -> None:
    """Mend the same in what Voilà 0.5 makes of answers (`read_header_from_binary_message`).

    One to a page that has just gone is put into an older protocol, whatever was spoken before, and
    its first eight bytes are anything.
    """
    read = kernel_websocket_handler.read_header_from_binary_message

    def read_header(message: bytes) -> dict[str, Any] | None:
        return read(message) if _has_few_parts(message) else None

    kernel_websocket_handler.read_header_from_binary_message = read_header


def _has_few_parts(message: bytes) -> bool:
    return int.from_bytes(message[:8], "little") <= PARTS


class Leavers:
    """Ends the kernels that nobody is connected to any more, a gigabyte each.

    `left` seconds after the last page of a kernel went, and `unseen` seconds after a kernel was
    ready that no page ever came for.
    """

    def __init__(self, kernels: Any, left: float, unseen: float) -> None:
        self.kernels, self.left, self.unseen = kernels, left, unseen
        self._alone_since: dict[str, float] = {}
        self._shown: set[str] = set()

    async def check(self) -> None:
        """Look at all kernels once."""
        now, models = time.monotonic(), self.kernels.list_kernels()
        there = {model["id"] for model in models}
        self._shown &= there
        self._alone_since = {k: since for k, since in self._alone_since.items() if k in there}
        for model in models:
            name, seen = model["id"], model["connections"] > 0
            self._shown |= {name} if seen else set()
            # A page that is still being made has a busy kernel, and one that was left may have.
            if seen or (name not in self._shown and model["execution_state"] != "idle"):
                self._alone_since.pop(name, None)
                continue
            alone = now - self._alone_since.setdefault(name, now)
            if alone > (self.left if name in self._shown else self.unseen):
                await self.kernels.shutdown_kernel(name, now=True)

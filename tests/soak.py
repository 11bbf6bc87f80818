"""Ten visitors who come, start, vanish and send rubbish: what the studio's page makes of them.

`python -m tests.soak --minutes 10` serves the page, lets them in, asks it for an answer twice a
second, and says in the end whether it answered throughout, and whether kernels and memory are where
they began.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import websocket

sys.path.insert(0, str(Path(__file__).parent))

from browser import FLAGS, STUDIO, Server, find_chromium, serving
from playwright.sync_api import sync_playwright

from styletutor.widgets.kiosk.visitors import PROTOCOL

VISITORS, ANSWER, SETTLED, GROWTH = 10, 1.0, 90.0, 100e6  # seconds, seconds, bytes
QUIET = (OSError, HTTPException, websocket.WebSocketException)


class Soak:
    """One server and what is noted of it."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server, self.seed, self.over = server, seed, threading.Event()
        self.page = server.studio
        self.counts: dict[str, int] = {}
        self.answers: list[float] = []

    def watch(self) -> None:
        while not self.over.wait(0.5):
            began = time.monotonic()
            with suppress(OSError):
                urlopen(f"{self.server.address}/login", timeout=30).read()
            self.answers.append(time.monotonic() - began)

    def visit(self, number: int) -> None:
        """Pages without a browser: loaded and left, connected and cut, or used to send rubbish."""
        chance = random.Random(f"{self.seed} {number}")
        while not self.over.wait(chance.uniform(0, 10)):
            what = chance.choice(("never shown", "vanished", "rubbish", "rubbish"))
            self.counts[what] = self.counts.get(what, 0) + 1
            with suppress(*QUIET):
                self._visit(what, chance)

    def _visit(self, what: str, chance: random.Random) -> None:
        with urlopen(self.page, timeout=120) as answer:
            kernel = re.search(r'"kernelId": "([\w-]+)"', answer.read().decode())[1]
        if what == "never shown":
            return
        host, token = urlsplit(self.page).netloc, self.page.partition("=")[2]
        address = (
            f"ws://{host}/api/kernels/{kernel}/channels?token={token}&session_id={time.time_ns():x}"
        )
        spoken = PROTOCOL if what == "vanished" else chance.choice((PROTOCOL, "other", None))
        with suppress(*QUIET):
            socket = websocket.create_connection(
                address, 30, subprotocols=[spoken] if spoken else None
            )
            for _ in range(chance.randrange(20) if what == "rubbish" else 0):
                size = chance.choice((0, 1, 8, 50, 5000))
                told = chance.choice((0, 6, 100, 2**40, 2**63)).to_bytes(8, "little")
                socket.send_binary(told[: 8 * chance.randrange(2)] + chance.randbytes(size))
                self.over.wait(0.1)
            self.over.wait(chance.uniform(0, 5))
            socket.sock.close()  # without a word

    def paint(self) -> None:
        """Visitors with a browser, who start a picture and close the window."""
        with (
            sync_playwright() as driver,
            driver.chromium.launch(executable_path=find_chromium(), args=FLAGS) as browser,
        ):
            while not self.over.is_set():
                self.counts["painted"] = self.counts.get("painted", 0) + 1
                with browser.new_context() as context:
                    page = context.new_page()
                    page.goto(self.page, timeout=300_000)
                    page.get_by_role("button", name="Start").click(timeout=120_000)
                    page.locator(".st-picture img.st-after").wait_for(timeout=120_000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), Path(home), *STUDIO, "--ip=127.0.0.1") as server,
    ):
        soak, process = Soak(server, arguments.seed), psutil.Process(server.process.pid)
        urlopen(soak.page, timeout=120).read()  # all that the first page needs is loaded
        gone = server.comes_to(0, SETTLED)
        before = process.memory_info().rss
        work = [soak.watch, soak.paint, *[lambda n=n: soak.visit(n) for n in range(VISITORS - 1)]]
        threads = [threading.Thread(target=each) for each in work]
        for thread in threads:
            thread.start()
        most, ends = 0, time.monotonic() + 60 * arguments.minutes
        while time.monotonic() < ends:
            most = max(most, len(server.kernels()))
            time.sleep(1)
        soak.over.set()
        for thread in threads:
            thread.join()
        gone = server.comes_to(0, SETTLED) and gone
        more = process.memory_info().rss - before
    slowest, count = max(soak.answers), len(soak.answers)
    print(f"{soak.counts}; at most {most} kernels at once, {'all' if gone else 'NOT all'} gone")
    late = sum(answer > ANSWER for answer in soak.answers)
    print(
        f"{count} answers, {late} after more than {ANSWER:g} s, the slowest after {slowest:.2f} s"
    )
    print(f"memory {more / 1e6:+.0f} MB")
    return int(not gone or slowest > ANSWER or more > GROWTH)


if __name__ == "__main__":
    sys.exit(main())

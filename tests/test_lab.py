"""`styletutor lab` serves the course in a real JupyterLab, and only to who has its token."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and token of a running server, as it announces them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("lab") / "log"
    command = "from styletutor.cli import main; raise SystemExit(main())"
    options = ["--no-browser", f"--port={port}", "--ip=127.0.0.1", "--allow-root"]
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-c", command, "lab", *options], stdout=output, stderr=output
        )
    try:
        for _ in range(600):
            found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\w+)", log.read_text())
            if found or server.poll() is not None:
                break
            time.sleep(0.1)
        assert found, log.read_text()
        for _ in range(100):  # it says where it will be before it is there
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                break
            time.sleep(0.1)
        yield found.groups()
    finally:
        subprocess.run([sys.executable, "-m", "jupyter", "server", "stop", str(port)], check=False)
        server.wait(timeout=60)


def test_the_page_needs_the_token(lab: tuple[str, str]) -> None:
    address, token = lab
    page = urlopen(f"{address}/lab?token={token}", timeout=30).read().decode()
    assert "<title>JupyterLab</title>" in page
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{address}/api/contents", timeout=30)
    assert refused.value.code == 403


def test_the_notebooks_are_there(lab: tuple[str, str]) -> None:
    address, token = lab
    listing = json.load(urlopen(f"{address}/api/contents?token={token}", timeout=30))
    names = {entry["name"] for entry in listing["content"]}
    assert {"01_inside_vgg.ipynb", "04_style_transfer.ipynb"} <= names

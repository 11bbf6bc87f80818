"""The studio under measure: `python -m benchmarks.studio display` and `… soak`.

`display` runs the same transfer with and without the panel, in turns, in a JupyterLab that is open
in Chromium: how much of the speed is lost to showing it, and how long Stop takes. `soak` lets a
panel run for half an hour in a kernel of its own, with a knob turned every second, and fails if
threads or memory grow.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

SETUP = """
import gc, json, threading, time
import psutil, torch
import styletutor as st
from styletutor import widgets
vgg = st.load_vgg("pocket")
"""
DISPLAY = """
panel = widgets.TransferStudio(vgg=vgg, size={size}, evaluations={evaluations})
panel
"""
PLAIN = """
pictures, settings = panel.controls.arguments()
began = time.monotonic()
st.Run(st.transfer, *pictures, **settings).start().wait()
print(json.dumps(time.monotonic() - began))
"""
SHOWN = """
began = time.monotonic()
panel.start().wait()
print(json.dumps(time.monotonic() - began))
"""
STOP = """
panel.start()
time.sleep(2)
began = time.monotonic()
panel.stop()
panel.wait()
print(json.dumps(time.monotonic() - began))
"""
# A thread turns the knobs, so that the kernel's main thread stays free, as it is in a lesson.
SOAK = """
torch.set_num_threads(1)
panel = widgets.TransferStudio(vgg=vgg, size=96, evaluations=1000, start="noise")
def turn():
    turns = 0
    while not over.wait(1):
        turns += 1
        board = panel.controls.board
        faders = {"style": (turns % 9 - 4) / 2, "relu1_1": turns % 7 / 2, "tv": turns % 5 - 3}
        board.set_state({"values": {**board.values, **faders}})
        board.set_state({"muted": ["relu3_1"] if turns % 11 == 0 else []})
        if panel.run is None or panel.run.state in ("done", "failed"):
            panel.start()
        elif turns % 29 == 0:
            panel.stop()
over = threading.Event()
panel.start()
threading.Thread(target=turn, daemon=True).start()
"""
LOOK = """
gc.collect()
me = psutil.Process()
print(json.dumps({"MiB": me.memory_info().rss / 2**20, "threads": me.num_threads(),
                  "python threads": threading.active_count(),
                  "note": panel.note.text}))
"""


def display(size: int, evaluations: int, turns: int) -> None:
    """Print what the panel costs, and how long Stop takes."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import browser

    with browser.open_lab() as lab:
        made = DISPLAY.format(size=size, evaluations=evaluations)
        lab.open(browser.write_notebook(lab.server.folder / "display.ipynb", SETUP, made))
        lab.run_all()
        lab.run_cell(PLAIN, timeout=600)  # everything is ready after it
        laps: dict[str, list[float]] = {"plain": [], "shown": [], "stop": []}
        for _ in range(turns):
            for name, code in (("plain", PLAIN), ("shown", SHOWN), ("stop", STOP)):
                laps[name].append(json.loads(lab.run_cell(code, timeout=600)))
    plain, shown, stop = (statistics.median(laps[name]) for name in laps)
    print(f"{evaluations} evaluations at {size} px: {plain:.2f} s without the panel, {shown:.2f} s "
          f"with it: {100 * (1 - plain / shown):.1f} % of the speed is lost")  # fmt: skip
    print(f"from Stop to the result: {stop:.3f} s, at most {max(laps['stop']):.3f} s")


def soak(minutes: float) -> int:
    """Print threads and memory once a minute; 1 if they have grown."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()
    said: list[str] = []

    def execute(code: str) -> None:
        answer = client.execute_interactive(
            code, timeout=120, output_hook=lambda m: said.append(m["content"].get("text", ""))
        )
        if answer["content"]["status"] != "ok":
            raise RuntimeError("\n".join(answer["content"]["traceback"]))

    rows = []
    try:
        execute(SETUP)
        execute(SOAK)
        for minute in range(int(minutes) + 1):
            said.clear()
            execute(LOOK)
            rows.append(json.loads("".join(said)))
            print(minute, rows[-1], flush=True)
            end = time.monotonic() + 60 * (minute < int(minutes))
            while time.monotonic() < end:  # what the panel says has to be taken off
                try:
                    client.get_iopub_msg(timeout=1)
                except Exception:
                    continue
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    settled = rows[len(rows) // 3 :]  # caches fill at first
    half = len(settled) // 2
    early, late = (statistics.median(row["MiB"] for row in part) for part in
                   (settled[: half or 1], settled[half:]))  # fmt: skip
    threads = {row["threads"] for row in settled}
    print(f"memory {early:.0f} → {late:.0f} MiB, threads {min(threads)} to {max(threads)}")
    return int(late > 1.1 * early or max(threads) - min(threads) > 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("display", "soak"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=30)
    given = parser.parse_args()
    if given.part == "display":
        display(given.size, given.evaluations, given.turns)
    else:
        raise SystemExit(soak(given.minutes))

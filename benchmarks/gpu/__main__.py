"""The truth about a GPU in ten minutes: `make gpu`. Writes JSON, and prints what was reached.

Each part is a process of its own with a time of its own, so that none can take another along:
what fails is written down, and the next one goes on. It needs PyTorch, torchvision, NumPy, SciPy,
Pillow and scikit-image, no network, and pytest for the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.gpu.goals import GOALS, sizes_table

ROOT = Path(__file__).parents[2]
# Seconds for each part, its start included; the most important first.
SECONDS = {
    "rates": 25, "sizes": 170, "tests": 140, "profile": 50, "figure": 50, "memory": 50,
    "layers": 35, "memcheck": 60,
}  # fmt: skip


def collect(
    command: Sequence[str], limit: float, take: Callable[[dict], None]
) -> tuple[float, str | None]:
    """Run a program that prints lines of JSON, for at most `limit` seconds.

    Returns how long it took and, if it did not end well, why.
    """
    began, over = time.monotonic(), threading.Event()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, text=True,
        encoding="utf-8", errors="replace", start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip

    def stop() -> None:
        over.set()
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            else:
                process.kill()

    timer = threading.Timer(limit, stop)
    timer.start()
    said = ""
    for line in process.stdout:
        try:
            row = json.loads(line)
        except ValueError:
            said = line.strip() or said
            continue
        take(row)
    code = process.wait()
    timer.cancel()
    took = time.monotonic() - began
    if over.is_set():
        return took, f"stopped after {limit:.0f} s"
    return took, None if code == 0 else f"ended with {code}: {said[:300]}"


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECONDS, default=tuple(SECONDS))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "build" / "gpu.json")
    parser.add_argument(
        "--simulated", action="store_true",
        help="on a CPU and tiny, with a stand-in for CUDA: shows that it runs, measures nothing",
    )  # fmt: skip
    given = parser.parse_args()
    if not given.simulated and not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu: PyTorch finds no CUDA device here; nothing was measured")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    parts: dict[str, dict] = {}
    report = {"when": time.strftime("%Y-%m-%d %H:%M"), "simulated": given.simulated}
    end = time.monotonic() + 590

    def write() -> None:
        found = {name: part["rows"] for name, part in parts.items()}
        goals = []
        for goal in GOALS:
            value, verdict = goal.judge(found)
            verdict = "simulated" if given.simulated else verdict
            sign = "≥" if goal.at_least else "≤"
            said = {"value": value, "limit": f"{sign} {goal.limit:.4g}", "verdict": verdict}
            goals.append({"goal": goal.text, **said})
        text = json.dumps({**report, "goals": goals, "parts": parts}, indent=1, ensure_ascii=False)
        unfinished = given.output.with_suffix(".part")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(given.output)

    for name in given.only:
        limit = max(5.0, min(SECONDS[name], end - time.monotonic()))
        part = parts[name] = {"rows": [], "seconds": 0.0, "error": "not finished"}

        def take(row: dict, part: dict = part) -> None:
            part["rows"].append(row)
            write()

        command = [sys.executable, "-m", "benchmarks.gpu.parts", name, f"{limit - 5:.0f}"]
        command += ["--simulated"] * given.simulated
        part["seconds"], part["error"] = collect(command, limit, take)
        write()
        print(f"{name}: {part['seconds']:.0f} s, {part['error'] or 'done'}", flush=True)
    if given.simulated:
        print("Simulated: nothing below means anything.")
    print("\n| goal | | measured | |\n|---|---|---|---|")
    for row in json.loads(given.output.read_text(encoding="utf-8"))["goals"]:
        value = "" if row["value"] is None else f"{row['value']:.4g}"
        print(f"| {row['goal']} | {row['limit']} | {value} | {row['verdict']} |")
    print("", *sizes_table({name: part["rows"] for name, part in parts.items()}), sep="\n")
    print(f"\nAll of it: {given.output}")


if __name__ == "__main__":
    main()

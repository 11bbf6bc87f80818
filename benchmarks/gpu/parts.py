"""What is measured on a GPU, part by part: `python -m benchmarks.gpu.parts NAME SECONDS`.

Each part prints what it finds as lines of JSON, the most important first, and ends by itself when
its seconds are over. `--simulated` runs it on a CPU, tiny, under the stand-in of the tests: only to
see that it runs.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks import figure_one
from benchmarks.gpu import profiled
from benchmarks.gpu.loops import NO_TIME, TINY, Setting, best, clear, in_graph, ours, plain, timed
from benchmarks.peak import peak_of
from benchmarks.setting import DEFAULT, float32_in, problem
from styletutor.descent import descend
from styletutor.descent.forecast import predict
from styletutor.machine import full_float32
from styletutor.network.vgg import VGG
from styletutor.network.weights import untrained

ROOT = Path(__file__).parents[2]
SIDES = (512, 256, 1024, 2048)


def rates(setting: Setting) -> Iterator[dict]:
    """Versions, and what the device can do at best."""
    device = setting.device
    about: dict[str, object] = {"python": platform.python_version(), "torch": torch.__version__}
    if device.type == "cuda":
        has = torch.cuda.get_device_properties(device)
        about |= {"device": has.name, "capability": f"{has.major}.{has.minor}"}
        about |= {"multiprocessors": has.multi_processor_count, "GiB": has.total_memory / 2**30}
        about |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    yield about
    size, amount = 8192 // setting.shrink, 2**30 // setting.shrink**3
    a = torch.empty(amount, dtype=torch.uint8, device=device).random_()
    yield {"copy, TB/s": 2 * amount / best(partial(torch.empty_like(a).copy_, a), device) / 1e12}
    for name, dtype in (("bf16", torch.bfloat16), ("tf32", None), ("ieee", None)):
        x = torch.randn(size, size, device=device).to(dtype or torch.float32)
        with float32_in(device, "ieee" if dtype else name):
            found = best(lambda x=x: x @ x, device)
        yield {f"{name} product, TFLOP/s": 2 * size**3 / found / 1e12}


def tests(setting: Setting) -> Iterator[dict]:
    """The tests that only a GPU can pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"]
    command += ["tests/test_gpu.py", "tests/test_endurance.py"]
    command += ["-m", "gpu"] if setting.shrink == 1 else []
    lines = _output_of(command, setting.left() - 5).splitlines()
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            yield {"failed": line[:300]}
    end = lines[-1] if lines else ""
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|skipped|error)", end)}
    yield {"tests": end, **counts}


def sizes(setting: Setting) -> Iterator[dict]:
    """Milliseconds per evaluation of ours, in all ways, beside the plain loop's."""
    vgg = setting.network()
    for side in SIDES:
        objective, start = setting.problem(vgg, side)
        for precision in ("ieee", "tf32"):
            row = {"side": side, "loop": "plain", "precision": precision}
            make = partial(plain, objective, start, precision)
            yield row | timed(make, setting)
            clear(setting.device)
        ways = [
            (optimiser, precision, recorded)
            for optimiser in ("lbfgs", "adam")
            for recorded in (True, False)
            for precision in ("fast", "exact", "tf32")
        ]
        for optimiser, precision, recorded in ways:
            row = {"side": side, "loop": "ours", "optimiser": optimiser, "precision": precision}
            make = partial(ours, objective, start, optimiser, precision, recorded)
            yield row | {"recorded": recorded} | timed(make, setting)
            clear(setting.device)


def profile(setting: Setting) -> Iterator[dict]:
    """Where the time of a recorded step goes, by class of kernel, and the gaps between them."""
    vgg = setting.network()
    for side in SIDES[:3]:
        objective, start = setting.problem(vgg, side)
        for optimiser in ("lbfgs", "adam"):
            if setting.left() < 5:
                yield {"side": side, "optimiser": optimiser} | NO_TIME
                continue
            loop = ours(objective, start, optimiser, "fast")
            for step in islice(loop, 8):
                engine = step.engine()
            if engine.graph is None:
                raise RuntimeError("the step was not recorded")
            for row in profiled.of(engine.graph.replay, setting.device):
                yield {"side": side, "optimiser": optimiser, **row}
            del loop, step, engine


@torch.no_grad()
def layers(setting: Setting) -> Iterator[dict]:
    """Each convolution at 512 pixels in bfloat16: what cuDNN makes of it, and what it could."""
    vgg, side = setting.network().low_precision(), 512 // setting.shrink
    chain = vgg.layers[: vgg.layers.index(vgg.layer("conv5_1")) + 1]
    for row in (row for row in chain if row.kind == "conv"):
        conv = vgg.convolutions[row.name]
        ways = {"forward": conv.weight, "backward": conv.turned}
        if row.name == "conv1_1":  # tensor cores take channels by the eight
            ways["forward, of eight"] = F.pad(conv.weight, (0, 0, 0, 0, 0, 5))
            ways["backward, to eight"] = F.pad(conv.turned, (0, 0, 0, 0, 0, 0, 0, 5))
        for way, weight in ways.items():
            if setting.left() < 3:
                yield {"layer": row.name, "way": way} | NO_TIME
                continue
            weight = weight.contiguous(memory_format=torch.channels_last)
            shape = 1, weight.shape[1], side // row.stride, side // row.stride
            x = torch.randn(shape, device=setting.device).to(weight.dtype)
            x = x.contiguous(memory_format=torch.channels_last)
            found = {"layer": row.name, "way": way}
            for tried in (False, True):
                torch.backends.cudnn.benchmark = tried
                with full_float32(setting.device):  # as in a step
                    took = in_graph(partial(F.conv2d, x, weight, padding=1), setting)
                rate = 2 * weight.numel() * shape[2] * shape[3] / took / 1e12
                said = "tried out" if tried else "as chosen"
                found |= {f"µs, {said}": 1e6 * took, f"TFLOP/s, {said}": rate}
            torch.backends.cudnn.benchmark = False
            yield found


def memory(setting: Setting) -> Iterator[dict]:
    """The peak of a descent, and its forecast over that."""
    vgg = setting.network()
    for side in SIDES:
        objective, _ = setting.problem(vgg, side)
        layers = list(objective.content_targets), list(objective.style_targets)
        size = side // setting.shrink
        del objective
        for precision in ("fast", "exact"):
            row = {"side": side, "precision": precision}
            if setting.left() < 8:
                yield row | NO_TIME
                continue
            clear(setting.device)
            peak = peak_of(partial(_descent, setting, vgg, side, precision), setting.device)
            forecast = predict(vgg, (size, size), *layers, precision=precision)
            yield row | {"MiB": peak / 2**20, "forecast over it": forecast / max(peak, 1)}


def _descent(setting: Setting, vgg: VGG, side: int, precision: str) -> None:
    """A whole one, targets included, both of whose stages are recorded."""
    objective, start = setting.problem(vgg, side)
    list(descend(objective, start, 25, method=DEFAULT.method(precision=precision)))


def figure(setting: Setting) -> Iterator[dict]:
    """Figure 1 as one batch over ten runs."""
    evaluations = 60 if setting.shrink == 1 else 4
    vgg, side = setting.network(), max(32, 256 // setting.shrink)
    figure_one.measure(vgg, 3, side)  # what libraries set up once is nobody's
    batch, ten = figure_one.measure(vgg, evaluations, side)
    yield {"evaluations": evaluations, "batch, s": batch, "ten, s": ten, "ratio": batch / ten}


def memcheck(setting: Setting) -> Iterator[dict]:
    """Five evaluations under compute-sanitizer: each tensor by itself, then as a graph."""
    tool = shutil.which("compute-sanitizer")
    if tool is None and setting.shrink == 1:
        yield {"why not": "compute-sanitizer is not here"}
        return
    checked = [tool, "--tool", "memcheck", "--leak-check", "no"] if tool else []
    child = [sys.executable, "-m", "benchmarks.gpu.parts", "five", str(setting.left())]
    child += ["--simulated"] * (setting.shrink > 1)
    apart = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    for way, more, share in (("eager", apart, 0.5), ("recorded", {}, 1.0)):
        limit = share * setting.left() - 3
        said = _output_of([*checked, *child], limit, {**more, "FIVE": way})
        errors = re.search(r"ERROR SUMMARY: (\d+)", said)
        row = {"way": way, "five": '"evaluations": 5' in said}
        yield row | ({"errors": int(errors[1])} if errors else {"said": said[-300:]})


def five(setting: Setting) -> Iterator[dict]:
    """Five evaluations of a tiny network; of `memcheck`."""
    vgg = untrained(TINY).to(setting.device)
    objective, start = problem(vgg, 33)
    steps = ours(objective, start, "lbfgs", "fast", os.environ.get("FIVE") != "eager")
    *_, last = islice(steps, 5)
    yield {"evaluations": last.evaluation, "total": last.losses["total"]}


PARTS = {
    part.__name__: part
    for part in (rates, tests, sizes, profile, figure, memory, layers, memcheck, five)
}


def _output_of(command: list[str], timeout: float, environment: dict | None = None) -> str:
    """What a program says; as much as it had said where it took too long."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "cwd": ROOT}
    how["env"] = os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {})
    try:
        return subprocess.run(command, timeout=max(timeout, 1), **how).stdout.decode(
            errors="replace"
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        return f"{said}\nstopped after {timeout:.0f} s"


def main(arguments: list[str]) -> None:
    name, limit, *rest = arguments
    simulated = "--simulated" in rest
    if simulated:
        import pytest

        sys.path.insert(0, str(ROOT / "tests"))
        from graphs import simulate

        simulate(pytest.MonkeyPatch())
    setting = Setting(
        device=torch.device("cpu" if simulated else "cuda"),
        end=time.monotonic() + float(limit),
        shrink=16 if simulated else 1,
    )
    # That a step cannot be recorded, say, is a finding as well.
    warnings.showwarning = lambda said, *_, **__: print(json.dumps({"warning": str(said)}))
    for row in PARTS[name](setting):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

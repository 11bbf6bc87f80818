"""`make gpu`, without a GPU: its parts on the stand-in for CUDA graphs, its clock, its verdicts."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch
from graphs import Simulated

from benchmarks.gpu import __main__ as program
from benchmarks.gpu import loops, parts, profiled
from benchmarks.gpu.goals import GOALS, work
from benchmarks.setting import float32_in

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", [name for name in program.SECONDS if name != "tests"])
def test_every_part_runs_to_its_end(
    name: str, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SIDES", (512,))
    monkeypatch.setattr(profiled, "REPLAYS", 2)
    monkeypatch.setattr(loops, "LAP", 0.0)
    monkeypatch.setattr(parts, "clear", lambda _: None)  # takes long beside all other tests
    monkeypatch.setattr(parts, "_output_of", lambda *_: '"evaluations": 5\nERROR SUMMARY: 0 errors')
    setting = loops.Setting(device=CPU, end=time.monotonic() + 600, shrink=16)
    rows = list(parts.PARTS[name](setting))
    assert rows and not any("why not" in row for row in rows)
    if name in ("sizes", "profile", "layers"):
        assert simulated.graphs
    # With no time left a part says so of all that it would have measured.
    late = loops.Setting(device=CPU, end=time.monotonic(), shrink=16)
    if name in ("sizes", "profile", "layers", "memory"):
        assert all(row["why not"] == "no time was left" for row in parts.PARTS[name](late))


def test_five_evaluations_for_the_memory_checker(simulated: Simulated) -> None:
    setting = loops.Setting(device=CPU, end=time.monotonic() + 600, shrink=16)
    (row,) = parts.five(setting)
    assert row["evaluations"] == 5 and simulated.graphs[0].replays == 2


def test_a_part_that_fails_or_hangs_is_written_down() -> None:
    """With what it had found until then."""

    def run(code: str, limit: float) -> tuple[list[dict], str | None]:
        rows: list[dict] = []
        return rows, program.collect([sys.executable, "-c", code], limit, rows.append)[1]

    assert run("print('{\"a\": 1}')\nprint('chatter')", 60) == ([{"a": 1}], None)
    rows, error = run("print('{\"a\": 1}', flush=True)\nraise ValueError('no such thing')", 60)
    assert rows == [{"a": 1}] and error == "ended with 1: ValueError: no such thing"
    hang = "import subprocess, sys, time; print('{\"a\": 1}', flush=True)\n"
    hang += "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    began = time.monotonic()
    rows, error = run(hang, 2)
    assert rows == [{"a": 1}] and error == "stopped after 2 s" and time.monotonic() - began < 30


def test_verdicts() -> None:
    """Of a device that computes at half its rate, by hand."""
    took = work(1024) / (0.5 * 8e14) * 1000

    def step(side: int, ms: float, graph: bool = True) -> dict:
        how = {"loop": "ours", "optimiser": "lbfgs", "precision": "fast", "recorded": True}
        return {"side": side, "ms": ms, "graph": graph, **how}

    plain = {"side": 512, "loop": "plain", "graph": False}
    found = {
        "rates": [{"device": "a GPU"}, {"bf16 product, TFLOP/s": 800.0}],
        "sizes": [
            {**plain, "precision": "ieee", "ms": 12.0}, {**plain, "precision": "tf32", "ms": 3.0},
            step(512, 1.2), step(1024, took), step(256, 1.0, graph=False),
        ],
        "tests": [{"tests": "40 passed, 1 failed", "passed": 40, "failed": 1}],
        "profile": [
            {"warning": "no CUDA graph"},
            {"side": 256, "optimiser": "lbfgs", "class": "sums", "kernels": 9.0, "µs": 1.0},
            {"side": 256, "optimiser": "lbfgs", "kernels": 151.0, "µs": 500.0, "gaps": 0.05},
        ],
        "memory": [{"warning": ""}, {"forecast over it": 1.1}, {"forecast over it": 0.85}],
        "memcheck": [{"why not": "compute-sanitizer is not here"}],
    }  # fmt: skip
    judged = [goal.judge(found) for goal in GOALS]
    assert [verdict for _, verdict in judged] == [
        "FAIL", "PASS", "PASS", "FAIL", "PASS", "PASS", "FAIL", "not measured", "PASS",
        "not measured",
    ]  # fmt: skip
    values = [1, 1.2, 0.1, 0.4, 0.5, 0.05, 151, None, 0.15, None]
    assert [value for value, _ in judged] == [v if v is None else pytest.approx(v) for v in values]
    assert {verdict for _, verdict in (goal.judge({}) for goal in GOALS)} == {"not measured"}
    # A step that could not be recorded is no recorded one, however fast.
    found["sizes"][2] = step(512, 1.2, graph=False)
    assert GOALS[1].judge(found) == (None, "not measured")


def test_kernels_have_a_class() -> None:
    names = {
        "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc": "convolutions",
        "nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NTT": "matrix products",
        "void at::native::vectorized_elementwise_kernel<4, MulFunctor>": "pixel by pixel",
        "void at::native::reduce_kernel<512, 1>": "sums",
        "bias_relu_pool": "fused here",
        "Memcpy DtoD (Device -> Device)": "copies",
        "void regular_fft<1024u>": "Fourier transforms",
        "void at::native::max_pool_forward_nhwc": "pooling",
    }
    assert {name: profiled.class_of(name) for name in names} == names


def test_without_cuda_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu"])
    with pytest.raises(SystemExit, match=r"^benchmarks\.gpu: PyTorch finds no CUDA device here"):
        program.main()


def test_it_needs_little_but_pytorch() -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(('psutil', 'safetensors', 'matplotlib', 'tqdm'))"
    )
    code += "; import benchmarks.gpu.parts, benchmarks.gpu.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=program.ROOT, check=True)


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_loops_are_timed_in_the_precision_that_is_said(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, where ours would switch TF32 off within it, and afterwards as it was."""
    from styletutor.machine import full_float32

    gpu, before = torch.device("cuda"), torch.backends.cudnn.conv.fp32_precision
    with float32_in(gpu, precision), full_float32(gpu):
        assert torch.backends.cuda.matmul.fp32_precision == precision
        assert torch.backends.cudnn.conv.fp32_precision == precision
    assert torch.backends.cudnn.conv.fp32_precision == before

"""The kernels between two convolutions: held against plain operations in Triton's interpreter, on
a CPU, and compiled for a GPU that is not here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

from styletutor.network import fused
from styletutor.network.vgg import VGG

pytest.importorskip("triton", reason="Triton is not here")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # for all of a process, from its start
interpreted = pytest.mark.skipif(not INTERPRETED, reason="done in a process of its own")
CPU = torch.device("cpu")
BOTH = [torch.float32, torch.bfloat16]


@pytest.mark.skipif(INTERPRETED, reason="this is that process")
def test_all_of_this_in_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr


@interpreted
@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("channels", [3, 64, 80])
def test_kernels_compute_what_plain_operations_compute(dtype: torch.dtype, channels: int) -> None:
    assert fused.differences(CPU, dtype, channels) == []


@interpreted
@pytest.mark.parametrize("name, change", [
    ("bias_relu", lambda y: y.clamp_(max=1)),
    ("bias_relu_pool", lambda found: (found[0], found[1].clamp_(max=2))),
    ("unpool", lambda out: out.roll(1, 3)),
    ("add_mask", lambda out: out.neg_()),
])  # fmt: skip
def test_a_kernel_that_is_wrong_does_not_serve(
    name: str, change: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(fused, name)
    monkeypatch.setattr(fused, name, lambda *given: change(right(*given)))
    with pytest.warns(UserWarning, match="fused kernels do not serve here"):
        assert not fused._works.__wrapped__(CPU, torch.float32)


@interpreted
@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("pooling, round_up", [("max", False), ("max", True), ("avg", False)])
def test_a_network_computes_the_same(
    dtype: torch.dtype, pooling: str, round_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features and gradient, of layers that end there and of some that go on, on odd sides."""
    vgg = make_tiny_vgg(pooling=pooling).adapted(round_up=round_up)
    vgg = vgg.low_precision() if dtype == torch.bfloat16 else vgg
    wanted = ["relu1_1", "conv2_1", "relu2_2", "pool2", "relu3_1"]
    pictures = random_pictures(2, 21, 19)

    def evaluate(network: VGG) -> list[torch.Tensor]:
        x = pictures.clone().requires_grad_()
        found = network(x, wanted, first={"relu2_2": 1})
        weights = (f.float().sin().detach() for f in found.values())
        loss = sum((w * f.float()).sum() for w, f in zip(weights, found.values(), strict=True))
        with torch.no_grad():
            quiet = network(pictures, "relu2_1")["relu2_1"]
        return [*found.values(), quiet, *torch.autograd.grad(loss, x)]

    convolve = torch.nn.functional.conv2d

    def in_two(x: torch.Tensor, weight: torch.Tensor, bias: object = None, padding: int = 0):
        """Rounded before the bias is added, as on CUDA; a CPU would add it before."""
        y = convolve(x, weight, padding=padding)
        return y if bias is None else y + bias.view(-1, 1, 1)

    monkeypatch.setattr(torch.nn.functional, "conv2d", in_two)
    plain = evaluate(vgg)
    used = []
    for name in ("bias_relu", "bias_relu_pool", "unpool", "add_mask"):
        kernel = getattr(fused, name)
        monkeypatch.setattr(fused, name, lambda *a, n=name, k=kernel: used.append(n) or k(*a))
    monkeypatch.setattr(fused, "serves", lambda _: True)
    for one, other in zip(evaluate(vgg), plain, strict=True):
        assert one.stride() == other.stride()
        if dtype == torch.float32:
            assert torch.equal(one, other)
        else:  # the interpreter cuts bfloat16 numbers off where a GPU rounds them
            assert (one - other).float().norm() < 0.15 * other.float().norm()
    wants = {"bias_relu", "add_mask", *(["bias_relu_pool", "unpool"] if pooling == "max" else [])}
    assert set(used) == wants


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", ["bias_relu", "bias_relu_pool", "unpool", "add_mask"])
def test_kernels_compile_for_a_gpu_that_is_not_here(name: str, dtype: str) -> None:
    """For Hopper; and memory is read and written in pieces of sixteen bytes, all of it."""
    import re

    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from styletutor.network import kernels

    function = getattr(kernels, name)
    constants = {"ROWS": kernels.ROWS, "CHANNELS": kernels.CHANNELS}
    numbers = {"height", "width", "down", "across", "rows", "c"}
    types = {
        each: "constexpr" if each in constants else "i32" if each in numbers
        else "*u8" if each == "which" else f"*{dtype}"
        for each in function.arg_names
    }  # fmt: skip
    places = {each: (place,) for place, each in enumerate(function.arg_names)}
    sixteen = [["tt.divisibility", 16]]
    source = ASTSource(
        fn=function,
        signature=types,
        constexprs={places[each]: value for each, value in constants.items()},
        attrs={places[n]: sixteen for n, kind in types.items() if kind[0] == "*" or n == "c"},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]
    moves = re.findall(r"(?:ld|st)\.global\S*", compiled.asm["ptx"])
    assert moves and all(move.endswith((".v4.b32", ".v2.b64")) for move in moves), set(moves)

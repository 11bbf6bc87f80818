"""The kernels between two convolutions and in L-BFGS: held against plain operations in Triton's
interpreter, on a CPU, and compiled for a GPU that is not here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from graphs import dispatched
from torch.utils._python_dispatch import _disable_current_modes

import styletutor as st
from styletutor import fusing
from styletutor.descent import descend, launched
from styletutor.descent.lbfgs import LBFGS
from styletutor.descent.method import Method
from styletutor.loss.objective import Objective
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
@pytest.mark.parametrize("count", [1, 1024, 1500])
def test_the_passes_of_lbfgs_leave_behind_what_plain_operations_leave(count: int) -> None:
    assert launched.differences(CPU, torch.float32, count) == []


@interpreted
@pytest.mark.parametrize("module, name, change", [
    (fused, "bias_relu", lambda y, *_: y.clamp_(max=1)),
    (fused, "bias_relu_pool", lambda found, *_: (found[0], found[1].clamp_(max=2))),
    (fused, "unpool", lambda out, *_: out.roll(1, 3)),
    (fused, "add_mask", lambda out, *_: out.neg_()),
    (launched, "judge", lambda _, *given: given[-1][1].logical_not_()),
    (launched, "take_in", lambda _, *given: given[-3].fill_(1)),
    (launched, "learn", lambda _, *given: given[-1].mul_(2)),
    (launched, "move", lambda out, *_: out.neg_()),
])  # fmt: skip
def test_a_kernel_that_is_wrong_does_not_serve(
    module: ModuleType, name: str, change: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given: change(right(*given), *given))
    with pytest.warns(UserWarning, match="fused kernels do not serve here"):
        assert not fusing.works.__wrapped__(CPU, torch.float32, module.differences)


@interpreted
@pytest.mark.parametrize("box", [(0.0, 1.0), None])
def test_lbfgs_takes_the_same_way(
    box: tuple[float, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, also through an explosion and a gradient that is not finite."""
    content, style, start = (random_pictures(2, 20, 28, seed=seed) for seed in (1, 2, 3))
    layers = {"content_layers": "relu2_1", "style_layers": ["relu1_1", "relu2_1"]}
    objective = Objective(make_tiny_vgg(), content=content, styles=[style], **layers)

    def way() -> list[torch.Tensor]:
        optimiser, x, points = LBFGS(box=box, wavelength=8.0), start, []
        for step in range(16):
            x = x.detach().requires_grad_()
            loss = objective(x)["total"]
            (gradient,) = torch.autograd.grad(loss.sum(), x)
            if step == 6:
                loss = loss * torch.tensor([1.0, 100.0])
            if step == 10:
                gradient[0, 0, 0, 0] = torch.nan
            x = optimiser.step(x.detach(), loss.detach(), gradient)
            points.append(x)
        return [*points, *optimiser.state().values()]

    plain = way()
    used = set()
    for name in ("judge", "take_in", "learn", "move"):
        kernel = getattr(launched, name)
        monkeypatch.setattr(launched, name, lambda *a, n=name, k=kernel: used.add(n) or k(*a))
    monkeypatch.setattr(launched, "serves", lambda _: True)
    for one, other in zip(way(), plain, strict=True):
        assert torch.equal(one, other)
    assert used == {"judge", "take_in", "learn", "move"}


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


@interpreted
@pytest.mark.parametrize("optimiser, most", [("lbfgs", 150), ("adam", 128)])
def test_a_step_has_few_kernels_on_a_gpu(
    optimiser: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is dispatched in a steady step of the default recipe, with these kernels in it; to be
    lowered wherever one is saved."""
    photo, art = (random_pictures(1, 16, 32, seed=s) for s in (1, 2))
    monkeypatch.setattr(fused, "serves", lambda _: True)
    monkeypatch.setattr(launched, "serves", lambda _: True)
    vgg = make_tiny_vgg(pooling="max")
    objective = st.recipes["default"].objective(vgg, content=photo, styles=[art])
    method = Method(optimiser=optimiser, precision="fast", wavelength=32.0)
    steps = descend(objective, photo, 12, method=method)
    for _ in range(3):
        next(steps)
    launch = fusing.launch
    with dispatched() as seen:

        def counted(kernel: object, *given: object) -> None:
            seen[kernel.fn.__name__] += 1
            with _disable_current_modes():  # the interpreter's own operations
                launch(kernel, *given)

        monkeypatch.setattr(fusing, "launch", counted)
        next(steps)
    assert 100 < seen.total() <= most, seen.most_common()


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", ["bias_relu", "bias_relu_pool", "unpool", "add_mask"])
def test_kernels_compile_for_a_gpu_that_is_not_here(name: str, dtype: str) -> None:
    """For Hopper; and memory is read and written in pieces of sixteen bytes, all of it."""
    from styletutor.network import kernels

    constants = {"ROWS": kernels.ROWS, "CHANNELS": kernels.CHANNELS}
    moves = compiled_moves(getattr(kernels, name), constants, f"*{dtype}", {"which"}, {"c"})
    assert moves and all(move.endswith((".v4.b32", ".v2.b64")) for move in moves), set(moves)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize("boxed", [True, False])
@pytest.mark.parametrize("name", ["judge", "take_in", "learn", "move"])
def test_the_passes_of_lbfgs_compile_as_well(name: str, boxed: bool) -> None:
    """Of a picture everything but flags and bounds is moved in such pieces."""
    from styletutor.descent import kernels, passes

    constants = {"BLOCK": kernels.BLOCK, "BOXED": boxed}
    if name == "judge":
        steps = ("SHORTER", "LONGER", "SHORTEST", "ROUNDING")
        constants = {"MOST": kernels.MOST, **{each: getattr(passes, each) for each in steps}}
    if name == "learn":
        constants = {"CURVATURE": passes.CURVATURE, "ROWS": 16}
    numbers, flags = {"count", "padded", "stride"}, {"fresh", "masks", "curved"}
    moves = compiled_moves(getattr(kernels, name), constants, "*fp32", flags, numbers)
    wide = [move for move in moves if move.endswith((".v4.b32", ".v2.b64"))]
    assert moves and len(wide) >= {"take_in": 2 * 5 + 2 * 6, "move": 2 * 4}.get(name, 0), moves


def compiled_moves(
    function: object, constants: dict, kind: str, bytes_: set[str], sixteens: set[str]
) -> list[str]:
    """What reads and writes memory in a kernel: constants, pointers of a kind and others to bytes,
    numbers that are multiples of sixteen; all others are numbers, too."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    numbers = {"height", "width", "over", "down", "across", "rows", "batch", "m", "c"} | sixteens
    types = {
        each: "constexpr" if each in constants else "i32" if each in numbers
        else "*i64" if each == "slot" else "*u8" if each in bytes_ else kind
        for each in function.arg_names
    }  # fmt: skip
    places = {each: (place,) for place, each in enumerate(function.arg_names)}
    even = [["tt.divisibility", 16]]
    source = ASTSource(
        fn=function,
        signature=types,
        constexprs={places[each]: value for each, value in constants.items()},
        attrs={places[n]: even for n, kind in types.items() if kind[0] == "*" or n in sixteens},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]
    return re.findall(r"(?:ld|st)\.global\S*", compiled.asm["ptx"])

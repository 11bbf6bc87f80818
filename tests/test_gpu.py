"""What only a GPU can show; skipped where there is none."""

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

import styletutor as st
from styletutor.descent import descend
from styletutor.objective import Objective

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


def make(device: str) -> tuple[Objective, torch.Tensor]:
    vgg = make_tiny_vgg().to(device)
    content, style, start = (random_pictures(1, 64, 96, seed=s).to(device) for s in (1, 2, 3))
    layers = {"content_layers": "relu3_2", "style_layers": ["relu1_1", "relu2_1"]}
    return Objective(vgg, content=content, styles=[style], style_weight=10.0, **layers), start


def test_the_gpu_computes_what_the_cpu_computes() -> None:
    torch.backends.cudnn.allow_tf32 = False
    on_cpu, on_gpu = (list(descend(*make(device), 60)) for device in ("cpu", "cuda"))
    assert on_gpu[0].losses["total"] == pytest.approx(on_cpu[0].losses["total"], rel=1e-4)
    assert on_gpu[-1].losses["total"] == pytest.approx(on_cpu[-1].losses["total"], rel=0.05)


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_a_step_never_waits_for_the_gpu(optimiser: str) -> None:
    objective, start = make("cuda")
    steps = descend(objective, start, 20, optimiser=optimiser)
    next(steps)
    try:
        torch.cuda.set_sync_debug_mode("error")
        evaluations = [step.evaluation for step in steps]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert evaluations[-1] == 20


def test_verbs_pick_the_gpu() -> None:
    result = st.transfer("astronaut", "stained-glass", size=64, evaluations=5)
    assert result.device.startswith("cuda")
    assert result.image.device.type == "cpu"

"""The pieces of the core by themselves: frozen convolutions, Adam, batches, stages, knobs."""

import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import make_tiny_vgg, random_pictures
from torch import Tensor

from styletutor import machine
from styletutor.descent.adam import Adam
from styletutor.descent.stages import Stage, plan_stages
from styletutor.loss.knobs import Knobs, layer_shares
from styletutor.loss.needs import Needs
from styletutor.loss.objective import Objective
from styletutor.network.frozen import FrozenConv
from styletutor.pictures.images import resample


@pytest.mark.parametrize("relu", [False, True])
def test_frozen_convolution_has_the_gradient_of_autograd(relu: bool) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 3, 3, 3).double(), torch.randn(5).double()
    conv = FrozenConv(weight, bias)
    x = torch.randn(2, 3, 7, 6).double().requires_grad_()
    expected = F.conv2d(x, weight, bias, padding=1)
    expected = F.relu(expected) if relu else expected
    torch.testing.assert_close(conv(x, relu=relu), expected)
    d = torch.randn_like(expected)
    (mine,) = torch.autograd.grad(conv(x, relu=relu), x, d)
    torch.testing.assert_close(mine, torch.autograd.grad(expected, x, d)[0])
    assert torch.autograd.gradcheck(lambda x: conv(x, relu=relu), x)


def test_frozen_convolution_keeps_no_input() -> None:
    """What autograd would hold for the weights' gradient, which nobody wants."""
    conv, kept = FrozenConv(torch.randn(5, 3, 3, 3), torch.randn(5)), []
    x = torch.randn(1, 3, 7, 6, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = conv(x, relu=True)
    assert {t.data_ptr() for t in kept} == {y.data_ptr(), conv.turned.data_ptr()}


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_adam_is_torchs(betas: tuple[float, float]) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4, 5)
    theirs = x.clone()
    reference = torch.optim.Adam([theirs], lr=0.03, betas=betas, eps=1e-6)
    mine = Adam(0.03, betas, 1e-6)
    for _ in range(30):
        theirs.grad = theirs - 0.3 * theirs**3
        x = mine.step(x, torch.zeros(2), x - 0.3 * x**3)
        reference.step()
        torch.testing.assert_close(x, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_convolution_relu_and_pooling_in_one(pooling: str) -> None:
    torch.manual_seed(0)
    conv = FrozenConv(torch.randn(5, 3, 3, 3).double(), torch.randn(5).double())
    x = torch.randn(2, 3, 7, 6).double().requires_grad_()
    pooled = conv(x, pooling=pooling)
    stepwise = {"max": F.max_pool2d, "avg": F.avg_pool2d}[pooling](F.relu(conv(x)), 2)
    torch.testing.assert_close(pooled, stepwise)
    torch.testing.assert_close(conv(x.detach(), pooling=pooling), stepwise)
    d = torch.randn_like(pooled)
    expected, mine = (torch.autograd.grad(y, x, d)[0] for y in (stepwise, pooled))
    torch.testing.assert_close(mine, expected)


def test_adam_restarts() -> None:
    x, optimiser = torch.rand(1, 4), Adam(0.1)
    first = optimiser.step(x, torch.zeros(1), torch.tensor([[1.0, -2, 3, 0]]))
    optimiser.step(first, torch.zeros(1), torch.rand(1, 4))
    optimiser.restart()
    again = optimiser.step(x, torch.zeros(1), torch.tensor([[1.0, -2, 3, 0]]))
    assert torch.equal(first, again)


def test_a_batch_takes_each_picture_no_deeper_than_it_needs() -> None:
    layers = ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1", "relu2_1")
    uses = {
        "content relu2_1": [False, True, False],
        "content relu1_2": [True, False, False],
        "style relu1_1": [False, True, True],
    }
    needs = Needs.of(uses, layers, tv=False)
    assert needs.order == (1, 0, 2)
    assert needs.places == {
        "content relu2_1": (0,),
        "content relu1_2": (1,),
        "style relu1_1": (0, 2),
    }
    assert needs.layers == {"relu2_1": 1, "relu1_2": 2, "relu1_1": 3}
    values = torch.tensor([10.0, 11, 12])
    ordered = needs.in_order(values)
    assert ordered.tolist() == [11, 10, 12]
    for part, own in {"content relu1_2": [10], "style relu1_1": [11, 12]}.items():
        assert needs.pick(part, values).tolist() == own
        assert needs.read(part, ordered).tolist() == own
        back = needs.put_back(part, needs.pick(part, values))
        assert back.tolist() == [v if v in own else 0 for v in values]
    assert needs.read("style relu2_1", ordered) is None


def mixed_batch() -> tuple[Objective, list[Objective], Tensor]:
    """Four pictures with layers, weights and styles of their own, and four objectives for each."""
    vgg = make_tiny_vgg().double()
    content = random_pictures(1, 32, 24, seed=1).double()
    styles = random_pictures(4, 20, 28, seed=2).double()
    images = random_pictures(4, 32, 24, seed=3).double()
    content_shares = {"conv1_2": [1.0, 0, 0, 1], "relu3_1": [0.0, 0, 1, 3]}
    style_shares = {"relu1_1": [0.0, 1, 0, 1], "relu2_2": [0.0, 2, 0, 0]}
    style_weight = [1.0, 2, 3, 4]
    together = Objective(
        vgg,
        content=content,
        styles=[styles],
        content_layers=content_shares,
        style_layers=style_shares,
        style_weight=style_weight,
        tv_weight=0.1,
    )
    alone = []
    for b in range(4):
        own = [
            {layer: weights[b] for layer, weights in shares.items() if weights[b]}
            for shares in (content_shares, style_shares)
        ]
        alone.append(
            Objective(
                vgg,
                content=content if own[0] else None,
                styles=[styles[b : b + 1]] if own[1] else [],
                content_layers=own[0],
                style_layers=own[1],
                style_weight=style_weight[b],
                tv_weight=0.1,
            )
        )
    return together, alone, images


def test_pictures_of_a_batch_may_have_layers_weights_and_styles_of_their_own() -> None:
    together, alone, images = mixed_batch()
    x = images.clone().requires_grad_()
    parts = together.parts(x)
    (gradient,) = torch.autograd.grad(sum(parts.values()).sum(), x)
    for b, objective in enumerate(alone):
        y = images[b : b + 1].clone().requires_grad_()
        single = objective.parts(y)
        for name, value in parts.items():
            expected = single[name].item() if name in single else 0.0
            assert value[b].item() == pytest.approx(expected, rel=1e-9), name
        (own,) = torch.autograd.grad(sum(single.values()).sum(), y)
        torch.testing.assert_close(gradient[b : b + 1], own, rtol=1e-6, atol=1e-12)


def test_a_layer_without_weight_is_not_evaluated() -> None:
    together, _, images = mixed_batch()
    asked = []
    network = together.vgg.forward
    together.vgg.forward = lambda images, layers, first, read: (
        asked.append(dict(first)) or network(images, layers, first, read)
    )
    together.parts(images)
    together.set_weight("content relu3_1", [0, 0, 0, 0.5])
    together.parts(images)
    together.set_weight("content relu3_1", 0)
    together.set_weight("style", 0)
    parts = together.parts(images)
    assert asked == [
        {"conv1_2": 4, "relu3_1": 2, "relu1_1": 3, "relu2_2": 3},
        {"conv1_2": 3, "relu3_1": 1, "relu1_1": 2, "relu2_2": 2},
        {"conv1_2": 2},
    ]
    assert parts["style relu1_1"].tolist() == [0, 0, 0, 0]
    together.set_weight("content", 0)
    together.set_weight("tv", 0)
    assert all(value.tolist() == [0, 0, 0, 0] for value in together.parts(images).values())


def test_shares_of_each_picture_sum_to_one() -> None:
    assert layer_shares({"relu1_1": [1, 0, 2], "relu2_1": [3, 0, 0]}) == {
        "relu1_1": [0.25, 0, 1],
        "relu2_1": [0.75, 0, 0],
    }
    with pytest.raises(ValueError, match="all numbers, or all sequences of one length"):
        layer_shares({"relu1_1": [1, 0], "relu2_1": 3})
    with pytest.raises(ValueError, match="all 0"):
        layer_shares({"relu1_1": [0, 0]})


def test_knobs_keep_their_place_and_may_be_turned_from_any_thread() -> None:
    knobs = Knobs(torch.device("cpu"))
    knobs.set("style", 1.0)
    knobs.sync()
    tensor = knobs["style"]
    threads = [threading.Thread(target=knobs.set, args=("style", v)) for v in (2.0, 3.0, 4.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tensor.tolist() == [1], "an evaluation under way counts with what it began with"
    knobs.sync()
    assert knobs["style"] is tensor
    assert tensor.tolist() == list(knobs.values["style"])
    knobs.set("style", [1.0, 2.0])
    knobs.sync()
    assert knobs["style"].tolist() == [1, 2]


@pytest.mark.parametrize("evaluations", [1, 2, 7, 100, 301])
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("coarse_to_fine", [False, True])
def test_stages_spend_the_budget(evaluations: int, precision: str, coarse_to_fine: bool) -> None:
    stages = list(plan_stages((300, 260), evaluations, precision, coarse_to_fine))
    assert sum(stage.evaluations for stage in stages) == evaluations
    assert all(stage.evaluations > 0 for stage in stages)
    assert stages[-1].shrink == 1 and stages[-1].precision == "exact"
    shrinks = [stage.shrink for stage in stages]
    assert shrinks == sorted(shrinks, reverse=True)
    if coarse_to_fine and evaluations == 100:
        assert shrinks[:3] == [4, 2, 1]
    if precision == "fast" and evaluations > 2:
        assert stages[0] != stages[-1] and stages[0].precision == "fast"


def test_a_small_picture_has_no_coarse_stages() -> None:
    assert list(plan_stages((100, 500), 50, "exact", True)) == [Stage(1, 50, "exact")]


def test_fit() -> None:
    image = random_pictures(1, 45, 30)
    assert resample(image, (45, 30)) is image
    fine = (torch.arange(40) % 4 < 2).float().expand(1, 3, 40, 40)
    small = resample(fine, (40, 40), 4)
    assert small.min() >= 0 and small.max() <= 1, "bicubic overshoots at edges"
    assert small[..., 2:-2, 2:-2].sub(0.5).abs().max() < 0.1, "stripes too fine are grey"
    half = resample(image, (45, 30), 2)
    assert half.shape == (1, 3, 22, 15)
    assert half.mean().item() == pytest.approx(image.mean().item(), abs=0.01)
    assert resample(half, (45, 30)).shape == image.shape


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Those of a GPU: of products, of convolutions, and whether they are deterministic."""
    state: list[object] = ["ieee", "tf32", False]

    def switch(*new: object) -> tuple:
        before, state[:] = tuple(state), new
        return before

    monkeypatch.setattr(machine, "_switch", switch)
    return state


def test_full_float32_is_the_processs_until_the_last_leaves(switches: list[object]) -> None:
    """Two descents in two threads: neither may switch the other back to TF32."""
    state, switches[:] = switches, ["tf32", "tf32", False]
    gpu = torch.device("cuda")
    one, other = machine.full_float32(gpu), machine.full_float32(gpu)
    one.__enter__()
    other.__enter__()
    assert state == ["ieee", "ieee", True]
    one.__exit__(None, None, None)
    assert state == ["ieee", "ieee", True]
    other.__exit__(None, None, None)
    assert state == ["tf32", "tf32", False]


@pytest.mark.parametrize("strict_leaves_first", [True, False])
def test_convolutions_are_in_tf32_only_where_no_thread_wants_them_exact(
    strict_leaves_first: bool, switches: list[object]
) -> None:
    state = switches
    gpu = torch.device("cuda")
    loose, strict = machine.tf32_convolutions(gpu), machine.full_float32(gpu)
    loose.__enter__()
    assert state == ["ieee", "tf32", True]
    strict.__enter__()
    assert state == ["ieee", "ieee", True]
    first, last = (strict, loose) if strict_leaves_first else (loose, strict)
    first.__exit__(None, None, None)
    assert state == ["ieee", "tf32" if strict_leaves_first else "ieee", True]
    last.__exit__(None, None, None)
    assert state == ["ieee", "tf32", False]


def test_the_switches_are_put_back() -> None:
    before = machine._switch("ieee", "ieee", True)
    assert machine._switch(*before) == ("ieee", "ieee", True)
    assert machine._switch(*before) == before


def test_old_switches_are_left_alone() -> None:
    """A program's own, whose state PyTorch refuses to tell once old and new contradict."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    old = matmul.allow_tf32, cudnn.allow_tf32
    try:
        for matmul.allow_tf32, cudnn.allow_tf32 in ((True, True), (False, False), (True, False)):
            mine = matmul.allow_tf32, cudnn.allow_tf32
            with machine.full_float32(torch.device("cuda")):
                assert matmul.fp32_precision == cudnn.conv.fp32_precision == "ieee"
            assert (matmul.allow_tf32, cudnn.allow_tf32) == mine
            assert torch.get_float32_matmul_precision() == ("high" if mine[0] else "highest")
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = old
    for path in Path(machine.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ".allow_tf32" not in text and "set_float32_matmul_precision" not in text, path

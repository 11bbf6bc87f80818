"""The batched L-BFGS against torch.optim.LBFGS, and what must hold for every picture of a batch."""

from collections.abc import Callable

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from torch import Tensor

from styletutor.descent.lbfgs import LBFGS
from styletutor.loss.objective import Objective

Function = Callable[[Tensor], Tensor]  # (B, …) → (B,)


def ours(function: Function, start: Tensor, evaluations: int, optimiser: LBFGS) -> list[Tensor]:
    """The losses (B,) of all evaluations."""
    x, losses = start.clone(), []
    for _ in range(evaluations):
        x = x.detach().requires_grad_()
        loss = function(x)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        losses.append(loss.detach())
        x = optimiser.step(x.detach(), loss.detach(), gradient)
    return losses


def torchs(function: Function, start: Tensor, evaluations: int, history: int) -> list[Tensor]:
    x, losses = start.clone().requires_grad_(), []
    optimiser = torch.optim.LBFGS(
        [x], max_iter=20, history_size=history, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = function(x)
        loss.sum().backward()
        x.grad = x.grad.contiguous()
        losses.append(loss.detach())
        return loss.sum()

    while len(losses) < evaluations:
        optimiser.step(closure)
    return losses[:evaluations]


def needed(losses: list[Tensor], goal: float) -> int:
    """How many evaluations until the loss is at most `goal`."""
    return next((i for i, loss in enumerate(losses, 1) if loss.item() <= goal), 10**9)


def quadratic(condition: float, size: int = 40, seed: int = 0) -> tuple[Function, Tensor]:
    """½ (x - m)ᵀ A (x - m) + 3 with the given condition number, and a start."""
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    a = (
        q
        @ torch.diag(torch.logspace(0, torch.tensor(condition).log10().item(), size).double())
        @ q.T
    )
    m = torch.randn(size, generator=generator, dtype=torch.float64)
    start = torch.randn(1, size, generator=generator, dtype=torch.float64)
    return lambda x: 0.5 * torch.einsum("bi,ij,bj->b", x - m, a, x - m) + 3, start


@pytest.mark.parametrize("condition", [10.0, 1000.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_same_minimum_of_a_quadratic_as_torch_without_more_work(
    condition: float, seed: int
) -> None:
    function, start = quadratic(condition, seed=seed)
    optimiser = LBFGS(history=20, max_step=1.0)
    mine, theirs = ours(function, start, 400, optimiser), torchs(function, start, 400, 20)
    assert min(mine).item() == pytest.approx(3, abs=1e-9)
    goal = 3 + 1e-6 * (mine[0].item() - 3)
    assert needed(mine, goal) <= 1.1 * needed(theirs, goal)


def style_problem() -> tuple[Objective, Tensor]:
    vgg = make_tiny_vgg(pooling="max")
    objective = Objective(
        vgg,
        content=random_pictures(1, 32, 32, seed=1),
        styles=[random_pictures(1, 32, 32, seed=2)],
        content_layers="relu3_1",
        style_layers=["relu1_1", "relu2_1"],
        style_weight=10.0,
    )
    return objective, random_pictures(1, 32, 32, seed=3)


def test_no_more_work_than_torch_on_a_small_network() -> None:
    """torch's first step is tiny for a loss of order 1, so it gets the loss times 1,000."""
    objective, start = style_problem()
    mine = ours(lambda x: objective(x)["total"], start, 150, LBFGS(history=12))
    theirs = torchs(lambda x: 1e3 * objective(x)["total"], start, 150, 12)
    goal = max(min(mine).item(), min(theirs).item() / 1e3) * 1.01  # the better one may go on
    assert needed(mine, goal) <= 1.1 * needed([loss / 1e3 for loss in theirs], goal)
    assert min(mine).item() <= 1.05 * min(theirs).item() / 1e3


def dense_damping(height: int, width: int, wavelength: float) -> Tensor:
    """P for one channel as a matrix (HW, HW), from the waves one by one."""
    places = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = (place.double().flatten() for place in places)
    p = torch.zeros(height * width, height * width, dtype=torch.complex128)
    for v in range(height):
        for u in range(width):
            wave = (
                torch.exp(2j * torch.pi * (y * v / height + x * u / width))
                / (height * width) ** 0.5
            )
            fy, fx = min(v, height - v) / height, min(u, width - u) / width
            damped = (1 + wavelength**2 * (fy**2 + fx**2)) ** -0.5
            p += damped * torch.outer(wave, wave.conj())
    return p.real


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
@pytest.mark.parametrize("wavelength", [0.0, 8.0])
def test_the_steps_are_those_of_the_dense_formula(wavelength: float, size: tuple[int, int]) -> None:
    """BFGS as textbooks have it (Nocedal & Wright 2006, Eq. 6.17), with matrices, from γ P."""
    memory, n = 4, size[0] * size[1]
    function, flat = quadratic(10.0, n)  # no step is taken back
    start = flat.view(1, 1, *size)
    damping = dense_damping(*size, wavelength)
    optimiser = LBFGS(memory, first_step=0.1, max_step=1e9, wavelength=wavelength)
    x, pairs, before = start, [], None
    for _ in range(15):
        leaf = x.clone().requires_grad_()
        loss = function(leaf.flatten(1))
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        g = gradient.flatten()
        if before is None:
            move = damping @ g
            move = -move * 0.1 / move.square().mean().sqrt()
        else:
            pairs = [*pairs, (x.flatten() - before[0], g - before[1])][-memory:]
            s, y = pairs[-1]
            h = damping * (s @ y) / (y @ damping @ y)
            for s, y in pairs:
                v = torch.eye(n, dtype=torch.float64) - torch.outer(y, s) / (s @ y)
                h = v.T @ h @ v + torch.outer(s, s) / (s @ y)
            move = -h @ g
        before = x.flatten(), g
        following = optimiser.step(x, loss.detach(), gradient)
        torch.testing.assert_close(following.flatten(), before[0] + move, rtol=1e-7, atol=1e-9)
        x = following


def test_damping_needs_fewer_evaluations_where_short_waves_bend_more() -> None:
    """½ Σ over waves of (f² + small) |x̂|²: like features, it bends most along short waves."""
    target = random_pictures(2, 24, 32, seed=4).double()
    fy, fx = torch.fft.fftfreq(24).view(-1, 1), torch.fft.rfftfreq(32)
    bend = (fy**2 + fx**2 + 1e-3).double()

    def function(x: Tensor) -> Tensor:
        return (bend * torch.fft.rfft2(x - target).abs().square()).flatten(1).sum(1)

    start = torch.full_like(target, 0.5)
    plain, damped = (ours(function, start, 60, LBFGS(wavelength=w)) for w in (0.0, 32.0))
    for b in range(2):
        goal = 1e-4 * plain[0][b].item()
        by = [needed([loss[b : b + 1] for loss in losses], goal) for losses in (plain, damped)]
        assert by[1] < 0.7 * by[0] < 60


@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
def test_a_batch_gives_what_single_runs_give(box: tuple[float, float] | None) -> None:
    """In float64, where rounding cannot grow into a difference within these evaluations."""
    parts = [quadratic(c, seed=s) for s, c in enumerate((5.0, 50.0, 500.0, 20.0))]
    start = torch.cat([s for _, s in parts]).clamp(0, 1)
    functions = [f for f, _ in parts]

    def together(x: Tensor) -> Tensor:
        return torch.cat([f(x[b : b + 1]) for b, f in enumerate(functions)])

    batch = ours(together, start, 40, LBFGS(box=box))
    for b, function in enumerate(functions):
        single = ours(function, start[b : b + 1], 40, LBFGS(box=box))
        torch.testing.assert_close(
            torch.stack(batch)[:, b], torch.stack(single)[:, 0], rtol=1e-6, atol=1e-9
        )


def test_the_box_is_kept_and_its_minimum_found() -> None:
    """There the gradient is zero where free, and pushes outwards elsewhere."""
    function, start = quadratic(50.0)
    optimiser, x = LBFGS(box=(0.0, 1.0), max_step=1.0), start.clamp(0, 1)
    for _ in range(200):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(x).sum(), x)
        assert x.min() >= 0 and x.max() <= 1
        last = x.detach()
        x = optimiser.step(last, function(last), gradient)
    assert (last == 0).any() and (last == 1).any(), "the problem has to touch both bounds"
    free = (last > 0) & (last < 1)
    assert gradient[free].abs().max() < 1e-5
    assert (gradient[last == 0] >= 0).all() and (gradient[last == 1] <= 0).all()


def test_steps_have_a_length_in_pixels_whatever_the_scale_of_the_loss() -> None:
    for scale in (1e-8, 1.0, 1e8):
        x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        step = LBFGS(first_step=0.02).step(x, torch.ones(2), scale * (x - 0.5)) - x
        torch.testing.assert_close(step.square().mean((1, 2, 3)).sqrt(), torch.full((2,), 0.02))


def rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()


def test_no_step_is_longer_than_max_step() -> None:
    """Nearly no curvature asks for a step without end."""
    optimiser, x = LBFGS(first_step=0.02, max_step=0.1), torch.full((1, 4), 0.5)
    y = optimiser.step(x, torch.ones(1), torch.ones(1, 4))
    z = optimiser.step(y, torch.full((1,), 0.9), torch.full((1, 4), 0.99))
    assert rms(z - y) == pytest.approx(0.1, rel=1e-4)


def test_after_an_explosion_a_picture_starts_afresh_from_the_point_before() -> None:
    m, h = torch.linspace(0, 1, 6)[None], torch.linspace(1, 9, 6)

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, (h * (x - m) ** 2).sum(1), 2 * h * (x - m)

    optimiser, x = LBFGS(first_step=0.02), torch.full((1, 6), 0.5)
    for _ in range(4):
        last = evaluate(x)
        x = optimiser.step(*last)
    x = optimiser.step(x, torch.tensor([1e9]), torch.full((1, 6), 3.0))  # finite, but far too much
    torch.testing.assert_close(x, last[0] - 0.02 / 4 * last[2] / rms(last[2]))
    fresh = LBFGS(first_step=0.02)
    fresh.step(*last)
    fresh.trust = torch.full((1, 1), 0.25)  # what one failure leaves
    torch.testing.assert_close(optimiser.step(*evaluate(x)), fresh.step(*evaluate(x)))


def test_trust_comes_back_and_never_dies() -> None:
    function, start = quadratic(20.0)
    optimiser, x = LBFGS(), start
    for _ in range(200):
        x = optimiser.step(x, torch.tensor([float("nan")]), torch.zeros_like(x))
    losses = ours(function, x, 300, optimiser)
    assert min(losses).item() == pytest.approx(3, abs=1e-6)


def test_rounding_is_no_explosion() -> None:
    optimiser, x = LBFGS(), torch.full((1, 4), 0.5)
    for loss in (1.0, 0.0, 1e-8):
        x = optimiser.step(x, torch.tensor([loss]), x)
    assert optimiser.trust.item() == 1


def test_a_variable_at_its_bound_does_not_shorten_the_step_of_the_others() -> None:
    x = torch.tensor([[0.0, 0.5, 0.5, 0.5]])
    y = LBFGS(box=(0, 1)).step(x, torch.ones(1), torch.tensor([[1e3, 0.1, 0.2, 0.3]]))
    assert y[0, 0] == 0
    assert rms(y - x) == pytest.approx(0.02, rel=1e-5)


def test_a_variable_stuck_at_its_bound_is_as_if_it_were_not_there() -> None:
    """Its gradient changes all the time, and still must not enter into the others' curvature."""
    function, start = quadratic(100.0, size=6)
    start = 0.2 + 0.1 * start  # well inside the box

    def with_a_stuck_one(x: Tensor) -> Tensor:
        stuck, others = x[:, 0], x[:, 1:]
        return function(others) + stuck * (1e3 + 50 * others.sum(1))

    wide = LBFGS(first_step=0.02, max_step=0.1, box=(0, 5))
    longer = (7 / 6) ** 0.5  # the root mean square is over seven variables there, six here
    narrow = LBFGS(first_step=0.02 * longer, max_step=0.1 * longer, box=(0, 5))
    more = ours(with_a_stuck_one, torch.cat([torch.zeros(1, 1), start], 1).double(), 30, wide)
    torch.testing.assert_close(more, ours(function, start, 30, narrow), rtol=1e-6, atol=1e-9)


def test_a_first_gradient_that_is_not_finite_is_survived() -> None:
    function, start = quadratic(20.0)
    optimiser = LBFGS()
    x = optimiser.step(start, torch.tensor([float("nan")]), torch.full_like(start, float("nan")))
    assert torch.equal(x, start)
    assert min(ours(function, x, 150, optimiser)).item() == pytest.approx(3, abs=1e-6)


@pytest.mark.parametrize("trouble", [float("nan"), float("inf"), 1e9])
def test_one_picture_in_trouble_goes_back_and_leaves_the_others_alone(trouble: float) -> None:
    function, start = quadratic(20.0)
    start, spoilt = start.repeat(3, 1), {10, 11, 25}
    optimiser, calm = LBFGS(), LBFGS()
    x, y = start.clone(), start.clone()
    for evaluation in range(120):
        points = [p.detach().requires_grad_() for p in (x, y)]
        losses = [function(p) for p in points]
        gradients = [
            torch.autograd.grad(f.sum(), p)[0] for f, p in zip(losses, points, strict=True)
        ]
        loss, gradient = losses[0].detach().clone(), gradients[0].clone()
        if evaluation in spoilt:
            loss[1] = trouble
            gradient[1] = trouble
        before = x.detach()
        x = optimiser.step(before, loss, gradient)
        y = calm.step(y.detach(), losses[1].detach(), gradients[1])
        assert torch.isfinite(x).all()
        assert torch.equal(x[[0, 2]], y[[0, 2]])
    assert function(x)[1].item() == pytest.approx(3, abs=1e-3)


def test_a_flat_place_is_no_trouble() -> None:
    x = torch.full((1, 4), 0.5)
    optimiser = LBFGS(box=(0, 1))
    for _ in range(3):
        x = optimiser.step(x, torch.zeros(1), torch.zeros_like(x))
    assert torch.equal(x, torch.full((1, 4), 0.5))


def test_history_must_be_positive() -> None:
    with pytest.raises(ValueError, match="history=0"):
        LBFGS(history=0)

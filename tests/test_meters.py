"""Pulls, distances and shares against autograd and against hand-made sums."""

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

from styletutor.loss.meters import balanced_style, distances, pulls, removed, shares_of_pull
from styletutor.loss.objective import Objective

PHOTO, ART = random_pictures(1, 32, 40, seed=1), random_pictures(1, 32, 40, seed=2)
X = random_pictures(1, 32, 40, seed=3)


def make_objective(**changes: float) -> Objective:
    weights = {"content_weight": 2.0, "style_weight": 30.0, "tv_weight": 0.5} | changes
    return Objective(
        make_tiny_vgg(), content=PHOTO, styles=[ART], content_layers="relu2_1",
        style_layers={"relu1_1": 1.0, "relu3_1": 3.0}, **weights,
    )  # fmt: skip


def gradient_length(objective: Objective, **only: float) -> float:
    """The gradient of the whole loss with all other weights at 0, by autograd."""
    for name in objective.weight_values():
        objective.set_weight(name, only.get(name, 0.0))
    x = X.clone().requires_grad_()
    objective(x)["total"].sum().backward()
    return float(x.grad.norm())


def test_pulls_are_the_lengths_of_the_gradients() -> None:
    found = pulls(make_objective(), X)
    assert set(found) == {
        "content relu2_1", "style relu1_1", "style relu3_1", "tv", "content", "style"
    }  # fmt: skip
    alone = gradient_length(make_objective(), **{"style": 30.0, "style relu3_1": 0.75})
    assert float(found["style relu3_1"]) == pytest.approx(alone, rel=1e-4)
    whole = {"style": 30.0, "style relu1_1": 0.25, "style relu3_1": 0.75}
    together = gradient_length(make_objective(), **whole)
    assert float(found["style"]) == pytest.approx(together, rel=1e-4)
    assert float(found["tv"]) == pytest.approx(gradient_length(make_objective(), tv=0.5), rel=1e-4)
    assert found["style"] <= found["style relu1_1"] + found["style relu3_1"] + 1e-6


def test_pulls_follow_the_weights_in_use_and_leave_the_descent_alone() -> None:
    objective = make_objective()
    before = pulls(objective, X)["style"]
    objective.set_weight("style", 60.0)
    assert pulls(objective, X)["style"] == before, "the last evaluation counted with the old weight"
    assert objective.knobs.sync(), "that it was turned is still news to the descent"
    assert float(pulls(objective, X)["style"]) == pytest.approx(2 * float(before), rel=1e-5)


def test_a_muted_layer_does_not_pull() -> None:
    objective = make_objective()
    objective.set_weight("style relu1_1", 0.0)
    objective.knobs.sync()
    found = pulls(objective, X)
    assert "style relu1_1" not in found and found["style"] == found["style relu3_1"]


def test_distances_know_no_weights() -> None:
    objective = make_objective(style_weight=0.0)
    found = distances(objective, X)
    ones = make_objective()
    for name in ones.weight_values():
        ones.set_weight(name, 1.0)
    assert {name: float(v) for name, v in found.items()} == pytest.approx(
        {name: float(v) for name, v in ones.parts(X).items()}
    )
    assert objective.weight_values()["style"] == [0.0]


def test_what_is_gone_is_blind_to_weights() -> None:
    first = {"content relu2_1": 0.5, "style relu1_1": 4.0, "style relu3_1": 2.0, "tv": 0.1}
    for style, early in ((1.0, 0.25), (800.0, 0.5)):
        weights = {"content": 2.0, "style": style, "tv": 0.0, "content relu2_1": 1.0}
        weights |= {"style relu1_1": early, "style relu3_1": 1 - early}
        parts = {"style relu1_1": style * early * 1.0, "style relu3_1": style * (1 - early) * 0.5}
        gone = removed(parts, weights, first)
        assert gone["style relu1_1"] == pytest.approx(0.75)
        assert gone["style relu3_1"] == pytest.approx(0.75)
        assert gone["style"] == pytest.approx(0.75), "all its layers are so far"
    assert removed({"content relu2_1": 3.0}, weights, first)["content"] == pytest.approx(-2.0)


def test_a_part_without_a_beginning_has_no_share() -> None:
    weights = {"content": 1.0, "content relu2_1": 1.0}
    assert removed({"content relu2_1": 1.0}, weights, {"content relu2_1": 0.0}) == {}


def test_shares_sum_to_one() -> None:
    lengths = {
        "content relu2_1": 1.0,
        "style relu1_1": 2.0,
        "tv": 1.0,
        "content": 1.0,
        "style": 2.0,
    }
    assert shares_of_pull(lengths, term=True) == {"tv": 0.25, "content": 0.25, "style": 0.5}
    parts = shares_of_pull(lengths, term=False)
    assert parts == {"content relu2_1": 0.25, "style relu1_1": 0.5, "tv": 0.25}
    assert shares_of_pull({"content": 0.0, "style": 0.0}, term=True)["style"] == 0.0


def test_balanced_they_pull_alike() -> None:
    objective = make_objective()
    lengths = {name: float(length) for name, length in pulls(objective, X).items()}
    objective.set_weight("style", balanced_style(lengths, 30.0))
    objective.knobs.sync()
    after = pulls(objective, X)
    assert float(after["style"]) == pytest.approx(float(after["content"]), rel=1e-4)


def test_nothing_balances_what_does_not_pull() -> None:
    with pytest.raises(ValueError, match="content does not pull"):
        balanced_style({"content": 0.0, "style": 1.0}, 80.0)
    with pytest.raises(ValueError, match="style does not pull"):
        balanced_style({"content": 1.0}, 80.0)


def test_a_picture_of_a_batch_pulls_for_itself() -> None:
    objective = make_objective()
    both = pulls(objective, torch.cat([X, PHOTO]))
    assert both["style"].shape == (2,)
    assert float(both["style"][0]) == pytest.approx(float(pulls(objective, X)["style"]), rel=1e-4)

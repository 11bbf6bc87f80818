"""The three verbs: what they return, report, refuse, and do when they are interrupted."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ctrl_c_amid_waiting, make_tiny_vgg, random_pictures
from PIL import Image

import styletutor as st
from styletutor.descent import Step, Stop, descend
from styletutor.descent.method import Method
from styletutor.descent.starts import make_start
from styletutor.loss.objective import Objective
from styletutor.network.vgg import VGG

FIELDS = {
    "version", "command", "settings", "backbone", "device", "dtype", "size", "evaluations",
    "seconds", "loss", "history",
}  # fmt: skip
SMALL = {"content_layers": "relu2_2", "style_layers": ["relu1_1", "relu2_1"]}


@pytest.fixture
def photo() -> torch.Tensor:
    return random_pictures(1, 24, 32, seed=1)


@pytest.fixture
def art() -> torch.Tensor:
    return random_pictures(1, 30, 20, seed=2)


def test_transfer(tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor) -> None:
    result = st.transfer(
        photo, art, vgg=tiny_vgg, evaluations=30, tv_weight=0.01, precision="exact", **SMALL
    )
    assert result.image.shape == photo.shape
    assert [row["evaluation"] for row in result.history] == list(range(1, 31))
    for row in result.history:
        assert row["total"] == pytest.approx(row["content"] + row["style"] + row["tv"])
        assert row["style"] == pytest.approx(
            sum(v for name, v in row["parts"].items() if name.startswith("style "))
        )
    assert result.loss["end"]["total"] == min(row["total"] for row in result.history)
    assert result.loss["end"]["total"] < 0.5 * result.loss["start"]["total"]
    assert not result.interrupted
    assert "24" in repr(result) and "tiny" in repr(result)


def test_report_has_every_field_and_is_json(
    tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor
) -> None:
    result = st.transfer(photo, [art, photo], blend=[2, 1], vgg=tiny_vgg, evaluations=3, **SMALL)
    report = json.loads(json.dumps(result.report(), allow_nan=False))
    assert set(report) >= FIELDS
    assert report["size"] == [24, 32]
    assert report["backbone"] == {"name": "tiny", "sha256": "0" * 64, "trained_on": "nothing"}
    assert report["evaluations"] == 3 == report["settings"]["evaluations"]
    assert report["settings"]["blend"] == [2, 1]
    assert report["settings"]["style_layers"] == ["relu1_1", "relu2_1"]
    assert report["settings"]["style_weight"] == st.recipes["default"].style_weight
    assert set(report["loss"]["start"]) == {"content", "style", "total"}


def test_the_picture_is_the_best_not_the_last(
    tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor
) -> None:
    steps: list[Step] = []
    result = st.transfer(
        photo, art, vgg=tiny_vgg, evaluations=20, on_step=steps.append,
        optimiser="adam", learning_rate=0.5, style_weight=1e-3, **SMALL,
    )  # fmt: skip
    totals = [row["total"] for row in result.history]
    best = totals.index(min(totals))
    assert best < 19, "so large a rate has to lead away from the photo, or nothing was tested"
    assert torch.equal(result.image, steps[best].image)
    assert result.settings["learning_rate"] == 0.5 and result.settings["optimiser"] == "adam"


def test_report_is_json_whatever_kind_of_numbers_was_given(
    tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor
) -> None:
    result = st.transfer(
        photo, [art, art], vgg=tiny_vgg, evaluations=1, blend=np.array([1, 3]),
        content_layers=(n for n in ["relu2_2"]), style_layers={"relu1_1": np.float32(2)},
        style_weight=torch.tensor(3.0), content_weight=np.float64(1),
    )  # fmt: skip
    settings = json.loads(json.dumps(result.report()))["settings"]
    assert settings["blend"] == [1, 3]
    assert settings["style_layers"] == {"relu1_1": 2}
    assert settings["content_layers"] == ["relu2_2"]
    assert settings["style_weight"] == 3
    assert settings["weights"] == "tiny"


def test_same_settings_same_picture(tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor) -> None:
    arguments = {"vgg": tiny_vgg, "evaluations": 10, "start": "noise", **SMALL}
    first = st.transfer(photo, art, seed=4, **arguments)
    assert torch.equal(first.image, st.transfer(photo, art, seed=4, **arguments).image)
    assert not torch.equal(first.image, st.transfer(photo, art, seed=5, **arguments).image)


def test_the_recipe_says_how_the_optimiser_begins(
    tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor
) -> None:
    layers = {"content_layers": {"relu2_2": 1.0}, "style_layers": {"relu1_1": 1.0}}
    how = {"evaluations": 6, "precision": "exact"}
    result = st.transfer(photo, art, vgg=tiny_vgg, **layers, **how)
    recipe = replace(st.recipes["default"], **layers)
    objective = recipe.objective(tiny_vgg, content=photo, styles=[art])
    damped, plain = (
        [step.losses["total"] for step in descend(objective, photo, 6, method=Method(wavelength=w))]
        for w in (recipe.wavelength, 0.0)
    )
    totals = [row["total"] for row in result.history]
    assert totals == pytest.approx(damped, rel=1e-5)
    assert totals != pytest.approx(plain, rel=1e-3)


def test_content_from_noise_comes_back(tiny_vgg: VGG, photo: torch.Tensor) -> None:
    result = st.reconstruct_content(photo, "conv1_1", vgg=tiny_vgg, evaluations=150)
    start = st.reconstruct_content(photo, "conv1_1", vgg=tiny_vgg, evaluations=1)
    error, at_first = ((r.image - photo).square().mean() for r in (result, start))
    assert error < 0.01 * at_first
    assert set(result.history[0]) == {"evaluation", "size", "content", "total", "parts"}


def test_style_from_noise_gets_the_gram_matrices(tiny_vgg: VGG, art: torch.Tensor) -> None:
    layers = ["relu1_1", "relu2_1"]
    result = st.reconstruct_style(art, layers, vgg=tiny_vgg, evaluations=150)
    assert result.image.shape == art.shape
    for layer in layers:
        got, wanted = (st.gram_matrix(tiny_vgg(i, [layer])[layer]) for i in (result.image, art))
        assert st.relative_error(got, wanted).item() < 1e-3
    assert (result.image - art).square().mean() > 1e-3, "the arrangement is not the style's"


def test_pictures_by_name_and_path(tiny_vgg: VGG, tmp_path: Path, art: torch.Tensor) -> None:
    st.save_image(art, tmp_path / "art.png")
    result = st.transfer(
        "astronaut", tmp_path / "art.png", vgg=tiny_vgg, size=24, evaluations=2, **SMALL
    )
    assert max(result.image.shape[2:]) == 24
    assert result.settings["content"] == "astronaut"
    assert result.settings["styles"] == [str(tmp_path / "art.png")]
    result.save(tmp_path / "out.png")
    saved = st.load_image(tmp_path / "out.png")
    torch.testing.assert_close(saved, result.image, rtol=0, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, Stop, "amid waiting"])
def test_interrupting_gives_the_best_so_far(
    trouble: type[BaseException] | str, tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor
) -> None:
    def on_step(step: Step) -> None:
        if step.evaluation == 7 and trouble == "amid waiting":
            ctrl_c_amid_waiting()
        elif step.evaluation == 7:
            raise trouble

    exact = SMALL | {"precision": "exact"}

    result = st.transfer(photo, art, vgg=tiny_vgg, evaluations=50, on_step=on_step, **exact)
    whole = st.transfer(photo, art, vgg=tiny_vgg, evaluations=7, **exact)
    assert result.interrupted and not whole.interrupted
    assert len(result.history) == 7
    assert torch.equal(result.image, whole.image)
    assert "interrupted" in repr(result)


def test_stopping_at_the_last_evaluation_interrupts_nothing(
    tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor
) -> None:
    def on_step(step: Step) -> None:
        if step.evaluation == step.evaluations:
            raise Stop

    result = st.transfer(photo, art, vgg=tiny_vgg, evaluations=3, on_step=on_step, **SMALL)
    assert len(result.history) == 3 and not result.interrupted


def test_an_error_in_on_step_is_not_swallowed(
    tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor
) -> None:
    with pytest.raises(ZeroDivisionError):
        st.transfer(photo, art, vgg=tiny_vgg, on_step=lambda _: 1 / 0, **SMALL)


def test_a_recipe_can_be_overridden(tiny_vgg: VGG, photo: torch.Tensor, art: torch.Tensor) -> None:
    recipe = st.recipes["default"]
    objective = recipe.objective(tiny_vgg, content=photo.repeat(1, 1, 2, 2), styles=[art])
    assert set(objective.content_targets) == set(recipe.content_layers)
    assert set(objective.style_targets) == set(recipe.style_layers)
    assert objective.weight_values()["style"] == [recipe.style_weight]
    changed = replace(recipe, style_weight=0.0, **SMALL)
    other = changed.objective(tiny_vgg, content=photo, styles=[art])
    assert other.weight_values()["style"] == [0.0]


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"recipe": "defualt"}, ValueError, "did you mean default"),
        ({"evaluations": -1}, ValueError, "evaluations=-1"),
        ({"style_weight": float("nan")}, ValueError, "finite number"),
        ({"style": []}, ValueError, "at least one"),
        ({"blend": [1, 2]}, ValueError, "2 blend weights for 1 style"),
        ({"style": "no-such-picture"}, FileNotFoundError, "neither a sample nor a file"),
        ({"start": torch.zeros(1, 3, 8, 9)}, ValueError, "resize it first"),
        ({"content": torch.zeros(3, 8, 8)}, ValueError, r"\(B, 3, H, W\), got \(3, 8, 8\)"),
        ({"content": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, ValueError, "divide by 255"),
        ({"content": torch.full((1, 3, 24, 24), 255.0)}, ValueError, r"from 255 to 255"),
        ({"seed": 2**64}, ValueError, "63 bits"),
        ({"seed": "x"}, ValueError, "seed=x"),
        ({"content_layers": "relu5_1", "size": 15}, ValueError, "at least 16"),
        ({"content": None}, ValueError, "a picture is a NoneType"),
        ({"content": torch.zeros(0, 3, 24, 24)}, ValueError, "a batch of none"),
        ({"start": torch.full((1, 3, 24, 32), 255.0)}, ValueError, "from 255 to 255"),
        ({"start": torch.zeros(3, 3, 24, 32)}, ValueError, "3 start pictures for 1"),
        ({"vgg": "pocket"}, ValueError, "vgg='pocket' is no network; load one"),
        ({"evaluations": True}, ValueError, "evaluations=True"),
        ({"coarse_to_fine": "no"}, ValueError, "True, False or None"),
        ({"learning_rate": "x"}, ValueError, "learning_rate=x"),
        ({"content_layers": {"relu1_1": [1, 0]}}, ValueError, "expected names or numbers"),
        ({"style_layers": {"relu1_1": "x"}}, ValueError, "expected names or numbers"),
        ({"content_layers": 5}, ValueError, "the layers are 5"),
        ({"blend": ["x"]}, ValueError, "finite numbers"),
        ({"blend": 0.5}, ValueError, "blend"),
        ({"style_weight": [1.0, 2.0]}, ValueError, "2 values for the weight of style, but 1"),
        ({"style_weight": 1e30}, ValueError, "too large"),
        ({"content_layers": [], "style_layers": []}, ValueError, "no layer was given"),
    ],
)
def test_bad_input(
    changes: dict, error: type[Exception], message: str, tiny_vgg: VGG,
    photo: torch.Tensor, art: torch.Tensor,
) -> None:  # fmt: skip
    arguments = {"content": photo, "style": art, "vgg": tiny_vgg, "evaluations": 1, **SMALL}
    with pytest.raises(error, match=message):
        st.transfer(**(arguments | changes))


def test_numpys_numbers_are_numbers(tiny_vgg: VGG, photo: torch.Tensor) -> None:
    how = {"evaluations": np.int64(2), "seed": np.int64(3), "style_weight": np.float32(2)}
    result = st.transfer(photo, photo, vgg=tiny_vgg, **how, **SMALL)
    settings = json.loads(json.dumps(result.report()))["settings"]
    assert (settings["evaluations"], settings["seed"], settings["style_weight"]) == (2, 3, 2)


def test_figure_one_is_ten_single_runs(tiny_vgg: VGG) -> None:
    """In double precision, where rounding cannot grow into a difference within so few steps."""
    tiny_vgg.double()
    photo, art = (random_pictures(1, *size).double() for size in ((33, 40), (36, 30)))
    how = {"vgg": tiny_vgg, "evaluations": 12, "precision": "exact", "progress": False}
    batch = st.figure_one(photo, art, **how)
    assert batch.image.shape == (10, 3, 33, 40)
    noise = make_start("noise", photo)
    for depth in range(5):
        content = st.reconstruct_content(photo, f"conv{depth + 1}_2", start=noise, **how)
        torch.testing.assert_close(batch.image[depth : depth + 1], content.image, rtol=0, atol=1e-6)
        layers = [f"conv{block}_1" for block in range(1, depth + 2)]
        objective = Objective(tiny_vgg, styles=[art], style_layers=layers)
        *_, texture = descend(objective, noise, 12)
        torch.testing.assert_close(
            batch.image[5 + depth : 6 + depth], texture.best, rtol=0, atol=1e-6
        )
    assert batch.settings["style"].startswith("tensor with sha256")


def test_what_was_chosen_is_in_the_settings(tiny_vgg: VGG, photo: torch.Tensor) -> None:
    result = st.reconstruct_content(photo, "relu2_1", vgg=tiny_vgg, evaluations=2)
    auto, cpu = Method(precision="auto", coarse_to_fine=None), torch.device("cpu")
    assert result.settings["precision"] == auto.settled(cpu, "noise", (24, 32)).precision
    assert result.settings["coarse_to_fine"] is False

    def coarse(given: bool | None, start: object, size: tuple[int, int]) -> bool:
        return Method(coarse_to_fine=given).settled(cpu, start, size).coarse_to_fine

    assert coarse(None, "noise", (256, 400)) and not coarse(None, "content", (900, 900))
    assert not coarse(None, "noise", (255, 400)) and coarse(True, "content", (10, 10))


def test_reconstructions_of_a_batch_are_those_alone() -> None:
    how = {"vgg": make_tiny_vgg().double(), "evaluations": 8, "precision": "exact"}
    layers = ["relu1_1", "relu2_1"]
    photo = random_pictures(1, 24, 32, seed=1).double()
    both = st.reconstruct_each(photo, layers, **how)
    for place, layer in enumerate(layers):
        alone = st.reconstruct_content(photo, layer, **how)
        assert torch.allclose(both.image[place], alone.image[0], atol=1e-6)
    nested = st.reconstruct_each(photo, layers, kind="style", nested=True, **how)
    alone = st.reconstruct_style(photo, layers, **how)
    assert torch.allclose(nested.image[1], alone.image[0], atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "kind", "message"),
    [
        ("relu1_1", "content", "give a list of different layers"),
        (["relu1_1", "relu1_1"], "content", "give a list of different layers"),
        ([], "style", "give a list of different layers"),
        (["relu1_1"], "both", "unknown kind 'both'"),
    ],
)
def test_reconstruct_each_refuses(layers: object, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        st.reconstruct_each(random_pictures(1, 24, 32), layers, kind=kind)


def test_a_file_that_is_called_like_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_vgg: VGG
) -> None:
    """A `Path` always means the file, in mappings, as a start and in the report, too."""
    monkeypatch.chdir(tmp_path)
    for name in ("coffee", "noise"):
        st.save_image(random_pictures(1, 20, 24, seed=5), f"{name}.png")
        Path(f"{name}.png").rename(name)
    how = {"vgg": tiny_vgg, "evaluations": 2, "size": 24, "progress": False}
    layers = {"relu1_1": Path("coffee"), "relu2_1": "coffee"}
    content = {"content_layers": "relu2_2"}
    result = st.transfer(Path("noise"), layers, start=Path("noise"), **how, **content)
    settings = result.report()["settings"]
    assert settings["content"] == settings["start"] == f".{os.sep}noise"
    assert settings["style_at"] == [f"relu1_1=.{os.sep}coffee", "relu2_1=coffee"]
    again = st.transfer(
        f".{os.sep}noise",
        {"relu1_1": f".{os.sep}coffee", "relu2_1": "coffee"},
        start=f".{os.sep}noise", **how, **content,
    )  # fmt: skip
    assert again.loss == result.loss
    sample = {"relu1_1": "coffee", "relu2_1": "coffee"}
    other = st.transfer(Path("noise"), sample, start=Path("noise"), **how, **content)
    assert other.loss["start"]["style"] != result.loss["start"]["style"]


def test_pillow_images_and_arrays_are_pictures(tiny_vgg: VGG, photo: torch.Tensor) -> None:
    pixels = (photo[0].permute(1, 2, 0) * 255).round().byte().numpy()
    same = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    mask = np.zeros((24, 32), dtype=np.uint8)
    mask[:12] = 255
    how = {"vgg": tiny_vgg, "evaluations": 2, "progress": False, **SMALL}
    results = [
        st.transfer(given, [given, photo], masks=[over, 1 - np.sign(mask)], **how)
        for given, over in (
            (same, mask / 255),
            (pixels, mask),
            (Image.fromarray(pixels), Image.fromarray(mask)),
        )
    ]
    for result in results[1:]:
        assert torch.equal(result.image, results[0].image)
        named = result.report()["settings"]
        assert named["content"] == results[0].report()["settings"]["content"]
        json.dumps(named)

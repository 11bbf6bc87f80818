"""Control over colours, sizes, starts and regions, through the verb that people call."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_pictures
from PIL import Image

import styletutor as st
from styletutor.descent.starts import Noise, make_start
from styletutor.network.vgg import VGG
from styletutor.pictures.colours import keep_colours, match_colours
from styletutor.runs.inputs import scale_content, scale_style, source, to_mask

SMALL = {"content_layers": "relu2_2", "style_layers": ["relu1_1", "relu2_1"], "evaluations": 3}
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def test_kept_colours_are_lightness_of_one_and_chroma_of_the_other() -> None:
    styled = 0.35 + 0.3 * random_pictures(2, 20, 30)  # far from the edge of the colours there are
    content = 0.4 + 0.2 * random_pictures(1, 20, 30, seed=1)
    kept = keep_colours(styled, content)
    luma = [(LUMA * p).sum(1, keepdim=True) for p in (kept, styled, content)]
    torch.testing.assert_close(luma[0], luma[1], atol=1e-3, rtol=0)
    chroma = kept - luma[0], content - luma[2]
    torch.testing.assert_close(chroma[0], chroma[1].expand_as(kept), atol=2e-3, rtol=0)


def test_matched_colours_have_mean_and_covariance_of_the_content() -> None:
    style = 0.3 + 0.4 * random_pictures(1, 31, 17)
    content = 0.4 + 0.2 * random_pictures(1, 20, 30, seed=1)
    matched = match_colours(style, content)
    pixels, aim = (picture.flatten(2)[0] for picture in (matched, content))
    torch.testing.assert_close(pixels.mean(1), aim.mean(1), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(pixels), torch.cov(aim), atol=2e-4, rtol=0.02)


def test_matched_histograms_are_the_contents() -> None:
    style, content = random_pictures(1, 32, 32), random_pictures(1, 32, 32, seed=1) ** 2
    matched = match_colours(style, content, "histogram")
    for channel in range(3):
        one, other = (p[0, channel].flatten().sort().values for p in (matched, content))
        torch.testing.assert_close(one, other, atol=0.01, rtol=0)
        order = style[0, channel].flatten().argsort()
        assert (matched[0, channel].flatten()[order].diff() >= -1e-6).all(), "the order is kept"


def test_a_style_in_one_colour_can_be_matched() -> None:
    flat = torch.full((1, 3, 8, 8), 0.3)
    content = random_pictures(1, 20, 30)
    matched = match_colours(flat, content)
    torch.testing.assert_close(matched.mean((2, 3)), content.mean((2, 3)), atol=1e-3, rtol=0)


def test_pixels_that_are_alike_get_the_middle_of_their_ranks() -> None:
    content = torch.linspace(0, 1, 99).view(1, 1, 9, 11).expand(1, 3, 9, 11)
    flat = match_colours(torch.full((1, 3, 5, 5), 0.3), content, "histogram")
    torch.testing.assert_close(flat, torch.full((1, 3, 5, 5), 0.5))
    halves = torch.zeros(1, 3, 4, 6)
    halves[..., 3:] = 1
    matched = match_colours(halves, content, "histogram")
    torch.testing.assert_close(matched, 0.25 + 0.5 * halves, atol=0.01, rtol=0)


@pytest.mark.parametrize("colours", ["content", "match", "histogram"])
def test_colours_of_a_transfer(colours: str, tiny_vgg: VGG) -> None:
    photo, art = random_pictures(1, 24, 32, seed=1), random_pictures(1, 24, 32, seed=2).flip(1)
    result = st.transfer(photo, art, vgg=tiny_vgg, colours=colours, **SMALL)
    plain = st.transfer(photo, art, vgg=tiny_vgg, **SMALL)
    assert result.settings["colours"] == colours and plain.settings["colours"] == "style"
    if colours == "content":
        torch.testing.assert_close(result.image, keep_colours(plain.image, photo))
    else:
        matched = match_colours(art, photo, colours)
        by_hand = st.transfer(photo, matched, vgg=tiny_vgg, **SMALL)
        torch.testing.assert_close(result.image, by_hand.image)


def test_sizes(tiny_vgg: VGG) -> None:
    photo, tall = random_pictures(1, 60, 80), random_pictures(1, 90, 45)
    assert scale_content(photo, tiny_vgg, 40, None, None).shape[2:] == (30, 40)
    assert scale_content(photo, tiny_vgg, None, 160, None).shape[2:] == (120, 160)
    assert scale_content(tall, tiny_vgg, None, 90, None).shape[2:] == (180, 90)
    for side, expected in (("long", (30, 40)), ("short", (40, 53)), ("height", (40, 53))):
        assert scale_content(photo, tiny_vgg, None, None, (side, 40)).shape[2:] == expected
    assert scale_content(photo, tiny_vgg, None, None, ("short", 512)).shape[2:] == (60, 80)
    assert scale_style(tall, tiny_vgg, 40, None, None, 80).shape[2:] == (40, 20)
    assert scale_style(tall, tiny_vgg, 40, None, 1.5, 80).shape[2:] == (240, 120)


def test_style_scales_of_a_transfer(tiny_vgg: VGG) -> None:
    photo, arts = random_pictures(1, 24, 32), [random_pictures(1, 40, 20, seed=s) for s in (1, 2)]
    result = st.transfer(photo, arts, vgg=tiny_vgg, style_scale=[1, 0.5], **SMALL)
    by_hand = [st.resize_image(arts[0], 64, enlarge=True), st.resize_image(arts[1], 32)]
    assert by_hand[0].shape[3] == 32 and by_hand[1].shape[3] == 16
    expected = st.transfer(photo, by_hand, vgg=tiny_vgg, **SMALL)
    torch.testing.assert_close(result.image, expected.image)


def test_starts_with_noise() -> None:
    like = random_pictures(1, 40, 50)
    uniform = make_start("noise", like, 1, Noise("uniform", 0.3, (0.2, 0.5, 0.9)), clamp=False)
    for channel, about in enumerate((0.2, 0.5, 0.9)):
        values = uniform[0, channel]
        assert values.mean().item() == pytest.approx(about, abs=0.02)
        assert values.min() > about - 0.3 and values.max() < about + 0.3
        assert values.std().item() == pytest.approx(0.3 / 3**0.5, rel=0.05)
    assert make_start("noise", like, 1, Noise("uniform", 0.3, 0.9)).max() <= 1
    noise = make_start("noise", like, 1)
    blended = make_start("content", like, 1, noise_blend=0.25)
    torch.testing.assert_close(blended, 0.75 * like + 0.25 * noise, atol=1e-6, rtol=0)


def test_a_named_start_is_resized_to_the_picture(tiny_vgg: VGG) -> None:
    photo = random_pictures(1, 24, 32)
    result = st.transfer(photo, photo, vgg=tiny_vgg, start="coins", **SMALL)
    assert result.image.shape == photo.shape and result.settings["start"] == "coins"


def test_pixels_may_leave_their_range_where_the_recipe_lets_them(tiny_vgg: VGG) -> None:
    photo, art = torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)
    seen = []
    how = {"vgg": tiny_vgg, "recipe": "anishathalye", "start": "content", "evaluations": 8}
    result = st.transfer(photo, art, on_step=lambda step: seen.append(step.image), **how)
    assert max(image.max() for image in seen) > 1 or min(image.min() for image in seen) < 0
    assert result.image.min() >= 0 and result.image.max() <= 1


def test_a_recipes_numbers_are_in_its_own_units(tiny_vgg: VGG) -> None:
    """Adam's first step is the learning rate: 10 of 255, whatever the gradient."""
    photo, art = random_pictures(1, 32, 32), random_pictures(1, 32, 32, seed=1)
    seen = []
    how = {"vgg": tiny_vgg, "recipe": "anishathalye", "start": "content", "precision": "exact"}
    st.transfer(photo, art, evaluations=2, on_step=lambda s: seen.append(s.image), **how)
    moved = (seen[1] - seen[0]).abs()
    assert moved.median().item() == pytest.approx(10 / 255, rel=1e-3)
    result = st.transfer(photo, art, evaluations=1, **how)
    assert result.settings["learning_rate"] == 10.0 and result.settings["pooling"] == "max"
    assert result.settings["style_scale"] is None


@pytest.mark.parametrize("name", sorted(st.recipes))
def test_every_recipe_paints(name: str) -> None:
    vgg = st.load_vgg("pocket", device="cpu")
    how = {"vgg": vgg, "size": 96, "recipe": name, "evaluations": 30, "precision": "exact"}
    result = st.transfer("coffee", "wave-print", **how)
    assert result.image.shape == (1, 3, 64, 96)
    start, end = result.loss["start"], result.loss["end"]
    assert end["total"] < 0.9 * start["total"]
    assert end["style"] < 0.9 * start["style"], "style counts for something"


def test_masks_of_a_transfer(tiny_vgg: VGG, tmp_path: Path) -> None:
    photo, a, b = (random_pictures(1, 24, 32, seed=seed) for seed in range(3))
    left = np.zeros((48, 64), np.float32)
    left[:, :32] = 1
    Image.fromarray((255 * left).astype(np.uint8)).save(tmp_path / "left.png")
    how = {"vgg": tiny_vgg, **SMALL}
    as_file = st.transfer(photo, [a, b], masks=[tmp_path / "left.png", 1 - left], **how)
    as_array = st.transfer(photo, [a, b], masks=[torch.from_numpy(left), 1 - left], **how)
    torch.testing.assert_close(as_file.image, as_array.image)
    whole = st.transfer(photo, [a, b], **how)
    assert (as_file.image - whole.image).abs().max() > 0.01
    assert as_file.settings["masks"][0].endswith("left.png")
    assert to_mask(left, (12, 16)).shape == (12, 16)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"colours": "red"}, "unknown colours 'red'"),
        ({"style_scale": 0.0}, r"style_scale=0.0; it must be"),
        ({"style_scale": [1, 2]}, "2 style scales for 1 style"),
        ({"width": 0}, "width=0 makes no picture"),
        ({"width": 20, "size": 20}, "both given"),
        ({"noise_blend": 1.5}, "noise_blend=1.5"),
        ({"masks": [np.zeros((3, 3))]}, "mask 1 has no pixels"),
        ({"masks": [np.ones((3, 3, 3))]}, r"shape \(3, 3, 3\), expected \(height, width\)"),
        ({"masks": [np.full((3, 3), 7.0)]}, r"outside \[0, 1\]"),
        ({"masks": []}, r"0 mask\(s\) for 1 style"),
        ({"pooling": "median"}, "unknown pooling 'median'"),
        ({"beta1": 1.0}, "betas"),
        ({"epsilon": 0}, "epsilon=0"),
        ({"recipe": "gatys"}, "did you mean gatys"),
        ({"recipe": st.recipes["default"]}, "give a name: default"),
        ({"style": None}, "a style is a NoneType"),
        ({"style": {"relu1_1": 5}}, "a style is a int"),
        ({"style_scale": "2"}, "style_scale=2"),
        ({"width": "64"}, "width=64"),
        ({"size": 0}, "size 0"),
        ({"noise_blend": "x"}, "noise_blend=x"),
        ({"noise_blend": 0.5, "start": "noise"}, "a start that is all noise"),
        ({"masks": 0.5}, "masks=0.5; give a list"),
        ({"masks": [None]}, "a mask is a NoneType"),
        ({"start": np.zeros(3)}, r"is an array of shape \(3,\)"),
        ({"resume": 5}, "resume=5; give the path"),
        ({"checkpoint": True}, "checkpoint=True; give the path"),
        ({"on_step": 5}, "on_step=5 cannot be called"),
        ({"evaluations": 10**400}, "evaluations=10+ never come to an end"),
        ({"width": 20_000}, r"width=20000 is too large: 20000 x 15000 pixels"),
        ({"width": 10**400}, r"width=10+ is too large"),
        ({"style_scale": 100, "width": 4000}, r"style_scale=100.* is too large: 400000 x 300000"),
        ({"style_layers": ["relu1_1", "relu1_1"]}, "the layer relu1_1 is named twice"),
        ({"content_layers": iter(["relu2_1", "relu1_1", "relu2_1"])}, "relu2_1 is named twice"),
        ({"content": random_pictures(1, 24, 32).to_sparse()}, "a picture is a tensor sparse"),
        ({"style": torch.empty(1, 3, 24, 32, device="meta")}, "a picture is a tensor of the dev"),
        ({"start": random_pictures(1, 24, 32).to_sparse()}, "a picture is a tensor sparse"),
        ({"masks": [torch.eye(24).to_sparse()]}, "a mask is a tensor sparse"),
        ({"masks": [torch.ones(24, 32, device="meta")]}, "a mask is a tensor of the device meta"),
        ({"content": np.full((3, 3), "a")}, "is an array of <U1; expected uint8"),
        *(
            ({name: ""}, r"\w is a folder, expected a file name")
            for name in ("checkpoint", "resume")
        ),
    ],
)
def test_bad_control_is_one_clear_line(changes: dict, message: str, tiny_vgg: VGG) -> None:
    photo = random_pictures(1, 24, 32)
    with pytest.raises((ValueError, OSError), match=message) as error:
        st.transfer(**({"content": photo, "style": photo, "vgg": tiny_vgg} | SMALL | changes))
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_what_numpy_and_python_call_numbers_and_lists_are_taken(
    tiny_vgg: VGG, tmp_path: Path
) -> None:
    photo, art = random_pictures(1, 24, 32), random_pictures(1, 24, 32, seed=1)
    how = {"vgg": tiny_vgg, **SMALL}
    plain = st.transfer(photo, art, **how, seed=3, start="noise", style_scale=0.5)
    odd = {"seed": np.int64(3), "start": "noise", "style_scale": torch.tensor(0.5), **how}
    kept = {"checkpoint": tmp_path / "run", "checkpoint_iterations": np.int32(2)}
    for more in (kept, {"resume": tmp_path / "run"}):
        found = st.transfer(photo, art, **odd, **more)
        assert torch.equal(found.image, plain.image) and json.dumps(found.report())
    drawn = np.asmatrix(np.eye(24, 32))
    assert torch.equal(
        st.transfer(drawn, art, masks=[drawn], **how).image,
        st.transfer(np.asarray(drawn), art, masks=[np.asarray(drawn)], **how).image,
    )


def test_styles_by_layer_may_be_any_kind_of_list(tiny_vgg: VGG) -> None:
    photo, arts = random_pictures(1, 24, 32), [random_pictures(1, 24, 32, seed=n) for n in (1, 2)]
    given = {"relu1_1": (art for art in arts), "relu2_1": tuple(arts[:1])}
    result = st.transfer(photo, given, vgg=tiny_vgg, content_layers="relu2_1", evaluations=2)
    first, second = (source(art) for art in arts)
    named = [f"relu1_1={first}", f"relu1_1={second}", f"relu2_1={first}"]
    assert result.settings["style_at"] == named

"""A film of a descent, opened again by other programs' readers."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_tiny_vgg, random_pictures
from PIL import Image

import styletutor as st
from styletutor.cli import main
from styletutor.descent import Step, Stop
from styletutor.pictures.images import resize_image, to_uint8
from styletutor.timelapse import spread

FFMPEG = importlib.util.find_spec("imageio_ffmpeg") is not None
PHOTO = resize_image(random_pictures(1, 13, 16), 161, enlarge=True)  # smooth, as photographs


def film(*evaluations: int, **changes: object) -> tuple[st.Timelapse, st.Result]:
    kept = st.Timelapse(evaluations)
    how = {"vgg": make_tiny_vgg(), "evaluations": 12, "on_step": kept, "progress": False}
    return kept, st.reconstruct_content(PHOTO, "relu2_1", **(how | changes))


def test_more_frames_than_evaluations_are_all_evaluations() -> None:
    for evaluations in (1, 2, 3, 10, 333):
        assert spread(evaluations, 10**400) == list(range(1, evaluations + 1))


def test_frames_are_the_best_pictures_at_the_chosen_evaluations() -> None:
    kept, result = film(1, 5, 12, 99, precision="exact")
    assert len(kept.frames) == 3
    np.testing.assert_array_equal(kept.frames[-1], to_uint8(result.image))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_films_that_pillow_writes(suffix: str, tmp_path: Path) -> None:
    """From coarse to fine: all frames have the last one's size."""
    kept, _ = film(1, 4, 8, 12, coarse_to_fine=True)
    assert kept.frames[0].shape[0] < kept.frames[-1].shape[0]
    path = tmp_path / f"film{suffix}"
    kept.save(path)
    with Image.open(path) as picture:
        assert picture.n_frames == 4 and picture.size == (161, 131)
        picture.seek(3)
        last = np.asarray(picture.convert("RGB"), dtype=float)
        picture.load()
        assert picture.info["duration"] == 2000
    assert np.abs(last - kept.frames[-1]).mean() < 12, "palettes and compression cost little"


@pytest.mark.skipif(not FFMPEG, reason="imageio-ffmpeg is not installed")
def test_mp4(tmp_path: Path) -> None:
    import imageio_ffmpeg

    kept, _ = film(1, 4, 8, 12, start=PHOTO)
    kept.save(tmp_path / "film.mp4")
    frames = imageio_ffmpeg.read_frames(tmp_path / "film.mp4")
    about = next(frames)
    assert about["size"] == (162, 132), "made even"
    pictures = [np.frombuffer(frame, np.uint8).reshape(132, 162, 3) for frame in frames]
    assert len(pictures) == 4 + 24
    small = Image.fromarray(kept.frames[-1]).resize((162, 132))
    assert np.abs(pictures[-1].astype(float) - np.asarray(small)).mean() < 12
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_mp4_without_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    kept, _ = film(1)
    with pytest.raises(ModuleNotFoundError, match=r"pip install imageio-ffmpeg, or choose \.webp"):
        kept.save(tmp_path / "film.mp4")
    kept.save(tmp_path / "film.gif")


def test_no_frame_and_no_format(tmp_path: Path) -> None:
    kept, _ = film(50)
    with pytest.raises(ValueError, match="no frame to save"):
        kept.save(tmp_path / "film.gif")
    with pytest.raises(ValueError, match=r"film.avi is no film; expected .* .gif, .webp, .mp4"):
        kept.save(tmp_path / "film.avi")
    assert not list(tmp_path.iterdir())


def test_frames_are_closer_together_at_the_start() -> None:
    numbers = spread(300, 40)
    assert numbers[0] == 1 and numbers[-1] == 300 and len(numbers) <= 40
    gaps = np.diff(numbers)
    assert (gaps > 0).all() and gaps[-1] > gaps[0]
    assert spread(3, 40) == [1, 2, 3]
    assert spread(1) == [1]
    with pytest.raises(ValueError, match="at least 2"):
        spread(10, 1)


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--image", "coins", "--layers", "relu2_1", "--size", "48", "--weights", "pocket"]
    command = ["reconstruct", "content", *words, "--output", "out.png", "--evaluations", "9"]
    assert main([*command, "--timelapse", "film.gif", "--frames", "5"]) == 0
    with Image.open("film.gif") as picture:
        assert picture.n_frames == len(spread(9, 5)) == 4


def test_of_an_interrupted_run(tmp_path: Path) -> None:
    kept = st.Timelapse(range(1, 13))

    def on_step(step: Step) -> None:
        kept(step)
        if step.evaluation == 3:
            raise Stop

    how = {"vgg": make_tiny_vgg(), "evaluations": 12, "on_step": on_step}
    assert st.reconstruct_content(PHOTO, "relu2_1", **how).interrupted
    kept.save(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as picture:
        assert picture.n_frames == 3

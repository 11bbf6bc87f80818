"""Built-in pictures: each is there, is a picture, and comes without a network."""

import itertools
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from styletutor.pictures import artworks, samples
from styletutor.pictures.images import pixels_sha256, save_image
from styletutor.pictures.loading import load_image
from styletutor.pictures.samples import describe_sample, sample_names

NAMES = sample_names()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a sample asked for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_a_picture(name):
    picture = load_image(name)
    assert picture.dtype == torch.float32 and picture.device.type == "cpu"
    assert picture.ndim == 4 and picture.shape[:2] == (1, 3) and min(picture.shape[2:]) >= 250
    assert picture.min() >= 0 and picture.max() <= 1
    assert picture.std() > 0.03  # something is on it
    again = load_image(name)
    assert torch.equal(picture, again) and again.data_ptr() != picture.data_ptr()


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_described_in_one_line(name):
    text = describe_sample(name)
    assert len(text) > 15 and "\n" not in text and text.endswith(".")


def test_names_tell_photographs_from_artworks():
    assert isinstance(NAMES, list) and len(NAMES) == len(set(NAMES))
    assert [*NAMES.photographs, *NAMES.artworks] == NAMES
    assert NAMES.photographs == sorted(NAMES.photographs)
    assert NAMES.artworks == sorted(NAMES.artworks)
    assert len(NAMES.photographs) >= 10 and len(NAMES.artworks) >= 3
    first, second = repr(NAMES).splitlines()
    assert first.startswith("photographs: ") and "astronaut" in first
    assert second.startswith("artworks: ") and NAMES.artworks[0] in second


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket", "retina"])
def test_photographs_are_scikit_image_s_own(name):
    data = pytest.importorskip("skimage.data")
    expected = getattr(data, name)()
    got = load_image(name)[0].permute(1, 2, 0).numpy() * 255
    assert np.array_equal(got.round(), expected)


def test_artworks_differ_from_each_other():
    corner = {name: load_image(name, 64)[..., :40, :40] for name in NAMES.artworks}
    for one, other in itertools.combinations(NAMES.artworks, 2):
        assert (corner[one] - corner[other]).abs().mean() > 0.1, (one, other)


def test_an_artwork_is_the_same_in_another_process():
    name = NAMES.artworks[0]
    code = (
        "from styletutor.pictures.images import pixels_sha256;"
        "from styletutor.pictures.loading import load_image;"
        f"print(pixels_sha256(load_image({name!r})))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == pixels_sha256(load_image(name))


def test_importing_stays_light():
    code = (
        "import sys, styletutor.pictures.loading as p; p.load_image('coffee', 32);"
        "print([m for m in ('scipy', 'skimage', 'matplotlib', 'torchvision') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_artworks_are_painted_once(monkeypatch):
    name = NAMES.artworks[0]
    load_image(name)
    monkeypatch.setattr(samples, "_artworks", lambda: {name: None})
    load_image(name, 50)


def test_strokes_laid_on_in_parts_are_those_laid_on_at_once(monkeypatch):
    """Later ones over earlier ones, and nothing lost between two parts."""
    painted = []
    for most in (2**17, 10**9):
        monkeypatch.setattr(artworks, "AT_ONCE", most)
        painted.append(artworks.swirling_strokes())
    assert np.array_equal(*painted)


def test_changing_a_loaded_artwork_does_not_change_the_next():
    name = NAMES.artworks[0]
    before = load_image(name).clone()
    for size in (None, 10_000):
        load_image(name, size).zero_()
    assert torch.equal(load_image(name), before)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", NAMES.artworks[0]])
def test_size_is_the_long_side_and_never_enlarges(name):
    height, width = load_image(name).shape[2:]
    small = load_image(name, 100)
    assert max(small.shape[2:]) == 100
    assert abs(small.shape[2] / small.shape[3] - height / width) < 0.02
    assert load_image(name, 5000).shape[2:] == (height, width)
    assert max(load_image(name, max(height, width) + 10, enlarge=True).shape[2:]) == (
        max(height, width) + 10
    )
    with pytest.raises(ValueError, match="size"):
        load_image(name, 0)


def test_a_path_is_read_as_a_file(tmp_path):
    save_image(torch.zeros(1, 3, 4, 6), tmp_path / "mine.png")
    for path in (tmp_path / "mine.png", str(tmp_path / "mine.png")):
        assert load_image(path).shape == (1, 3, 4, 6)


def test_bare_words_mean_samples_and_everything_else_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    black = Image.new("RGB", (6, 4))
    for name in ("astronaut", "astronaut.png", "mine"):
        black.save(tmp_path / name, format="PNG")
    assert load_image("astronaut").shape == (1, 3, 512, 512)
    for file in ("./astronaut", "astronaut.png", "mine", tmp_path / "astronaut"):
        assert load_image(file).shape == (1, 3, 4, 6)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("astronot", "astronaut"),
        ("Astronaut", "astronaut"),
        ("coffee.jpg", "coffee"),
        (NAMES.artworks[0][:-1] + "x", NAMES.artworks[0]),
    ],
)
def test_a_misspelt_name_gets_the_nearest(wrong, right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="neither a sample nor a file") as caught:
        load_image(wrong)
    assert repr(wrong) in str(caught.value) and right in str(caught.value).split("nearest")[1]


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(FileNotFoundError) as caught:
        load_image("zzzzqqqq")
    assert all(name in str(caught.value) for name in NAMES)
    with pytest.raises(ValueError, match=r"not a sample.*astronaut"):
        describe_sample("astronot")


def test_a_file_that_is_no_picture_is_refused_as_by_read_image(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        load_image(tmp_path / "notes.txt")

"""Picture files: real ones of every kind, and the pixels that are known to be in them."""

import os
import stat
import struct
import subprocess
import sys
import time
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from styletutor.pictures import images, reading
from styletutor.pictures.images import (
    check_writable,
    pixels_sha256,
    resize_image,
    save_image,
    to_uint8,
)
from styletutor.pictures.reading import picture_of, read_image, read_mask
from styletutor.pictures.writing import try_writing, write_file

# Six pixels that are all different, so that every turn and flip shows.
CORNERS = np.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        [[255, 255, 0], [0, 255, 255], [255, 0, 255]],
    ],
    dtype=np.uint8,
)
ORIENTED = {  # what EXIF says must be done to the stored pixels (TIFF 6.0, tag 274)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


def rgb(tensor: torch.Tensor) -> np.ndarray:
    """(1, 3, H, W) in [0, 1] to (H, W, 3) in [0, 255], not rounded."""
    assert tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    assert tensor.ndim == 4 and tensor.shape[:2] == (1, 3) and tensor.is_contiguous()
    assert tensor.min() >= 0 and tensor.max() <= 1
    return tensor[0].permute(1, 2, 0).numpy() * 255


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    transparent = chunk(b"tRNS", extra) if extra else b""
    body = chunk(b"IHDR", header) + transparent + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


# ---- reading: every kind of file -------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".ppm"])
def test_lossless_formats_give_the_exact_pixels(tmp_path, suffix):
    Image.fromarray(CORNERS).save(tmp_path / f"a{suffix}")
    assert np.array_equal(rgb(read_image(tmp_path / f"a{suffix}")).round(), CORNERS)
    assert np.array_equal(rgb(read_image(str(tmp_path / f"a{suffix}"))).round(), CORNERS)


def test_webp_lossless(tmp_path):
    Image.fromarray(CORNERS).save(tmp_path / "a.webp", lossless=True, exact=True)
    assert np.array_equal(rgb(read_image(tmp_path / "a.webp")).round(), CORNERS)


def test_jpeg_is_close(tmp_path):
    ramp = np.linspace(0, 255, 64).round().astype(np.uint8)
    smooth = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64))] * 2, 2)[..., :3]
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    assert np.abs(rgb(read_image(tmp_path / "a.jpg")) - smooth).max() < 8


def test_kind_comes_from_the_bytes_and_not_from_the_suffix(tmp_path):
    Image.fromarray(CORNERS).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(rgb(read_image(tmp_path / "a.jpg")).round(), CORNERS)


RAMP16 = np.array([[0, 1, 256, 32768, 65534, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "big-endian.tif"])
def test_sixteen_bit_grey_keeps_its_depth(tmp_path, name):
    values = RAMP16.astype(">u2") if name.startswith("big") else RAMP16
    mode = "I;16B" if name.startswith("big") else "I;16"
    Image.frombytes(mode, (6, 1), values.tobytes()).save(tmp_path / name)
    read = read_image(tmp_path / name)
    for channel in read[0]:
        np.testing.assert_allclose(channel.numpy(), RAMP16 / 65535, atol=1e-7)
    assert read.max() == 1


def test_sixteen_bit_grey_written_by_hand(tmp_path):
    (tmp_path / "a.png").write_bytes(png(6, 1, 16, 0, b"\0" + RAMP16.astype(">u2").tobytes()))
    np.testing.assert_allclose(
        read_image(tmp_path / "a.png")[0, 1].numpy(), RAMP16 / 65535, atol=1e-7
    )


def test_sixteen_bit_grey_with_a_transparent_level(tmp_path):
    rows = b"\0" + RAMP16.astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(6, 1, 16, 0, rows, struct.pack(">H", 256)))
    expected = np.where(RAMP16 == 256, 1, RAMP16 / 65535)
    np.testing.assert_allclose(read_image(tmp_path / "a.png")[0, 0].numpy(), expected, atol=1e-7)


def test_sixteen_bit_colour(tmp_path):
    pixels = np.array([[0, 32768, 65535], [65535, 0, 256]], dtype=">u2")
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 2, b"\0" + pixels.tobytes()))
    # Pillow keeps the upper 8 bits of each channel
    assert np.abs(rgb(read_image(tmp_path / "a.png"))[0] - pixels / 257.0).max() <= 1


def test_sixteen_bit_grey_can_be_shrunk_and_stays_in_range(tmp_path):
    steps = np.zeros((64, 64), np.uint16)
    steps[:, 32:] = 65535
    Image.fromarray(steps).save(tmp_path / "a.png")
    small = read_image(tmp_path / "a.png", size=16)
    assert small.shape == (1, 3, 16, 16)
    assert small[0, 0, 8, 0] == 0 and small[0, 0, 8, -1] == 1
    rgb(small)


def test_floating_point_tiff(tmp_path):
    Image.fromarray(np.array([[0, 0.25, 1]], np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, 2].tolist() == [[0, 0.25, 1]]


@pytest.mark.parametrize("values", [[0, 7.5], [-0.1, 1], [0, np.nan], [0, np.inf]])
def test_floating_point_outside_the_range_is_refused(tmp_path, values):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif.*expected 0 to 1"):
        read_image(tmp_path / "a.tif")


def test_whole_numbers_beyond_sixteen_bits_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"70000.*expected 0 to 65535"):
        read_image(tmp_path / "a.tif")


def test_grey_and_one_bit(tmp_path):
    grey = np.array([[0, 100, 255]], np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert rgb(read_image(tmp_path / "grey.png"))[0].round().tolist() == [[g] * 3 for g in grey[0]]
    Image.fromarray(grey).convert("1", dither=Image.Dither.NONE).save(tmp_path / "bit.png")
    assert rgb(read_image(tmp_path / "bit.png"))[0, :, 0].tolist() == [0, 0, 255]


def test_alpha_goes_onto_white(tmp_path):
    pixels = np.array([[[255, 0, 0, 128], [255, 0, 0, 0], [0, 0, 255, 255]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    got = rgb(read_image(tmp_path / "a.png"))[0]
    assert np.abs(got - [[255, 127, 127], [255, 255, 255], [0, 0, 255]]).max() <= 1


def test_hidden_colour_does_not_bleed_when_shrunk(tmp_path):
    pixels = np.zeros((32, 32, 4), np.uint8)  # black, but invisible
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", size=8).min() == 1


def test_grey_with_alpha(tmp_path):
    pixels = np.array([[[0, 255], [0, 0], [0, 51]]], np.uint8)
    Image.frombytes("LA", (3, 1), pixels.tobytes()).save(tmp_path / "a.png")
    got = rgb(read_image(tmp_path / "a.png"))[0, :, 0]
    assert np.abs(got - [0, 255, 204]).max() <= 1


@pytest.mark.parametrize(
    "suffix, transparency",
    [(".png", None), (".png", 1), (".png", b"\xff\x00\x80"), (".gif", None), (".gif", 1)],
)
def test_palette(tmp_path, suffix, transparency):
    picture = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    picture.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 255])
    options = {} if transparency is None else {"transparency": transparency}
    picture.save(tmp_path / f"a{suffix}", **options)
    expected = [[255, 0, 0], [0, 200, 0], [0, 0, 255]]
    if transparency is not None:
        expected[1] = [255, 255, 255]
    if isinstance(transparency, bytes):
        expected[2] = [127, 127, 255]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = rgb(read_image(tmp_path / f"a{suffix}"))[0]
    assert np.abs(got - expected).max() <= 1


def test_grey_and_colour_png_with_one_transparent_value(tmp_path):
    Image.fromarray(np.array([[0, 9]], np.uint8)).save(tmp_path / "grey.png", transparency=9)
    assert rgb(read_image(tmp_path / "grey.png"))[0, :, 0].tolist() == [0, 255]
    Image.fromarray(CORNERS).save(tmp_path / "rgb.png", transparency=(255, 0, 0))
    assert rgb(read_image(tmp_path / "rgb.png"))[0, 0].tolist() == [255, 255, 255]
    assert rgb(read_image(tmp_path / "rgb.png"))[0, 1].tolist() == [0, 255, 0]


INKS = {  # cyan, magenta, yellow, black ink -> red, green, blue
    (0, 0, 0, 0): (255, 255, 255),
    (255, 0, 0, 0): (0, 255, 255),
    (0, 255, 255, 0): (255, 0, 0),
    (0, 0, 0, 255): (0, 0, 0),
}


@pytest.mark.parametrize("inks", INKS)
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(tmp_path, inks, suffix):
    Image.new("CMYK", (16, 16), inks).save(tmp_path / f"a{suffix}")
    if suffix == ".jpg":  # Adobe's marker says that the inks are stored upside down
        assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    assert np.abs(rgb(read_image(tmp_path / f"a{suffix}")) - INKS[inks]).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_orientation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.kron(CORNERS, np.ones((16, 16, 1), np.uint8))  # JPEG needs whole blocks
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif, **options.get(suffix, {}))
    expected = ORIENTED[orientation](stored)
    got = rgb(read_image(tmp_path / f"a{suffix}"))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= (4 if suffix == ".jpg" else 0.01)


def test_size_counts_after_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 50)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg", size=20).shape == (1, 3, 20, 10)


def test_garbled_exif_does_not_lose_the_picture(tmp_path):
    Image.fromarray(CORNERS).save(tmp_path / "a.png", exif=b"Exif\0\0MM\xd4*\0\0\0\x08\0\x01")
    assert np.array_equal(rgb(read_image(tmp_path / "a.png")).round(), CORNERS)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_first_frame_counts(tmp_path, suffix):
    red, blue = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    options = {"lossless": True} if suffix == ".webp" else {}
    red.save(tmp_path / f"a{suffix}", save_all=True, append_images=[blue], **options)
    assert rgb(read_image(tmp_path / f"a{suffix}"))[3, 3].tolist() == [255, 0, 0]


# ---- reading: size ---------------------------------------------------------------------------


def test_shrinks_and_keeps_the_aspect(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 150).shape == (1, 3, 100, 150)
    assert read_image(tmp_path / "a.png", np.int64(30)).shape == (1, 3, 20, 30)


def test_never_enlarges_unless_asked(tmp_path):
    Image.fromarray(CORNERS).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 9).shape == (1, 3, 2, 3)
    assert read_image(tmp_path / "a.png", 9, enlarge=True).shape == (1, 3, 6, 9)


def test_very_thin_pictures_keep_one_pixel(tmp_path):
    Image.new("RGB", (1000, 2), (9, 9, 9)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 10).shape == (1, 3, 1, 10)


@pytest.mark.parametrize("long_side", [1, 7, 97, 255, 256])
def test_long_side_is_exact(tmp_path, long_side):
    Image.new("RGB", (257, 113)).save(tmp_path / "a.png")
    assert max(read_image(tmp_path / "a.png", long_side).shape[2:]) == long_side
    assert max(resize_image(noise(113, 257), long_side).shape[2:]) == long_side


def test_shrinking_is_antialiased(tmp_path):
    """One-pixel stripes are above what the small picture can hold: they must become flat grey."""
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 254
    Image.fromarray(stripes).save(tmp_path / "a.png")
    assert np.abs(rgb(read_image(tmp_path / "a.png", 60))[8:-8, 8:-8] - 127).max() < 6
    small = resize_image(read_image(tmp_path / "a.png"), 60)
    assert np.abs(rgb(small)[8:-8, 8:-8] - 127).max() < 6


@pytest.mark.parametrize("size", [0, -1, 2.5, "256", True, [1]])
def test_bad_size(tmp_path, size):
    Image.fromarray(CORNERS).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="size"):
        read_image(tmp_path / "a.png", size)
    with pytest.raises(ValueError, match="size"):
        resize_image(noise(4, 4), size)


def test_enlarging_is_bounded(tmp_path):
    Image.fromarray(CORNERS).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="too large"):
        read_image(tmp_path / "a.png", 10**6, enlarge=True)


def test_resize_keeps_the_batch_and_its_range():
    batch = torch.cat([noise(40, 60, seed) for seed in range(3)]).round()
    small = resize_image(batch, 30)
    assert small.shape == (3, 3, 20, 30) and small.min() >= 0 and small.max() <= 1
    torch.testing.assert_close(small[1:2], resize_image(batch[1:2], 30))
    assert resize_image(batch, 90) is batch
    assert resize_image(batch, 90, enlarge=True).shape == (3, 3, 60, 90)
    torch.testing.assert_close(
        resize_image(torch.full((1, 3, 40, 60), 0.3), 7), torch.full((1, 3, 5, 7), 0.3)
    )


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 1, 4, 4), (1, 3, 0, 4)])
def test_resize_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="expected pictures"):
        resize_image(torch.zeros(shape), 2)


# ---- reading: what is refused ----------------------------------------------------------------


@pytest.mark.parametrize("side", [8193, 10_000, 60_000])  # Pillow is silent, warns, raises
def test_too_many_pixels_are_refused_from_the_header(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(png(side, side, 8, 2, bytes(1000)))
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"bomb\.png is too large.*make it smaller") as caught:
            read_image(tmp_path / "bomb.png", 256)
    assert time.perf_counter() - start < 1
    assert str(side) in str(caught.value) or str(side**2) in str(caught.value)


def test_the_limit_itself_is_allowed(tmp_path, monkeypatch):
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    assert read_image(tmp_path / "a.png").shape == (1, 3, 10, 10)
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    with pytest.raises(ValueError, match="10 x 10 pixels, expected at most"):
        read_image(tmp_path / "a.png")


def assert_plain(error: BaseException, path) -> None:
    """One line that names the file, and no chain of Pillow's exceptions behind it."""
    assert str(path) in str(error) and "\n" not in str(error)
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".gif", ".bmp"])
def test_truncated_files_are_refused(tmp_path, suffix):
    save_image(noise(64, 64), tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for part in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9):
        path.write_bytes(whole[: max(1, int(part * len(whole)))])
        with pytest.raises(ValueError) as caught:
            read_image(path)
        assert_plain(caught.value, path)


def test_damaged_bytes_never_leak_another_exception(tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged"
    refused = 0
    for suffix in (".jpg", ".png", ".webp", ".tif", ".gif", ".bmp"):
        save_image(noise(16, 16), tmp_path / f"a{suffix}")
        whole = np.frombuffer((tmp_path / f"a{suffix}").read_bytes(), np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            damaged[generator.integers(0, min(len(damaged), 200), 6)] = generator.integers(0, 256)
            path.write_bytes(damaged.tobytes())
            try:
                rgb(read_image(path, 16))
            except ValueError as error:
                refused += 1
                assert_plain(error, path)
    assert refused > 60


def test_empty_text_and_missing_files(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty\.png is empty"):
        read_image(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("I am no picture.")
    with pytest.raises(ValueError, match=r"text\.jpg is not a picture") as caught:
        read_image(tmp_path / "text.jpg")
    assert_plain(caught.value, tmp_path / "text.jpg")
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")


# ---- saving ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "levels"), [(".png", 0.5), (".bmp", 0.5), (".PNG", 0.5), (".tif", 1), (".tiff", 1)]
)
def test_round_trip(tmp_path, suffix, levels):
    """Within half a level; of 16 bits Pillow reads the upper 8."""
    image = noise(13, 17)
    save_image(image, tmp_path / f"a{suffix}")
    assert (read_image(tmp_path / f"a{suffix}") - image).abs().max() <= levels / 255 + 1e-6
    save_image(image[0], tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_all_256_levels_survive(tmp_path, suffix):
    levels = (torch.arange(256) / 255).expand(1, 3, 1, 256)
    save_image(levels, tmp_path / f"a{suffix}")
    assert torch.equal(read_image(tmp_path / f"a{suffix}"), levels)


def test_a_tiff_has_16_bits(tmp_path):
    """Its bytes, found by its own header: red, green and blue of each pixel, row by row."""
    image = torch.cat(
        [noise(12, 17), torch.tensor([-0.5, 0, 1, 2] * 3 + [1] * 5).expand(1, 3, 1, 17)], 2
    )
    save_image(image, tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as picture:
        tags = dict(picture.tag_v2)
    bits, compression, offsets, order = (tags[n] for n in (258, 259, 273, 284))
    assert (bits, compression, len(offsets), order) == ((16, 16, 16), 1, 1, 1)
    data = (tmp_path / "a.tif").read_bytes()
    assert data[:2] == b"II"
    values = np.frombuffer(data, "<u2", 13 * 17 * 3, offsets[0]).reshape(13, 17, 3)
    expected = image[0].clamp(0, 1).permute(1, 2, 0).double() * 65535
    assert np.abs(values - expected.numpy()).max() <= 0.5 + 0.01
    assert set(tags) <= set(range(254, 297)), "and no word of the program that wrote it"


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".webp", "WEBP"), (".gif", "GIF")])
def test_lossy_formats_are_what_the_suffix_says(tmp_path, suffix, kind):
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    save_image(ramp, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as picture:
        assert picture.format == kind
    assert (read_image(tmp_path / f"a{suffix}") - ramp).abs().max() < 0.03


def test_quality(tmp_path):
    for quality in (10, 95):
        save_image(noise(64, 64), tmp_path / f"{quality}.jpg", quality=quality)
    assert os.path.getsize(tmp_path / "10.jpg") < os.path.getsize(tmp_path / "95.jpg") / 3


def test_clamped_and_rounded():
    row = torch.tensor([-1, 0, 0.4 / 255, 0.6 / 255, 127.4 / 255, 127.6 / 255, 254.6 / 255, 9])
    got = to_uint8(row.expand(1, 3, 2, 8))
    assert got.dtype == np.uint8 and got.shape == (2, 8, 3)
    assert got[0, :, 1].tolist() == [0, 0, 0, 1, 127, 128, 255, 255]


def test_channels_stay_in_order(tmp_path):
    save_image(
        torch.tensor([1.0, 0.5, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2), tmp_path / "a.png"
    )
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.getpixel((0, 0)) == (255, 128, 0)


@pytest.mark.parametrize(
    "image", [noise(4, 4).requires_grad_(), noise(4, 4).double(), noise(4, 4).half()]
)
def test_other_floating_types_can_be_saved(tmp_path, image):
    save_image(image, tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") - image.detach().float()).abs().max() <= 0.51 / 255


BAD_PICTURES = {
    "batch": torch.rand(4, 3, 8, 8),
    "no picture": torch.rand(0, 3, 8, 8),
    "no pixels": torch.rand(1, 3, 0, 8),
    "grey": torch.rand(1, 1, 8, 8),
    "flat": torch.rand(8, 8),
    "channels last": torch.rand(8, 8, 3),
    "whole numbers": torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    "nan": torch.full((1, 3, 8, 8), torch.nan),
    "infinite": torch.full((1, 3, 8, 8), torch.inf),
}


@pytest.mark.parametrize("what", BAD_PICTURES)
def test_a_failed_save_leaves_everything_as_it_was(tmp_path, what):
    (tmp_path / "a.png").write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"image\[0\]" if what == "batch" else "expected"):
        save_image(BAD_PICTURES[what], tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"precious"


def test_a_picture_that_the_format_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match=r"20000 x 1 pixels as WEBP.*use \.png"):
        save_image(torch.zeros(1, 3, 1, 20000), tmp_path / "a.webp")
    assert os.listdir(tmp_path) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"precious")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_image(noise(4, 4), tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"precious"


def test_saving_and_checking_refuse_the_same(tmp_path):
    (tmp_path / "folder.png").mkdir()
    refusals = [
        (tmp_path / "a.xyz", ValueError, r"\.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff"),
        (tmp_path / "a", ValueError, r"ends in \.png"),
        (tmp_path / "nowhere" / "a.png", FileNotFoundError, "nowhere.*make it first"),
        (tmp_path / "folder.png", IsADirectoryError, "is a folder"),
    ]
    for path, kind, message in refusals:
        with pytest.raises(kind, match=message):
            check_writable(path)
        with pytest.raises(kind, match=message):
            save_image(noise(4, 4), path)
    assert os.listdir(tmp_path) == ["folder.png"]


def test_check_writable_changes_nothing(tmp_path):
    check_writable(tmp_path / "new.jpg")
    assert os.listdir(tmp_path) == []
    (tmp_path / "old.png").write_bytes(b"precious")
    before = os.stat(tmp_path / "old.png")
    check_writable(str(tmp_path / "old.png"))
    assert os.stat(tmp_path / "old.png") == before or sys.platform == "win32"
    assert (tmp_path / "old.png").read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["old.png"]


def test_check_writable_for_a_report(tmp_path):
    try_writing(tmp_path / "run.json")
    with pytest.raises(FileNotFoundError):
        try_writing(tmp_path / "nowhere" / "run.json")
    assert os.listdir(tmp_path) == []


def test_names_without_a_folder_mean_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable("a.png")
    save_image(noise(4, 4), "a.png")
    assert read_image("a.png").shape == (1, 3, 4, 4)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write")
def test_a_folder_that_cannot_be_written_even_by_root():
    for attempt in (check_writable, lambda path: save_image(noise(4, 4), path)):
        with pytest.raises(PermissionError, match=r"cannot write in the folder /proc"):
            attempt("/proc/self/a.png")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything"
)
def test_a_write_protected_file_is_respected(tmp_path):
    (tmp_path / "a.png").write_bytes(b"precious")
    (tmp_path / "a.png").chmod(0o444)
    for attempt in (check_writable, lambda path: save_image(noise(4, 4), path)):
        with pytest.raises(PermissionError, match="write-protected"):
            attempt(tmp_path / "a.png")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_file_mode_follows_the_umask(tmp_path, mask):
    old = os.umask(mask)
    try:
        save_image(noise(4, 4), tmp_path / "a.png")
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(tmp_path / "a.png").st_mode) == 0o666 & ~mask


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    (tmp_path / "a.png").touch(0o640)
    (tmp_path / "a.png").chmod(0o600)
    save_image(noise(4, 4), tmp_path / "a.png")
    assert stat.S_IMODE(os.stat(tmp_path / "a.png").st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "real" / "a.png")
    save_image(noise(4, 4), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink() and (tmp_path / "real" / "a.png").is_file()
    assert os.listdir(tmp_path / "real") == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_device_is_written_into_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    try_writing(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(tmp_path / "pipe", b"report")
        assert os.read(reader, 100) == b"report"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    with pytest.raises(OSError, match=r"cannot write into .*pipe .*anything that reads it"):
        write_file(tmp_path / "pipe", b"report")  # and it does not wait for ever


@pytest.mark.skipif(sys.platform == "win32", reason="no such names on Windows")
@pytest.mark.parametrize("number, name", [(1, "/dev/stdout"), (2, "/dev/stderr")])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_stream_gets_what_is_written_into_it(tmp_path, number, name, kind):
    code = "import os, sys; from styletutor.pictures.writing import *; "
    code += f"os.write({number}, b'A'); try_writing('{name}'); write_file('{name}', b'B' * 10**5); "
    code += f"os.write({number}, b'C')"
    with (tmp_path / "log").open("w+b") as log:
        streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE if kind == "pipe" else log)
        done = subprocess.run([sys.executable, "-c", code], check=True, **streams)
        log.seek(0)
        found = log.read() if kind == "file" else (done.stdout, done.stderr)[number - 1]
    assert found == b"A" + b"B" * 10**5 + b"C"


# ---- identity --------------------------------------------------------------------------------


def test_sha256_identifies_the_pixels(tmp_path):
    image = noise(6, 8)
    assert len(pixels_sha256(image)) == 64 and pixels_sha256(image) == pixels_sha256(image.clone())
    assert pixels_sha256(image) == pixels_sha256(image[0])
    assert pixels_sha256(image) == pixels_sha256(image.to(memory_format=torch.channels_last))
    assert pixels_sha256(image) != pixels_sha256(image.reshape(1, 3, 8, 6))
    changed = image.clone()
    changed[0, 0, 0, 0] += 1e-3
    assert pixels_sha256(image) != pixels_sha256(changed)
    for name in ("a.png", "a.bmp"):  # the same picture, whatever file it was in
        save_image(image, tmp_path / name)
    assert pixels_sha256(read_image(tmp_path / "a.png")) == pixels_sha256(
        read_image(tmp_path / "a.bmp")
    )


# --- masks


def on_canvas(colour, alpha):
    """A square of one colour on a transparent canvas, its edge half transparent."""
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[2:6, 2:6] = (*colour, alpha)
    pixels[2, 2:6, 3] = alpha // 2
    return Image.fromarray(pixels)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 30, 30)])
def test_what_is_drawn_on_a_transparent_mask_is_inside(tmp_path, colour):
    on_canvas(colour, 254).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")[0, 0]
    assert mask[4, 4] == pytest.approx(254 / 255) and mask[2, 4] == pytest.approx(127 / 255)
    assert mask[0, 0] == 0 and mask[7, 4] == 0


def test_light_and_dark_on_a_transparent_mask_are_in_and_outside(tmp_path):
    drawn = on_canvas((255, 255, 255), 255)
    drawn.putpixel((3, 4), (0, 0, 0, 255))
    drawn.save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")[0, 0]
    assert mask[4, 3] == 0 and mask[4, 4] == 1 and mask[0, 0] == 0


def test_a_mask_without_transparency_is_its_brightness(tmp_path):
    Image.fromarray(np.array([[0, 51], [204, 255]], dtype=np.uint8)).save(tmp_path / "mask.png")
    expected = torch.tensor([[[[0, 0.2], [0.8, 1]]]])
    torch.testing.assert_close(read_mask(tmp_path / "mask.png"), expected)


# --- greys of TIFF


def tiff(values: np.ndarray, bits: int, photometric: int, kind: int = 1) -> bytes:
    """A baseline TIFF 6.0 of grey values; `kind` is 1 for whole numbers, 3 for floats."""
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(int)
        data = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)
    else:
        data = values.astype({16: "<u2", 32: "<f4"}[bits]).tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1,
            278: height, 279: len(data), 339: kind}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("bits", "kind", "full", "white_is_zero"),
    [
        (12, 1, 4095, False),  # Pillow knows no others with 12 bits
        *((16, 1, 65535, turned) for turned in (False, True)),
        *((32, 3, 1.0, turned) for turned in (False, True)),
    ],
)
def test_deep_greys_of_a_tiff(tmp_path, bits, kind, full, white_is_zero):
    shares = np.array([[0, 0.25], [0.75, 1]])
    values = np.round(shares * full) if kind == 1 else shares
    (tmp_path / "grey.tif").write_bytes(tiff(values, bits, 0 if white_is_zero else 1, kind))
    grey = read_image(tmp_path / "grey.tif")[0, 1].numpy()
    np.testing.assert_allclose(grey, 1 - shares if white_is_zero else shares, atol=1e-3)


# --- pictures that cost more than they show


def test_a_plain_ppm_is_refused(tmp_path):
    (tmp_path / "plain.ppm").write_bytes(b"P3 1 1 255 " + b"#x\n" * 100 + b"1 2 3")
    with pytest.raises(ValueError, match=r"plain \(ASCII\) PPM; export it"):
        read_image(tmp_path / "plain.ppm")


def test_a_jpeg_of_many_scans_is_refused(tmp_path):
    Image.new("RGB", (16, 16), "red").save(tmp_path / "few.jpg", progressive=True)
    assert read_image(tmp_path / "few.jpg").shape == (1, 3, 16, 16)
    data = (tmp_path / "few.jpg").read_bytes()
    last = data.rindex(b"\xff\xda")
    (tmp_path / "many.jpg").write_bytes(data[:last] + data[last:-2] * 70 + data[-2:])
    with pytest.raises(ValueError, match="is a JPEG of more than 64 scans"):
        read_image(tmp_path / "many.jpg")


def test_a_png_that_cannot_hold_its_pixels_is_refused(tmp_path):
    (tmp_path / "short.png").write_bytes(png(5000, 5000, 8, 2, b"\0" * 100))
    with pytest.raises(ValueError, match="too short for 5000 x 5000 pixels"):
        read_image(tmp_path / "short.png")
    Image.new("1", (3000, 3000)).save(tmp_path / "flat.png", optimize=True)  # as short as can be
    assert read_image(tmp_path / "flat.png").max() == 0


def test_a_gif_of_a_huge_canvas_with_a_small_frame_is_refused(tmp_path):
    Image.new("L", (3000, 3000)).save(tmp_path / "flat.gif")
    assert read_image(tmp_path / "flat.gif").shape == (1, 3, 3000, 3000)
    Image.new("L", (10, 10)).save(tmp_path / "huge.gif")
    data = bytearray((tmp_path / "huge.gif").read_bytes())
    data[6:10] = (7000).to_bytes(2, "little") * 2
    (tmp_path / "huge.gif").write_bytes(data)
    with pytest.raises(ValueError, match="too short for 7000 x 7000 pixels"):
        read_image(tmp_path / "huge.gif")


@pytest.mark.skipif("AVIF" not in reading.READABLE, reason="this Pillow does not know AVIF")
def test_avif(tmp_path):
    Image.fromarray(CORNERS).resize((48, 32), 0).save(tmp_path / "a.avif", quality=95)
    assert np.abs(rgb(read_image(tmp_path / "a.avif"))[8, 8] - CORNERS[0, 0]).max() < 20


# --- what is in memory already


@pytest.mark.parametrize(
    "made",
    [
        Image.fromarray(CORNERS),
        CORNERS,
        CORNERS / np.float32(255),
        np.dstack([CORNERS, np.full((2, 3), 255, dtype=np.uint8)]),
    ],
)
def test_a_pillow_image_or_an_array_is_a_picture(made):
    np.testing.assert_allclose(rgb(picture_of(made)), CORNERS, atol=1e-3)


def test_arrays_of_greys_and_of_nothing_visible():
    assert torch.equal(picture_of(np.full((2, 3), 255, dtype=np.uint8)), torch.ones(1, 3, 2, 3))
    assert torch.equal(picture_of(np.zeros((2, 3, 4))), torch.ones(1, 3, 2, 3))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 8, 8)), r"shape \(3, 8, 8\); expected \(H, W\)"),
        (np.full((8, 8, 3), 255.0), "float64 from 255.0 to 255.0; expected uint8, or floats"),
        (np.zeros((8, 8, 3), dtype=np.int64), "int64 from 0 to 0"),
        (np.full((8, 8), np.nan), "from nan to nan"),
        (np.zeros((0, 8, 3)), "shape"),
    ],
)
def test_other_arrays_get_a_sentence(array, words):
    with pytest.raises(ValueError, match=words):
        picture_of(array)

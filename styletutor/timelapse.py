"""A film of a descent: GIF or WebP by Pillow, MP4 where imageio-ffmpeg is installed."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from styletutor.descent import Step
from styletutor.pictures.images import to_uint8
from styletutor.pictures.writing import try_writing, write_file

FORMATS = (".gif", ".webp", ".mp4")
RATE = 12  # frames per second
HOLD = 2.0  # seconds that the last frame stays


class Timelapse:
    """Give it as `on_step`; it keeps the best picture so far at the chosen evaluations.

    >>> film = st.Timelapse(spread(300, frames=40))
    >>> st.transfer(photo, style, on_step=film)
    >>> film.save("forming.gif")

    Of a batch the first picture is kept, 3 bytes for each of its pixels.
    """

    def __init__(self, evaluations: Iterable[int]) -> None:
        self.evaluations, self.frames = frozenset(evaluations), []

    def __call__(self, step: Step) -> None:
        if step.evaluation in self.evaluations:
            self.frames.append(to_uint8(step.best[:1].clamp(0, 1)))

    def save(self, path: str | Path) -> None:
        """Write the film, whole or not at all; coarse frames are enlarged to the last one's size.

        Raises ValueError for an unknown suffix or if there is no frame, ModuleNotFoundError for MP4
        without imageio-ffmpeg, and otherwise as `writing.try_writing`.
        """
        check_film(path)
        if not self.frames:
            raise ValueError("there is no frame to save; choose evaluations that the run reaches")
        height, width = self.frames[-1].shape[:2]
        pictures = [Image.fromarray(frame).resize((width, height)) for frame in self.frames]
        suffix = Path(path).suffix.lower()
        if suffix == ".mp4":
            write_file(path, _mp4(pictures))
            return
        data = io.BytesIO()
        durations = [round(1000 / RATE)] * (len(pictures) - 1) + [round(1000 * HOLD)]
        first, *others = pictures
        options = {"save_all": True, "append_images": others, "duration": durations, "loop": 0}
        options |= {"quality": 85} if suffix == ".webp" else {}
        first.save(data, suffix[1:], **options)
        write_file(path, data.getvalue())


def spread(evaluations: int, frames: int = 40) -> list[int]:
    """Numbers of evaluations from the first to the last, closer together at the start, where most
    happens; at most `frames` of them."""
    if frames < 2:
        raise ValueError(f"frames={frames}; a film needs at least 2")
    frames = min(frames, 2 * max(1, evaluations))  # more of them leave no evaluation out either
    shares = ((place / (frames - 1)) ** 2 for place in range(frames))
    return sorted({1 + round(share * (evaluations - 1)) for share in shares})


def check_film(path: str | Path) -> None:
    """Before long work, find out whether a film can be saved at `path`; raises as `save`."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path} is no film; expected a file name in {', '.join(FORMATS)}")
    if suffix == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"{path}: MP4 needs imageio-ffmpeg; pip install imageio-ffmpeg, or choose .webp"
            ) from None
    try_writing(path)


def _mp4(pictures: list[Image.Image]) -> bytes:
    import imageio_ffmpeg

    # The usual pixel format halves the colours' sides, so that these have to be even.
    width, height = (side + side % 2 for side in pictures[0].size)
    frames = [np.asarray(picture.resize((width, height))) for picture in pictures]
    frames += frames[-1:] * round(RATE * HOLD)
    handle, name = tempfile.mkstemp(suffix=".mp4")
    os.close(handle)
    try:
        writer = imageio_ffmpeg.write_frames(name, (width, height), fps=RATE, macro_block_size=2)
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        writer.close()
        return Path(name).read_bytes()
    finally:
        os.remove(name)

"""The paper's Figure 1 as one batch of ten, and as ten runs of our own."""

from __future__ import annotations

import styletutor as st
from benchmarks.setting import PAIRS, seconds
from styletutor.network.vgg import VGG
from styletutor.runs.reconstruct import CONTENT_LAYERS, STYLE_LAYERS


def measure(vgg: VGG, evaluations: int, side: int = 256) -> tuple[float, float]:
    """Seconds of the batch, and of the ten."""
    photo, art = (st.load_image(name, side).to(vgg.device) for name in PAIRS[0])
    how = {"vgg": vgg, "evaluations": evaluations, "progress": False}

    def one_by_one() -> None:
        for depth in range(5):
            st.reconstruct_content(photo, CONTENT_LAYERS[depth], **how)
            st.reconstruct_style(art, STYLE_LAYERS[: depth + 1], **how)

    batch = seconds(lambda: st.figure_one(photo, art, **how), vgg.device)
    return batch, seconds(one_by_one, vgg.device)

"""Takes the picture of the studio: `python docs/studio.py` writes docs/studio.jpg."""

import io
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import browser  # noqa: E402

SETUP = """
import styletutor as st
from styletutor import widgets
vgg = st.load_vgg("vgg19")
"""
PANEL = "panel = widgets.TransferStudio(vgg=vgg, size=512, evaluations=100)\npanel"
RUN = """
import time
board = panel.controls.board
panel.start().wait()
time.sleep(1)
panel.keep()
board.set_state({"values": {**board.values, "style": 0.7, "relu1_1": 0.4, "relu4_1": 2.0}})
panel.start().wait()
time.sleep(1)
panel.view.divider = 0.42
"""


def main() -> None:
    with browser.open_lab() as lab:
        lab.open(browser.write_notebook(lab.server.folder / "studio.ipynb", SETUP, PANEL))
        lab.run_all()
        lab.run_cell(RUN, timeout=1800)
        panel = lab.cell_output(1).locator(".jp-OutputArea-output")
        panel.scroll_into_view_if_needed()
        picture = Image.open(io.BytesIO(panel.screenshot()))
    picture.convert("RGB").save(ROOT / "docs" / "studio.jpg", quality=88)


if __name__ == "__main__":
    main()

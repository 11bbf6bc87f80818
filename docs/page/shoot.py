"""Takes the picture of the studio's page: `python docs/page/shoot.py` writes docs/page.jpg."""

import io
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
import browser  # noqa: E402

PAGE = ROOT / "site/studio/index.html"
HEIGHT, GAP = 800, 24
SCREENS = {"wide": (1320, "light"), "narrow": (360, "dark")}


def main() -> None:
    from playwright.sync_api import sync_playwright

    program = {"executable_path": browser.find_chromium(), "args": browser.FLAGS}
    with sync_playwright() as driver, driver.chromium.launch(**program) as chromium:
        shots = [shoot(chromium, name) for name in SCREENS]
    whole = Image.new("RGB", (sum(shot.width for shot in shots) + GAP, HEIGHT), "white")
    whole.paste(shots[0], (0, 0))
    whole.paste(shots[1], (shots[0].width + GAP, 0))
    whole.save(ROOT / "docs/page.jpg", quality=85)


def shoot(chromium, name: str) -> Image.Image:
    width, scheme = SCREENS[name]
    size = {"width": width, "height": HEIGHT}
    page = chromium.new_context(viewport=size, color_scheme=scheme).new_page()
    page.goto(PAGE.as_uri())
    page.wait_for_function("document.body.dataset.state === 'idle'")
    layers = ["relu2_1", "relu4_1", "relu5_1"] if name == "narrow" else [None]
    if name == "narrow":
        page.get_by_role("button", name="What does a layer keep?").click()
    else:
        page.get_by_role("slider", name="size", exact=True).fill("256")
    for layer in layers:
        if layer:
            page.locator(f"button[data-name={layer}]").click()
        page.get_by_role("button", name="Start", exact=True).click()
        done = "document.querySelector('.note').textContent === 'done'"
        page.wait_for_function(f"document.body.dataset.state === 'idle' && {done}", timeout=600_000)
        page.evaluate("document.querySelector('.note').textContent = ''")
    divider = page.get_by_role("slider", name="divider between the two pictures")
    divider.fill("0.31" if name == "wide" else "0")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main()

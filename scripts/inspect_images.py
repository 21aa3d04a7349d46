"""Make the pictures of docs/inspect.md: parts of the page of ``tiny-digits`` on a handwritten digit.

Needs Chromium with its chromedriver, and selenium.
"""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver

from vision_composer import compose, inspect_images, write_report
from vision_composer.demo.digits import PARTS, as_images, load_pixels

IMAGES = Path(__file__).resolve().parent.parent / "docs/images"
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1280,1200"),
)
PICTURES = {"inspect-half": ".diagrams", "inspect-image": ".tower"}
"""Name of the picture -> the part of the page that it shows."""
COLOURS = 128
MARGIN = 16


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digit.png"
        pixels, _ = load_pixels()
        as_images(pixels[PARTS["probe_test"]][3:4])[0].save(path)
        encoder = compose("tiny-digits", overrides=["select_layers=[-2,1]", "post_norm=none"])
        page = write_report(inspect_images(encoder, [path]), Path(folder) / "page.html")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for option in (*OPTIONS, f"--user-data-dir={folder}/profile"):
            options.add_argument(option)
        browser = webdriver.Chrome(
            options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
        )
        try:
            browser.get(page.as_uri())
            for name, part in PICTURES.items():
                box = browser.find_element("css selector", part).rect
                clip = {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN, "scale": 1}
                clip |= {side: box[side] + 2 * MARGIN for side in ("width", "height")}
                shot = browser.execute_cdp_cmd(
                    "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
                )
                content = io.BytesIO(base64.b64decode(shot["data"]))
                picture = Image.open(content).convert("RGB").quantize(COLOURS)
                picture.save(IMAGES / f"{name}.png", optimize=True)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()

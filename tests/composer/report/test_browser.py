"""The page in a real browser: its slider and switches work, it logs no error and asks for nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.images import noise_image
from support.tiled_vlm import TILED

from vision_composer import compose, inspect_images, write_report

pytestmark = pytest.mark.slow
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("there is no chromium with its chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    encoder = tiny.scramble(compose(TILED))
    inspection = inspect_images(encoder, [noise_image(100, 100), noise_image(60, 90)])
    return write_report(inspection, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The browser with the page, as wide as a desktop and light."""
    emulate(browser, 1280, "light")
    browser.get_log("performance")
    browser.get(page.as_uri())
    return browser


def emulate(browser: Any, width: int, theme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def shown(browser: Any) -> list[list[str]]:
    """The layers whose maps are seen, of every image."""
    layers: list[list[str]] = browser.execute_script(
        "return [...document.querySelectorAll('.tower')].map(t => [...new Set([...t.querySelectorAll('.map')]"
        ".filter(m => m.checkVisibility()).map(m => m.dataset.layer))])"
    )
    return layers


def test_the_keys_of_the_slider_move_the_picture_of_its_image_alone(opened: Any) -> None:
    assert shown(opened) == [["3"], ["3"]]
    slider = opened.find_element("css selector", ".layer")
    before = opened.find_element("css selector", ".now").get_attribute("transform")
    slider.send_keys("\ue012")  # left
    assert shown(opened) == [["2"], ["3"]]
    assert slider.get_attribute("aria-valuetext").startswith("2 of 3, not read")
    assert opened.find_element("css selector", "output").text.startswith("2 of 3, not read")
    frame = opened.find_element("css selector", ".features")
    assert frame.get_attribute("aria-label").endswith("hidden state 2")
    assert opened.find_element("css selector", ".now").get_attribute("transform") != before


@pytest.mark.parametrize(("switch", "what"), [("grid", ".grid"), ("tiles", ".tile")])
def test_switches_hide_the_patch_grid_and_the_tiles(opened: Any, switch: str, what: str) -> None:
    def seen() -> bool:
        drawn: bool = opened.find_element("css selector", what).is_displayed()
        return drawn

    box = opened.find_element("css selector", f"[data-switch={switch}]")
    assert seen()
    box.send_keys(" ")
    assert not seen()
    box.send_keys(" ")
    assert seen()


def test_the_theme_follows_the_system_until_it_is_switched(browser: Any, page: Path) -> None:
    def dark() -> bool:
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").rstrip(")").split(","))) < 300

    for theme in ("light", "dark"):
        emulate(browser, 1280, theme)
        browser.get(page.as_uri())
        button = browser.find_element("id", "theme")
        assert dark() == (theme == "dark")
        assert button.get_attribute("aria-pressed") == str(dark()).lower()
        button.send_keys("\n")
        assert dark() == (theme == "light")
        assert button.get_attribute("aria-pressed") == str(dark()).lower()


@pytest.mark.parametrize("width", [1280, 760, 390, 320])
def test_nothing_is_wider_than_the_window(browser: Any, page: Path, width: int) -> None:
    emulate(browser, width, "light")
    browser.get(page.as_uri())
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    maps = browser.execute_script(
        "return [...document.querySelectorAll('.frame')].map(f => f.getBoundingClientRect().width)"
    )
    assert min(maps) > 120


def test_it_logs_nothing_and_asks_for_nothing(opened: Any, page: Path) -> None:
    opened.find_element("css selector", ".layer").send_keys("\ue012")
    opened.find_element("id", "theme").click()
    assert opened.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requests = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [request["request"]["url"] for request in requests]
    assert [url for url in urls if not url.startswith("data:image/")] == [page.as_uri()]

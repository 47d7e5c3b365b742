"""Starts the Chromium that tests drive: without a window, without words to home, in a profile of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

DRIVER = "/usr/bin/chromedriver"
ARTEFACTS = Path(__file__).parent / "artefacts"
"""Where screenshots go, for people to look at; git does not keep them."""
_FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
_OFF = ("managed_default_content_settings.javascript", "default_content_setting_values.cookies")


def start(
    profile: Path,
    *,
    driver: str = DRIVER,
    bare: bool = False,
    languages: str = "en",
    flags: Sequence[str] = (),
) -> webdriver.Chrome:
    """Start Chromium with a folder for its profile; a ``bare`` one has neither scripts nor cookies."""
    options = Options()
    for flag in (*_FLAGS, f"--user-data-dir={profile}", *flags):
        options.add_argument(flag)
    prefs: dict[str, object] = {f"profile.{name}": 2 for name in _OFF} if bare else {}
    options.add_experimental_option("prefs", prefs | {"intl.accept_languages": languages})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.set_page_load_timeout(30)
    return chrome


def resize(chrome: webdriver.Chrome, width: int, height: int) -> None:
    """Give the browser a telephone's screen, or from 1000 pixels on a computer's."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 1000}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def painted(chrome: webdriver.Chrome) -> float:
    """Wait for the page's first paint, before which it takes neither keys nor clicks; return its time in ms."""
    first = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    return float(WebDriverWait(chrome, 20, 0.05).until(lambda _: chrome.execute_script(first)))


def too_wide(chrome: webdriver.Chrome) -> int:
    """Return by how many pixels the page is wider than the screen."""
    wider = "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
    return int(chrome.execute_script(wider))

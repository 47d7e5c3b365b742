"""Starts the Chromium that tests drive: without a window, without words to home, in a profile of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
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
    screen: tuple[int, int],
    *,
    driver: str = DRIVER,
    bare: bool = False,
    language: str = "en",
    hosts: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> webdriver.Chrome:
    """Start Chromium with a folder for its profile; a ``bare`` one has neither scripts nor cookies.

    Only the ``hosts`` are looked up: a browser that starts has errands of its own, and a guest's device
    may ask only so many questions before login.
    """
    options = Options()
    known = " , ".join(["MAP * ~NOTFOUND", *(f"EXCLUDE {host}" for host in hosts)])
    ours = [f"--user-data-dir={profile}", f"--accept-lang={language}", f"--host-resolver-rules={known}"]
    for flag in (*_FLAGS, *ours, *flags):
        options.add_argument(flag)
    if bare:
        options.add_experimental_option("prefs", {f"profile.{name}": 2 for name in _OFF})
    # To be told later, by resize(), a browser that has no page yet may take five seconds.
    metrics = _metrics(*screen) | {"pixelRatio": 1.0, "touch": False}
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.set_page_load_timeout(30)
    return chrome


def resize(chrome: webdriver.Chrome, width: int, height: int) -> None:
    """Take another screen."""
    metrics = _metrics(width, height) | {"deviceScaleFactor": 1}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _metrics(width: int, height: int) -> dict[str, object]:
    """Return a telephone's screen, or from 1000 pixels on a computer's."""
    return {"width": width, "height": height, "mobile": width < 1000}


def painted(chrome: webdriver.Chrome) -> float:
    """Wait for the page's first paint, before which it takes neither keys nor clicks; return its time in ms."""
    first = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    wait = WebDriverWait(chrome, 20, 0.05, ignored_exceptions=[WebDriverException])
    return float(wait.until(lambda _: chrome.execute_script(first)))


def too_wide(chrome: webdriver.Chrome) -> int:
    """Return by how many pixels the page is wider than the screen."""
    wider = "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
    return int(chrome.execute_script(wider))

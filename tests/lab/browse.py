"""A guest with a browser: Chromium inside the guest's namespace, closed and opened anew as phones do."""

from __future__ import annotations

import base64
import json
import shlex
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from portald.demo.lab import Host, LabError, until
from portald.demo.venue import PORTAL, SITE, Venue
from portald.web.catalogues import catalogue
from tests import chromium
from tests.lab_fixtures import inside

LEAVE = 'form[action="/leave"] button'


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What one guest brings along."""

    name: str
    number: str
    """As texts are sent to it."""
    language: str = "en"
    screen: tuple[int, int] = (320, 568)
    scripts: bool = True
    start: str = f"http://{SITE}/hotspot-detect.html"
    portal: str = f"http://{PORTAL}"
    flags: tuple[str, ...] = ()
    """Of Chromium, besides."""


class Browser:
    """The guest's browser.  Every page that is looked at must fit on the screen."""

    def __init__(self, guest: Guest, venue: Venue, phone: Host) -> None:
        self.guest, self._venue, self.phone = guest, venue, phone
        self._driver = venue.scratch / f"{phone.name}-chromedriver"
        self._driver.write_text(f'#!/bin/sh\nexec {shlex.join(phone.command(chromium.DRIVER))} "$@"\n')
        self._driver.chmod(0o755)
        self._profiles = 0
        self._texts = self.texts()
        self._start()

    def _start(self) -> None:
        self._profiles += 1
        profile: Path = self._venue.scratch / f"{self.phone.name}-profile-{self._profiles}"
        guest = self.guest
        self.chrome: webdriver.Chrome = chromium.start(
            profile,
            guest.screen,
            driver=str(self._driver),
            bare=not guest.scripts,
            language=guest.language,
            hosts=[urlsplit(url).hostname or "" for url in (guest.start, guest.portal)],
            flags=guest.flags,
        )

    # Getting about --------------------------------------------------------------------------

    def visit(self, url: str = "") -> None:
        """Go somewhere: the portal's own address, or from "/" on another page of it."""
        self.chrome.get(url if "://" in url else self.guest.portal + (url or "/"))

    def reopen(self, url: str = "") -> None:
        """Close the browser, lose everything it kept, and open it again."""
        self.chrome.quit()
        self._start()
        self.visit(url or self.guest.start)

    def look(self, step: str) -> str:
        """Wait for the page's first paint; return its words, and keep a picture of it."""
        chromium.painted(self.chrome)
        wider = chromium.too_wide(self.chrome)
        assert wider <= 0, f"{step} is {wider} px too wide"
        chromium.ARTEFACTS.mkdir(exist_ok=True)
        self.chrome.save_screenshot(str(chromium.ARTEFACTS / f"walk-{self.guest.name}-{step}.png"))
        return str(self.chrome.execute_script("return document.body.innerText"))

    def here(self, path: str) -> bool:
        return str(self.chrome.current_url) == self.guest.portal + path

    def find(self, css: str) -> list[WebElement]:
        return list(self.chrome.find_elements(By.CSS_SELECTOR, css))

    def until(self, true: Callable[[], object], complaint: str) -> None:
        """Wait for something on the page, which may be another at any moment."""

        def now() -> object:
            try:
                return true()
            except WebDriverException:
                return False

        try:
            until(now, complaint, 20)
        except LabError:
            words = self.chrome.execute_script("return document.body.innerText")
            raise AssertionError(f"{complaint}; on {self.chrome.current_url}:\n{words[:500]}") from None

    # Filling in forms -----------------------------------------------------------------------

    def paste(self, field: str, text: str) -> WebElement:
        """Put text into a field as the clipboard does, in one piece."""
        chromium.painted(self.chrome)
        element = self.chrome.find_element(By.ID, field)
        element.clear()
        element.click()
        self.chrome.execute_cdp_cmd("Input.insertText", {"text": text})
        return element

    def enter(self, element: WebElement) -> None:
        """Press Enter, and wait for the page that follows."""
        self.follow(lambda: element.send_keys(Keys.ENTER))

    def press(self, css: str = "button", times: int = 1) -> None:
        """Click, or double-click, and wait for the page that follows."""
        chromium.painted(self.chrome)
        button = self.chrome.find_element(By.CSS_SELECTOR, css)
        mouse = ActionChains(self.chrome)
        self.follow((mouse.click(button) if times == 1 else mouse.double_click(button)).perform)

    def follow(self, action: Callable[[], object]) -> None:
        """Do something, and wait until another page is there."""
        # Each document has a time of its own; an element of the old one may not even be asked after.
        born = "return document.readyState == 'complete' && performance.timeOrigin"
        before = self.chrome.execute_script(born)
        action()
        self.until(lambda: self.chrome.execute_script(born) not in (False, before), "nothing follows")

    # Whole steps ----------------------------------------------------------------------------

    def reaches_the_internet(self) -> bool:
        """Follow the telephone's own probe; tell whether Apple's page comes, from where it should."""
        url, chrome = self.guest.start, self.chrome
        self.visit(url)
        words = chrome.execute_script("return document.body.innerText")
        return (chrome.current_url, chrome.title, words) == (url, "Success", "Success")

    def log_out(self) -> None:
        self.visit()
        assert self.here("/status")
        self.press(LEAVE)
        assert self.says("You are logged out") in self.look("left")
        assert not self.reaches_the_internet()
        assert self.here("/")

    # What there is besides the browser ------------------------------------------------------

    def says(self, words: str, **values: str) -> str:
        """Return words of the pages in the guest's language."""
        return catalogue(self.guest.language).gettext(words) % values

    def texts(self) -> int:
        """Return how many texts have come to the guest's number."""
        return len([text for text in self._venue.texts() if text["to"] == self.guest.number])

    def code(self) -> str:
        """Wait for the text of this visit; return its code."""
        return self._venue.wait_for_text(self.guest.number, self._texts)


def trust(phone: Host, authority: Path) -> None:
    """Have the browsers of a telephone trust an authority, as a company's computers are told to."""
    policies = authority.parent / f"{phone.name}-chromium"
    (policies / "policies" / "managed").mkdir(parents=True)
    certificate = base64.b64encode(ssl.PEM_cert_to_DER_cert(authority.read_text())).decode()
    (policies / "policies" / "managed" / "authority.json").write_text(
        json.dumps({"CACertificates": [certificate]})
    )
    phone.run("mount", "--bind", str(policies), "/etc/chromium")


@contextmanager
def browsing(guest: Guest, venue: Venue, phone: Host) -> Iterator[Browser]:
    """Give a guest a browser, on a telephone in the lab."""
    with inside(phone):
        browser = Browser(guest, venue, phone)
        try:
            yield browser
        finally:
            browser.chrome.quit()

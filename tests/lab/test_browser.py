"""Real browsers inside the guest's namespace: led to the portal, signed in, on the internet, out again.

Each walk is another guest: language, screen, scripts, and the way numbers are typed. Pictures of every
step go to tests/artefacts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from selenium.webdriver.support.ui import Select

from portald.demo.lab import end
from portald.demo.venue import Venue
from tests import chromium
from tests.lab.browse import LEAVE, Browser, Guest, browsing
from tests.lab_fixtures import require_lab

pytestmark = [pytest.mark.lab, pytest.mark.browser]

TYPED = 'form[action="/number"] button'
RESTART = 'form[action="/restart"] button'
LIGHT = 30_000
"""Bytes of a page, as tests/web/test_look.py has it."""
SOON = 1000.0
"""Milliseconds to the first paint.  It is a tenth of that, where nobody else works on the machine."""

NEEDED = """
const first = performance.getEntriesByName("first-contentful-paint")[0].startTime;
return performance.getEntriesByType("resource").filter((each) => each.startTime < first)
  .map((each) => new URL(each.name).pathname);
"""
"""What was asked for before the first paint, besides the page."""

Walk = Callable[[Guest], AbstractContextManager[Browser]]


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    require_lab()
    with Venue() as built:
        built.start()
        yield built


@pytest.fixture
def walk(venue: Venue) -> Walk:
    """Let a guest come with a telephone of their own: one that was here before is welcomed back."""

    def come(guest: Guest) -> AbstractContextManager[Browser]:
        phone = venue.guest(guest.name)
        venue.lease(phone)
        return browsing(guest, venue, phone)

    return come


def language(browser: Browser) -> list[str]:
    return list(browser.chrome.execute_script("return [document.documentElement.lang, document.dir]"))


def focus(browser: Browser) -> str:
    return str(browser.chrome.execute_script("return document.activeElement.id"))


def alert(browser: Browser) -> str:
    return browser.find("[role=alert]")[0].text


def other(code: str) -> str:
    return "000000" if code != "000000" else "111111"


def test_closing_the_browser_loses_nothing(walk: Walk) -> None:
    """Without scripts and cookies, closed after every step, as phones do to show a text."""
    guest = Guest(name="closing", number="+4915123456789", scripts=False)
    with walk(guest) as browser:
        browser.visit(guest.start)
        assert chromium.painted(browser.chrome) < SOON
        # Browsers ask for the icon of their own accord, and wait for it with nothing.
        assert set(browser.chrome.execute_script(NEEDED)) <= {"/favicon.ico"}, (
            "the page is all that it takes"
        )
        page = browser.chrome.page_source.encode()
        assert len(page) < LIGHT
        browser.look("first")
        assert browser.here("/")
        assert browser.chrome.title == "Sign in – Café Aurora Wi-Fi"
        assert focus(browser) == "number"

        browser.enter(browser.paste("number", "12"))
        assert alert(browser) == "This is not a complete telephone number. Please check it."
        assert browser.find("#number")[0].get_attribute("value") == "12"
        browser.reopen()
        assert browser.here("/")

        browser.paste("number", "0151 23456789")
        browser.press(TYPED, times=2)
        browser.until(lambda: browser.find("#code"), "no code page")
        code = browser.code()
        browser.reopen()
        words = browser.look("code")
        assert browser.here("/code")
        assert focus(browser) == "code"
        assert "+49…89" in words
        assert "Wrong number? Use another one" in words
        (left,) = browser.find("time[data-left]")[:1]
        assert 0 < int(left.get_attribute("data-left") or 0) <= 300

        browser.enter(browser.paste("code", other(code)))
        browser.look("wrong")
        assert "4 tries left" in alert(browser)
        browser.reopen()
        assert browser.here("/code")
        browser.paste("code", f"{code[:3]} {code[3:]}")
        browser.press('form[action="/code"] button', times=2)
        browser.until(lambda: browser.find(LEAVE), "not online")
        assert "You are online" in browser.look("online")
        assert browser.here("/status")
        assert browser.texts() == 1, "two taps are one text"
        assert browser.reaches_the_internet()
        browser.reopen(guest.portal)
        assert browser.here("/status")
        browser.log_out()
        browser.reopen()
        assert browser.here("/")
        browser.press('form[action="/back"] button')
        browser.until(lambda: browser.find(LEAVE), "not online")
        assert "You are online" in browser.look("welcome-back")
        assert browser.texts() == 1
        browser.log_out()


def test_two_taps_and_the_way_back_do_no_harm(walk: Walk) -> None:
    guest = Guest(name="back", number="+4915123456781", language="de", screen=(390, 844))
    with walk(guest) as browser:
        browser.visit(guest.start)
        assert browser.says("Text me a code") in browser.look("first")
        assert language(browser) == ["de", "ltr"]
        browser.paste("number", " (0151) 234-567 81 ")
        browser.press(TYPED, times=2)
        browser.until(lambda: browser.find("#code"), "the page that waits does not go on by itself")
        code = browser.code()
        browser.chrome.back()
        browser.until(lambda: browser.find("#code"), "the way back does not lead to the code")
        assert browser.says("Type the code") in browser.look("back-at-the-code")

        def type_in(digits: str) -> None:
            """Type one digit after the other; the page sends them when they are enough."""
            browser.find("#code")[0].send_keys(digits)

        browser.follow(lambda: type_in(other(code)))
        assert browser.says("That is not the code we sent.") in browser.look("wrong")
        browser.follow(lambda: type_in(code))
        browser.until(lambda: browser.find(LEAVE), "not online")
        browser.chrome.back()
        browser.until(lambda: browser.find(LEAVE), "the way back is no page of ours")
        assert browser.texts() == 1
        assert browser.says("You are online") in browser.look("online")
        assert browser.reaches_the_internet()
        browser.chrome.back()
        browser.until(lambda: browser.find(LEAVE), "the way back is no page of ours")
        browser.press(LEAVE, times=2)
        assert browser.says("You are logged out") in browser.look("left")
        browser.chrome.back()
        browser.until(lambda: browser.find("#number"), "the way back is no page of ours")


def test_digits_of_another_script(walk: Walk) -> None:
    guest = Guest(name="digits", number="+4915123456782", language="ar", screen=(1280, 800))
    arabic = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
    with walk(guest) as browser:
        browser.visit(guest.start)
        assert browser.says("Welcome") in browser.look("first")
        assert language(browser) == ["ar", "rtl"]
        browser.enter(browser.paste("number", "0151 23456782".translate(arabic)))
        browser.until(lambda: browser.find("#code"), "no code page")
        assert browser.says("Type the code") in browser.look("code")
        browser.enter(browser.paste("code", browser.code().translate(arabic)))
        browser.until(lambda: browser.find(LEAVE), "not online")
        assert browser.says("You are online") in browser.look("online")
        assert browser.reaches_the_internet()
        browser.log_out()


def test_another_country_and_another_number(walk: Walk) -> None:
    guest = Guest(
        name="abroad", number="+33612345678", language="ja", screen=(390, 844), scripts=False
    )  # fmt: skip
    with walk(guest) as browser:
        browser.visit(guest.start)
        assert browser.says("Welcome") in browser.look("first")
        for country, number in (("JP", "090-1234-5678"), ("FR", "06 12 34 56 78")):
            Select(browser.find("#country")[0]).select_by_value(country)
            browser.enter(browser.paste("number", number))
            browser.until(lambda: browser.find("#code"), "no code page")
            if country == "JP":
                assert "+81…78" in browser.look("wrong-number")
                browser.press(RESTART)
                assert browser.here("/")
        assert "+33…78" in browser.look("code")
        browser.enter(browser.paste("code", browser.code()))
        browser.until(lambda: browser.find(LEAVE), "not online")
        assert browser.says("You are online") in browser.look("online")
        browser.log_out()


def test_terms_and_a_language_that_stays(walk: Walk, venue: Venue) -> None:
    guest = Guest(name="terms", number="+4915123456783", language="fr")
    terms = venue.scratch / "terms.txt"
    terms.write_text("Be kind to others.")
    settings = venue.config.read_text()
    venue.config.write_text(settings.replace("[[zones]]", f'[[zones]]\nterms = "{terms}"'))
    assert venue.daemon
    end(venue.daemon)
    venue.start_daemon()
    with walk(guest) as browser:
        browser.visit(guest.start)
        assert browser.here("/terms")
        assert browser.says("I agree") in browser.look("terms")
        assert language(browser) == ["fr", "ltr"]
        browser.find("footer summary")[0].click()
        browser.press("footer a[lang=tr]")
        assert language(browser) == ["tr", "ltr"]
        assert browser.here("/terms")
        assert json.loads(venue.ctl("consents", "--json")) == []
        browser.press('form[action="/agree"] button')
        assert browser.here("/")
        (consent,) = json.loads(venue.ctl("consents", "--json"))
        assert consent["mac"] == venue.mac(browser.phone)
        assert consent["words"] == "Be kind to others."
        assert language(browser) == ["tr", "ltr"]
        browser.enter(browser.paste("number", "+49 151 23456783"))
        browser.until(lambda: browser.find("#code"), "no code page")
        assert language(browser) == ["tr", "ltr"]
        browser.reopen()
        assert browser.here("/code")
        assert language(browser) == ["tr", "ltr"]
        # The link of a text sends its code by itself, and is no step on the way back.
        code = browser.code()
        browser.visit(f"/c/{other(code)}")
        browser.until(lambda: browser.here("/code"), "the link does not send its code")
        assert "Gönderdiğimiz kod bu değil." in browser.look("wrong")
        browser.chrome.back()
        browser.until(lambda: not browser.find(".bad"), "the code is sent once more")
        browser.visit(f"/c/{code}")
        browser.until(lambda: browser.find(LEAVE), "not online")
        browser.look("online")
        assert language(browser) == ["tr", "ltr"]
        assert browser.reaches_the_internet()

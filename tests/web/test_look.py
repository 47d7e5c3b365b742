"""Languages, themes, terms: what a zone's pages look like, and what guests agree to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from portald.colours import ENOUGH, Colour, contrast, ink, readable
from portald.config import Config, Numbers, Web
from portald.errors import ConfigError
from portald.languages import FROM_THE_RIGHT, NAMES
from portald.model import Client
from portald.returning import RETURNS
from portald.theme import STYLES, Theme
from portald.web import catalogues
from portald.web.preview import Preview, prove
from tests.conftest import NUMBER, Product
from tests.web.test_guest import Phone

MAC = "02:cc:00:00:00:01"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


@pytest.fixture
def make(make_product: Callable[..., Product], config: Config) -> Callable[..., Product]:
    def build(zone: dict[str, Any] | None = None, **changes: Any) -> Product:
        product = make_product(zones=(replace(config.zones[0], **zone or {}),), **changes)
        product.table.join("10.77.0.11", MAC)
        return product

    return build


@pytest.fixture
def browser(product: Product, phone: Client) -> Phone:
    return Phone(product)


# Languages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", NAMES)
def test_the_page_speaks_the_browsers_language(browser: Phone, language: str) -> None:
    page = browser.get("/", **{"Accept-Language": f"{language}, en;q=0.5"}).text
    direction = "rtl" if language in FROM_THE_RIGHT else "ltr"
    assert f'<html lang="{language}" dir="{direction}">' in page
    assert ("Text me a code" in page) == (language == "en")
    assert f">{NAMES[language]}</a>" not in page, "one need not switch to where one is"
    assert page.count("?language=") == len(NAMES) - 1


def test_the_switch_is_remembered_without_a_cookie(browser: Phone, product: Product) -> None:
    answer = browser.get("/?language=fr&other", **{"Accept-Language": "de"})
    assert (answer.status_code, answer.location) == (303, "/?other")
    assert '<html lang="fr"' in browser.get("/", **{"Accept-Language": "de"}).text
    assert '<html lang="fr"' in browser.ask("12").text
    browser.ask()
    assert '<html lang="fr"' in browser.get("/code").text
    assert product.outbox.sent[-1].language == "fr", "and the text is in it, if there is one"
    other = product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    assert '<html lang="en"' in Phone(product, other.ip).get("/").text


@pytest.mark.parametrize("wanted", ["tlh", "", "../de", "de" * 500])
def test_a_language_that_there_is_not(browser: Phone, wanted: str) -> None:
    assert '<html lang="en"' in browser.get(f"/?language={wanted}").text


def test_the_venue_chooses_the_languages(make: Callable[..., Product]) -> None:
    browser = Phone(make(web=Web(languages=("de", "tr"))))
    page = browser.get("/", **{"Accept-Language": "en"}).text
    assert '<html lang="de"' in page
    assert re.findall(r"language=(\w+)", page) == ["tr"]
    with pytest.raises(ConfigError, match="languages: expected en or"):
        Web(languages=("xx",))


def test_who_is_refused_reads_why_in_their_language(product: Product) -> None:
    page = Phone(product, "10.77.0.99").get("/", **{"Accept-Language": "de"})
    assert page.status_code == 403
    assert '<html lang="de"' in page.text
    assert "Your device" not in page.text


def test_the_choices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from portald.web import catalogues

    monkeypatch.setattr(catalogues, "MOST_CHOICES", 2)
    choices = catalogues.Choices()
    for mac in ("a", "b", "c"):
        choices.set(mac, "de")
    assert [choices.get(mac) for mac in ("a", "b", "c")] == ["", "de", "de"]


@pytest.mark.parametrize("path", ["/%09/evil.example/", "/%0d/evil.example/", "/%0a/x", "//evil.example/"])
def test_the_switch_leads_nowhere_else(browser: Phone, path: str) -> None:
    location = browser.get(f"{path}?language=de").location
    assert urlsplit(urljoin("http://10.77.0.1/", location)).netloc == "10.77.0.1"


def test_only_so_many_languages_are_looked_at(browser: Phone) -> None:
    page = browser.get("/", **{"Accept-Language": "xx," * 200 + "de"}).text
    assert '<html lang="en"' in page


# Countries ----------------------------------------------------------------------------------


def test_a_guest_from_abroad_chooses_the_country(make: Callable[..., Product]) -> None:
    product = make(numbers=Numbers(country="DE"))
    browser = Phone(product)
    page = browser.get("/").text
    first, second = re.findall(r'<option value="(\w\w)"', page)[:2]
    assert (first, second) == ("DE", "AF")
    assert '<option value="DE" selected>Germany +49</option>' in page
    answer = browser.post("/number", form=browser.form, number="06 12 34 56 78", country="FR")
    assert answer.location == "/code"
    assert product.outbox.texts[0][0] == "+33612345678"


@pytest.mark.parametrize(
    ("typed", "country", "number"),
    [
        ("٠١٥١ ٢٣٤٥ ٦٧٨٩", "", "+4915123456789"), ("۰۱۵۱۲۳۴۵۶۷۸۹", "DE", "+4915123456789"),
        ("+33 6 12 34 56 78", "DE", "+33612345678"), ("0033 612345678", "DE", "+33612345678"),
        ("(0151) 234-56789", "", "+4915123456789"), ("0151 23456789", "xx", "+4915123456789"),
        ("\u202d+49 151 23456789\u202c", "", "+4915123456789"), ("tel:+4915123456789", "", "+4915123456789"),
    ],
)  # fmt: skip
def test_numbers_as_people_paste_them(
    make: Callable[..., Product], typed: str, country: str, number: str
) -> None:
    product = make(numbers=Numbers(country="DE"))
    browser = Phone(product)
    browser.post("/number", form=browser.form, number=typed, country=country)
    assert [to for to, _ in product.outbox.texts] == [number]


def test_a_mistake_keeps_the_country(browser: Phone) -> None:
    page = browser.post("/number", form=browser.form, number="12", country="FR").text
    assert '<option value="FR" selected>' in page


@pytest.mark.parametrize(("allowed", "offered"), [(("US",), 0), (("US", "CA"), 2), (("CA",), 0)])
def test_only_welcome_countries_are_offered(
    make: Callable[..., Product], allowed: tuple[str, ...], offered: int
) -> None:
    page = Phone(make(numbers=Numbers(country="US", allowed=allowed))).get("/").text
    assert len(re.findall(r'<option value="\w\w"', page)) == offered


# Themes -------------------------------------------------------------------------------------


def test_a_zone_has_its_own_look(make: Callable[..., Product], tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text(SVG)
    theme = Theme(
        style="paper", name="Rooftop", logo=tmp_path / "logo.svg", colour=Colour("#f00"), link="https://menu.example/",
        texts={"any": {"welcome": "Ahoy <b>"}, "de": {"intro": "Moin", "online": "Viel Spaß", "footer": "Kiel"}},
    )  # fmt: skip
    product = make({"theme": theme}, theme=Theme(style="night", band=Colour("#123456")))
    browser = Phone(product)
    page = browser.get("/", **{"Accept-Language": "de"}).text
    assert "<title>" in page
    assert "– Rooftop</title>" in page
    assert "Ahoy &lt;b&gt;" in page
    assert "Moin" in page
    assert "Kiel" in page
    assert "--band:#123456" in page, "what the zone does not say comes from the table for all"
    assert "Georgia" in page, "the style is the zone's own"
    assert '<img src="/theme/logo" alt="Rooftop">' in page
    picture = browser.get("/theme/logo")
    assert (picture.text, picture.mimetype) == (SVG, "image/svg+xml")
    assert picture.headers["Cache-Control"] == "private, max-age=3600"
    assert "default-src 'none'" in picture.headers["Content-Security-Policy"], "an SVG is a document too"
    assert browser.get("/theme/background").status_code == 404
    product.log_in(product.table.clients["10.77.0.11"])
    page = browser.get("/status", **{"Accept-Language": "de"}).text
    assert 'href="https://menu.example/"' in page
    assert "Viel Spaß" in page


def test_without_settings_nothing_changes(browser: Phone) -> None:
    page = browser.get("/").text
    assert "Welcome" in page
    assert "– Lobby Wi-Fi</title>" in page
    assert browser.get("/theme/logo").status_code == 404
    assert browser.get("/theme/../portald.key").status_code == 404


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"style": "loud"}, "style: expected harbour or"), ({"logo": Path("x.exe")}, "logo: expected one of"),
        ({"link": "javascript:alert(1)"}, "link: expected http"), ({"texts": {"de": {"hello": "x"}}}, "texts.de: expected"),
        ({"texts": {"xx": {"welcome": "Hi"}}}, "texts: "),
    ],
)  # fmt: skip
def test_themes_that_cannot_be(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Theme(**settings)


@pytest.mark.parametrize("colour", ["#fff", "#000", "#ffcc00", "#0b6b63", "#777777", "#00f", "#F0F"])
def test_any_colour_can_be_read(colour: str) -> None:
    for ground in ("#ffffff", "#f3ede0", "#242d38", "#000000"):
        shade = readable(Colour(colour), ground)
        assert contrast(shade, ground) >= ENOUGH
        assert contrast(ink(shade), shade) >= ENOUGH


@pytest.mark.parametrize("colour", ["red", "#12", "#12345g", "url(x)", "#fff;}"])
def test_what_is_no_colour(colour: str) -> None:
    with pytest.raises(ValueError, match="expected a colour"):
        Colour(colour)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_an_operators_templates_come_first(config: Config, tmp_path: Path) -> None:
    (tmp_path / "guest").mkdir()
    (tmp_path / "guest/left.html").write_text(
        "{% extends 'guest/page.html' %}{% block main %}Bye!{% endblock %}"
    )
    pages = dict(Preview(config, own=tmp_path).pages(config.zones[0], "en"))
    assert "Bye!" in pages["left"]
    assert "Bye!" not in pages["online"]
    (tmp_path / "guest/left.html").write_text("{{ nothing.like.this }}")
    with pytest.raises(ConfigError, match=r"left\.html:1: 'nothing' is undefined"):
        list(Preview(config, own=tmp_path).pages(config.zones[0], "en"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('msgid "Sign in"\nmsgstr "Hereinspaziert"', None),
        ('msgid "Sign in"\nmsgstr "Herein"spaziert"', r"de\.po: "),
        ('msgid "Step %(done)s of %(all)s"\nmsgstr "%(dnoe)s/%(all)s"', r"words in 'de': 'dnoe'"),
    ],
)
def test_an_operators_words_come_first(
    config: Config, own_words: Path, written: str, said: str | None
) -> None:
    (own_words / "de.po").write_text(
        f'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n{written}\n'
    )
    if said is None:
        prove(config)
        pages = dict(Preview(config).pages(config.zones[0], "de"))
        assert "Hereinspaziert" in pages["first"]
        assert "Handynummer" in pages["first"]
    else:
        with pytest.raises(ConfigError, match=said):
            prove(config)


def test_own_words_that_no_page_says_are_named(own_words: Path) -> None:
    words = 'msgid "Sign in"\nmsgstr "Schön herein"\n\nmsgid "Sign inn"\nmsgstr "x"\n\nmsgid "Menu"\nmsgstr "y"\n'
    (own_words / "de.po").write_text(words, "utf-8")
    (own_words / "mine.html").write_text('{{ _("Menu") }}')
    assert list(catalogues.strangers(["en", "de"], own_words)) == [
        f"{own_words}/de.po:4: no page says 'Sign inn'"
    ]
    made = catalogues.written(own_words, "de")
    assert made, "without a header as well"
    assert made.gettext("Sign in") == "Schön herein"


@pytest.mark.parametrize("language", NAMES)
def test_every_page_in_every_state_is_light(config: Config, language: str) -> None:
    """Under 30 kB on the wire, nothing from outside, and in the language from end to end."""
    english = {} if language == "en" else dict(Preview(config).pages(config.zones[0], "en"))
    for style in STYLES if language == "en" else STYLES[:1]:
        for name, page in Preview(config).pages(config.zones[0], language, Theme(style=style)):
            assert len(page.encode()) < 30_000, (name, len(page.encode()))
            assert not re.search(r'(src|href|action)="(?!/|\?language=|data:,")', page), name
            if language != "en":
                title = re.search(r"<title>(.*?) –", page)
                assert title
                assert f"<title>{title[1]} –" not in english[name] or name == "voucher", (
                    f"{name} is not translated"
                )


# Terms --------------------------------------------------------------------------------------


@pytest.fixture
def agreeing(make: Callable[..., Product], tmp_path: Path) -> Product:
    (tmp_path / "terms.txt").write_text("Be kind <to> others.\n")
    (tmp_path / "terms.de.txt").write_text("Seien Sie nett.\n")
    (tmp_path / "privacy.txt").write_text("We keep little.\n")
    return make(
        {"terms": tmp_path / "terms.txt", "privacy": tmp_path / "privacy.txt", "ways": ("voucher",)}
    )


def agree(browser: Phone, language: str = "en") -> Any:
    page = browser.get("/terms", **{"Accept-Language": language}).text
    version = re.search(r'name="version" value="(\w+)"', page)
    form = re.search(r'name="form" value="(\w+)"', page)
    assert version
    assert form
    return browser.post("/agree", form=form[1], version=version[1])


def test_nothing_before_the_terms(agreeing: Product) -> None:
    browser = Phone(agreeing)
    assert "This code is for another device" in browser.get("/c/123456").text, "which needs no consent"
    for path in ("/", "/code", "/voucher"):
        assert browser.get(path).location == "/terms", path
    page = browser.get("/terms").text
    assert "Be kind &lt;to&gt; others." in page
    assert "We keep little." in page
    form = re.search(r'name="form" value="(\w+)"', page)
    assert form
    for path in ("/number", "/voucher", "/back", "/code"):
        assert browser.post(path, form=form[1], number=NUMBER).location == "/terms", path
    assert agreeing.outbox.texts == []
    assert agree(browser).location == "/"
    assert browser.get("/").status_code == 200
    assert browser.ask().location == "/code"
    (consent,) = agreeing.arranging.consents()
    assert (consent.mac, consent.zone, consent.at) == (MAC, "guest", agreeing.clock())
    assert consent.words == "Be kind <to> others.\n\nWe keep little."


def test_the_terms_stay_readable(agreeing: Product) -> None:
    browser = Phone(agreeing)
    agree(browser, "de")
    page = browser.get("/").text
    assert 'href="/terms"' in page
    assert 'href="/privacy"' in page
    assert "Be kind" in browser.get("/terms").text
    assert "We keep" not in browser.get("/terms").text
    assert "I agree" not in browser.get("/terms").text
    assert "Seien Sie nett" in browser.get("/terms", **{"Accept-Language": "de"}).text
    assert "We keep" in browser.get("/privacy").text
    assert "Seien Sie nett" in agreeing.arranging.consents()[0].words, "what was read is what was agreed to"


def test_new_terms_are_agreed_to_anew(agreeing: Product) -> None:
    browser = Phone(agreeing)
    agree(browser)
    terms = agreeing.config.zones[0].terms
    assert terms
    terms.write_text("Be kinder.")
    terms.with_suffix(".de.txt").unlink()
    again = Phone(agreeing)
    assert again.get("/").location == "/terms"
    assert "Be kinder." in again.get("/terms").text
    assert agree(again).location == "/"
    assert len(agreeing.arranging.consents()) == 2


@pytest.mark.parametrize("version", ["", "0" * 16, "x" * 5000])
def test_words_that_were_never_shown(agreeing: Product, version: str) -> None:
    browser = Phone(agreeing)
    form = re.search(r'name="form" value="(\w+)"', browser.get("/terms").text)
    assert form
    answer = browser.post("/agree", form=form[1], version=version)
    assert answer.status_code == 409
    assert 'role="alert"' in answer.text
    assert agreeing.arranging.consents() == []


def test_who_is_online_is_not_stopped(agreeing: Product) -> None:
    agreeing.log_in(agreeing.table.clients["10.77.0.11"])
    assert Phone(agreeing).get("/status").status_code == 200


def test_consents_go_with_the_sessions(agreeing: Product) -> None:
    agree(Phone(agreeing))
    session = agreeing.log_in(agreeing.table.clients["10.77.0.11"])
    now = agreeing.clock()
    agreeing.store.forget(now + 1, now + 1)
    assert len(agreeing.arranging.consents()) == 1, "its session is live"
    agreeing.portal.revoke(session.id)
    agreeing.store.forget(now + 1, now + 1)
    assert agreeing.arranging.consents() == []
    assert agreeing.store.connection.execute("SELECT count(*) FROM terms").fetchone()[0] == 0


def test_without_terms_there_is_no_page(browser: Phone) -> None:
    assert browser.get("/terms").status_code == 404
    assert browser.post("/agree", form=browser.form, version="").status_code == 404


@pytest.mark.parametrize("text", [None, "", "x" * 100_001, b"\xff\xfe"])
def test_documents_that_cannot_be_shown(make: Callable[..., Product], tmp_path: Path, text: Any) -> None:
    path = tmp_path / "terms.txt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=r"zones: terms: .*terms\.txt"):
        make({"terms": path}).web()


# The link in the text -----------------------------------------------------------------------


def test_the_link_fills_the_code_in_and_changes_nothing(browser: Phone, product: Product) -> None:
    browser.ask()
    code = product.outbox.code()
    page = browser.get(f"/c/{code}")
    assert page.status_code == 200
    assert f'name="code" value="{code}"' in page.text
    assert product.portal.sessions() == [], "who looks ahead opens links too"
    assert browser.post("/code", form=browser.form, code=code).location == "/status"
    assert browser.get(f"/c/{code}").location == "/status"


def test_the_link_on_another_device_opens_nothing(browser: Phone, product: Product) -> None:
    browser.ask()
    product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    other = Phone(product, "10.77.0.12")
    page = other.get(f"/c/{product.outbox.code()}").text
    assert "Type it on the device that asked for it" in page
    assert 'name="form"' not in page
    assert product.portal.sessions() == []


@pytest.mark.parametrize("code", ["<script>", "1", "12345678901", "12%2034", "١٢٣٤٥٦"])
def test_links_that_are_none_of_ours(browser: Phone, code: str) -> None:
    assert browser.get(f"/c/{code}").location == "/"


# Pages that change by themselves ------------------------------------------------------------


def test_a_page_that_waits_learns_what_has_come_of_it(product: Product, browser: Phone) -> None:
    def state() -> str:
        return browser.get("/state").json["state"]  # type: ignore[index,no-any-return]

    assert state() == "none"
    product.paused = True
    browser.ask()
    waiting = state()
    assert f'data-state="{waiting}"' in browser.get("/code").text
    product.send_waiting()
    sent = state()
    assert sent != waiting
    assert f'data-state="{sent}"' in browser.get("/code").text
    browser.post("/code", form=browser.form, code=product.outbox.code())
    assert state() == "online"


def test_what_changes_while_the_page_is_made_is_not_missed(
    product: Product, browser: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.paused = True
    browser.ask()
    carrier = product.portal.carrier

    def meanwhile(name: str) -> Any:
        product.send_waiting()
        return carrier(name)

    monkeypatch.setattr(product.portal, "carrier", meanwhile)
    page = browser.get("/code").text
    assert "Sending your code" in page
    state = browser.get("/state").json["state"]  # type: ignore[index]
    assert state.startswith("sent")
    assert f'data-state="{state}"' not in page


# More time ----------------------------------------------------------------------------------


def test_a_session_is_extended_as_often_as_one_may_come_back(product: Product, browser: Phone) -> None:
    product.arranging.set_plan("unlimited", {"session": "1h", "remember": "2h"})
    product.log_in(product.table.clients["10.77.0.11"])
    product.clock.move(3000)
    product.rounds.round()
    assert "Stay online longer" in browser.get("/status").text
    form = browser.form
    for _ in range(3):  # the third tap gives no more than the first
        assert browser.post("/extend", form=form).location == "/status"
    product.rounds.round()
    (session,) = product.portal.sessions()
    assert product.portal.time_left(session) == 3600
    product.clock.move(3599)
    browser.post("/extend", form=form)
    product.rounds.round()
    assert product.portal.time_left(product.portal.sessions()[0]) == 3600
    product.clock.move(602)  # the proof is older than two hours now
    assert "Stay online longer" not in browser.get("/status").text
    assert browser.post("/extend", form=form).status_code == 403


def test_nobody_keeps_the_rounds_busy_by_staying_longer(product: Product, browser: Phone) -> None:
    product.arranging.set_plan("unlimited", {"session": "1h"})
    product.log_in(product.table.clients["10.77.0.11"])
    form, answers = browser.form, []
    for _ in range(RETURNS + 2):
        product.clock.move(1)
        answers.append(browser.post("/extend", form=form).status_code)
    assert answers == [303] * RETURNS + [503] * 2
    assert product.portal.sessions()[0].extra == RETURNS


@pytest.mark.parametrize(
    "plan", [{}, {"session": "1h", "again_after": "1d"}, {"session": "1h", "remember": "0s"}]
)
def test_where_one_may_not_stay_longer(product: Product, browser: Phone, plan: dict[str, str]) -> None:
    product.arranging.set_plan("unlimited", plan)
    product.log_in(product.table.clients["10.77.0.11"])
    assert "Stay online longer" not in browser.get("/status").text
    assert browser.post("/extend", form=browser.form).status_code == 403
    assert product.portal.sessions()[0].extra == 0

"""The languages of the pages: nothing is missing, nothing is broken, nothing is left over."""

from __future__ import annotations

import json
import re
from gettext import c2py  # type: ignore[attr-defined]

import pytest
from babel import Locale
from babel.messages import Catalog

from portald.display import amount, wait
from portald.languages import FROM_THE_RIGHT, NAMES, best
from portald.web.catalogues import catalogue, countries
from tests import catalogues

PLACE = re.compile(r"%\(\w+\)s|%%|<[^>]+>")


@pytest.mark.parametrize("language", catalogues.TRANSLATED)
def test_every_word_is_translated_with_its_places(language: str) -> None:
    wanted = {
        (m.context, m.id if isinstance(m.id, str) else m.id[0]): m for m in catalogues.words() if m.id
    }
    found = catalogues.catalogue(language)
    plurals = Catalog(Locale.parse(language)).num_plurals
    assert {(entry.msgctxt, entry.msgid) for entry in found} == wanted.keys()
    for entry in found:
        assert not entry.fuzzy, entry.msgid
        forms = list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]
        assert len(forms) == (plurals if entry.msgid_plural else 1), entry.msgid
        for form in forms:
            assert form.strip() == form, entry.msgid
            assert form, f"{language}: {entry.msgid!r} is not translated"
            # "One try" may do without its number; no other place may be lost, and none come up.
            places, given = set(PLACE.findall(entry.msgid)), set(PLACE.findall(form))
            assert given == places or (entry.msgid_plural and given <= places), f"{language}: {form!r}"


@pytest.mark.parametrize("language", catalogues.TRANSLATED)
def test_the_plural_rule_is_that_of_the_language(language: str) -> None:
    rule = catalogues.catalogue(language).metadata["Plural-Forms"].split("plural=")[-1].rstrip(";")
    forms: dict[str, set[int]] = {}
    for n in range(1, 200):  # of nothing, both "0 minute" and "0 minutes" are said
        forms.setdefault(Locale.parse(language).plural_form(n), set()).add(c2py(rule)(n))
    assert all(len(form) == 1 for form in forms.values()), forms


def test_english_is_what_the_templates_say() -> None:
    assert catalogue("en").gettext("Go online") == "Go online"
    assert not (catalogues.LOCALE / "en.po").exists()
    assert {path.stem for path in catalogues.LOCALE.glob("*.po")} == set(catalogues.TRANSLATED)


def test_countries_are_those_of_cldr() -> None:
    assert json.loads((catalogues.LOCALE / "countries.json").read_text()) == catalogues.countries()
    assert countries("de")["AT"] == "Österreich"


def test_names_and_directions_are_those_of_cldr() -> None:
    for language, name in NAMES.items():
        locale = Locale.parse(language)
        assert name.lower() == (locale.get_language_name(language) or "").lower()
        assert (locale.text_direction == "rtl") == (language in FROM_THE_RIGHT)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (["de-CH", "en"], "de"), (["gsw", "fr"], "fr"), (["zh-Hant-TW"], "zh"), (["pt-BR", "pt"], "pt"),
        (["iw"], "he"), (["sv"], None), ([], None), (["*"], None), (["en-GB", "de"], "en"), (["uk_UA"], "uk"),
    ],
)  # fmt: skip
def test_the_guests_language(accepted: list[str], language: str | None) -> None:
    assert best(accepted, NAMES) == language


def test_times_and_amounts_in_other_languages() -> None:
    assert wait(300, catalogue("de")) == "5 Minuten"
    assert wait(1, catalogue("de")) == "1 Sekunde"
    assert [wait(n, catalogue("ru")) for n in (61, 62, 65)] == ["61 секунда", "62 секунды", "65 секунд"]
    assert amount(1_500_000, catalogue("de")) == "1,5 MB"
    assert amount(1_500_000, catalogue("en")) == "1.5 MB"

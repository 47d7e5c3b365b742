"""The catalogues' workshop: ``python -m tests.catalogues`` brings portald/locale up to date.

New words come in without a translation, which a test then asks for; words that no page uses go.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import phonenumbers
import polib
from babel import Locale
from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from portald.languages import NAMES

ROOT = Path(__file__).parent.parent
LOCALE = ROOT / "portald/locale"
# What is in the templates is English; all others are translated.
TRANSLATED = [language for language in NAMES if language != "en"]


def words() -> Catalog:
    """Return every word of the guests' pages, in the order of the files."""
    found = Catalog()
    sources = [("templates", [("guest/**.html", "jinja2")]), ("portald", [("display.py", "python")])]
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
    options = {"guest/**.html": {"silent": "false", "newstyle_gettext": "true"}}
    for folder, methods in sources:
        for file, _, message, _, context in extract_from_dir(
            ROOT / folder, methods, options_map=options, keywords=keywords, comment_tags=()
        ):
            found.add(message, context=context, locations=[(file, 0)])
    return found


def catalogue(language: str) -> polib.POFile:
    return polib.pofile(str(LOCALE / f"{language}.po"))


def bring_up_to_date(language: str) -> None:
    """Add the words that a catalogue lacks, and drop those that it has for nothing."""
    buffer = io.BytesIO()
    write_po(buffer, words(), no_location=True, omit_header=True)
    template = polib.pofile(buffer.getvalue().decode())
    path = LOCALE / f"{language}.po"
    had = {(e.msgctxt, e.msgid): e for e in catalogue(language)} if path.exists() else {}
    made = polib.POFile(wrapwidth=108)
    plurals = Catalog(Locale.parse(language)).plural_forms
    made.metadata = {
        "Language": language, "MIME-Version": "1.0", "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit", "Plural-Forms": plurals,
    }  # fmt: skip
    for entry in template:
        old = had.get((entry.msgctxt, entry.msgid))
        if old is not None:
            entry.msgstr, entry.msgstr_plural = old.msgstr, old.msgstr_plural
        if entry.msgid_plural and not (old and old.msgstr_plural):
            count = Catalog(Locale.parse(language)).num_plurals
            entry.msgstr_plural = dict.fromkeys(range(count), "")
        made.append(entry)
    made.save(str(path))


def countries() -> dict[str, dict[str, str]]:
    """Return the names of every country that has telephone numbers, in every language, from CLDR."""
    codes = sorted(phonenumbers.SUPPORTED_REGIONS)
    return {
        language: {code: name for code in codes if (name := Locale.parse(language).territories.get(code))}
        for language in NAMES
    }


if __name__ == "__main__":
    (LOCALE / "countries.json").write_text(json.dumps(countries(), ensure_ascii=False, indent=0) + "\n")
    for each in TRANSLATED:
        bring_up_to_date(each)

"""The languages of the guests' pages: gettext catalogues, and which of them a request gets.

``portald/locale/de.po`` is a language; an operator's own, in ``/etc/portald/locale``, comes before
ours.  English is in the templates themselves.
"""

from __future__ import annotations

import functools
import io
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

import polib
from flask import Flask, g, request

from portald import phone
from portald.config import Numbers
from portald.display import amount, wait
from portald.errors import ConfigError
from portald.languages import FROM_THE_RIGHT, best
from portald.system import our_files

log = logging.getLogger(__name__)

OWN = Path("/etc/portald/locale")
MOST_CHOICES = 10_000


class Choices:
    """Which language a device has asked for by the switch; only here, as phones drop cookies."""

    def __init__(self) -> None:
        self._chosen: OrderedDict[str, str] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, mac: str) -> str:
        return self._chosen.get(mac, "")

    def set(self, mac: str, language: str) -> None:
        with self._turn:
            self._chosen[mac] = language
            self._chosen.move_to_end(mac)
            if len(self._chosen) > MOST_CHOICES:
                self._chosen.popitem(last=False)


def negotiate(offered: Sequence[str]) -> str:
    """Return the language that the request's browser prefers among those offered, the first if none."""
    return best(request.accept_languages.values(), offered) or offered[0]


@functools.cache
def catalogue(language: str) -> NullTranslations:
    """Return a language's words, an operator's own before ours."""
    words = NullTranslations()
    for folder in (our_files("locale"), OWN):
        try:
            made = written(folder, language)
        except ConfigError as error:
            log.error("event=catalogue_unreadable error=%s", error)
            continue
        if made is not None:
            made.add_fallback(words)
            words = made
    return words


def written(folder: Path, language: str) -> GNUTranslations | None:
    """Read a folder's catalogue of a language, ``None`` if it has none; raise ``ConfigError``."""
    path = folder / f"{language}.po"
    try:
        if not path.is_file():
            return None
        words = polib.pofile(str(path))
        # What polib has read without being told of a character set is UTF-8.
        words.metadata.setdefault("Content-Type", f"text/plain; charset={words.encoding}")
        return GNUTranslations(io.BytesIO(words.to_binary()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def strangers(languages: Sequence[str], templates: Path) -> Iterator[str]:
    """Yield where an operator's own catalogues have words that no page says, and no template of theirs."""
    ours = {entry.msgid for entry in polib.pofile(str(our_files("locale") / "de.po"))}
    theirs = "".join(path.read_text("utf-8", "replace") for path in sorted(templates.rglob("*.html")))
    for path in (OWN / f"{language}.po" for language in languages):
        for entry in polib.pofile(str(path)) if path.is_file() else ():
            if (
                not entry.obsolete
                and entry.msgid not in ours
                and (not entry.msgid or entry.msgid not in theirs)
            ):
                yield f"{path}:{entry.linenum}: no page says {entry.msgid!r}"


@functools.cache
def countries(language: str) -> Mapping[str, str]:
    """Return the countries' names by ISO code, from CLDR."""
    names: dict[str, dict[str, str]] = json.loads((our_files("locale") / "countries.json").read_bytes())
    return names[language]


def choices(language: str, numbers: Numbers) -> list[tuple[str, str, str]]:
    """Return the countries to choose from: code, name, calling code; none if there is but one."""
    names, (first, *others) = countries(language), phone.countries(numbers)
    found = [first, *sorted(others, key=lambda code: names.get(code, code))]
    return [(code, names.get(code, code), phone.calling_code(code)) for code in found] if others else []


def speak(app: Flask) -> None:
    """Let an application's templates speak the language in ``g.language``."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        lambda text: _words().gettext(text),
        lambda one, many, n: _words().ngettext(one, many, n),
        newstyle=True,
        pgettext=lambda context, text: _words().pgettext(context, text),
    )
    app.jinja_env.filters.update(
        wait=lambda seconds: wait(seconds, _words()), amount=lambda count: amount(count, _words())
    )
    app.context_processor(
        lambda: {
            "language": g.get("language", "en"),
            "direction": "rtl" if g.get("language") in FROM_THE_RIGHT else "ltr",
        }
    )


def _words() -> NullTranslations:
    return catalogue(g.get("language", "en"))

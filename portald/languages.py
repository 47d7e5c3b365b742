"""Languages: which one of those that there are a guest reads best."""

from __future__ import annotations

from collections.abc import Iterable

NAMES = {
    "en": "English", "ar": "العربية", "de": "Deutsch", "es": "Español", "fr": "Français", "he": "עברית",
    "hi": "हिन्दी", "it": "Italiano", "ja": "日本語", "ko": "한국어", "nl": "Nederlands", "pl": "Polski",
    "pt": "Português", "ru": "Русский", "tr": "Türkçe", "uk": "Українська", "zh": "中文",
}  # fmt: skip
"""Every language of the pages, as its readers call it."""
FROM_THE_RIGHT = {"ar", "he"}

# Tags that browsers and providers use for the same, or for what its readers understand.
_KIN = {"no": "nb", "nn": "nb", "iw": "he", "in": "id", "fil": "tl", "tl": "fil"}


def closest(language: str, known: Iterable[str]) -> str | None:
    """Return the one of the ``known`` tags that fits a tag (RFC 5646), or ``None``.

    An exact one is best, then what is left of the tag without its last parts (RFC 4647, 3.4), then
    the first of the same language.
    """
    tags = {each.replace("_", "-").lower(): each for each in reversed(list(known))}
    wanted = language.replace("_", "-").lower()
    first = wanted.partition("-")[0]
    while wanted:
        if wanted in tags:
            return tags[wanted]
        wanted = wanted.rpartition("-")[0]
    families = {first, _KIN.get(first, first)}
    found = [tag for tag in reversed(tags) if tag.partition("-")[0] in families]
    return tags[min(found, key=lambda tag: tag != _KIN.get(first))] if found else None


def best(accepted: Iterable[str], known: Iterable[str]) -> str | None:
    """Return the first of the ``known`` tags that fits somebody who prefers ``accepted`` in this order."""
    choice = list(known)
    return next((found for tag in accepted if (found := closest(tag, choice))), None)

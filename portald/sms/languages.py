"""Languages: the one of a provider's that a guest reads best."""

from __future__ import annotations

# Tags that browsers and providers use for the same, or for what its readers understand.
_KIN = {"no": "nb", "nn": "nb", "iw": "he", "in": "id", "fil": "tl", "tl": "fil"}


def closest(language: str, known: str) -> str | None:
    """Return the one of the ``known`` tags that fits a tag (RFC 5646), or ``None``.

    Without an exact one, it is the first of the same language.
    """
    tag = language.replace("_", "-").lower()
    first = tag.partition("-")[0]
    for wanted in (tag, first, _KIN.get(first, first)):
        for each in known.split():
            if each.lower() == wanted:
                return each
    families = {first, _KIN.get(first, first)}
    return next((each for each in known.split() if each.lower().partition("-")[0] in families), None)

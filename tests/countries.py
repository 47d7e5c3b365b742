"""Makes portald/locale/countries.json from CLDR: ``python -m tests.countries``."""

from __future__ import annotations

import json
from pathlib import Path

import phonenumbers
from babel import Locale

from portald.languages import NAMES

TABLE = Path(__file__).parent.parent / "portald/locale/countries.json"


def table() -> dict[str, dict[str, str]]:
    """Return the names of every country that has telephone numbers, in every language of the pages."""
    codes = sorted(phonenumbers.SUPPORTED_REGIONS)
    return {
        language: {code: name for code in codes if (name := Locale.parse(language).territories.get(code))}
        for language in NAMES
    }


if __name__ == "__main__":
    TABLE.write_text(json.dumps(table(), ensure_ascii=False, indent=0) + "\n")

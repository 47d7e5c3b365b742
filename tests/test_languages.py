"""Which of a provider's languages fits a guest's."""

from __future__ import annotations

import pytest

from portald.languages import closest
from portald.sms import twilio_verify, vonage_verify


@pytest.mark.parametrize(
    ("language", "twilio", "vonage"),
    [
        ("", None, None),
        ("de", "de", "de-de"),
        ("de-AT", "de", "de-de"),
        ("en", "en", "en-us"),
        ("en-GB", "en-GB", "en-gb"),
        ("en_gb", "en-GB", "en-gb"),
        ("en-NZ", "en", "en-us"),
        ("pt", "pt", "pt-pt"),
        ("pt-BR", "pt-BR", "pt-br"),
        ("zh-TW", "zh", "zh-tw"),
        ("zh-HK", "zh-HK", "zh-hk"),
        ("zh-Hans-CN", "zh", "zh-cn"),
        ("no", "nb", "nb-no"),
        ("nn-NO", "nb", "nb-no"),
        ("fil", "tl", "fil-ph"),
        ("tl-PH", "tl", "fil-ph"),
        ("iw", "he", None),
        ("tlh", None, None),
        ("*", None, None),
        ("d", None, None),
    ],
)
def test_closest(language: str, twilio: str | None, vonage: str | None) -> None:
    assert closest(language, twilio_verify.LOCALES.split()) == twilio
    assert closest(language, vonage_verify.LOCALES.split()) == vonage

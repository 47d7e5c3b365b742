"""Telephone numbers: read as people type them, judged, written as E.164, masked."""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from portald.config import Numbers
from portald.errors import ConfigError, Reason, Refused

# The United States and Canada do not tell mobile from fixed numbers, hence the second.
TEXTABLE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}

# Places that share a numbering plan so closely that metadata names one for the other
# (UK mobiles may come out as Guernsey); a welcome to the first is a welcome to all.
TOGETHER = {
    "GB": {"GB", "GG", "JE", "IM"},
    "IT": {"IT", "VA"},
    "FI": {"FI", "AX"},
    "NO": {"NO", "SJ"},
}


def read(typed: str, numbers: Numbers) -> str:
    """Return a typed number as E.164; raise ``Refused`` with the reason it cannot have a text."""
    try:
        number = phonenumbers.parse(typed[:64], numbers.country)
    except NumberParseException:
        raise Refused(Reason.NUMBER_UNREADABLE) from None
    if number.extension or not phonenumbers.is_valid_number(number):
        raise Refused(Reason.NUMBER_INVALID)
    if phonenumbers.number_type(number) not in TEXTABLE:
        raise Refused(Reason.NUMBER_NOT_MOBILE)
    # By region, not by calling code: +1 is also Jamaica.  "001" are satellites, at ten times the price.
    region = phonenumbers.region_code_for_number(number)
    if region == "001" or (numbers.allowed and region not in _regions(numbers)):
        raise Refused(Reason.COUNTRY_CLOSED)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _regions(numbers: Numbers) -> set[str]:
    return {region for allowed in numbers.allowed for region in TOGETHER.get(allowed, {allowed})}


def check(numbers: Numbers) -> None:
    """Raise ``ConfigError`` if a country is not one that telephone numbers are known for."""
    for country in (numbers.country, *numbers.allowed):
        if country not in phonenumbers.SUPPORTED_REGIONS:
            near = country.upper()
            hint = f"did you mean {near!r}?" if near in phonenumbers.SUPPORTED_REGIONS else "like 'DE'"
            raise ConfigError(f"numbers: {country!r} is not a country code; {hint}")


def example(country: str) -> str:
    """Return a mobile number of the country as it is written there, for a form's hint."""
    number = phonenumbers.example_number_for_type(country, PhoneNumberType.MOBILE)
    if number is None:
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def mask(number: str) -> str:
    """Return a number that its owner recognises and a reader of logs cannot call."""
    return f"{number[:3]}…{number[-2:]}"


def mask_all(text: str) -> str:
    """Return a text fit for a log or a terminal.

    What looks like a telephone number is masked, and what could steer a terminal is replaced.
    """
    plain = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return _NUMBER.sub(lambda found: mask(found[0]), plain)


_NUMBER = re.compile(r"\+\d[\d ().-]{5,18}\d|(?<!\w)(?<!\d[.:-])\d{9,15}(?!\w|[.:-]\w)")

"""Telephone numbers: read as people type them, judged, written as E.164, masked."""

from __future__ import annotations

import re
from collections.abc import Iterable

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from portald.config import Numbers
from portald.errors import ConfigError, Reason, Refused

TYPES = {
    # The United States and Canada do not tell mobile from fixed numbers, hence the second.
    "mobile": {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE},
    "voip": {PhoneNumberType.VOIP},
    "personal": {PhoneNumberType.PERSONAL_NUMBER},
    "pager": {PhoneNumberType.PAGER},
}

# Places that share a numbering plan so closely that metadata names one for the other
# (UK mobiles may come out as Guernsey); a welcome to the first is a welcome to all.
TOGETHER = {
    "GB": {"GB", "GG", "JE", "IM"},
    "IT": {"IT", "VA"},
    "FI": {"FI", "AX"},
    "NO": {"NO", "SJ"},
}

# Asked for one by one, every country's metadata would be loaded.
_CALLING_CODES = {
    region: code for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items() for region in regions
}


def read(typed: str, numbers: Numbers, country: str = "") -> str:
    """Return a typed number as E.164; raise ``Refused`` with the reason it cannot have a text.

    Without its country code it is one of ``country``, or of the venue's own.
    """
    home = country if country in phonenumbers.SUPPORTED_REGIONS else numbers.country
    try:
        number = phonenumbers.parse(typed[:64], home)
    except NumberParseException:
        raise Refused(Reason.NUMBER_UNREADABLE) from None
    if number.extension or not phonenumbers.is_valid_number(number):
        raise Refused(Reason.NUMBER_INVALID)
    if phonenumbers.number_type(number) not in {kind for name in numbers.types for kind in TYPES[name]}:
        raise Refused(Reason.NUMBER_NOT_MOBILE)
    # By region, not by calling code: +1 is also Jamaica.  "001" are satellites, at ten times the price.
    region = phonenumbers.region_code_for_number(number)
    if region == "001" or (numbers.allowed and region not in _together(numbers.allowed)):
        raise Refused(Reason.COUNTRY_CLOSED)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def region(number: str) -> str:
    """Return the country of an E.164 number (ISO code), ``"001"`` for satellites and the like.

    Mail addresses have none: it is empty.
    """
    if "@" in number:
        return ""
    return phonenumbers.region_code_for_number(phonenumbers.parse(number)) or "001"


def is_home(number: str, numbers: Numbers) -> bool:
    """Tell whether a number is of the venue's own country; mail addresses are at home everywhere."""
    return "@" in number or is_at_home(region(number), numbers)


def is_at_home(country: str, numbers: Numbers) -> bool:
    """Tell whether a country is the venue's own, or shares its numbering plan."""
    return country in _together([numbers.country])


def is_in(number: str, place: str) -> bool:
    """Tell whether a number belongs to a country (``"FR"``) or begins so (``"+4477"``)."""
    return number.startswith(place) if place.startswith("+") else region(number) in _together([place])


def countries(numbers: Numbers) -> list[str]:
    """Return the countries whose numbers are welcome (ISO codes), the venue's own first."""
    welcome = _together(numbers.allowed) if numbers.allowed else set(phonenumbers.SUPPORTED_REGIONS)
    own = [numbers.country] if numbers.country in welcome else []
    return own + sorted(welcome - {numbers.country})


def calling_code(country: str) -> str:
    """Return what a country's numbers begin with, such as ``"+49"``."""
    return f"+{_CALLING_CODES[country]}"


def check_place(place: str) -> None:
    """Raise ``ConfigError`` unless it is a country or the beginning of a number."""
    if place.startswith("+"):
        if not re.fullmatch(r"\+[1-9]\d{0,14}", place):
            raise ConfigError(f'expected the beginning of a number like "+4477", got {place!r}')
    elif place not in phonenumbers.SUPPORTED_REGIONS:
        near = place.upper()
        hint = f"did you mean {near!r}?" if near in phonenumbers.SUPPORTED_REGIONS else "like 'DE'"
        raise ConfigError(f"{place!r} is not a country code; {hint}")


def _together(places: Iterable[str]) -> set[str]:
    return {region for place in places for region in TOGETHER.get(place, {place})}


def check(numbers: Numbers) -> None:
    """Raise ``ConfigError`` if a country is not one that telephone numbers are known for."""
    for country in (numbers.country, *numbers.allowed):
        try:
            if country.startswith("+"):
                raise ConfigError(f"{country!r} is not a country code; like 'DE'")
            check_place(country)
        except ConfigError as error:
            raise ConfigError(f"numbers: {error}") from None
    if unknown := set(numbers.types) - TYPES.keys():
        raise ConfigError(f"numbers.types: known are {', '.join(TYPES)}, got {', '.join(sorted(unknown))}")


def example(country: str) -> str:
    """Return a mobile number of the country as it is written there, for a form's hint."""
    number = phonenumbers.example_number_for_type(country, PhoneNumberType.MOBILE)
    if number is None:
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def national(number: str, zero: bool = False) -> str:
    """Return the digits of an E.164 number without its country code, with a leading zero if asked.

    Raises ``ValueError`` if there is no such country code.
    """
    try:
        digits = phonenumbers.national_significant_number(phonenumbers.parse(number))
    except NumberParseException as error:
        raise ValueError(str(error)) from None
    return f"0{digits}" if zero else digits


def mask(number: str) -> str:
    """Return a number or mail address that its owner recognises and a reader of logs cannot use."""
    local, at, domain = number.partition("@")
    return f"{local[:2]}…@{domain}" if at else f"{number[:3]}…{number[-2:]}"


def mask_name(name: str) -> str:
    """Return an account's name as operators see it: numbers and addresses masked, others as they are."""
    return mask(name) if name.startswith("+") or "@" in name else name


def mask_all(text: str) -> str:
    """Return a text fit for a log or a terminal.

    What looks like a telephone number is masked, and what could steer a terminal is replaced.
    """
    plain = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return _NUMBER.sub(lambda found: mask(found[0]), plain)


_NUMBER = re.compile(r"\+\d[\d ().-]{5,18}\d|(?<!\w)(?<!\d[.:-])\d{9,15}(?!\w|[.:-]\w)")

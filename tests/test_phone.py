"""Telephone numbers: which are taken, which are refused and why, and that logs cannot call them."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example as with_example
from hypothesis import given, settings
from hypothesis import strategies as st

from portald import phone
from portald.config import Numbers
from portald.errors import ConfigError, Reason, Refused

TAKEN = [
    # typed, country, allowed, number
    ("+14155552671", "US", (), "+14155552671"),
    ("(415) 555-2671", "US", (), "+14155552671"),
    ("415.555.2671", "US", ("US",), "+14155552671"),
    (" +1 415 555 2671 \n", "DE", (), "+14155552671"),
    ("tel:+14155552671", "DE", (), "+14155552671"),
    ("٤١٥٥٥٥٢٦٧١", "US", (), "+14155552671"),
    ("＋１４１５５５５２６７１", "DE", (), "+14155552671"),
    ("0151 23456789", "DE", ("DE",), "+4915123456789"),
    ("0049 151 23456789", "DE", (), "+4915123456789"),
    ("011 49 151 23456789", "US", (), "+4915123456789"),
    ("07400 123456", "GB", ("GB",), "+447400123456"),
    ("07781 123456", "GB", ("GB",), "+447781123456"),  # metadata says Guernsey
    ("393123456789", "IT", ("IT",), "+393123456789"),
    ("+18762101234", "US", (), "+18762101234"),
    ("+18762101234", "US", ("US", "JM"), "+18762101234"),
]

REFUSED = [
    ("", "US", (), Reason.NUMBER_UNREADABLE),
    ("+", "US", (), Reason.NUMBER_UNREADABLE),
    ("hello", "US", (), Reason.NUMBER_UNREADABLE),
    ("'; DROP TABLE accounts", "US", (), Reason.NUMBER_UNREADABLE),
    ("\0", "US", (), Reason.NUMBER_UNREADABLE),
    ("1" * 100_000, "US", (), Reason.NUMBER_UNREADABLE),
    ("+14155552671" + "y" * 500, "US", (), Reason.NUMBER_UNREADABLE),
    ("911", "US", (), Reason.NUMBER_INVALID),
    ("+1 415 555 26", "US", (), Reason.NUMBER_INVALID),
    ("+14155552671234", "US", (), Reason.NUMBER_INVALID),
    ("+447700900123", "US", (), Reason.NUMBER_INVALID),
    ("+9991234567", "US", (), Reason.NUMBER_UNREADABLE),
    ("+14155552671 ext 5", "US", (), Reason.NUMBER_INVALID),
    ("+14155552671 x5", "US", (), Reason.NUMBER_INVALID),
    ("+14155552671;ext=5", "US", (), Reason.NUMBER_INVALID),
    ("+14155552671,5", "US", (), Reason.NUMBER_INVALID),
    ("+19005551234", "US", (), Reason.NUMBER_NOT_MOBILE),  # premium rate
    ("+18005551234", "US", (), Reason.NUMBER_NOT_MOBILE),  # toll-free
    ("+80012345678", "US", (), Reason.NUMBER_NOT_MOBILE),  # toll-free everywhere
    ("+445612345678", "GB", (), Reason.NUMBER_NOT_MOBILE),  # VoIP
    ("+442079460958", "GB", (), Reason.NUMBER_NOT_MOBILE),  # landline
    ("+493012345678", "DE", (), Reason.NUMBER_NOT_MOBILE),  # landline
    ("+447640123456", "GB", (), Reason.NUMBER_NOT_MOBILE),  # pager
    ("+18762101234", "US", ("US",), Reason.COUNTRY_CLOSED),  # Jamaica
    ("+4915123456789", "US", ("US",), Reason.COUNTRY_CLOSED),
    ("+447781123456", "US", ("US",), Reason.COUNTRY_CLOSED),
    ("+447400123456", "GB", ("GG",), Reason.COUNTRY_CLOSED),
    ("+77012345678", "RU", ("RU",), Reason.COUNTRY_CLOSED),  # Kazakhstan
]


@pytest.mark.parametrize(("typed", "country", "allowed", "number"), TAKEN)
def test_taken(typed: str, country: str, allowed: tuple[str, ...], number: str) -> None:
    assert phone.read(typed, Numbers(country=country, allowed=allowed)) == number


@pytest.mark.parametrize(("typed", "country", "allowed", "reason"), REFUSED)
def test_refused(typed: str, country: str, allowed: tuple[str, ...], reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        phone.read(typed, Numbers(country=country, allowed=allowed))
    assert caught.value.reason is reason
    assert caught.value.retry_after == 0


signs = st.sampled_from("+0123456789 ()-.;=x#*,/[]e٤１ext")


@settings(max_examples=100, deadline=None)
@given(st.text() | st.text(signs, max_size=80), st.sampled_from(["US", "DE", "IT", "XX", ""]))
@with_example("+1" + "4155552671" * 50, "US")
@with_example(";phone-context=+1", "US")
def test_read_raises_nothing_but_refused(typed: str, country: str) -> None:
    try:
        number = phone.read(typed, Numbers(country=country))
    except Refused:
        return
    assert number.startswith("+")
    assert number[1:].isdecimal()
    assert number.isascii()
    # What was read once is read again, as a resend does.
    assert phone.read(number, Numbers(country=country)) == number


def test_countries_are_checked() -> None:
    phone.check(Numbers(country="DE", allowed=("DE", "GG")))
    for wrong in (Numbers(country="Germany"), Numbers(country="us"), Numbers(allowed=("US", "UK"))):
        with pytest.raises(ConfigError, match="is not a country code"):
            phone.check(wrong)


@pytest.mark.parametrize("country", ["US", "DE", "GB", "JP"])
def test_example_is_a_number_that_is_taken(country: str) -> None:
    assert phone.read(phone.example(country), Numbers(country=country, allowed=(country,)))


def test_no_example_for_an_unknown_country() -> None:
    assert phone.example("XX") == ""


# Masks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "masked"),
    [("+14155552671", "+14…71"), ("+4915123456789", "+49…89"), ("+29051234", "+29…34")],
)
def test_mask(number: str, masked: str) -> None:
    assert phone.mask(number) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "event=round_failed error=FirewallError: netlink",
        "2024-01-02 03:04:05,678",
        "2024-01-02T03:04:05+00:00",
        "mac=02:cc:00:00:00:01",
        "02-cc-00-00-00-01",
        "ip=10.77.0.11",
        "192.168.100.200:65535",
        "fd00::1234:5678:9abc:def0",
        "session=256",
        "event=session_ended session=10737418 reason=left",
        "HTTP 429 code 21211",
        "port=65535",
    ],
)
def test_mask_all_leaves_what_is_no_number(text: str) -> None:
    assert phone.mask_all(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to +14155552671", "to +14…71"),
        ("+14155552671", "+14…71"),
        ("<+14155552671>,+4915123456789;", "<+14…71>,+49…89;"),
        ("to +1 (415) 555-2671 now", "to +1 …71 now"),
        ("to +49 151 2345.6789.", "to +49…89."),
        ("number=14155552671", "number=141…71"),
        ('"14155552671"', '"141…71"'),
        ("00491512345678 is wrong", "004…78 is wrong"),
        # As providers put it in a sentence or in JSON without spaces.
        ("The number is 14155552671.", "The number is 141…71."),
        ("14155552671: unknown", "141…71: unknown"),
        ('{"to":14155552671}', '{"to":141…71}'),
    ],
)
def test_mask_all_masks_numbers(text: str, masked: str) -> None:
    assert phone.mask_all(text) == masked


@pytest.mark.parametrize("country", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_mask_all_knows_the_numbers_of_every_country(country: str) -> None:
    example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    if example is None:
        # Nothing textable there, so nothing to be logged.
        assert phone.example(country) == ""
        return
    number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    assert number not in phone.mask_all(f"text to {number}.")


@settings(max_examples=100, deadline=None)
@given(st.text(), st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True), st.text())
@with_example("+1415", "+14155552671", "")
@with_example("", "+14155552671", "99999999999999")
@with_example("1", "+14155552671", ".")
def test_mask_all_never_leaves_a_number(before: str, number: str, after: str) -> None:
    assert number not in phone.mask_all(before + number + after)


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x1b]0;owned\x07", "\x00", "\x9b31m", "\u202e", "\r"])
def test_nothing_steers_a_terminal(evil: str) -> None:
    shown = phone.mask_all(f"before{evil}after")
    assert all(c.isprintable() for c in shown)
    assert shown.startswith("before")
    assert shown.endswith("after")

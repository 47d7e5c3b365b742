"""Codes: random, read as people type them, and proved without being kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portald import otp
from portald.model import Kind, Policy

KEY = b"k" * 32
NUMBER = "+14155552671"
codes = st.from_regex(r"[0-9]{4,10}", fullmatch=True)
numbers = st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True)
keys = st.binary(min_size=16, max_size=32)


@pytest.mark.parametrize("digits", [4, 6, 10])
def test_new_code_has_its_digits(digits: int) -> None:
    made = [otp.new_code(Policy(length=digits)) for _ in range(200)]
    assert all(len(code) == digits and code.isascii() and code.isdecimal() for code in made)
    assert len(set(made)) > 190
    # Every digit comes at every place: nothing is cut off, leading zeros are kept.
    assert all({code[place] for code in made} == set("0123456789") for place in range(digits))


@pytest.mark.parametrize("kind", Kind)
def test_every_letter_of_its_kind_and_none_that_is_mistaken(kind: Kind) -> None:
    made = "".join(otp.new_code(Policy(kind, 10)) for _ in range(400))
    assert set(made) == set(otp.ALPHABETS[kind])
    if kind is not Kind.NUMBERS:
        assert not set(made) & set("0O1IL")
        assert otp.read_code(made[:10].lower(), kind) == made[:10]


@pytest.mark.parametrize(
    ("kind", "typed", "code"),
    [
        (Kind.LETTERS, "grn xq", "GRNXQ"),
        (Kind.LETTERS, "ｇｒｎｘｑ", "GRNXQ"),
        (Kind.ALPHANUMERIC, " yt-53m ", "YT53M"),
        (Kind.ALPHANUMERIC, "yt٥٣m", "YT53M"),
        (Kind.NUMBERS, "a1b2", "12"),
        (Kind.LETTERS, "ßéж", ""),
    ],
)
def test_read_code_with_letters(kind: Kind, typed: str, code: str) -> None:
    assert otp.read_code(typed, kind) == code


@pytest.mark.parametrize(
    ("policy", "bits"),
    [(Policy(), 19.9), (Policy(length=8), 26.6), (Policy(Kind.LETTERS, 5), 22.6), (Policy(length=4), 13.3)],
)
def test_entropy(policy: Policy, bits: float) -> None:
    assert otp.bits(policy) == pytest.approx(bits, abs=0.05)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("123456", "123456"),
        (" 123456 \n", "123456"),
        ("123 456", "123456"),
        ("123-456", "123456"),
        ("123–456", "123456"),
        ("1\u00a02\u20093.4/5,6", "123456"),
        ("１２３４５６", "123456"),
        ("١٢٣٤٥٦", "123456"),
        ("۱۲۳۴۵۶", "123456"),
        ("१२३४५६", "123456"),
        ("Code: 123456.", "123456"),
        ("012345", "012345"),
        ("", ""),
        ("abcdef", ""),
        ("①②③", ""),
        ("½²Ⅷ", ""),
        ("1" * 100_000, "1" * 64),
    ],
)
def test_read_code(typed: str, code: str) -> None:
    assert otp.read_code(typed) == code


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_read_code_returns_plain_digits(typed: str) -> None:
    read = otp.read_code(typed)
    assert set(read) <= set("0123456789")
    assert otp.read_code(read) == read


@settings(max_examples=100, deadline=None)
@given(codes, st.sampled_from(["-", " ", "\u00a0", ".", "a"]))
def test_read_code_reads_what_was_sent(code: str, separator: str) -> None:
    assert otp.read_code(separator.join(code)) == code


@settings(max_examples=100, deadline=None)
@given(keys, numbers, codes)
def test_opens_for_what_was_sealed(key: bytes, number: str, code: str) -> None:
    assert otp.opens(key, otp.seal(key, number, code), number, code)


@settings(max_examples=100, deadline=None)
@given(st.tuples(keys, numbers, codes), st.tuples(keys, numbers, codes), st.integers(1, 7))
def test_opens_for_nothing_else(
    one: tuple[bytes, str, str], other: tuple[bytes, str, str], changed: int
) -> None:
    """Whichever of key, number and code differ, alone or together, it stays shut."""
    key = other[0] if changed & 1 else one[0]
    number = other[1] if changed & 2 else one[1]
    code = other[2] if changed & 4 else one[2]
    assert otp.opens(key, otp.seal(*one), number, code) is ((key, number, code) == one)


def test_number_and_code_do_not_run_into_each_other() -> None:
    assert not otp.opens(KEY, otp.seal(KEY, "+1415", "1234"), "+14151", "234")


def test_reference_does_not_hold_the_code_and_is_never_the_same() -> None:
    made = {otp.seal(KEY, NUMBER, "123456") for _ in range(50)}
    assert len(made) == 50
    assert not any("123456" in reference or NUMBER in reference for reference in made)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="ascii")) | st.just("") | st.just(":"))
def test_rubbish_as_a_reference_stays_shut(reference: str) -> None:
    assert not otp.opens(KEY, reference, NUMBER, "123456")

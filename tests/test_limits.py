"""Limits: which allowances a text and a guess use up, and whose they are."""

from __future__ import annotations

from portald import limits
from portald.config import Limits, Otp
from portald.errors import Reason

MAC, OTHER_MAC = "02:cc:00:00:00:01", "02:cc:00:00:00:02"
NUMBER, OTHER_NUMBER = "+14155552671", "+14155552672"
SETTINGS = Limits(
    texts_per_number=11,
    texts_per_client=12,
    texts_per_client_burst=13,
    texts=14,
    guesses_per_number=15,
    guesses_per_client=16,
)
OTP = Otp(resend_after=77)


def shared(left: list[limits.Allowance], right: list[limits.Allowance]) -> set[int]:
    """Return the sizes of the allowances that both use up."""
    names = {allowance.name for allowance in right}
    return {allowance.most for allowance in left if allowance.name in names}


def test_a_text_uses_up_every_limit() -> None:
    used = limits.for_text(OTP, SETTINGS, MAC, NUMBER)
    assert {(a.most, a.seconds, a.reason) for a in used} == {
        (1, 77, Reason.TOO_SOON),
        (13, 600, Reason.SEVERAL_TEXTS),
        (11, 86_400, Reason.TOO_MANY_TEXTS),
        (12, 86_400, Reason.TOO_MANY_TEXTS),
        (100, 3_600, Reason.BUSY),
        (14, 86_400, Reason.BUSY),
    }


def test_a_guess_uses_up_the_numbers_and_the_clients() -> None:
    used = limits.for_guess(SETTINGS, MAC, NUMBER)
    assert {(a.most, a.seconds, a.reason) for a in used} == {
        (15, 3_600, Reason.GUESSES_USED_UP),
        (16, 3_600, Reason.GUESSES_USED_UP),
    }


def test_names_are_not_shared_among_allowances_of_one_use() -> None:
    used = limits.for_text(OTP, SETTINGS, MAC, NUMBER) + limits.for_guess(SETTINGS, MAC, NUMBER)
    assert len({allowance.name for allowance in used}) == len(used)


def test_whose_a_text_is() -> None:
    mine = limits.for_text(OTP, SETTINGS, MAC, NUMBER)
    assert shared(mine, limits.for_text(OTP, SETTINGS, OTHER_MAC, NUMBER)) == {1, 11, 100, 14}
    # Another number at once, because the first was mistyped: no pause.
    assert shared(mine, limits.for_text(OTP, SETTINGS, MAC, OTHER_NUMBER)) == {12, 13, 100, 14}
    assert shared(mine, limits.for_text(OTP, SETTINGS, OTHER_MAC, OTHER_NUMBER)) == {100, 14}


def test_whose_a_guess_is() -> None:
    mine = limits.for_guess(SETTINGS, MAC, NUMBER)
    assert shared(mine, limits.for_guess(SETTINGS, OTHER_MAC, NUMBER)) == {15}
    assert shared(mine, limits.for_guess(SETTINGS, MAC, OTHER_NUMBER)) == {16}
    assert shared(mine, limits.for_guess(SETTINGS, OTHER_MAC, OTHER_NUMBER)) == set()


def test_the_pause_is_found_by_its_name() -> None:
    used = limits.for_text(OTP, SETTINGS, MAC, NUMBER)
    pauses = [allowance for allowance in used if allowance.name == limits.number_pause(NUMBER)]
    assert [(pause.most, pause.seconds) for pause in pauses] == [(1, 77)]

"""Limits: which allowances a text and a guess use up, and whose they are."""

from __future__ import annotations

from portald import limits
from portald.config import Limits
from portald.errors import Reason

MAC, OTHER_MAC = "02:cc:00:00:00:01", "02:cc:00:00:00:02"
NUMBER, OTHER_NUMBER = "+14155552671", "+14155552672"
SETTINGS = Limits(
    texts_per_number=11,
    texts_per_client=12,
    texts_per_client_burst=13,
    texts=14,
    texts_per_prefix=17,
    texts_per_zone=18,
    texts_per_country=19,
    guesses_per_number=15,
    guesses_per_client=16,
)


def ask(mac: str, number: str, home: bool = True, price: int = 0) -> limits.Ask:
    return limits.Ask(number, "US", home, mac, "guest", price)


def for_text(mac: str, number: str) -> list[limits.Allowance]:
    return limits.for_text(SETTINGS, 77, ask(mac, number))


def shared(left: list[limits.Allowance], right: list[limits.Allowance]) -> set[int]:
    """Return the sizes of the allowances that both use up."""
    names = {allowance.name for allowance in right}
    return {allowance.most for allowance in left if allowance.name in names}


def test_a_text_uses_up_every_limit() -> None:
    used = for_text(MAC, NUMBER)
    assert {(a.most, a.seconds, a.reason) for a in used} == {
        (1, 77, Reason.TOO_SOON),
        (13, 600, Reason.SEVERAL_TEXTS),
        (11, 86_400, Reason.TOO_MANY_TEXTS),
        (12, 86_400, Reason.TOO_MANY_TEXTS),
        (17, 86_400, Reason.BUSY),
        (18, 86_400, Reason.BUSY),
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
    used = for_text(MAC, NUMBER) + limits.for_guess(SETTINGS, MAC, NUMBER)
    assert len({allowance.name for allowance in used}) == len(used)


def test_whose_a_text_is() -> None:
    mine = for_text(MAC, NUMBER)
    assert shared(mine, for_text(OTHER_MAC, NUMBER)) == {1, 11, 17, 18, 100, 14}
    # Another number at once, because the first was mistyped: no pause.
    assert shared(mine, for_text(MAC, OTHER_NUMBER)) == {12, 13, 17, 18, 100, 14}
    assert shared(mine, for_text(OTHER_MAC, OTHER_NUMBER)) == {17, 18, 100, 14}


def test_whose_a_guess_is() -> None:
    mine = limits.for_guess(SETTINGS, MAC, NUMBER)
    assert shared(mine, limits.for_guess(SETTINGS, OTHER_MAC, NUMBER)) == {15}
    assert shared(mine, limits.for_guess(SETTINGS, MAC, OTHER_NUMBER)) == {16}
    assert shared(mine, limits.for_guess(SETTINGS, OTHER_MAC, OTHER_NUMBER)) == set()


def test_the_pause_is_found_by_its_name() -> None:
    used = for_text(MAC, NUMBER)
    pauses = [allowance for allowance in used if allowance.name == limits.number_pause(NUMBER)]
    assert [(pause.most, pause.seconds, pause.growth) for pause in pauses] == [(1, 77, 5)]


def test_numbers_from_abroad_and_money() -> None:
    used = {a.name: a for a in limits.for_text(SETTINGS, 77, ask(MAC, NUMBER, home=False, price=5))}
    assert (used["country:US"].most, used["country:US"].reason) == (19, Reason.COUNTRY_BUSY)
    assert "money" not in used
    used = {a.name: a for a in limits.for_text(Limits(money=1.5), 77, ask(MAC, NUMBER, price=5))}
    assert (used["money"].most, used["money"].amount) == (1_500_000, 5)
    assert "country:US" not in used


def test_what_was_not_sent_is_given_back_but_not_to_the_device() -> None:
    used = set(for_text(MAC, NUMBER))
    kept = used - set(limits.for_unsent(SETTINGS, 77, ask(MAC, NUMBER)))
    assert {allowance.name for allowance in kept} == {f"burst:{MAC}", f"texts:{MAC}"}


def test_guesses_without_a_limit() -> None:
    assert limits.for_guess(Limits(guesses_per_number=0, guesses_per_client=0), MAC, NUMBER) == []
    (left,) = limits.for_guess(Limits(guesses_free=(MAC,)), MAC, NUMBER)
    assert left.name == f"guess:{NUMBER}"


def test_the_fullest_network_is_no_application() -> None:
    used = {"zone:guest": 1, "zone:application:booking": 90}
    assert limits.fullest(used, "texts_per_zone") == 1

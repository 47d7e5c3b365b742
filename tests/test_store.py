"""The store: what it keeps, that races have one winner, and that a refusal changes nothing."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from portald import limits
from portald.config import Limits
from portald.errors import ConfigError, Conflict, Reason, Refused
from portald.limits import Allowance
from portald.model import (
    FIRST_SESSION,
    Attempt,
    Challenge,
    Client,
    Conversion,
    End,
    Held,
    Order,
    Outcome,
    Policy,
    Report,
    Sent,
    Session,
    Sort,
    State,
    Usage,
    Wish,
)  # fmt: skip
from portald.store import Store
from tests.conftest import NUMBER, Clock

PHONE = Client("02:cc:00:00:00:01", "10.77.0.11", "guest")
OTHER = Client("02:cc:00:00:00:02", "10.77.0.12", "guest")
OTHER_NUMBER = "+14155552672"
LIFETIME = 300
ASK = limits.Ask(NUMBER, "US", True, PHONE.mac, "guest", 0)
T = TypeVar("T")


def wish(client: Client, number: str, attempts: int = 5, carrier: str = "") -> Wish:
    policy = Policy(lifetime=LIFETIME, attempts=attempts)
    return Wish(Order(0, number, policy, carrier=carrier), client.mac, client.zone)


def text_sent(store: Store, challenge: Challenge, now: float, reference: str = "reference") -> None:
    store.text_sent(challenge.id, Sent(reference, challenge.policy), now)


def sent(
    store: Store, now: float, client: Client = PHONE, number: str = NUMBER, attempts: int = 5
) -> Challenge:
    """Return a challenge whose text has been sent."""
    opened = store.open_challenge(wish(client, number, attempts), 0, [], now)
    text_sent(store, opened, now)
    found = store.challenge_of(client.mac, now)
    assert found is not None
    return found


def online(store: Store, now: float, client: Client = PHONE, number: str = NUMBER) -> Session:
    session, _ = store.open_proven(sent(store, now, client, number), Sort.NUMBER, client, "SMS", now)
    return session


def guess(store: Store, now: float, client: Client = PHONE) -> Challenge:
    return store.take_guess(client.mac, [], now)


def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def rows(store: Store, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in store.connection.execute(query)]


def everything(store: Store) -> list[list[tuple[object, ...]]]:
    """Return all that is in the database."""
    tables = (
        "plans",
        "groups",
        "accounts",
        "sessions",
        "addresses",
        "challenges",
        "quotas",
        "texts",
        "limits",
        "gates",
        "callbacks",
    )
    return [rows(store, f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def all_at_once(times: int, call: Callable[[int], T]) -> tuple[list[T], list[Reason]]:
    """Make the call in as many threads at the same moment; return results and refusals."""
    results: list[T] = []
    refusals: list[Reason] = []
    others: list[BaseException] = []
    barrier = threading.Barrier(times)

    def run(index: int) -> None:
        barrier.wait()
        try:
            results.append(call(index))
        except Refused as refused:
            refusals.append(refused.reason)
        except BaseException as error:
            others.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert others == []
    return results, refusals


# The file ----------------------------------------------------------------------------------


def test_a_new_store_has_the_group_and_plan_of_the_specification(store: Store) -> None:
    assert rows(store, "SELECT name, terms FROM plans") == [("unlimited", "{}")]
    assert rows(store, "SELECT name, plan FROM groups") == [("SMS", "unlimited")]


def test_everything_is_there_after_opening_again(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "again.db"
    first = Store(path)
    session = online(first, clock())
    challenge = sent(first, clock(), OTHER)
    before = everything(first)
    steps = rows(first, "SELECT * FROM migrations")
    first.close()
    for _ in range(2):
        again = Store(path)
        assert everything(again) == before
        assert rows(again, "SELECT * FROM migrations") == steps
        assert again.session(session.id) == session
        assert again.challenge_of(OTHER.mac, clock()) == challenge
        again.close()


def test_only_its_owner_may_read_it(tmp_path: Path, clock: Clock) -> None:
    before = os.umask(0)
    try:
        opened = Store(tmp_path / "private.db")
        online(opened, clock())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("private.db*")}
        opened.close()
    finally:
        os.umask(before)
    assert modes
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    "content", [b"this is not a database, whatever its name says\n" * 50, b"SQLite format 3\0"]
)
def test_a_file_that_is_not_a_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "portald.db"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"portald\.db cannot be used as the database"):
        Store(path)
    assert path.read_bytes() == content


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "portald.db"):
        with pytest.raises(ConfigError, match="cannot be used as the database"):
            Store(path)


# Quotas ------------------------------------------------------------------------------------


def spend(store: Store, allowances: list[Allowance], now: float) -> None:
    """Use up allowances through a real use of the store."""
    store.open_challenge(wish(PHONE, NUMBER), 0, allowances, now)


def test_a_window_begins_at_first_use_and_is_renewed_afterwards(store: Store, clock: Clock) -> None:
    allowance = Allowance("a", 2, 100, Reason.TOO_MANY_TEXTS)
    clock.move(1234.5)
    spend(store, [allowance], clock())
    clock.move(60)
    spend(store, [allowance], clock())
    refused = refusal(lambda: spend(store, [allowance], clock()))
    assert (refused.reason, refused.retry_after) == (Reason.TOO_MANY_TEXTS, 40)
    clock.move(39)
    assert refusal(lambda: spend(store, [allowance], clock())).retry_after == 1
    clock.move(0.75)
    assert refusal(lambda: spend(store, [allowance], clock())).retry_after == 1  # never "in 0 seconds"
    clock.move(0.25)
    spend(store, [allowance], clock())
    assert store.wait_for("a", clock()) == 100
    spend(store, [allowance], clock())
    assert refusal(lambda: spend(store, [allowance], clock())).retry_after == 100


def test_wait_for(store: Store, clock: Clock) -> None:
    assert store.wait_for("a", clock()) == 0
    spend(store, [Allowance("a", 1, 60, Reason.TOO_SOON)], clock())
    clock.move(20)
    assert store.wait_for("a", clock()) == 40
    clock.move(50)
    assert store.wait_for("a", clock()) == 0


def test_a_refused_text_changes_nothing(store: Store, clock: Clock) -> None:
    sent(store, clock())
    plenty = Allowance("plenty", 9, 60, Reason.BUSY)
    last = Allowance("last", 1, 60, Reason.TOO_SOON)
    spend(store, [plenty, last], clock())
    before = everything(store)
    clock.move(1)
    assert refusal(lambda: spend(store, [plenty, last], clock())).reason is Reason.TOO_SOON
    assert everything(store) == before


def test_a_refused_guess_changes_nothing(store: Store, clock: Clock) -> None:
    plenty = Allowance("plenty", 9, 60, Reason.TOO_MANY_GUESSES)
    sent(store, clock(), attempts=1)
    store.take_guess(PHONE.mac, [plenty], clock())
    before = everything(store)
    clock.move(1)
    refused = refusal(lambda: store.take_guess(PHONE.mac, [plenty], clock()))
    assert refused.reason is Reason.TOO_MANY_GUESSES
    assert everything(store) == before


def test_sixty_at_once_get_exactly_the_texts_allowed(store: Store, clock: Clock) -> None:
    allowances = [a for a in limits.for_text(Limits(texts=7), 60, ASK) if a.name == "texts"]
    opened, refusals = all_at_once(
        60,
        lambda i: store.open_challenge(
            wish(Client(f"mac{i}", "10.77.0.9", "guest"), f"+1415555{i:04}"), 0, allowances, clock()
        ),
    )
    assert len({challenge.id for challenge in opened}) == 7
    assert refusals == [Reason.BUSY] * 53
    assert len(store.challenges(100)) == 7


def test_sixty_texts_at_once_from_one_phone_leave_one_code(store: Store, clock: Clock) -> None:
    allowances = limits.for_text(Limits(), 60, ASK)
    opened, refusals = all_at_once(
        60, lambda _: store.open_challenge(wish(PHONE, NUMBER), 0, allowances, clock())
    )
    assert len(opened) == 1
    assert refusals == [Reason.TOO_SOON] * 59


# Challenges --------------------------------------------------------------------------------


def test_a_challenge_is_found_again_by_its_mac(store: Store, clock: Clock) -> None:
    opened = store.open_challenge(wish(PHONE, NUMBER), 0, [], clock())
    assert (opened.number, opened.holder, opened.state) == (NUMBER, PHONE.mac, State.WAITING)
    assert (opened.attempts, opened.reference, opened.outcome) == (0, None, None)
    assert opened.expires_at == clock() + LIFETIME
    assert store.challenge_of(PHONE.mac, clock()) == opened
    assert store.challenge_of(OTHER.mac, clock()) is None


def test_a_new_challenge_kills_the_clients_old_one_only(store: Store, clock: Clock) -> None:
    old, foreign = sent(store, clock()), sent(store, clock(), OTHER)
    new = store.open_challenge(wish(PHONE, OTHER_NUMBER), 0, [], clock())
    assert store.challenge_of(PHONE.mac, clock()) == new
    assert store.challenge_of(OTHER.mac, clock()) == foreign
    assert [c.state for c in store.challenges(9)] == [State.WAITING, State.SENT, State.REPLACED]
    assert refusal(lambda: guess(store, clock())).reason is Reason.NO_CHALLENGE
    assert (
        refusal(lambda: store.open_proven(old, Sort.NUMBER, PHONE, "SMS", clock())).reason
        is Reason.NO_CHALLENGE
    )


def test_a_late_text_does_not_bring_a_replaced_challenge_back(store: Store, clock: Clock) -> None:
    old = store.open_challenge(wish(PHONE, NUMBER), 0, [], clock())
    new = store.open_challenge(wish(PHONE, NUMBER), 0, [], clock())
    text_sent(store, old, clock(), "late")
    store.text_failed(old.id, Outcome.TEMPORARY, "late")
    assert store.challenges(9)[1] == replace(old, state=State.REPLACED)
    assert store.challenge_of(PHONE.mac, clock()) == new


def test_a_challenge_is_decided_once(store: Store, clock: Clock) -> None:
    good = sent(store, clock())
    store.text_failed(good.id, Outcome.UNKNOWN, "late")
    assert store.challenge_of(PHONE.mac, clock()) == good
    assert (good.state, good.outcome) == (State.SENT, Outcome.ACCEPTED)
    bad = store.open_challenge(wish(OTHER, NUMBER), 0, [], clock())
    store.text_failed(bad.id, Outcome.NO_CREDIT, "words")
    text_sent(store, bad, clock(), "late")
    found = store.challenge_of(OTHER.mac, clock())
    assert found is not None
    assert (found.state, found.outcome, found.words) == (State.FAILED, Outcome.NO_CREDIT, "words")
    assert found.reference is None


def test_a_code_expires(store: Store, clock: Clock) -> None:
    sent(store, clock())
    clock.move(LIFETIME - 1)
    assert guess(store, clock()).attempts == 1
    clock.move(1)
    assert store.challenge_of(PHONE.mac, clock()) is None
    assert refusal(lambda: guess(store, clock())).reason is Reason.CODE_EXPIRED


def test_no_guess_without_a_code_that_was_sent(store: Store, clock: Clock) -> None:
    assert refusal(lambda: guess(store, clock())).reason is Reason.NO_CHALLENGE
    store.open_challenge(wish(PHONE, NUMBER), 0, [], clock())
    assert refusal(lambda: guess(store, clock())).reason is Reason.NO_CHALLENGE
    store.fail_interrupted()
    assert refusal(lambda: guess(store, clock())).reason is Reason.NO_CHALLENGE
    assert refusal(lambda: guess(store, clock(), client=OTHER)).reason is Reason.NO_CHALLENGE


def test_guesses_are_counted_and_end(store: Store, clock: Clock) -> None:
    sent(store, clock(), attempts=3)
    assert [guess(store, clock()).attempts for _ in range(3)] == [1, 2, 3]
    assert refusal(lambda: guess(store, clock())).reason is Reason.TOO_MANY_GUESSES


@pytest.mark.parametrize("attempts", [1, 5])
def test_sixty_guesses_at_once_are_no_more_than_the_attempts(
    store: Store, clock: Clock, attempts: int
) -> None:
    sent(store, clock(), attempts=attempts)
    taken, refusals = all_at_once(60, lambda _: guess(store, clock()))
    assert sorted(challenge.attempts for challenge in taken) == list(range(1, attempts + 1))
    assert refusals == [Reason.TOO_MANY_GUESSES] * (60 - attempts)


def test_interrupted_texts_fail_and_the_others_stay(store: Store, clock: Clock) -> None:
    kept = sent(store, clock(), OTHER)
    store.open_challenge(wish(PHONE, NUMBER), 0, [], clock())
    store.fail_interrupted()
    failed = store.challenge_of(PHONE.mac, clock())
    assert failed is not None
    assert (failed.state, failed.outcome) == (State.FAILED, Outcome.UNKNOWN)
    assert "restarted" in (failed.words or "")
    assert store.challenge_of(OTHER.mac, clock()) == kept


def test_cancel_drops_the_clients_challenge_only(store: Store, clock: Clock) -> None:
    kept = sent(store, clock(), OTHER)
    sent(store, clock())
    store.cancel_challenge(PHONE.mac)
    assert store.challenge_of(PHONE.mac, clock()) is None
    assert store.challenge_of(OTHER.mac, clock()) == kept
    store.cancel_challenge(PHONE.mac)


def test_latest_challenges_come_first(store: Store, clock: Clock) -> None:
    made = [store.open_challenge(wish(PHONE, NUMBER), 0, [], clock()).id for _ in range(5)]
    assert [challenge.id for challenge in store.challenges(3)] == made[:1:-1]


# Sessions ----------------------------------------------------------------------------------


def test_a_session_as_it_begins(store: Store, clock: Clock) -> None:
    session = online(store, clock())
    assert session.id == FIRST_SESSION == 256
    assert (session.account.number, session.account.group) == (NUMBER, "SMS")
    assert session.plan == "unlimited"
    assert (session.mac, session.zone) == (PHONE.mac, "guest")
    assert session.addresses == {PHONE.ip}
    assert (session.started_at, session.expires_at) == (clock(), None)
    assert (session.granted_at, session.ended_at, session.end) == (None, None, None)
    assert session.usage == Usage()
    assert store.session(session.id) == store.session_of(PHONE.mac, PHONE.zone) == session
    assert list(store.live_sessions()) == [session]
    assert store.challenge_of(PHONE.mac, clock()) is None


def test_a_session_that_came_over_ipv6_has_no_ipv4_address_yet(store: Store, clock: Clock) -> None:
    session = online(store, clock(), Client(PHONE.mac, "fe80::1", "guest"))
    assert session.addresses == frozenset()


def test_unknown_sessions(store: Store) -> None:
    assert store.session(256) is None
    assert store.session_of(PHONE.mac, PHONE.zone) is None
    assert list(store.live_sessions()) == []
    assert store.next_deadline() is None


def test_sixty_confirmations_at_once_are_one_session(store: Store, clock: Clock) -> None:
    challenge = sent(store, clock())
    opened, refusals = all_at_once(
        60, lambda _: store.open_proven(challenge, Sort.NUMBER, PHONE, "SMS", clock())
    )
    assert len(opened) == 1
    assert refusals == [Reason.NO_CHALLENGE] * 59
    assert [session.id for session in store.live_sessions()] == [256]
    assert rows(store, "SELECT count(*) FROM accounts") == [(1,)]


def test_session_numbers_are_never_used_again(store: Store, clock: Clock, tmp_path: Path) -> None:
    assert [online(store, clock()).id for _ in range(3)] == [256, 257, 258]
    for table in ("addresses", "sessions"):
        store.connection.execute(f"DELETE FROM {table}")
    assert online(store, clock()).id == 259
    again = Store(tmp_path / "portald.db")
    assert online(again, clock()).id == 260
    again.close()


def test_a_number_has_one_account(store: Store, clock: Clock) -> None:
    first, second = online(store, clock()), online(store, clock(), OTHER)
    third = online(store, clock(), number=OTHER_NUMBER)
    assert first.account == second.account
    assert third.account != first.account
    assert rows(store, "SELECT name, group_name FROM accounts ORDER BY id") == [
        (NUMBER, "SMS"),
        (OTHER_NUMBER, "SMS"),
    ]


def test_an_account_keeps_the_group_the_operator_gave_it(store: Store, clock: Clock) -> None:
    online(store, clock())
    store.connection.execute("INSERT INTO plans (name, terms) VALUES ('short', '{\"session\": \"10m\"}')")
    store.connection.execute("INSERT INTO groups (name, plan) VALUES ('staff', 'short')")
    store.connection.execute("UPDATE accounts SET group_name = 'staff'")
    session = online(store, clock())
    assert (session.account.group, session.plan) == ("staff", "short")


def test_a_group_that_is_gone_lets_nobody_in_and_costs_no_code(store: Store, clock: Clock) -> None:
    challenge = sent(store, clock())
    store.connection.execute("DELETE FROM groups")
    before = everything(store)
    assert (
        refusal(lambda: store.open_proven(challenge, Sort.NUMBER, PHONE, "SMS", clock())).reason
        is Reason.GROUP_CLOSED
    )
    assert everything(store) == before
    store.connection.execute("INSERT INTO groups (name, plan) VALUES ('SMS', 'unlimited')")
    session, replaced = store.open_proven(challenge, Sort.NUMBER, PHONE, "SMS", clock())
    assert (session.mac, replaced) == (PHONE.mac, [])


def test_one_live_session_per_client(store: Store, clock: Clock) -> None:
    first, other = online(store, clock()), online(store, clock(), OTHER)
    clock.move(10)
    second, replaced = store.open_proven(sent(store, clock()), Sort.NUMBER, PHONE, "SMS", clock())
    assert replaced == [first.id]
    assert [session.id for session in store.live_sessions()] == [other.id, second.id]
    ended = store.session(first.id)
    assert ended is not None
    assert (ended.ended_at, ended.end) == (clock(), End.REPLACED)
    with pytest.raises(Conflict):
        store.connection.execute("UPDATE sessions SET ended_at = NULL")


def test_a_plan_with_minutes_has_a_deadline(store: Store, clock: Clock) -> None:
    store.connection.execute('UPDATE plans SET terms = \'{"session": "90m"}\'')
    session = online(store, clock())
    assert session.expires_at == clock() + 5400
    assert store.next_deadline() == clock() + 5400


def test_several_end_at_once_and_each_once(store: Store, clock: Clock) -> None:
    first, second = online(store, clock()), online(store, clock(), OTHER)
    reasons = {first.id: End.EXPIRED, second.id: End.IDLE, 999: End.IDLE}
    assert store.end_sessions(reasons, clock()) == [first.id, second.id]
    assert store.end_sessions(reasons, clock()) == []
    assert {found.end for found in store.ended_sessions(2)} == {End.EXPIRED, End.IDLE}
    assert list(store.live_sessions()) == []


def test_a_session_ends_once(store: Store, clock: Clock) -> None:
    session = online(store, clock())
    clock.move(5)
    assert store.end_session(session.id, End.REVOKED, clock())
    clock.move(5)
    assert not store.end_session(session.id, End.LEFT, clock())
    assert not store.end_session(999, End.LEFT, clock())
    ended = store.session(session.id)
    assert ended is not None
    assert (ended.end, ended.ended_at) == (End.REVOKED, clock() - 5)
    assert store.session_of(PHONE.mac, PHONE.zone) is None


def test_latest_ended_sessions_come_first(store: Store, clock: Clock) -> None:
    made = [online(store, clock(), Client(f"mac{i}", f"10.77.0.{i}", "guest")).id for i in range(1, 6)]
    for number in (made[2], made[0], made[4]):
        clock.move(1)
        store.end_session(number, End.LEFT, clock())
    assert [session.id for session in store.ended_sessions(2)] == [made[4], made[0]]


# What the rounds write ---------------------------------------------------------------------


def reading(session: Session, up: int, down: int, live: bool = True) -> dict[int, Held]:
    held = Held(
        session.id, "guest", session.mac, session.addresses, 60, Usage(up, down), open=live, complete=live
    )
    return {session.id: held}


def usage(store: Store, session: Session) -> Usage:
    found = store.session(session.id)
    assert found is not None
    return found.usage


def test_usage_is_the_most_that_was_read(store: Store, clock: Clock) -> None:
    session = online(store, clock())
    for up, down in ((5, 70), (5, 70), (8, 100)):
        store.add_reading(reading(session, up, down), clock())
    assert usage(store, session) == Usage(8, 100)
    # Whatever happened to the kernel's counters, what was counted stays counted.
    store.add_reading(reading(session, 1, 2), clock())
    assert usage(store, session) == Usage(8, 100)
    store.add_reading(reading(session, 9, 2), clock())
    assert usage(store, session) == Usage(9, 100)


def test_the_last_bytes_of_the_ended_are_counted_and_nobody_elses(store: Store, clock: Clock) -> None:
    session, other = online(store, clock()), online(store, clock(), OTHER)
    stranger = {999: Held(999, "guest", "x", frozenset(), 9, Usage(9, 9))}
    store.add_reading(reading(other, 1, 1) | stranger, clock())
    assert usage(store, session) == Usage()
    assert usage(store, other) == Usage(1, 1)
    store.end_session(other.id, End.LEFT, clock())
    store.add_reading(reading(other, 5, 5, live=False), clock())
    assert usage(store, other) == Usage(5, 5)
    store.add_reading({}, clock())
    total = rows(store, "SELECT sum(up), sum(down) FROM usage")
    assert total == [(5, 5)]


def test_granted_at_is_the_first_time(store: Store, clock: Clock) -> None:
    session, other = online(store, clock()), online(store, clock(), OTHER)
    first = clock()
    store.set_granted([session.id], first)
    clock.move(60)
    store.set_granted([session.id, other.id], clock())
    found = [(s.id, s.granted_at) for s in store.live_sessions()]
    assert found == [(session.id, first), (other.id, clock())]


def test_addresses_have_a_history(store: Store, clock: Clock) -> None:
    session = online(store, clock())
    start = clock()

    def move(*addresses: str) -> None:
        clock.move(10)
        store.set_addresses({session.id: frozenset(addresses)}, clock())
        found = store.session(session.id)
        assert found is not None
        assert found.addresses == set(addresses)

    move("10.77.0.50", "10.77.0.51")
    move("10.77.0.51")
    move()
    move(PHONE.ip)
    history = rows(store, "SELECT address, since, until FROM addresses ORDER BY address, since")
    assert history == [
        ("10.77.0.11", start, start + 10),
        ("10.77.0.11", start + 40, None),
        ("10.77.0.50", start + 10, start + 20),
        ("10.77.0.51", start + 10, start + 30),
    ]
    store.set_addresses({}, clock())


def test_forget_removes_what_is_over_and_keeps_the_rest(store: Store, clock: Clock) -> None:
    session = online(store, clock())
    spend(store, [Allowance("old", 1, 100, Reason.BUSY)], clock())
    clock.move(1000)
    kept = sent(store, clock(), OTHER)
    spend(store, [Allowance("new", 1, 100, Reason.BUSY)], clock())
    store.forget(clock() - 500, 0)
    assert rows(store, "SELECT name FROM quotas") == [("new",)]
    assert [challenge.holder for challenge in store.challenges(9)] == [PHONE.mac, OTHER.mac]
    assert store.challenge_of(OTHER.mac, clock()) == kept
    assert store.session(session.id) == session


def test_old_sessions_and_their_numbers_are_deleted_for_good(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    gone, kept = online(store, clock()), online(store, clock(), OTHER, "+4915123450000")
    store.end_session(gone.id, End.LEFT, clock())
    clock.move(1000)
    store.end_session(kept.id, End.LEFT, clock())
    store.forget(clock(), clock() - 500)
    assert store.session(gone.id) is None
    assert store.session(kept.id) is not None
    assert rows(store, "SELECT number FROM accounts") == [("+4915123450000",)]
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    on_disk = b"".join(path.read_bytes() for path in tmp_path.glob("portald.db*"))
    assert gone.account.number.encode() not in on_disk
    assert b"+4915123450000" in on_disk


def test_what_was_counted_in_a_window_that_is_over_is_not_given_back(store: Store) -> None:
    one = [Allowance("one", 2, 100, Reason.BUSY)]
    spend(store, one, 0)
    spend(store, one, 99)
    spend(store, one, 101)
    store.give_back(one, 99)
    assert store.used(101) == {"one": 1}
    store.give_back(one, 101)
    assert store.used(101) == {}


def test_giving_back_never_goes_below_nothing(store: Store) -> None:
    one = [Allowance("one", 1, 100, Reason.BUSY)]
    spend(store, [*one, Allowance("other", 1, 100, Reason.BUSY)], 0)
    store.give_back(one, 0)
    store.give_back(one, 0)
    assert store.wait_for("one", 0) == 0
    assert store.wait_for("other", 0) == 100
    spend(store, one, 0)
    with pytest.raises(Refused):
        spend(store, one, 0)


def test_money_is_counted_in_amounts(store: Store, clock: Clock) -> None:
    def cost(amount: int) -> list[Allowance]:
        return [Allowance("money", 100, 100, Reason.BUSY, amount)]

    assert refusal(lambda: spend(store, cost(101), clock())).retry_after == 0
    spend(store, cost(60), clock())
    assert refusal(lambda: spend(store, cost(41), clock())).retry_after == 100
    spend(store, cost(40), clock())
    store.give_back(cost(30), clock())
    assert store.used(clock()) == {"money": 70}
    spend(store, cost(30), clock())
    clock.move(101)
    assert store.used(clock()) == {}
    spend(store, cost(100), clock())
    assert store.used(clock()) == {"money": 100}


def test_a_window_that_grows(store: Store, clock: Clock) -> None:
    pause = [Allowance("pause", 1, 60, Reason.TOO_SOON, growth=2)]
    for expected in (60, 120, 240, 240):
        spend(store, pause, clock())
        assert store.wait_for("pause", clock()) == expected
        clock.move(expected)
    clock.move(limits.DAY + 1)
    spend(store, pause, clock())
    assert store.wait_for("pause", clock()) == 60
    clock.move(60)
    spend(store, pause, clock())
    store.give_back(pause, clock())  # it was not sent: the next pause is no longer for it
    clock.move(120)
    spend(store, pause, clock())
    assert store.wait_for("pause", clock()) == 120


def test_counts_start_afresh_for_one_number_only(store: Store, clock: Clock) -> None:
    names = [f"texts:{NUMBER}", f"pause:{NUMBER}", f"texts:{OTHER_NUMBER}", "texts"]
    spend(store, [Allowance(name, 1, 60, Reason.BUSY) for name in names], clock())
    assert store.forget_quotas(NUMBER) == 2
    assert set(store.used(clock())) == {f"texts:{OTHER_NUMBER}", "texts"}


def attempt(store: Store, challenge: int, now: float, number: str = NUMBER, **more: Any) -> None:
    values = {
        "provider": "a",
        "country": "US",
        "outcome": Outcome.ACCEPTED,
        "message": f"m{challenge}",
        **more,
    }
    store.add_attempt(Attempt(challenge=challenge, number=number, **values), now)


def test_conversion_counts_numbers_and_not_texts(store: Store, clock: Clock) -> None:
    start = clock()
    for _ in range(3):
        attempt(store, sent(store, clock()).id, clock())
    assert store.conversion("country", "US", start, clock()) == Conversion(1, 0)
    used = sent(store, clock())
    attempt(store, used.id, clock())
    assert store.use_challenge(used.id, clock())
    assert not store.use_challenge(used.id, clock())
    attempt(store, 98, clock(), "+14155559999", provider="b")
    attempt(store, 99, clock(), "+447400123456", country="GB", outcome=Outcome.UNKNOWN, carrier="x")
    attempt(store, 99, clock(), "+447400123456", country="GB", outcome=Outcome.TEMPORARY)
    assert dict(store.conversions("country", start, clock())) == {
        "US": Conversion(2, 1),
    }, "what a carrier's e-mail comes to says nothing of texts"
    assert dict(store.conversions("provider", start, clock())) == {
        "a": Conversion(2, 1),
        "b": Conversion(1, 0),
    }
    assert store.conversion("prefix", "+1415555", start, clock()) == Conversion(2, 1)
    assert store.conversion("carrier", "x", start, clock()) == Conversion(1, 0)
    assert store.conversion("country", "US", clock() + 1, clock() + 2) == Conversion()
    with pytest.raises(ValueError, match="words"):
        list(store.conversions("words", 0, 1))


def test_deliveries(store: Store, clock: Clock) -> None:
    opened = sent(store, clock())
    attempt(store, opened.id, clock())
    attempt(store, opened.id, clock(), message="")
    attempt(store, opened.id, clock(), outcome=Outcome.TEMPORARY)
    assert store.undecided(clock()) == [("a", f"m{opened.id}")]
    assert store.undecided(clock() + 1) == []
    report = Report(f"m{opened.id}", False, "unreachable")
    assert not store.set_delivery("b", report, 0)
    assert not store.set_delivery("a", report, clock() + 1)
    assert store.set_delivery("a", report, clock())
    assert [(row.delivered, row.delivery_words) for row in store.logged(1)] == [(False, "unreachable")]
    found = store.challenge_of(PHONE.mac, clock())
    assert found is not None
    assert found.delivered is False
    assert store.set_delivery("a", replace(report, delivered=True), 0)
    assert not store.set_delivery("a", report, 0), "what was delivered stays delivered"
    assert store.undecided(0) == []


def test_limits_and_gates_are_kept(store: Store, clock: Clock) -> None:
    store.set_limit("texts", 5)
    store.set_limit("texts", 7)
    store.set_limit("money", 2.5)
    assert store.limits() == {"texts": 7, "money": 2.5}
    store.set_limit("texts", None)
    assert store.limits() == {"money": 2.5}
    store.set_gate("GB", True, clock())
    store.set_gate("GB", False, clock() + 1)
    assert store.gates() == {"GB": (False, clock() + 1)}


def test_an_unproven_number_gets_no_group_but_the_networks(store: Store, clock: Clock) -> None:
    session, replaced = store.open_unproven(Sort.NUMBER, NUMBER, PHONE, "SMS", [], clock())
    assert (session.verified, replaced) == (False, [])
    assert online(store, clock()).verified
    store.connection.execute("INSERT INTO groups (name, plan) VALUES ('staff', 'unlimited')")
    store.connection.execute("UPDATE accounts SET group_name = 'staff'")
    assert (
        refusal(lambda: store.open_unproven(Sort.NUMBER, NUMBER, PHONE, "SMS", [], clock())).reason
        is Reason.GROUP_CLOSED
    )


def test_whoever_comes_by_carrier_is_in_the_group_for_it(store: Store, clock: Clock) -> None:
    store.connection.execute("INSERT INTO groups (name, plan) VALUES ('hotel', 'unlimited')")
    first, _ = store.open_proven(sent(store, clock()), Sort.NUMBER, PHONE, "hotel", clock())
    assert first.account.group == "hotel"
    opened = store.open_challenge(wish(PHONE, NUMBER, carrier="x"), 0, [], clock())
    text_sent(store, opened, clock())
    second, _ = store.open_proven(opened, Sort.NUMBER, PHONE, "SMS", clock())
    assert second.account.group == "SMS"

"""Every firewall answers the same questions the same way: in memory, in the kernel, and both
across the socket of the privilege boundary."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest

from portald import access, config
from portald.demo.lab import until
from portald.errors import FirewallError
from portald.firewall import server
from portald.model import Held, Rate, Usage
from portald.ports import Firewall
from tests.firewall.kit import agree, essence, grant, mac_of, meant

GONE = Usage(5, 7)


def test_nothing_is_held_at_first(firewall: Firewall) -> None:
    assert dict(firewall.read()) == {}


def test_a_grant_is_held_until_it_is_removed(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5")], [])
    (held,) = firewall.read().values()
    assert (held.session, held.zone, held.mac) == (256, "guest", mac_of(256))
    assert held.addresses == {"10.0.0.5"}
    assert (held.usage, held.rate, held.left) == (Usage(), Rate(), None)
    assert held.open
    assert held.complete
    assert 3595 <= held.seconds <= 3600
    firewall.apply([], [256])
    assert not firewall.read()[256].open


def test_what_was_removed_keeps_its_bytes_until_they_are_settled(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5", counted=GONE, rate=Rate(1000, 2000), left=10**6)], [])
    firewall.apply([], [256])
    closed = Held(256, "", "", frozenset(), 0, GONE, complete=False, open=False)
    assert dict(firewall.read()) == {256: closed}
    firewall.settle([256])
    assert dict(firewall.read()) == {}


def test_settling_what_is_held_is_nothing(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5", counted=GONE, left=10**6), grant(257)], [])
    firewall.settle([256, 257, 999])
    held = firewall.read()
    assert set(held) == {256, 257}
    assert (held[256].usage, held[256].left) == (GONE, 10**6)
    assert all(h.complete for h in held.values())


def test_settling_what_is_held_again_is_nothing(firewall: Firewall) -> None:
    firewall.apply([grant(256, counted=GONE)], [])
    firewall.apply([], [256])
    firewall.apply([grant(256)], [])
    firewall.settle([256])
    assert firewall.read()[256].usage == GONE


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seconds": 7200},
        {"zone": "staff", "addresses": frozenset({"10.2.0.5"})},
        {"mac": "02:00:00:00:00:99"},
        {"rate": Rate(500, None)},
        {"left": 10**9},
        {"addresses": frozenset()},
    ],
    ids=str,
)
def test_counters_begin_once_and_outlive_every_change(
    firewall: Firewall, change: dict[str, object]
) -> None:
    first = grant(256, "10.0.0.5", counted=GONE)
    firewall.apply([first], [])
    changed = dataclasses.replace(first, counted=Usage(1_000, 2_000), **change)  # type: ignore[arg-type]
    firewall.apply([changed], [])
    assert firewall.read()[256].usage == GONE
    assert essence(firewall.read()) == meant([changed])
    firewall.setup()
    assert firewall.read()[256].usage == GONE
    firewall.apply([], [256])
    firewall.apply([changed], [])
    assert firewall.read()[256].usage == GONE
    firewall.apply([], [256])
    firewall.settle([256])
    firewall.apply([changed], [])
    assert firewall.read()[256].usage == Usage(1_000, 2_000), "the kernel had none"


def test_a_rate_and_a_volume_come_and_go(firewall: Firewall) -> None:
    for rate, left in [
        (Rate(), None),
        (Rate(1, 10_000_000), None),
        (Rate(1_234_567, None), 2**40),
        (Rate(None, 999), 2**40),
        (Rate(None, 999), 77),
        (Rate(), 0),
        (Rate(), None),
    ]:
        firewall.apply([grant(256, "10.0.0.5", rate=rate, left=left), grant(257, rate=Rate(64, 64))], [])
        held = firewall.read()
        assert (held[256].rate, held[256].left) == (rate, left)
        assert (held[257].rate, held[257].left) == (Rate(64, 64), None)
        assert held[256].complete
        assert held[257].complete


def test_a_device_in_another_network(firewall: Firewall) -> None:
    wanted = [grant(256, "10.0.0.5"), grant(257, "10.2.0.5", "10.2.0.6", zone="staff")]
    firewall.apply(wanted, [])
    assert essence(firewall.read()) == meant(wanted)


def test_a_device_without_ipv4_and_one_with_several_addresses(firewall: Firewall) -> None:
    wanted = [grant(256), grant(257, "10.0.0.5", "10.0.0.6", "fe80::5", "2001:db8::5")]
    firewall.apply(wanted, [])
    assert essence(firewall.read()) == meant(wanted)
    assert firewall.read()[257].ipv6 in (None, {"fe80::5", "2001:db8::5"})


def test_removing_what_is_not_there_is_no_error(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5")], [999, 1000])
    firewall.apply([], [999])
    assert set(firewall.read()) == {256}


def test_adding_again_renews_the_time(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5", seconds=60)], [])
    firewall.apply([grant(256, "10.0.0.5", seconds=7200)], [])
    (held,) = firewall.read().values()
    assert 7190 <= held.seconds <= 7200
    firewall.apply([grant(256, "10.0.0.5", seconds=30)], [])
    (held,) = firewall.read().values()
    assert held.seconds <= 30


def test_a_changed_address_replaces_the_old_one(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5", "10.0.0.6")], [])
    firewall.apply([grant(256, "10.0.0.6", "10.0.0.7")], [])
    (held,) = firewall.read().values()
    assert held.addresses == {"10.0.0.6", "10.0.0.7"}


def test_a_new_session_of_the_same_device_takes_over(firewall: Firewall) -> None:
    mac = "02:00:00:00:00:01"
    firewall.apply([grant(256, "10.0.0.5", mac=mac)], [])
    firewall.apply([grant(257, "10.0.0.5", mac=mac)], [256])
    assert essence(firewall.read()) == meant([grant(257, "10.0.0.5", mac=mac)])


def test_setup_again_keeps_grants(firewall: Firewall) -> None:
    wanted = [grant(256, "10.0.0.5", rate=Rate(1000, 2000), left=10**6)]
    firewall.apply(wanted, [])
    firewall.setup()
    assert essence(firewall.read()) == meant(wanted)
    assert firewall.read()[256].left == 10**6


def test_a_grant_ends_by_itself_and_leaves_its_bytes(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5", seconds=1, counted=GONE, rate=Rate(9, 9), left=10**6)], [])
    until(lambda: not firewall.read()[256].open, "it does not end", 5)
    closed = Held(256, "", "", frozenset(), 0, GONE, complete=False, open=False)
    assert dict(firewall.read()) == {256: closed}
    firewall.settle([256])
    assert dict(firewall.read()) == {}
    firewall.apply([grant(256, "10.0.0.5")], [])
    assert essence(firewall.read()) == meant([grant(256, "10.0.0.5")])


def test_three_thousand_guests_in_one_transaction(firewall: Firewall) -> None:
    many = [grant(1000 + n, f"10.1.{n // 250}.{n % 250 + 1}") for n in range(3000)]
    firewall.apply(many, [])
    assert essence(firewall.read()) == meant(many)
    firewall.apply([], [g.session for g in many])
    assert essence(firewall.read()) == {}
    firewall.settle([g.session for g in many])
    assert dict(firewall.read()) == {}


def test_a_random_walk_between_states(firewall: Firewall) -> None:
    """Whatever was before, ``difference`` and ``apply`` lead to what is wanted."""
    chance = random.Random(4)
    for _ in range(12):
        wanted = [
            grant(
                session,
                *(f"10.0.{session % 256}.{n}" for n in range(1, chance.randrange(1, 4))),
                rate=chance.choice([Rate(), Rate(1000, 2000), Rate(None, 500)]),
                left=chance.choice([None, 10**6, 10**9]),
            )
            for session in chance.sample(range(256, 276), chance.randrange(0, 15))
        ]
        agree(firewall, wanted)
        held = firewall.read()
        assert essence(held) == meant(wanted)
        assert access.difference(wanted, held) == ([], [], [])


def test_waiting_ends_when_nothing_happens(firewall: Firewall) -> None:
    assert not firewall.wait(0)
    assert not firewall.wait(0.05)
    firewall.apply([grant(256, "10.0.0.5", left=10**6)], [])
    firewall.setup()
    firewall.apply([], [256])
    assert not firewall.wait(0.3), "what portald does itself is no news"


def test_an_empty_machine_has_no_alarms(firewall: Firewall) -> None:
    assert firewall.survey() == []


def test_a_firewall_that_was_closed_can_be_asked_nothing(firewall: Firewall) -> None:
    if close := getattr(firewall, "close", None):
        firewall.read()
        close()
        with pytest.raises(FirewallError):
            firewall.wait(5)


def test_both_ends_agree_on_what_is_too_much() -> None:
    longest = next(f for f in dataclasses.fields(config.Firewall) if f.name == "longest")
    assert longest.metadata["high"] == server.LONGEST
    assert access.MOST_ADDRESSES == server.MOST_ADDRESSES


def test_session_numbers_of_all_walks_stay_apart() -> None:
    """The kit gives each session a MAC of its own, or the walks would prove nothing."""
    macs = [grant(session).mac for session in range(256, 4200)]
    assert all(a != b for a, b in itertools.pairwise(macs))
    assert len(set(macs)) == len(macs)

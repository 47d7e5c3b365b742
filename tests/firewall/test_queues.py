"""Rates kept by queues: classes come and go with sessions, and nobody else's queue is touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portald import access
from portald.demo.lab import until
from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands, queues
from portald.firewall.nftables import NftFirewall
from portald.model import Grant, Rate
from tests.firewall.conftest import RULES, ZONES, nftables, queueing
from tests.firewall.kit import agree, essence, grant, meant
from tests.firewall.road import ADDRESS, MAC, SERVER, Road, built, lines

pytestmark = pytest.mark.lab

STAFF = grant(256, "10.2.0.5", zone="staff", rate=Rate(1000, 2000))
FAST = grant(257, "10.0.0.6", rate=Rate(None, 5_500_001))


@pytest.fixture
def queued(own_network: None) -> NftFirewall:
    made = queueing()
    made.setup()
    return made


def again() -> NftFirewall:
    """A new helper."""
    made = NftFirewall(RULES, ZONES, 8080, uplinks=["wan0"])
    made.setup()
    return made


def classes(device: str) -> dict[int, int]:
    return queues._classes(device)


def root(device: str) -> str:
    return queues._roots().get(device, ("", "0:"))[1]  # nothing is shown of a device that is down


def test_each_direction_waits_on_its_own_devices(queued: NftFirewall) -> None:
    queued.apply([STAFF, FAST], [])
    assert sorted(classes("wan0").values()) == [1000]
    assert sorted(classes("br-staff").values()) == sorted(classes("vlan7").values()) == [2000]
    assert sorted(classes("br-guest").values()) == [5_500_000]
    assert essence(queued.read()) == meant([STAFF, FAST])
    assert access.difference([STAFF, FAST], queued.read()) == ([], [], [])
    queued.apply([grant(256, "10.0.0.5", rate=Rate(None, 3000))], [257])
    assert classes("wan0") == classes("br-staff") == classes("vlan7") == {}
    assert sorted(classes("br-guest").values()) == [3000]
    queued.apply([grant(256, "10.0.0.5")], [])
    assert classes("br-guest") == {}


def test_a_renewal_touches_no_queue(queued: NftFirewall, monkeypatch: pytest.MonkeyPatch) -> None:
    queued.apply([STAFF], [])
    runs: list[str] = []
    run = commands.run

    def counted(*command: str, input: str | None = None) -> str:
        runs.append(command[0])
        return run(*command, input=input)

    monkeypatch.setattr(commands, "run", counted)
    queued.apply([STAFF], [])
    assert [run for run in runs if run != "conntrack"] == ["nft"]


def test_a_new_helper_goes_on_with_the_classes_there_are(queued: NftFirewall) -> None:
    queued.apply([STAFF, FAST], [])
    commands.run(
        "tc", "class", "add", "dev", "wan0", "parent", "7061:", "classid", "7061:77", "htb", "rate", "1mbit"
    )
    before = classes("br-staff")
    second = again()
    assert classes("br-staff") == before
    assert 0x77 not in classes("wan0"), "nothing leads there"
    third = grant(258, "10.0.0.7", rate=Rate(5, 5))
    agree(second, [STAFF, FAST, third])
    assert essence(second.read()) == meant([STAFF, FAST, third])
    minors = [*classes("br-staff"), *classes("br-guest")]
    assert len(set(minors)) == len(minors) == 3, "no two share a class"


def test_classes_are_used_again(queued: NftFirewall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "TRIAL", queues.FIRST + 2)
    for session in range(300, 310, 2):
        both = [grant(n, f"10.0.0.{n % 256}", rate=Rate(9, 9)) for n in (session, session + 1)]
        queued.apply(both, [])
        assert essence(queued.read()) == meant(both)
        queued.apply([], [session, session + 1])
        queued.settle([session, session + 1])
    queued.apply([STAFF, FAST], [])
    with pytest.raises(FirewallError, match="more sessions"):
        queued.apply([grant(258, "10.0.0.7", rate=Rate(5, 5))], [])
    queued.apply([], [257])
    queued.apply([grant(258, "10.0.0.7", rate=Rate(5, 5))], [])


def test_a_timed_out_session_leaves_its_class_when_it_is_settled(queued: NftFirewall) -> None:
    queued.apply([grant(256, "10.0.0.5", rate=Rate(5, 5), seconds=1)], [])
    until(lambda: not queued.read()[256].open, "it does not end", 5)
    assert len(classes("br-guest")) == 1
    queued.settle([256])
    assert classes("br-guest") == classes("wan0") == {}


@pytest.mark.parametrize(
    "damage",
    [
        "tc class del dev vlan7 classid 7061:10",
        "tc class del dev wan0 classid 7061:10",
        "tc class replace dev wan0 parent 7061: classid 7061:10 htb rate 5mbit",
        "nft flush map inet portald prio_up",
        "nft flush map inet portald prio_dn",
    ],
)
def test_a_lost_class_is_seen_and_made_anew(queued: NftFirewall, damage: str) -> None:
    queued.apply([STAFF], [])
    commands.run(*damage.split())
    assert access.difference([STAFF], queued.read())[0] == [STAFF]
    agree(queued, [STAFF])
    assert access.difference([STAFF], queued.read()) == ([], [], [])
    assert classes("vlan7") == {0x10: 2000}


def test_a_lost_queue_is_seen_and_made_anew(queued: NftFirewall) -> None:
    queued.apply([STAFF], [])
    commands.run("tc", "qdisc", "del", "dev", "br-staff", "root")
    with pytest.raises(RulesMissing, match="br-staff"):
        queued.read()
    queued.setup()
    agree(queued, [STAFF])
    assert essence(queued.read()) == meant([STAFF])


def test_a_device_that_is_away_stops_nobody(queued: NftFirewall) -> None:
    queued.apply([STAFF], [])
    commands.run("ip", "link", "del", "vlan7")
    assert essence(queued.read()) == meant([STAFF])
    commands.run("ip", "link", "add", "vlan7", "type", "veth", "peer", "name", "vlan7-x")
    with pytest.raises(RulesMissing, match="vlan7"):
        queued.read()
    queued.setup()
    agree(queued, [STAFF])
    assert classes("vlan7") == classes("br-staff")


def test_a_queue_of_somebody_else_is_not_replaced(queued: NftFirewall) -> None:
    queued.teardown()
    assert {root(name) for name in ("wan0", "br-guest", "br-staff", "vlan7")} == {"0:"}
    commands.run("tc", "qdisc", "add", "dev", "wan0", "root", "handle", "1:", "htb")
    with pytest.raises(
        FirewallError, match=r"wan0 has a queue of its own \(htb 1:\).*tc qdisc del dev wan0 root"
    ):
        again()
    assert root("wan0") == "1:"
    nftables().setup()
    assert root("wan0") == "1:"
    nftables().teardown()
    assert root("wan0") == "1:"


def test_going_back_to_limits_takes_the_queues_away(queued: NftFirewall) -> None:
    queued.apply([STAFF], [])
    limited = nftables()
    limited.setup()
    assert {root(name) for name in ("wan0", "br-guest", "br-staff", "vlan7")} == {"0:"}
    agree(limited, [STAFF])
    assert essence(limited.read()) == meant([STAFF])
    second = again()
    agree(second, [STAFF])
    assert essence(second.read()) == meant([STAFF])
    assert "0x" not in commands.run("nft", "list", "set", "inet", "portald", "rate_up")


def test_an_interface_that_is_no_uplink_any_more_is_free_again(queued: NftFirewall) -> None:
    NftFirewall(RULES, ZONES, 8080, uplinks=["br-guest"]).setup()
    assert root("wan0") == "0:"
    assert root("br-guest") == queues.ROOT


# With traffic -----------------------------------------------------------------------------


@pytest.fixture
def road(own_network: None) -> Iterator[Road]:
    with built() as made:
        yield made


@pytest.fixture
def shaped(road: Road) -> NftFirewall:
    made = NftFirewall(RULES, {"guest": ["br-guest"]}, 8080, uplinks=["wan"])
    made.setup()
    return made


def ours(rate: Rate) -> Grant:
    return grant(256, ADDRESS, mac=MAC, rate=rate)


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_rates_hold(shaped: NftFirewall, road: Road, family: str, way: str) -> None:
    # One way at a time: acknowledgements wait behind uploads, where the kernel has no fairer queue.
    shaped.apply([ours(Rate(4_000, 12_000))], [])
    rate = road.do(way, SERVER[family], "2", "1")
    assert 0.8 < rate / {"up": 500_000, "down": 1_500_000}[way] < 1.25
    until(lambda: road.passed() == shaped.read()[256].usage, "counted otherwise than forwarded")


def test_everybody_else_is_as_fast_as_the_line(shaped: NftFirewall, road: Road) -> None:
    shaped.apply([ours(Rate())], [])
    assert road.do("fetch", SERVER["4"], "100000000") == 100_000_000


def test_connections_follow_a_new_rate(shaped: NftFirewall, road: Road) -> None:
    shaped.apply([ours(Rate())], [])
    stream = road.start("steady", SERVER["4"], "30")
    assert min(lines(stream, 4)[1:]) > 1_000_000
    shaped.apply([ours(Rate(None, 8000))], [])
    # First comes what was in buffers on the way.
    until(lambda: sum(lines(stream, 10)) < 1_250_000, "the rate does not come")
    assert sum(lines(stream, 10)) > 500_000
    shaped.apply([ours(Rate())], [])
    until(lambda: lines(stream, 1)[0] > 1_000_000, "the rate stays")

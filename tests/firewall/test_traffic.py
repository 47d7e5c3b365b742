"""Real packets through the kernel: rates, volumes, counters that miss nothing, and the garden."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from portald.demo.lab import until
from portald.firewall import commands
from portald.firewall.nftables import NftFirewall
from portald.model import Grant, Rate, Usage
from tests.firewall.kit import grant
from tests.firewall.road import ADDRESS, MAC, SERVER, Road, built, lines

pytestmark = pytest.mark.lab

FAMILIES = ["4", "6"]


def ours(**more: object) -> Grant:
    return grant(256, ADDRESS, mac=MAC, **more)  # type: ignore[arg-type]


@pytest.fixture
def road(nft: NftFirewall) -> Iterator[Road]:
    with built() as made:
        yield made


def test_a_device_passes_while_it_has_a_grant(nft: NftFirewall, road: Road) -> None:
    for family in FAMILIES:
        assert road.do("fetch", SERVER[family], "1000") == 0
    nft.apply([ours()], [])
    for family in FAMILIES:
        assert road.do("fetch", SERVER[family], "1000") == 1000
    nft.apply([], [256])
    for family in FAMILIES:
        assert road.do("fetch", SERVER[family], "1000") == 0
    assert nft.read()[256].usage == road.passed()


@pytest.mark.parametrize("family", FAMILIES)
def test_rates_hold_in_both_directions_at_once(nft: NftFirewall, road: Road, family: str) -> None:
    nft.apply([ours(rate=Rate(4_000, 12_000))], [])
    both = road.start("up", SERVER[family], "2", "1.5"), road.start("down", SERVER[family], "2", "1.5")
    up, down = (float(process.communicate(timeout=30)[0]) for process in both)
    assert 0.8 < up / 500_000 < 1.25
    assert 0.8 < down / 1_500_000 < 1.25


@pytest.mark.parametrize("family", FAMILIES)
def test_a_volume_is_cut_to_the_packet(nft: NftFirewall, road: Road, family: str) -> None:
    nft.apply([ours(left=2_000_000)], [])
    received = road.do("fetch", SERVER[family], "10000000")
    passed = road.passed()
    assert 2_000_000 - 66_000 < passed.up + passed.down <= 2_000_000
    assert 1_800_000 < received < 2_000_000
    held = nft.read()[256]
    assert (held.left, held.usage) == (0, passed)
    nft.apply([ours(left=1_000_000)], [])
    assert road.do("fetch", SERVER[family], "1000") == 1000


def test_connections_follow_a_new_rate_and_a_new_volume_at_once(nft: NftFirewall, road: Road) -> None:
    nft.apply([ours()], [])
    stream = road.start("steady", SERVER["4"], "30")
    assert min(lines(stream, 4)[1:]) > 1_000_000
    nft.apply([ours(rate=Rate(None, 800))], [])
    lines(stream, 15)  # the limit begins with a second's worth
    assert sum(lines(stream, 10)) < 130_000
    nft.apply([ours()], [])
    until(lambda: lines(stream, 1)[0] > 1_000_000, "the rate stays")
    nft.apply([ours(left=100_000)], [])
    lines(stream, 2)
    assert sum(lines(stream, 5)) == 0
    passed = road.passed()
    assert nft.read()[256].usage == passed


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", [{"left": 0}, {"rate": Rate(None, 8)}], ids=str)
def test_a_flood_that_nobody_answers_follows_at_once_too(
    nft: NftFirewall, road: Road, family: str, change: dict[str, object]
) -> None:
    """The mark of its connection is set by what the device sends, and it sends nothing."""
    nft.apply([ours()], [])
    stream = road.start("listen", SERVER[family], "30")
    until(lambda: lines(stream, 1)[0] > 20_000, "it does not come")
    nft.apply([ours(**change)], [])
    lines(stream, 3)
    assert sum(lines(stream, 3)) <= 132_000 * ("rate" in change)
    until(lambda: sum(lines(stream, 5)) < 3000, "it goes on")
    nft.apply([ours()], [])
    until(lambda: lines(stream, 1)[0] > 20_000, "it stays closed")


def test_not_a_byte_is_lost_or_counted_twice_whatever_is_changed(nft: NftFirewall, road: Road) -> None:
    nft.apply([ours()], [])
    streams = [road.start("fetch", SERVER[family], "300000000") for family in FAMILIES]
    changes = itertools.cycle(
        [
            ours(seconds=1800),
            ours(rate=Rate(None, 5_000_000)),
            ours(rate=Rate(5_000_000, None), left=10**10),
            ours(left=10**10),
            ours(left=10**11),
            ours(),
        ]
    )
    last = Usage()
    rounds = 0
    while any(stream.poll() is None for stream in streams):
        nft.apply([next(changes)], [])
        if rounds % 7 == 0:
            nft.setup()
        usage = nft.read()[256].usage
        assert usage.up >= last.up
        assert usage.down >= last.down
        last, rounds = usage, rounds + 1
    assert [stream.communicate()[0] for stream in streams] == ["300000000\n"] * 2
    until(lambda: nft.read()[256].usage == road.passed(), "counted otherwise than forwarded")
    assert road.passed().down > 600_000_000
    assert rounds > 2


# The walled garden ------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["settings", "dnsmasq"])
def test_the_garden_is_open_to_all_and_counted_to_nobody(
    nft: NftFirewall, road: Road, family: str, how: str
) -> None:
    name = f"garden{family}" + ("_net" if how == "settings" else "")
    commands.nft(f"add element inet portald {name} {{ {SERVER[family]} }}")
    assert road.do("fetch", SERVER[family], "100000") == 100_000
    nft.apply([ours(left=0)], [])
    assert road.do("fetch", SERVER[family], "100000") == 100_000
    assert nft.read()[256].usage == Usage()
    other = SERVER["6" if family == "4" else "4"]
    assert road.do("fetch", other, "1000") == 0


def test_only_answers_come_back_from_the_garden(nft: NftFirewall, road: Road) -> None:
    commands.nft(f"add element inet portald garden4 {{ {SERVER['4']} }}")
    code = "import socket; socket.create_connection(('10.0.0.5', 9000), 1)"
    road.device.start("python3", "-m", "http.server", "9000")
    assert "Error" in road.server.run("sh", "-c", f'python3 -c "{code}" 2>&1', check=False)


def test_a_port_80_of_the_garden_is_not_the_portal(nft: NftFirewall, road: Road) -> None:
    road.server.start("python3", "-m", "http.server", "80")
    ask = "import urllib.request as u; print(u.urlopen('http://203.0.113.10/', timeout=2).status)"
    commands.nft(f"add element inet portald garden4 {{ {SERVER['4']} }}")
    until(lambda: "200" in road.device.run("python3", "-c", ask, check=False), "not reached")
    commands.nft("flush set inet portald garden4")
    assert "200" not in road.device.run("python3", "-c", ask, check=False)

"""Foreign changes are seen at once, put right, and told; everybody's daily work wakes nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from portald.demo.lab import until
from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands, watch
from portald.firewall.nftables import NftFirewall
from portald.ports import Firewall
from tests.firewall.kit import agree, essence, grant, meant

pytestmark = pytest.mark.lab

GRANT = grant(256, "10.0.0.5", left=10**6)


@pytest.fixture
def watched(nft: NftFirewall) -> Iterator[NftFirewall]:
    nft.apply([GRANT], [])
    nft.wait(0)
    yield nft
    nft._chains = None  # the thread goes on, and has nothing to mend any more


@pytest.mark.parametrize(
    "damage",
    [
        ["nft", "flush", "ruleset"],
        ["nft", "delete", "table", "inet", "portald"],
        ["nft", "flush", "table", "inet", "portald"],
        ["nft", "insert", "rule", "inet", "portald", "up", "accept"],
        ["nft", "add", "chain", "inet", "portald", "extra"],
        ["nft", "add", "table", "inet", "portald", "{ flags dormant; }"],
        ["ip", "-4", "rule", "flush"],
        ["ip", "-6", "rule", "del", "pref", "1000"],
    ],
    ids=lambda damage: " ".join(damage[:6]),
)
def test_damage_is_mended_at_once_and_told(watched: NftFirewall, damage: list[str]) -> None:
    commands.run(*damage)
    assert watched.wait(10)
    watched.read()
    agree(watched, [GRANT])
    assert essence(watched.read()) == meant([GRANT])
    assert not watched.wait(0.2), "told once"


def test_what_comes_between_two_waits_is_told_too(watched: NftFirewall) -> None:
    commands.run("nft", "flush", "ruleset")
    until(lambda: "forward" in commands.run("nft", "list", "ruleset"), "not mended")
    assert watched.wait(5)


def test_daily_work_wakes_nobody(watched: NftFirewall) -> None:
    commands.nft("add element inet portald garden4 { 198.51.100.7 }")
    commands.nft("add table inet other\nadd chain inet other c\nadd rule inet other c accept")
    commands.nft("delete table inet other")
    commands.run("ip", "rule", "add", "pref", "2000", "fwmark", "0x100", "lookup", "main")
    watched.apply([grant(257, "10.0.0.6", left=5)], [256])
    watched.settle([256])
    watched.setup()
    assert not watched.wait(0.5)


def test_elements_cause_no_look(nft: NftFirewall, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []

    def look() -> bool:
        looks.append(True)
        return False

    seen = watch.Watch(look)
    seen.wait(0)
    commands.nft("add element inet portald garden4 { 198.51.100.7 }")
    nft.apply([GRANT], [])
    nft.apply([], [256])
    commands.run("ip", "rule", "add", "pref", "2000", "fwmark", "0x100", "lookup", "main")
    assert not seen.wait(0.3)
    assert looks == []
    commands.nft("add rule inet portald up accept")
    until(lambda: looks, "a rule is something to look at")


def test_two_that_undo_each_other_do_not_burn_the_processor(
    watched: NftFirewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    installs: list[float] = []
    real = watched._install

    def install() -> None:
        installs.append(time.monotonic())
        real()

    monkeypatch.setattr(watched, "_install", install)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        commands.run("nft", "flush", "ruleset")
    assert len(installs) <= watch.MOST_REPAIRS
    commands.run("nft", "flush", "ruleset")
    with pytest.raises(RulesMissing):
        watched.read()
    watched.setup()  # as the round does
    assert watched.read() == {}


def test_too_much_news_is_a_reason_to_look(own_network: None) -> None:
    source = watch._nftables()
    source.setsockopt(1, 8, 1)  # SO_RCVBUF: as small as can be
    commands.nft("add table inet other\n" + "".join(f"add chain inet other c{n}\n" for n in range(200)))
    assert watch.drained(source)
    assert not watch.drained(source)
    source.close()


def test_broken_messages_are_the_end_of_the_message() -> None:
    assert list(watch.messages(b"")) == []
    assert list(watch.messages(b"\0" * 40)) == []
    assert not watch._concerns_us(32, b"")
    assert list(watch.messages(b"\x10\0\0\0\x20\0" + b"\0" * 10)) == [(32, b"")]


ACROSS = ["remote-memory", pytest.param("remote-nftables", marks=pytest.mark.lab)]


@pytest.mark.parametrize("firewall", ACROSS, indirect=True)
def test_news_of_a_watched_firewall_crosses_the_socket(firewall: Firewall) -> None:
    def wait() -> None:
        with pytest.raises(FirewallError):
            firewall.wait(10)

    waiting = threading.Thread(target=wait)
    waiting.start()
    firewall.apply([grant(256)], [])  # waiting holds nobody up
    waiting.join(0.1)
    assert waiting.is_alive()
    firewall.close()  # type: ignore[attr-defined]
    waiting.join(5)
    assert not waiting.is_alive()

"""What a guest notices of restarts, kills and foreign hands: nothing, or a closed door."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from portald.demo.lab import end, until
from portald.demo.venue import PORTAL, SITE, WEB, Venue, form_token
from tests.lab import wire
from tests.lab.test_gateway import online, shorten
from tests.lab_fixtures import require_lab, venue_with_phone

pytestmark = pytest.mark.lab


@pytest.fixture
def venue() -> Iterator[Venue]:
    """A venue of its own for each test, with one guest online."""
    with venue_with_phone() as built:
        assert built.log_in(built.phone)["location"] == "/status"
        until(lambda: online(built, built.phone), "the guest is not online")
        yield built


class Pings:
    """A guest's datagrams every 10 ms, echoed by the internet; counts the ones that were lost."""

    CODE = (
        "import socket,sys,time,json\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(1)\n"
        "sent=lost=0\n"
        "print('on',flush=True)\n"
        "end=time.time()+float(sys.argv[2])\n"
        "while time.time()<end:\n"
        "  sent+=1\n"
        "  try:\n"
        "    s.sendto(b'%d'%sent,(sys.argv[1],9999))\n"
        "    while s.recv(100)!=b'echo %d'%sent: pass\n"
        "  except OSError: lost+=1\n"
        "  time.sleep(0.01)\n"
        "print(json.dumps([sent,lost]))\n"
    )

    def __init__(self, venue: Venue, seconds: float) -> None:
        sink = ["sink", "9999", str(venue.scratch / "sink")]
        venue.internet.start(sys.executable, "-I", wire.__file__, *sink)
        until((venue.scratch / "sink").exists, "the sink does not start")
        command = [sys.executable, "-I", "-c", self.CODE, WEB[0], str(seconds)]
        self._process = subprocess.Popen(venue.phone.command(*command), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._process.stdout.readline()

    def lost(self) -> int:
        sent, lost = json.loads(self._process.communicate(timeout=60)[0])
        assert sent > 50
        return int(lost)


def stop(venue: Venue, which: str, how: signal.Signals) -> None:
    process: subprocess.Popen[Any] = getattr(venue, which)
    process.send_signal(how)
    process.wait(20)


RESTARTS = [
    pytest.param(how, which, id=f"{how.name}-{'+'.join(which)}")
    for how in (signal.SIGTERM, signal.SIGKILL)
    for which in (["daemon"], ["helper"], ["daemon", "helper"], ["helper", "daemon"])
]


@pytest.mark.parametrize(("how", "which"), RESTARTS)
def test_a_restart_costs_no_session_and_no_packet(
    venue: Venue, how: signal.Signals, which: list[str]
) -> None:
    before = venue.sessions()
    pings = Pings(venue, 4)
    for name in which:
        stop(venue, name, how)
    time.sleep(0.3)
    for name in which:
        getattr(venue, f"start_{name}")()
    until(lambda: "agreed" in venue.ctl("status", check=False), "no good round after the restart", 15)
    assert pings.lost() == 0
    after = venue.sessions()
    keys = ("id", "mac", "started_at", "expires_at", "granted")
    assert [[row[k] for k in keys] for row in after] == [[row[k] for k in keys] for row in before]
    assert online(venue, venue.phone, "6")


def test_bytes_survive_a_restart_of_both(venue: Venue) -> None:
    venue.fetch(venue.phone, f"http://{SITE}/bytes/1000000", "4")
    until(lambda: venue.sessions()[0]["down"] > 1_000_000, "not counted")
    for name in ("daemon", "helper"):
        stop(venue, name, signal.SIGKILL)
    venue.fetch(venue.phone, f"http://{SITE}/bytes/1000000", "4")
    venue.start()
    until(lambda: venue.sessions()[0]["down"] > 2_000_000, "what flowed meanwhile is not counted")
    assert venue.sessions()[0]["down"] < 2_300_000, "and nothing twice"


def test_without_portald_the_kernel_ends_access_at_the_deadline(venue: Venue) -> None:
    session = venue.sessions()[0]["id"]
    deadline = time.time() + 4
    shorten(venue, session, 4)
    until(lambda: held(venue) <= 4, "the kernel does not learn the deadline")
    for name in ("daemon", "helper"):
        stop(venue, name, signal.SIGKILL)
    assert online(venue, venue.phone)
    until(lambda: not online(venue, venue.phone), "still online", 10)
    assert time.time() < deadline + 1.5
    assert not online(venue, venue.phone, "6")


def held(venue: Venue) -> float:
    listing = json.loads(venue.gateway.run("nft", "-j", "list", "map", "inet", "portald", "sess6"))
    (element,) = listing["nftables"][1]["map"]["elem"]
    return float(element[0]["elem"]["expires"])


def refused(venue: Venue) -> bool:
    """A connection of the guest does not get out, in either family."""
    return all("error" in venue.do(venue.phone, "connect", SITE, "443", family) for family in "46")


def test_a_foreign_flush_closes_the_gateway_and_is_repaired(venue: Venue) -> None:
    assert venue.daemon
    venue.daemon.send_signal(signal.SIGSTOP)
    venue.gateway.run("nft", "flush", "ruleset")
    assert all("error" in venue.do(venue.phone, "connect", address, "443") for address in WEB), (
        "the ip rule keeps guests in"
    )
    venue.gateway.run("nft", "add table ip venue")
    venue.gateway.run("nft", "add chain ip venue out { type nat hook postrouting priority srcnat; }")
    venue.gateway.run("nft", "add rule ip venue out oifname wan masquerade")
    venue.daemon.send_signal(signal.SIGCONT)
    until(lambda: online(venue, venue.phone), "the rules do not come back", 10)
    assert online(venue, venue.phone, "6")
    assert venue.sessions()[0]["granted"]


def test_foreign_rules_and_elements_do_not_last(venue: Venue) -> None:
    """Somebody opens the door by hand: the next round closes it."""
    stranger = venue.guest("stranger")
    venue.lease(stranger)
    mac = venue.mac(stranger)
    assert not online(venue, stranger)
    venue.gateway.run("nft", "insert", "rule", "inet", "portald", "up", "accept")
    venue.gateway.run("nft", f'add element inet portald sess6 {{ "br-guest" . {mac} timeout 1h : 0x999 }}')
    until(lambda: mac not in venue.elements(), "a foreign element stays")
    until(
        lambda: (
            "ether" not in venue.gateway.run("nft", "list", "chain", "inet", "portald", "up")
            and not online(venue, stranger)
        ),
        "a foreign rule stays",
    )
    assert online(venue, venue.phone)


def test_the_database_decides_after_a_kill(venue: Venue) -> None:
    """Elements of a session the store does not know go; those it knows come."""
    session = venue.sessions()[0]["id"]
    for name in ("daemon", "helper"):
        stop(venue, name, signal.SIGKILL)
    venue.gateway.run("nft", f"delete element inet portald acct_dn {{ {session} }}")
    venue.gateway.run("nft", "add element inet portald acct_up { 4711 }")
    venue.start()
    until(lambda: venue.elements().count(f"0x{session:08x}") == 4, "the session is not completed")
    until(lambda: f"0x{4711:08x}" not in venue.elements(), "the stranger stays")


def test_logging_in_while_the_helper_is_away(venue: Venue) -> None:
    """The guest waits on a page that goes on by itself; nothing is lost."""
    late = venue.guest("late")
    venue.lease(late)
    stop(venue, "helper", signal.SIGKILL)
    assert venue.log_in(late, "+4915123450020")["location"] == "/status"
    page = venue.fetch(late, f"http://{PORTAL}/status")["body"]
    assert "Almost there" in page
    assert 'http-equiv="refresh"' in page
    assert not online(venue, late)
    until(lambda: "could not be compared" in venue.ctl("status", check=False), "the operator is not told")
    venue.start_helper()
    until(lambda: online(venue, late), "the grant does not come")
    until(
        lambda: "You are online" in venue.fetch(late, f"http://{PORTAL}/status")["body"],
        "the page does not go on",
    )


def test_revoking_while_the_helper_is_away(venue: Venue) -> None:
    stop(venue, "helper", signal.SIGKILL)
    venue.ctl("revoke", venue.mac(venue.phone))
    assert venue.sessions() == []
    venue.start_helper()
    until(lambda: not online(venue, venue.phone), "the revoked guest stays online")


def test_a_text_on_its_way_when_portald_is_killed(venue: Venue) -> None:
    """Numbers ending in 0007 are slow in the sandbox; the guest is not left waiting for ever."""
    slow = venue.guest("slow")
    venue.lease(slow)
    token = form_token(venue.fetch(slow, f"http://{PORTAL}/")["body"])
    started = time.monotonic()
    answer = venue.fetch(slow, f"http://{PORTAL}/number", form=f"form={token}&number=%2B4915123450007")
    assert answer["location"] == "/code"
    assert time.monotonic() - started < 2, "no request waits for a provider"
    assert "Sending your code" in venue.fetch(slow, f"http://{PORTAL}/code")["body"]
    stop(venue, "daemon", signal.SIGKILL)
    venue.start_daemon()
    page = venue.fetch(slow, f"http://{PORTAL}/code")["body"]
    assert "We do not know whether the text was sent" in page
    assert 'id="code"' not in page, "its code died with portald"


def test_nothing_is_left_behind() -> None:
    """Even when the lab's own process is killed."""
    require_lab()
    code = "from portald.demo.venue import Venue\nwith Venue() as v:\n v.start()\n"
    code += " print(v.scratch, flush=True)\n input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    scratch = process.stdout.readline().strip()

    def alive() -> str:
        return subprocess.run(["pgrep", "-f", scratch], capture_output=True, text=True).stdout

    assert alive()
    process.kill()
    process.wait()
    until(lambda: not alive(), "processes are left behind", 5)
    subprocess.run(["rm", "-rf", scratch], check=True)
    end(process)

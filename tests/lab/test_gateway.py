"""The gateway on a real kernel: who gets through, who does not, and what attackers can do."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portald.demo.lab import Host, LabError, until
from portald.demo.venue import PORTAL, SITE, WEB, Venue, form_token
from tests.lab import wire

pytestmark = pytest.mark.lab

GATEWAY_MAC = "02:77:00:00:00:01"
PROBE = f"http://{SITE}/hotspot-detect.html"
numbers = (f"+49151234{n:05}" for n in itertools.count(50_020, 20))


@pytest.fixture
def join(venue: Venue) -> Callable[[str], Host]:
    def join(name: str) -> Host:
        guest = venue.guest(name)
        venue.lease(guest)
        venue.wait_ipv6(guest)
        return guest

    return join


def address(venue: Venue, guest: Host) -> str:
    (info,) = json.loads(guest.run("ip", "-j", "-4", "address", "show", "wlan0"))
    return str(info["addr_info"][0]["local"])


def online(venue: Venue, guest: Host, family: str = "4") -> bool:
    return bool(venue.fetch(guest, PROBE, family).get("status") == 200)


def do(host: Host, *action: str) -> str:
    return host.run(sys.executable, "-I", wire.__file__, *action)


@pytest.fixture(scope="module")
def sink(venue: Venue) -> Callable[[str], int]:
    """Count datagrams that reached the internet, by payload."""
    path = venue.scratch / "sink"
    venue.internet.start(sys.executable, "-I", wire.__file__, "sink", "9999", str(path))
    until(path.exists, "the sink does not start")
    time.sleep(0.2)

    def count(payload: str) -> int:
        time.sleep(0.2)
        return path.read_text().split("\n").count(payload)

    return count


# Before login ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["4", "6"])
def test_http_is_redirected_to_the_portal(venue: Venue, family: str) -> None:
    answer = venue.fetch(venue.phone, PROBE, family)
    assert (answer["status"], answer["location"]) == (302, f"http://{PORTAL}/")


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("port", ["443", "22", "853", "5228"])
def test_other_tcp_is_refused_at_once(venue: Venue, family: str, port: str) -> None:
    answer = venue.do(venue.phone, "connect", SITE, port, family)
    assert answer["error"] == "ConnectionRefusedError"
    assert answer["seconds"] < 0.5


def test_udp_does_not_get_out(venue: Venue, sink: Callable[[str], int]) -> None:
    source = address(venue, venue.phone)
    do(venue.phone, "udp", source, "5001", WEB[0], "9999", "before-login", "3")
    do(venue.phone, "udp", "::", "5001", WEB[1], "9999", "before-login", "3")
    assert sink("before-login") == 0


def test_nothing_from_outside_gets_in(venue: Venue) -> None:
    path = venue.scratch / "phone-sink"
    venue.phone.start(sys.executable, "-I", wire.__file__, "sink", "9997", str(path))
    until(path.exists, "the sink does not start")
    time.sleep(0.2)
    venue.internet.run("ip", "route", "replace", "10.77.0.0/24", "via", "203.0.113.2")
    for target in (address(venue, venue.phone), venue.wait_ipv6(venue.phone)):
        source = "::" if ":" in target else "0.0.0.0"
        do(venue.internet, "udp", source, "5003", target, "9997", "from-outside", "3")
        do(venue.gateway, "udp", source, "5003", target, "9997", "from-gateway", "3")
    venue.internet.run("ip", "route", "del", "10.77.0.0/24")
    assert path.read_text().split().count("from-gateway") == 6
    assert path.read_text().split().count("from-outside") == 0


def test_any_resolver_is_the_gateways(venue: Venue) -> None:
    """A phone with a resolver of its own still finds the portal."""
    assert do(venue.phone, "dns", "8.8.8.8", SITE, "1", "0").strip() == "1"


def test_dns_is_too_little_for_a_tunnel(venue: Venue, join: Callable[[str], Host]) -> None:
    greedy = join("greedy")
    answered = int(do(greedy, "dns", PORTAL, SITE, "300", "0"))
    assert 130 <= answered <= 190
    time.sleep(1)
    assert do(greedy, "dns", PORTAL, SITE, "3", "450").strip() == "0"
    assert do(venue.phone, "dns", PORTAL, SITE, "5", "0").strip() == "5", "others are not held back"


def test_dns_has_no_tcp_before_login(venue: Venue) -> None:
    for server in (PORTAL, "8.8.8.8"):
        assert venue.do(venue.phone, "connect", server, "53")["error"] == "ConnectionRefusedError"


@pytest.mark.parametrize("port", ["22", "9998"])
def test_the_gateways_other_services_are_closed_to_guests(venue: Venue, port: str) -> None:
    code = f"import socket,time; s=socket.create_server(('0.0.0.0',{port})); time.sleep(60)"
    listener = venue.gateway.start(sys.executable, "-I", "-c", code)
    check = ["connect", "127.0.0.1", port]
    until(lambda: "peer" in venue.do(venue.gateway, *check), "the service does not start")
    assert venue.do(venue.phone, "connect", PORTAL, port)["error"] == "ConnectionRefusedError"
    listener.kill()
    listener.wait()


def test_the_portal_is_closed_to_the_world(venue: Venue) -> None:
    answer = venue.do(venue.internet, "connect", "203.0.113.2", "8080")
    assert answer["error"] == "TimeoutError"


def test_one_device_cannot_take_all_connections(venue: Venue, join: Callable[[str], Host]) -> None:
    hog = join("hog")
    code = (
        "import socket,time\nheld=[]\n"
        f"for n in range(80):\n  s=socket.socket(); s.settimeout(0.2)\n"
        f"  try: s.connect(('{PORTAL}',80)); held.append(s)\n  except OSError: pass\n"
        "print(len(held))\n"
    )
    assert 5 <= int(hog.run(sys.executable, "-I", "-c", code)) <= 21
    assert venue.fetch(venue.phone, f"http://{PORTAL}/")["status"] == 200


# Forged requests ----------------------------------------------------------------------------


def test_a_client_is_known_by_the_kernel_alone(venue: Venue, join: Callable[[str], Host]) -> None:
    """No header makes one device another: each sees its own challenge."""
    liar = join("liar")
    token = form_token(venue.fetch(venue.phone, f"http://{PORTAL}/")["body"])
    number = next(numbers).replace("+", "%2B")
    venue.fetch(venue.phone, f"http://{PORTAL}/number", form=f"form={token}&number={number}")
    victim = address(venue, venue.phone)
    request = (
        f"GET /code HTTP/1.1\r\nHost: {PORTAL}\r\nX-Forwarded-For: {victim}\r\nX-Real-IP: {victim}\r\n"
        f"Forwarded: for={victim}\r\nConnection: close\r\n\r\n"
    )
    assert "Location: /\r\n" in raw(liar, request)
    assert venue.fetch(liar, f"http://{PORTAL}/code")["location"] == "/"
    foreign = venue.fetch(liar, f"http://{PORTAL}/restart", form=f"form={token}")
    assert foreign["status"] == 400, "another device's form token is worth nothing"
    assert venue.fetch(venue.phone, f"http://{PORTAL}/code")["status"] == 200
    mine = form_token(venue.fetch(venue.phone, f"http://{PORTAL}/code")["body"])
    venue.fetch(venue.phone, f"http://{PORTAL}/restart", form=f"form={mine}")


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: evil.example\r\n",
        "GET / HTTP/1.1\r\nHost: 10.77.0.1.evil.example\r\n",
        "GET / HTTP/1.1\r\nHost: evil.example:80@10.77.0.2\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n",
        "GET / HTTP/1.0\r\n",
        "POST /generate_204 HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n",
    ],
)
def test_a_forged_host_leads_to_the_portal_and_nowhere_else(venue: Venue, head: str) -> None:
    answer = raw(venue.phone, head + "Connection: close\r\n\r\n")
    assert f"Location: http://{PORTAL}/\r\n" in answer
    assert "evil" not in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("rubbish\r\n\r\n", "400"),
        (f"GET / HTTP/1.1\r\nHost: {PORTAL}\r\nX: {'a' * 40_000}\r\n\r\n", "431"),
        (f"GET /{'a' * 40_000} HTTP/1.1\r\nHost: {PORTAL}\r\n\r\n", "431"),
        (f"POST /number HTTP/1.1\r\nHost: {PORTAL}\r\nContent-Length: 99999999\r\n\r\n", "413"),
        (f"POST /number HTTP/1.1\r\nHost: {PORTAL}\r\nContent-Length: -5\r\n\r\n", "400"),
        (f"POST /number HTTP/1.1\r\nHost: {PORTAL}\r\nContent-Length: 3\r\n\r\nabc", "400"),
        (f"DELETE /code HTTP/1.1\r\nHost: {PORTAL}\r\nConnection: close\r\n\r\n", "405"),
        (f"GET /no/such/page HTTP/1.1\r\nHost: {PORTAL}\r\nConnection: close\r\n\r\n", "404"),
        (f"GET /../../etc/passwd HTTP/1.1\r\nHost: {PORTAL}\r\nConnection: close\r\n\r\n", "404"),
    ],
    ids=lambda value: value[:24].replace("\r\n", " ") if len(value) > 3 else value,
)
def test_malformed_requests_are_answered_and_harmless(venue: Venue, request_: str, status: str) -> None:
    assert raw(venue.phone, request_).split(" ")[1] == status
    assert venue.fetch(venue.phone, f"http://{PORTAL}/")["status"] == 200


def raw(host: Host, request: str) -> str:
    code = (
        "import socket,sys\n"
        f"s=socket.create_connection(('{PORTAL}',80),5)\n"
        "try: s.sendall(sys.argv[1].encode())\nexcept OSError: pass\n"
        "data=b''\n"
        "try:\n  while part:=s.recv(65536): data+=part\nexcept OSError: pass\n"
        "sys.stdout.write(data.decode('utf-8','replace'))\n"
    )
    return host.run(sys.executable, "-I", "-c", code, request).replace("\n", "\r\n").replace("\r\r", "\r")


# After login --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def granted(venue: Venue) -> Host:
    guest = venue.guest("granted")
    venue.lease(guest)
    venue.wait_ipv6(guest)
    assert venue.log_in(guest, next(numbers))["location"] == "/status"
    return guest


@pytest.mark.parametrize("family", ["4", "6"])
def test_a_verified_guest_is_online(venue: Venue, granted: Host, family: str) -> None:
    assert online(venue, granted, family)
    assert "peer" in venue.do(granted, "connect", SITE, "443", family)
    assert not online(venue, venue.phone, family), "and nobody else is"


def test_the_status_page_is_at_the_gateways_address(venue: Venue, granted: Host) -> None:
    page = venue.fetch(granted, f"http://{PORTAL}/status")
    assert page["status"] == 200
    assert "You are online" in page["body"]


def test_the_group_is_sms_and_unlimited(venue: Venue, granted: Host) -> None:
    (session,) = [row for row in venue.sessions() if row["mac"] == venue.mac(granted)]
    assert (session["group"], session["plan"], session["expires_at"]) == ("SMS", "unlimited", None)


def test_bytes_are_counted_in_both_directions_and_families(venue: Venue, granted: Host) -> None:
    mac = venue.mac(granted)
    before = usage(venue, mac)
    venue.fetch(granted, f"http://{SITE}/bytes/2000000", "4")
    venue.fetch(granted, f"http://{SITE}/bytes/2000000", "6")
    venue.fetch(granted, f"http://{SITE}/upload", "6", "x" * 100_000)
    until(lambda: usage(venue, mac)[1] - before[1] > 4_000_000, "download is not counted")
    until(lambda: usage(venue, mac)[0] - before[0] > 100_000, "upload is not counted")
    up, down = (after - b for after, b in zip(usage(venue, mac), before, strict=True))
    # Headers of IP and TCP come on top, and nothing is counted twice.
    assert 4_000_000 < down < 4_000_000 * 1.1
    assert 100_000 < up < 100_000 + 150_000


def usage(venue: Venue, mac: str) -> tuple[int, int]:
    (row,) = [row for row in venue.sessions() if row["mac"] == mac]
    return row["up"], row["down"]


def test_a_new_ipv6_address_needs_no_new_login(venue: Venue, granted: Host) -> None:
    granted.run("ip", "address", "add", "2001:db8:77::abcd/64", "dev", "wlan0", "nodad")
    code = (
        "import socket\ns=socket.socket(socket.AF_INET6)\ns.settimeout(5)\n"
        f"s.bind(('2001:db8:77::abcd',0))\ns.connect(('{WEB[1]}',443))\nprint('through')"
    )
    assert granted.run(sys.executable, "-I", "-c", code).strip() == "through"
    granted.run("ip", "address", "del", "2001:db8:77::abcd/64", "dev", "wlan0")


def test_a_new_ipv4_address_is_followed(venue: Venue, join: Callable[[str], Host]) -> None:
    mover = join("mover")
    venue.log_in(mover, next(numbers))
    assert online(venue, mover)
    old = address(venue, mover)
    mover.run("ip", "address", "del", f"{old}/24", "dev", "wlan0")
    mover.run("ip", "address", "add", "10.77.0.240/24", "dev", "wlan0")
    mover.run("ip", "route", "replace", "default", "via", PORTAL)
    until(lambda: online(venue, mover), "the new address is not let through")


# Attackers ----------------------------------------------------------------------------------


def test_spoofed_frames_reach_nobody(
    venue: Venue, granted: Host, join: Callable[[str], Host], sink: Callable[[str], int]
) -> None:
    """IPv4 needs the device and its address together, in every single packet."""
    thief = join("thief")
    victim_ip, victim_mac = address(venue, granted), venue.mac(granted)
    thief_ip, thief_mac = address(venue, thief), venue.mac(thief)
    # The victim's own live flow, so that there is a connection marked as granted to ride on.
    do(granted, "udp", victim_ip, "5000", WEB[0], "9999", "own", "5")
    assert sink("own") == 5

    def inject(smac: str, source: str, payload: str) -> int:
        frame = ["frame", "wlan0", smac, GATEWAY_MAC, source, WEB[0], "5000", "9999", payload, "5"]
        do(thief, *frame)
        return sink(payload)

    assert inject(thief_mac, victim_ip, "other-device") == 0, "into the victim's flow"
    assert inject(thief_mac, thief_ip, "stranger") == 0
    assert inject(victim_mac, thief_ip, "other-address") == 0
    do(granted, "udp", victim_ip, "5000", WEB[0], "9999", "still-own", "5")
    assert sink("still-own") == 5, "the victim's flow lives on"


@pytest.fixture
def reflected(venue: Venue) -> Callable[[], int]:
    """Count packets that leave the gateway for an address nobody has."""
    nft = venue.gateway.run
    nft("nft", "add table inet watch")
    nft("nft", "flush table inet watch")
    nft("nft", "add chain inet watch out { type filter hook output priority 0; }")
    nft("nft", "add rule inet watch out ip daddr 198.51.100.7 counter")

    def count() -> int:
        time.sleep(0.2)
        (found,) = re.findall(r"packets (\d+)", nft("nft", "list", "chain", "inet", "watch", "out"))
        return int(found)

    return count


def test_the_gateway_reflects_nothing(
    venue: Venue, join: Callable[[str], Host], reflected: Callable[[], int]
) -> None:
    """Its echoes and refusals would carry a stranger's data to the sender that was forged."""
    mirror = join("mirror")
    mac = venue.mac(mirror)
    for target in (PORTAL, "203.0.113.2"):
        do(mirror, "echo", "wlan0", mac, GATEWAY_MAC, "198.51.100.7", target, "5")
        frame = ["frame", "wlan0", mac, GATEWAY_MAC, "198.51.100.7", target, "7", "9", "x" * 500, "5"]
        do(mirror, *frame)
    do(mirror, "frame", "wlan0", mac, GATEWAY_MAC, "198.51.100.7", WEB[0], "7", "9", "x", "5")
    assert reflected() == 0
    do(venue.gateway, "udp", "0.0.0.0", "5004", "198.51.100.7", "9", "control", "2")
    assert reflected() == 2


def test_outsiders_cannot_pose_as_guests(venue: Venue, join: Callable[[str], Host]) -> None:
    """An echo to the gateway's outer address would otherwise be answered to the guest."""
    target = join("target")
    rules = venue.gateway.run
    rules("nft", "add table inet watch")
    rules("nft", "flush table inet watch")
    rules("nft", "add chain inet watch out { type filter hook output priority 0; }")
    rules("nft", f"add rule inet watch out ip daddr {address(venue, target)} icmp type echo-reply counter")
    outer = json.loads(venue.gateway.run("ip", "-j", "link", "show", "wan"))[0]["address"]
    inner = json.loads(venue.internet.run("ip", "-j", "link", "show", "eth0"))[0]["address"]
    do(venue.internet, "echo", "eth0", inner, outer, address(venue, target), "203.0.113.2", "5")
    assert "packets 0" in rules("nft", "list", "chain", "inet", "watch", "out")


def test_forged_arp_does_not_push_a_guest_out(
    venue: Venue, granted: Host, join: Callable[[str], Host]
) -> None:
    liar = join("arp-liar")
    own = address(venue, granted)
    forged = ",".join(f"10.77.0.{n}" for n in range(210, 230))
    do(liar, "arp", "wlan0", venue.mac(granted), forged)
    until(
        lambda: any(
            len(row["addresses"]) > 1 for row in venue.sessions() if row["mac"] == venue.mac(granted)
        ),
        "the forged addresses are not seen, so this proves nothing",
    )
    (row,) = [row for row in venue.sessions() if row["mac"] == venue.mac(granted)]
    assert own in row["addresses"]
    assert online(venue, granted)


def test_a_lie_in_the_neighbour_table_makes_nobody_another(
    venue: Venue, granted: Host, join: Callable[[str], Host]
) -> None:
    """The thief's own address is made to look like the guest's for the moment of the request."""
    thief = join("neighbour-thief")
    own, victim = address(venue, thief), venue.mac(granted)

    def ask(flip: bool) -> str:
        request = f"GET /status HTTP/1.1\r\nHost: {PORTAL}\r\n\r\n"
        process = subprocess.Popen(
            thief.command(sys.executable, "-I", wire.__file__, "late", PORTAL, request),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "connected\n"
        neighbour = ["ip", "neigh", "replace", own, "dev", "br-guest", "nud", "reachable", "lladdr"]
        if flip:
            venue.gateway.run(*neighbour, victim)
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(0.3)
        venue.gateway.run(*neighbour, venue.mac(thief))
        answer = process.communicate(timeout=20)[0]
        return answer.split(" ")[1]

    assert ask(flip=False) == "303", "by itself it is a device that is not signed in"
    assert ask(flip=True) == "403", "and never the guest"
    assert "event=mac_conflict" in venue.log("portald")


def test_a_full_table_lets_nobody_through(venue: Venue, join: Callable[[str], Host]) -> None:
    """Sixty-six thousand devices asked: the newcomer is refused rather than not counted."""
    flood = join("flood")
    late = join("latecomer")
    do(flood, "many", "wlan0", GATEWAY_MAC, address(venue, flood), PORTAL, "66500")
    assert int(do(late, "dns", PORTAL, SITE, "100", "0")) == 0
    assert int(do(venue.phone, "dns", PORTAL, SITE, "1", "0")) <= 1
    venue.gateway.run("nft", "flush set inet portald dns_rate")
    assert int(do(late, "dns", PORTAL, SITE, "1", "0")) == 1


def test_connections_that_drip_are_closed(venue: Venue, join: Callable[[str], Host]) -> None:
    dripper = join("dripper")
    assert int(do(dripper, "drip", PORTAL, "10", "20")) == 0
    assert venue.fetch(dripper, f"http://{PORTAL}/")["status"] == 200


def test_a_code_is_worth_nothing_on_another_device(venue: Venue, join: Callable[[str], Host]) -> None:
    owner, thief = join("owner"), join("code-thief")
    number = next(numbers)
    token = form_token(venue.fetch(owner, f"http://{PORTAL}/")["body"])
    venue.fetch(owner, f"http://{PORTAL}/number", form=f"form={token}&number={number.replace('+', '%2B')}")
    code = venue.wait_for_text(number)
    stolen = form_token(venue.fetch(thief, f"http://{PORTAL}/")["body"])
    answer = venue.fetch(thief, f"http://{PORTAL}/code", form=f"form={stolen}&code={code}")
    assert answer["status"] == 410
    assert not online(venue, thief)
    until(lambda: 'name="code"' in venue.fetch(owner, f"http://{PORTAL}/code")["body"], "no code page")
    assert venue.fetch(owner, f"http://{PORTAL}/code", form=f"form={token}&code={code}")["status"] == 303
    assert online(venue, owner)


# The end ------------------------------------------------------------------------------------


def test_leaving_ends_access_at_once(venue: Venue, join: Callable[[str], Host]) -> None:
    leaver = join("leaver")
    venue.log_in(leaver, next(numbers))
    assert online(venue, leaver)
    token = form_token(venue.fetch(leaver, f"http://{PORTAL}/status")["body"])
    assert venue.fetch(leaver, f"http://{PORTAL}/leave", form=f"form={token}")["location"] == "/left"
    assert not online(venue, leaver)
    assert not online(venue, leaver, "6")
    (ended,) = [
        row
        for row in json.loads(venue.ctl("sessions", "--ended", "--json"))
        if row["mac"] == venue.mac(leaver)
    ]
    assert ended["end"] == "left"


@pytest.mark.parametrize("family", ["4", "6"])
def test_revoking_cuts_a_running_download(venue: Venue, join: Callable[[str], Host], family: str) -> None:
    loader = join(f"loader{family}")
    venue.log_in(loader, next(numbers))
    target = WEB[0] if family == "4" else f"[{WEB[1]}]"
    download = venue.stream(loader, f"http://{target}/stream")
    time.sleep(0.3)
    venue.ctl("revoke", venue.mac(loader))
    back = time.time()
    result: dict[str, Any] = json.loads(download.communicate(timeout=20)[0])
    assert result["received"] > 0
    assert result["last"] < back, "nothing comes after portalctl has said it is cut"
    (session,) = [
        row["id"]
        for row in json.loads(venue.ctl("sessions", "--ended", "--json"))
        if row["mac"] == venue.mac(loader)
    ]
    until(lambda: not venue.flows(session), "connections are left in the kernel")
    assert not online(venue, loader, family)


def test_a_plan_with_minutes_ends_by_itself(venue: Venue, join: Callable[[str], Host]) -> None:
    """The deadline is the store's; the kernel holds it too."""
    short = join("short")
    venue.log_in(short, next(numbers))
    session = next(row["id"] for row in venue.sessions() if row["mac"] == venue.mac(short))
    shorten(venue, session, 3)
    assert online(venue, short)
    until(lambda: not online(venue, short), "the session does not end", 8)
    until(lambda: session not in {row["id"] for row in venue.sessions()}, "the store does not end it")


def shorten(venue: Venue, session: int, seconds: float) -> None:
    """Give a session's account an end."""
    import sqlite3

    with sqlite3.connect(venue.scratch / "state" / "portald.db", timeout=10) as database:
        at = time.time() + seconds
        database.execute(
            "UPDATE accounts SET expires_at = ? WHERE id = (SELECT account_id FROM sessions WHERE id = ?)",
            (at, session),
        )
    database.close()


# What is written down -----------------------------------------------------------------------


def test_logs_and_database_hold_no_code_and_logs_no_number(venue: Venue, granted: Host) -> None:
    texts = venue.texts()
    logs = venue.log("portald") + venue.log("portald-firewall")
    state = b"".join(path.read_bytes() for path in (venue.scratch / "state").glob("portald.db*"))
    assert texts
    assert "event=session_opened" in logs
    for text in texts:
        code = text["body"][:6]
        assert f"number={text['to'][:3]}…{text['to'][-2:]}" in logs
        assert text["to"] not in logs
        assert text["to"].lstrip("+") not in logs
        assert f" {code} " not in logs
        assert f"code={code}" not in logs
        assert text["body"].encode() not in state
    assert Path(venue.scratch / "state" / "portald.db").stat().st_mode & 0o077 == 0


def test_portald_has_no_capability_and_the_helper_one(venue: Venue) -> None:
    if os.getuid() != 0 or not venue.separated:
        pytest.skip("only real root can become two other users")
    for process, expected in ((venue.daemon, 0), (venue.helper, 1 << 12)):
        assert process
        status = Path(f"/proc/{process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        for kind in ("CapEff", "CapPrm", "CapBnd"):
            assert int(fields[kind], 16) == expected, (kind, fields[kind])
        assert fields["Uid"].split()[0] == "65534"
        assert fields["NoNewPrivs"] == "1"


def test_the_portal_gives_no_reason_to_fail(venue: Venue) -> None:
    for name in ("portald", "portald-firewall"):
        assert "Traceback" not in venue.log(name)
    assert "level=ERROR" not in venue.log("portald")
    with pytest.raises(LabError):
        venue.ctl("revoke", "4711")

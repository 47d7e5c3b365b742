"""What goes wrong, one function each, and how long a guest may notice it at most."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portald.demo.lab import until
from portald.errors import PortaldError
from portald.model import Client, Sort
from portald.store import Store
from tests.reliability.hotel import Hotel


@dataclass(frozen=True)
class Fault:
    """One way of going wrong."""

    name: str
    pause: float
    """Seconds without an answer that a guest may notice; more is a failure."""
    run: Callable[[Hotel], str | None]
    """Returns what there is to tell besides."""


FAULTS: list[Fault] = []
NOTHING = 1.0
"""What a busy machine may take by itself: nobody notices."""


def fault(pause: float) -> Callable[[Callable[[Hotel], str | None]], Callable[[Hotel], str | None]]:
    def noted(run: Callable[[Hotel], str | None]) -> Callable[[Hotel], str | None]:
        name = (run.__doc__ or "").partition("\n")[0].rstrip(".")
        FAULTS.append(Fault(name, pause, run))
        return run

    return noted


# Processes ---------------------------------------------------------------------------------


def kills(hotel: Hotel, count: int, seed: int = 4) -> str:
    """Kill halves at random moments, also while they start, while operators cut and trust devices."""
    chance = random.Random(seed)
    victims = [guest.mac for guest in hotel.guests[-2:]]
    done = {"daemon": 0, "helper": 0}
    asked = 0
    while sum(done.values()) < count:
        which = chance.choice(["daemon", "helper"])
        hotel.kill(which)
        done[which] += 1
        time.sleep(chance.choice([0.0, 0.05, 0.2, 0.4, 0.8]))
        try:
            mac = chance.choice(victims)
            verb = chance.choice(["trust", "forget"])
            if verb == "trust":
                hotel.ask("POST", f"/api/clients/{mac}", {"verdict": "trusted"})
            else:
                hotel.ask("DELETE", f"/api/clients/{mac}")
            asked += 1
        except Exception:
            continue  # it was just killed
    for mac in victims:
        until(lambda mac=mac: _forgotten(hotel, mac), "portald does not come back", 20)
    return f"{done['daemon']} of portald, {done['helper']} of portald-firewall, {asked} changes in between"


def _forgotten(hotel: Hotel, mac: str) -> bool:
    try:
        hotel.ask("DELETE", f"/api/clients/{mac}")
    except Exception:
        return False
    return True


@fault(NOTHING)
def both_stopped_and_started(hotel: Hotel) -> None:
    """Both halves stopped in an orderly way, a pause, both started."""
    hotel.supervised = False
    for which in ("daemon", "helper"):
        hotel.kill(which, signal.SIGTERM)
        getattr(hotel.venue, which).wait(60)
    time.sleep(1)
    hotel.supervised = True


@fault(NOTHING)
def daemon_hangs(hotel: Hotel) -> None:
    """portald stopped in its tracks for three seconds."""
    hotel.kill("daemon", signal.SIGSTOP)
    time.sleep(3)
    hotel.kill("daemon", signal.SIGCONT)


@fault(NOTHING)
def socket_gone(hotel: Hotel) -> None:
    """The helper's socket deleted, then the helper restarted."""
    (hotel.venue.scratch / "run" / "firewall.sock").unlink(missing_ok=True)
    hotel.kill("helper")


@fault(NOTHING)
def dnsmasq_restarted(hotel: Hotel) -> None:
    """The gateway's dnsmasq killed and started."""
    found = subprocess.run(
        ["pgrep", "-f", f"leasefile={hotel.venue.scratch}"], capture_output=True, text=True
    )
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.5)
    hotel.venue.serve_guests()


# The kernel's rules --------------------------------------------------------------------------


def flush(hotel: Hotel) -> None:
    """Do what an administrator does who wants all rules gone."""
    run = hotel.venue.gateway.run
    if hotel.backend == "nftables":
        run("nft", "flush", "ruleset")
        hotel.venue.translate()
        return
    for program in ("iptables-legacy", "ip6tables-legacy"):
        for table in ("mangle", "nat", "filter"):
            run(program, "-w", "-t", table, "-F", check=False)
            run(program, "-w", "-t", table, "-X", check=False)
    run("ipset", "flush", check=False)


@fault(4.0)
def rules_flushed(hotel: Hotel) -> None:
    """All rules flushed by somebody else."""
    flush(hotel)


@fault(4.0)
def rules_flushed_while_the_helper_is_away(hotel: Hotel) -> None:
    """All rules flushed while the helper is dead."""
    hotel.kill("helper")
    flush(hotel)


@fault(NOTHING)
def other_tables(hotel: Hotel) -> None:
    """Tables of other programs come and go."""
    run = hotel.venue.gateway.run
    run("nft", "add table inet docker")
    run("nft", "add chain inet docker f { type filter hook forward priority 0; policy accept; }")
    time.sleep(0.5)
    run("nft", "delete table inet docker")


@fault(2.0)
def foreign_rule(hotel: Hotel) -> None:
    """A foreign rule opens the door to everybody."""
    run = hotel.venue.gateway.run
    if hotel.backend == "nftables":
        run("nft", "insert", "rule", "inet", "portald", "forward", "accept")
    else:
        chain = _forward_chain(hotel)
        for program in ("iptables-legacy", "ip6tables-legacy"):
            run(program, "-w", "-I", chain, "-j", "ACCEPT")
    until(lambda: not hotel.half_online() & hotel.strangers, "strangers stay online", 10)


def _forward_chain(hotel: Hotel) -> str:
    listing = hotel.venue.gateway.run("iptables-legacy", "-S", "FORWARD")
    return next(line.split()[-1] for line in listing.splitlines() if "-j PORTALD" in line)


# The network ---------------------------------------------------------------------------------


@fault(6.0)
def interface_down_and_up(hotel: Hotel) -> None:
    """The guests' interface taken down for a second."""
    run = hotel.venue.gateway.run
    run("ip", "link", "set", "br-guest", "down")
    time.sleep(1)
    run("ip", "link", "set", "br-guest", "up")
    run("ip", "address", "replace", "2001:db8:77::1/64", "dev", "br-guest", "nodad")
    hotel.known()


@fault(2.5)
def everybody_moves(hotel: Hotel) -> None:
    """Every guest takes another address, in both families."""
    for number, guest in enumerate(hotel.guests):
        shift = 60 if int(guest.ip4.rpartition(".")[2]) < 60 else -60
        guest.ip4 = f"10.77.0.{int(guest.ip4.rpartition('.')[2]) + shift}"
        guest.ip6 = f"2001:db8:77::{'d1' if 'c0' in guest.ip6 else 'c0'}:{number:x}"
    hotel.moved()


# The store -----------------------------------------------------------------------------------


def _database(hotel: Hotel) -> Path:
    return hotel.venue.scratch / "state" / "portald.db"


@contextmanager
def _stopped(hotel: Hotel) -> Iterator[None]:
    """Have the daemon dead for a while: nobody else may write its file meanwhile."""
    hotel.supervised = False
    hotel.kill("daemon")
    hotel.venue.daemon.wait(60)  # type: ignore[union-attr]
    try:
        yield
    finally:
        hotel.supervised = True


@fault(NOTHING)
def database_of_rubbish(hotel: Hotel) -> str:
    """The database overwritten with rubbish, and power lost."""
    with _stopped(hotel):
        for suffix in ("-wal", "-shm"):
            Path(f"{_database(hotel)}{suffix}").unlink(missing_ok=True)
        _database(hotel).write_bytes(os.urandom(50_000))
    hotel.settled("after rubbish", 20)
    lost = [a["text"] for a in hotel.ask("GET", "/api/status")["alarms"] if "was lost" in a["text"]]
    assert lost, "the operator is not told"
    hotel.ask("POST", "/api/seen")
    return "rebuilt, with an alarm"


@fault(NOTHING)
def database_torn(hotel: Hotel) -> str:
    """Pages in the middle of the database torn while portald runs."""
    before = set(_database(hotel).parent.glob("*.damaged-*"))
    with _database(hotel).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 3 * 4096)
    Path(f"{_database(hotel)}-wal").write_bytes(b"")
    until(
        lambda: set(_database(hotel).parent.glob("*.damaged-*")) - before or _again(hotel),
        "not set aside",
        30,
    )
    return "set aside and rebuilt"


def _again(hotel: Hotel) -> bool:
    hotel.kill("daemon")
    time.sleep(2)
    return False


@fault(NOTHING)
def database_deleted(hotel: Hotel) -> str:
    """The database deleted, and portald killed."""
    hotel.settled("before", 20)
    with _stopped(hotel):
        for file in _database(hotel).parent.glob("portald.db*"):
            file.unlink()
    hotel.settled("after deleting", 20)
    return "rebuilt from the last backup and the kernel"


@fault(NOTHING)
def database_locked(hotel: Hotel) -> str:
    """The database locked by another program for eight seconds."""
    other = sqlite3.connect(_database(hotel), isolation_level=None, timeout=10)
    other.execute("BEGIN IMMEDIATE")
    before, give_up = hotel.online(), time.time() + 8
    refused = _refused(hotel)
    while time.time() < give_up:
        assert hotel.half_online() <= before, "somebody came in whom nobody wrote down"
        time.sleep(0.2)
    other.execute("ROLLBACK")
    other.close()
    return f"a change was refused: {refused}"


def _refused(hotel: Hotel) -> str:
    """Ask for a stranger to be let in; return why that is refused."""
    try:
        hotel.ask("POST", f"/api/clients/{next(iter(hotel.strangers))}", {"verdict": "trusted"})
    except PortaldError as error:
        return str(error).partition(";")[0]
    raise AssertionError("a change was taken that cannot be kept")


@fault(NOTHING)
def disk_full(hotel: Hotel) -> str:
    """No byte left on the disk, for some rounds."""
    state = hotel.venue.scratch / "state"
    before = hotel.online()
    with _small_disk(hotel, state):
        until(lambda: "cannot be used" in _alarms(hotel), "a full disk is not told", 30)
        refused = _refused(hotel)
        hotel.settled("on the full disk", 20)
        assert hotel.online() == before
    until(lambda: "cannot be used" not in _alarms(hotel), "the alarm stays", 20)
    return f"told by an alarm, which went by itself; a change was refused: {refused}"


def _alarms(hotel: Hotel) -> str:
    try:
        return " ".join(alarm["text"] for alarm in hotel.ask("GET", "/api/status")["alarms"])
    except Exception:
        return ""


@contextmanager
def _small_disk(hotel: Hotel, state: Path) -> Iterator[None]:
    """Put the state on a disk of its own and fill it to the last byte."""
    gateway = hotel.venue.gateway
    aside = hotel.venue.scratch / "aside"
    with _stopped(hotel):
        gateway.run("cp", "-a", str(state), str(aside))
        gateway.run("mount", "-t", "tmpfs", "-o", "size=3m,mode=770", "tmpfs", str(state))
        gateway.run("sh", "-c", f"cp -a {aside}/. {state}/; chown --reference={aside} {state}")
    hotel.settled("on a small disk", 20)
    gateway.run("sh", "-c", f"dd if=/dev/zero of={state}/full bs=1k 2>/dev/null; true")
    try:
        yield
    finally:
        gateway.run("rm", str(state / "full"))
        with _stopped(hotel):
            gateway.run("sh", "-c", f"cp -a {state}/. {aside}/; umount {state}; cp -a {aside}/. {state}/")
            gateway.run("rm", "-rf", str(aside))


# Many at once --------------------------------------------------------------------------------


@fault(2.0)
def a_thousand_end(hotel: Hotel) -> str:
    """A thousand sessions end in the same second."""
    with _stopped(hotel):
        store = Store(_database(hotel))
        at = time.time() + 9
        for n in range(1000):
            mac = f"02:ee:00:00:{n // 250:02x}:{n % 250:02x}"
            client = Client(mac, f"10.77.0.{n % 100 + 150}", "guest")
            session, _ = store.open_unproven(Sort.DEVICE, mac, client, "SMS", [], time.time())
            store.connection.execute(
                "UPDATE accounts SET expires_at = ? WHERE id = ?", (at, session.account.id)
            )
        store.close()
        hotel.own(_database(hotel).parent)
    until(lambda: _count(hotel) > 1000, "they do not come in", 20)
    until(lambda: _held(hotel) > 1000, "the kernel does not get them", 20)
    until(lambda: time.time() >= at, "", 20)
    until(lambda: _held(hotel) < 100, "they are not cut", 10)
    late = time.time() - at
    until(lambda: _count(hotel) < 100, "they do not end", 10)
    return f"all cut {max(0.0, late):.1f} s after their deadline"


def _count(hotel: Hotel) -> int:
    try:
        return len(hotel.ask("GET", "/api/sessions"))
    except Exception:
        return 0


def _held(hotel: Hotel) -> int:
    """Return how many the kernel lets through, by counting one of its sets."""
    run = hotel.venue.gateway.run
    if hotel.backend == "nftables":
        return run("nft", "list", "map", "inet", "portald", "sess6").count("02:ee")
    return sum(
        line.startswith("add") and "02:EE" in line.upper() for line in run("ipset", "save").splitlines()
    )


# Clocks --------------------------------------------------------------------------------------


def _clock_set(hotel: Hotel, hours: int, restart: bool) -> str:
    """Set portald's wall clock while every guest has an hour; nobody may lose or win any of it."""
    hotel.ask("POST", "/api/plans/unlimited", {"session": "1h"})
    until(lambda: None not in _ends(hotel), "the plan does not hold", 10)
    before, seen = min(_ends(hotel)) - time.time(), hotel.log("daemon").count("event=clock_set")
    for step in (hours * 3600, 0):
        hotel.set_clock(step)
        if restart:
            hotel.kill("daemon")
        seen += 1
        until(lambda n=seen: hotel.log("daemon").count("event=clock_set") >= n, "the step is not seen", 20)
        hotel.settled("after the clock was set", 20)
        after = min(_ends(hotel)) - time.time() - step
        assert abs(after - before) < 60, f"{before:.0f} s left before, {after:.0f} s after"
    hotel.ask("POST", "/api/plans/unlimited", {"session": ""})
    return f"{before:.0f} s left before, {after:.0f} s after"


def _ends(hotel: Hotel) -> list[Any]:
    try:
        return [row["expires_at"] for row in hotel.ask("GET", "/api/sessions")] or [None]
    except Exception:
        return [None]


@fault(NOTHING)
def clock_forward(hotel: Hotel) -> str:
    """The wall clock put on by five hours, and back."""
    return _clock_set(hotel, 5, restart=False)


@fault(NOTHING)
def clock_back(hotel: Hotel) -> str:
    """The wall clock put back by nine hours while portald is killed, and on again."""
    return _clock_set(hotel, -9, restart=True)


def every(hotel: Hotel) -> Iterator[tuple[Fault, float, str]]:
    """Do everything once; yield what was done, the longest pause of any guest, and what there is to tell."""
    for each in FAULTS:
        yield each, *watched(hotel, each.run, each.name)


def watched(hotel: Hotel, run: Callable[[Hotel], Any], name: str) -> tuple[float, str]:
    """Do something; return the longest pause of a guest who is online before and after."""
    before = hotel.expected()
    hotel.reset()
    told = run(hotel) or ""
    hotel.settled(name, 25)
    stayed = before & hotel.expected() & {guest.mac for guest in hotel.inside}
    assert stayed == before & {guest.mac for guest in hotel.inside}, f"{name}: somebody lost the session"
    return hotel.longest_pause(stayed), told

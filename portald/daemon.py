"""portald: builds everything, runs it, stops it."""

from __future__ import annotations

import argparse
import errno
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from portald import __version__, config, phone, sms
from portald.applications import Applications
from portald.arranging import Arranging
from portald.certificate import Certificate
from portald.config import Config
from portald.consent import Consent
from portald.display import amount
from portald.door import Door
from portald.errors import ConfigError, PortaldError
from portald.exchange import Exchange
from portald.firewall.memory import MemoryFirewall
from portald.firewall.remote import RemoteFirewall
from portald.followup import Followups
from portald.model import Alarm
from portald.movements import Movements
from portald.neighbours import KernelNeighbours, PretendNeighbours
from portald.places import Places
from portald.portal import Portal
from portald.ports import Firewall, Neighbours
from portald.purse import Purse
from portald.reconcile import Rounds
from portald.returning import Returning
from portald.signing import Signing
from portald.sms.codes import Codes
from portald.sms.routes import Routes
from portald.staff import Staff
from portald.store import Store
from portald.store.key import secret_key
from portald.store.recovery import prepare
from portald.system import fail, notify, room, set_up_logs, unix_listener
from portald.texting import Texting
from portald.texts import Texts
from portald.timekeeping import Timekeeper
from portald.vouchers import Vouchers
from portald.web import catalogues, look
from portald.web.admin import admin_app
from portald.web.capture import Capture
from portald.web.guest import guest_app
from portald.web.preview import prove
from portald.web.proxied import Proxied
from portald.web.reports import reports_app
from portald.web.server import Server, remember_macs
from portald.web.ways import Ways

log = logging.getLogger("portald")

LEAST_ROOM = 20_000_000
"""Bytes left on the disk of the database below which the operator is told."""
SENDERS = 4
"""Texts sent at a time; more wait their turn, up to ``WAITING``."""
WAITING = 64


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except PortaldError as error:
        return fail("portald", error)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="portald", description="A captive portal with codes by SMS. Without a command: the daemon."
    )
    parser.add_argument("--config", type=Path, default=config.DEFAULT_PATH, metavar="FILE")
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(run=_run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    demo = commands.add_parser("demo", help="the whole product in a lab on this machine")
    demo.add_argument("--once", action="store_true", help="end after the walk")
    demo.set_defaults(run=_demo)
    sandbox = commands.add_parser("sandbox", help="a server that shows texts instead of sending them")
    sandbox.add_argument("--listen", default="127.0.0.1:8025", metavar="ADDRESS:PORT")
    sandbox.set_defaults(run=_sandbox)
    return parser


def _run(options: argparse.Namespace) -> int:
    set_up_logs(phone.mask_all)
    settings = config.load(options.config)
    phone.check(settings.numbers)
    return Daemon(settings).run()


def _demo(options: argparse.Namespace) -> int:
    from portald.demo.main import demo

    return demo(once=options.once)


def _sandbox(options: argparse.Namespace) -> None:
    from portald.web.sandbox import sandbox_app

    host, _, port = options.listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"--listen: expected ADDRESS:PORT, got {options.listen!r}")
    listener = tcp_listener(socket.AF_INET6 if ":" in host else socket.AF_INET, host, int(port))
    print(f"SMS sandbox on http://{options.listen}/", flush=True)
    Server(sandbox_app(time.time), [listener], threads=8).run()


class Daemon:
    """portald in one piece: construction only wires, ``run`` is its life."""

    def __init__(self, settings: Config) -> None:
        self._settings = settings
        texts = Texts(settings)
        try:
            settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"state_dir: {settings.state_dir}: {error.strerror}") from error
        key = secret_key(settings.state_dir / "portald.key")
        providers = sms.make(
            settings.sms,
            lambda sender: Codes(sender, key, texts),
            time.time,
            settings.reports.url,
            needed=settings.otp.mode == "code",
        )
        database = settings.state_dir / "portald.db"
        prepare(database, time.time())
        self._store = Store(database, settings.tz)
        self._places = Places()
        self._firewall, self._neighbours = enforcement(settings, self._places)
        firewall, neighbours = self._firewall, self._neighbours
        turn = threading.Lock()
        self._stop = threading.Event()
        self._damaged = False
        self._found: list[Alarm] = []
        self._certificate: Certificate | None = None
        door = Door(settings, self._store, firewall, time.time, turn, lambda: self._rounds.wake())
        self._movements = Movements(door)
        self._rounds = Rounds(
            settings,
            self._store,
            firewall,
            neighbours,
            door,
            Timekeeper(self._store, time.time, boot_time, boot_id()),
            time.time,
            turn,
            after=_feed_watchdog,
            damaged=self._give_up,
        )
        self._pool = Pool(SENDERS, WAITING)
        store = self._store
        routes = Routes(providers, lambda attempt: store.add_attempt(attempt, time.time()), texts.parts)
        purse = Purse(settings, store, routes, time.time)
        exchange = Exchange(settings, store, routes, purse, time.time, self._pool.later)
        applications = Applications(settings, store, exchange, key, time.time)
        exchange.changed = applications.tell
        self._exchange = exchange
        self._followups = Followups(settings, store, routes, applications, time.time)
        portal = Portal(settings, store, door, routes, exchange, neighbours, time.time)
        ways = Ways(
            Returning(store, door, time.time, key),
            Signing(settings, store, door, exchange, time.time),
            Vouchers(store, door, time.time, key, settings.limits),
            Staff(settings, store, door, time.time),
        )
        if any(own.is_dir() for own in (look.OWN, catalogues.OWN)):
            prove(settings)
        self._arranging = arranging = Arranging(settings, store, door, time.time, self._rounds.wake)
        guest = guest_app(portal, ways, Consent(settings, store, time.time), key)
        listeners = _guest_listeners(settings.web.port)
        if settings.firewall.backend != "memory":
            remember_macs(listeners)
        self._servers = [
            Server(Capture(guest, settings), listeners, threads=settings.web.threads),
            # Apart from the guests', so that no crowd of them can shut the operator out.
            Server(
                admin_app(
                    portal,
                    self._rounds,
                    Texting(settings, store, routes, purse, texts),
                    applications,
                    arranging,
                    ways.vouchers,
                    ways.staff,
                    key,
                    self._alarms,
                ),
                [unix_listener(settings.admin_socket, 0o660)],
                threads=4,
            ),
        ]
        door.opened = self._servers[0].close_unused
        if settings.web.certificate:
            nginx = unix_listener(settings.web_socket, 0o660, settings.web.proxy_group)
            self._servers.append(Server(Proxied(guest), [nginx], threads=settings.web.threads))
            self._certificate = Certificate(settings.web.certificate, settings.web.host)
        if settings.reports.url:
            host, port = settings.reports.address
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            receiver = reports_app(routes, store, settings.reports.url, time.time)
            self._servers.append(Server(receiver, [tcp_listener(family, host, port)], threads=2))

    def run(self) -> int:
        stop = self._stop
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        self._exchange.fail_interrupted()
        if self._settings.otp.mode == "code" and (ended := self._store.end_unverified(time.time())):
            log.warning("event=unverified_ended sessions=%d", ended)
        self._rounds.start()
        self._followups.start()
        self._watchers = [
            Watcher("neighbours", lambda: self._neighbours.watch(self._movements.note, time.time)),
            Watcher("movements", self._movements.follow),
            Watcher("rules", self._watch_rules),
            Watcher("survey", self._watch_others),
        ]
        for watcher in self._watchers:
            watcher.start()
        for server in self._servers:
            server.start()
        notify("READY=1")
        log.info("event=ready port=%d providers=%d", self._settings.web.port, len(self._settings.sms))
        stop.wait()
        notify("STOPPING=1")
        for server in self._servers:
            server.stop()
        self._pool.stop()
        self._followups.stop()
        self._neighbours.close()
        self._rounds.stop()
        if self._rounds.last_error is None:
            self._rounds.round()  # the last bytes
        self._store.close()
        log.info("event=stopped")
        return 1 if self._damaged else 0

    def _give_up(self) -> None:
        """End because the database is damaged: whoever starts us anew sets it aside and rebuilds it."""
        self._damaged = True
        self._stop.set()

    # What is watched beside the rounds, each in a thread of its own -----------------------------

    def _watch_rules(self) -> None:
        """Have a round at once when somebody else has changed the rules."""
        while not self._stop.is_set():
            if self._firewall.wait(30):
                self._rounds.wake()

    def _watch_others(self) -> None:
        while not self._stop.is_set():
            self._found = self._firewall.survey()
            self._stop.wait(60)

    def _alarms(self) -> list[Alarm]:
        found = [*self._found, *self._places.alarms(time.time()), *self._arranging.alarms()]
        if self._certificate:
            found += self._certificate.alarms(time.time())
        if self._rounds.store_error:
            cure = "guests stay online, nobody new comes in; look at the disk of state_dir: df -h"
            found.append(Alarm(self._rounds.store_error, cure))
        elif (left := room(self._settings.state_dir)) < LEAST_ROOM:
            # Said before a write fails: while nobody is online, there may be none.
            text = f"the disk of {self._settings.state_dir} has room for {amount(left)}"
            found.append(Alarm(text, "without room, nobody new comes in; see: df -h, mount"))
        if lost := self._store.lost():
            rest = "the last backup and the kernel" if lost["backup"] else "what the kernel held"
            found.append(
                Alarm(
                    f"the database was lost ({lost['why']}) and rebuilt from {rest}",
                    f"it is kept as {lost['aside']}; once you have seen to it: portalctl status --seen",
                )
            )
        return found


def enforcement(settings: Config, places: Places | None = None) -> tuple[Firewall, Neighbours]:
    """Return the firewall and the view of the network that go together."""
    if settings.firewall.backend == "memory":
        log.warning("event=nothing_enforced backend=memory")
        return MemoryFirewall(time.time), PretendNeighbours(settings.zones)
    return RemoteFirewall(settings.firewall_socket), KernelNeighbours(settings.zones, places)


def boot_time() -> float:
    """Return seconds since the machine was started, asleep or awake: nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return what tells this boot from all others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Watcher(threading.Thread):
    """Runs a job that waits for something, again and again if it fails."""

    def __init__(self, name: str, job: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._job = job

    def run(self) -> None:
        while True:
            try:
                return self._job()
            except PortaldError as error:
                log.warning("event=watching_failed what=%s error=%s", self.name, error)
            except Exception:
                log.exception("event=watching_failed what=%s", self.name)
            time.sleep(1)


def _feed_watchdog() -> None:
    notify("WATCHDOG=1")


class Pool:
    """Runs jobs on a few threads; says no when too many wait already."""

    def __init__(self, workers: int, waiting: int) -> None:
        self._room = threading.BoundedSemaphore(workers + waiting)
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="later")

    def later(self, job: Callable[[], None]) -> bool:
        if not self._room.acquire(blocking=False):
            return False
        self._executor.submit(job).add_done_callback(self._done)
        return True

    def _done(self, future: Future[None]) -> None:
        self._room.release()
        if not future.cancelled() and (error := future.exception()):
            log.error("event=job_failed", exc_info=error)

    def stop(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


def _guest_listeners(port: int) -> list[socket.socket]:
    listeners = [tcp_listener(socket.AF_INET, "0.0.0.0", port)]  # noqa: S104, the ruleset keeps others out
    if socket.has_ipv6:
        try:
            listeners.append(tcp_listener(socket.AF_INET6, "::", port))
        except ConfigError as error:
            log.warning("event=no_ipv6_listener error=%s", error)
    return listeners


def tcp_listener(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    """Return a listening socket; raise ``ConfigError`` with the cure if the port is taken."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            cure = f"see who with: ss -ltnp 'sport = :{port}'"
            raise ConfigError(f"port {port} is in use; {cure}") from error
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


if __name__ == "__main__":
    sys.exit(main())

"""Shared by all tests: a clock that moves when told, and the product built from its own fakes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from portald.applications import Applications
from portald.arranging import Arranging
from portald.config import Config, Zone
from portald.consent import Consent
from portald.door import Door
from portald.errors import SmsError
from portald.exchange import Exchange
from portald.firewall.memory import MemoryFirewall
from portald.model import Client, Text
from portald.portal import Portal
from portald.purse import Purse
from portald.reconcile import Rounds
from portald.returning import Returning
from portald.signing import Signing
from portald.sms.breaker import Breaker
from portald.sms.codes import Codes
from portald.sms.routes import Route, Routes, Way
from portald.staff import Staff
from portald.store import Store
from portald.texting import Texting
from portald.texts import Texts
from portald.timekeeping import Timekeeper
from portald.vouchers import Vouchers
from portald.web import catalogues
from portald.web.admin import admin_app
from portald.web.capture import Capture
from portald.web.guest import guest_app
from portald.web.ways import Ways

pytest_plugins = ["tests.lab_fixtures"]

KEY = b"k" * 32
NUMBER = "+14155552671"


@pytest.fixture
def own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder in the place of the operator's own catalogues, read anew in this test and after it."""
    monkeypatch.setattr(catalogues, "OWN", tmp_path)
    catalogues.catalogue.cache_clear()
    yield tmp_path
    catalogues.catalogue.cache_clear()


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Outbox:
    """A sender that keeps texts, or fails as told."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    sent: list[Text] = field(default_factory=list)
    error: Exception | None = None

    def send(self, text: Text) -> str:
        if self.error is not None:
            raise self.error
        self.texts.append((text.to, text.body))
        self.sent.append(text)
        return f"id{len(self.texts)}"

    def code(self) -> str:
        """Return the code of the latest text."""
        return self.texts[-1][1][:6]


class Table:
    """A neighbour table one can write to."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}

    def join(self, ip: str, mac: str, zone: str = "guest") -> Client:
        self.clients[ip] = Client(mac, ip, zone)
        return self.clients[ip]

    def client(self, ip: str) -> Client | None:
        return self.clients.get(ip)

    def addresses(self) -> Mapping[tuple[str, str], frozenset[str]]:
        found: dict[tuple[str, str], set[str]] = {}
        for client in self.clients.values():
            found.setdefault((client.mac, client.zone), set()).add(client.ip)
        return {key: frozenset(ips) for key, ips in found.items()}

    def watch(self, moved: Any, clock: Any) -> None:
        """Nobody moves but by ``join``, and rounds see that."""

    def close(self) -> None:
        """There is nothing to end."""


@dataclass
class Product:
    """portald without processes: the same objects the daemon wires, on fakes."""

    config: Config
    clock: Clock
    store: Store
    firewall: Any
    table: Table
    outbox: Outbox
    portal: Portal
    rounds: Rounds
    door: Door
    returning: Returning
    signing: Signing
    vouchers: Vouchers
    staff: Staff
    arranging: Arranging
    routes: Routes
    purse: Purse
    exchange: Exchange
    applications: Applications
    texting: Texting
    jobs: list[Callable[[], None]] = field(default_factory=list)
    paused: bool = False

    def web(self) -> Flask:
        consent = Consent(self.config, self.store, self.clock)
        app = guest_app(self.portal, self.ways(), consent, KEY)
        app.wsgi_app = Capture(app.wsgi_app, self.config)  # type: ignore[method-assign]
        return app

    def ways(self) -> Ways:
        return Ways(self.returning, self.signing, self.vouchers, self.staff)

    def operator(self) -> Flask:
        return admin_app(
            self.portal, self.rounds, self.texting, self.applications, self.arranging, self.vouchers,
            self.staff, KEY,
        )  # fmt: skip

    def log_in(self, client: Client, number: str = NUMBER) -> Any:
        self.portal.request_code(client, number)
        return self.portal.confirm(client, self.outbox.code())

    def inside(self) -> set[int]:
        """Return the sessions that the firewall lets through."""
        return {number for number, held in self.firewall.read().items() if held.open}

    def use_firewall(self, firewall: Any) -> None:
        """Put another firewall in the place of the one that remembers."""
        self.firewall = self.door._firewall = self.rounds._firewall = firewall

    def make_rounds(self, after: Callable[[], None] = lambda: None) -> Rounds:
        """Return rounds besides the product's own."""
        keeper = Timekeeper(self.store, self.clock, self.clock, "boot")
        return Rounds(
            self.config, self.store, self.firewall, self.table, self.door, keeper, self.clock,
            threading.Lock(), after=after,
        )  # fmt: skip

    def send_waiting(self) -> None:
        """Let the texts that were asked for be sent now."""
        while self.jobs:
            self.jobs.pop(0)()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "portald.db")
    yield opened
    opened.close()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    zone = Zone(interface="br-guest", networks=(IPv4Network("10.77.0.0/24"),))
    return Config(name="Lobby", state_dir=tmp_path, run_dir=tmp_path, zones=(zone,))


@pytest.fixture
def make_product(clock: Clock, store: Store, config: Config) -> Callable[..., Product]:
    def make(ways: list[Way] | None = None, **changes: Any) -> Product:
        """Build the product; keyword arguments replace tables of the settings."""
        settings = replace(config, **changes)
        firewall = MemoryFirewall(clock)
        firewall.setup()
        table, outbox, turn = Table(), Outbox(), threading.Lock()
        door = Door(settings, store, firewall, clock, turn)
        keeper = Timekeeper(store, clock, clock, "boot")
        rounds = Rounds(settings, store, firewall, table, door, keeper, clock, turn)
        jobs: list[Callable[[], None]] = []

        def later(job: Callable[[], None]) -> bool:
            jobs.append(job)
            if not product.paused:
                product.send_waiting()
            return True

        texts = Texts(settings)
        if ways is None:
            ways = [Way(Route(), "outbox", outbox, Codes(outbox, KEY, texts), Breaker(clock))]
        routes = Routes(ways, lambda attempt: store.add_attempt(attempt, clock()), texts.parts)
        purse = Purse(settings, store, routes, clock)
        exchange = Exchange(settings, store, routes, purse, clock, later)
        applications = Applications(settings, store, exchange, KEY, clock)
        exchange.changed = applications.tell
        portal = Portal(settings, store, door, routes, exchange, table, clock)
        product = Product(
            config=settings, clock=clock, store=store, firewall=firewall, table=table, outbox=outbox,
            portal=portal, rounds=rounds, door=door, returning=Returning(store, door, clock, KEY),
            signing=Signing(settings, store, door, exchange, clock),
            vouchers=Vouchers(store, door, clock, KEY, settings.limits),
            staff=Staff(settings, store, door, clock), arranging=Arranging(settings, store, door, clock),
            routes=routes, purse=purse, exchange=exchange, applications=applications,
            texting=Texting(settings, store, routes, purse, texts), jobs=jobs,
        )  # fmt: skip
        return product

    return make


@pytest.fixture
def product(make_product: Callable[..., Product]) -> Product:
    return make_product()


@pytest.fixture
def phone(product: Product) -> Client:
    return product.table.join("10.77.0.11", "02:cc:00:00:00:01")


__all__ = ["KEY", "NUMBER", "Clock", "Outbox", "Product", "SmsError", "Table"]

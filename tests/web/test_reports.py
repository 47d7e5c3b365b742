"""Reports of providers: only proven ones count, and the address that was signed is the public one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient

from portald.errors import Forged
from portald.model import Client, Report
from portald.sms.breaker import Breaker
from portald.sms.codes import Codes
from portald.sms.routes import Route, Way
from portald.texts import Texts
from portald.web.reports import reports_app
from tests.conftest import KEY, NUMBER, Outbox, Product

PUBLIC = "https://wifi.example/reports/"


@dataclass
class Reporting(Outbox):
    """A provider that reports; proven by the word in its body."""

    seen: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    def reports(self, url: str, headers: Mapping[str, str], body: bytes) -> list[Report]:
        self.seen.append((url, headers, body))
        if b"signed" not in body:
            raise Forged("not signed")
        return [Report("id1", False, "unreachable"), Report("id9", True), Report("id1", None)]


@pytest.fixture
def provider() -> Reporting:
    return Reporting()


@pytest.fixture
def product(make_product: Callable[..., Product], provider: Reporting, config: Any, clock: Any) -> Product:
    codes = Codes(provider, KEY, Texts(config))
    silent = Way(Route(name="silent"), "b", Outbox(), codes, Breaker(clock))
    return make_product(ways=[Way(Route(name="a"), "a", provider, codes, Breaker(clock)), silent])


@pytest.fixture
def web(product: Product) -> FlaskClient:
    return reports_app(product.routes, product.store, PUBLIC, product.clock).test_client()


def test_a_proven_report_counts(
    web: FlaskClient, product: Product, phone: Client, provider: Reporting
) -> None:
    product.portal.request_code(phone, NUMBER)
    answer = web.post("/a?x=1&y=%20", data=b"signed", headers={"Host": "127.0.0.1:8090", "X-Sig": "s"})
    assert (answer.status_code, answer.data) == (204, b"")
    ((url, headers, body),) = provider.seen
    assert (url, headers["X-Sig"], body) == ("https://wifi.example/reports/a?x=1&y=%20", "s", b"signed")
    pending = product.portal.pending(phone)
    assert pending is not None
    assert pending.delivered is False


def test_a_forged_report_does_not(
    web: FlaskClient, product: Product, phone: Client, caplog: pytest.LogCaptureFixture
) -> None:
    product.portal.request_code(phone, NUMBER)
    assert web.post("/a", data=b"id1 delivered").status_code == 403
    pending = product.portal.pending(phone)
    assert pending is not None
    assert pending.delivered is None
    assert "event=report_forged provider=a why=not signed" in caplog.text


@pytest.mark.parametrize("path", ["/", "/nobody", "/silent", "/a/b", "/api/status"])
def test_nothing_else_is_there(web: FlaskClient, path: str) -> None:
    assert web.post(path, data=b"signed").status_code == 404


def test_a_report_has_an_end(web: FlaskClient) -> None:
    assert web.post("/a", data=b"signed" * 10_000).status_code == 413

"""The portal by https: a real nginx with what portald renders for it, and phones that check its certificate."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from portald.demo import phone
from portald.demo.lab import Host, until
from portald.demo.venue import NUMBER, PORTAL, SITE, TYPED, Venue, form_token
from tests.authority import Authority
from tests.lab.browse import LEAVE, Guest, browsing, trust
from tests.lab_fixtures import require_lab
from tests.programs import program

pytestmark = pytest.mark.lab

NAME = "wifi.aurora.example"
WEB = f"https://{NAME}/"
API = WEB + "captive-portal/api"
SETTINGS = """
[web]
url = "{url}"
certificate = "{folder}/wifi.pem"
key = "{folder}/wifi.key"
proxy_group = "nogroup"
"""


class Secure(Venue):
    """A venue with a name of its own, and nginx in front."""

    def __init__(self, backend: str = "nftables") -> None:
        super().__init__(backend)
        self.authority = Authority(self.scratch)
        # For root alone: portald, which is nobody here, could not read it if it tried.
        self.authority.issue("wifi", NAME)
        self._more = SETTINGS.format(url=WEB, folder=self.scratch)

    def start(self) -> None:
        super().start()
        names = self.scratch / "rendered.conf"
        names.write_text(self.ctl("render", "dnsmasq"))
        self.serve_guests(f"conf-file={names}", f"host-record=other.example,{PORTAL}")
        site, main = self.scratch / "site.conf", self.scratch / "nginx.conf"
        site.write_text(self.ctl("render", "nginx"))
        main.write_text(NGINX.format(folder=self.scratch))
        command = [*program("nginx"), "-p", str(self.scratch), "-c", str(main)]
        self.gateway.run(*command, "-t")
        with (self.scratch / "nginx.log").open("wb") as log:
            self.nginx = self.gateway.start(*command, "-g", "daemon off;", output=log)
        until(lambda: "peer" in self.do(self.gateway, "connect", PORTAL, "443"), "nginx does not answer")

    def ask(self, guest: Host, url: str, *more: str, form: str = "", family: str = "") -> dict[str, Any]:
        """Let a guest fetch a page, checking the certificate; ``more`` are headers."""
        method = "POST" if form else "GET"
        trusting = ["env", f"SSL_CERT_FILE={self.authority.certificate}"]
        action = ["fetch", method, url, family, form, *more]
        result: dict[str, Any] = json.loads(
            guest.run(*trusting, sys.executable, "-I", "-S", phone.__file__, *action)
        )
        return result

    def state(self, guest: Host, *more: str) -> dict[str, Any]:
        """Return what the captive-portal API tells a guest's phone."""
        answer = self.ask(guest, API, "Accept=application/captive+json", *more)
        assert answer["status"] == 200, answer
        assert answer["headers"]["Content-Type"] == "application/captive+json"
        assert answer["headers"]["Cache-Control"] == "private, no-store"
        state: dict[str, Any] = json.loads(answer["body"])
        return state

    def enter(self) -> dict[str, Any]:
        """Log the phone in by https; return the answer to the code."""
        guest = self.phone
        form = f"form={form_token(self.ask(guest, WEB)['body'])}&number={TYPED.replace(' ', '+')}"
        assert self.ask(guest, WEB + "number", form=form)["location"] == "/code"
        code = self.wait_for_text(NUMBER)
        until(lambda: 'name="code"' in self.ask(guest, WEB + "code")["body"], "the code page does not come")
        form = f"form={form_token(self.ask(guest, WEB + 'code')['body'])}&code={code}"
        return self.ask(guest, WEB + "code", form=form)


NGINX = """
user www-data nogroup;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log info;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/nginx-access.log;
    # For other sites, behind a proxy.
    set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For; underscores_in_headers on;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    include {folder}/site.conf;
}}
"""


@pytest.fixture
def online(secure: Secure) -> Host:
    """Return the phone, which is logged in."""
    if secure.state(secure.phone)["captive"]:
        secure.enter()
    assert secure.state(secure.phone)["captive"] is False
    return secure.phone


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    require_lab()
    program("nginx")
    with Secure() as built:
        built.start()
        built.lease(built.phone)
        built.wait_ipv6(built.phone)
        yield built


def test_from_any_page_to_being_online(secure: Secure) -> None:
    guest = secure.phone
    for url in (f"http://{SITE}/hotspot-detect.html", f"http://{PORTAL}/status", f"http://{NAME}/code"):
        answer = secure.ask(guest, url, "X-Real-IP=10.77.0.1")
        assert (answer["status"], answer["location"]) == (302, WEB), "nothing is served in the clear"

    before = {"captive": True, "user-portal-url": WEB}
    assert secure.state(guest) == before
    by_ipv6 = secure.ask(guest, f"http://{SITE}/", family="6")
    assert (by_ipv6["status"], by_ipv6["location"]) == (302, WEB)
    assert "status" not in secure.do(guest, "fetch", "GET", WEB), (
        "who does not know the authority sees nothing"
    )

    entered = secure.enter()
    assert (entered["status"], entered["location"]) == (303, "/status")
    assert "; Secure;" in entered["headers"]["Set-Cookie"]

    after = {"captive": False, "user-portal-url": WEB, "can-extend-session": False}
    assert secure.state(guest) == after
    assert secure.fetch(guest, f"http://{SITE}/")["status"] == 200
    assert secure.ask(guest, f"http://{PORTAL}/")["location"] == WEB


def test_nobody_speaks_for_another(secure: Secure, online: Host) -> None:
    """A stranger sends the header that nginx sets, with the address of somebody who is online."""
    stranger = secure.guest("stranger")
    own = secure.lease(stranger)
    victim = re.search(r"inet (10\.77\.0\.\d+)", online.run("ip", "-4", "address", "show", "wlan0"))
    assert victim
    assert victim[1] != own
    for name in ("X-Real-IP", "x_real_ip", "X-Forwarded-For", "Forwarded"):
        value = f"for={victim[1]}" if name == "Forwarded" else victim[1]
        assert secure.state(stranger, f"{name}={value}")["captive"] is True
        assert secure.ask(stranger, WEB + "status", f"{name}={value}")["status"] == 303
    socket = str(secure.scratch / "run/web.sock")
    ask = [sys.executable, "-I", "-c", BARE, socket]
    assert secure.gateway.run(*ask).startswith("HTTP/1.1 400 "), "no address, no page"
    if secure.separated:
        drop = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "--"]
        assert "PermissionError" in secure.gateway.run(*drop, *ask)


BARE = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    try:
        connection.connect(sys.argv[1])
    except PermissionError as error:
        sys.exit(print(type(error).__name__))
    connection.sendall(b"GET /status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(connection.recv(4096).decode())
"""


def test_other_names_get_no_tls_and_no_page(secure: Secure) -> None:
    for host in (PORTAL, "other.example"):
        answer = secure.ask(secure.phone, f"https://{host}/")
        assert "UNRECOGNIZED_NAME" in answer["text"].upper(), answer
    assert secure.ask(secure.phone, WEB, "Host=evil.example")["error"] == "RemoteDisconnected"


def test_what_else_the_gateway_has_at_port_443(secure: Secure) -> None:
    """An administrator's page, on an address that is not the guests' own."""
    for family, address in (("4", "203.0.113.2"), ("6", "2001:db8:77::1")):
        secure.gateway.start(sys.executable, "-I", "-c", OTHER, address, family)
        until(lambda: address in secure.gateway.run("ss", "-Hltn"), "no server")  # noqa: B023
        assert secure.do(secure.phone, "connect", address, "443")["error"] == "ConnectionRefusedError"


OTHER = """
import socket, sys
families = {"4": socket.AF_INET, "6": socket.AF_INET6}
socket.create_server((sys.argv[1], 443), family=families[sys.argv[2]]).accept()
"""


def test_the_world_reaches_no_page(secure: Secure) -> None:
    assert shut_out(secure)


def shut_out(venue: Secure) -> bool:
    venue.internet.run("ip", "route", "replace", "10.77.0.0/24", "via", "203.0.113.2")
    return "TimeoutError" in venue.internet.run(sys.executable, "-I", "-c", KNOCK, PORTAL)


KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 443), 0.3)
except OSError as error:
    print(type(error).__name__)
"""


def test_whom_phones_ask_about_the_certificate_is_opened(secure: Secure) -> None:
    rendered = secure.ctl("render", "dnsmasq")
    assert "nftset=/ocsp.authority.example/4#inet#portald#checks4" in rendered


def test_no_log_keeps_what_guests_send(secure: Secure) -> None:
    secure.ask(secure.phone, WEB + "voucher?code=SECRET123")
    secure.ask(secure.phone, WEB + "%ff%00SECRET123")
    for log in secure.scratch.glob("*.log"):
        assert "SECRET123" not in log.read_text("utf-8", "replace"), log.name


def test_a_new_certificate_by_a_reload_of_nginx_alone(secure: Secure, online: Host) -> None:
    assert secure.daemon
    was = secure.ask(secure.phone, WEB)["serial"]

    def alarms() -> str:
        return secure.ctl("status", check=False) + secure.ctl("check", check=False)

    assert "expires in" not in alarms()
    secure.authority.issue("wifi", NAME, days=5)
    found = alarms()
    assert found.count("expires in 5 days") == 2, "by the running portald, and by check"
    os.kill(int((secure.scratch / "nginx.pid").read_text()), signal.SIGHUP)
    until(lambda: secure.ask(secure.phone, WEB)["serial"] not in ("", was), "the old one is still served")
    assert secure.daemon.poll() is None
    assert secure.state(online)["captive"] is False, "and the guest is online as before"


def test_on_the_older_backend_as_well() -> None:
    require_lab()
    program("nginx")
    with Secure("iptables") as older:
        older.start()
        older.lease(older.phone)
        assert older.ask(older.phone, f"http://{SITE}/")["location"] == WEB
        assert older.state(older.phone)["captive"] is True
        assert shut_out(older)
        for elsewhere in (SITE, "203.0.113.2"):
            assert older.do(older.phone, "connect", elsewhere, "443")["error"] == "ConnectionRefusedError"


@pytest.mark.browser
def test_a_browser_checks_the_certificate_and_signs_in(secure: Secure) -> None:
    laptop = secure.guest("laptop")
    secure.lease(laptop)
    guest = Guest(name="https", number="+4915123456784", portal=WEB.rstrip("/"), screen=(1280, 800))
    with browsing(guest, secure, laptop) as browser:

        def warned() -> bool:
            browser.visit(guest.start)
            return "CERT_AUTHORITY_INVALID" in browser.chrome.page_source

        browser.until(warned, "the browser does not mind the certificate")
    trust(laptop, secure.authority.certificate)
    with browsing(guest, secure, laptop) as browser:
        browser.visit(guest.start)
        assert browser.here("/")
        browser.look("first")
        browser.enter(browser.paste("number", "0151 23456784"))
        browser.until(lambda: browser.find("#code"), "no code page")
        browser.follow(lambda: browser.find("#code")[0].send_keys(browser.code()))
        browser.until(lambda: browser.find(LEAVE), "not online")
        assert "You are online" in browser.look("online")
        assert browser.here("/status")
        assert browser.reaches_the_internet()
        browser.log_out()

"""A venue as an operator writes it in TOML, and those who use it: a guest, a program, an operator."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from werkzeug.test import Client as Browser
from werkzeug.test import TestResponse

from portald import config, sms
from portald.config import Config
from portald.ctl.main import main as portalctl
from portald.errors import ConfigError
from portald.followup import Followups
from portald.sms import tokens
from portald.sms.codes import Codes
from portald.system import unix_listener
from portald.texts import Texts
from portald.web.server import Server
from tests.conftest import KEY, Clock, Product
from tests.sms.conftest import Provider, Request, certificate, provider, tls_provider
from tests.sms.wire import write

__all__ = ["certificate", "provider", "tls_provider"]

AGENT = "Mozilla/5.0 (iPhone)"
CUSTOM = """
[[sms]]
name = "custom"
type = "http"
url = "$URL/send"
payload = { to = "{{mobile}}", text = "{{body}}" }
"""
SECRET = "a-secret-of-the-application"
PROGRAM = f"""
[[applications]]
id = "booking"
secret = "{SECRET}"
callbacks = ["$URL/"]
"""


class Check(Protocol):
    """The proof of one row."""

    __name__: str

    def __call__(self, lab: Lab) -> None: ...


class Rows(list[Any]):
    """The rows of one document: a function ``p14_success_response`` proves ``P14-success-response``."""

    def __call__(self, check: Check) -> Check:
        row, *words = check.__name__.split("_")
        self.append(pytest.param(check, id="-".join([row.upper(), *words])))
        return check


class Guest:
    """A browser on a device of the guest network; it keeps no cookie."""

    def __init__(self, product: Product, device: int, headers: Mapping[str, str]) -> None:
        self._product = product
        self._browser = Browser(product.web(), use_cookies=False)
        self._headers = {"User-Agent": AGENT, **headers}
        self.ip, self.mac = f"10.77.0.{device}", f"02:cc:00:00:00:{device:02x}"
        product.table.join(self.ip, self.mac)

    def get(self, path: str, host: str = "10.77.0.1") -> TestResponse:
        return self._browser.get(path, environ_overrides=self._environ(host), headers=self._headers)

    def post(self, path: str, **fields: str) -> str:
        """Send the form of the page this device is on; return the page that follows."""
        found = re.search(r'name="form" value="([0-9a-f]+)"', self.page())
        assert found, "no form on this page"
        form = {"form": found[1], **fields}
        environ = self._environ("10.77.0.1")
        answer = self._browser.post(path, data=form, environ_overrides=environ, headers=self._headers)
        return self.page() if answer.status_code == 303 else answer.text

    def page(self) -> str:
        """Return the page that this device is led to."""
        answer = self.get("/")
        while answer.status_code == 303:
            answer = self.get(answer.location)
        return answer.text

    def ask(self, number: str, **fields: str) -> str:
        return self.post("/number", number=number, **fields)

    def type(self, code: str) -> str:
        return self.post("/code", code=code)

    def at(self, path: str, **fields: str) -> str:
        """Open a page and send its form; return the page that follows."""
        found = re.search(r'name="form" value="([0-9a-f]+)"', self.get(path).text)
        assert found, f"no form on {path}"
        environ = self._environ("10.77.0.1")
        form = {"form": found[1], **fields}
        answer = self._browser.post(path, data=form, environ_overrides=environ, headers=self._headers)
        if answer.status_code != 303:
            return answer.text
        page = self.get(answer.location)
        return page.text if page.status_code == 200 else self.page()

    def resend(self) -> str:
        return self.post("/resend")

    @property
    def online(self) -> bool:
        """Whether the firewall lets this device through."""
        return any(held.open and held.mac == self.mac for held in self._product.firewall.read().values())

    def _environ(self, host: str) -> dict[str, str]:
        return {"REMOTE_ADDR": self.ip, "HTTP_HOST": host}


class Program:
    """A program of the venue that uses the OTP API, or an operator's if it has no token."""

    def __init__(self, product: Product, login: tuple[str, str] | None = None) -> None:
        self._web = Browser(product.operator(), use_cookies=False)
        self.token = ""
        if login:
            self.token = self.get_token(*login).json["access_token"]  # type: ignore[index]

    def get_token(self, name: str, secret: str) -> TestResponse:
        form = {"grant_type": "client_credentials"}
        return self._web.post("/oauth/token", data=form, auth=(name, secret), headers={"Host": "localhost"})

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Host": "localhost"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        answer = self._web.open(path, method=method, json=body, headers=headers)
        return answer.status_code, answer.json

    def page(self) -> str:
        return self._web.get("/", headers={"Host": "localhost"}).text

    def create(self, to: str, **body: Any) -> Any:
        status, data = self.ask("POST", "/otp", {"to": to, **body})
        assert status == 201, data
        return data

    def check(self, made: Any, pin: str) -> tuple[int, Any]:
        """Return the status, and the state or the error's number."""
        status, data = self.ask("POST", f"/otp/{made['otpId']}", {"pin": pin})
        return status, data["error"]["code"] if status >= 400 else data["status"]

    def state(self, made: Any) -> Any:
        return self.ask("GET", f"/otp/{made['otpId']}")[1]["status"]


@dataclasses.dataclass
class Lab:
    """What a proof has at hand; ``$URL`` in settings is a provider of our own on loopback."""

    provider: Provider
    folder: Path
    clock: Clock
    make_product: Callable[..., Product]
    request: pytest.FixtureRequest

    def write(self, text: str, url: str | None = None) -> Path:
        """Write a settings file as an operator would."""
        path = self.folder / "portald.toml"
        head = f'name = "Lobby"\nstate_dir = "{self.folder}"\nrun_dir = "{self.folder}"\n'
        zone = (
            ""
            if "[[zones]]" in text
            else '\n[[zones]]\ninterface = "br-guest"\nnetworks = ["10.77.0.0/24"]\n'
        )
        path.write_text(head + text.replace("$URL", url or self.provider.url) + zone)
        return path

    def settings(self, text: str, url: str | None = None) -> Config:
        return config.load(self.write(text, url))

    def make(self, text: str, url: str | None = None) -> Product:
        """Build the product from its settings, as the daemon does."""
        settings = self.settings(text, url)
        texts = Texts(settings)
        ways = sms.make(
            settings.sms, lambda sender: Codes(sender, KEY, texts), self.clock, settings.reports.url
        )
        values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
        return self.make_product(ways=ways, **values)

    def refused(self, text: str) -> str:
        """Return why settings are refused."""
        with pytest.raises(ConfigError) as caught:
            self.make(text)
        return str(caught.value)

    def guest(self, product: Product, device: int = 11, **headers: str) -> Guest:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Guest(product, device, named)

    def program(self, product: Product) -> Program:
        return Program(product, ("booking", SECRET))

    def operator(self, product: Product) -> Program:
        return Program(product)

    def ctl(self, product: Product, *arguments: str) -> Any:
        """Run portalctl against the product, over its socket; return the JSON it prints."""
        path = product.config.admin_socket
        server = Server(product.operator(), [unix_listener(path, 0o600)], threads=2)
        server.start()
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                portalctl([*arguments, "--json", "--config", str(self.folder / "portald.toml")])
        finally:
            server.stop()
            path.unlink()
        return json.loads(printed.getvalue())

    def follow_up(self, product: Product) -> None:
        """Let applications be told what became of their codes, as a thread of the daemon does."""
        Followups(product.config, product.store, product.routes, product.applications, product.clock).look()

    def answers(self, by_path: Mapping[str, tuple[int, str]]) -> None:
        """Answer requests by the first beginning of their method and path that fits."""

        def behave(handler: Any) -> None:
            asked = f"{handler.command} {handler.path}"
            write(handler, *next(answer for begin, answer in by_path.items() if asked.startswith(begin)))

        self.provider.behave = behave

    def asked(self, begin: str) -> list[Request]:
        """Return the requests whose method and path begin so."""
        return [r for r in self.provider.requests if f"{r.method} {r.path}".startswith(begin)]


@pytest.fixture(autouse=True)
def no_tokens() -> Iterator[None]:
    """Another test's server may have had the same port."""
    tokens.client.cache_clear()
    yield
    tokens.client.cache_clear()


@pytest.fixture
def lab(
    provider: Provider,
    tmp_path: Path,
    clock: Clock,
    make_product: Callable[..., Product],
    request: pytest.FixtureRequest,
) -> Lab:
    return Lab(provider, tmp_path, clock, make_product, request)


def text_of(request: Request) -> str:
    """Return the text that a custom gateway of these settings was asked to carry."""
    return str(json.loads(request.body)["text"])


def code_in(text: str) -> str:
    """Return the code of six digits in a text."""
    found = re.search(r"(?<!\d)\d{6}(?!\d)", text)
    assert found, text
    return found[0]


def wrong(code: str) -> str:
    """Return another code."""
    return ("1" if code[0] == "0" else "0") + code[1:]

"""Settings: a wrong file names every wrong key, and a secret never shows itself."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portald import sms
from portald.config import Application, Config, Firewall, Otp, Reports, Web, Zone, load
from portald.errors import ConfigError
from portald.model import Text
from portald.schema import Secret, build, setting
from portald.sms.codes import Codes
from portald.sms.routes import Way
from portald.sms.twilio import Twilio
from portald.texts import Texts

TEXTS = Texts(Config(zones=(Zone(interface="br", networks=(IPv4Network("10.77.0.0/24"),)),)))
ZONE = '[[zones]]\ninterface = "br-guest"\nnetworks = ["10.77.0.0/24"]\n'
HIDDEN = "s3cr3t-t0k3n"


def read(text: str) -> Config:
    """Build settings from a good zone and the text given."""
    return build(Config, tomllib.loads(text + "\n" + ZONE))


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        build(Config, tomllib.loads(text))
    return caught.value.problems


def test_smallest_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "portald.toml"
    path.write_text(ZONE)
    config = load(path)
    assert config.zones == (Zone(interface="br-guest", networks=(IPv4Network("10.77.0.0/24"),)),)
    assert config.otp.length == 6
    assert config.zones[0].gateway == IPv4Address("10.77.0.1")
    assert config.portal_url(config.zones[0]) == "http://10.77.0.1/"


def test_every_table_is_read() -> None:
    config = read(
        """
        name = "Hôtel"
        state_dir = "/srv/state"
        [otp]
        length = 8
        [limits]
        texts = 7
        [numbers]
        country = "DE"
        allowed = ["DE", "AT"]
        [web]
        url = "https://wifi.example"
        [firewall]
        round = 2
        open_tcp = [631]
        [[sms]]
        type = "sandbox"
        """
    )
    assert (config.name, config.state_dir) == ("Hôtel", Path("/srv/state"))
    assert (config.otp.length, config.limits.texts) == (8, 7)
    assert config.numbers.allowed == ("DE", "AT")
    assert (config.firewall.round, config.firewall.open_tcp) == (2.0, (631,))
    assert isinstance(config.firewall.round, float)
    assert config.sms == ({"type": "sandbox"},)
    assert config.portal_url(config.zones[0]) == "https://wifi.example/"


def test_zone_of_an_address() -> None:
    text = ZONE + '[[zones]]\nname = "b"\ninterface = "br-b"\nnetworks = ["10.78.0.0/24", "10.79.0.0/24"]\n'
    config = build(Config, tomllib.loads(text))
    found = config.zone_of(IPv4Address("10.79.0.9"))
    assert found is not None
    assert found.name == "b"
    assert config.zone_of(IPv4Address("192.0.2.1")) is None


# Every row: what is added to a good file, and the beginning of the one problem it makes.
WRONG = {
    "misspelt": ("nam = 'x'", "nam: unknown key; did you mean 'name'?"),
    "unheard of": ("zzzzzz = 1", "zzzzzz: unknown key; known: name, timezone, state_dir, run_dir, zones"),
    "misspelt in a table": ("[otp]\nlenth = 6", "otp.lenth: unknown key; did you mean 'length'?"),
    "unheard of in a table": ("[web]\nqqq = 6", "web.qqq: unknown key; known: port, url, threads"),
    "text for a number": ("[otp]\nlength = '6'", "otp.length: expected a whole number, got text"),
    "fraction for a number": ("[otp]\nlength = 6.0", "otp.length: expected a whole number, got 6.0"),
    "truth for a number": ("[otp]\nlength = true", "otp.length: expected a whole number, got True"),
    "list for a number": ("[otp]\nlength = [6]", "otp.length: expected a whole number, got a list"),
    "table for a number": ("[otp.length]\na = 6", "otp.length: expected a whole number, got a table"),
    "text for a float": ("[firewall]\nround = 'x'", "firewall.round: expected a number, got text"),
    "number for text": ("name = 5", "name: expected text, got 5"),
    "number for a path": ("state_dir = 5", "state_dir: expected text, got 5"),
    "number for a table": ("otp = 5", "otp: expected a table, got 5"),
    "list for a table": ("otp = [5]", "otp: expected a table, got a list"),
    "text for a list": ("sms = 'x'", "sms: expected a list, got text"),
    "text in a list of tables": ("sms = ['x']", "sms[0]: expected a table, got text"),
    "text in a list of numbers": (
        "[firewall]\nopen_tcp = [631, 'x']",
        "firewall.open_tcp[1]: expected a whole number, got text",
    ),
    "too low": ("[otp]\nlength = 3", "otp.length: at least 4, got 3"),
    "too high": ("[otp]\nlength = 11", "otp.length: at most 10, got 11"),
    "no texts at all": ("[limits]\ntexts = 0", "limits.texts: at least 1, got 0"),
    "port too high": ("[web]\nport = 65536", "web.port: at most 65535, got 65536"),
    "round too short": ("[firewall]\nround = 0.1", "firewall.round: at least 0.2, got 0.1"),
    "round without end": ("[firewall]\nround = inf", "firewall.round: at most 60, got inf"),
    "round that is no number": ("[firewall]\nround = nan", "firewall.round: "),
    "backend": (
        "[firewall]\nbackend = 'pf'",
        "firewall.backend: expected auto or nftables or iptables or memory, got 'pf'",
    ),
    "open port": ("[firewall]\nopen_udp = [0]", "firewall.open ports: 0 is not a port"),
    "resend longer than the code": (
        "[otp]\nlifetime = 60\nresend_after = 61",
        "otp.resend_after: longer than otp.lifetime",
    ),
}


@pytest.mark.parametrize("row", WRONG)
def test_wrong_key_is_named(row: str) -> None:
    text, problem = WRONG[row]
    (found,) = problems_of(f"{text}\n{ZONE}" if not text.startswith("[") else f"{ZONE}{text}")
    assert found.startswith(problem)


def test_nothing_at_all_says_what_is_missing() -> None:
    (found,) = problems_of("")
    assert found == "zones: missing (the guest networks, each a [[zones]] table)"


@pytest.mark.parametrize(
    ("zones", "problem"),
    [
        ("zones = []", "zones: at least one [[zones]] table is needed"),
        (
            ZONE + ZONE.replace("interface =", "name = 'b'\ninterface ="),
            "zones: two of them have the same interface",
        ),
        (ZONE + ZONE.replace("br-guest", "br-b"), "zones: two of them have the same name"),
        (
            ZONE.replace("interface", "interfce"),
            "zones[0].interfce: unknown key; did you mean 'interface'?",
        ),
        (ZONE.replace("/24", "/99"), "zones[0].networks[0]: "),
        (ZONE.replace("10.77.0.0/24", "10.77.0.1/24"), "zones[0].networks[0]: "),
        (ZONE + "address = 'here'", "zones[0].address: "),
        (
            ZONE.replace('["10.77.0.0/24"]', '"10.77.0.0/24"'),
            "zones[0].networks: expected a list, got text",
        ),
        (ZONE.replace('"10.77.0.0/24"', '"10.77.0.0/24", 5'), "zones[0].networks[1]: expected text, got 5"),
        (ZONE + "[[zones]]\nname = 'b'\nnetworks = []", "zones[1].interface: missing (the interface"),
    ],
)
def test_wrong_zone_is_named_by_its_place(zones: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems_of(zones))


def test_zone_without_networks_is_refused() -> None:
    """It would have no gateway: better refused here than an exception at the first guest."""
    assert problems_of('[[zones]]\ninterface = "br-guest"\nnetworks = []')[0].startswith(
        "zones[0].networks"
    )


def test_all_problems_come_at_once() -> None:
    problems = problems_of(
        """
        nam = "x"
        [otp]
        length = 99
        attempts = "five"
        [web]
        prt = 80
        [[zones]]
        interfce = "br"
        networks = ["nonsense"]
        """
    )
    assert [problem.split(":")[0] for problem in sorted(problems)] == [
        "nam",
        "otp.attempts",
        "otp.length",
        "web.prt",
        "zones[0].interface",
        "zones[0].interfce",
        "zones[0].networks[0]",
    ]


def test_error_carries_every_problem_as_a_line() -> None:
    error = ConfigError(["a: one", "b: two"])
    assert str(error) == "a: one\nb: two"
    assert ConfigError("alone").problems == ("alone",)


# The file ----------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml does not exist"):
        load(tmp_path / "no.toml")


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"name = ", b"[otp\n", b"a = 1\na = 2\n", b"name = \xff"])
def test_bad_toml_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "portald.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)


# Checks of single tables -------------------------------------------------------------------


@pytest.mark.parametrize("url", [None, "http://wifi.lan", "http://wifi.lan/", "https://wifi.lan:8443/"])
def test_url_taken(url: str | None) -> None:
    assert Web(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "wifi.lan",
        "ftp://wifi.lan/",
        "http://",
        "http:///x",
        "http://wifi.lan/portal",
        "http://wifi.lan/?venue=1",
        "http://wifi.lan/#top",
        "http://[",
        "http://wifi.lan:port/",
    ],
)
def test_url_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^url: expected http://name/"):
        Web(url=url)


HTTPS = {"url": "https://wifi.example.net/", "certificate": "/etc/w.pem", "key": "/etc/w.key"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"key": None}, "certificate: it and key belong together"),
        ({"certificate": None}, "certificate: it and key belong together"),
        ({"certificate": "w.pem"}, "certificate: expected the whole path of a file"),
        ({"key": "/etc/w.key; include /tmp/x"}, "key: expected the whole path of a file"),
        ({"url": None}, 'url: with a certificate, expected "https://name/" without a port'),
        ({"url": "http://wifi.example.net/"}, "url: with a certificate, expected"),
        ({"url": "https://wifi.example.net:8443/"}, "url: with a certificate, expected"),
        ({"url": "https://10.77.0.1/"}, "url: expected a name such as wifi.example.com, got '10.77.0.1'"),
        ({"url": "https://a.b;c/"}, "url: expected a name such as"),
        ({"url": "https://wifi.example.net/page"}, "url: expected http://name/"),
    ],
)
def test_what_https_needs(change: dict[str, Any], problem: str) -> None:
    assert build(Web, HTTPS).host == "wifi.example.net"
    given = {key: value for key, value in (HTTPS | change).items() if value is not None}
    with pytest.raises(ConfigError, match="^" + re.escape(problem)):
        build(Web, given)


def test_the_captive_portal_api_is_https_or_nothing() -> None:
    zone = Zone(interface="br-guest", networks=(IPv4Network("10.77.0.0/24"),))
    api = Config(zones=(zone,), web=build(Web, HTTPS)).captive_api(zone)
    assert api == "https://wifi.example.net/captive-portal/api"
    assert Config(zones=(zone,)).captive_api(zone) is None
    assert Config(zones=(zone,), web=Web(url="http://wifi.lan")).captive_api(zone) is None


def test_a_venue_page_that_phones_could_not_open() -> None:
    with pytest.raises(ConfigError, match=r"^venue_url: "):
        build(Zone, {"interface": "br-guest", "networks": ["10.77.0.0/24"], "venue_url": "menu"})


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_open_port_refused(port: int) -> None:
    with pytest.raises(ConfigError, match=f"{port} is not a port"):
        Firewall(open_tcp=(port,))


@pytest.mark.parametrize("text", ["{code}", "{name}: {code} ({minutes})", "{code} {code}"])
def test_otp_text_taken(text: str) -> None:
    assert Otp(text=text).text == text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["name", "state_dir", "zones", "otp", "limits", "numbers", "web", "firewall", "sms"]
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, values | st.fixed_dictionaries({"url": values, "round": values})))
def test_rubbish_is_a_config_error_and_nothing_else(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        build(Config, {"otp": {"length": 0}, **table, "zones": 5})


# Secrets -----------------------------------------------------------------------------------


def twilio(**more: Any) -> Twilio:
    return build(Twilio, {"account_sid": "AC1", "sender": "x", **more})


def test_secret_never_shows_itself() -> None:
    secret = Secret(HIDDEN)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret!s}", format(secret)]
    shown += [repr([secret]), str({"a": secret}), repr(twilio(auth_token=HIDDEN))]
    assert not [text for text in shown if HIDDEN in text]
    assert secret.reveal() == HIDDEN


def test_secret_is_a_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_secret_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{HIDDEN}\n")
    assert twilio(auth_token_file=str(tmp_path / "token")).auth_token == Secret(HIDDEN)


def test_secret_file_may_be_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(HIDDEN)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert twilio(auth_token_file="$CREDENTIALS_DIRECTORY/token").auth_token.reveal() == HIDDEN


def secret_problems(**more: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        twilio(**more)
    return caught.value.problems


def test_missing_secret_file_is_named(tmp_path: Path) -> None:
    (found,) = secret_problems(auth_token_file=str(tmp_path / "nothing"))
    assert found.startswith("auth_token_file: cannot be read: ")
    assert "nothing" in found


@pytest.mark.parametrize("path", [5, ["x"], True, "a\0b", ""])
def test_secret_file_that_is_no_path_is_named(path: Any) -> None:
    (found,) = secret_problems(auth_token_file=path)
    assert found.startswith("auth_token_file: cannot be read: ")


def test_binary_secret_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    (found,) = secret_problems(auth_token_file=str(tmp_path / "token"))
    assert found.startswith("auth_token_file: cannot be read: ")


def test_secret_given_twice_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("other")
    (found,) = secret_problems(auth_token=HIDDEN, auth_token_file=str(tmp_path / "token"))
    assert found == "auth_token: given twice, as auth_token and auth_token_file"


def test_file_ending_is_for_secrets_only() -> None:
    assert secret_problems(auth_token="x", url_file="y")[0].startswith("url_file: unknown key")


@pytest.mark.parametrize("value", [4711_0815, 3.14159, [HIDDEN], {"a": HIDDEN}])
def test_secret_of_a_wrong_type_is_not_shown(value: Any) -> None:
    """A token of digits without its quotation marks is an easy mistake."""
    (found,) = secret_problems(auth_token=value)
    assert found.startswith("auth_token: expected text")
    assert str(value) not in found
    assert HIDDEN not in found


def test_error_next_to_a_secret_does_not_show_it() -> None:
    with pytest.raises(ConfigError) as caught:
        make([{"type": "twilio", "account_sid": "AC1", "auth_token": HIDDEN, "sendr": "x"}])
    assert "sms[0].sendr: unknown key; did you mean 'sender'?" in caught.value.problems
    assert HIDDEN not in str(caught.value)
    assert HIDDEN not in repr(caught.value)


def test_settings_as_a_whole_do_not_show_a_secret() -> None:
    config = read(f"[[sms]]\ntype = 'twilio'\naccount_sid = 'AC1'\nauth_token = '{HIDDEN}'")
    assert config.sms[0]["auth_token"] == HIDDEN
    assert HIDDEN not in repr(config)


def make(tables: list[dict[str, Any]]) -> list[Way]:
    return sms.make(tables, lambda sender: Codes(sender, b"", TEXTS), lambda: 0.0)


# The [[sms]] tables ------------------------------------------------------------------------


def test_providers_are_made_in_order() -> None:
    tables = [{"type": "sandbox"}, {"type": "http", "url": "http://127.0.0.1:9/"}]
    assert [way.kind for way in make(tables)] == ["sandbox", "http"]


def test_every_wrong_provider_is_named() -> None:
    tables: list[dict[str, Any]] = [
        {"type": "twillio"},
        {},
        {"type": "http"},
        {"type": "sandbox", "timeout": 99},
    ]
    with pytest.raises(ConfigError) as caught:
        make(tables)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "sms[0].type",
        "sms[1].type",
        "sms[2].url",
        "sms[3].timeout",
    ]


@pytest.mark.parametrize("kind", [5, ["twilio"], {"a": 1}])
def test_provider_type_of_a_wrong_kind(kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"sms\[0\]\.type: .* is not known"):
        make([{"type": kind}])


def test_no_provider_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        make([])


@pytest.mark.parametrize("name", ["", 'x" ; flush ruleset', "a b", "a" * 16, "br/guest", "bré"])
def test_what_cannot_be_an_interface(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of an interface"):
        Zone(interface=name, networks=(IPv4Network("10.77.0.0/24"),))


def test_the_gateways_address_is_in_its_network() -> None:
    with pytest.raises(ConfigError, match="in none of the networks"):
        Zone(interface="x", networks=(IPv4Network("10.77.0.0/24"),), address=IPv4Address("10.78.0.1"))


class NotAProvider:
    """No dataclass: nobody knows its settings."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A provider of somebody else's."""

    key: Secret = setting("its key")
    sender: str = setting("who it is from", "")

    def send(self, text: Text) -> str:
        return self.key.reveal() + self.sender


def test_a_provider_from_elsewhere_by_its_path() -> None:
    path = f"{__name__}:Elsewhere"
    (way,) = make(
        [{"type": path, "name": "ours", "key": HIDDEN, "from": "Lobby", "cost": 0.5, "only": ["DE"]}]
    )
    assert isinstance(way.provider, Elsewhere)
    assert way.provider.send(Text("+1", "")) == HIDDEN + "Lobby"
    assert (way.name, way.kind, way.route.price("+1415")) == ("ours", path, 500_000)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere.at.all:X", "cannot be loaded"),
        (f"{__name__}:Nobody", "cannot be loaded"),
        (f"{__name__}:NotAProvider", "not a dataclass"),
        (f"{__name__}:HIDDEN", "not a dataclass"),
        ("portald.model:Client", "has neither send, nor start and check"),
        (":X", "is not known"),
        ("json:", "is not known"),
    ],
)
def test_a_path_that_leads_to_no_provider(path: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        make([{"type": path}])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"only": ["Germany"]}, r"sms\[0\]\.only: 'Germany' is not a country code"),
        ({"enabled": "yes"}, r"sms\[0\]\.enabled: expected true or false"),
        ({"cost": -1}, r"sms\[0\]\.cost: at least 0"),
        ({"costs": {"DE": "x"}}, r"sms\[0\]\.costs\.DE: expected a number"),
        ({"priority": 1.5}, r"sms\[0\]\.priority: expected a whole number"),
    ],
)
def test_what_every_provider_may_be_told(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        make([{"type": "sandbox", **table}])


def test_providers_that_report_are_told_where() -> None:
    table = {"type": "twilio", "account_sid": "AC1", "auth_token": HIDDEN, "sender": "x"}
    url = "https://wifi.example/reports/"
    first, second = sms.make(
        [{**table, "name": "a"}, {**table, "status_callback": "https://else.example/"}],
        lambda sender: Codes(sender, b"", TEXTS), lambda: 0.0, url,
    )  # fmt: skip
    assert first.provider.status_callback == "https://wifi.example/reports/a"
    assert second.provider.status_callback == "https://else.example/"


# Applications and reports ----------------------------------------------------------------------

APPLICATION = {"id": "booking", "secret": "s" * 16, "callbacks": ["https://booking.example/"]}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": "a b"}, "id: expected a word"),
        ({"secret": "short"}, "secret: at least 16"),
        ({"callbacks": ["ftp://x/"]}, "callbacks: expected"),
        ({"callbacks": ["https://booking.example"]}, "callbacks: expected"),
    ],
)
def test_an_application_that_cannot_be_one(change: dict[str, Any], problem: str) -> None:
    assert build(Application, APPLICATION).id == "booking"
    with pytest.raises(ConfigError, match=problem):
        build(Application, {**APPLICATION, **change})


def test_two_applications_of_one_name() -> None:
    with pytest.raises(ConfigError, match="applications: two of them have the same id"):
        build(
            Config,
            {"zones": [{"interface": "x", "networks": ["10.0.0.0/8"]}], "applications": [APPLICATION] * 2},
        )


@pytest.mark.parametrize(
    "table",
    [
        {"url": "http://wifi.example/"},
        {"url": "https://wifi.example/?a"},
        {"listen": "8090"},
        {"listen": "x:0"},
    ],
)
def test_where_reports_cannot_come(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        build(Reports, table)


def test_where_reports_come() -> None:
    assert build(Reports, {"listen": "[::1]:81"}).address == ("::1", 81)

"""Settings: what an operator writes into portald.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from datetime import tzinfo
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from portald.errors import ConfigError
from portald.languages import NAMES
from portald.model import Kind, Policy
from portald.schema import Secret, build, one_of, setting, split_url, table
from portald.theme import Theme

DEFAULT_PATH = Path("/etc/portald/portald.toml")
LONGEST_URI = 255
"""Bytes of a DHCPv4 option."""


def is_name(text: str) -> bool:
    """Tell whether this is a host's name in small letters."""
    return bool(re.fullmatch(r"(?=.{1,253}$)([a-z0-9_-]{1,63}\.)*[a-z0-9-]{1,63}", text, re.ASCII))


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A guest network."""

    name: str = setting("a word for this guest network, shown to you", "guest")
    interface: str = setting("the interface guests come in on: a bridge, VLAN or port")
    more_interfaces: tuple[str, ...] = setting("further interfaces of the same guest network", ())
    networks: tuple[IPv4Network, ...] = setting("the IPv4 networks of its guests")
    address: IPv4Address | None = setting(
        "the gateway's own address there; the first of the network if not set", None
    )
    group: str = setting(
        "the group a verified guest joins; its plan says how guests prove who they are", "SMS"
    )
    ways: tuple[str, ...] = setting("other ways in: voucher, password, staff", ())
    known_only: bool = setting("whether only numbers and addresses get a code that an account has", False)
    reset: str = setting("how a forgotten password is set anew: none, sms, email or both", "none")
    reset_providers: tuple[str, ...] = setting("providers for that, by name; none named is all", ())
    terms: Path | None = setting(
        "terms of use that guests agree to: a text; terms.de.txt is in German", None
    )
    privacy: Path | None = setting("what becomes of guests' data: a text, likewise", None)
    theme: Theme = setting("the look of this zone's pages, as in [theme]", Theme())
    venue_url: str | None = setting("a page about the venue, which phones offer to guests (https)", None)

    def __post_init__(self) -> None:
        if not self.networks:
            raise ConfigError("networks: at least one network is needed")
        for name in self.interfaces:
            if not re.fullmatch(r"[\w.@-]{1,15}", name, re.ASCII):
                raise ConfigError(f"interface: {name!r} cannot be the name of an interface")
        for way in self.ways:
            one_of("ways", way, ("voucher", "password", "staff"))
        one_of("reset", self.reset, ("none", "sms", "email", "both"))
        if self.address and not any(self.address in network for network in self.networks):
            raise ConfigError(f"address: {self.address} is in none of the networks")
        if self.venue_url is not None and split_url(self.venue_url) is None:
            raise ConfigError(f"venue_url: expected http(s)://name/…, got {self.venue_url!r}")

    @property
    def interfaces(self) -> tuple[str, ...]:
        return (self.interface, *self.more_interfaces)

    @property
    def gateway(self) -> IPv4Address:
        """The address under which guests reach the portal."""
        return self.address or next(self.networks[0].hosts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Otp:
    """The one-time code."""

    mode: str = setting("code; or format_only, which sends none and only looks at the number", "code")
    kind: Kind = setting("numbers, letters or alphanumeric", Kind.NUMBERS)
    length: int = setting("digits or letters of a code", 6, 4, 10)
    lifetime: int = setting("seconds a code is good for", 300, 60, 1800)
    attempts: int = setting("wrong codes before a new one is needed", 5, 1, 10)
    resend_after: int = setting(
        "seconds between two texts to a number; doubles with each, a day without forgets", 60, 10, 3600
    )
    text: str = setting(
        "the text; {code}, {name}, {minutes} and {link}, which opens the portal with the code filled in,"
        " are replaced, {{pin}} and @@password@@ as well",
        "{code} is your {name} Wi-Fi code. It is good for {minutes} minutes.",
    )
    language: str = setting("the language that text is in", "en")
    texts: dict[str, str] = table('texts in other languages: de = "…", pt-BR = "…"')
    texts_by_prefix: dict[str, str] = table('texts by beginnings of numbers, before languages: "+33" = "…"')
    syntax: str = setting(
        "of the texts: macros (md_with_macros is the same), or liquid, both as in Auth0", "macros"
    )
    bind_origin: bool = setting(
        "add the line that ties the code to the portal's https name, so that phones fill it in", True
    )

    def __post_init__(self) -> None:
        one_of("mode", self.mode, ("code", "format_only"))
        one_of("syntax", self.syntax, ("macros", "md_with_macros", "liquid"))
        for key, tags in (("language", (self.language,)), ("texts", tuple(self.texts))):
            for tag in tags:
                if not re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", tag):
                    raise ConfigError(f"{key}: expected a language such as de or pt-BR, got {tag!r}")

    @property
    def policy(self) -> Policy:
        return Policy(self.kind, self.length, self.lifetime, self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be sent and guessed; counted from the first use."""

    texts_per_number: int = setting("texts to one number in 24 hours", 5, 1)
    texts_per_prefix: int = setting(
        "texts to numbers that differ in the last four digits, in 24 hours", 20, 1
    )
    texts_per_country: int = setting("texts to any country but your own in 24 hours", 100, 1)
    texts_per_zone: int = setting("texts from one guest network in 24 hours", 500, 1)
    texts_per_client: int = setting("texts asked for by one device in 24 hours", 8, 1)
    texts_per_client_burst: int = setting("texts asked for by one device in 10 minutes", 3, 1)
    texts: int = setting("texts in all in 24 hours: what you are ready to pay for", 500, 1)
    texts_per_hour: int = setting("texts in all in an hour, so that a flood leaves some for later", 100, 1)
    money: float = setting("what texts may cost in 24 hours, in your currency; 0 is no limit", 0.0, 0)
    guesses_per_number: int = setting("codes typed for one number in an hour; 0 is no limit", 30, 0)
    guesses_per_client: int = setting("codes typed on one device in an hour; 0 is no limit", 15, 0)
    guesses_free: tuple[str, ...] = setting("devices (MAC) without a limit of guesses", ())
    conversion: int = setting(
        "per cent of texts whose code must be typed, or their country or prefix is closed; 0 is never",
        20,
        0,
        90,
    )
    conversion_after: int = setting("texts from which on that is judged, in 24 hours", 20, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Which telephone numbers are welcome."""

    country: str = setting("numbers typed without + are read as in this country (ISO code)", "US")
    allowed: tuple[str, ...] = setting("countries whose numbers may be used; empty is all", ())
    types: tuple[str, ...] = setting("kinds of numbers: mobile, voip, personal, pager", ("mobile",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The guests' pages."""

    port: int = setting("where portald listens; port 80 of the gateway leads here", 8080, 1, 65535)
    url: str | None = setting("the portal's address for guests, if not http://GATEWAY/", None)
    threads: int = setting("requests answered at a time", 12, 2, 64)
    languages: tuple[str, ...] = setting(
        "languages of the pages; who reads none of them gets the first; empty is all there are", ()
    )
    certificate: Path | None = setting(
        "for https by nginx (docs/phones.md), with key and url: the certificate and its chain, PEM", None
    )
    key: Path | None = setting(
        "the certificate's private key, which nginx reads and portald does not", None
    )
    proxy_group: str = setting(
        "the group nginx's workers run as: only they may pass requests on", "www-data"
    )

    def __post_init__(self) -> None:
        for language in self.languages:
            one_of("languages", language, tuple(NAMES))
        self._check_https()
        if self.url is None:
            return
        parts = split_url(self.url)
        # It goes into other programs' settings as it is (portalctl render).
        if parts is None or not re.fullmatch(r"https?://[\w.:\[\]-]+/?", self.url, re.ASCII):
            raise ConfigError(f"url: expected http://name/ or https://name/, got {self.url!r}")
        if parts.scheme == "https" and len(api_of(self.url).encode()) > LONGEST_URI:
            raise ConfigError("url: too long for DHCP, which has 255 bytes for it and captive-portal/api")

    def _check_https(self) -> None:
        if self.certificate is None and self.key is None:
            return
        if self.certificate is None or self.key is None:
            raise ConfigError("certificate: it and key belong together; set both or neither")
        for what, path in (("certificate", self.certificate), ("key", self.key)):
            # They become part of nginx's configuration.
            if not re.fullmatch(r"/[\w./@+-]+", str(path), re.ASCII):
                raise ConfigError(f"{what}: expected the whole path of a file, /…, got {str(path)!r}")
        parts = split_url(self.url or "")
        if parts is None or parts.scheme != "https" or parts.port not in {None, 443}:
            raise ConfigError(
                f'url: with a certificate, expected "https://name/" without a port, got {self.url!r}'
            )
        if not re.fullmatch(r"(?=.{1,253}$)([a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{1,62}", self.host, re.ASCII):
            raise ConfigError(f"url: expected a name such as wifi.example.com, got {self.host!r}")

    @property
    def host(self) -> str:
        """The name or address in ``url``, empty if there is none."""
        parts = split_url(self.url or "")
        return (parts.hostname or "") if parts else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """Enforcement."""

    backend: str = setting(
        "nftables, or iptables with ipset on older systems; auto takes the first that works;"
        " memory enforces nothing and is for trying out",
        "auto",
    )
    longest: int = setting(
        "seconds the kernel keeps a guest online if portald is gone", 86_400, 60, 604_800
    )
    round: float = setting("seconds between two comparisons of kernel and store", 5.0, 0.2, 60)
    user: str = setting("the user portald runs as: nobody else may talk to the helper", "portald")
    open_tcp: tuple[int, ...] = setting("TCP ports of the gateway that guests may use", ())
    open_udp: tuple[int, ...] = setting("UDP ports of the gateway that guests may use", ())
    shaping: str = setting(
        "how rates of plans are kept: limit drops what is too fast, queue delays it (docs/access.md)",
        "limit",
    )
    uplinks: tuple[str, ...] = setting("the interfaces to the internet, where queue delays uploads", ())

    def __post_init__(self) -> None:
        one_of("backend", self.backend, ("auto", "nftables", "iptables", "memory"))
        one_of("shaping", self.shaping, ("limit", "queue"))
        if self.shaping == "queue" and not self.uplinks:
            raise ConfigError("uplinks: shaping by queue needs the interfaces to the internet")
        for port in (*self.open_tcp, *self.open_udp):
            if not 0 < port < 65_536:
                raise ConfigError(f"open ports: {port} is not a port")


@dataclass(frozen=True, slots=True, kw_only=True)
class Garden:
    """What every device may reach before anybody has logged in on it."""

    networks: tuple[str, ...] = setting("networks or addresses, of both families", ())
    names: tuple[str, ...] = setting(
        "names and all below them, filled in by dnsmasq (portalctl render dnsmasq)", ()
    )
    checks: tuple[str, ...] = setting(
        "names that phones ask for the time or about certificates, a little before login; with https only",
        (
            "time.apple.com",
            "time-ios.apple.com",
            "time.android.com",
            "time.google.com",
            "time.windows.com",
            "pool.ntp.org",
        ),
    )

    def __post_init__(self) -> None:
        for network in self.networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ConfigError(f"networks: {error}") from error
        for key, names in (("names", self.names), ("checks", self.checks)):
            for name in names:
                if not is_name(name):
                    raise ConfigError(f"{key}: expected a name such as example.com, got {name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A program of the venue that may have numbers proven through the OTP API."""

    id: str = setting("its name")
    secret: Secret = setting("its password for /oauth/token, 16 characters or more")
    callbacks: tuple[str, ...] = setting("beginnings of the URLs that may be told how a code fares", ())
    callback: str = setting("the URL that is told if a request names none", "")
    texts: int = setting("texts it may send in 24 hours", 200, 1)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]{1,64}", self.id, re.ASCII):
            raise ConfigError(f"id: expected a word of letters, digits, . and -, got {self.id!r}")
        if len(self.secret.reveal()) < 16:
            raise ConfigError("secret: at least 16 characters; make one with: openssl rand -hex 32")
        for name, urls in (("callbacks", self.callbacks), ("callback", (self.callback,))):
            for url in filter(None, urls):
                parts = split_url(url)
                if parts is None or not parts.path:
                    raise ConfigError(f"{name}: expected http(s)://host/…, got {url!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Where providers tell what became of texts; only with a public https address."""

    url: str | None = setting("the public address that leads to the port, https://…/", None)
    listen: str = setting("where portald listens for it", "127.0.0.1:8090")

    def __post_init__(self) -> None:
        parts = split_url(self.url) if self.url else None
        if self.url and (parts is None or parts.scheme != "https" or parts.query or parts.fragment):
            raise ConfigError(f"url: expected https://name/…, got {self.url!r}")
        host, colon, port = self.listen.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
            raise ConfigError(f"listen: expected ADDRESS:PORT, got {self.listen!r}")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything an operator sets once; groups and accounts live in the store."""

    name: str = setting("the venue's name, as guests know it", "Guest")
    timezone: str = setting(
        "where the venue is, such as Europe/Berlin, for days and hours; else as here", ""
    )
    state_dir: Path = setting("the database and the key", Path("/var/lib/portald"))
    run_dir: Path = setting("the sockets", Path("/run/portald"))
    zones: tuple[Zone, ...] = setting("the guest networks, each a [[zones]] table")
    otp: Otp = setting("the [otp] table", Otp())
    limits: Limits = setting("the [limits] table", Limits())
    keep_days: int = setting("days after which ended sessions and their numbers are deleted", 90, 1)
    numbers: Numbers = setting("the [numbers] table", Numbers())
    web: Web = setting("the [web] table", Web())
    theme: Theme = setting("the [theme] table", Theme())
    firewall: Firewall = setting("the [firewall] table", Firewall())
    garden: Garden = setting("the [garden] table", Garden())
    sms: tuple[dict[str, Any], ...] = field(
        default=(),
        repr=False,  # secrets are still in the clear in these tables
        metadata={"help": "the providers, each an [[sms]] table with a type; asked in this order"},
    )
    applications: tuple[Application, ...] = setting(
        "who may use the OTP API, each an [[applications]] table", ()
    )
    reports: Reports = setting("the [reports] table", Reports())

    def __post_init__(self) -> None:
        if not self.zones:
            raise ConfigError("zones: at least one [[zones]] table is needed")
        names = [zone.name for zone in self.zones]
        interfaces = [name for zone in self.zones for name in zone.interfaces]
        for what, values in (("name", names), ("interface", interfaces)):
            if len(set(values)) < len(values):
                raise ConfigError(f"zones: two of them have the same {what}")
        try:
            _ = self.tz
        except (KeyError, ValueError, OSError) as error:
            raise ConfigError(
                f"timezone: expected one such as Europe/Berlin, got {self.timezone!r}"
            ) from error
        if self.otp.lifetime < self.otp.resend_after:
            raise ConfigError("otp.resend_after: longer than otp.lifetime, a guest could be stuck")
        if len({application.id for application in self.applications}) < len(self.applications):
            raise ConfigError("applications: two of them have the same id")

    @property
    def tz(self) -> tzinfo | None:
        """The venue's time zone; ``None`` is this machine's."""
        return ZoneInfo(self.timezone) if self.timezone else None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the pages; the first is for who reads none of them."""
        return self.web.languages or tuple(NAMES)

    @property
    def firewall_socket(self) -> Path:
        return self.run_dir / "firewall.sock"

    @property
    def web_socket(self) -> Path:
        return self.run_dir / "web.sock"

    @property
    def admin_socket(self) -> Path:
        return self.run_dir / "admin.sock"

    @property
    def https_addresses(self) -> tuple[str, ...]:
        """The gateway's addresses where nginx answers for the portal, at port 443."""
        gateways = [str(zone.gateway) for zone in self.zones] if self.web.certificate else []
        return tuple(dict.fromkeys(gateways))

    def theme_of(self, zone: Zone) -> Theme:
        """Return the look of a zone's pages."""
        return zone.theme.over(self.theme)

    def zone_of(self, ip: IPv4Address) -> Zone | None:
        """Return the zone whose networks hold an address."""
        return next((z for z in self.zones if any(ip in net for net in z.networks)), None)

    def portal_url(self, zone: Zone) -> str:
        """Return the portal's address for guests of a zone, with a slash at the end."""
        return (self.web.url or f"http://{zone.gateway}").rstrip("/") + "/"

    def captive_api(self, zone: Zone) -> str | None:
        """Return the URI of the captive-portal API for a zone; without https there is none (RFC 8908)."""
        url = self.portal_url(zone)
        return api_of(url) if url.startswith("https://") else None


def api_of(url: str) -> str:
    """Return the captive-portal API's URI of a portal."""
    return url.rstrip("/") + "/captive-portal/api"


def load(path: Path) -> Config:
    """Read settings from a file; raise ``ConfigError`` with the problems in it.

    What takes several settings together is looked at once each by itself is right.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; see the README for one to start from") from None
    except PermissionError:
        raise ConfigError(f"{path}: permission denied; use sudo or join its group") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return build(Config, table)

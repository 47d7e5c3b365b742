"""Settings: one TOML file to frozen dataclasses; a wrong key names itself."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar, Union
from urllib.parse import SplitResult, urlsplit

from portald.errors import ConfigError

DEFAULT_PATH = Path("/etc/portald/portald.toml")
T = TypeVar("T")


class Secret:
    """A value that never shows itself: ``reveal`` it only to whom it is meant for."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def setting(
    help: str, default: Any = dataclasses.MISSING, low: float | None = None, high: float | None = None
) -> Any:
    """Return a dataclass field for one setting, with its help text and bounds."""
    metadata = {"help": help, "low": low, "high": high}
    if isinstance(default, (list, dict, set)):
        raise TypeError("settings are immutable")
    return field(default=default, metadata=metadata)


def split_url(url: str) -> SplitResult | None:
    """Return the parts of an http(s) URL with a host and, if any, a possible port; else ``None``."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    good = all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))
    return parts if parts.scheme in {"http", "https"} and good else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A guest network."""

    name: str = setting("a word for this guest network, shown to you", "guest")
    interface: str = setting("the interface guests come in on: a bridge, VLAN or port")
    networks: tuple[IPv4Network, ...] = setting("the IPv4 networks of its guests")
    address: IPv4Address | None = setting(
        "the gateway's own address there; the first of the network if not set", None
    )
    group: str = setting("the group a verified guest joins", "SMS")

    def __post_init__(self) -> None:
        if not self.networks:
            raise ConfigError("networks: at least one network is needed")
        if not re.fullmatch(r"[\w.@-]{1,15}", self.interface, re.ASCII):
            raise ConfigError(f"interface: {self.interface!r} cannot be the name of an interface")
        if self.address and not any(self.address in network for network in self.networks):
            raise ConfigError(f"address: {self.address} is in none of the networks")

    @property
    def gateway(self) -> IPv4Address:
        """The address under which guests reach the portal."""
        return self.address or next(self.networks[0].hosts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Otp:
    """The one-time code."""

    digits: int = setting("digits of a code", 6, 4, 10)
    lifetime: int = setting("seconds a code is good for", 300, 60, 1800)
    attempts: int = setting("wrong codes before a new one is needed", 5, 1, 10)
    resend_after: int = setting("seconds between two texts to a number", 60, 10, 3600)
    text: str = setting(
        "the text; {code}, {name} and {minutes} are filled in",
        "{code} is your {name} Wi-Fi code. It is good for {minutes} minutes.",
    )

    def __post_init__(self) -> None:
        left = re.sub(r"\{(code|name|minutes)\}", "", self.text)
        if "{code}" not in self.text:
            raise ConfigError("text: the guest needs {code} in it")
        if "{" in left or "}" in left:
            raise ConfigError("text: only {code}, {name} and {minutes} can be filled in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be sent and guessed; counted from the first use."""

    texts_per_number: int = setting("texts to one number in 24 hours", 5, 1)
    texts_per_client: int = setting("texts asked for by one device in 24 hours", 8, 1)
    texts_per_client_burst: int = setting("texts asked for by one device in 10 minutes", 3, 1)
    texts: int = setting("texts in all in 24 hours: what you are ready to pay for", 500, 1)
    texts_per_hour: int = setting("texts in all in an hour, so that a flood leaves some for later", 100, 1)
    guesses_per_number: int = setting("codes typed for one number in an hour", 30, 1)
    guesses_per_client: int = setting("codes typed on one device in an hour", 15, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Which telephone numbers are welcome."""

    country: str = setting("numbers typed without + are read as in this country (ISO code)", "US")
    allowed: tuple[str, ...] = setting("countries whose numbers may be used; empty is all", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The guests' pages."""

    port: int = setting("where portald listens; port 80 of the gateway leads here", 8080, 1, 65535)
    url: str | None = setting("the portal's address for guests, if not http://GATEWAY/", None)
    threads: int = setting("requests answered at a time", 12, 2, 64)

    def __post_init__(self) -> None:
        if self.url is None:
            return
        parts = split_url(self.url)
        if parts is None or parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise ConfigError(f"url: expected http://name/ or https://name/, got {self.url!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """Enforcement."""

    backend: str = setting("nftables; or memory, which enforces nothing and is for trying out", "nftables")
    longest: int = setting(
        "seconds the kernel keeps a guest online if portald is gone", 86_400, 60, 604_800
    )
    round: float = setting("seconds between two comparisons of kernel and store", 5.0, 0.2, 60)
    user: str = setting("the user portald runs as: nobody else may talk to the helper", "portald")
    open_tcp: tuple[int, ...] = setting("TCP ports of the gateway that guests may use", ())
    open_udp: tuple[int, ...] = setting("UDP ports of the gateway that guests may use", ())

    def __post_init__(self) -> None:
        if self.backend not in {"nftables", "memory"}:
            raise ConfigError(f"backend: expected nftables or memory, got {self.backend!r}")
        for port in (*self.open_tcp, *self.open_udp):
            if not 0 < port < 65_536:
                raise ConfigError(f"open ports: {port} is not a port")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything an operator sets once; groups and accounts live in the store."""

    name: str = setting("the venue's name, as guests know it", "Guest")
    state_dir: Path = setting("the database and the key", Path("/var/lib/portald"))
    run_dir: Path = setting("the sockets", Path("/run/portald"))
    zones: tuple[Zone, ...] = setting("the guest networks, each a [[zones]] table")
    otp: Otp = setting("the [otp] table", Otp())
    limits: Limits = setting("the [limits] table", Limits())
    keep_days: int = setting("days after which ended sessions and their numbers are deleted", 90, 1)
    numbers: Numbers = setting("the [numbers] table", Numbers())
    web: Web = setting("the [web] table", Web())
    firewall: Firewall = setting("the [firewall] table", Firewall())
    sms: tuple[dict[str, Any], ...] = field(
        default=(),
        repr=False,  # secrets are still in the clear in these tables
        metadata={"help": "the providers, each an [[sms]] table with a type; asked in this order"},
    )

    def __post_init__(self) -> None:
        if not self.zones:
            raise ConfigError("zones: at least one [[zones]] table is needed")
        for what in ("name", "interface"):
            values = [getattr(zone, what) for zone in self.zones]
            if len(set(values)) < len(values):
                raise ConfigError(f"zones: two of them have the same {what}")
        if self.otp.lifetime < self.otp.resend_after:
            raise ConfigError("otp.resend_after: longer than otp.lifetime, a guest could be stuck")

    @property
    def firewall_socket(self) -> Path:
        return self.run_dir / "firewall.sock"

    @property
    def admin_socket(self) -> Path:
        return self.run_dir / "admin.sock"

    def zone_of(self, ip: IPv4Address) -> Zone | None:
        """Return the zone whose networks hold an address."""
        return next((z for z in self.zones if any(ip in net for net in z.networks)), None)

    def portal_url(self, zone: Zone) -> str:
        """Return the portal's address for guests of a zone, with a slash at the end."""
        return (self.web.url or f"http://{zone.gateway}").rstrip("/") + "/"


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


def build(kind: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """Make a dataclass from a TOML table, checking names, types and bounds.

    Every ``Secret`` field ``x`` may come as ``x_file`` instead, the path of a file that holds it.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given, problems = _with_secret_files(table, hints, where)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in fields:
            import difflib  # only to be helpful: the helper can do without its memory

            near = difflib.get_close_matches(key, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            problems.append(f"{where}{key}: unknown key{hint}")
            continue
        try:
            values[key] = _convert(hints[key], value, f"{where}{key}")
            _check_bounds(fields[key], values[key], f"{where}{key}")
        except ConfigError as error:
            problems += error.problems
    for name, f in fields.items():
        optional = f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        if name not in given and not optional:
            problems.append(f"{where}{name}: missing ({f.metadata.get('help', 'required')})")
    if problems:
        raise ConfigError(problems)
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError([f"{where}{problem}" for problem in error.problems]) from error


def _with_secret_files(
    table: Mapping[str, Any], hints: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], list[str]]:
    given, problems = dict(table), []
    for name, hint in hints.items():
        path = given.pop(f"{name}_file", None) if Secret in (hint, *typing.get_args(hint)) else None
        if path is None:
            continue
        if name in given:
            problems.append(f"{where}{name}: given twice, as {name} and {name}_file")
        try:
            given[name] = Path(os.path.expandvars(path)).read_text("utf-8").strip()
        except (OSError, TypeError, ValueError) as error:
            problems.append(f"{where}{name}_file: cannot be read: {error}")
            given[name] = ""
    return given, problems


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            hint = f"; write [[{where}]]" if isinstance(value, dict) else ""
            raise ConfigError(f"{where}: expected a list, got {_name(value)}{hint}")
        return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {_name(value)}")
        return value if origin is dict else build(hint, value, f"{where}.")
    if hint is float and type(value) is int:
        return float(value)
    if hint in (str, int, float, bool):
        if type(value) is not hint:
            raise ConfigError(f"{where}: expected {_KIND[hint]}, got {_name(value)}")
        return value
    if not isinstance(value, str):
        # A secret of digits, its quotation marks forgotten, is not shown either.
        got = "something else" if hint is Secret else _name(value)
        raise ConfigError(f"{where}: expected text, got {got}")
    try:
        return hint(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


_KIND: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _name(value: Any) -> str:
    kinds: dict[type, str] = {dict: "a table", list: "a list", str: "text"}
    return kinds.get(type(value)) or repr(value)


def _check_bounds(f: dataclasses.Field[Any], value: Any, where: str) -> None:
    low, high = f.metadata.get("low"), f.metadata.get("high")
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{where}: expected a number, got {value}")
    if low is not None and value < low:
        raise ConfigError(f"{where}: at least {low}, got {value}")
    if high is not None and value > high:
        raise ConfigError(f"{where}: at most {high}, got {value}")

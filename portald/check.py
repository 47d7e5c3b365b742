"""Finds what is wrong before anything starts, and says how to mend it."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyroute2 import IPRoute

from portald import config, phone, sms
from portald.certificate import Certificate
from portald.config import Config, Zone
from portald.errors import ConfigError, FirewallError, PortaldError
from portald.firewall import commands
from portald.helper import backend
from portald.sms.codes import Codes
from portald.sms.routes import Routes, Way
from portald.texting import warnings, weak
from portald.texts import Texts


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and the cure if it is not well."""

    level: Level
    text: str
    cure: str = ""

    def as_row(self) -> dict[str, str]:
        return {"level": self.level.lower(), "text": self.text, "cure": self.cure}


def findings(path: Path) -> list[Finding]:
    """Look at everything; a broken settings file hides the rest."""
    try:
        settings = config.load(path)
    except ConfigError as error:
        return [Finding(Level.FAIL, problem) for problem in error.problems]
    found: list[Finding] = []
    for look in (
        _numbers,
        _texts,
        _pages,
        _providers,
        _zones,
        _forwarding,
        _commands,
        _ruleset,
        _others,
        _port,
        _certificate,
        _state,
    ):
        found += look(settings)
    found += _secrets(path)
    if not any(finding.level is Level.FAIL for finding in found):
        found.insert(0, Finding(Level.OK, f"{path} is valid"))
    return found


def _numbers(settings: Config) -> Iterator[Finding]:
    try:
        phone.check(settings.numbers)
    except ConfigError as error:
        yield Finding(Level.FAIL, str(error))
        return
    if not settings.numbers.allowed:
        cure = f'set allowed = ["{settings.numbers.country}", …] in [numbers]'
        yield Finding(Level.WARN, "texts go to numbers of every country, expensive ones too", cure)


def _texts(settings: Config) -> Iterator[Finding]:
    for problem in weak(settings):
        yield Finding(Level.WARN, problem)
    try:
        previews = list(Texts(settings).previews())
    except ConfigError as error:
        yield from (Finding(Level.FAIL, problem) for problem in error.problems)
        return
    for preview in previews:
        if preview.size.parts > 1:
            text = f"the text for {preview.when} is {preview.size.parts} parts, each of which costs"
            yield Finding(Level.WARN, text, "shorten it; see: portalctl sms preview")


def _pages(settings: Config) -> Iterator[Finding]:
    for zone in settings.zones:
        theme = settings.theme_of(zone)
        for key, path in (("logo", theme.logo), ("background", theme.background)):
            if path is not None and not os.access(path, os.R_OK):
                yield Finding(Level.WARN, f"zone {zone.name}: {key}: there is no {path} to be read")
    from portald.web import catalogues, look, preview  # Flask, which no other part of this needs

    try:
        preview.prove(settings)
    except ConfigError as error:
        yield from (Finding(Level.FAIL, problem) for problem in error.problems)
    else:
        yield Finding(Level.OK, f"the pages can be made, in {len(settings.languages)} languages")
        for place in catalogues.strangers(settings.languages, look.OWN):
            yield Finding(Level.WARN, place, "take the words as they are in portald/locale")


def _providers(settings: Config) -> Iterator[Finding]:
    if settings.otp.mode == "format_only" and not settings.sms:
        return
    try:
        texts = Texts(settings)
    except ConfigError:
        return  # said already
    try:
        ways = sms.make(settings.sms, lambda sender: Codes(sender, b"", texts), lambda: 0.0)
        Routes(ways, lambda attempt: None, texts.parts)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding(Level.FAIL, problem)
        return
    used = [way for way in ways if way.route.enabled]
    if not used:
        yield Finding(Level.FAIL, "no provider is enabled", "set enabled = true in an [[sms]] table")
        return
    yield Finding(Level.OK, f"texts go by {', '.join(way.name for way in used)}")
    dearest = max(way.route.cost for way in used)
    if settings.limits.money and dearest > settings.limits.money:
        text = f"one text costs {dearest:g}, and all of a day may cost {settings.limits.money:g}"
        yield Finding(Level.FAIL, text, "raise money in [limits]")
    for way in used:
        yield from (Finding(Level.WARN, f"{way.name}: {text}") for text in warnings(way))
        if way.by_carrier:
            cure = "see how many codes come back on the operator's page, and have another way as well"
            yield Finding(
                Level.WARN, "carriers are ending e-mail-to-SMS, and none tells whether a text came", cure
            )
        missing = [
            program for program in getattr(way.provider, "programs", ()) if not shutil.which(program)
        ]
        for program in missing:
            yield Finding(
                Level.FAIL,
                f"{way.name}: the command {program} is missing",
                "install it, or set another tool",
            )
    if any(table["type"] == "sandbox" for table in settings.sms):
        yield Finding(Level.WARN, "the sandbox sends no texts", "set a real provider before guests come")
    for way in used:
        yield from _reach(way)


def _reach(way: Way) -> Iterator[Finding]:
    """Look whether something listens where texts go to."""
    provider = way.provider
    url = urlsplit(str(getattr(provider, "url", "") or getattr(provider, "gateway_url", "")))
    host = url.hostname or getattr(provider, "host", None)
    try:
        given = url.port
    except ValueError as error:
        yield Finding(Level.FAIL, f"{way.name}: url: {error}")
        return
    port = given or getattr(provider, "port", None) or (443 if url.scheme == "https" else 80)
    if not host or "{" in host:
        return
    try:
        socket.create_connection((host, port), 2).close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "no answer in time"
        if way.kind == "sandbox":
            text = f"the sandbox does not answer at {url.netloc}"
            yield Finding(Level.FAIL, text, "start it beside portald: portald sandbox")
        else:
            cure = "look at the address, and at this machine's own way to the internet"
            yield Finding(Level.WARN, f"{way.name}: nothing answers at {host} port {port}: {why}", cure)


def _secrets(path: Path) -> Iterator[Finding]:
    """Look whether secrets are for portald's eyes only; they are read by now, and only the file tells."""
    table = tomllib.loads(path.read_text("utf-8"))
    for key, name in _files(table):
        file = Path(os.path.expandvars(name))
        try:
            if file.stat().st_mode & 0o007:
                yield Finding(Level.WARN, f"{key}: everybody can read {file}", f"chmod o= {file}")
        except OSError:
            pass  # said already


def _files(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys and paths of files that hold secrets."""
    if isinstance(value, list):
        for inner in value:
            yield from _files(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith("_file") and key not in ("ca_file", "carriers_file") and isinstance(inner, str):
                yield key, inner
            else:
                yield from _files(inner)


def _zones(settings: Config) -> Iterator[Finding]:
    if settings.firewall.backend == "memory":
        cure = 'set backend = "nftables" in [firewall]'
        yield Finding(Level.WARN, "the memory backend enforces nothing", cure)
        return
    for zone in settings.zones:
        yield from _zone(zone)


def _zone(zone: Zone) -> Iterator[Finding]:
    try:
        index = socket.if_nametoindex(zone.interface)
    except OSError:
        there = ", ".join(name for _, name in socket.if_nameindex() if name != "lo")
        cure = f"create it or set another; there are: {there or 'none'}"
        yield Finding(Level.FAIL, f"zone {zone.name}: no interface {zone.interface}", cure)
        return
    with IPRoute() as netlink:
        link = netlink.link("get", index=index)[0]
        rows = netlink.get_addr(family=socket.AF_INET, index=index)
        addresses = {row.get("address") for row in rows}
    if link.get("operstate") == "DOWN":
        cure = f"ip link set {zone.interface} up"
        yield Finding(Level.WARN, f"zone {zone.name}: {zone.interface} is down", cure)
    if str(zone.gateway) not in addresses:
        cure = f"ip address add {zone.gateway}/{zone.networks[0].prefixlen} dev {zone.interface}"
        text = f"zone {zone.name}: {zone.interface} does not have {zone.gateway}"
        yield Finding(Level.FAIL, text, f"{cure}, or set address in [[zones]]")
    else:
        yield Finding(Level.OK, f"zone {zone.name}: {zone.interface} has {zone.gateway}")


def _forwarding(settings: Config) -> Iterator[Finding]:
    """The unit switches forwarding on when the rules are in; before, it had better be off."""
    if settings.firewall.backend == "memory":
        return
    try:
        on = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    except OSError:
        on = False
    if _answers(settings.admin_socket):
        if not on:
            cure = "systemctl restart portald-firewall, or: sysctl -w net.ipv4.ip_forward=1"
            yield Finding(Level.FAIL, "portald runs, but this machine does not forward", cure)
    elif on:
        cure = "take net.ipv4.ip_forward out of /etc/sysctl.conf; the unit switches it on"
        yield Finding(Level.WARN, "this machine forwards while portald does not run", cure)
    else:
        yield Finding(Level.OK, "forwarding is off until portald's rules are in")


def _commands(settings: Config) -> Iterator[Finding]:
    if settings.firewall.backend == "memory":
        return
    needed = [("ip", "iproute2"), ("conntrack", "conntrack")]
    older = settings.firewall.backend == "iptables" or (
        settings.firewall.backend == "auto" and not shutil.which("nft") and shutil.which("iptables-legacy")
    )
    needed += [("iptables-legacy", "iptables"), ("ipset", "ipset")] if older else [("nft", "nftables")]
    if settings.firewall.shaping == "queue":
        needed.append(("tc", "iproute2"))
    for command, package in needed:
        try:
            commands.run(command, "-V")
        except FirewallError:
            cure = f"apt install {package}"
            yield Finding(Level.FAIL, f"the command {command} is missing", cure)
    try:
        pwd.getpwnam(settings.firewall.user)
    except KeyError:
        cure = f"useradd --system {settings.firewall.user}, or set user in [firewall]"
        yield Finding(Level.FAIL, f"there is no user {settings.firewall.user}", cure)


def _ruleset(settings: Config) -> Iterator[Finding]:
    if settings.firewall.backend == "memory":
        return
    try:
        backend(settings).check()
    except PortaldError as error:
        if "is missing" in str(error):
            return  # said already
        if "not permitted" in str(error):
            yield Finding(Level.WARN, "nftables could not be looked at without root", "use sudo")
        else:
            yield Finding(Level.FAIL, f"the kernel refuses the ruleset: {error}")
    else:
        yield Finding(Level.OK, "the kernel accepts the ruleset")


def _others(settings: Config) -> Iterator[Finding]:
    """Look for what else blocks guests or lets them bypass portald."""
    if settings.firewall.backend == "memory":
        return
    try:
        for alarm in backend(settings).survey():
            yield Finding(Level.WARN, alarm.text, alarm.cure)
    except PortaldError:
        return  # said already


def _port(settings: Config) -> Iterator[Finding]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", settings.web.port))  # noqa: S104, only asking
        except OSError as error:
            if _answers(settings.admin_socket):
                yield Finding(Level.OK, f"portald is running on port {settings.web.port}")
            else:
                cure = f"see who with: ss -ltnp 'sport = :{settings.web.port}'"
                yield Finding(Level.FAIL, f"port {settings.web.port}: {error.strerror}", cure)


def _certificate(settings: Config) -> Iterator[Finding]:
    web = settings.web
    if web.certificate is None:
        address = urlsplit(web.url or "")
        # A port that is open is for something of the venue's own.
        if address.scheme == "https" and (address.port or 443) not in settings.firewall.open_tcp:
            cure = "set certificate and key in [web] (docs/phones.md), or an address with http"
            yield Finding(Level.FAIL, f"nothing answers at {web.url}, where guests are led", cure)
        return
    certificate, now = Certificate(web.certificate, web.host), time.time()  # noqa: TID251, a root
    broken, doubtful = certificate.broken(now), certificate.doubtful(now)
    yield from (Finding(Level.FAIL, problem.text, problem.cure) for problem in broken)
    yield from (Finding(Level.WARN, problem.text, problem.cure) for problem in doubtful)
    if not broken and not doubtful:
        yield Finding(Level.OK, f"the certificate is for {web.host}")
    try:
        group = grp.getgrnam(web.proxy_group)
        user = pwd.getpwnam(settings.firewall.user)
    except KeyError as error:
        cure = "set proxy_group in [web] to the group that nginx's workers run as"
        yield Finding(Level.FAIL, f"proxy_group: {error.args[0]}", cure)
        return
    if user.pw_name not in group.gr_mem and group.gr_gid != user.pw_gid and user.pw_uid:
        cure = f"usermod -aG {web.proxy_group} {user.pw_name}, and restart portald"
        text = f"{user.pw_name} is not in the group {web.proxy_group}, and cannot let nginx in"
        yield Finding(Level.FAIL, text, cure)
    if not shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        yield Finding(
            Level.WARN, "there is no nginx here, which gives the portal https", "apt install nginx"
        )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def _state(settings: Config) -> Iterator[Finding]:
    for name, folder in (("state_dir", settings.state_dir), ("run_dir", settings.run_dir)):
        nearest = next(p for p in (folder, *folder.parents) if p.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            cure = f"mkdir -p {folder}; chown {settings.firewall.user} {folder}"
            yield Finding(Level.WARN, f"{name}: {folder} is not writable by you", cure)
        elif name == "run_dir" and not folder.is_dir():
            make = f"install -d -o {settings.firewall.user} {folder}"
            cure = "systemd-tmpfiles --create" if folder == Path("/run/portald") else make
            yield Finding(Level.FAIL, f"run_dir: there is no {folder}", cure)

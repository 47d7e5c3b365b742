"""The portal's certificate: what is wrong with it, and whom phones ask about it.

openssl reads it, as a child process: a library for that would cost the daemon 14 MB of memory.
The private key is nobody's business here.
"""

from __future__ import annotations

import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from portald.display import wait
from portald.errors import ConfigError
from portald.model import Alarm

SOON = 14 * 86_400
"""Seconds before its end at which somebody is told: programs that renew do it earlier."""
_RENEW = "renew it, then: systemctl reload nginx"
_MOST_BYTES = 100_000
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.S)


@dataclass(frozen=True, slots=True)
class _Facts:
    begins: float
    ends: float
    named: bool
    """Whether it is for the portal's name."""
    distrust: str
    """Why no authority that this machine knows vouches for it, empty if one does."""


class Certificate:
    """A file that others renew: read anew whenever it has changed."""

    def __init__(self, path: Path, host: str) -> None:
        self._path = path
        self._host = host
        self._read_at: tuple[int, int, int, int] | None = None
        self._known: _Facts | ConfigError | None = None

    def alarms(self, now: float) -> list[Alarm]:
        """Return what is wrong with it."""
        return [*self.broken(now), *self.doubtful(now)]

    def broken(self, now: float) -> list[Alarm]:
        """Return what keeps phones from opening the portal."""
        facts, found = self._facts(), []
        if isinstance(facts, ConfigError):
            text, _, cure = str(facts).partition("; ")
            return [Alarm(text, cure)]
        what = f"the certificate {self._path}"
        if facts.ends <= now:
            found.append(Alarm(f"{what} has expired: no phone opens the portal", _RENEW))
        if facts.begins > now:
            found.append(Alarm(f"{what} is not valid yet", "look at the clock: date"))
        if not facts.named:
            cure = "get one for that name, or set url in [web]"
            found.append(Alarm(f"{what} is not for {self._host}: no phone opens the portal", cure))
        return found

    def doubtful(self, now: float) -> list[Alarm]:
        """Return what will keep phones from the portal soon, or some of them now."""
        facts, found = self._facts(), []
        if isinstance(facts, ConfigError):
            return []
        if now < facts.ends < now + SOON:
            text = f"the certificate {self._path} expires in {wait(facts.ends - now)}"
            found.append(Alarm(text, _RENEW))
        if facts.distrust:
            text = f"the certificate {self._path} is not trusted ({facts.distrust}): phones refuse the API"
            found.append(Alarm(text, "get one from a public authority, and give the file with its chain"))
        return found

    def _facts(self) -> _Facts | ConfigError:
        try:
            stat = self._path.stat()
            now = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)
        except OSError:
            now = None
        if self._known is None or now is None or now != self._read_at:
            try:
                self._known = _read(self._path, self._host)
            except ConfigError as error:
                self._known = error
            self._read_at = now
        return self._known


def certificate_hosts(path: Path) -> tuple[str, ...]:
    """Return the hosts that phones ask whether the certificate, or its chain, was withdrawn (OCSP, CRL)."""
    hosts = set()
    for block in _BLOCK.findall(_text(path)):
        shown = _openssl(
            "x509", "-noout", "-ext", "authorityInfoAccess,crlDistributionPoints", input=block
        )[1]
        # The authority's own certificate, which is named there as well, is in the chain.
        for url in re.findall(r"(?<!CA Issuers - )URI:http://([A-Za-z0-9.-]+)", shown):
            hosts.add(url.lower())
    return tuple(sorted(hosts))


def _read(path: Path, host: str) -> _Facts:
    text = _text(path)
    failed, shown = _openssl("x509", "-noout", "-dates", "-checkhost", host, input=text)
    dates = dict(re.findall(r"^(notBefore|notAfter)=(.+)$", shown, re.M))
    if failed or len(dates) < 2:
        raise ConfigError(
            f"the certificate {path} cannot be understood; it has to be PEM, the site's own first"
        )
    # Whether its time has come is said apart.
    options = ("-no_check_time", "-purpose", "sslserver", "-untrusted", str(path), str(path))
    distrusted, why = _openssl("verify", *options)
    reason = re.search(r"^error \d+ at \d+ depth lookup: (.+)$", why, re.M)
    return _Facts(
        ssl.cert_time_to_seconds(dates["notBefore"]),
        ssl.cert_time_to_seconds(dates["notAfter"]),
        "does match certificate" in shown,
        (reason[1] if reason else "it could not be checked") if distrusted else "",
    )


def _text(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            text = file.read(_MOST_BYTES)
    except PermissionError:
        raise ConfigError(
            f"the certificate {path} may not be read by portald; "
            "let it: chmod +rx on its folders, chmod +r on it, and not on the key"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the certificate {path} cannot be read: {error.strerror}; look at certificate in [web]"
        ) from None
    if "PRIVATE KEY" in text:
        raise ConfigError(f"the certificate {path} has a private key in it; keep that in a file of its own")
    return text


def _openssl(*arguments: str, input: str = "") -> tuple[bool, str]:
    """Run openssl; return whether it failed, and what it said."""
    try:
        done = subprocess.run(
            ["openssl", *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=10,
            errors="replace",
        )
    except FileNotFoundError:
        raise ConfigError("the command openssl is missing; apt install openssl") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"openssl: {error}") from error
    return done.returncode != 0, done.stdout + done.stderr

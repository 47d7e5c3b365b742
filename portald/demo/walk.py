"""One guest's way from joining the Wi-Fi to being cut off; every step says what was observed."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from portald.demo.lab import LabError, until
from portald.demo.venue import NUMBER, PORTAL, SITE, TYPED, Venue, form_token

PROBE = f"http://{SITE}/hotspot-detect.html"
AT_ONCE = 0.5
"""Seconds: a phone that is refused later than this shows no portal, it waits."""


class Report:
    """Prints steps as they are observed; one that is not ends the walk."""

    def __init__(self) -> None:
        self._step = 0
        self._colour = sys.stdout.isatty()

    def seen(self, what: str, detail: str) -> None:
        self._step += 1
        first, *more = detail.splitlines() or [""]
        print(f"{self._mark('✓', 32)} {self._step:>2}  {what:<26}{first}", flush=True)
        for line in more:
            print(f"{'':32}{line}", flush=True)

    def check(self, true: bool, what: str, detail: str) -> None:
        if not true:
            print(f"{self._mark('✗', 31)}     {what:<26}{detail}", flush=True)
            raise LabError(f"not observed: {what}")
        self.seen(what, detail)

    def say(self, text: str) -> None:
        print(text, flush=True)

    def _mark(self, sign: str, colour: int) -> str:
        return f"\033[{colour}m{sign}\033[0m" if self._colour else sign


def walk(venue: Venue, report: Report) -> None:
    """Take one guest through; raise ``LabError`` at the first step that is not observed."""
    phone = venue.phone
    _join(venue, report)
    _captive(venue, report)
    _sign_in(venue, report)
    _online(venue, report)
    _cut(venue, report)
    refused = venue.do(phone, "connect", SITE, "443", "4")
    again = venue.fetch(phone, PROBE)
    report.check(
        refused.get("error") == "ConnectionRefusedError" and again.get("location") == f"http://{PORTAL}/",
        "blocked again",
        f"HTTPS refused in {_ms(refused)}, HTTP redirected to the portal",
    )


def _join(venue: Venue, report: Report) -> None:
    address = venue.lease(venue.phone)
    report.seen("DHCP lease", f"{address} for {venue.mac(venue.phone)}")
    report.seen("IPv6 address", venue.wait_ipv6(venue.phone))


def _captive(venue: Venue, report: Report) -> None:
    phone = venue.phone
    for family in ("4", "6"):
        answer = venue.fetch(phone, PROBE, family)
        report.check(
            answer.get("status") == 302 and answer.get("location") == f"http://{PORTAL}/",
            f"probe over IPv{family}",
            f"{PROBE} -> {answer.get('status')} {answer.get('location')}",
        )
    for family in ("4", "6"):
        answer = venue.do(phone, "connect", SITE, "443", family)
        report.check(
            answer.get("error") == "ConnectionRefusedError" and answer["seconds"] < AT_ONCE,
            f"HTTPS over IPv{family}",
            f"refused in {_ms(answer)}",
        )


def _sign_in(venue: Venue, report: Report) -> None:
    phone, portal = venue.phone, f"http://{PORTAL}"
    page = venue.fetch(phone, f"{portal}/")
    token = form_token(page["body"])
    alone = "Set-Cookie" not in page["headers"] and not re.search(r'(src|href)="https?:', page["body"])
    report.check(
        page["status"] == 200 and alone,
        "splash page",
        f"{page['length'] / 1000:.1f} kB, no cookie, nothing from elsewhere",
    )
    answer = venue.fetch(phone, f"{portal}/number", form=f"form={token}&number={TYPED.replace(' ', '+')}")
    report.check(
        answer.get("location") == "/code", "number posted", f"{TYPED!r} -> {answer['status']} /code"
    )
    code = venue.wait_for_text(NUMBER)
    report.seen("text in the sandbox", f"to {NUMBER}: {venue.texts()[0]['body']!r}")
    until(
        lambda: 'name="code"' in venue.fetch(phone, f"{portal}/code")["body"], "the code page does not come"
    )
    answer = venue.fetch(phone, f"{portal}/code", form=f"form={token}&code={code}")
    report.check(
        answer.get("location") == "/status",
        "code posted",
        f"{answer['status']} {answer['location']} after {_ms(answer)}",
    )
    elements = venue.elements()
    report.check(elements.count("\n") == 3, "nftables elements", elements)


def _online(venue: Venue, report: Report) -> None:
    phone = venue.phone
    for family in ("4", "6"):
        answer = venue.fetch(phone, PROBE, family)
        report.check(
            answer.get("status") == 200 and "Success" in answer["body"],
            f"internet over IPv{family}",
            f"{PROBE} -> {answer.get('status')} Success, from {answer.get('peer')}",
        )
    venue.fetch(phone, f"http://{SITE}/bytes/3000000", "4")
    venue.fetch(phone, f"http://{SITE}/upload", "4", "x" * 100_000)
    session = _when(
        lambda: venue.sessions()[0],
        lambda row: row["down"] > 3_000_000 and row["up"] > 100_000,
        "the bytes are not counted",
    )
    report.check(
        session["down"] < 3_300_000,
        "portalctl sessions",
        f"3.0 MB fetched and 0.1 MB sent:\n{venue.ctl('sessions').rstrip()}",
    )


def _cut(venue: Venue, report: Report) -> None:
    download = venue.stream(venue.phone, f"http://{SITE}/stream")
    time.sleep(0.5)
    session = venue.sessions()[0]["id"]
    said = venue.ctl("revoke", str(session)).strip()
    revoked = time.time()
    report.seen("portalctl revoke", said)
    output, _ = download.communicate(timeout=20)
    result = json.loads(output)
    before = (revoked - result["last"]) * 1000
    report.check(
        result["received"] > 0 and before >= 0,
        "running download cut",
        f"after {result['received'] / 1000:.0f} kB, {before:.0f} ms before portalctl was back",
    )
    until(lambda: not venue.flows(session), "its connections stay in the kernel's table")
    report.check(
        venue.elements() == "", "kernel", f"no elements, and no connections marked {session:#x}, are left"
    )


def _when(look: Callable[[], Any], good: Callable[[Any], bool], complaint: str) -> Any:
    found = []

    def looked() -> bool:
        found.append(look())
        return good(found[-1])

    until(looked, complaint)
    return found[-1]


def _ms(answer: dict[str, Any]) -> str:
    return f"{answer['seconds'] * 1000:.1f} ms"

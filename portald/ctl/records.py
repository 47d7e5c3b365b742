"""``portalctl history``, ``who``, ``consents`` and ``extend``: what was, and more time."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import date, timedelta
from ipaddress import ip_address
from urllib.parse import quote

from portald.ctl.ask import ask
from portald.ctl.show import print_json, print_line, print_table
from portald.ctl.words import moment, span
from portald.display import amount, wait
from portald.errors import ConfigError
from portald.units import Seconds

BY = ("day", "account", "client", "zone")


def add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=BY, default="day")
    parser.add_argument("--since", metavar="DAY", help="else 30 days ago")
    parser.add_argument("--until", metavar="DAY", help="else today")
    parser.add_argument("--of", default="", metavar="ACCOUNT|MAC", help="of one account or device only")


def history(options: argparse.Namespace) -> int:
    # The venue's today may be this machine's tomorrow.
    until = options.until or (date.today() + timedelta(days=1)).isoformat()
    since = options.since or (date.today() - timedelta(days=30)).isoformat()
    query = f"by={options.by}&since={quote(since)}&until={quote(until)}&search={quote(options.of)}"
    rows = ask(options, "GET", f"/api/history?{query}")
    if options.json:
        print_json(rows)
        return 0
    most = max((row["up"] + row["down"] for row in rows), default=0) or 1
    for row in rows:
        row["share"] = "#" * max(1, round(20 * (row["up"] + row["down"]) / most))
        row["time"] = wait(row["seconds"])
        row["up"], row["down"] = amount(row["up"]), amount(row["down"])
    columns = [
        (options.by.upper(), "what"), ("SESSIONS", "sessions"), ("DEVICES", "clients"), ("ONLINE", "time"),
        ("UP", "up"), ("DOWN", "down"), ("", "share"),
    ]  # fmt: skip
    print_table(rows, columns, empty="Nothing was used in that time.")
    return 0


def add_who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="IPv4 or IPv6, of a guest")
    parser.add_argument("--at", metavar="TIME", help="such as '2026-05-31 18:00'; else now")


def who(options: argparse.Namespace) -> int:
    at = moment(options.at) if options.at else time.time()  # noqa: TID251, a root
    try:
        address = str(ip_address(options.address.strip()))
    except ValueError:
        raise ConfigError(f"expected an address such as 10.77.0.50, got {options.address!r}") from None
    rows = ask(options, "GET", f"/api/who?address={quote(address)}&at={at}")
    if options.json:
        print_json(rows)
        return 0 if rows else 1
    for row in rows:
        row["since"] = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["started_at"]))
        ended = row["ended_at"]
        row["until"] = time.strftime("%Y-%m-%d %H:%M", time.localtime(ended)) if ended else "online"
    columns = [
        ("SESSION", "id"), ("ACCOUNT", "number"), ("DEVICE", "mac"), ("FROM", "since"), ("UNTIL", "until"),
    ]  # fmt: skip
    print_table(rows, columns, empty=f"Nobody had {address} then.")
    return 0 if rows else 1


def add_consents(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--of", default="", metavar="MAC", help="of one device only")
    parser.add_argument("--words", metavar="VERSION", help="print the words that were agreed to")


def consents(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", f"/api/consents?of={quote(options.of)}")
    if options.words:
        words = next((row["words"] for row in rows if row["version"] == options.words), None)
        if words is None:
            raise ConfigError(f"nobody agreed to a version {options.words!r}; see: portalctl consents")
        rows = [{"version": options.words, "words": words}]
    if options.json:
        print_json(rows)
    elif options.words:
        print(rows[0]["words"])
    else:
        for row in rows:
            row["when"] = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["at"]))
        columns = [("WHEN", "when"), ("DEVICE", "mac"), ("ZONE", "zone"), ("VERSION", "version")]
        print_table(rows, columns, empty="Nobody has agreed to anything.")
    return 0


def add_extend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", metavar="SESSION|MAC")
    parser.add_argument("time", metavar="TIME", help="such as 2h; -30m takes some away")


def extend(options: argparse.Namespace) -> int:
    number = options.which
    if ":" in number:
        by_mac = {row["mac"]: row["id"] for row in ask(options, "GET", "/api/sessions")}
        number = str(by_mac.get(number.lower(), ""))
    body = {"seconds": span(options.time)}
    row = ask(options, "POST", f"/api/sessions/{number}/extend", body) if number.isdecimal() else {}
    found = "id" in row
    if options.json:
        print_json(row)
    elif found:
        change = f"{Seconds(abs(body['seconds']))} {'less' if body['seconds'] < 0 else 'more'}"
        if (ends := row["expires_at"]) is None:
            print_line(f"Session {row['id']} has {change}, but nothing of its plan ends it.")
        else:
            left = wait(max(0.0, ends - time.time()))  # noqa: TID251, a root
            print_line(f"Session {row['id']} has {change}, and ends in {left}.")
    else:
        print(f"portalctl: no live session {options.which}; see: portalctl sessions", file=sys.stderr)
    return 0 if found else 1

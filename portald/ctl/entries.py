"""``portalctl clients``, ``vouchers`` and ``approvals``: ways in without a text."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from typing import Any
from urllib.parse import quote

from portald.ctl.ask import ask
from portald.ctl.show import print_json, print_line, print_table
from portald.ctl.words import last_day, last_moment, span, subcommands
from portald.display import ago, wait


def add_clients(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add the commands below ``portalctl clients``."""
    commands = subcommands(parser)
    trust = commands.add_parser("trust", parents=[shared], help="let a device online without a login")
    trust.add_argument("mac")
    trust.add_argument("--group", default="", help="whose plan it has; else its zone's")
    trust.add_argument("--zone", default="", help="the guest network it is in; else the first")
    trust.add_argument("--note", default="")
    trust.set_defaults(run=_judge, verdict="trusted")
    block = commands.add_parser("block", parents=[shared], help="cut a device and let it in no more")
    block.add_argument("mac")
    block.add_argument("--note", default="")
    block.set_defaults(run=_judge, verdict="blocked", group="", zone="")
    forget = commands.add_parser("forget", parents=[shared], help="treat a device like any other again")
    forget.add_argument("mac")
    forget.set_defaults(run=_forget)


def clients(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", "/api/clients")
    if options.json:
        print_json(rows)
        return 0
    columns = [("DEVICE", "mac"), ("IS", "verdict"), ("GROUP", "group"), ("ZONE", "zone"), ("NOTE", "note")]
    for row in rows:
        row["zone"] = row["zone"] or None
    print_table(rows, columns, empty="No device is trusted or blocked.")
    return 0


def _judge(options: argparse.Namespace) -> int:
    body = {"verdict": options.verdict, "group": options.group, "zone": options.zone, "note": options.note}
    device = ask(options, "POST", f"/api/clients/{quote(options.mac, safe='')}", body)
    if options.json:
        print_json(device)
    else:
        print(f"{device['mac']} is {device['verdict']}.")
    return 0


def _forget(options: argparse.Namespace) -> int:
    answer = ask(options, "DELETE", f"/api/clients/{quote(options.mac, safe='')}")
    return _told(
        options, answer, f"{options.mac} is a device like any other.", f"no {options.mac}", "clients"
    )


def add_vouchers(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add the commands below ``portalctl vouchers``."""
    commands = subcommands(parser)
    make = commands.add_parser("make", parents=[shared], help="make a batch of vouchers")
    make.add_argument("count", type=int)
    make.add_argument("--group", default="SMS", help="whose plan they give; else SMS")
    make.add_argument("--uses", type=int, default=1, help="devices that each is good for; else 1")
    make.add_argument("--lasts", help="how long each is good from its first use on, such as 1d")
    make.add_argument("--expires", help="the last day on which any is good, such as 2026-12-31")
    make.add_argument("--note", default="")
    make.add_argument("--csv", action="store_true", help="print the codes as CSV")
    make.set_defaults(run=_make)
    show = commands.add_parser(
        "show", parents=[shared], help="a batch's codes; its page prints them as cards"
    )
    show.add_argument("batch", type=int)
    show.add_argument("--csv", action="store_true", help="print the codes as CSV")
    show.set_defaults(run=_show)
    withdraw = commands.add_parser(
        "withdraw", parents=[shared], help="let nobody use a batch, those who have included"
    )
    withdraw.add_argument("batch", type=int)
    withdraw.set_defaults(run=_withdraw)


def vouchers(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", "/api/vouchers")
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        row["good"] = _good(row)
        row["used"] = f"{row['used']} of {row['count']}"
    columns = [
        ("BATCH", "id"), ("GROUP", "group"), ("USED", "used"), ("DEVICES EACH", "uses"), ("GOOD", "good"),
        ("NOTE", "note"),
    ]  # fmt: skip
    print_table(rows, columns, empty="There are no vouchers; make some: portalctl vouchers make 10")
    return 0


def _good(row: dict[str, Any]) -> str:
    if row["withdrawn"]:
        return "withdrawn"
    words = []
    if row["lasts"]:
        words.append(f"{wait(row['lasts'])} from the first use")
    if row["expires_at"]:
        words.append(f"until {last_day(row['expires_at'])}")
    return ", ".join(words) or "for ever"


def _make(options: argparse.Namespace) -> int:
    body = {
        "group": options.group, "count": options.count, "uses": options.uses, "note": options.note,
        "lasts": str(span(options.lasts)) + "s" if options.lasts else None,
        "expires_at": last_moment(options.expires) if options.expires else None,
    }  # fmt: skip
    return _codes(options, ask(options, "POST", "/api/vouchers", body))


def _show(options: argparse.Namespace) -> int:
    batch = ask(options, "GET", f"/api/vouchers/{options.batch}")
    if "codes" not in batch:
        return _told(options, {}, "", f"no batch {options.batch}", "vouchers")
    return _codes(options, batch)


def _codes(options: argparse.Namespace, batch: dict[str, Any]) -> int:
    if options.json:
        print_json(batch)
    elif options.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(["batch", "serial", "code"])
        writer.writerows([batch["id"], serial, code] for serial, code in enumerate(batch["codes"], 1))
    else:
        good = "withdrawn" if batch["withdrawn"] else f"good {_good(batch)}"
        print_line(f"Batch {batch['id']}, group {batch['group']}, {good}:")
        for code in batch["codes"]:
            print(f"  {code}")
        print_line(f"To print them as cards, open /vouchers/{batch['id']} of the operator's page.")
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    answer = ask(options, "DELETE", f"/api/vouchers/{options.batch}")
    told = f"Nobody can use batch {options.batch} any more."
    return _told(options, answer, told, f"no batch {options.batch}", "vouchers")


def add_approvals(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add the commands below ``portalctl approvals``."""
    commands = subcommands(parser)
    accept = commands.add_parser("accept", parents=[shared], help="let a guest in who asks")
    accept.add_argument("request", type=int)
    accept.add_argument("--group", default="", help="into this group; else the zone's")
    accept.set_defaults(run=_accept)
    refuse = commands.add_parser("refuse", parents=[shared], help="do not")
    refuse.add_argument("request", type=int)
    refuse.set_defaults(run=_refuse)


def approvals(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", "/api/approvals")
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        row["since"] = ago(time.time() - row["asked_at"])  # noqa: TID251, a root
    columns = [
        ("REQUEST", "id"), ("NAME", "name"), ("DEVICE", "mac"), ("ADDRESS", "ip"), ("ZONE", "zone"),
        ("SINCE", "since"),
    ]  # fmt: skip
    print_table(rows, columns, empty="Nobody asks to be let in.")
    return 0


def _accept(options: argparse.Namespace) -> int:
    body = {"granted": True, "group": options.group}
    session = ask(options, "POST", f"/api/approvals/{options.request}", body)
    if options.json:
        print_json(session)
    else:
        print(f"{session['mac']} is in, session {session['id']}.")
    return 0


def _refuse(options: argparse.Namespace) -> int:
    answer = ask(options, "POST", f"/api/approvals/{options.request}", {"granted": False})
    return _told(
        options,
        answer,
        f"Request {options.request} is refused.",
        f"no request {options.request}",
        "approvals",
    )


def _told(options: argparse.Namespace, answer: Any, told: str, missing: str, where: str) -> int:
    found = bool(answer.get("deleted"))
    if options.json:
        print_json(answer or {"error": "not_found"})
    elif found:
        print(told)
    else:
        print(f"portalctl: there is {missing}; see: portalctl {where}", file=sys.stderr)
    return 0 if found else 1

"""portalctl: for operators, over the daemon's admin socket.

Exit codes: 0 done · 1 not done, or something is wrong · 2 wrong usage · 3 the daemon cannot be
reached.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portald import __version__, config
from portald.ctl import arrange, backup, entries, records, render, sms, theme
from portald.ctl.ask import Unreachable, ask
from portald.ctl.show import print_json, print_line, print_table
from portald.ctl.words import minus_times
from portald.display import ago, amount, wait
from portald.errors import ConfigError
from portald.system import fail


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(minus_times(sys.argv[1:] if arguments is None else arguments))
    try:
        return int(options.run(options))
    except Unreachable as error:
        fail("portalctl", error)
        return 3
    except ConfigError as error:
        return fail("portalctl", error)
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE")
    shared.add_argument("--json", action="store_true", help="print JSON")
    parser = argparse.ArgumentParser(prog="portalctl", description="See and steer a running portald.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config", type=Path, default=config.DEFAULT_PATH, metavar="FILE")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help, parents=[shared])
        added.set_defaults(run=run)
        return added

    status = command("status", _status, "whether all is well, and how many are online")
    status.add_argument("--seen", action="store_true", help="stop the alarm about a lost database")
    sessions = command("sessions", _sessions, "who is online, with bytes in both directions")
    sessions.add_argument("--ended", action="store_true", help="the latest that have ended")
    revoke = command("revoke", _revoke, "cut sessions, by their number or by MAC")
    revoke.add_argument("which", nargs="+", metavar="SESSION|MAC")
    records.add_extend(command("extend", records.extend, "give a session more time, or less"))
    records.add_history(command("history", records.history, "what was used by day, account, client, zone"))
    records.add_who(command("who", records.who, "who had an address at a time"))
    records.add_consents(command("consents", records.consents, "who agreed to the terms, and to which"))
    arrange.add_plans(command("plans", arrange.plans, "what groups may use: list, set, delete"), shared)
    arrange.add_groups(command("groups", arrange.groups, "accounts with a plan: list, set, delete"), shared)
    arrange.add_accounts(
        command("accounts", arrange.accounts, "list, set, block, delete, import, export"), shared
    )
    entries.add_clients(command("clients", entries.clients, "devices to trust or block"), shared)
    entries.add_vouchers(command("vouchers", entries.vouchers, "make, show and withdraw vouchers"), shared)
    entries.add_approvals(command("approvals", entries.approvals, "guests who ask the staff"), shared)
    command("texts", _texts, "the latest codes of guests and programs, and what became of them")
    sms.add_commands(command("sms", sms.overview, "providers, limits, budget and log of texts"), shared)
    backup.add_file(command("backup", backup.backup, "write database and key to a file; portald may run"))
    backup.add_file(command("restore", backup.restore, "put such a file in place; portald must not run"))
    render.add_what(command("render", render.render, "configuration for the programs beside portald"))
    theme.add_commands(command("theme", None, "what the guests' pages look like"), shared)
    command("check", _check, "find what is wrong before anything starts")
    return parser


def _status(options: argparse.Namespace) -> int:
    if options.seen:
        ask(options, "POST", "/api/seen")
    status = ask(options, "GET", "/api/status")
    if options.json:
        print_json(status)
    else:
        print(f"{status['name']}: {status['sessions']} online, portald {status['version']}")
        if status["backend"] == "memory":
            print("The memory backend is in use: nothing is enforced.")
        if status["healthy"]:
            print(f"Kernel and database agreed {_ago(status['last_good_round'])}.")
        else:
            print(f"Kernel and database could not be compared: {status['last_error'] or 'no round yet'}")
        if status["texts_failing"]:
            count = status["texts_failing"]
            which = "The last text" if count == 1 else f"The last {count} texts"
            print(f"{which} failed; see: portalctl texts")
        for alarm in status["alarms"]:
            print_line(alarm["text"], "! ")
            print_line(f"-> {alarm['cure']}", "  ")
    return 0 if status["healthy"] and not status["alarms"] else 1


def _sessions(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", "/api/sessions" + ("?ended=1" if options.ended else ""))
    if options.json:
        print_json(rows)
        return 0
    last = ("END", "end") if options.ended else ("LEFT", "left")
    for row in rows:
        row["since"] = _ago(row["started_at"])
        row["number"] += "" if row["verified"] else " (not proven)"
        row["address"] = ", ".join(row["addresses"])
        row["left"] = _left(row["expires_at"]) if row["granted"] else "not granted yet"
        row["up"], row["down"] = amount(row["up"]), amount(row["down"])
    print_table(
        rows,
        [
            ("SESSION", "id"),
            ("NUMBER", "number"),
            ("GROUP", "group"),
            ("DEVICE", "mac"),
            ("ADDRESS", "address"),
            ("SINCE", "since"),
            ("UP", "up"),
            ("DOWN", "down"),
            last,
        ],
        empty="No session has ended." if options.ended else "Nobody is online.",
    )
    return 0


def _revoke(options: argparse.Namespace) -> int:
    by_mac = {row["mac"]: row["id"] for row in ask(options, "GET", "/api/sessions")}
    revoked, missing = [], []
    for which in options.which:
        session = by_mac.get(which.lower()) if ":" in which else which
        path = f"/api/sessions/{session}/revoke"
        if session is None or not str(session).isdecimal() or "error" in ask(options, "POST", path):
            missing.append(which)
        else:
            revoked.append(int(session))
    if options.json:
        print_json({"revoked": revoked, "missing": missing})
    else:
        for session in revoked:
            print(f"Session {session} is cut.")
        for which in missing:
            print(f"portalctl: no live session {which}; see: portalctl sessions", file=sys.stderr)
    return 1 if missing else 0


def _texts(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", "/api/challenges")
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        row["when"] = _ago(row["created_at"])
    columns = [
        ("WHEN", "when"),
        ("NUMBER", "number"),
        ("DEVICE", "mac"),
        ("STATE", "state"),
        ("OUTCOME", "outcome"),
        ("PROVIDER SAID", "words"),
    ]
    print_table(rows, columns, empty="No text was asked for.")
    return 0


def _check(options: argparse.Namespace) -> int:
    from portald.check import Level, findings

    found = findings(options.config)
    if options.json:
        print_json([finding.as_row() for finding in found])
    else:
        for finding in found:
            print_line(finding.text, f"{finding.level:<5} ")
            if finding.cure:
                print_line(f"-> {finding.cure}", " " * 6)
    return 1 if any(finding.level is Level.FAIL for finding in found) else 0


def _ago(at: float) -> str:
    return ago(time.time() - at)  # noqa: TID251, a root


def _left(expires_at: float | None) -> str:
    return "no limit" if expires_at is None else wait(max(0.0, expires_at - time.time()))  # noqa: TID251

"""``portalctl sms``: providers, a trial, the log, limits, budget and previews."""

from __future__ import annotations

import argparse
import time
from typing import Any

from portald.ctl.ask import ask
from portald.ctl.show import print_json, print_line, print_table
from portald.display import ago


def add_commands(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add the commands below ``portalctl sms``; without one, it shows the providers and the budget."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help, parents=[shared])
        added.set_defaults(run=run)
        return added

    command("providers", _providers, "each provider: its state, its settings, how many codes came back")
    test = command("test", _test, "send a code to a number of yours and tell what the provider answered")
    test.add_argument("number", metavar="+NUMBER")
    test.add_argument("--provider", metavar="NAME", help="this one; else the first for the number")
    test.add_argument("--carrier", metavar="KEY", help="the number's carrier, for a provider of type email")
    log = command("log", _log, "the latest texts: provider, outcome, delivery, cost")
    log.add_argument("--last", type=int, default=20, metavar="N", help="how many, up to 1000; else 20")
    limits = command("limits", _limits, "limits, closed countries and conversion; and change them")
    limits.add_argument(
        "--set", action="append", default=[], metavar="LIMIT=N", help="until further notice"
    )
    limits.add_argument(
        "--reset", action="append", default=[], metavar="LIMIT", help="back to the settings"
    )
    limits.add_argument(
        "--open", action="append", default=[], metavar="PLACE", help="a country (FR) or +beginning"
    )
    limits.add_argument("--close", action="append", default=[], metavar="PLACE", help="the same")
    limits.add_argument(
        "--forget", action="append", default=[], metavar="+NUMBER|MAC", help="start its counts afresh"
    )
    command("budget", _budget, "what was sent and spent in the running 24 hours")
    command("preview", _preview, "every text as a guest would get it, and its parts")


def overview(options: argparse.Namespace) -> int:
    if options.json:
        budget = ask(options, "GET", "/api/sms/budget")
        print_json({"providers": ask(options, "GET", "/api/sms/providers"), "budget": budget})
        return 0
    _providers(options)
    print()
    return _budget(options)


def _providers(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", "/api/sms/providers")
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        row["back"] = _share(row)
        row["for"] = " ".join(row["only"]) or "all"
    columns = [
        ("PROVIDER", "name"), ("TYPE", "type"), ("STATE", "state"), ("FOR", "for"),
        ("COST PER PART", "cost"), ("CODES BACK, 24 H", "back"),
    ]  # fmt: skip
    print_table(rows, columns, empty="No provider is set.")
    for row in rows:
        if row["note"]:
            print_line(f"{row['name']}: {row['note']}")
        for warning in row["warnings"]:
            print_line(f"{row['name']}: {warning}", "! ")
    return 0


def _test(options: argparse.Namespace) -> int:
    body = {"number": options.number, "provider": options.provider, "carrier": options.carrier}
    answer = ask(options, "POST", "/api/sms/test", body)
    sent = answer["outcome"] == "accepted"
    if options.json:
        print_json(answer)
    else:
        print(f"{answer['provider']}: {answer['outcome'].replace('_', ' ')}, after {answer['seconds']} s")
        if answer.get("message"):
            print(f"Its id for the text: {answer['message']}")
        if answer["words"]:
            print(f"Why: {answer['words']}")
        if answer.get("retry_after"):
            print(f"It asks to be left alone for {answer['retry_after']:.0f} s.")
    return 0 if sent else 1


def _log(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", f"/api/sms/log?limit={options.last}")
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        row["when"] = ago(time.time() - row["at"])  # noqa: TID251, a root
        row["arrived"] = {True: "yes", False: "NO", None: None}[row["delivered"]]
        row["typed"] = "yes" if row["verified"] else None
        row["cost"] = f"{row['cost']:g}" if row["cost"] else None
        row["way"] = f"{row['provider']} ({row['carrier']})" if row["carrier"] else row["provider"]
    columns = [
        ("WHEN", "when"), ("NUMBER", "number"), ("COUNTRY", "country"), ("PROVIDER", "way"),
        ("OUTCOME", "outcome"), ("ARRIVED", "arrived"), ("CODE BACK", "typed"), ("PARTS", "parts"),
        ("COST", "cost"), ("IT SAID", "words"),
    ]  # fmt: skip
    # Nearly all are of one part; a terminal of 80 columns has no room for saying so.
    dull = {"parts": 1}
    told = [
        (title, key) for title, key in columns if any(row[key] not in (None, dull.get(key)) for row in rows)
    ]
    print_table(rows, told, empty="No text was sent.")
    return 0


def _limits(options: argparse.Namespace) -> int:
    changes: dict[str, Any] = {name: getattr(options, name) for name in ("open", "close", "forget")}
    changes["set"] = dict.fromkeys(options.reset)
    for pair in options.set:
        name, _, most = pair.partition("=")
        changes["set"][name.strip()] = most.strip()
    if any(changes.values()):
        found = ask(options, "POST", "/api/sms/limits", changes)
    else:
        found = ask(options, "GET", "/api/sms/limits")
    if options.json:
        print_json(found)
        return 0
    for row in found["limits"]:
        row["most"] = f"{row['most']:g}" + (f" (settings: {row['setting']:g})" if row["changed"] else "")
    columns = [("LIMIT", "name"), ("MOST", "most"), ("FULLEST NOW", "fullest"), ("IT LIMITS", "help")]
    print_table(found["limits"], columns, empty="")
    for place in found["closed"]:
        print(f"Closed: {place['place']}, {place['why']}.")
    for by, rows in found["conversion"].items():
        for row in rows:
            if row[by] and by in ("country", "carrier"):
                print(f"Codes back, {by} {row[by]}: {_share(row)}")
    if found.get("forgotten"):
        print(f"{found['forgotten']} counts start afresh.")
    return 0


def _budget(options: argparse.Namespace) -> int:
    budget = ask(options, "GET", "/api/sms/budget")
    if options.json:
        print_json(budget)
        return 0
    for what, used, most in (
        ("texts, 24 hours", budget["texts"], budget["texts_limit"]),
        ("texts, this hour", budget["texts_hour"], budget["texts_hour_limit"]),
        ("money, 24 hours", budget["money"], budget["money_limit"]),
    ):
        if most is None:
            print(f"{what:<17} {used:g}, no limit")
        else:
            filled = min(20, round(20 * used / most))
            print(f"{what:<17} [{'#' * filled}{'.' * (20 - filled)}] {used:g} of {most:g}")
    return 0


def _preview(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", "/api/sms/preview")
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        parts = "1 part" if row["parts"] == 1 else f"{row['parts']} parts, each of which costs"
        print(f"For {row['for']}: {row['encoding']}, {row['units']} units, {parts}")
        for line in row["text"].splitlines():
            print(f"    {line}")
    return 0


def _share(row: dict[str, Any]) -> str:
    if not row["sent"]:
        return "-"
    return f"{row['verified']} of {row['sent']} ({100 * row['verified'] // row['sent']} %)"

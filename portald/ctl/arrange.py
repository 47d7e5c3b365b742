"""``portalctl plans``, ``groups`` and ``accounts``: who may use how much."""

from __future__ import annotations

import argparse
import csv
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from portald import passwords
from portald.ctl.ask import ask
from portald.ctl.show import print_json, print_line, print_table
from portald.ctl.words import last_day, last_moment, pairs, secret, subcommands
from portald.display import ago
from portald.errors import ConfigError, Refused
from portald.plan import HELP

FIELDS = ("name", "group", "number", "email", "password", "blocked", "expires_at", "note")
"""Columns of an import; an export has all but the password."""


def add_plans(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add the commands below ``portalctl plans``."""
    commands = subcommands(parser)
    keys = "\n".join(f"  {key:<13} {text}" for key, text in HELP.items())
    change = commands.add_parser(
        "set", parents=[shared], help="make a plan, or change some of it; KEY= takes a limit away",
        formatter_class=argparse.RawDescriptionHelpFormatter, description=f"Keys:\n{keys}",
    )  # fmt: skip
    change.add_argument("name")
    change.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    change.set_defaults(run=_set_plan)
    _add_delete(commands, shared, "plans", "a plan that no group has")


def plans(options: argparse.Namespace) -> int:
    found = ask(options, "GET", "/api/plans")
    if options.json:
        print_json(found["plans"])
        return 0
    for plan in found["plans"]:
        limits = " ".join(f"{key}={_shown(value)}" for key, value in plan.items() if key != "name")
        plan["limits"] = limits or "no limits"
    print_table(found["plans"], [("PLAN", "name"), ("LIMITS", "limits")], empty="There is no plan.")
    return 0


def _set_plan(options: argparse.Namespace) -> int:
    plan = ask(options, "POST", f"/api/plans/{quote(options.name, safe='')}", pairs(options.changes))
    if options.json:
        print_json(plan)
    else:
        limits = [f"{key}={_shown(value)}" for key, value in plan.items() if key != "name"]
        print_line(f"{plan['name']}: {' '.join(limits) or 'no limits'}")
    return 0


def _shown(value: Any) -> str:
    text = ",".join(value) if isinstance(value, list) else str(value)
    return f"'{text}'" if " " in text else text


def add_groups(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add the commands below ``portalctl groups``."""
    commands = subcommands(parser)
    change = commands.add_parser("set", parents=[shared], help="make a group, or give it another plan")
    change.add_argument("name")
    change.add_argument("--plan")
    change.add_argument("--note")
    change.set_defaults(run=_set_group)
    _add_delete(commands, shared, "groups", "a group that nobody is in")


def groups(options: argparse.Namespace) -> int:
    found = ask(options, "GET", "/api/groups")
    if options.json:
        print_json(found)
        return 0
    columns = [("GROUP", "name"), ("PLAN", "plan"), ("ACCOUNTS", "accounts"), ("NOTE", "note")]
    print_table(found, columns, empty="There is no group.")
    return 0


def _set_group(options: argparse.Namespace) -> int:
    body = {"plan": options.plan, "note": options.note}
    group = ask(options, "POST", f"/api/groups/{quote(options.name, safe='')}", body)
    if options.json:
        print_json(group)
    else:
        print(f"Group {group['name']} has the plan {group['plan']}.")
    return 0


def add_accounts(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add the commands below ``portalctl accounts``."""
    commands = subcommands(parser)
    listing = commands.add_parser(
        "list", parents=[shared], help="those whose name, group or note has a text"
    )
    listing.add_argument("search", nargs="?", default="")
    listing.set_defaults(run=accounts)
    change = commands.add_parser(
        "set", parents=[shared], help="make an account, or change some of it",
        description="NAME is a user's, a number (+49…) or an e-mail address. Keys: group, number, email,"
        " password (- asks for it, empty takes it away), blocked (yes or no), expires_at (the last day,"
        " or a time), note.",
    )  # fmt: skip
    change.add_argument("name")
    change.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    change.set_defaults(run=_set_account)
    for verb, blocked in (("block", "yes"), ("unblock", "no")):
        one = commands.add_parser(verb, parents=[shared], help=f"{verb} an account, whatever its device")
        one.add_argument("name")
        one.set_defaults(run=_block, blocked=blocked)
    _add_delete(commands, shared, "accounts", "an account with all that is known of it")
    bring = commands.add_parser(
        "import", parents=[shared], help="make or change accounts from a CSV file",
        description=f"The first line names the columns: {', '.join(FIELDS)}. All rows or none are"
        " taken; an empty cell leaves what is there.",
    )  # fmt: skip
    bring.add_argument("file", type=Path)
    bring.set_defaults(run=_import)
    give = commands.add_parser(
        "export", parents=[shared], help="write accounts to a CSV file, numbers in full"
    )
    give.add_argument("file", type=Path, nargs="?", help="else to the terminal")
    give.set_defaults(run=_export)


def accounts(options: argparse.Namespace) -> int:
    search = getattr(options, "search", "")
    rows = ask(options, "GET", f"/api/accounts?search={quote(search)}")
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        row["state"] = "blocked" if row["blocked"] else "expired" if _past(row["expires_at"]) else "ok"
        row["proven"] = ago(time.time() - row["verified_at"]) if row["verified_at"] else None  # noqa: TID251
        row["login"] = "password" if row["has_password"] else None
    columns = [
        ("ACCOUNT", "name"), ("GROUP", "group"), ("STATE", "state"), ("PROVEN", "proven"),
        ("LOGIN", "login"), ("NOTE", "note"),
    ]  # fmt: skip
    print_table(rows, columns, empty="No such account." if search else "There is no account yet.")
    return 0


def _past(at: float | None) -> bool:
    return at is not None and at <= time.time()  # noqa: TID251, a root


def _set_account(options: argparse.Namespace) -> int:
    changes = _row({"name": options.name, **pairs(options.changes)})
    del changes["name"]
    account = ask(options, "POST", f"/api/accounts/{quote(options.name, safe='')}", changes)
    if options.json:
        print_json(account)
    else:
        over = "has expired" if _past(account["expires_at"]) else "may go online"
        state = "blocked" if account["blocked"] else over
        print(f"{account['name']}, group {account['group']}: {state}.")
    return 0


def _block(options: argparse.Namespace) -> int:
    """Block or unblock: a number or address before it was ever here too, a name only if there is one."""
    if not re.fullmatch(r"[+\d][\d ()/.-]+|.*@.*", options.name):
        found = ask(options, "GET", f"/api/accounts?plain=1&limit=1000000&search={quote(options.name)}")
        if options.name not in {row["name"] for row in found}:
            raise ConfigError(f"there is no account {options.name!r}; see: portalctl accounts")
    options.changes = [f"blocked={options.blocked}"]
    return _set_account(options)


def _row(row: dict[str, str]) -> dict[str, Any]:
    """Return a row as the daemon takes it; raise ``ConfigError`` for what cannot be read."""
    found: dict[str, Any] = dict(row)
    if "blocked" in row:
        words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}
        if row["blocked"].lower() not in words:
            raise ConfigError(f"blocked: expected yes or no, got {row['blocked']!r}")
        found["blocked"] = words[row["blocked"].lower()]
    if row.get("expires_at"):
        found["expires_at"] = last_moment(row["expires_at"])
    if "password" in row:
        found["password"] = secret(row["password"])
    return found


def _import(options: argparse.Namespace) -> int:
    try:
        with options.file.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            # Spreadsheets write semicolons where the comma is in numbers.
            reader = csv.DictReader(file, delimiter=";" if ";" in first and "," not in first else ",")
            unknown = set(reader.fieldnames or ()) - set(FIELDS)
            if unknown or "name" not in (reader.fieldnames or ()):
                what = f"unknown: {', '.join(sorted(map(str, unknown)))}" if unknown else "name is missing"
                raise ConfigError(
                    f"{options.file}: the first line must name columns of {', '.join(FIELDS)}; {what}"
                )
            rows = _rows(reader, options.file)
    except OSError as error:
        raise ConfigError(f"{options.file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{options.file}: {error}") from error
    _seal(rows)
    try:
        done = ask(options, "POST", "/api/accounts", {"rows": rows})["count"]
    except ConfigError as error:
        raise ConfigError([f"{options.file}: {line}" for line in str(error).splitlines()]) from error
    if options.json:
        print_json({"count": done})
    else:
        print(f"{done} account{'' if done == 1 else 's'} made or changed.")
    return 0


def _rows(reader: csv.DictReader[str], file: Path) -> list[dict[str, Any]]:
    """Return an import's rows, or raise ``ConfigError`` with all that cannot be read."""
    rows, problems = [], []
    for position, cells in enumerate(reader, start=1):
        try:
            if None in cells:
                raise ConfigError("more cells than columns")
            # An empty cell leaves things as they are.
            found = {key: value for key, value in cells.items() if value}
            # What an export has made harmless is as it was; nobody exports a password.
            plain = {key: value if key == "password" else _as_was(value) for key, value in found.items()}
            rows.append(_row(plain))
        except ConfigError as error:
            problems.append(f"{file}: row {position}: {error}")
    if problems:
        raise ConfigError(problems)
    return rows


def _seal(rows: list[dict[str, Any]]) -> None:
    """Seal passwords here: each takes a while on purpose, and portald has guests to serve."""
    having = [row for row in rows if row.get("password")]
    for done, row in enumerate(having, start=1):
        try:
            passwords.check(row["password"])
        except Refused:
            raise ConfigError(f"{row.get('name')}: the password is too short, or an easy one") from None
        row["password"] = passwords.seal(row["password"])
        if sys.stderr.isatty():
            filled = round(30 * done / len(having))
            bar = f"[{'#' * filled}{'.' * (30 - filled)}]"
            print(f"\rpasswords {bar} {done} of {len(having)}", end="", file=sys.stderr, flush=True)
    if having and sys.stderr.isatty():
        print(file=sys.stderr)


def _export(options: argparse.Namespace) -> int:
    rows = ask(options, "GET", "/api/accounts?plain=1&limit=1000000")
    if options.json:
        print_json(rows)
        return 0
    columns = [field for field in FIELDS if field != "password"]
    try:
        out = options.file.open("w", encoding="utf-8", newline="") if options.file else sys.stdout
    except OSError as error:
        raise ConfigError(f"{options.file}: {error.strerror}") from error
    if options.file:
        options.file.chmod(0o600)
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        row["blocked"] = "yes" if row["blocked"] else "no"
        at = row["expires_at"]
        row["expires_at"] = last_day(at) if at else ""
        writer.writerow([_harmless(row[column]) for column in columns])
    if options.file:
        out.close()
        print(f"{len(rows)} accounts written to {options.file}.")
    return 0


def _harmless(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: guests choose some of them."""
    text = "" if value is None else str(value)
    return f"'{text}" if _is_formula(text) else text


def _as_was(cell: str) -> str:
    """Return what ``_harmless`` was given."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def _is_formula(text: str) -> bool:
    """Tell whether a cell is a formula, or one that was made harmless."""
    bare = text.lstrip("'")
    return bare.startswith(("=", "@", "\t")) or (bare[:1] in ("+", "-") and not bare[1:].isdecimal())


def _add_delete(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    shared: argparse.ArgumentParser, kind: str, what: str,
) -> None:  # fmt: skip
    delete = commands.add_parser("delete", parents=[shared], help=f"delete {what}")
    delete.add_argument("name")
    delete.set_defaults(run=lambda options: _delete(options, kind))


def _delete(options: argparse.Namespace, kind: str) -> int:
    answer = ask(options, "DELETE", f"/api/{kind}/{quote(options.name, safe='')}")
    if options.json:
        print_json(answer)
    elif answer.get("deleted"):
        print(f"{options.name} is deleted.")
    else:
        print(f"portalctl: there is no {options.name}; see: portalctl {kind}", file=sys.stderr)
    return 0 if answer.get("deleted") else 1

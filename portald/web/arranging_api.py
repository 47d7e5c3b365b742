"""What portalctl arranges: plans, groups, accounts, devices, vouchers, requests, history."""

from __future__ import annotations

import dataclasses
from typing import Any

from flask import Blueprint, jsonify, request

from portald import phone
from portald.arranging import Arranging, moment
from portald.errors import ConfigError, Conflict, Refused
from portald.model import Account, Session
from portald.plan import HELP, Plan
from portald.staff import Staff
from portald.store.entries import Batch
from portald.units import Seconds
from portald.vouchers import Vouchers
from portald.web.common import json_object, only_json
from portald.web.rows import session_row

MOST_BODY = 16 * 2**20
"""Bytes of an import: a hundred thousand accounts."""
MOST_EXTENDED = 10 * 366 * 86_400


def arranging_api(arranging: Arranging, vouchers: Vouchers, staff: Staff) -> Blueprint:
    """Return the routes below ``/api`` for everything that operators arrange."""
    api = Blueprint("arranging", __name__, url_prefix="/api")

    @api.errorhandler(ConfigError)
    @api.errorhandler(Conflict)
    def wrong(error: Exception) -> Any:
        return jsonify(error="refused", message=str(error)), 422

    @api.errorhandler(Refused)
    def refused(error: Refused) -> Any:
        message = f"portald lets nobody in so: {error.reason.value.replace('_', ' ')}"
        return jsonify(error=error.reason.value, message=message), 422

    @api.before_request
    def large() -> None:
        request.max_content_length = MOST_BODY

    api.before_request(only_json)

    def gone(found: bool) -> Any:
        return jsonify(deleted=found), 200 if found else 404

    # Plans and groups -----------------------------------------------------------------------

    @api.get("/plans")
    def plans() -> Any:
        return jsonify({"plans": [_plan(plan) for plan in arranging.plans().values()], "help": HELP})

    @api.post("/plans/<name>")
    def set_plan(name: str) -> Any:
        return jsonify(_plan(arranging.set_plan(name, json_object())))

    @api.delete("/plans/<name>")
    def delete_plan(name: str) -> Any:
        return gone(arranging.delete_plan(name))

    @api.get("/groups")
    def groups() -> Any:
        return jsonify([dataclasses.asdict(group) for group in arranging.groups()])

    @api.post("/groups/<name>")
    def set_group(name: str) -> Any:
        given = json_object()
        _only(given, "plan", "note")
        return jsonify(dataclasses.asdict(arranging.set_group(name, given.get("plan"), given.get("note"))))

    @api.delete("/groups/<name>")
    def delete_group(name: str) -> Any:
        return gone(arranging.delete_group(name))

    # Accounts -------------------------------------------------------------------------------

    @api.get("/accounts")
    def accounts() -> Any:
        """Numbers are masked but for an export, which the operator asks for by name."""
        limit = max(1, min(request.args.get("limit", 1000, int), 1_000_000))
        plain = request.args.get("plain") == "1"
        found = arranging.accounts(request.args.get("search", ""), limit)
        return jsonify([_account(account, plain) for account in found])

    @api.post("/accounts")
    def set_accounts() -> Any:
        rows = json_object().get("rows")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ConfigError("rows: expected a list of objects")
        return jsonify(count=arranging.set_accounts(rows))

    @api.post("/accounts/<path:name>")
    def set_account(name: str) -> Any:
        return jsonify(_account(arranging.set_account(name, json_object()), plain=False))

    @api.delete("/accounts/<path:name>")
    def delete_account(name: str) -> Any:
        return gone(arranging.delete_account(name))

    # Devices --------------------------------------------------------------------------------

    @api.get("/clients")
    def clients() -> Any:
        return jsonify([dataclasses.asdict(device) for device in arranging.devices()])

    @api.post("/clients/<mac>")
    def set_client(mac: str) -> Any:
        given = json_object()
        _only(given, "verdict", "group", "zone", "note")
        note = str(given.get("note") or "")
        if given.get("verdict") == "blocked":
            device = arranging.block(mac, note)
        elif given.get("verdict") == "trusted":
            device = arranging.trust(mac, str(given.get("group") or ""), str(given.get("zone") or ""), note)
        else:
            raise ConfigError("verdict: expected trusted or blocked")
        return jsonify(dataclasses.asdict(device))

    @api.delete("/clients/<mac>")
    def forget_client(mac: str) -> Any:
        return gone(arranging.forget_device(mac))

    # Vouchers -------------------------------------------------------------------------------

    @api.get("/vouchers")
    def batches() -> Any:
        return jsonify([dataclasses.asdict(batch) for batch in vouchers.batches()])

    @api.post("/vouchers")
    def make_batch() -> Any:
        given = json_object()
        _only(given, "group", "count", "uses", "lasts", "expires_at", "note")
        try:
            batch = vouchers.make(
                str(given.get("group") or "SMS"),
                int(given.get("count", 1)),
                int(given.get("uses", 1)),
                int(Seconds(given["lasts"])) if given.get("lasts") else None,
                moment(given["expires_at"]) if given.get("expires_at") else None,
                str(given.get("note") or ""),
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(str(error)) from error
        return jsonify(_with_codes(batch))

    @api.get("/vouchers/<int:number>")
    def batch(number: int) -> Any:
        found = next((each for each in vouchers.batches() if each.id == number), None)
        return jsonify(_with_codes(found)) if found else gone(False)

    @api.delete("/vouchers/<int:number>")
    def withdraw(number: int) -> Any:
        return gone(vouchers.withdraw(number))

    def _with_codes(batch: Batch) -> dict[str, Any]:
        return dataclasses.asdict(batch) | {"codes": vouchers.codes(batch)}

    # Requests to the staff ------------------------------------------------------------------

    @api.get("/approvals")
    def approvals() -> Any:
        return jsonify([dataclasses.asdict(asked) for asked in staff.waiting()])

    @api.post("/approvals/<int:number>")
    def decide(number: int) -> Any:
        given = json_object()
        if given.get("granted") is not True:
            return gone(staff.refuse(number))
        group = str(given.get("group") or "")
        if group and group not in {each.name for each in arranging.groups()}:
            raise ConfigError(f"there is no group {group!r}; see: portalctl groups")
        if number not in {asked.id for asked in staff.waiting()}:
            raise ConfigError(f"there is no request {number}; see: portalctl approvals")
        return jsonify(session_row(staff.approve(number, group)))

    # Sessions and history -------------------------------------------------------------------

    @api.post("/sessions/<int:number>/extend")
    def extend(number: int) -> Any:
        try:
            seconds = int(json_object().get("seconds", 0))
        except (TypeError, ValueError) as error:
            raise ConfigError("seconds: expected a whole number") from error
        if abs(seconds) > MOST_EXTENDED:
            raise ConfigError("seconds: ten years at most")
        session = arranging.extend(number, seconds) if number < 2**31 else None
        return jsonify(session_row(session)) if session else gone(False)

    @api.get("/history")
    def history() -> Any:
        args = request.args
        by = args.get("by", "day")
        rows = arranging.history(by, args.get("since", ""), args.get("until", ""), args.get("search", ""))
        for row in rows:
            row["what"] = phone.mask_name(row["what"]) if by == "account" else row["what"]
        return jsonify(rows)

    @api.get("/who")
    def who() -> Any:
        """Who had an address at a time; numbers in full, since that is what the law asks for."""
        at = moment(request.args.get("at", ""))
        found: list[Session] = arranging.who_had(request.args.get("address", ""), at)
        return jsonify([session_row(each) | {"number": each.account.name} for each in found])

    @api.get("/consents")
    def consents() -> Any:
        return jsonify(
            [dataclasses.asdict(each) for each in arranging.consents(request.args.get("of", ""))]
        )

    @api.post("/seen")
    def seen() -> Any:
        arranging.seen()
        return jsonify(seen=True)

    return api


def _plan(plan: Plan) -> dict[str, Any]:
    return {"name": plan.name, **plan.as_table()}


def _account(account: Account, plain: bool) -> dict[str, Any]:
    row = dataclasses.asdict(account)
    if not plain:
        row |= {key: phone.mask_name(row[key]) for key in ("name", "number", "email") if row[key]}
    return row


def _only(given: dict[str, Any], *known: str) -> None:
    if unknown := set(given) - set(known):
        raise ConfigError(f"{', '.join(sorted(unknown))}: no such field; known: {', '.join(known)}")

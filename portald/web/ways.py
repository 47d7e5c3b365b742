"""The guests' pages for other ways in: voucher, password, the staff, and coming back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, make_response, redirect, render_template, request

from portald.errors import Reason, Refused
from portald.model import Client, Session
from portald.portal import Portal
from portald.returning import Returning, is_randomised
from portald.signing import Signing
from portald.staff import Staff
from portald.vouchers import Vouchers
from portald.web.common import refusal
from portald.web.visits import Visits

COOKIE = "portald"
COOKIE_DAYS = 365


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways in besides the code to a number."""

    returning: Returning
    signing: Signing
    vouchers: Vouchers
    staff: Staff


def token() -> str:
    """Return the token that the browser kept, if it kept one."""
    return request.cookies.get(COOKIE, "")[:64]


def welcome(ways: Ways, asking: Client, session: Session) -> Any:
    """Send a guest who has come in to the status page; a made-up MAC gets a token to return with."""
    answer = make_response(redirect("/status", 303))
    if is_randomised(asking.mac) and session.verified and (made := ways.returning.token(session)):
        answer.set_cookie(
            COOKIE,
            made,
            max_age=COOKIE_DAYS * 86_400,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure,
        )
    return answer


def way_pages(portal: Portal, ways: Ways, visits: Visits) -> Blueprint:
    """Return the pages; each way is there only where its zone offers it."""
    pages = Blueprint("ways", __name__)
    who, sender, wish = visits.who, visits.sender, visits.wish

    def offered(way: str, asking: Client) -> None:
        if way not in portal.zone(asking).ways:
            raise Refused(Reason.WAY_CLOSED)

    def blank(template: str, asking: Client, **context: Any) -> Any:
        return render_template(template, form=visits.form(asking), typed="", **context)

    def again(error: Refused, template: str, asking: Client, typed: str, **context: Any) -> Any:
        if portal.status(asking):
            return redirect("/status", 303)  # a double tap: the first one was right
        return refusal(error, template, form=visits.form(asking), typed=typed[:254], **context)

    @pages.get("/voucher")
    def voucher() -> Any:
        asking = who()
        offered("voucher", asking)
        if portal.status(asking):
            return redirect("/status", 303)
        typed = request.args.get("code", "")[:32]  # from the picture on a printed one
        return render_template("guest/voucher.html", form=visits.form(asking), typed=typed)

    @pages.post("/voucher")
    def redeem() -> Any:
        asking, typed = sender(), request.form.get("voucher", "")
        offered("voucher", asking)
        try:
            return welcome(ways, asking, ways.vouchers.redeem(asking, typed))
        except Refused as error:
            return again(error, "guest/voucher.html", asking, typed[:32])

    @pages.get("/password")
    def password() -> Any:
        asking = who()
        offered("password", asking)
        if portal.status(asking):
            return redirect("/status", 303)
        resets = portal.zone(asking).reset != "none"
        return blank("guest/password.html", asking, resets=resets, done="done" in request.args)

    @pages.post("/password")
    def enter() -> Any:
        asking, name = sender(), request.form.get("name", "").strip()
        offered("password", asking)
        order = portal.order(asking, "", wish())
        try:
            found = ways.signing.enter(
                asking, portal.account(name), name, request.form.get("password", ""), order
            )
        except Refused as error:
            resets = portal.zone(asking).reset != "none"
            return again(error, "guest/password.html", asking, name, resets=resets)
        return welcome(ways, asking, found) if isinstance(found, Session) else redirect("/code", 303)

    @pages.get("/forgotten")
    def forgotten() -> Any:
        asking = who()
        resets = portal.zone(asking).reset
        if resets == "none":
            raise Refused(Reason.WAY_CLOSED)
        return blank("guest/forgotten.html", asking, resets=resets)

    @pages.post("/forgotten")
    def ask() -> Any:
        asking, typed = sender(), request.form.get("contact", "")
        zone = portal.zone(asking)
        try:
            order = portal.order(asking, "", wish())
            ways.signing.forgotten(asking, zone, portal.contact(typed), order)
        except Refused as error:
            return again(error, "guest/forgotten.html", asking, typed, resets=zone.reset)
        return redirect("/code", 303)

    @pages.get("/staff")
    def staff() -> Any:
        asking = who()
        offered("staff", asking)
        if portal.status(asking):
            return redirect("/status", 303)
        state = visits.state()
        asked, granted = ways.staff.state(asking) or (None, None)
        return blank("guest/staff.html", asking, state=state, asked=asked, granted=granted)

    @pages.post("/staff")
    def ask_staff() -> Any:
        asking, typed = sender(), request.form.get("name", "")
        offered("staff", asking)
        try:
            ways.staff.ask(asking, typed)
        except Refused as error:
            return again(error, "guest/staff.html", asking, typed[:40], asked=None, granted=None)
        return redirect("/staff", 303)

    @pages.post("/back")
    def back() -> Any:
        asking = sender()
        if portal.status(asking):
            return redirect("/status", 303)  # a double tap, or somebody who collects sessions
        return welcome(ways, asking, ways.returning.come_back(asking, token()))

    @pages.get("/back")
    def reloaded() -> Any:
        return redirect("/", 303)

    return pages

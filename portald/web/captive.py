"""The captive-portal API (RFC 8908): whether a phone is let out, where to sign in, what is left.

Phones learn its address from DHCP or router advertisements (RFC 8910) and ask often, before login
and after: who asks is found as for every page, by the same address that the firewall goes by.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, abort, redirect, request

from portald.errors import Refused
from portald.model import Client
from portald.portal import Portal
from portald.returning import Returning

TYPE = "application/captive+json"


def captive_pages(portal: Portal, returning: Returning, who: Callable[[], Client]) -> Blueprint:
    """Return the API, which answers 404 where the portal's address is not https."""
    pages = Blueprint("captive", __name__)

    @pages.get("/captive-portal/api")
    def state() -> Any:
        try:
            asking = who()
        except Refused:
            asking = None
        zone = portal.zone(asking) if asking else portal.config.zones[0]
        if portal.config.captive_api(zone) is None:
            abort(404)
        accepted = request.headers.get("Accept", "")
        if TYPE not in accepted and "text/html" in accepted:
            # A browser, perhaps of a phone that takes this address for a page (RFC 8910, section 2).
            return redirect(portal.config.portal_url(zone), 303)
        answer: dict[str, Any] = {"captive": True, "user-portal-url": portal.config.portal_url(zone)}
        if zone.venue_url:
            answer["venue-info-url"] = zone.venue_url
        session = portal.status(asking) if asking else None
        # Only what the kernel has been told counts: a phone that hears "free" tries at once.
        if session is not None and session.granted_at is not None:
            answer |= {"captive": False, "can-extend-session": returning.may_extend(session)}
            if (seconds := portal.time_left(session)) is not None:
                answer["seconds-remaining"] = int(seconds)
            if (volume := portal.volume_left(session)) is not None:
                answer["bytes-remaining"] = max(0, volume)
        return Response(
            json.dumps(answer), content_type=TYPE, headers={"Cache-Control": "private, no-store"}
        )

    return pages

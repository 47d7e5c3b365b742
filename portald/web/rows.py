"""Sessions as operators and programs read them: numbers masked."""

from __future__ import annotations

from typing import Any

from portald import phone
from portald.model import Session


def session_row(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "number": phone.mask_name(session.account.name),
        "account": session.account.id,
        "group": session.account.group,
        "plan": session.plan,
        "zone": session.zone,
        "mac": session.mac,
        "addresses": sorted(session.addresses),
        "started_at": session.started_at,
        "expires_at": session.expires_at,
        "verified": session.verified,
        "granted": session.granted_at is not None,
        "ended_at": session.ended_at,
        "end": session.end,
        "up": session.usage.up,
        "down": session.usage.down,
    }

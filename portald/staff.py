"""The staff lets a guest in: asked on the guest's page, decided on the operator's."""

from __future__ import annotations

import logging

from portald.config import Config
from portald.door import Door
from portald.errors import Reason, Refused
from portald.limits import Allowance
from portald.model import Client, Session
from portald.ports import Clock
from portald.store import Store
from portald.store.entries import Approval

log = logging.getLogger(__name__)

WAITS = 1_800.0
"""Seconds after which a request that nobody has answered is none any more."""


class Staff:
    """Requests are few and short: a device has one at a time, and asks only so often."""

    def __init__(self, config: Config, store: Store, door: Door, clock: Clock) -> None:
        self._groups = {zone.name: zone.group for zone in config.zones}
        self._store = store
        self._door = door
        self._clock = clock

    def ask(self, client: Client, name: str) -> Approval:
        """Ask to be let in under a name, which the staff sees without what steers terminals."""
        plain = " ".join("".join(c for c in name[:200] if c.isprintable()).split())[:40]
        now = self._clock()
        self._store.refuse_blocked(client)
        self._store.spend(
            [
                Allowance(f"staff:{client.mac}", 5, 3_600, Reason.BUSY),
                Allowance("staff", 100, 3_600, Reason.BUSY),
            ],
            now,
        )
        asked = self._store.ask_staff(client, plain or "a guest", now)
        log.info("event=approval_asked approval=%d mac=%s", asked.id, client.mac)
        return asked

    def state(self, client: Client) -> tuple[Approval, bool | None] | None:
        """Return the client's request, and whether it was granted."""
        return self._store.approval_of(client, self._clock() - WAITS)

    def waiting(self) -> list[Approval]:
        """Return who waits, longest first."""
        return self._store.approvals(self._clock() - WAITS)

    def approve(self, approval: int, group: str = "") -> Session:
        """Let a guest in, into the zone's group if no other is named; raises ``Refused``."""
        asked = next((each for each in self.waiting() if each.id == approval), None)
        if asked is None:
            raise Refused(Reason.FORM_STALE)
        into = group or self._groups.get(asked.zone, "")
        return self._door.let_in(lambda now: self._store.approve(approval, into, now))

    def refuse(self, approval: int) -> bool:
        return self._store.refuse(approval, self._clock())

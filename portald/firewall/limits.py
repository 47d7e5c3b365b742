"""Keeps rates by dropping what is too fast: a limit for each session and direction, in nft's sets."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from portald.firewall.elements import RATES, add, delete, limit, number
from portald.firewall.listing import Table
from portald.firewall.queues import remove_all_queues
from portald.model import Grant, Rate


class Limits:
    """One element per session and direction; it stays while its rate does: a new one is a burst."""

    ruleset = "flush map inet portald prio_up\nflush map inet portald prio_dn\n"
    """What the other way to keep rates may have left."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, int]] = {name: {} for name in RATES}
        self._tidied = False

    def setup(self) -> None:
        """Take away the queues of the other way; but for that, nothing is needed but the rules."""
        if not self._tidied:
            remove_all_queues()
            self._tidied = True

    def verify(self) -> None:
        """Nothing can be missing but rules."""

    def teardown(self) -> None:
        """Nothing is left but the table, and the queues there may have been before."""
        remove_all_queues()

    def script(self, gone: Collection[int], grants: Sequence[Grant]) -> str:
        """Return the commands that make the limits of the sessions those of the grants."""
        script = ""
        for name, wanted in _wanted(grants).items():
            known = self._known[name]
            changed = [n for n in gone if n in known and wanted.get(n) != known[n]]
            script += delete(name, map(number, changed))
            script += add(name, [limit(n, rate) for n, rate in wanted.items() if known.get(n) != rate])
        return script

    def done(self, gone: Collection[int], grants: Sequence[Grant]) -> None:
        """Remember that the kernel took the script."""
        for name, wanted in _wanted(grants).items():
            for session in gone:
                self._known[name].pop(session, None)
            self._known[name] |= wanted

    def learn(self, table: Table) -> None:
        self._known = table.rates

    def look(self, table: Table) -> None:
        """All there is to see is in the table."""

    def found(self, table: Table, session: int) -> tuple[Rate, bool]:
        """Return the rate a session is held to, and whether all that keeps it is there."""
        return Rate(table.rates["rate_up"].get(session), table.rates["rate_dn"].get(session)), True


def _wanted(grants: Sequence[Grant]) -> dict[str, dict[int, int]]:
    return {
        "rate_up": {g.session: g.rate.up for g in grants if g.rate.up is not None},
        "rate_dn": {g.session: g.rate.down for g in grants if g.rate.down is not None},
    }

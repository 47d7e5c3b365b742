"""Cuts the connections of ended sessions out of the kernel's table, in the background.

Access has ended before: every packet is checked against the grants.  This frees the entries and
the addresses translated for them, and is worth no guest's waiting.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable

from portald.errors import FirewallError
from portald.firewall import commands
from portald.firewall.elements import NUMBER

log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds before: the page that says goodbye comes over a connection of the session too."""


class Flows:
    """One thread that takes session marks and deletes their conntrack entries, of both families."""

    def __init__(self) -> None:
        self._ended: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def cut(self, sessions: Iterable[int]) -> None:
        due = time.monotonic() + PATIENCE
        for session in sessions:
            self._ended.put((session, due))
        if self._thread is None and not self._ended.empty():
            self._thread = threading.Thread(target=self._work, name="flows", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            session, due = self._ended.get()
            time.sleep(max(0, due - time.monotonic()))
            for family in ("ipv4", "ipv6"):
                try:
                    commands.run("conntrack", "-D", "-f", family, "-m", f"{session}/{NUMBER}")
                except FirewallError as error:
                    # conntrack ends with 1 where there was nothing to delete.
                    if "0 flow entries" not in str(error):
                        log.warning("event=flows_not_cut session=%d error=%s", session, error)

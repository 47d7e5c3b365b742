"""Cuts the connections of ended sessions out of the kernel's table, in the background.

Access has ended before: every packet is checked against the grants.  This frees the entries and
the addresses translated for them, and is worth no guest's waiting.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable

from portald.errors import FirewallError
from portald.firewall import commands
from portald.firewall.elements import NUMBER

log = logging.getLogger(__name__)


class Flows:
    """One thread that takes session marks and deletes their conntrack entries, of both families."""

    def __init__(self) -> None:
        self._marks: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def cut(self, sessions: Iterable[int]) -> None:
        for session in sessions:
            self._marks.put(session)
        if self._thread is None and not self._marks.empty():
            self._thread = threading.Thread(target=self._work, name="flows", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            mark = self._marks.get()
            for family in ("ipv4", "ipv6"):
                try:
                    commands.run("conntrack", "-D", "-f", family, "-m", f"{mark}/{NUMBER}")
                except FirewallError as error:
                    # conntrack ends with 1 where there was nothing to delete.
                    if "0 flow entries" not in str(error):
                        log.warning("event=flows_not_cut session=%d error=%s", mark, error)

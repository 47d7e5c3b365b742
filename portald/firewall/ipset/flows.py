"""Cuts the connections of addresses that have lost access, in the background.

Like ``portald.firewall.flows``, which goes by the connection's mark; this backend leaves that mark
to other programs (mwan3, traffic shaping), which older routers often have.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable

from portald.errors import FirewallError
from portald.firewall import commands

log = logging.getLogger(__name__)


class AddressFlows:
    """One thread that takes addresses and deletes the conntrack entries of what they have sent."""

    def __init__(self) -> None:
        self._addresses: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def cut(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            self._addresses.put(address)
        if self._thread is None and not self._addresses.empty():
            self._thread = threading.Thread(target=self._work, name="flows", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            address = self._addresses.get()
            family = "ipv6" if ":" in address else "ipv4"
            try:
                commands.run("conntrack", "-D", "-f", family, "-s", address)
            except FirewallError as error:
                # conntrack ends with 1 where there was nothing to delete.
                if "0 flow entries" not in str(error):
                    log.warning("event=flows_not_cut address=%s error=%s", address, error)

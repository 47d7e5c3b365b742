"""Grants as elements of ipset, the rules around them in iptables: the verbs.

What is weaker than with nftables:

* A change is no transaction.  What closes is done first and what lets a device send is done last,
  so a change that fails half-way leaves too little access, and the next reading shows it.
* IPv6 is admitted by address, not by device, where the kernel has no hash:ip,mac: a stranger on the
  same network who takes a guest's IPv6 address can send as that guest.
* Rates hold for each address of a session, not for all of them together.
* A volume is not in the kernel: ``left`` is remembered and counted down, but it is the daemon's
  round that closes.
* Counters are by address.  When a session takes an address over from another, what passes in the
  moment between reading the counter and the change of its owner counts for the new one.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, ip_network

from portald.errors import FirewallError, RulesMissing
from portald.firewall.guard import Guard
from portald.firewall.ipset import layout, ledger, rules, sets, survey, tables
from portald.firewall.ipset.change import plan, settled
from portald.firewall.ipset.flows import AddressFlows
from portald.firewall.ipset.layout import FAMILIES, Class
from portald.firewall.ipset.picture import Picture
from portald.model import Alarm, Grant, Held
from portald.ports import Clock

POLL = 1.0
"""Seconds between two looks: legacy tables tell nobody that they were changed."""


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class IpsetFirewall:
    """The only writer of chains named PORTALD_ and of sets named portald.

    It remembers which elements it has put in, so that a change costs as much as it changes.  A
    change that fails makes it read the kernel and try once more.
    """

    def __init__(
        self,
        zones: Mapping[str, Sequence[str]],
        networks: Mapping[str, Sequence[IPv4Network]],
        portal_port: int,
        open_tcp: Sequence[int] = (),
        open_udp: Sequence[int] = (),
        portal_https: Sequence[str] = (),
        garden: Sequence[str] = (),
        longest: int = 0,  # what the kernel forgets by itself is told with each grant
        clock: Clock = _since_boot,
    ) -> None:
        self._zones, self._networks = zones, networks
        self._ports = (portal_port, open_tcp, open_udp, portal_https)
        self._garden = [ip_network(network) for network in garden]
        self._clock = clock
        self._interfaces = [name for names in zones.values() for name in names]
        self._guard = Guard(self._interfaces)
        self._flows = AddressFlows()
        self._layout = layout.arrange(zones, networks, pairs=False)
        self._classes: set[Class] = set()
        self._rules: str | None = None
        self._picture = Picture({})
        # Changes come one after the other; reading goes on beside them, and ``_changes`` tells
        # whether what was read is still news.
        self._changing = threading.Lock()
        self._changes = 0

    # Setting up ---------------------------------------------------------------------------

    def check(self) -> None:
        """Raise ``FirewallError`` with the reason why this would not work here; change nothing."""
        for network in (network for networks in self._networks.values() for network in networks):
            if network.prefixlen < 12:
                raise FirewallError(f"{network} is too wide for ipset: at most a /12, 16 sets of a /16")
        for complaint in survey.lacking():
            raise FirewallError(complaint)
        if importlib.util.find_spec("pyroute2") is None:
            raise FirewallError("the Python package pyroute2 is missing")
        if survey.other_backend():
            raise FirewallError(
                "the nftables backend's rules are in the kernel as well; take them out first: "
                'portald-firewall --remove with firewall.backend = "nftables"'
            )

    def setup(self) -> None:
        self.check()
        with self._changing:
            # The guard first: from here on missing rules mean closed.
            self._guard.setup()
            self._layout = layout.arrange(self._zones, self._networks, pairs=sets.known("hash:ip,mac"))
            self._classes = layout.rated_in(sets.names())
            try:
                self._make_sets()
            except FirewallError:
                # Sets that another version laid out differently cannot be kept.  The next round
                # fills them again; until then guests are refused rather than let through.
                self._clear()
                self._make_sets()
            for family in FAMILIES:
                tables.restore(family, {"filter": rules.slow(family, self._classes)})
                tables.install(family, rules.describe(family, self._layout, *self._ports))
            self._guard.tidy()
            self._rules = self._fingerprint()
        self.read()  # what an earlier helper put in is ours to take out

    def teardown(self) -> None:
        """Take everything out: the gateway forwards as if portald had never been there."""
        with self._changing:
            self._clear()
            self._guard.teardown()
            self._rules = None
            self._picture = Picture({})

    def _make_sets(self) -> None:
        sets.create(self._layout.create() + layout.create_rated(self._classes))
        for family, name in layout.NETS.items():
            sets.fill(name, [str(network) for network in self._garden if network.version == family])

    def _clear(self) -> None:
        for family in FAMILIES:
            tables.remove(family)
        sets.destroy(sets.names())
        self._classes = set()

    def _fingerprint(self) -> str:
        return "\n".join(tables.fingerprint(family, tables.save(family)) for family in FAMILIES)

    # Reading ------------------------------------------------------------------------------

    def read(self) -> Mapping[int, Held]:
        if self._strange():
            raise RulesMissing("the rules in iptables are not those of portald")
        self._guard.verify()
        changes = self._changes
        picture = self._look()
        with self._changing:
            if changes == self._changes:  # else what is remembered is newer than what was read
                self._picture = picture
        return picture.held(self._layout, int(self._clock()))

    def _look(self) -> Picture:
        names = [ledger.NAME, *self._layout.admitting]
        names += [kind[family] for kind in (layout.DOWN, layout.SENT, layout.GOT) for family in FAMILIES]
        names += [layout.rated(kind, family) for kind in sorted(self._classes) for family in FAMILIES]
        return Picture(sets.read(names))

    def wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while True:
            if self._strange():
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, POLL))

    def _strange(self) -> bool:
        """Tell whether the rules are not those that were set up."""
        if self._fingerprint() == self._rules:
            return False
        with self._changing:  # it may have been a change of ours that is under way
            return self._fingerprint() != self._rules

    def survey(self) -> list[Alarm]:
        return list(survey.alarms(self._interfaces))

    # Changing -----------------------------------------------------------------------------

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        add, remove = list(add), list(remove)
        if not add and not remove:
            return
        for grant in add:
            self._layout.check(grant)
        with self._changing:
            try:
                lost = self._change(add, remove)
            except FirewallError:
                self._picture = self._look()
                lost = self._change(add, remove)
            finally:
                self._changes += 1
        self._flows.cut(lost)

    def _change(self, add: list[Grant], remove: list[int]) -> set[str]:
        """Make the change; return the addresses that have lost access."""
        if new := layout.classes(add) - self._classes:
            self._add_classes(new)
        if self._picture.must_be_fresh(add):
            self._picture = self._look()  # no counter can be asked for by itself
        change = plan(self._picture, self._layout, add, remove, int(self._clock()))
        sets.change(change.delete, change.add)
        self._picture.update(change)
        return change.lost

    def _add_classes(self, new: set[Class]) -> None:
        sets.create(layout.create_rated(new))
        self._classes |= new
        for family in FAMILIES:
            tables.restore(family, {"filter": rules.slow(family, self._classes)})
        self._rules = self._fingerprint()

    def settle(self, sessions: Iterable[int]) -> None:
        with self._changing:
            change = settled(self._picture, sessions, int(self._clock()))
            sets.change(change.delete, [])
            self._picture.update(change)
            self._changes += 1

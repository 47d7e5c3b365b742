"""What the product needs from outside, as protocols; adapters implement them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from portald.model import Client, Grant, Held

Clock = Callable[[], float]
"""Epoch seconds.  Everything but the roots is given one."""

Later = Callable[[Callable[[], None]], bool]
"""Runs a job soon, elsewhere; false when there is no room for it."""


class Firewall(Protocol):
    """The kernel's side of access: three verbs, each safe to repeat.

    All raise ``FirewallError``; after one, the kernel is as before the call.
    """

    def setup(self) -> None:
        """Install the rules; grants that are there stay."""

    def read(self) -> Mapping[int, Held]:
        """Return what is held, by session; raise ``RulesMissing`` if the rules are not ours."""

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        """Remove sessions, then add or renew grants, in one transaction.

        Adding what is held renews its time and starts its counters at zero.
        """


class Verifier(Protocol):
    """Owns codes: makes or orders one, and judges what the guest typed.  May be slow."""

    def start(self, to: str) -> str:
        """Send a code to ``to`` (E.164); return a reference for ``check``.  Raises ``SmsError``."""

    def check(self, reference: str, to: str, code: str) -> bool:
        """Tell whether ``code`` is the one behind ``reference``.  Raises ``SmsError``."""


class Sender(Protocol):
    """Carries a text and knows nothing of codes.  May be slow."""

    def send(self, to: str, text: str) -> str:
        """Hand ``text`` to the provider; return its message id.  Raises ``SmsError``."""


class Neighbours(Protocol):
    """The kernel's view of who is on the guest networks."""

    def client(self, ip: str) -> Client | None:
        """Return the device that has this address on a guest network, or ``None``."""

    def addresses(self) -> Mapping[str, frozenset[str]]:
        """Return the IPv4 addresses of each MAC on the guest networks."""

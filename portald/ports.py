"""What the product needs from outside, as protocols; adapters implement them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from portald.model import Alarm, Client, Grant, Held, Order, Report, Sent, Text

Clock = Callable[[], float]
"""Epoch seconds.  Everything but the roots is given one."""

Later = Callable[[Callable[[], None]], bool]
"""Runs a job soon, elsewhere; false when there is no room for it."""


class Firewall(Protocol):
    """The kernel's side of access, each verb safe to repeat.

    All raise ``FirewallError``; after one, the kernel is as before the call.
    """

    def setup(self) -> None:
        """Install the rules; grants that are there stay."""

    def read(self) -> Mapping[int, Held]:
        """Return what is held, by session; raise ``RulesMissing`` if the rules are not ours."""

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        """End the access of sessions, then add or renew grants, in one transaction.

        Counters are left alone: those of a renewed grant count on, those of a removed session
        stay to be read, until they are settled.
        """

    def settle(self, sessions: Iterable[int]) -> None:
        """Drop the counters of sessions that were removed and whose bytes are in the store.

        A session that is held, or held again, keeps its counters.
        """

    def wait(self, seconds: float) -> bool:
        """Wait until somebody else has changed the rules; false if nobody has for so long."""

    def survey(self) -> list[Alarm]:
        """Return what else on this machine blocks guests or lets them bypass portald."""


class Verifier(Protocol):
    """Owns codes: makes or orders one, and judges what the guest typed.  May be slow."""

    def start(self, order: Order) -> Sent:
        """Send a code as ordered; return a handle for ``check``.  Raises ``SmsError``."""

    def check(self, reference: str, to: str, code: str) -> bool:
        """Tell whether ``code`` is the one behind ``reference``.

        Raises ``SmsError`` if that cannot be told, and ``Refused`` if the code is dead whatever
        is typed (``CODE_EXPIRED``, ``TOO_MANY_GUESSES``).
        """


class Sender(Protocol):
    """Carries a text and knows nothing of codes.  May be slow."""

    def send(self, text: Text) -> str:
        """Hand ``text`` to the provider; return its message id, or ``""``.  Raises ``SmsError``."""


class Tracker(Protocol):
    """What a provider may offer besides: asking what became of a text."""

    def delivery(self, message: str) -> Report:
        """Return what is known of the message.  Raises ``SmsError``."""


class Reporter(Protocol):
    """What a provider may offer besides: being told, by its own request, what became of texts."""

    def reports(self, url: str, headers: Mapping[str, str], body: bytes) -> list[Report]:
        """Read a provider's request to our public ``url`` (with its query).

        Raises ``Forged`` unless the request is proven to be the provider's.
        """


class Neighbours(Protocol):
    """The kernel's view of who is on the guest networks."""

    def client(self, ip: str) -> Client | None:
        """Return the device that has this address on a guest network, or ``None``."""

    def addresses(self) -> Mapping[tuple[str, str], frozenset[str]]:
        """Return the addresses of each device on the guest networks, of both families, by MAC and zone."""

    def watch(self, moved: Callable[[str, str, frozenset[str]], object], clock: Clock) -> None:
        """Call ``moved`` with MAC, zone and addresses when a device shows a new one, until ``close``."""

    def close(self) -> None:
        """Make ``watch`` return."""

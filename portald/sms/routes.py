"""Which provider carries which text: in order, by country or prefix, past those that rest.

The next provider is asked when one cannot, and only if none can have sent the text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from portald import phone
from portald.errors import ConfigError, Refused, SmsError
from portald.limits import MILLION
from portald.model import Attempt, Order, Outcome, Report, Sent
from portald.ports import Tracker, Verifier
from portald.schema import setting, table
from portald.sms.breaker import AT_ONCE, Breaker

log = logging.getLogger(__name__)

# The number's own trouble is the same everywhere; an unknown fate must not become two texts.
FINAL = {Outcome.INVALID_NUMBER, Outcome.BLOCKED_BY_RECIPIENT, Outcome.UNKNOWN}

Record = Callable[[Attempt], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What every [[sms]] table may say, whatever its type."""

    name: str = setting("a word for this provider, shown to you; its type if not set", "")
    enabled: bool = setting("whether it is used", True)
    note: str = setting("for you alone", "")
    only: tuple[str, ...] = setting('countries and beginnings it is for: "FR", "+4477"; empty is all', ())
    priority: int = setting("lower ones are asked first; equal ones in the order written", 0)
    cost: float = setting("what a part of a text costs, in your currency", 0.0, 0)
    costs: dict[str, float] = table('what it costs elsewhere: FR = 0.07, "+1876" = 0.3')

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]{0,32}", self.name, re.ASCII):
            raise ConfigError(f"name: expected a word of letters, digits, . and -, got {self.name!r}")
        for key, places in (("only", self.only), ("costs", self.costs)):
            for place in places:
                try:
                    phone.check_place(place)
                except ConfigError as error:
                    raise ConfigError(f"{key}: {error}") from None

    def price(self, number: str) -> int:
        """Return what a part costs, in millionths; the longest place that fits decides."""
        fitting = [place for place in self.costs if phone.is_in(number, place)]
        best = max(fitting, key=len, default=None)
        return round((self.cost if best is None else self.costs[best]) * MILLION)


@dataclass(frozen=True, slots=True)
class Way:
    """One provider with what is known about it; ``verifier`` is how codes go through it."""

    route: Route
    kind: str
    provider: Any
    verifier: Verifier
    breaker: Breaker

    @property
    def name(self) -> str:
        return self.route.name or self.kind

    @property
    def by_carrier(self) -> bool:
        """Whether the guest's carrier must be known, as for e-mail-to-SMS."""
        return hasattr(self.provider, "carriers")

    @property
    def by_mail(self) -> bool:
        """Whether it brings codes to mailboxes, and not to telephones."""
        return getattr(self.provider, "to_mailboxes", False)

    def serves(self, number: str) -> bool:
        return not self.route.only or any(phone.is_in(number, place) for place in self.route.only)


class Routes:
    """All providers as one: starts codes, judges them, asks for their delivery."""

    def __init__(self, ways: Sequence[Way], record: Record, parts: Callable[[Order], int]) -> None:
        self.ways = tuple(sorted(ways, key=lambda way: way.route.priority))
        self._by_name = {way.name: way for way in self.ways}
        self._record = record
        self._parts = parts
        if len(self._by_name) < len(self.ways):
            names = [way.name for way in self.ways]
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f'sms: two providers are called {twice!r}; add name = "…" to one of them')

    def start(self, order: Order) -> Sent:
        """Send a code by the first provider that can; raise ``SmsError`` if none could."""
        failures: list[SmsError] = []
        ways = self._enabled(order)
        if not ways:
            raise SmsError(Outcome.REGION_NOT_ALLOWED, "no provider is set for this number")
        for way in _in_turn(ways):
            try:
                return self.start_by(way, order)
            except SmsError as error:
                failures.append(error)
                if error.outcome in FINAL:
                    break
        if not failures:
            soonest = min(ways, key=lambda way: way.breaker.wait())
            why = soonest.breaker.outcome
            outcome = why if why not in (None, Outcome.UNKNOWN) else Outcome.TEMPORARY
            words = f"every provider for this number rests, {soonest.name} for: {why}"
            raise SmsError(outcome, words, soonest.breaker.wait())
        raise failures[-1]

    def start_by(self, way: Way, order: Order) -> Sent:
        """Send a code by this provider, whether or not it rests."""
        parts = self._parts(order)
        cost = way.route.price(order.to) * parts

        def attempt(outcome: Outcome, words: str = "", message: str = "", cost: int = 0) -> None:
            self._record(
                Attempt(
                    order.challenge, way.name, order.to, phone.region(order.to), outcome, words,
                    message, order.carrier, parts, cost,
                )
            )  # fmt: skip

        name, _, before = order.replaces.partition("|")
        try:
            sent = way.verifier.start(replace(order, replaces=before if name == way.name else ""))
        except SmsError as error:
            if error.of_number or (
                error.outcome is Outcome.CONFIGURATION and (order.sender or order.template)
            ):
                way.breaker.spare()
            else:
                way.breaker.note(error.outcome, error.retry_after, error.vague)
            log.warning(
                "event=text_refused provider=%s outcome=%s words=%r", way.name, error.outcome, error.words
            )
            attempt(error.outcome, error.words, cost=cost if error.outcome is Outcome.UNKNOWN else 0)
            reference = f"{way.name}|{error.reference}" if error.reference else None
            raise error.retold(error.words, reference) from None
        except Exception as error:
            # A provider from elsewhere may raise anything.
            way.breaker.note(Outcome.UNKNOWN)
            words = phone.mask_all(type(error).__name__)
            log.exception("event=text_refused provider=%s outcome=unknown", way.name)
            attempt(Outcome.UNKNOWN, words, cost=cost)
            raise SmsError(Outcome.UNKNOWN, words) from None
        way.breaker.note(Outcome.ACCEPTED)
        attempt(Outcome.ACCEPTED, "", sent.message, cost)
        return Sent(f"{way.name}|{sent.reference}", sent.policy, sent.message)

    def check(self, reference: str, to: str, code: str) -> bool:
        """Judge a code by the provider that brought it."""
        name, _, inner = reference.partition("|")
        way = self._by_name.get(name)
        if way is None:
            raise SmsError(Outcome.CONFIGURATION, f"provider {name} is gone from the settings")
        try:
            return way.verifier.check(inner, to, code)
        except (SmsError, Refused):
            raise
        except Exception as error:
            # A provider from elsewhere may raise anything, and quote the code in it.
            raise SmsError(Outcome.UNKNOWN, f"{name}: {type(error).__name__}") from None

    def asks_elsewhere(self, reference: str) -> bool:
        """Tell whether judging a code means asking its provider."""
        way = self._by_name.get(reference.partition("|")[0])
        return way is not None and way.verifier is way.provider

    def tracks(self, reference: str) -> bool:
        """Tell whether the provider of a code can be asked what became of its text."""
        way = self._by_name.get(reference.partition("|")[0])
        return way is not None and hasattr(way.provider, "delivery")

    def delivery(self, name: str, message: str) -> Report | None:
        """Ask a provider what became of a text; ``None`` if it cannot tell.  Raises ``SmsError``."""
        way = self._by_name.get(name)
        tracker: Tracker | None = way.provider if way and hasattr(way.provider, "delivery") else None
        return tracker.delivery(message) if tracker else None

    def price(self, order: Order) -> int:
        """Return what a code may cost at most, in millionths of the currency."""
        ways = self._enabled(order)
        return max((way.route.price(order.to) for way in ways), default=0) * self._parts(order)

    def way(self, name: str) -> Way | None:
        return self._by_name.get(name)

    def carriers(self) -> Mapping[str, Any]:
        """Return the carriers that e-mail-to-SMS is set up for, by key."""
        return next((w.provider.carriers for w in self.ways if w.by_carrier and w.route.enabled), {})

    def mails(self) -> bool:
        """Tell whether codes can be sent to mail addresses."""
        return any(way.route.enabled and way.by_mail for way in self.ways)

    def _enabled(self, order: Order) -> list[Way]:
        """Return the providers that may be asked for this text, in order."""
        return [
            way
            for way in self.ways
            if way.route.enabled
            and way.by_carrier is bool(order.carrier)
            and way.by_mail is ("@" in order.to)
            and (not order.providers or way.name in order.providers)
            and way.serves(order.to)
        ]


def _in_turn(ways: Sequence[Way]) -> Iterator[Way]:
    """Yield those that do not rest; if there are none, those whose rest one guest may have caused.

    They answer quickly, and a stranger with an odd number must not close the only way there is.
    """
    asked = False
    for way in ways:
        if way.breaker.admit():
            asked = True
            yield way
    if not asked:
        yield from (way for way in ways if way.breaker.outcome in AT_ONCE)

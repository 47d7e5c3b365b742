"""What texts may cost and whether they are worth it: limits, budget, conversion, closed places."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from portald import limits, phone
from portald.config import Config, Limits
from portald.errors import ConfigError, Reason, Refused
from portald.limits import DAY, MILLION, Ask
from portald.model import Alarm, Challenge, Conversion, Outcome
from portald.ports import Clock
from portald.sms.routes import Routes
from portald.store import Store

log = logging.getLogger(__name__)

LONGEST_CODE = 1800
"""Seconds that a code is good for at most."""
WARN_AT = 0.8
"""The part of a budget from which on the operator is warned."""


class Purse:
    """Limits as they are in force: the settings', unless the operator changed them since."""

    def __init__(self, config: Config, store: Store, routes: Routes, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._routes = routes
        self._clock = clock

    # For every text ----------------------------------------------------------------------

    def limits(self) -> Limits:
        changed: dict[str, Any] = {
            name: int(most) if name in _WHOLE else most for name, most in self._store.limits().items()
        }
        return replace(self._config.limits, **changed) if changed else self._config.limits

    def ask(self, number: str, holder: str, zone: str, price: int, carrier: str) -> Ask:
        """Return what limits need to know of a text; raise ``Refused`` if its place is closed."""
        ask = Ask(
            number=number,
            country=phone.region(number),
            home=phone.is_home(number, self._config.numbers),
            holder=holder,
            zone=zone,
            price=price,
        )
        gates = self._store.gates()
        by_hand = [closed for place, (closed, _) in gates.items() if phone.is_in(number, place)]
        if any(by_hand) or (not carrier and any(self._collapsed(ask, gates))):
            raise Refused(Reason.COUNTRY_CLOSED)
        return ask

    def settle(self, challenge: Challenge) -> None:
        """Give back what a text was set aside for and did not cost."""
        spare = challenge.price - self._store.cost(challenge.id)
        if spare > 0 and self.limits().money:
            self._store.give_back([limits.money(self.limits(), spare)], challenge.created_at)

    def _collapsed(self, ask: Ask, gates: dict[str, tuple[bool, float]]) -> Iterator[bool]:
        yield self.is_collapsed("prefix", limits.prefix(ask.number), gates)
        # At home a stranger's unanswered texts would close the portal for everybody: there the
        # operator is told instead.
        if not ask.home:
            yield self.is_collapsed("country", ask.country, gates)

    def is_collapsed(self, by: str, place: str, gates: dict[str, tuple[bool, float]]) -> bool:
        """Tell whether codes sent to a country or prefix do not come back."""
        settings, now = self.limits(), self._clock()
        reopened = gates.get(place, (False, 0.0))[1]
        # Texts of the last minutes are not judged yet: their guests are still typing.  Programs may
        # ask for codes that are good for longer than guests'.
        longest = LONGEST_CODE if self._config.applications else self._config.otp.lifetime
        before = now - longest
        seen = self._store.conversion(by, place, max(now - DAY, reopened), before)
        return _is_low(seen, settings)

    def now(self) -> float:
        return self._clock()

    # For the operator --------------------------------------------------------------------

    def conversions(self, by: str) -> list[tuple[str, Conversion]]:
        """Return the conversions of the last 24 hours by country, prefix, provider or carrier."""
        now = self._clock()
        return list(self._store.conversions(by, now - DAY, now))

    def budget(self) -> dict[str, Any]:
        """Return what was sent and spent in the running day, and what may be."""
        settings, used = self.limits(), self._store.used(self._clock())
        return {
            "texts": used.get("texts", 0),
            "texts_limit": settings.texts,
            "texts_hour": used.get("texts-hour", 0),
            "texts_hour_limit": settings.texts_per_hour,
            "money": used.get("money", 0) / MILLION,
            "money_limit": settings.money or None,
        }

    def set_limit(self, name: str, value: str | None) -> None:
        """Change a limit until further notice; ``None`` goes back to the settings."""
        most = read_limit(name, value)
        self._store.set_limit(name, most)
        log.info("event=limit_set name=%s most=%s", name, most)

    def set_gate(self, place: str, closed: bool) -> None:
        """Close a country or prefix, or open it and judge its conversion afresh."""
        phone.check_place(place)
        self._store.set_gate(place, closed, self._clock())
        log.info("event=gate_set place=%s closed=%s", place, closed)

    def closed(self) -> list[dict[str, Any]]:
        """Return the places that texts do not go to now, and why."""
        gates = self._store.gates()
        rows = [{"place": place, "why": "by hand"} for place, (shut, _) in gates.items() if shut]
        for by in ("country", "prefix"):
            for place, _ in self.conversions(by):
                home = by == "country" and phone.is_at_home(place, self._config.numbers)
                if not home and self.is_collapsed(by, place, gates):
                    rows.append({"place": place, "why": "its codes do not come back"})
        return rows

    def alarms(self) -> Iterator[Alarm]:
        """Yield what the operator should act on."""
        for way in self._routes.ways:
            rests_for = way.breaker.outcome
            if rests_for is not None and way.route.enabled:
                try_it = f"portalctl sms test --provider {way.name} +NUMBER"
                cure = _CURES.get(rests_for, _LOOK).format(try_it=try_it)
                state = "rests" if way.breaker.wait() else "may be tried again, after"
                yield Alarm(f"provider {way.name} {state}: {rests_for}", cure)
        budget = self.budget()
        for what, limit in (("texts", "texts_limit"), ("money", "money_limit")):
            most = budget[limit]
            if most and budget[what] >= WARN_AT * most:
                cure = f"look at: portalctl sms log; raise it with: portalctl sms limits --set {what}=…"
                yield Alarm(f"{what} of the day: {budget[what]:g} of {most:g} used", cure)
        for row in self.closed():
            if row["why"] != "by hand":
                cure = f"if that is wrong: portalctl sms limits --open {row['place']}"
                yield Alarm(f"{row['place']} is closed: {row['why']}", cure)
        home = self._config.numbers.country
        for place, (shut, _) in self._store.gates().items():
            if shut and place in (home, phone.calling_code(home)):
                cure = f"if that is wrong: portalctl sms limits --open {place}"
                yield Alarm(f"{place}, your own country, is closed by hand", cure)
        if self.is_collapsed("country", home, self._store.gates()):
            yield Alarm(f"few codes come back from {home}, your own country", _LOOK)


# Annotations are text here, as ``from __future__ import annotations`` leaves them.
_NUMBERS = {field.name: field for field in dataclasses.fields(Limits) if field.type in ("int", "float")}
_WHOLE = {name for name, field in _NUMBERS.items() if field.type == "int"}


def read_limit(name: str, value: str | None) -> float | None:
    """Return a limit as it was typed; raise ``ConfigError`` if there is none such or it cannot be."""
    if name not in _NUMBERS:
        raise ConfigError(f"{name}: no such limit; known: {', '.join(_NUMBERS)}")
    if value is None:
        return None
    low, high = _NUMBERS[name].metadata["low"], _NUMBERS[name].metadata["high"] or 1_000_000
    try:
        most = int(value) if name in _WHOLE else float(value)
    except ValueError:
        raise ConfigError(f"{name}: expected a number, got {value!r}") from None
    if not low <= most <= high:
        raise ConfigError(f"{name}: from {low} to {high}, got {value}")
    return most


_LOOK = "see what it said: portalctl sms log"
_CURES = {
    Outcome.NO_CREDIT: "top up the account",
    Outcome.AUTHENTICATION: "set its key or password anew, then restart portald",
    Outcome.CONFIGURATION: "try it: {try_it}; then mend its settings, and restart portald",
}


def _is_low(seen: Conversion, settings: Limits) -> bool:
    if not settings.conversion or seen.sent < settings.conversion_after:
        return False
    return seen.verified * 100 < settings.conversion * seen.sent

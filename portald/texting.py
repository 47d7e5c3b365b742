"""What an operator sees and does about texts: providers, a trial, the log, limits, budget, previews."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from portald import limits, otp, phone
from portald.config import Config, Limits
from portald.display import summary
from portald.errors import ConfigError, Refused, SmsError
from portald.limits import MILLION
from portald.model import Kind, Order, Outcome
from portald.purse import Purse, read_limit
from portald.schema import Secret
from portald.sms.routes import Routes, Way
from portald.store import Store
from portald.texts import Texts


class Texting:
    """One method for each ``portalctl sms`` command; all return what JSON can hold."""

    def __init__(self, config: Config, store: Store, routes: Routes, purse: Purse, texts: Texts) -> None:
        self._config = config
        self._store = store
        self._routes = routes
        self._purse = purse
        self._texts = texts

    def providers(self) -> list[dict[str, Any]]:
        """Return every provider with its settings, secrets left out, and how it fares."""
        seen = dict(self._purse.conversions("provider"))
        rows = []
        for way in self._routes.ways:
            conversion = seen.get(way.name)
            rows.append(
                {
                    "name": way.name,
                    "type": way.kind,
                    "enabled": way.route.enabled,
                    "state": _state(way),
                    "wait": round(way.breaker.wait()),
                    "only": list(way.route.only),
                    "priority": way.route.priority,
                    "cost": way.route.cost,
                    "costs": way.route.costs,
                    "note": way.route.note,
                    "sent": conversion.sent if conversion else 0,
                    "verified": conversion.verified if conversion else 0,
                    "settings": shown(way.provider),
                    "warnings": warnings(way),
                }
            )
        return rows

    def test(self, typed: str, provider: str | None = None, carrier: str = "") -> dict[str, Any]:
        """Send a code to a number of the operator's by one provider and tell what it answered.

        It passes limits and rest: whoever asks is trusted, and wants to know.
        """
        try:
            number = phone.read(typed, dataclasses.replace(self._config.numbers, allowed=()))
        except Refused as refused:
            raise ConfigError(f"{typed}: {refused.reason.value.replace('_', ' ')}") from None
        ways = [
            w
            for w in self._routes.ways
            if w.route.enabled and w.serves(number) and w.by_carrier is bool(carrier)
        ]
        way = self._routes.way(provider) if provider else next(iter(ways), None)
        if way is None:
            known = ", ".join(way.name for way in self._routes.ways)
            raise ConfigError(f"no provider {provider or 'serves this number'}; there are: {known}")
        if way.by_carrier and carrier not in way.provider.carriers:
            known = ", ".join(sorted(way.provider.carriers))
            raise ConfigError(f"{way.name} needs the number's carrier: --carrier KEY; there are: {known}")
        order = Order(0, number, self._config.otp.policy, carrier=carrier)
        begun = time.monotonic()
        answer: dict[str, Any] = {"provider": way.name, "number": phone.mask(number)}
        try:
            sent = self._routes.start_by(way, order)
        except SmsError as error:
            answer |= {"outcome": error.outcome, "words": error.words, "retry_after": error.retry_after}
            answer |= {"error": "sms_provider_error", "error_description": summary(error.words)}
        else:
            answer |= {"outcome": Outcome.ACCEPTED, "words": "", "message": sent.message}
        answer["seconds"] = round(time.monotonic() - begun, 2)
        return answer

    def log(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return the latest attempts, newest first."""
        return [
            {
                "at": row.at,
                "number": phone.mask(row.attempt.number),
                "country": row.attempt.country,
                "provider": row.attempt.provider,
                "carrier": row.attempt.carrier or None,
                "outcome": row.attempt.outcome,
                "delivered": row.delivered,
                "verified": row.verified,
                "parts": row.attempt.parts,
                "cost": row.attempt.cost / MILLION,
                "words": row.attempt.words or row.delivery_words or None,
            }
            for row in self._store.logged(limit)
        ]

    def limits(self) -> dict[str, Any]:
        """Return every limit with its setting, the places that are closed, and conversions."""
        in_force, changed = self._purse.limits(), self._store.limits()
        used = self._store.used(self._purse.now())
        rows = [
            {
                "name": field.name,
                "most": getattr(in_force, field.name),
                "fullest": limits.fullest(used, field.name) if field.name in limits.COUNTED else None,
                "setting": getattr(self._config.limits, field.name),
                "changed": field.name in changed,
                "help": field.metadata["help"],
            }
            for field in dataclasses.fields(Limits)
            if field.name != "guesses_free"
        ]
        conversions = {
            by: [
                {by: value, "sent": c.sent, "verified": c.verified}
                for value, c in self._purse.conversions(by)
            ]
            for by in ("country", "prefix", "provider", "carrier")
        }
        return {"limits": rows, "closed": self._purse.closed(), "conversion": conversions}

    def budget(self) -> dict[str, Any]:
        return self._purse.budget()

    def change(
        self,
        most: Mapping[str, str | None],
        opened: Sequence[str],
        closed: Sequence[str],
        forgotten: Sequence[str],
    ) -> int:
        """Change limits, open and close places, start counts afresh: all of it, or nothing.

        Returns how many counts started afresh; raises ``ConfigError`` for what cannot be.
        """
        for name, value in most.items():
            read_limit(name, value)
        for place in (*opened, *closed):
            phone.check_place(place)
        endings = [self._whose(which) for which in forgotten]
        for name, value in most.items():
            self._purse.set_limit(name, value)
        for place in opened:
            self._purse.set_gate(place, closed=False)
        for place in closed:
            self._purse.set_gate(place, closed=True)
        return sum(map(self._store.forget_quotas, endings))

    def _whose(self, which: str) -> str:
        """Return a device's or a number's name in the counts."""
        if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", which, re.IGNORECASE):
            return which.lower()
        try:
            return phone.read(which, dataclasses.replace(self._config.numbers, allowed=()))
        except Refused as refused:
            reason = refused.reason.value.replace("_", " ")
            raise ConfigError(f"{which}: neither a whole MAC nor a number ({reason})") from None

    def previews(self) -> list[dict[str, Any]]:
        """Return every template as a guest would get it, with its parts."""
        return [
            {
                "for": preview.when,
                "text": preview.text,
                "encoding": preview.size.encoding,
                "units": preview.size.units,
                "parts": preview.size.parts,
            }
            for preview in self._texts.previews()
        ]

    def alarms(self) -> list[dict[str, str]]:
        return [dataclasses.asdict(alarm) for alarm in self._purse.alarms()]


def shown(provider: Any) -> dict[str, Any]:
    """Return a provider's settings without what is secret: what ``repr`` hides is not shown."""
    return {
        field.name: _as_json(value)
        for field in dataclasses.fields(provider)
        if field.init and field.repr and (value := getattr(provider, field.name)) not in (None, "", (), {})
    }


def _as_json(value: Any) -> Any:
    """Return a setting as JSON has it; a secret says only that it is set."""
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, Mapping):
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_as_json(inner) for inner in value]
    if dataclasses.is_dataclass(value):
        return shown(value)
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    # Some providers want their key in the query.
    return re.sub(r"\?.*", "?…", text, flags=re.DOTALL) if text.startswith("http") else text


def warnings(way: Way) -> list[str]:
    """Return what works and is not wise about a provider's settings."""
    return list(way.provider.warnings()) if hasattr(way.provider, "warnings") else []


_CALLED = {Kind.NUMBERS: "digits", Kind.LETTERS: "letters", Kind.ALPHANUMERIC: "letters and digits"}


def weak(config: Config) -> list[str]:
    """Return what works and is not wise about the codes."""
    policy, found = config.otp.policy, []
    if config.otp.mode == "format_only":
        found.append("numbers are not proven: anybody can claim any number")
    if otp.bits(policy) < 19:
        found.append(
            f"a code of {policy.length} {_CALLED[policy.kind]} can be guessed: NIST asks for 20 bits"
        )
    if policy.lifetime > 600:
        found.append("a code lives longer than 10 minutes, which NIST SP 800-63B does not allow")
    return found


def _state(way: Way) -> str:
    if not way.route.enabled:
        return "off"
    return f"rests: {way.breaker.outcome}" if way.breaker.outcome and way.breaker.wait() else "ready"

"""What operators arrange while guests are online: plans, groups, accounts, devices.

Every change holds for sessions that are live from the next round on, which it wakes; whoever is
blocked is cut at once.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from portald import passwords, phone, plan
from portald.config import Config
from portald.door import Door
from portald.errors import ConfigError, Conflict, Refused
from portald.model import Account, Alarm, End, Session, Sort
from portald.plan import Plan, Proof
from portald.ports import Clock
from portald.store import Store
from portald.store.accounts import Device, Group
from portald.store.consents import Agreed

log = logging.getLogger(__name__)

_NAME = re.compile(r"[\w][\w .+@:-]{0,63}")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_OURS = re.compile(r"(?:voucher \d+-|guest )\d+|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)
"""Names that portald gives: accounts of vouchers, of the staff's guests and of devices."""
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
MOST_ROWS = 100_000


class Arranging:
    """All raise ``ConfigError`` with what is wrong; then nothing has changed."""

    def __init__(
        self,
        config: Config,
        store: Store,
        door: Door,
        clock: Clock,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._store = store
        self._door = door
        self._clock = clock
        self._wake = wake

    # Plans and groups -----------------------------------------------------------------------

    def plans(self) -> dict[str, Plan]:
        return self._store.plans()

    def set_plan(self, name: str, changes: Mapping[str, Any]) -> Plan:
        """Make a plan or change some of it; an empty value makes that unlimited again."""
        _named(name)
        known = self._store.plans().get(name)
        made = plan.read(name, {**(known.as_table() if known else {}), **changes})
        if unknown := set(made.providers) - {
            table.get("name") or table["type"] for table in self._config.sms
        }:
            raise ConfigError(f"providers: there is none called {', '.join(sorted(unknown))}")
        self._store.set_plan(made)
        log.info("event=plan_set plan=%s", name)
        self._wake()
        return made

    def delete_plan(self, name: str) -> bool:
        with _kept(f"plan {name}: a group has it; see: portalctl groups"):
            return self._store.delete_plan(name)

    def groups(self) -> list[Group]:
        return self._store.groups()

    def set_group(self, name: str, plan: str | None = None, note: str | None = None) -> Group:
        _named(name)
        known = next((group for group in self._store.groups() if group.name == name), None)
        chosen = plan or (known.plan if known else "unlimited")
        if chosen not in self._store.plans():
            raise ConfigError(f"there is no plan {chosen!r}; make it: portalctl plans set {chosen} …")
        self._store.set_group(name, chosen, note if note is not None else (known.note if known else ""))
        log.info("event=group_set group=%s plan=%s", name, chosen)
        self._wake()
        return next(group for group in self._store.groups() if group.name == name)

    def delete_group(self, name: str) -> bool:
        """Delete a group nobody is in; without the group ``SMS`` nobody is offered e-mail-to-SMS."""
        if any(zone.group == name for zone in self._config.zones) and name != "SMS":
            raise ConfigError(f"group {name}: a zone of the settings leads to it")
        with _kept(
            f"group {name}: accounts, vouchers or devices are in it; see: portalctl accounts list {name}"
        ):
            return self._store.delete_group(name)

    def alarms(self) -> Iterator[Alarm]:
        """Yield why new guests of a network cannot come in, whatever they type."""
        groups = {group.name for group in self._store.groups()}
        mails = any(table["type"] == "mailbox" and table.get("enabled", True) for table in self._config.sms)
        for zone in self._config.zones:
            if zone.group not in groups:
                text = f"no new guest of {zone.name} is let in: there is no group {zone.group}"
                yield Alarm(text, f"portalctl groups set {zone.group} --plan …")
                continue
            found = self._store.plan_of_group(zone.group)
            if found is not None and found.proof is Proof.EMAIL and not mails:
                text = f"no new guest of {zone.name} gets a code: nothing sends the e-mails of its plan"
                yield Alarm(text, 'add a provider of type = "mailbox" to the settings, or change the proof')

    # Accounts -------------------------------------------------------------------------------

    def accounts(self, search: str = "", limit: int = 1000) -> list[Account]:
        return self._store.accounts(search, limit)

    def account(self, name: str) -> Account:
        """Return the account with a name, number or address."""
        found = self._find(name)
        if found is None:
            raise ConfigError(f"there is no account {name!r}; see: portalctl accounts")
        return found

    def _find(self, name: str) -> Account | None:
        """Return the account that an operator names as people write it."""
        plain = name.strip()
        ways = (plain, self._as_number(plain), plain.lower() if "@" in plain else "")
        return next((found for way in ways if way and (found := self._store.account_named(way))), None)

    def set_account(self, name: str, changes: Mapping[str, Any]) -> Account:
        """Make an account or change some of it; see ``set_accounts`` for what may be."""
        known = self._find(name)
        self.set_accounts([{"name": known.name if known else name, **changes}])
        return self.account(known.name if known else name)

    def set_accounts(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Make or change accounts, all or none; return how many there were.

        A row has a name (a user's, a number or a mail address), and any of group, number, email,
        password (in the clear or sealed, empty for none), blocked, expires_at (epoch seconds), note.
        """
        if len(rows) > MOST_ROWS:
            raise ConfigError(f"at most {MOST_ROWS} rows at a time")
        problems: list[str] = []
        made = []
        for position, row in enumerate(rows, start=1):
            try:
                made.append(self._read(row))
            except (ConfigError, Refused) as error:
                problems.append(f"row {position}: {error}" if len(rows) > 1 else str(error))
        if problems:
            raise ConfigError(problems)
        with _kept("a number or mail address is another account's, or there is no such group"):
            self._store.set_accounts(made, self._clock())
        self._cut_blocked({row["name"] for row in made if row.get("blocked")})
        log.info("event=accounts_set count=%d", len(made))
        self._wake()
        return len(made)

    def delete_account(self, name: str) -> bool:
        """Delete an account, its sessions' records included; who is online is cut."""
        account = self.account(name)
        live = [s.id for s in self._store.live_sessions() if s.account.id == account.id]
        self._door.end(dict.fromkeys(live, End.REVOKED))
        return self._store.delete_account(account.id)

    def _read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        known = {"name", "group", "number", "email", "password", "blocked", "expires_at", "note"}
        if unknown := set(row) - known:
            raise ConfigError(
                f"{', '.join(sorted(unknown))}: no such field; known: {', '.join(sorted(known))}"
            )
        name = str(row.get("name", "")).strip()
        found: dict[str, Any] = {key: value for key, value in row.items() if value is not None}
        number, email = self._as_number(name), name.lower() if "@" in name else ""
        found["name"], found["sort"] = name, Sort.USER
        if number:
            found |= {"name": number, "sort": Sort.NUMBER, "number": number}
        elif email:
            found |= {"name": email, "sort": Sort.EMAIL, "email": email}
        else:
            _named(name)
            if _OURS.fullmatch(name) and self._store.account_named(name) is None:
                raise ConfigError(f"{name!r} cannot be a name: portald names accounts of its own so")
        if number and row.get("number") and self._as_number(str(row["number"])) != number:
            raise ConfigError(f"number: {name} is one already; delete the account and make it anew")
        if row.get("number"):
            found["number"] = self._as_number(str(row["number"]))
            if not found["number"]:
                raise ConfigError(f"number: {row['number']!r} is no telephone number; write it with +")
        elif "number" in row and not number:
            found["number"] = None
        if row.get("email"):
            found["email"] = str(row["email"]).strip().lower()
            if not _ADDRESS.fullmatch(found["email"]):
                raise ConfigError(f"email: {row['email']!r} is no e-mail address")
        elif "email" in row and not email:
            found["email"] = None
        if "password" in row:
            found["password"] = _sealed(str(row["password"]))
        if "group" in found and not self._store.has_group(str(found["group"])):
            raise ConfigError(f"there is no group {found['group']!r}; make it: portalctl groups set …")
        if "blocked" in found:
            found["blocked"] = bool(found["blocked"])
        if "expires_at" in row:
            found["expires_at"] = moment(row["expires_at"]) if row["expires_at"] else None
        return found

    def _as_number(self, text: str) -> str:
        if not re.fullmatch(r"[+\d][\d ()/.-]{5,24}", text.strip()):
            return ""
        anywhere = replace(self._config.numbers, allowed=(), types=tuple(phone.TYPES))
        try:
            return phone.read(text, anywhere)
        except Refused:
            return ""

    def _cut_blocked(self, names: set[str]) -> None:
        live = [s.id for s in self._store.live_sessions() if s.account.name in names]
        self._door.end(dict.fromkeys(live, End.BLOCKED))

    # Devices --------------------------------------------------------------------------------

    def devices(self) -> list[Device]:
        return self._store.devices()

    def trust(self, mac: str, group: str = "", zone: str = "", note: str = "") -> Device:
        """Let a device online without a login, for as long as it is trusted."""
        if group and not self._store.has_group(group):
            raise ConfigError(f"there is no group {group!r}; see: portalctl groups")
        if zone and zone not in {each.name for each in self._config.zones}:
            raise ConfigError(f"there is no zone {zone!r} in the settings")
        return self._judge(mac, "trusted", group or None, zone, note)

    def block(self, mac: str, note: str = "") -> Device:
        """Cut a device and let it in no more."""
        device = self._judge(mac, "blocked", None, "", note)
        live = [s.id for s in self._store.live_sessions() if s.mac == device.mac]
        self._door.end(dict.fromkeys(live, End.BLOCKED))
        return device

    def forget_device(self, mac: str) -> bool:
        """Treat a device like any other again; one that was trusted is cut."""
        mac = _mac(mac)
        known = self._store.device(mac)
        if not self._store.delete_device(mac):
            return False
        if known is not None and known.verdict == "trusted":
            live = [
                s.id for s in self._store.live_sessions() if s.mac == mac and s.account.sort is Sort.DEVICE
            ]
            self._door.end(dict.fromkeys(live, End.REVOKED))
        return True

    def _judge(self, mac: str, verdict: str, group: str | None, zone: str, note: str) -> Device:
        device = Device(_mac(mac), verdict, group, zone, note, self._clock())
        self._store.set_device(device)
        log.info("event=device_set mac=%s verdict=%s", device.mac, verdict)
        self._wake()
        return device

    # Sessions -------------------------------------------------------------------------------

    def extend(self, session_id: int, seconds: int) -> Session | None:
        """Give a live session more time than its plan does, or less; ``None`` if there is none.

        The session returned ends when it does now, by whichever limit comes first.
        """
        if not self._store.extend(session_id, seconds):
            return None
        log.info("event=session_extended session=%d seconds=%d", session_id, seconds)
        self._wake()
        session = self._store.session(session_id)
        if session is None:
            return None
        terms = self._door.grant(session, self._store.plans(), self._clock())[1]
        return replace(session, expires_at=terms.expires_at)

    def history(self, by: str, since: str, until: str, search: str = "") -> list[dict[str, Any]]:
        """Return what was used between two days by account, client, zone or day."""
        for day in (since, until):
            if not _is_day(day):
                raise ConfigError(f"expected a day such as 2026-05-31, got {day!r}")
        if since > until:
            raise ConfigError(f"{since} is after {until}")
        if by not in ("account", "client", "zone", "day"):
            raise ConfigError(f"by: expected account, client, zone or day, got {by!r}")
        self._store.count_running(self._clock())
        return self._store.history(by, since, until, search)

    def seen(self) -> None:
        """Stop the alarm about a loss of the database: the operator knows."""
        self._store.set_fact("lost", None)

    def consents(self, mac: str = "", limit: int = 1000) -> list[Agreed]:
        """Return which device agreed to which words, newest first."""
        return self._store.consents(limit, _mac(mac) if mac else "")

    def who_had(self, address: str, at: float) -> list[Session]:
        """Return the sessions that had an address at a time: what the law may ask for."""
        return self._store.had_address(address, at)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


class _kept:
    """Turn a broken reference into words."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Conflict):
            raise ConfigError(self._words) from error


def _named(name: str) -> None:
    if not _NAME.fullmatch(name) or name != name.strip():
        raise ConfigError(
            f"{name!r} cannot be a name: letters, digits, spaces and . _ + @ : - only, up to 64,"
            " a letter or digit first"
        )


def moment(given: Any) -> float:
    """Return epoch seconds; raise ``ConfigError`` for what is no time: a round reckons with it."""
    try:
        at = float(given)
    except (TypeError, ValueError, OverflowError):
        at = math.nan
    if not 0 <= at < 2**40:
        raise ConfigError(f"expected a time in epoch seconds, got {given!r}")
    return at


def _mac(text: str) -> str:
    mac = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        raise ConfigError(f"expected a device's MAC such as 02:00:5e:10:00:01, got {text!r}")
    return mac


def _sealed(password: str) -> str | None:
    if not password:
        return None
    if passwords.is_sealed(password):
        return password
    try:
        passwords.check(password)
    except Refused:
        raise ConfigError(
            f"password: from {passwords.SHORTEST} to {passwords.LONGEST} characters, and not an easy one"
        ) from None
    return passwords.seal(password)

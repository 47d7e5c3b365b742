"""The nouns of portald: client, grant, usage, account, session, challenge."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FIRST_SESSION = 256
"""Session numbers are kernel marks: 1 to 255 are left to other programs on the gateway."""
LAST_SESSION = 2**30 - 1
"""Bits 30 and 31 of the mark are reserved for policies."""


class End(StrEnum):
    """Why a session ended."""

    EXPIRED = "expired"
    """Its time was over."""
    TIME_USED = "time_used"
    VOLUME_USED = "volume_used"
    CLOSED = "closed"
    """The hours of its plan were over."""
    IDLE = "idle"
    LEFT = "left"
    REVOKED = "revoked"
    BLOCKED = "blocked"
    REPLACED = "replaced"
    """By a new login of the device, or by another device of the account."""
    LOST = "lost"
    """The database was lost, and the kernel held it no more."""


class Sort(StrEnum):
    """What an account is the account of."""

    NUMBER = "number"
    EMAIL = "email"
    USER = "user"
    """A name with a password, made by the operator."""
    VOUCHER = "voucher"
    DEVICE = "device"
    """A device that needs no login, or whose guest proves nothing."""
    GUEST = "guest"
    """Somebody the staff has let in."""


class Purpose(StrEnum):
    """What a right code is good for."""

    ENTER = "enter"
    SECOND = "second"
    """The second step after a password."""
    RESET = "reset"
    """A new password."""


class State(StrEnum):
    """How far a challenge has come; the last three are final."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    USED = "used"
    REPLACED = "replaced"
    EXPIRED = "expired"
    """Too old, and its application was told so; others are just found to be too old."""


class Outcome(StrEnum):
    """What became of a text that a provider was asked to carry."""

    ACCEPTED = "accepted"
    INVALID_NUMBER = "invalid_number"
    BLOCKED_BY_RECIPIENT = "blocked_by_recipient"
    REGION_NOT_ALLOWED = "region_not_allowed"
    NO_CREDIT = "no_credit"
    AUTHENTICATION = "authentication"
    CONFIGURATION = "configuration"
    THROTTLED = "throttled"
    TEMPORARY = "temporary"
    UNKNOWN = "unknown"
    """No usable answer: the text may have been sent, so nobody may send it again unasked."""


@dataclass(frozen=True, slots=True)
class Client:
    """A device as the kernel knows it: the MAC is from its neighbour table, never from a request."""

    mac: str
    ip: str
    zone: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes from (``up``) and to (``down``) a client."""

    up: int = 0
    down: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """Kilobits per second; ``None`` is as fast as the line."""

    up: int | None = None
    down: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What the kernel shall hold for a session: the device, where it is, and what it may use.

    IPv6 addresses are given too, but most kernels need none: they know the device by its MAC.
    """

    session: int
    zone: str
    mac: str
    addresses: frozenset[str]
    seconds: int
    """Until the kernel ends access by itself."""
    counted: Usage = Usage()
    """Where the counters begin, if the kernel has none for the session."""
    rate: Rate = Rate()
    left: int | None = None
    """Bytes, of both directions together, until the kernel closes by itself; ``None`` is never."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the kernel does hold for a session."""

    session: int
    zone: str
    mac: str
    addresses: frozenset[str]
    """IPv4 addresses."""
    seconds: int
    usage: Usage
    """All bytes of the session so far."""
    rate: Rate = Rate()
    left: int | None = None
    ipv6: frozenset[str] | None = None
    """IPv6 addresses, or ``None`` where the device is known by its MAC alone."""
    complete: bool = True
    """False if a part of it is missing, or too much is there."""
    open: bool = True
    """False if it has been removed and only its counters are left."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom sessions are counted for: a proven number or address, a name with a password, a voucher."""

    id: int
    name: str
    """Unique: the number (E.164), the address, the user's name, ``voucher 3-12``, a MAC."""
    group: str
    sort: Sort = Sort.NUMBER
    number: str = ""
    """E.164, for codes."""
    email: str = ""
    has_password: bool = False
    blocked: bool = False
    expires_at: float | None = None
    note: str = ""
    created_at: float = 0.0
    verified_at: float | None = None
    kept: bool = False
    """Made by the operator, and never deleted because nobody used it."""


@dataclass(frozen=True, slots=True)
class Session:
    """One client online under one account; times are epoch seconds."""

    id: int
    account: Account
    plan: str
    zone: str
    mac: str
    addresses: frozenset[str]
    started_at: float
    expires_at: float | None
    granted_at: float | None
    """When the kernel was first seen to hold the grant; ``None`` while that is still to come."""
    ended_at: float | None
    end: End | None
    usage: Usage
    verified: bool = True
    """Whether somebody proved who it is; false where only the form was looked at."""
    active_at: float = 0.0
    """When its device was last seen to send."""
    extra: int = 0
    """Seconds that it has more than its plan gives: what the operator added, less what was used of a
    session that it goes on with."""
    until: float | None = None
    """The end of a window in which a guest may fetch the code from a mailbox; ``None`` for all others."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Seconds online and bytes in both directions."""

    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What an account has used in the running day, week and month."""

    day: Tally = Tally()
    week: Tally = Tally()
    month: Tally = Tally()


class Kind(StrEnum):
    """What a code is made of; letters that look like digits or like one another are left out."""

    NUMBERS = "numbers"
    LETTERS = "letters"
    ALPHANUMERIC = "alphanumeric"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a code looks like, how many seconds it is good for, how many guesses it allows."""

    kind: Kind = Kind.NUMBERS
    length: int = 6
    lifetime: int = 300
    attempts: int = 5


@dataclass(frozen=True, slots=True)
class Order:
    """A code that somebody asked for, with what is known of who asked."""

    challenge: int
    to: str
    """E.164."""
    policy: Policy = Policy()
    language: str = ""
    """A language tag (RFC 5646) such as ``de`` or ``pt-BR``, as the guest's browser prefers it."""
    ip: str = ""
    agent: str = ""
    carrier: str = ""
    """The guest's mobile network, if the text shall go there by e-mail."""
    sender: str = ""
    """Replaces the provider's sender, if not empty."""
    template: str = ""
    """Replaces the text of the settings, if not empty."""
    on_portal: bool = True
    """Whether the code is typed on the portal's own page, and not in another program."""
    replaces: str = ""
    """The handle of the code sent to this number before, which nobody needs any more."""
    providers: tuple[str, ...] = ()
    """Only these may bring it, if any are named."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An order before it is one: for whom it is, and what it is counted under."""

    order: Order
    holder: str
    """Who may answer: the MAC of a device, or the id that an application is given."""
    zone: str
    application: str = ""
    callback: str = ""
    purpose: Purpose = Purpose.ENTER
    account: int | None = None
    """Whose code it is, where that is known beforehand."""
    decoy: bool = False
    """Nobody gets a text: who asks must not learn from that whether there is such an account."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A code on its way: its verifier's handle for it, never the code, and what it looks like."""

    reference: str
    policy: Policy
    message: str = ""
    """The provider's name for the text, to ask for its delivery."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text for a provider to carry.  ``code`` is in ``body`` too; neither may reach a log."""

    to: str
    """E.164."""
    body: str
    code: str = ""
    lifetime: int = 300
    """Seconds after which it is of no use."""
    language: str = ""
    ip: str = ""
    agent: str = ""
    carrier: str = ""
    sender: str = ""
    """Replaces the provider's sender, if not empty."""
    reference: str = ""
    """Our own name for it, for providers that keep one."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One provider asked to carry one challenge's text."""

    challenge: int
    provider: str
    number: str
    country: str
    outcome: Outcome
    words: str = ""
    """What it said, masked."""
    message: str = ""
    """Its name for the text, to ask for its delivery."""
    carrier: str = ""
    parts: int = 1
    cost: int = 0
    """Millionths of the operator's currency, for all parts."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An attempt as it is kept, with what became of it."""

    at: float
    attempt: Attempt
    delivered: bool | None
    delivery_words: str
    verified: bool


@dataclass(frozen=True, slots=True)
class Conversion:
    """How many numbers were sent codes, and from how many a right one came back."""

    sent: int = 0
    verified: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider says later about a text it took: ``delivered`` is ``None`` while undecided."""

    message: str
    delivered: bool | None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One verification in progress: a code sent to ``number`` that only its holder may answer."""

    id: int
    number: str
    holder: str
    """The MAC of a device, or the id that an application was given."""
    zone: str
    state: State
    policy: Policy
    reference: str | None
    """The verifier's own handle for the code; never the code."""
    outcome: Outcome | None
    words: str | None
    """What the provider said, masked, for the operator."""
    attempts: int
    created_at: float
    expires_at: float
    carrier: str = ""
    price: int = 0
    """What was set aside for its text, in millionths of the currency."""
    application: str = ""
    callback: str = ""
    delivered: bool | None = None
    """What the provider knows of the text's arrival."""
    purpose: Purpose = Purpose.ENTER
    account: int | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something the operator should act on, and what can be done."""

    text: str
    cure: str

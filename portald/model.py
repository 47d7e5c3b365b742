"""The nouns of portald: client, grant, usage, plan, account, session, challenge."""

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
    LEFT = "left"
    REVOKED = "revoked"
    REPLACED = "replaced"


class State(StrEnum):
    """How far a challenge has come; ``USED`` and ``REPLACED`` are final."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    USED = "used"
    REPLACED = "replaced"


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
class Grant:
    """What the kernel shall hold for a session: the device, its IPv4 addresses, seconds to live.

    IPv6 needs no addresses: the device is recognised by its MAC alone.
    """

    session: int
    mac: str
    addresses: frozenset[str]
    seconds: int


@dataclass(frozen=True, slots=True)
class Held:
    """What the kernel does hold for a session; ``complete`` is false if a part of it is missing."""

    session: int
    mac: str
    addresses: frozenset[str]
    seconds: int
    usage: Usage
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What a group may use; ``None`` is unlimited."""

    name: str
    minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A verified telephone number (E.164) and the group it belongs to."""

    id: int
    number: str
    group: str


@dataclass(frozen=True, slots=True)
class Session:
    """One client online under one account; times are epoch seconds."""

    id: int
    account: Account
    plan: Plan
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


@dataclass(frozen=True, slots=True)
class Challenge:
    """One verification in progress: a code sent to ``number`` that only ``mac`` may answer."""

    id: int
    number: str
    mac: str
    state: State
    reference: str | None
    """The verifier's own handle for the code; never the code."""
    outcome: Outcome | None
    words: str | None
    """What the provider said, masked, for the operator."""
    attempts: int
    created_at: float
    expires_at: float

"""Every exception that some caller answers differently.

PortaldError
├── ConfigError       the operator: what is wrong in which key; do not start
├── Refused           the guest: a reason with a page of its own, and when to try again
├── SmsError          a text was not carried: its outcome says what to do next
├── Forged            a report on a text that is not the provider's
├── StoreError        the database could not be read or written; nothing of the change was kept
│   └── Conflict      a name is taken, or something still refers to it
└── FirewallError     the kernel does not do what was asked; the next round repairs it
    └── RulesMissing  somebody removed or changed the ruleset: set it up again
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from portald.model import Outcome


class Reason(StrEnum):
    """Why a guest is refused; each has its sentence in ``templates/guest/words.html``."""

    NUMBER_UNREADABLE = "number_unreadable"
    NUMBER_INVALID = "number_invalid"
    NUMBER_NOT_MOBILE = "number_not_mobile"
    COUNTRY_CLOSED = "country_closed"
    COUNTRY_BUSY = "country_busy"
    CARRIER_CLOSED = "carrier_closed"
    TOO_SOON = "too_soon"
    SEVERAL_TEXTS = "several_texts"
    TOO_MANY_TEXTS = "too_many_texts"
    CODE_INCOMPLETE = "code_incomplete"
    CODE_WRONG = "code_wrong"
    CODE_EXPIRED = "code_expired"
    TOO_MANY_GUESSES = "too_many_guesses"
    GUESSES_USED_UP = "guesses_used_up"
    NO_CHALLENGE = "no_challenge"
    CLIENT_UNKNOWN = "client_unknown"
    GROUP_CLOSED = "group_closed"
    BLOCKED = "blocked"
    ACCOUNT_EXPIRED = "account_expired"
    CLOSED = "closed"
    AGAIN_LATER = "again_later"
    TIME_USED = "time_used"
    VOLUME_USED = "volume_used"
    DEVICES_FULL = "devices_full"
    WAY_CLOSED = "way_closed"
    EMAIL_INVALID = "email_invalid"
    PASSWORD_WRONG = "password_wrong"  # noqa: S105, a word for the guest
    PASSWORD_WEAK = "password_weak"  # noqa: S105
    PASSWORD_OLD = "password_old"  # noqa: S105
    VOUCHER_WRONG = "voucher_wrong"
    VOUCHER_USED = "voucher_used"
    BUSY = "busy"
    FORM_STALE = "form_stale"
    NOT_AGREED = "not_agreed"


class PortaldError(Exception):
    """The root of all of them."""


class ConfigError(PortaldError):
    """The settings cannot be used; carries every problem found, one line each."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class Refused(PortaldError):
    """A guest's request is refused; ``retry_after`` is in seconds, 0 where waiting does not help."""

    def __init__(self, reason: Reason, retry_after: float = 0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason.value)


class SmsError(PortaldError):
    """A provider did not take a text; ``words`` are its own, already masked.

    ``reference`` is that of the code, where the text may arrive all the same.  ``of_number`` says
    that only this text or its number is concerned: other guests' texts are no worse for it.
    ``vague`` says that it may be so: nothing but a status like 400 tells, and many gateways answer
    that for a number they do not like.
    """

    def __init__(
        self,
        outcome: Outcome,
        words: str,
        retry_after: float = 0,
        reference: str | None = None,
        of_number: bool = False,
        vague: bool = False,
    ) -> None:
        self.outcome = outcome
        self.words = words
        self.retry_after = retry_after
        self.reference = reference
        self.of_number = of_number
        self.vague = vague
        super().__init__(f"{outcome}: {words}")

    def retold(self, words: str, reference: str | None) -> SmsError:
        """Return the same with other words and another reference."""
        return SmsError(self.outcome, words, self.retry_after, reference, self.of_number, self.vague)


class Forged(PortaldError):
    """A request that claims to be a provider's report and is not proven to be."""


class StoreError(PortaldError):
    """The database refused; ``damaged`` if its file is not what was written into it."""

    def __init__(self, words: str, damaged: bool = False) -> None:
        self.damaged = damaged
        super().__init__(words)


class Conflict(StoreError):
    """What is to be kept or deleted contradicts what else is kept; nothing was changed."""


class FirewallError(PortaldError):
    """The kernel or the helper refused or could not be reached."""


class RulesMissing(FirewallError):
    """The ruleset in the kernel is not the one that was set up."""

"""Vouchers: batches of codes that let devices in without a telephone.

A code is computed from the key, its batch and its serial number, so that a batch can be printed
again and the database holds nothing that a thief could type.
"""

from __future__ import annotations

import hashlib
import hmac
import logging

from portald import limits
from portald.config import Limits
from portald.door import Door
from portald.errors import ConfigError, Reason, Refused
from portald.model import Client, Session
from portald.ports import Clock
from portald.store import Store
from portald.store.entries import Batch

log = logging.getLogger(__name__)

# Without 0, O, 1, I, L and U: read from paper, they are mistaken, or make words.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 10
MOST = 5000
"""Vouchers in a batch."""


class Vouchers:
    """For operators: batches; for guests: ``redeem``."""

    def __init__(self, store: Store, door: Door, clock: Clock, key: bytes, guesses: Limits) -> None:
        self._store = store
        self._door = door
        self._clock = clock
        self._key = key
        self._guesses = guesses

    def make(
        self,
        group: str,
        count: int,
        uses: int = 1,
        lasts: int | None = None,
        expires_at: float | None = None,
        note: str = "",
    ) -> Batch:
        """Make a batch; raise ``ConfigError`` if it cannot be."""
        if not self._store.has_group(group):
            raise ConfigError(f"there is no group {group!r}; see: portalctl groups")
        if not 1 <= count <= MOST or not 1 <= uses <= 1000:
            raise ConfigError(f"from 1 to {MOST} vouchers, each for 1 to 1000 devices")
        if expires_at is not None and expires_at <= self._clock():
            raise ConfigError("nobody could use them: they would have expired already")
        batch = self._store.add_batch(group, uses, lasts, expires_at, note, self._clock())
        hashes = [self._sealed(self.code(batch, serial)) for serial in range(1, count + 1)]
        self._store.fill_batch(batch, hashes)
        log.info("event=vouchers_made batch=%d count=%d group=%s", batch, count, group)
        return next(found for found in self._store.batches() if found.id == batch)

    def batches(self) -> list[Batch]:
        return self._store.batches()

    def codes(self, batch: Batch) -> list[str]:
        """Return a batch's codes as they are printed: ``23456-ABCDE``."""
        return [written(self.code(batch.id, serial)) for serial in range(1, batch.count + 1)]

    def withdraw(self, batch: int) -> bool:
        return self._store.withdraw_batch(batch)

    def redeem(self, client: Client, typed: str) -> Session:
        """Let a client in by a voucher; raise ``Refused`` if it is none, or used up."""
        code = read(typed)
        self._count_guess(client)
        return self._door.let_in(lambda now: self._store.redeem(self._sealed(code), client, now))

    def code(self, batch: int, serial: int) -> str:
        """Return the code of one voucher: 49 bits that nobody can guess without the key."""
        made = hmac.new(self._key, f"voucher\0{batch}\0{serial}".encode(), hashlib.sha256).digest()
        number, code = int.from_bytes(made, "big"), ""
        for _ in range(LENGTH):
            number, digit = divmod(number, len(ALPHABET))
            code += ALPHABET[digit]
        return code

    def _count_guess(self, client: Client) -> None:
        self._store.spend(limits.for_guess(self._guesses, client.mac, ""), self._clock())

    def _sealed(self, code: str) -> str:
        return hmac.new(self._key, b"voucher-code\0" + code.encode(), hashlib.sha256).hexdigest()


def read(typed: str) -> str:
    """Return a typed code without what people put in between; raise ``Refused`` if it is none."""
    code = "".join(c for c in typed[:64].upper() if c.isalnum())
    if len(code) != LENGTH or not set(code) <= set(ALPHABET):
        raise Refused(Reason.VOUCHER_WRONG)
    return code


def written(code: str) -> str:
    return f"{code[:5]}-{code[5:]}"

"""Passwords and PINs: kept as scrypt (RFC 7914), compared in constant time, one at a time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from portald.errors import Reason, Refused

SHORTEST = 6
LONGEST = 128
WRONG = 10
"""Wrong passwords in a row after which only a code opens the account again, if one can be sent."""
_N, _R, _P = 2**14, 8, 5
"""16 MB and a fraction of a second (OWASP, Password Storage Cheat Sheet)."""
_one_at_a_time = threading.Lock()
"""Memory for one is set aside, not for a crowd of guesses."""
_places = threading.BoundedSemaphore(4)
"""Guests who wait for that: each holds a thread that another guest's page needs."""

_SEALED = re.compile(rf"scrypt:{_N}:{_R}:{_P}:[0-9a-f]{{32}}:[0-9a-f]{{128}}")
_TOO_EASY = {"123456", "654321", "111222", "123123", "112233", "password", "qwerty", "qwertz", "abcdef"}


@contextmanager
def room() -> Iterator[None]:
    """Hold one of few places for what takes so long; raise ``Refused`` if none is free."""
    if not _places.acquire(blocking=False):
        raise Refused(Reason.BUSY, retry_after=2)
    try:
        yield
    finally:
        _places.release()


def check(password: str) -> None:
    """Raise ``Refused`` unless a password may be chosen."""
    plain = password.casefold()
    easy = plain in _TOO_EASY or len(set(plain)) < 3 or plain in "01234567890123456789"
    if not SHORTEST <= len(password) <= LONGEST or easy:
        raise Refused(Reason.PASSWORD_WEAK)


def seal(password: str) -> str:
    """Return what is kept of a password."""
    salt = secrets.token_hex(16)
    return f"scrypt:{_N}:{_R}:{_P}:{salt}:{_derive(password, salt, _N, _R, _P)}"


def is_sealed(text: str) -> bool:
    """Tell whether a text is what ``seal`` returns."""
    return _SEALED.fullmatch(text) is not None


def opens(sealed: str, password: str) -> bool:
    """Tell whether a password is the sealed one."""
    _, n, r, p, salt, expected = sealed.split(":")
    found = _derive(password[:LONGEST], salt, int(n), int(r), int(p))
    return hmac.compare_digest(found, expected)


def _derive(password: str, salt: str, n: int, r: int, p: int) -> str:
    with _one_at_a_time:
        made = hashlib.scrypt(
            password.encode("utf-8", "replace"), salt=bytes.fromhex(salt), n=n, r=r, p=p, maxmem=64 * 2**20
        )
    return made.hex()


NOBODY = "scrypt:16384:8:5:" + "00" * 16 + ":" + "00" * 64
"""Compared with where there is no such account: that must take as long."""

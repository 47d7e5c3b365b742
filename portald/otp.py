"""One-time codes: made, kept only as a keyed hash, read as people type them, compared."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata


def new_code(digits: int) -> str:
    """Return ``digits`` random digits from the system's generator."""
    return "".join(secrets.choice("0123456789") for _ in range(digits))


def read_code(typed: str) -> str:
    """Return what was typed as plain digits: other scripts' digits count, separators do not."""
    digits = (unicodedata.decimal(character, None) for character in typed[:64])
    return "".join(str(digit) for digit in digits if digit is not None)


def seal(key: bytes, to: str, code: str) -> str:
    """Return a reference that proves the code for ``to`` without holding it.

    Without the key, which is kept outside the database, a stolen reference tells nothing.
    """
    nonce = secrets.token_hex(8)
    return f"{nonce}:{_digest(key, nonce, to, code)}"


def opens(key: bytes, reference: str, to: str, code: str) -> bool:
    """Tell, in constant time, whether ``code`` is the one sealed in ``reference`` for ``to``."""
    nonce, _, digest = reference.partition(":")
    return hmac.compare_digest(digest, _digest(key, nonce, to, code))


def _digest(key: bytes, nonce: str, to: str, code: str) -> str:
    return hmac.new(key, f"{nonce}\0{to}\0{code}".encode(), hashlib.sha256).hexdigest()

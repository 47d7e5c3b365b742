"""One-time codes: made, kept only as a keyed hash, read as people type them, compared."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import unicodedata

from portald.model import Kind, Policy

# Without O and 0, I, L and 1: read from one screen and typed on another, they are mistaken.
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ"
_CAPITALS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
ALPHABETS = {
    Kind.NUMBERS: "0123456789",
    Kind.LETTERS: _LETTERS,
    Kind.ALPHANUMERIC: _LETTERS + "23456789",
}


def new_code(policy: Policy) -> str:
    """Return a code from the system's generator."""
    return "".join(secrets.choice(ALPHABETS[policy.kind]) for _ in range(policy.length))


def read_code(typed: str, kind: Kind = Kind.NUMBERS) -> str:
    """Return what was typed as plain digits and capitals.

    Other scripts' digits count, separators do not, and letters only where codes have some.
    """
    code = []
    for character in typed[:64]:
        digit = unicodedata.decimal(character, None)
        letter = unicodedata.normalize("NFKC", character).upper()
        if digit is not None:
            code.append(str(digit))
        elif kind is not Kind.NUMBERS and character.isalpha() and letter in _CAPITALS:
            code.append(letter)
    return "".join(code)


def bits(policy: Policy) -> float:
    """Return the entropy of a code; NIST SP 800-63B asks for 20 bits."""
    return policy.length * math.log2(len(ALPHABETS[policy.kind]))


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

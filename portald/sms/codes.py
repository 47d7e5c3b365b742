"""Our own codes over any sender: made here, sent as a text, kept only as a keyed hash."""

from __future__ import annotations

from portald import otp
from portald.config import Otp
from portald.errors import SmsError
from portald.model import Outcome
from portald.phone import mask_all
from portald.ports import Sender


class Codes:
    """A verifier that needs no provider to judge a code."""

    def __init__(self, sender: Sender, key: bytes, settings: Otp, venue: str) -> None:
        self._sender = sender
        self._key = key
        self._settings = settings
        self._venue = venue

    def start(self, to: str) -> str:
        code = otp.new_code(self._settings.digits)
        reference = otp.seal(self._key, to, code)
        try:
            self._sender.send(to, self.text(code))
        except SmsError as error:
            # Providers like to quote what they refuse.
            words = error.words.replace(code, "…")
            raise SmsError(error.outcome, words, error.retry_after, reference) from None
        except Exception as error:
            # A provider from elsewhere may raise anything, and quote the text in it.
            words = f"{type(error).__name__}: {error}".replace(code, "…")
            raise SmsError(Outcome.UNKNOWN, mask_all(words), reference=reference) from None
        return reference

    def check(self, reference: str, to: str, code: str) -> bool:
        return otp.opens(self._key, reference, to, code)

    def text(self, code: str) -> str:
        """Return the text for a code."""
        minutes = max(1, self._settings.lifetime // 60)
        return self._settings.text.format(code=code, name=self._venue, minutes=minutes)

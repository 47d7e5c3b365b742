"""Our own codes over any sender: made here, sent as a text, kept only as a keyed hash."""

from __future__ import annotations

import re

from portald import otp
from portald.errors import SmsError
from portald.model import Order, Outcome, Sent, Text
from portald.phone import mask_all
from portald.ports import Sender
from portald.texts import Texts


class Codes:
    """A verifier that needs no provider to judge a code."""

    def __init__(self, sender: Sender, key: bytes, texts: Texts) -> None:
        self._sender = sender
        self._key = key
        self._texts = texts

    def start(self, order: Order) -> Sent:
        code = otp.new_code(order.policy)
        reference = otp.seal(self._key, order.to, code)
        text = Text(
            to=order.to,
            body=self._texts.text(order, code),
            code=code,
            lifetime=order.policy.lifetime,
            language=order.language,
            ip=order.ip,
            agent=order.agent,
            carrier=order.carrier,
            sender=order.sender,
            reference=str(order.challenge),
        )
        try:
            message = self._sender.send(text)
        except SmsError as error:
            # Providers like to quote what they refuse.
            words = _without(text, error.words)
            raise error.retold(words, reference) from None
        except Exception as error:
            # A provider from elsewhere may raise anything, and quote the text in it.
            words = _without(text, mask_all(f"{type(error).__name__}: {error}"))
            raise SmsError(Outcome.UNKNOWN, words, reference=reference) from None
        return Sent(reference, order.policy, message)

    def check(self, reference: str, to: str, code: str) -> bool:
        return otp.opens(self._key, reference, to, code)


def _without(text: Text, words: str) -> str:
    """Return a provider's words without the code and whatever digits the text has besides."""
    for secret in {text.code, *re.findall(r"\d{4,}", text.body)}:
        words = words.replace(secret, "…") if secret else words
    return words

"""Vonage: requests with a secret or a signature, encodings, and signed delivery receipts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from portald.errors import ConfigError, Forged, SmsError
from portald.model import Report
from portald.schema import Secret, build
from portald.sms import tokens
from portald.sms.vonage import METHODS, Vonage
from tests.sms.conftest import Provider
from tests.sms.tables import TEXT, TOKEN, text
from tests.sms.tables.vonage import make, parts
from tests.sms.wire import basic, form, only, write

# Vonage's own: the tests of its SDK for Python.
VECTOR = {"a": "1", "b": "2", "timestamp": "1461605396"}
SIGNATURES = {
    "md5hash": "6af838ef94998832dbfc29020b564830",
    "md5": "c15c21ced558c93a226c305f58f902f2",
    "sha1": "3e19a4e6880fdc2c1426bfd0587c98b9532f0210",
    "sha256": "a321e824b9b816be7c3f28859a31749a098713d39f613c80d455bbaffae1cd24",
    "sha512": "812a18f76680fa0fe1b8bd9ee1625466ceb1bd96242e4d050d2cfd9a7b40166c"
    "63ed26ec9702168781b6edcf1633db8ff95af9341701004eec3fcf9550572ee8",
}
URL = "https://wifi.example/reports/vonage"


def signer(method: str = "md5hash", secret: str = "secret") -> Vonage:
    return Vonage(
        api_key="abcd1234", signature_secret=Secret(secret), signature_method=method, sender="Lobby"
    )


# The request ---------------------------------------------------------------------------------


def test_request(provider: Provider) -> None:
    provider.say(200, parts("0"))
    assert make(provider.url).send(text(reference="17")) == "0A0"
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/sms/json")
    assert request.headers["Authorization"] == basic("abcd1234", TOKEN)
    assert form(request) == {
        "from": "Lobby",
        "to": "14155552671",
        "text": TEXT,
        "ttl": "300000",
        "client-ref": "17",
    }


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("für 5 €: 1234 [Ok]", None),
        ("Ñandu ¿1234?", None),
        ("kod: 1234 ł", "unicode"),
        ("ç 1234", "unicode"),
    ],
)
def test_encoding(provider: Provider, body: str, kind: str | None) -> None:
    provider.say(200, parts("0"))
    make(provider.url).send(text(body=body))
    sent = form(only(provider))
    assert (sent["text"], sent.get("type")) == (body, kind)


@pytest.mark.parametrize(("lifetime", "ttl"), [(5, "20000"), (20, "20000"), (600, "600000")])
def test_lifetime(provider: Provider, lifetime: int, ttl: str) -> None:
    provider.say(200, parts("0"))
    make(provider.url).send(text(lifetime=lifetime))
    assert form(only(provider))["ttl"] == ttl


def test_sender_and_callback(provider: Provider) -> None:
    provider.say(200, parts("0"))
    replace(make(provider.url), status_callback=URL).send(text(sender="Bar"))
    sent = form(only(provider))
    assert (sent["from"], sent["callback"]) == ("Bar", URL)


@pytest.mark.parametrize("method", METHODS)
def test_signed_request(provider: Provider, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "now", lambda: 1_700_000_000)
    provider.say(200, parts("0"))
    account = replace(signer(method), url=provider.url)
    account.send(text(body="1234 & =", reference="17"))
    request = only(provider)
    sent = form(request)
    given = sent.pop("sig")
    assert "Authorization" not in request.headers
    assert sent == {
        "api_key": "abcd1234",
        "client-ref": "17",
        "from": "Lobby",
        "text": "1234 & =",
        "timestamp": "1700000000",
        "to": "14155552671",
        "ttl": "300000",
    }
    assert given == account._sign({**sent, "text": "1234 _ _"})


def test_a_signed_request_does_not_tell_how_it_was_signed(provider: Provider) -> None:
    provider.say(200, parts("14"))
    account = replace(signer(secret=TOKEN), url=provider.url)

    def behave(handler: Any) -> None:
        said = form(provider.requests[-1])
        write(handler, 200, parts("14").replace('"no"', json.dumps(f"{said['sig']} {TOKEN}")))

    provider.behave = behave
    with pytest.raises(SmsError) as caught:
        account.send(text())
    assert form(only(provider))["sig"] not in caught.value.words
    assert TOKEN not in caught.value.words


def test_a_secret_is_preferred_to_signing(provider: Provider) -> None:
    provider.say(200, parts("0"))
    replace(make(provider.url), signature_secret=Secret("secret")).send(text())
    request = only(provider)
    assert request.headers["Authorization"] == basic("abcd1234", TOKEN)
    assert "sig" not in form(request)


def test_a_demo_account_is_explained(provider: Provider) -> None:
    provider.say(200, parts("29"))
    with pytest.raises(SmsError, match="a demo account may text only numbers on its list"):
        make(provider.url).send(text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"api_secret": None}, "api_secret: missing"),
        ({"signature_method": "sha3"}, "signature_method: expected md5hash or md5"),
        ({"status_callback": "https://wifi.example/" + "a" * 80}, "status_callback: .* 100 characters"),
        ({"sender": None}, "sender: missing"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], words: str) -> None:
    table = {"api_key": "abcd1234", "api_secret": "s", "sender": "Lobby"} | change
    with pytest.raises(ConfigError, match=words):
        build(Vonage, {name: value for name, value in table.items() if value is not None})


def test_repr_hides_the_secrets() -> None:
    assert TOKEN not in repr(replace(make("https://rest.example"), signature_secret=Secret(TOKEN)))


# Receipts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_published_signatures(method: str) -> None:
    assert signer(method)._sign(VECTOR) == SIGNATURES[method]
    for spelt in (str.lower, str.upper):
        query = urlencode({**VECTOR, "sig": spelt(SIGNATURES[method])})
        assert signer(method).reports(f"{URL}?{query}", {}, b"") == []


RECEIPT = {
    "msisdn": "14155552671", "to": "Lobby", "network-code": "12345", "messageId": "0A0000001234567B",
    "price": "0.03330000", "status": "delivered", "scts": "2001011400", "err-code": "0",
    "api-key": "abcd1234", "client-ref": "17 & = ö", "message-timestamp": "2026-11-20 10:00:00",
    "timestamp": "1795168800", "nonce": "ec11dd3e-1e7f-4db5-9467-82b02cd223b9",
}  # fmt: skip


def signed(**change: str) -> dict[str, str]:
    receipt = {**RECEIPT, **change}
    return {**receipt, "sig": signer("sha256")._sign(receipt)}


def as_query(receipt: Any) -> tuple[str, dict[str, str], bytes]:
    return f"{URL}?{urlencode(receipt)}", {}, b""


def as_form(receipt: Any) -> tuple[str, dict[str, str], bytes]:
    return URL, {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(receipt).encode()


def as_json(receipt: Any) -> tuple[str, dict[str, str], bytes]:
    body = dict(receipt)
    body["timestamp"] = int(body["timestamp"])  # Vonage writes it without quotation marks
    return URL, {"content-type": "application/json; charset=utf-8"}, json.dumps(body).encode()


every_form = pytest.mark.parametrize("shape", [as_query, as_form, as_json])


@every_form
@pytest.mark.parametrize(
    ("status", "code", "delivered", "words"),
    [
        ("delivered", "0", True, ""),
        ("accepted", "0", None, ""),
        ("buffered", "0", None, ""),
        ("unknown", "99", None, ""),
        ("of a new kind", "0", None, ""),
        ("failed", "2", False, "failed: the phone is off or without signal"),
        ("rejected", "6", False, "rejected: filtered as spam by the network"),
        ("expired", "99", False, "expired: error 99"),
    ],
)
def test_a_receipt(shape: Any, status: str, code: str, delivered: bool | None, words: str) -> None:
    found = signer("sha256").reports(*shape(signed(status=status, **{"err-code": code})))
    assert found == [Report("0A0000001234567B", delivered, words)]


@every_form
@pytest.mark.parametrize(
    "change",
    [
        {"status": "failed"},
        {"messageId": "0B"},
        {"sig": ""},
        {"sig": "é"},
        {"sig": "0" * 64},
        {"one": "more"},
    ],
    ids=str,
)
def test_a_forged_receipt(shape: Any, change: dict[str, str]) -> None:
    with pytest.raises(Forged):
        signer("sha256").reports(*shape({**signed(), **change}))


@every_form
def test_a_receipt_that_is_not_proven(shape: Any) -> None:
    with pytest.raises(Forged):
        signer("sha256").reports(*shape(RECEIPT))
    with pytest.raises(Forged):
        signer("sha256", "another").reports(*shape(signed()))
    with pytest.raises(Forged):
        signer("md5hash").reports(*shape(signed()))
    with pytest.raises(Forged, match="signature_secret is not set"):
        make("https://rest.example").reports(*shape(signed()))


def test_a_parameter_that_is_there_twice() -> None:
    url, headers, body = as_form(signed())
    with pytest.raises(Forged, match="twice"):
        signer("sha256").reports(url, headers, body + b"&status=failed")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"[]"),
        ("application/json", b"{"),
        ("application/json", b"[" * 60_000),
        ("application/json", b"\xff"),
        ("application/json", b""),
        ("application/x-www-form-urlencoded", b"\xff"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(200))),
        ("", b"plain"),
    ],
)
def test_what_is_no_receipt(kind: str, body: bytes) -> None:
    with pytest.raises(Forged):
        signer().reports(URL, {"Content-Type": kind}, body)

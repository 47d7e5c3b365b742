"""Auth0: own SMS gateway."""

from __future__ import annotations

import base64
from typing import Any

import jwt
import pytest

from tests.conftest import NUMBER
from tests.seeds.conftest import AGENT, CUSTOM, PROGRAM, Check, Lab, Rows, code_in, wrong
from tests.sms.wire import basic, form, only, sent_json

ROWS = Rows()
OTHER = "+14155552672"
OTP = """
[otp]
text = "Your verification code is: @@password@@"
syntax = "macros"
length = 6
lifetime = 300
"""
GATEWAY = """
[[sms]]
name = "sms"
type = "sms_gateway"
gateway_url = "$URL/texts"
from = "+1 234 567"
"""
AUTHENTICATION = """
[sms.gateway_authentication]
method = "bearer"
subject = "urn:Auth0"
audience = "urn:MySmsGateway"
secret = "MySecretToSignTheToken"
"""
TWILIO = """
[[sms]]
name = "sms"
type = "twilio"
account_sid = "AC0123456789abcdef0123456789abcdef"
auth_token = "live-token"
from = "+1 234 567"
url = "$URL"
cost = 0.05
note = "since 2023"
"""


@pytest.mark.parametrize("check", ROWS)
def test_auth0(check: Check, lab: Lab) -> None:
    check(lab)


def code_of(lab: Lab) -> str:
    """Return the code of the latest text."""
    return code_in(sent_json(lab.provider.requests[-1])["body"])


@ROWS
def a1_twilio(lab: Lab) -> None:
    """Twilio carries texts by its account's SID and token, from a number of it."""
    lab.provider.say(201, '{"sid": "SM1"}')
    lab.guest(lab.make(OTP + TWILIO)).ask(NUMBER)
    request = only(lab.provider)
    assert request.path.endswith("/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json")
    assert request.headers["Authorization"] == basic("AC0123456789abcdef0123456789abcdef", "live-token")
    sent = form(request)
    assert (sent["To"], sent["From"]) == (NUMBER, "+1 234 567")
    assert sent["Body"].startswith("Your verification code is: ")


@ROWS
def a2_settings_can_be_read(lab: Lab) -> None:
    """The list of connections shows each with its settings, and no secret."""
    product = lab.make(OTP + TWILIO + GATEWAY.replace('"sms"', '"own"', 1) + AUTHENTICATION)
    first, second = rows = lab.ctl(product, "sms", "providers")
    assert (first["name"], first["type"], first["enabled"]) == ("sms", "twilio", True)
    assert first["settings"]["account_sid"] == "AC0123456789abcdef0123456789abcdef"
    assert first["settings"]["sender"] == "+1 234 567"
    assert (second["name"], second["type"]) == ("own", "sms_gateway")
    assert second["settings"]["gateway_url"] == f"{lab.provider.url}/texts"
    assert second["settings"]["gateway_authentication"]["audience"] == "urn:MySmsGateway"
    assert "live-token" not in str(rows)
    assert "MySecretToSignTheToken" not in str(rows)


@ROWS
def a3_settings_can_be_changed(lab: Lab) -> None:
    """Changing a connection changes what is named, and nothing else is lost."""
    before = lab.make(OTP + TWILIO)
    account = 'account_sid = "AC0123456789abcdef0123456789abcdef"\nauth_token = "live-token"\n'
    changed = TWILIO.replace('"twilio"', '"sms_gateway"').replace(account, "")
    after = lab.make(OTP + changed.replace('url = "$URL"', 'gateway_url = "$URL/texts"'))
    (old,), (new,) = (lab.ctl(product, "sms", "providers") for product in (before, after))
    assert (new["type"], new["settings"]["sender"]) == ("sms_gateway", "+1 234 567")
    for kept in ("name", "cost", "note", "only", "priority", "enabled"):
        assert new[kept] == old[kept]
    assert after.config.otp == before.config.otp
    lab.provider.say(200)
    lab.guest(after).ask(NUMBER)
    assert only(lab.provider).path == "/texts"


@ROWS
def a4_sms_gateway(lab: Lab) -> None:
    """The type sms_gateway sends to a gateway of one's own, and a guest gets online by it."""
    lab.provider.say(200)
    guest = lab.guest(lab.make(OTP + GATEWAY))
    guest.ask(NUMBER)
    assert "You are online" in guest.type(code_of(lab))


@ROWS
def a5_gateway_url(lab: Lab) -> None:
    """Requests go to gateway_url; whether it can be reached is tried out by a command."""
    lab.provider.say(200)
    product = lab.make(OTP + GATEWAY)
    assert lab.ctl(product, "sms", "test", NUMBER)["outcome"] == "accepted"
    request = only(lab.provider)
    assert (request.method, request.path) == ("POST", "/texts")
    away = lab.make(OTP + GATEWAY, "http://127.0.0.1:1")
    answer = lab.ctl(away, "sms", "test", NUMBER)
    assert answer["outcome"] == "temporary"
    assert "no connection" in answer["words"]
    assert "gateway_url: missing" in lab.refused('[[sms]]\ntype = "sms_gateway"\n')
    assert "gateway_url: expected http" in lab.refused(GATEWAY.replace("$URL", "sms.example"))


@ROWS
def a6_from(lab: Lab) -> None:
    """The sender has 1 to 128 characters and goes along as it is written."""
    lab.provider.say(200)
    lab.guest(lab.make(OTP + GATEWAY)).ask(NUMBER)
    assert sent_json(only(lab.provider))["sender"] == "+1 234 567"
    assert "expected 1 to 128" in lab.refused(GATEWAY.replace("+1 234 567", "1" * 129))


@ROWS
def a7_template(lab: Lab) -> None:
    """@@password@@ becomes the code; a template without it is refused."""
    lab.provider.say(200)
    product = lab.make(OTP + GATEWAY)
    guest = lab.guest(product)
    guest.ask(NUMBER)
    body = sent_json(only(lab.provider))["body"]
    assert body == f"Your verification code is: {code_in(body)}"
    named = OTP.replace("@@password@@", "@@code@@ for @@application.name@@")
    lab.guest(lab.make(named + GATEWAY), 12).ask(OTHER)
    assert sent_json(lab.provider.requests[-1])["body"].endswith(" for Lobby")
    assert "otp.text: " in lab.refused(OTP.replace("@@password@@", "@@passwort@@") + GATEWAY)
    assert "otp.text: the guest needs" in lab.refused(OTP.replace("@@password@@", "sent") + GATEWAY)


LIQUID = """
[otp]
syntax = "liquid"
text = '''{% if request_language contains 'fr-FR' %}Bienvenue : {{ password }}\
{% else %}{{ application.name }}: {{ code }} for {{ phone_number }} ({{ request_language }}){% endif %}'''
"""


@ROWS
def a8_syntax(lab: Lab) -> None:
    """Templates are of macros, or Liquid; each is checked as what it is."""
    lab.provider.say(200)
    lab.guest(lab.make(OTP.replace("macros", "md_with_macros") + GATEWAY)).ask(NUMBER)
    assert "@@" not in sent_json(lab.provider.requests[-1])["body"]
    liquid = OTP.replace("macros", "liquid").replace("@@password@@", "{{ password | append: '!' }}")
    lab.guest(lab.make(liquid + GATEWAY), 12).ask(OTHER)
    assert sent_json(lab.provider.requests[-1])["body"].endswith(f"{code_of(lab)}!")
    assert "otp.text: " in lab.refused(liquid.replace("liquid", "macros") + GATEWAY)
    assert "otp.text: line 1" in lab.refused(liquid.replace("Your", "{% if %}") + GATEWAY)
    assert "otp.syntax: expected macros or md_with_macros or liquid" in lab.refused(
        OTP.replace("macros", "jinja") + GATEWAY
    )


@ROWS
def a9_liquid_variables(lab: Lab) -> None:
    """Liquid knows password, code, phone_number, application.name and request_language."""
    lab.provider.say(200)
    product = lab.make(LIQUID + GATEWAY)
    lab.guest(product, Accept_Language="fr-FR").ask(NUMBER)
    assert sent_json(lab.provider.requests[-1])["body"] == f"Bienvenue : {code_of(lab)}"
    lab.guest(product, 12, Accept_Language="en-GB").ask(OTHER)
    body = sent_json(lab.provider.requests[-1])["body"]
    assert body == f"Lobby: {code_of(lab)} for {OTHER} (en-GB)"


@ROWS
def a10_language(lab: Lab) -> None:
    """The language is that of X-Request-Language, or else of Accept-Language."""
    lab.provider.say(200)
    product = lab.make(LIQUID + GATEWAY)
    headers: list[dict[str, str]] = [
        {"X_Request_Language": "fr-FR", "Accept_Language": "de"},
        {"Accept_Language": "fr-FR,fr;q=0.9,en;q=0.8"},
        {"X_Request_Language": "de", "Accept_Language": "fr-FR"},
    ]
    for device, asked in enumerate(headers, start=11):
        lab.guest(product, device, **asked).ask(f"+141555526{device}")
    french = [sent_json(request)["body"].startswith("Bienvenue") for request in lab.provider.requests]
    assert french == [True, True, False]


@ROWS
def a11_brute_force_protection(lab: Lab) -> None:
    """After so many wrong codes a device is shut out, over all codes; others and listed ones are not."""
    lab.provider.say(200)
    limits = '[limits]\nguesses_per_client = 4\nguesses_free = ["02:cc:00:00:00:0d"]\n'

    def guess(limits: str, device: int) -> str:
        """Type four wrong codes, over two texts, and then the right one."""
        guest = lab.guest(lab.make(OTP + "attempts = 3\n" + limits + GATEWAY), device)
        guest.ask(f"+141555526{device}")
        for _ in range(3):
            guest.type(wrong(code_of(lab)))
        lab.clock.move(61)
        guest.resend()
        guest.type(wrong(code_of(lab)))
        return guest.type(code_of(lab))

    assert "Too many codes were typed" in guess(limits, 11)
    lab.clock.move(3600)
    honest = lab.guest(lab.make(OTP + limits + GATEWAY), 12)
    honest.ask("+14155552612")
    assert "You are online" in honest.type(code_of(lab))
    assert "You are online" in guess(limits, 13)
    assert "You are online" in guess("[limits]\nguesses_per_client = 0\n", 14)


@ROWS
def a12_known_numbers_only(lab: Lab) -> None:
    """Only numbers of accounts that exist get a text, and the page tells nobody which those are."""
    lab.provider.say(200)
    zone = '[[zones]]\ninterface = "br-guest"\nnetworks = ["10.77.0.0/24"]\nknown_only = true\n'
    product = lab.make(OTP + GATEWAY + zone)
    lab.ctl(product, "accounts", "set", NUMBER, "group=SMS")
    known, stranger = lab.guest(product), lab.guest(product, 12)
    for guest, number in ((known, NUMBER), (stranger, OTHER)):
        assert "is known here, a code is on its way" in guest.ask(number)
    assert sent_json(only(lab.provider))["recipient"] == NUMBER
    assert "not the code we sent" in stranger.type("000000")
    assert "You are online" in known.type(code_of(lab))
    assert not stranger.online


@ROWS
def a13_forward_req_info(lab: Lab) -> None:
    """The guest's address and browser go along if that is wished for, written either way."""
    lab.provider.say(200)
    for device, wish in enumerate(('"true"', "true", '"false"', "false"), start=11):
        product = lab.make(OTP + GATEWAY + f"forward_req_info = {wish}\n")
        lab.guest(product, device).ask(f"+141555526{device}")
    text, plain, *without = (sent_json(request) for request in lab.provider.requests)
    assert text["req"] == {"ip": "10.77.0.11", "user-agent": AGENT}
    assert plain["req"] == {"ip": "10.77.0.12", "user-agent": AGENT}
    assert ["req" in body for body in without] == [False, False]


@ROWS
def a14_time_step_and_length(lab: Lab) -> None:
    """time_step is how long a code is good for, length its digits."""
    lab.provider.say(200)
    product = lab.make(OTP + GATEWAY)
    first, second = lab.guest(product), lab.guest(product, 12)
    first.ask(NUMBER)
    early = code_of(lab)
    second.ask(OTHER)
    late = code_of(lab)
    assert (len(early), early.isdecimal()) == (6, True)
    lab.clock.move(299)
    assert "You are online" in first.type(early)
    lab.clock.move(1)
    assert "code is too old" in second.type(late)
    assert not second.online


@ROWS
def a15_payload(lab: Lab) -> None:
    """The JSON is Auth0's to the letter, with and without req."""
    lab.provider.say(200)
    lab.guest(lab.make(OTP + GATEWAY)).ask(NUMBER)
    plain = sent_json(lab.provider.requests[-1])
    expected: dict[str, Any] = {
        "recipient": NUMBER,
        "body": f"Your verification code is: {code_of(lab)}",
        "sender": "+1 234 567",
    }
    assert plain == expected
    lab.guest(lab.make(OTP + GATEWAY + 'forward_req_info = "true"\n'), 12).ask(OTHER)
    expected |= {"recipient": OTHER, "body": f"Your verification code is: {code_of(lab)}"}
    expected["req"] = {"ip": "10.77.0.12", "user-agent": AGENT}
    assert sent_json(lab.provider.requests[-1]) == expected


@ROWS
def a16_only_the_status_counts(lab: Lab) -> None:
    """HTTP 200 is success whatever the body says, and nothing else is."""
    product = lab.make(OTP + GATEWAY)
    for body in ("", '{"error": "no"}', "<html>"):
        lab.provider.say(200, body)
        assert lab.ctl(product, "sms", "test", NUMBER)["outcome"] == "accepted"
    for status in (201, 202, 204, 302, 400, 404, 500):
        lab.provider.say(status, '{"sent": true}' if status != 204 else "")
        assert lab.ctl(product, "sms", "test", NUMBER)["error"] == "sms_provider_error"


@ROWS
def a17_error_answer(lab: Lab) -> None:
    """Another status becomes HTTP 400 with Auth0's two fields."""
    operator = lab.operator(lab.make(OTP + GATEWAY))
    for gateway in (201, 400, 404, 500, 503):
        lab.provider.say(gateway, "some words")
        status, data = operator.ask("POST", "/api/sms/test", {"number": NUMBER})
        assert (status, data["error"]) == (400, "sms_provider_error")
        expected = f"Unexpected response while calling the SMS gateway: {gateway}"
        assert data["error_description"] == expected


@ROWS
def a17_error_in_the_otp_api(lab: Lab) -> None:
    """A program finds the same two fields in what it is told of its code."""
    for gateway, number in ((404, NUMBER), (500, OTHER)):
        lab.provider.say(gateway)
        program = lab.program(lab.make(OTP + GATEWAY + PROGRAM))
        made = program.create(number)
        for data in (made, program.ask("GET", f"/otp/{made['otpId']}")[1]):
            assert data.get("error") == "sms_provider_error", gateway
            expected = f"Unexpected response while calling the SMS gateway: {gateway}"
            assert data["error_description"] == expected


@ROWS
def a18_not_authenticated(lab: Lab) -> None:
    """HTTP 401 has words of its own."""
    lab.provider.say(401, "who?")
    product = lab.make(OTP + GATEWAY + PROGRAM)
    expected = "Authentication failed while calling the SMS gateway: 401"
    status, data = lab.operator(product).ask("POST", "/api/sms/test", {"number": NUMBER})
    assert (status, data["error"], data["error_description"]) == (400, "sms_provider_error", expected)
    # The trial has laid the provider to rest, until its breaker lets one more try.
    lab.clock.move(3600)
    made = lab.program(product).create(NUMBER)
    assert (made["status"], made["error_description"]) == ("SEND_FAILED", expected)


@ROWS
def a19_error_is_the_contract(lab: Lab) -> None:
    """Whatever went wrong, programs find the same word in "error"; descriptions differ."""
    operator = lab.operator(lab.make(OTP + GATEWAY))
    found = set()
    descriptions = set()
    for gateway in (201, 401, 404, 429, 500):
        lab.provider.say(gateway)
        status, data = operator.ask("POST", "/api/sms/test", {"number": NUMBER})
        found.add((status, data["error"]))
        descriptions.add(data["error_description"])
    assert found == {(400, "sms_provider_error")}
    assert len(descriptions) == 5


@ROWS
def a20_timeout(lab: Lab) -> None:
    """A gateway that does not answer in time, at most 30 s, is an error with words of its own."""
    lab.provider.raw(b"", pause=5)
    operator = lab.operator(lab.make(OTP + GATEWAY + "timeout = 1\n"))
    status, data = operator.ask("POST", "/api/sms/test", {"number": NUMBER})
    assert (status, data["error"]) == (400, "sms_provider_error")
    assert data["error_description"].startswith("Timeout while calling the SMS gateway: ")
    lab.make(OTP + GATEWAY + "timeout = 30\n")
    assert "timeout: at most 30" in lab.refused(GATEWAY + "timeout = 31\n")


@ROWS
def a21_not_authenticated_by_default(lab: Lab) -> None:
    """Unless that is set, nothing proves a request."""
    lab.provider.say(200)
    lab.guest(lab.make(OTP + GATEWAY)).ask(NUMBER)
    assert "Authorization" not in only(lab.provider).headers


@ROWS
def a22_gateway_authentication(lab: Lab) -> None:
    """method, audience and secret are needed, the subject is not; lengths are Auth0's."""
    lab.provider.say(200)
    for name in ("method", "audience", "secret"):
        kept = "\n".join(line for line in AUTHENTICATION.splitlines() if not line.startswith(name))
        assert f"gateway_authentication.{name}: missing" in lab.refused(OTP + GATEWAY + kept)
    without = "\n".join(line for line in AUTHENTICATION.splitlines() if not line.startswith("subject"))
    lab.guest(lab.make(OTP + GATEWAY + without)).ask(NUMBER)
    assert only(lab.provider).headers["Authorization"].startswith("Bearer ")
    for word, most, name in (("urn:Auth0", 64, "subject"), ("urn:MySmsGateway", 128, "audience")):
        long = AUTHENTICATION.replace(word, "x" * (most + 1))
        assert f"gateway_authentication.{name}: expected 1 to {most}" in lab.refused(OTP + GATEWAY + long)
    basic_method = AUTHENTICATION.replace("bearer", "basic")
    assert "only bearer is known" in lab.refused(OTP + GATEWAY + basic_method)


def claims(lab: Lab, key: bytes) -> dict[str, Any]:
    """Return what the latest token says, checked as a gateway would."""
    scheme, _, token = lab.provider.requests[-1].headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    # PyJWT warns of short keys unless they are filled up with zeros, as HMAC does itself.
    found: dict[str, Any] = jwt.decode(token, key.ljust(32, b"\0"), ["HS256"], audience="urn:MySmsGateway")
    return found


@ROWS
def a23_token(lab: Lab) -> None:
    """The token names subject and audience and is signed with the secret."""
    lab.provider.say(200)
    lab.guest(lab.make(OTP + GATEWAY + AUTHENTICATION)).ask(NUMBER)
    found = claims(lab, b"MySecretToSignTheToken")
    assert (found["sub"], found["aud"]) == ("urn:Auth0", "urn:MySmsGateway")
    with pytest.raises(jwt.InvalidSignatureError):
        claims(lab, b"another")


@ROWS
def a24_secret_in_base64url(lab: Lab) -> None:
    """The secret may be written in base64url, which is said beside its table or in it."""
    lab.provider.say(200)
    key = b"\xfb\xff\xbf of both"
    coded = AUTHENTICATION.replace("MySecretToSignTheToken", base64.urlsafe_b64encode(key).decode())
    switch = "secret_base64_encoded = true\n"
    for device, text in enumerate((GATEWAY + switch + coded, GATEWAY + coded + switch), start=11):
        lab.guest(lab.make(OTP + text), device).ask(f"+141555526{device}")
        assert claims(lab, key)["sub"] == "urn:Auth0"
    assert "gateway_authentication.secret: cannot be used" in lab.refused(
        OTP + GATEWAY + switch + AUTHENTICATION.replace("MySecret", "My Secret!")
    )


@ROWS
def a25_name_and_clients(lab: Lab) -> None:
    """A connection has a name, can be switched off, and serves the listed programs only."""
    lab.provider.say(200)
    off = CUSTOM + "enabled = false\n"
    product = lab.make(OTP + off + GATEWAY + PROGRAM)
    states = [(row["name"], row["state"]) for row in lab.ctl(product, "sms", "providers")]
    assert states == [("custom", "off"), ("sms", "ready")]
    lab.program(product).create(NUMBER)
    assert only(lab.provider).path == "/texts"
    stranger = lab.operator(product)
    assert stranger.get_token("stranger", "a-secret-of-the-application").status_code == 401
    assert stranger.ask("POST", "/otp", {"to": OTHER})[0] == 401


@ROWS
def a26_rules_of_codes(lab: Lab) -> None:
    """Only the last code is good, once, for three attempts; and a client may ask for so many."""
    lab.provider.say(200)
    limits = "[limits]\ntexts_per_client = 50\ntexts_per_client_burst = 3\n"
    product = lab.make(OTP + "attempts = 3\n" + limits + GATEWAY)
    guest = lab.guest(product)
    guest.ask(NUMBER)
    first = code_of(lab)
    lab.clock.move(61)
    guest.resend()
    second = code_of(lab)
    assert "not the code we sent" in guest.type(first)
    assert "You are online" in guest.type(second)
    guest.post("/leave")
    assert "There is no code waiting" in guest.type(second)
    assert not guest.online
    lab.clock.move(200)
    guest.ask(NUMBER)
    third = code_of(lab)
    pages = [guest.type(wrong(third)) for _ in range(3)]
    assert "Too many wrong codes" in pages[-1]
    assert "Too many wrong codes" in guest.type(third)
    guest.post("/restart")
    assert "Several codes were asked for on this device" in guest.ask(OTHER)

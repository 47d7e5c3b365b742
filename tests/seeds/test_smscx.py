"""SMS.CX: OTP API, both ways: portald uses SMS.CX, and offers the venue's programs the same interface."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

import pytest

from tests.conftest import NUMBER
from tests.seeds.conftest import (
    CUSTOM,
    PROGRAM,
    SECRET,
    Check,
    Guest,
    Lab,
    Rows,
    code_in,
    text_of,
    wrong,
)
from tests.sms.wire import basic, form, only, sent_json

ROWS = Rows()
FRENCH = "+33612424199"
OTHER = "+14155552672"
ID = "f91536c1-2aff-43b4-b6fa-15e8ade52946"
ACCOUNT = """
[[sms]]
type = "smscx"
app_id = "A1"
app_secret = "the-secret-of-A1"
url = "$URL"
"""
TOKEN = (200, json.dumps({"access_token": "M2ZkOTcx", "expires_in": 86_400, "token_type": "Bearer"}))
CREATED = (201, json.dumps({"otpId": ID, "status": "PENDING"}))
VERIFIED = (200, json.dumps({"status": "VERIFIED"}))


@pytest.mark.parametrize("check", ROWS)
def test_smscx(check: Check, lab: Lab) -> None:
    check(lab)


def refusal(code: int) -> tuple[int, str]:
    return 400, json.dumps({"error": {"type": "x", "message": "x", "uri": "/otp", "code": code}})


def code_of(lab: Lab) -> str:
    """Return the code of the latest text of the custom gateway."""
    return code_in(text_of(lab.asked("POST /send")[-1]))


def by_smscx(lab: Lab, number: str = NUMBER) -> Guest:
    """Return a guest who has been sent a code by SMS.CX, which finds every code right."""
    lab.answers({"POST /oauth/token": TOKEN, f"POST /otp/{ID}": VERIFIED, "POST /otp": CREATED})
    guest = lab.guest(lab.make(ACCOUNT))
    assert "We sent it to" in guest.ask(number)
    return guest


@ROWS
def c1_application_id_and_secret(lab: Lab) -> None:
    """An application is known by its id and secret, and by nothing less."""
    product = lab.make(CUSTOM + PROGRAM)
    program = lab.operator(product)
    assert program.get_token("booking", SECRET).status_code == 200
    for name, secret in (("booking", "another"), ("nobody", SECRET), ("", "")):
        answer = program.get_token(name, secret)
        assert (answer.status_code, answer.json["error"]["type"]) == (401, "invalid_client")  # type: ignore[index]
    assert "secret: at least 16" in lab.refused(CUSTOM + PROGRAM.replace(SECRET, "short"))
    by_smscx(lab)
    (request,) = lab.asked("POST /oauth/token")
    assert request.headers["Authorization"] == basic("A1", "the-secret-of-A1")


@ROWS
def c2_default_settings(lab: Lab) -> None:
    """What a request leaves out is as in the settings."""
    lab.provider.say(200)
    otp = '[otp]\nlength = 8\nlifetime = 120\nattempts = 2\nkind = "letters"\ntext = "Shop: {{pin}}"\n'
    made = lab.program(lab.make(otp + CUSTOM + PROGRAM)).create(NUMBER)
    assert (made["ttl"], made["maxAttempts"]) == (120, 2)
    assert re.fullmatch("Shop: [A-Z]{8}", text_of(only(lab.provider)))


@ROWS
def c3_text_template(lab: Lab) -> None:
    """The text is the template with the code for {{pin}}, without which no template is taken."""
    lab.provider.say(200)
    otp = '[otp]\ntext = "{{pin}} opens the door, says {name}."\n'
    product = lab.make(otp + CUSTOM + PROGRAM)
    lab.guest(product).ask(NUMBER)
    assert re.fullmatch(r"\d{6} opens the door, says Lobby\.", text_of(only(lab.provider)))
    without = '[otp]\ntext = "Your code has been sent."\n'
    assert "otp.text: the guest needs {code} in it" in lab.refused(without + CUSTOM)
    status, data = lab.program(product).ask("POST", "/otp", {"to": OTHER, "template": "Hello"})
    assert (status, data["error"]["code"]) == (400, 2006)
    assert "needs {{pin}} in it" in lab.refused(ACCOUNT + 'template = "Hello"\n')


@ROWS
def c4_texts_by_prefix(lab: Lab) -> None:
    """The beginning of the number chooses the language; the longest one that fits."""
    lab.provider.say(200)
    otp = """
    [otp]
    text = "Code {{pin}}"
    texts_by_prefix = { "+33" = "Votre code : {{pin}}", "+336" = "Mobile : {{pin}}" }
    """
    product = lab.make(otp + CUSTOM)
    for device, number in enumerate(("+33751234567", FRENCH, NUMBER), start=11):
        lab.guest(product, device, Accept_Language="de").ask(number)
    words = [re.sub(r"\d+", "", text_of(request)) for request in lab.provider.requests]
    assert words == ["Votre code : ", "Mobile : ", "Code "]
    assert 'expected beginnings like "+33"' in lab.refused(otp.replace('"+33"', '"FR"') + CUSTOM)


@ROWS
def c5_originator(lab: Lab) -> None:
    """Texts come from the sender that is set, at SMS.CX and at any other gateway."""
    lab.answers({"POST /oauth/token": TOKEN, "POST /otp": CREATED, "POST /send": (200, "")})
    lab.guest(lab.make(ACCOUNT + 'from = "Verify"\n')).ask(NUMBER)
    assert sent_json(lab.asked("POST /otp")[0])["from"] == "Verify"
    custom = CUSTOM.replace("{ to", '{ orig = "{{from}}", to') + 'from = "Cafe"\n'
    lab.guest(lab.make(custom), 12).ask(OTHER)
    assert sent_json(lab.asked("POST /send")[0])["orig"] == "Cafe"
    assert "sender: expected 3 to 15 characters" in lab.refused(ACCOUNT + 'from = "ab"\n')


@ROWS
def c6_pin_type(lab: Lab) -> None:
    """Codes are of numbers, letters or both, and typed in any case."""
    lab.provider.say(200)
    limits = "[limits]\ntexts_per_prefix = 100\n"
    kinds = (("numbers", True, False), ("letters", False, True), ("alphanumeric", True, True))
    for device, (kind, digits, letters) in enumerate(kinds, start=11):
        otp = f'[otp]\nkind = "{kind}"\nlength = 10\ntext = "{{{{pin}}}}"\n'
        product = lab.make(otp + limits + CUSTOM + PROGRAM)
        guest = lab.guest(product, device)
        guest.ask(f"+141555526{device}")
        assert "You are online" in guest.type(text_of(lab.provider.requests[-1]).lower())
        lab.provider.requests.clear()
        for n in range(8):
            lab.program(product).create(f"+14155552{device}{n}", pinType=kind)
        codes = "".join(map(text_of, lab.provider.requests))
        assert re.fullmatch("[0-9A-Z]{80}", codes)
        assert bool(re.search("[0-9]", codes)) is digits
        assert bool(re.search("[A-Z]", codes)) is letters
    assert "otp.kind: expected numbers or letters" in lab.refused('[otp]\nkind = "emoji"\n' + CUSTOM)


@ROWS
def c7_pin_length(lab: Lab) -> None:
    """A code has 4 to 10 characters."""
    lab.provider.say(200)
    for device, length in enumerate((4, 10), start=11):
        product = lab.make(f'[otp]\nlength = {length}\ntext = "{{{{pin}}}}"\n' + CUSTOM)
        guest = lab.guest(product, device)
        guest.ask(f"+141555526{device}")
        code = text_of(lab.provider.requests[-1])
        assert len(code) == length
        assert "You are online" in guest.type(code)
    assert "otp.length: at least 4, got 3" in lab.refused("[otp]\nlength = 3\n" + CUSTOM)
    assert "otp.length: at most 10, got 11" in lab.refused("[otp]\nlength = 11\n" + CUSTOM)


@ROWS
def c8_pin_time_to_live(lab: Lab) -> None:
    """A code lives 1 to 30 minutes from the request; typed later, it is EXPIRED."""
    lab.provider.say(200)
    product = lab.make("[otp]\nlifetime = 60\n" + CUSTOM + PROGRAM)
    program, guest = lab.program(product), lab.guest(product)
    made = program.create(OTHER)
    code = code_of(lab)
    guest.ask(NUMBER)
    lab.clock.move(59)
    assert program.state(made) == "PENDING"
    lab.clock.move(1)
    assert program.state(made) == "EXPIRED"
    assert program.check(made, code) == (400, 2025)
    assert "code is too old" in guest.type(code_of(lab))
    assert not guest.online
    assert "otp.lifetime: at least 60, got 59" in lab.refused("[otp]\nlifetime = 59\n" + CUSTOM)
    assert "otp.lifetime: at most 1800, got 1801" in lab.refused("[otp]\nlifetime = 1801\n" + CUSTOM)
    lab.make("[otp]\nlifetime = 1800\n" + CUSTOM)


@ROWS
def c9_maximum_attempts(lab: Lab) -> None:
    """After 1 to 10 wrong codes it has FAILED, and the right one does not help any more."""
    lab.provider.say(200)
    product = lab.make("[otp]\nattempts = 2\n" + CUSTOM + PROGRAM)
    program, guest = lab.program(product), lab.guest(product)
    made = program.create(OTHER)
    code = code_of(lab)
    assert program.check(made, wrong(code)) == (400, 2029)
    assert program.check(made, wrong(code)) == (400, 2027)
    assert program.state(made) == "FAILED"
    assert program.check(made, code) == (400, 2026)
    guest.ask(NUMBER)
    code = code_of(lab)
    assert "1 try left" in guest.type(wrong(code))
    assert "Too many wrong codes" in guest.type(wrong(code))
    assert "Too many wrong codes" in guest.type(code)
    assert not guest.online
    assert "otp.attempts: at least 1, got 0" in lab.refused("[otp]\nattempts = 0\n" + CUSTOM)
    assert "otp.attempts: at most 10, got 11" in lab.refused("[otp]\nattempts = 11\n" + CUSTOM)


@ROWS
def c10_status_callback(lab: Lab) -> None:
    """The callback is told of every state, and can prove that portald tells."""
    lab.provider.say(200)
    product = lab.make(CUSTOM + PROGRAM)
    program = lab.program(product)
    url = f"{lab.provider.url}/receive-otp-status"
    made = program.create(NUMBER, otpCallbackUrl=url)
    assert made["otpCallbackUrl"] == url
    code = code_of(lab)
    lab.follow_up(product)
    assert program.check(made, code) == (200, "VERIFIED")
    lab.follow_up(product)
    requests = lab.asked("POST /receive-otp-status")
    bodies = [sent_json(request) for request in requests]
    assert [body["event"] for body in bodies] == ["otp_update", "otp_update"]
    assert [body["data"][0]["status"] for body in bodies] == ["PENDING", "VERIFIED"]
    assert {body["data"][0]["otpId"] for body in bodies} == {made["otpId"]}
    for request in requests:
        stamped = f"{request.headers['X-Portald-Timestamp']}.".encode() + request.body
        signed = hmac.new(SECRET.encode(), stamped, hashlib.sha256).hexdigest()
        assert request.headers["X-Portald-Signature"] == f"sha256={signed}"
    status, data = program.ask(
        "POST", "/otp", {"to": OTHER, "otpCallbackUrl": "https://elsewhere.example/"}
    )
    assert (status, data["error"]["code"]) == (400, 2019)


@ROWS
def c10_default_callback(lab: Lab) -> None:
    """The callback that is set for the application is told where a request names none."""
    lab.provider.say(200)
    product = lab.make(CUSTOM + PROGRAM + 'callback = "$URL/receive-otp-status"\n')
    made = lab.program(product).create(NUMBER)
    assert made["otpCallbackUrl"] == f"{lab.provider.url}/receive-otp-status"
    lab.follow_up(product)
    (request,) = lab.asked("POST /receive-otp-status")
    assert sent_json(request)["data"][0]["otpId"] == made["otpId"]


@ROWS
def c11_overrides(lab: Lab) -> None:
    """A request's own settings go before the defaults, within the same bounds."""
    lab.provider.say(200)
    custom = CUSTOM.replace("{ to", '{ orig = "{{from}}", to') + 'from = "Cafe"\n'
    program = lab.program(lab.make(custom + PROGRAM))
    own: dict[str, Any] = {
        "from": "Verify", "template": "{{pin}} it is", "pinType": "letters", "pinLength": 5,
        "ttl": 600, "maxAttempts": 3, "otpCallbackUrl": f"{lab.provider.url}/x",
    }  # fmt: skip
    made = program.create(NUMBER, **own)
    sent = sent_json(only(lab.provider))
    assert sent["orig"] == "Verify"
    assert re.fullmatch("[A-Z]{5} it is", sent["text"])
    assert (made["ttl"], made["maxAttempts"], made["otpCallbackUrl"]) == (600, 3, own["otpCallbackUrl"])
    for wish in ({"ttl": 59}, {"ttl": 1801}, {"maxAttempts": 11}, {"pinLength": 3}, {"pinType": "emoji"}):
        assert program.ask("POST", "/otp", {"to": OTHER, **wish})[0] == 400


@ROWS
def c12_access_token(lab: Lab) -> None:
    """A bearer token is had for the application's id and secret, and used until it ends."""
    product = lab.make(CUSTOM + PROGRAM)
    answer = lab.operator(product).get_token("booking", SECRET)
    assert answer.json is not None
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 3600)
    program = lab.program(product)
    lab.clock.move(3600)
    assert program.ask("GET", f"/otp/{ID}")[0] == 401
    by_smscx(lab).type("123456")
    assert len(lab.asked("POST /oauth/token")) == 1
    assert form(lab.asked("POST /oauth/token")[0]) == {"grant_type": "client_credentials"}
    for request in lab.asked("POST /otp"):
        assert request.headers["Authorization"] == "Bearer M2ZkOTcx"


@ROWS
def c13_otp_request(lab: Lab) -> None:
    """POST /otp with a bearer token, "to" and "from" sends a code."""
    lab.provider.say(200)
    custom = CUSTOM.replace("{ to", '{ orig = "{{from?}}", to')
    product = lab.make(custom + PROGRAM)
    status, data = lab.program(product).ask("POST", "/otp", {"to": FRENCH, "from": "Verify"})
    assert (status, data["status"]) == (201, "PENDING")
    sent = sent_json(only(lab.provider))
    assert (sent["to"], sent["orig"]) == (FRENCH, "Verify")
    assert lab.operator(product).ask("POST", "/otp", {"to": FRENCH})[0] == 401
    by_smscx(lab)
    (request,) = lab.asked("POST /otp")
    assert sent_json(request)["phoneNumber"] == NUMBER


@ROWS
def c14_otp_response(lab: Lab) -> None:
    """The answer has every field of SMS.CX's, with the price and the parts of the text."""
    lab.provider.say(200)
    program = lab.program(lab.make(CUSTOM + "cost = 0.043\n" + PROGRAM))
    url = f"{lab.provider.url}/receive-otp-status"
    made = program.create(FRENCH, otpCallbackUrl=url)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made.pop("otpId"))
    assert made == {
        "phoneNumber": FRENCH,
        "countryIso": "FR",
        "status": "PENDING",
        "cost": 0.043,
        "parts": 1,
        "maxAttempts": 5,
        "attempts": 0,
        "ttl": 300,
        "otpCallbackUrl": url,
        "dateCreated": "2023-11-14T22:13:20Z",
        "dateExpires": "2023-11-14T22:18:20Z",
    }


@ROWS
def c15_otp_check(lab: Lab) -> None:
    """What the user typed is judged by POST /otp/{otpId} with "pin"."""
    lab.provider.say(200)
    program = lab.program(lab.make(CUSTOM + PROGRAM))
    first = program.create(NUMBER)
    code = code_of(lab)
    second = program.create(OTHER)
    status, data = program.ask("POST", f"/otp/{first['otpId']}", {"pin": code})
    assert (status, data["status"]) == (200, "VERIFIED")
    assert program.state(second) == "PENDING"
    by_smscx(lab, "+14165552671").type("288 22 1")
    (request,) = lab.asked(f"POST /otp/{ID}")
    assert sent_json(request) == {"pin": "288221"}


@ROWS
def c16_result(lab: Lab) -> None:
    """SMS.CX's judgement lets the guest in, or tells why not."""
    guest = by_smscx(lab)
    lab.answers({"POST /oauth/token": TOKEN, "POST /otp": refusal(2029)})
    assert "not the code we sent" in guest.type("123456")
    lab.answers({"POST /oauth/token": TOKEN, "POST /otp": VERIFIED})
    assert "You are online" in guest.type("288221")
    for device, (code, words) in enumerate(
        ((2027, "Too many wrong codes"), (2025, "code is too old"), (2024, "code is too old")), start=12
    ):
        lab.answers({"POST /oauth/token": TOKEN, f"POST /otp/{ID}": refusal(code), "POST /otp": CREATED})
        refused = lab.guest(lab.make(ACCOUNT), device)
        refused.ask(f"+141555526{device}")
        assert words in refused.type("123456")
        assert not refused.online


@ROWS
def c17_status_by_id(lab: Lab) -> None:
    """GET /otp/{otpId} tells the state and the attempts so far, to the application that asked."""
    lab.provider.say(200)
    other = '[[applications]]\nid = "other"\nsecret = "another-secret-of-it"\n'
    product = lab.make(CUSTOM + PROGRAM + other)
    program = lab.program(product)
    made = program.create(NUMBER)
    program.check(made, wrong(code_of(lab)))
    status, data = program.ask("GET", f"/otp/{made['otpId']}")
    assert (status, data["status"], data["attempts"]) == (200, "PENDING", 1)
    stranger = lab.operator(product)
    stranger.token = stranger.get_token("other", "another-secret-of-it").json["access_token"]  # type: ignore[index]
    assert stranger.ask("GET", f"/otp/{made['otpId']}")[0] == 404


@ROWS
def c18_statuses(lab: Lab) -> None:
    """PENDING becomes VERIFIED, FAILED, EXPIRED or CANCELLED, and then nothing else."""
    lab.provider.say(200)
    program = lab.program(lab.make("[limits]\ntexts_per_prefix = 50\n" + CUSTOM + PROGRAM))
    numbers = (f"+14155552{n}" for n in range(671, 680))

    def verify(made: Any, code: str) -> None:
        assert program.check(made, code) == (200, "VERIFIED")

    def fail(made: Any, code: str) -> None:
        assert [program.check(made, wrong(code))[1] for _ in range(3)] == [2029, 2029, 2027]

    def expire(made: Any, code: str) -> None:
        lab.clock.move(300)

    def cancel(made: Any, code: str) -> None:
        assert program.ask("DELETE", f"/otp/{made['otpId']}")[0] == 200

    for end, status, error, again in (
        (verify, "VERIFIED", 2023, 2031),
        (fail, "FAILED", 2026, 2031),
        (expire, "EXPIRED", 2025, 2031),
        (cancel, "CANCELLED", 2024, 2030),
    ):
        made = program.create(next(numbers), maxAttempts=3)
        code = code_of(lab)
        assert program.state(made) == "PENDING"
        end(made, code)
        assert program.state(made) == status
        assert program.check(made, code) == (400, error)
        answer = program.ask("DELETE", f"/otp/{made['otpId']}")
        assert (answer[0], answer[1]["error"]["code"]) == (403, again)
        lab.clock.move(300)
        assert program.state(made) == status


@ROWS
def c19_masked_numbers(lab: Lab) -> None:
    """No page, list or log shows a whole number, nor a code."""
    caplog: pytest.LogCaptureFixture = lab.request.getfixturevalue("caplog")
    caplog.set_level("DEBUG", logger="portald")
    lab.provider.say(200)
    product = lab.make(CUSTOM)
    guest = lab.guest(product)
    page = guest.ask(FRENCH)
    code = code_of(lab)
    seen = page + guest.type(code) + lab.operator(product).page() + caplog.text
    for command in (["sms", "log"], ["texts"], ["sessions"]):
        found = json.dumps(lab.ctl(product, *command), ensure_ascii=False)
        assert "+33…99" in found
        seen += found
    assert "+33…99" in page
    assert "event=text_sent number=+33…99" in caplog.text
    assert FRENCH not in seen
    assert FRENCH[1:] not in seen
    assert code not in seen

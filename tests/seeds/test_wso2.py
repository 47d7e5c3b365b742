"""WSO2: SMS OTP and providers."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import NUMBER, Product
from tests.seeds.conftest import CUSTOM, Check, Lab, Rows, code_in, text_of
from tests.sms.wire import basic, form, only, sent_json

ROWS = Rows()
OTHER = "+14155552672"
BARE = CUSTOM.partition("payload")[0]
TWILIO = """
[[sms]]
type = "twilio"
account_sid = "YourAccountSID"
auth_token = "YourAuthToken"
sender = "+1234567890"
url = "$URL"
"""
VONAGE = """
[[sms]]
type = "vonage"
api_key = "YourAPIKey"
api_secret = "YourAPISecret"
sender = "+1234567890"
url = "$URL"
"""


@pytest.mark.parametrize("check", ROWS)
def test_wso2(check: Check, lab: Lab) -> None:
    check(lab)


def code_of(lab: Lab) -> str:
    """Return the code of the latest text."""
    return code_in(text_of(lab.provider.requests[-1]))


def without(table: str, name: str) -> str:
    """Return a table without one of its settings."""
    return "\n".join(line for line in table.splitlines() if not line.startswith(f"{name} "))


ZONE = """
[[zones]]
interface = "br-guest"
networks = ["10.77.0.0/24"]
ways = ["password"]
reset = "sms"
"""


def with_alice(lab: Lab, *more: str) -> Product:
    """Return a product with a user who has a password and a number in the profile."""
    lab.provider.say(200)
    product = lab.make(CUSTOM + ZONE)
    profile = ["password=secret77", f"number={NUMBER}", *more]
    lab.ctl(product, "accounts", "set", "alice", *profile)
    return product


@ROWS
def w1_code_to_the_registered_number(lab: Lab) -> None:
    """The code goes to the number that is registered, which the user need not type."""
    product = with_alice(lab)
    lab.ctl(product, "plans", "set", "unlimited", "second=sms")
    guest = lab.guest(product)
    page = guest.at("/password", name="alice", password="secret77")
    assert "+14…71" in page
    assert json.loads(only(lab.provider).body)["to"] == NUMBER
    assert "You are online" in guest.type(code_of(lab))


@ROWS
def w2_second_step_after_a_password(lab: Lab) -> None:
    """No text before the password is right, no access before the code is."""
    product = with_alice(lab)
    lab.ctl(product, "plans", "set", "unlimited", "second=sms")
    guest = lab.guest(product)
    assert "do not belong together" in guest.at("/password", name="alice", password="secret78")
    assert lab.provider.requests == []
    assert "Type the code" in guest.at("/password", name="alice", password="secret77")
    assert not guest.online
    assert "You are online" in guest.type(code_of(lab))


@ROWS
def w3_number_in_the_profile(lab: Lab) -> None:
    """A user without a number has no second step, and is not let in without it."""
    product = with_alice(lab)
    lab.ctl(product, "plans", "set", "unlimited", "second=sms")
    (row,) = lab.ctl(product, "accounts", "list", "alice")
    assert row["number"] == "+14…71"
    lab.ctl(product, "accounts", "set", "alice", "number=")
    guest = lab.guest(product)
    assert "switched off" in guest.at("/password", name="alice", password="secret77")
    assert not guest.online


@ROWS
def w4_on_for_one_and_off_for_another(lab: Lab) -> None:
    """The second step is a matter of the plan: staff has it, guests of the hotel do not."""
    product = with_alice(lab, "group=SMS")
    lab.ctl(product, "plans", "set", "strict", "second=sms")
    lab.ctl(product, "groups", "set", "staff", "--plan", "strict")
    lab.ctl(product, "accounts", "set", "bob", "password=secret88", f"number={OTHER}", "group=staff")
    assert "You are online" in lab.guest(product).at("/password", name="alice", password="secret77")
    assert "Type the code" in lab.guest(product, 12).at("/password", name="bob", password="secret88")


@ROWS
def w5_expiry_time(lab: Lab) -> None:
    """A code is not valid after its time."""
    lab.provider.say(200)
    product = lab.make("[otp]\nlifetime = 90\n" + CUSTOM)
    early, late = lab.guest(product), lab.guest(product, 12)
    early.ask(NUMBER)
    first = code_of(lab)
    late.ask(OTHER)
    second = code_of(lab)
    lab.clock.move(89)
    assert "You are online" in early.type(first)
    lab.clock.move(1)
    assert "code is too old" in late.type(second)
    assert not late.online


@ROWS
def w6_numeric_or_alphanumeric(lab: Lab) -> None:
    """Only digits, or letters and digits."""
    lab.provider.say(200)
    for kind, first in (("numbers", 20), ("alphanumeric", 40)):
        product = lab.make(f'[otp]\nkind = "{kind}"\nlength = 10\ntext = "{{code}}"\n' + CUSTOM)
        lab.provider.requests.clear()
        for device in range(first, first + 8):
            guest = lab.guest(product, device)
            page = guest.ask(f"+141555526{device}")
            assert ("letters and digits" in page) is (kind == "alphanumeric")
        codes = "".join(map(text_of, lab.provider.requests))
        assert re.fullmatch("[0-9A-Z]{80}", codes)
        assert re.search("[0-9]", codes)
        assert bool(re.search("[A-Z]", codes)) is (kind == "alphanumeric")
        assert "You are online" in guest.type(text_of(lab.provider.requests[-1]))


@ROWS
def w7_length(lab: Lab) -> None:
    """A code has as many characters as are set, and is not judged before it has them."""
    lab.provider.say(200)
    guest = lab.guest(lab.make('[otp]\nlength = 8\ntext = "{code}"\n' + CUSTOM))
    assert "Code of 8 digits" in guest.ask(NUMBER)
    code = text_of(only(lab.provider))
    assert len(code) == 8
    assert "type the whole code" in guest.type(code[:7])
    assert "You are online" in guest.type(code)


@ROWS
def w8_update(lab: Lab) -> None:
    """What is changed in the file is in force with the next start; limits are at once."""
    lab.provider.say(200)
    lab.guest(lab.make("[otp]\nlength = 6\n" + CUSTOM)).ask(NUMBER)
    product = lab.make("[otp]\nlength = 8\n" + CUSTOM)
    lab.guest(product, 12).ask(OTHER)
    codes = [re.findall(r"\d+", text_of(request))[0] for request in lab.provider.requests]
    assert [len(code) for code in codes] == [6, 8]
    lab.ctl(product, "sms", "limits", "--set", "texts=2")
    assert "Many guests are signing in" in lab.guest(product, 13).ask("+14155552673")
    assert "otp.lenght: unknown key; did you mean 'length'?" in lab.refused("[otp]\nlenght = 8\n" + CUSTOM)


@ROWS
def w9_providers(lab: Lab) -> None:
    """Twilio, Vonage and a custom one, side by side."""
    product = lab.make(TWILIO + VONAGE + CUSTOM)
    types = [row["type"] for row in lab.ctl(product, "sms", "providers")]
    assert types == ["twilio", "vonage", "http"]
    lab.answers({"POST /2010": (503, ""), "POST /sms": (503, ""), "POST /send": (200, "")})
    lab.guest(product).ask(NUMBER)
    paths = [request.path.split("/")[1] for request in lab.provider.requests]
    assert paths == ["2010-04-01", "sms", "send"]


@ROWS
def w10_twilio(lab: Lab) -> None:
    """Account SID, auth token and sender are all there is to it, and all are needed."""
    lab.provider.say(201, '{"sid": "SM1", "status": "queued"}')
    guest = lab.guest(lab.make(TWILIO))
    guest.ask(NUMBER)
    request = only(lab.provider)
    assert request.path == "/2010-04-01/Accounts/YourAccountSID/Messages.json"
    assert request.headers["Authorization"] == basic("YourAccountSID", "YourAuthToken")
    sent = form(request)
    assert (sent["To"], sent["From"]) == (NUMBER, "+1234567890")
    assert "You are online" in guest.type(code_in(sent["Body"]))
    for name in ("account_sid", "auth_token", "sender"):
        assert f"{name}: missing" in lab.refused(without(TWILIO, name))


@ROWS
def w11_vonage(lab: Lab) -> None:
    """API key, API secret and sender are all there is to it, and all are needed."""
    lab.provider.say(200, '{"message-count": "1", "messages": [{"status": "0", "message-id": "0A1"}]}')
    guest = lab.guest(lab.make(VONAGE))
    guest.ask(NUMBER)
    request = only(lab.provider)
    assert request.path == "/sms/json"
    assert request.headers["Authorization"] == basic("YourAPIKey", "YourAPISecret")
    sent = form(request)
    assert (sent["to"], sent["from"]) == (NUMBER.removeprefix("+"), "+1234567890")
    assert "You are online" in guest.type(code_in(sent["text"]))
    for name in ("api_key", "api_secret", "sender"):
        assert f"{name}: missing" in lab.refused(without(VONAGE, name))


@ROWS
def w12_provider_url(lab: Lab) -> None:
    """The payload is published at the provider's URL."""
    lab.provider.say(200)
    lab.guest(lab.make(CUSTOM.replace("/send", "/api/v1"))).ask(NUMBER)
    request = only(lab.provider)
    assert request.path == "/api/v1"
    assert sent_json(request)["to"] == NUMBER
    assert "url: missing" in lab.refused(without(CUSTOM, "url"))


@ROWS
def w13_content_type(lab: Lab) -> None:
    """JSON or FORM; JSON if nothing is said."""
    lab.provider.say(200)
    for device, line in enumerate(("", 'content_type = "JSON"\n', 'content_type = "FORM"\n'), start=11):
        lab.guest(lab.make(CUSTOM + line), device).ask(f"+141555526{device}")
    unsaid, by_json, by_form = lab.provider.requests
    assert sent_json(unsaid)["to"] == "+14155552611"
    assert sent_json(by_json)["to"] == "+14155552612"
    assert form(by_form)["to"] == "+14155552613"


@ROWS
def w14_http_method(lab: Lab) -> None:
    """PUT or POST; POST if nothing is said."""
    lab.provider.say(200)
    for device, line in enumerate(("", 'method = "POST"\n', 'method = "PUT"\n'), start=11):
        lab.guest(lab.make(CUSTOM + line), device).ask(f"+141555526{device}")
    assert [request.method for request in lab.provider.requests] == ["POST", "POST", "PUT"]
    assert sent_json(lab.provider.requests[-1])["to"] == "+14155552613"


@ROWS
def w15_payload_template(lab: Lab) -> None:
    """{{body}} and {{mobile}} stand bare in JSON, as in the example, or inside quotation marks."""
    lab.provider.say(200)
    bare = """payload = '{"content": {{body}},"to": {{mobile}}}'\n"""
    quoted = """payload = '{"content": "Hello! {{body}}", "to": ["{{mobile}}"]}'\n"""
    lab.guest(lab.make(BARE + bare)).ask(NUMBER)
    lab.guest(lab.make(BARE + quoted), 12).ask(OTHER)
    first, second = (sent_json(request) for request in lab.provider.requests)
    assert first["to"] == NUMBER
    assert first["content"].startswith(code_in(first["content"]))
    assert second["to"] == [OTHER]
    assert second["content"].startswith("Hello! ")
    # As it is printed in the document, it has typographic quotation marks and a brace too many.
    printed = "payload = '{“content”: {{body}},“to”: {{mobile}}}}'\n"
    assert "replace typographic quotation marks" in lab.refused(BARE + printed)
    straight = printed.replace("“", '"').replace("”", '"')
    assert "there is one } too many" in lab.refused(BARE + straight)


@ROWS
def w16_filled_in_at_runtime(lab: Lab) -> None:
    """Each text fills the placeholders in anew, and nothing of it gets out of its place."""
    lab.provider.say(200)
    text = """[otp]\ntext = '{code}", "to": "+19005550000' \n"""
    product = lab.make(text + BARE + """payload = '{"content": {{body}},"to": {{mobile}}}'\n""")
    lab.guest(product).ask(NUMBER)
    lab.guest(product, 12).ask(OTHER)
    first, second = (sent_json(request) for request in lab.provider.requests)
    assert [first["to"], second["to"]] == [NUMBER, OTHER]
    for body in (first, second):
        assert re.fullmatch(r'\d{6}", "to": "\+19005550000', body["content"])
    unknown = """payload = '{"content": {{body}},"to": {{mobil}}}'\n"""
    assert "{{mobil}} is not known; did you mean {{mobile}}?" in lab.refused(BARE + unknown)


@ROWS
def w17_headers(lab: Lab) -> None:
    """Headers in one line, separated by commas, or as a table."""
    lab.provider.say(200)
    line = 'headers = "authorisation: qwer1234asdfzxcv, x-csrf: true, x-abc: some-value"\n'
    table = 'headers = { x-csrf = "true", x-abc = "some, value" }\n'
    lab.guest(lab.make(CUSTOM + line)).ask(NUMBER)
    lab.guest(lab.make(CUSTOM + table), 12).ask(OTHER)
    lab.guest(lab.make(CUSTOM), 13).ask("+14155552673")
    first, second, third = (
        {name.lower(): value for name, value in request.headers.items()}
        for request in lab.provider.requests
    )
    assert first["authorisation"] == "qwer1234asdfzxcv"
    assert (first["x-csrf"], first["x-abc"]) == ("true", "some-value")
    assert (second["x-csrf"], second["x-abc"]) == ("true", "some, value")
    assert not {"authorisation", "x-csrf", "x-abc"} & third.keys()


@ROWS
def w18_sent_and_prompted(lab: Lab) -> None:
    """The code is sent to the number, and the next page asks for it."""
    lab.provider.say(200)
    page = lab.guest(lab.make(CUSTOM)).ask(NUMBER)
    assert sent_json(only(lab.provider))["to"] == NUMBER
    assert "Type the code" in page
    assert 'autocomplete="one-time-code"' in page


@ROWS
def w19_resend(lab: Lab) -> None:
    """A new code may be asked for, and ends the one before."""
    lab.provider.say(200)
    guest = lab.guest(lab.make("[otp]\nlength = 10\ntext = '{code}'\n" + CUSTOM))
    assert "Send a new code" in guest.ask(NUMBER)
    assert "A code was asked for a moment ago" in guest.resend()
    lab.clock.move(60)
    guest.resend()
    first, second = (text_of(request) for request in lab.provider.requests)
    assert "not the code we sent" in guest.type(first)
    assert not guest.online
    assert "You are online" in guest.type(second)


@ROWS
def w20_continue(lab: Lab) -> None:
    """The right code opens the way, and no other."""
    lab.provider.say(200)
    product = lab.make(CUSTOM)
    guest, stranger = lab.guest(product), lab.guest(product, 12)
    assert "<button>Go online</button>" in guest.ask(NUMBER)
    assert "You are online" in guest.type(code_of(lab))
    assert (guest.online, stranger.online) == (True, False)
    (session,) = lab.ctl(product, "sessions")
    assert (session["mac"], session["verified"]) == (guest.mac, True)

"""Powerlynx: custom SMS gateway."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from portald.check import Level, findings
from portald.demo.lab import end, until
from tests.conftest import NUMBER
from tests.seeds.conftest import CUSTOM, Check, Lab, Rows, code_in, text_of
from tests.sms.wire import basic, form, only, sent_json
from tests.test_daemon import Running, opens

ROWS = Rows()
OTHER = "+14155552672"


@pytest.mark.parametrize("check", ROWS)
def test_powerlynx(check: Check, lab: Lab) -> None:
    check(lab)


@ROWS
def p1_guest_path(lab: Lab) -> None:
    """Number, code, online: and not before the code of the text was typed."""
    lab.provider.say(200)
    guest = lab.guest(lab.make(CUSTOM))
    assert guest.get("/", host="news.example").location == "http://10.77.0.1/"
    assert "Type your mobile number" in guest.page()
    assert "Type the code" in guest.ask("(415) 555-2671")
    sent = sent_json(only(lab.provider))
    assert sent["to"] == NUMBER
    assert not guest.online
    assert "You are online" in guest.type(code_in(sent["text"]))
    assert guest.online


SKIPPED = """
name = "Lobby"
state_dir = "{dir}/state"
run_dir = "{dir}"
[otp]
mode = "format_only"
[[zones]]
interface = "lo"
networks = ["127.0.0.0/8"]
[web]
port = {port}
url = "http://127.0.0.1:{port}/"
[firewall]
backend = "memory"
"""


@ROWS
def p2_format_only(lab: Lab) -> None:
    """No code is sent, only the number's format is looked at, and the operator sees that."""
    product = lab.make('[otp]\nmode = "format_only"\n' + CUSTOM)
    guest = lab.guest(product)
    assert "not a complete telephone number" in guest.ask("+1 415 555 26")
    assert "cannot reach this kind of number" in guest.ask("+1 800 555 1234")
    assert not guest.online
    assert "You are online" in guest.ask("(415) 555-2671")
    assert guest.online
    assert lab.provider.requests == []
    (row,) = lab.operator(product).ask("GET", "/api/sessions")[1]
    assert row["verified"] is False
    assert "Numbers are not proven" in lab.operator(product).page()


@ROWS
def p2_no_gateway_to_skip(lab: Lab) -> None:
    """Who skips the code needs no gateway: portald itself starts without one, and finds none missing."""
    running = Running(lab.folder)
    running.config.write_text(SKIPPED.format(dir=lab.folder, port=running.port))
    assert [found.text for found in findings(running.config) if found.level is Level.FAIL] == []
    process = running.start()
    try:
        until(lambda: opens(running.port) or process.poll() is not None, "neither up nor ended")
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert running.post("/number", number="%2B14155552671")["location"] == "/status"
        assert "You are online" in running.get("/status")["body"]
    finally:
        end(process)
        if process.stderr:
            process.stderr.close()


@ROWS
def p3_no_gateway_no_codes(lab: Lab) -> None:
    """portald sends nothing by itself: without a gateway it says so and does not start."""
    command = [sys.executable, "-m", "portald", "--config", str(lab.write(""))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "at least one [[sms]] table is needed, or nobody can be sent a code" in done.stderr


TWILIO = """
[[sms]]
type = "twilio"
account_sid = "AC0123456789abcdef0123456789abcdef"
auth_token = "live-token"
from = "+15550100"
url = "$URL"
"""


@ROWS
def p4_twilio_or_any_other(lab: Lab) -> None:
    """Twilio is known by its account alone; any other gateway is described."""
    lab.provider.say(201, '{"sid": "SM1"}')
    lab.guest(lab.make(TWILIO)).ask(NUMBER)
    request = only(lab.provider)
    assert request.path == "/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json"
    assert request.headers["Authorization"] == basic("AC0123456789abcdef0123456789abcdef", "live-token")
    lab.provider.say(200)
    guest = lab.guest(lab.make(CUSTOM), 12)
    guest.ask(OTHER)
    assert lab.provider.requests[-1].path == "/send"
    assert "You are online" in guest.type(code_in(text_of(lab.provider.requests[-1])))


@ROWS
def p5_several_gateways(lab: Lab) -> None:
    """Gateways are added one table each; the next one carries what the first one cannot."""
    second = CUSTOM.replace('"custom"', '"spare"').replace("/send", "/spare")
    product = lab.make(CUSTOM + second)
    assert [row["name"] for row in lab.ctl(product, "sms", "providers")] == ["custom", "spare"]
    lab.answers({"POST /send": (503, ""), "POST /spare": (200, "")})
    lab.guest(product).ask(NUMBER)
    assert [request.path for request in lab.provider.requests] == ["/send", "/spare"]


@ROWS
def p6_name(lab: Lab) -> None:
    """A gateway's name tells it apart, in the list and in the log; no two have the same."""
    lab.provider.say(200)
    product = lab.make(CUSTOM.replace('"custom"', '"cheap-route.2"'))
    lab.guest(product).ask(NUMBER)
    assert [row["name"] for row in lab.ctl(product, "sms", "providers")] == ["cheap-route.2"]
    assert [row["provider"] for row in lab.ctl(product, "sms", "log")] == ["cheap-route.2"]
    assert "two providers are called 'custom'" in lab.refused(CUSTOM + CUSTOM)


@ROWS
def p7_type(lab: Lab) -> None:
    """The type decides which settings there are."""
    assert "account_sid: unknown key" in lab.refused(CUSTOM + 'account_sid = "AC1"\n')
    assert "payload: unknown key" in lab.refused(TWILIO + 'payload = "{}"\n')
    assert "auth_token: missing" in lab.refused('[[sms]]\ntype = "twilio"\n')
    assert "url: missing" in lab.refused('[[sms]]\ntype = "http"\n')
    unknown = lab.refused('[[sms]]\ntype = "pigeon"\n')
    assert "is not known" in unknown
    assert "http" in unknown


@ROWS
def p8_url(lab: Lab) -> None:
    """Requests go to the URL of the gateway's documentation, with its path and query."""
    lab.provider.say(200)
    lab.guest(lab.make(CUSTOM.replace("/send", "/api/v2/send?route=7"))).ask(NUMBER)
    assert only(lab.provider).path == "/api/v2/send?route=7"
    assert "url: expected http" in lab.refused(CUSTOM.replace("$URL", "sms.example"))


@ROWS
def p9_method(lab: Lab) -> None:
    """POST or GET; GET has the payload in its query."""
    lab.provider.say(200)
    lab.guest(lab.make(CUSTOM + 'method = "GET"\n')).ask(NUMBER)
    lab.guest(lab.make(CUSTOM + 'method = "POST"\n'), 12).ask(OTHER)
    got, posted = lab.provider.requests
    assert (got.method, got.body) == ("GET", b"")
    query = parse_qs(urlsplit(got.path).query)
    assert query["to"] == [NUMBER]
    assert code_in(query["text"][0])
    assert (posted.method, posted.path) == ("POST", "/send")
    assert "method: expected POST or PUT or GET" in lab.refused(CUSTOM + 'method = "DELETE"\n')


@ROWS
def p10_content_type(lab: Lab) -> None:
    """JSON or x-www-form-urlencoded, and JSON not with GET."""
    lab.provider.say(200)
    for device, kind in enumerate(("JSON", "x-www-form-urlencoded"), start=11):
        lab.guest(lab.make(CUSTOM + f'content_type = "{kind}"\n'), device).ask(f"+141555526{device}")
    json_request, form_request = lab.provider.requests
    assert sent_json(json_request)["to"] == "+14155552611"
    assert form(form_request)["to"] == "+14155552612"
    both = CUSTOM + 'content_type = "JSON"\nmethod = "GET"\n'
    assert "a GET has no JSON" in lab.refused(both)


SCRIPT = """
function build(message)
  return {
    headers = { ["X-Check"] = string.reverse(message.to) },
    body = "<sms to='" .. message.to .. "'>" .. message.body .. "</sms>",
  }
end

function check(response)
  local id = string.match(response.body, "OK:(%w+)")
  if id then
    return true, id
  end
  return false, nil, "no_credit: top up"
end
"""


@ROWS
def p11_lua_script(lab: Lab) -> None:
    """Where settings do not suffice, a Lua script builds the request and reads the answer."""
    script = lab.folder / "gateway.lua"
    script.write_text(SCRIPT)
    product = lab.make(CUSTOM + f'script = "{script}"\n')
    lab.provider.say(200, "OK:m17")
    assert lab.ctl(product, "sms", "test", NUMBER)["message"] == "m17"
    request = only(lab.provider)
    assert request.body.decode().startswith(f"<sms to='{NUMBER}'>")
    assert request.headers["X-Check"] == NUMBER[::-1]
    lab.provider.say(200, "ERR")
    assert lab.ctl(product, "sms", "test", NUMBER)["outcome"] == "no_credit"
    script.write_text("function build(message) nonsense")
    assert "script:" in lab.refused(CUSTOM + f'script = "{script}"\n')


@ROWS
def p12_payload(lab: Lab) -> None:
    """The payload is in the gateway's own syntax, for JSON and for forms, and wrong ones are named."""
    lab.provider.say(200)
    bare = CUSTOM.partition("payload")[0]
    json_text = """payload = '{"messages": [{"dst": ["{{mobile}}"], "txt": {{body}}, "flash": false}]}'\n"""
    form_text = """content_type = "x-www-form-urlencoded"\npayload = 'dst={{mobile}}&txt={{body}}&v=2'\n"""
    lab.guest(lab.make(bare + json_text)).ask(NUMBER)
    lab.guest(lab.make(bare + form_text), 12).ask(OTHER)
    by_json, by_form = lab.provider.requests
    (message,) = sent_json(by_json)["messages"]
    assert (message["dst"], message["flash"]) == ([NUMBER], False)
    assert code_in(message["txt"])
    sent = form(by_form)
    assert (sent["dst"], sent["v"]) == (OTHER, "2")
    assert code_in(sent["txt"])
    for payload, problem in (
        ('{"to": {{mobile}}}', "payload: {{body}} is missing"),
        ('{"to": {{mobil}}, "t": {{body}}}', "did you mean {{mobile}}?"),
        ('{"to": {{mobile}}, "t": {{body}}', "payload: not JSON, line 1"),
    ):
        assert problem in lab.refused(bare + f"payload = '{payload}'\n")


@ROWS
def p13_verify_certificate(lab: Lab) -> None:
    """The gateway's certificate is verified unless that is switched off, which is warned of."""
    secure = lab.request.getfixturevalue("tls_provider").say(200)
    certificate: Path = lab.request.getfixturevalue("certificate")
    unknown = lab.make(CUSTOM, secure.url)
    answer = lab.ctl(unknown, "sms", "test", NUMBER)
    assert (answer["outcome"], answer["words"].partition(":")[0]) == ("configuration", "TLS")
    assert secure.requests == []
    off = lab.make(CUSTOM + "verify_tls = false\n", secure.url)
    assert lab.ctl(off, "sms", "test", NUMBER)["outcome"] == "accepted"
    assert "verify_tls: false" in str(lab.ctl(off, "sms", "providers")[0]["warnings"])
    trusted = lab.make(CUSTOM + f'ca_file = "{certificate}"\n', secure.url)
    assert lab.ctl(trusted, "sms", "test", NUMBER)["outcome"] == "accepted"
    assert len(secure.requests) == 2


@ROWS
def p14_success_response(lab: Lab) -> None:
    """A text counts as sent only if the answer contains the string that was set."""
    product = lab.make(CUSTOM + 'success_contains = "queued"\n')
    lab.provider.say(200, '{"status": "queued"}')
    assert "We sent it to" in lab.guest(product).ask(NUMBER)
    lab.provider.say(200, '{"status": "rejected"}')
    assert "We do not know whether the text was sent" in lab.guest(product, 12).ask(OTHER)
    outcomes = [row["outcome"] for row in lab.ctl(product, "sms", "log")]
    assert outcomes == ["unknown", "accepted"]


@ROWS
def p15_result_of_each_text(lab: Lab) -> None:
    """The log says of each text whether it was sent, and what the gateway said if not."""
    product = lab.make(CUSTOM)
    lab.provider.say(200)
    lab.guest(product).ask(NUMBER)
    lab.provider.say(400, "no such route")
    lab.guest(product, 12).ask("+447400123456")
    refused, sent = lab.ctl(product, "sms", "log")
    assert (sent["number"], sent["outcome"], sent["words"]) == ("+14…71", "accepted", None)
    assert (refused["number"], refused["outcome"]) == ("+44…56", "configuration")
    assert "no such route" in refused["words"]


@ROWS
def p16_custom_header(lab: Lab) -> None:
    """One more header goes along; its value is kept secret."""
    lab.provider.say(200)
    product = lab.make(CUSTOM + 'header_name = "X-Api-Key"\nheader_value = "s3cr3t-value"\n')
    lab.guest(product).ask(NUMBER)
    assert only(lab.provider).headers["X-Api-Key"] == "s3cr3t-value"
    rows = lab.ctl(product, "sms", "providers")
    assert rows[0]["settings"]["header_name"] == "X-Api-Key"
    assert "s3cr3t-value" not in str(rows)

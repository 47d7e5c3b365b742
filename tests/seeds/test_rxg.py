"""rXg: SMS integration."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from portald import sms
from tests.conftest import NUMBER, Product
from tests.seeds.conftest import CUSTOM, Check, Lab, Rows, code_in, text_of
from tests.sms.wire import basic, form, only
from tests.test_daemon import free_port

ROWS = Rows()
OTHER = "+14155552672"
TWILIO = """
[[sms]]
name = "main"
type = "twilio"
account_sid = "AC0123456789abcdef0123456789abcdef"
auth_token = "live-token"
from = "+15550100"
url = "$URL"
"""
EMAIL = """
[[sms]]
type = "email"
host = "127.0.0.1"
port = $PORT
security = "none"
from = "wifi@venue.example"
"""
CREATED = '{"sid": "SM1", "status": "queued"}'


class Mails:
    """A mail server that keeps what it is given."""

    def __init__(self) -> None:
        self.port = free_port()
        self.recipients: list[str] = []
        self.messages: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.recipients += envelope.rcpt_tos
        self.messages.append(email.message_from_bytes(envelope.content))
        return "250 taken"

    def code(self) -> str:
        return code_in(str(self.messages[-1].get_payload()))


@pytest.fixture
def mails() -> Iterator[Mails]:
    made = Mails()
    controller = Controller(made, hostname="127.0.0.1", port=made.port)
    controller.start()
    yield made
    controller.stop()


@pytest.mark.parametrize("check", ROWS)
def test_rxg(check: Check, lab: Lab) -> None:
    check(lab)


def by_email(lab: Lab, more: str = "") -> tuple[Product, Mails]:
    """Return a product that also asks carriers, and the mail server that it uses."""
    lab.provider.say(200)
    server: Mails = lab.request.getfixturevalue("mails")
    return lab.make(CUSTOM + EMAIL.replace("$PORT", str(server.port)) + more), server


MAILBOX = """
[[sms]]
type = "mailbox"
host = "127.0.0.1"
port = $PORT
security = "none"
from = "wifi@venue.example"
"""
SPLASH = """
[[zones]]
interface = "br-guest"
networks = ["10.77.0.0/24"]
ways = ["password"]
"""
ADDRESS = "guest@example.org"


def with_mailbox(lab: Lab, zone: str = SPLASH) -> tuple[Product, Mails]:
    """Return a product that sends codes to telephones and to mailboxes."""
    lab.provider.say(200)
    server: Mails = lab.request.getfixturevalue("mails")
    return lab.make(CUSTOM + MAILBOX.replace("$PORT", str(server.port)) + zone), server


@ROWS
def r1_contact_proven_before_registration(lab: Lab) -> None:
    """By SMS, by e-mail, by either or not at all, as the plan of the network's guests says."""
    product, mails = with_mailbox(lab)
    for device, (proof, by_sms, by_mail) in enumerate(
        [("sms", True, False), ("email", False, True), ("either", True, True)], start=20
    ):
        lab.ctl(product, "plans", "set", "unlimited", f"proof={proof}")
        sms_page = lab.guest(product, device).ask(f"+141555526{device}")
        assert ("Type the code" in sms_page) is by_sms
        mail_page = lab.guest(product, device + 10).ask(ADDRESS)
        assert ("Type the code" in mail_page) is by_mail
        lab.clock.move(3600)
    assert set(mails.recipients) == {ADDRESS}
    lab.ctl(product, "plans", "set", "unlimited", "proof=none")
    assert "You are online" in lab.guest(product, 40).post("/number")


@ROWS
def r2_sms_needs_method_and_gateway(lab: Lab) -> None:
    """Both are needed, the plan's method and a gateway that it may use; each lack is told."""
    product, _ = with_mailbox(lab)
    lab.ctl(product, "plans", "set", "unlimited", "proof=email")
    assert "not offered here" in lab.guest(product).ask(NUMBER)
    lab.ctl(product, "plans", "set", "unlimited", "proof=sms", "providers=mailbox")
    assert "cannot send texts" in lab.guest(product, 12).ask(NUMBER)
    lab.ctl(product, "plans", "set", "unlimited", "providers=custom")
    assert "Type the code" in lab.guest(product, 13).ask(OTHER)


@ROWS
def r3_password_reset(lab: Lab) -> None:
    """A new password after proof of the number or the address, as the network's splash page allows."""
    product, mails = with_mailbox(lab, SPLASH + 'reset = "both"\n')
    profile = [f"number={NUMBER}", f"email={ADDRESS}", "password=secret77"]
    lab.ctl(product, "accounts", "set", "alice", *profile)
    for device, contact in ((11, NUMBER), (12, ADDRESS)):
        guest = lab.guest(product, device)
        assert "Choose a new password" in guest.at("/forgotten", contact=contact)
        code = mails.code() if "@" in contact else code_in(text_of(lab.provider.requests[-1]))
        guest.post("/reset", code=code, password=f"fresh-{device}")
        assert "You are online" in guest.at("/password", name="alice", password=f"fresh-{device}")


@ROWS
def r4_reset_for_accounts_with_a_number(lab: Lab) -> None:
    """Who has no account, or none with this number, is answered alike and sent nothing."""
    product, _ = with_mailbox(lab, SPLASH + 'reset = "sms"\n')
    lab.ctl(product, "accounts", "set", "alice", f"number={NUMBER}", "password=secret77")
    for device, contact in ((11, NUMBER), (12, OTHER)):
        assert "is known here, a code is on its way" in lab.guest(product, device).at(
            "/forgotten", contact=contact
        )
    assert "not offered" in lab.guest(product, 13).at("/forgotten", contact=ADDRESS)
    assert len(lab.provider.requests) == 1


@ROWS
def r5_name(lab: Lab) -> None:
    """A gateway is known by its name, in the list, the log and the trial."""
    lab.provider.say(201, CREATED)
    product = lab.make(TWILIO)
    assert [row["name"] for row in lab.ctl(product, "sms", "providers")] == ["main"]
    assert lab.ctl(product, "sms", "test", NUMBER, "--provider", "main")["provider"] == "main"
    assert [row["provider"] for row in lab.ctl(product, "sms", "log")] == ["main"]


@ROWS
def r6_provider(lab: Lab) -> None:
    """The provider is one of a list, which is shown to whoever asks for another."""
    refused = lab.refused(TWILIO.replace('"twilio"', '"nobody"'))
    for name in sms.PROVIDERS:
        assert name in refused
    preset = '[[sms]]\ntype = "telnyx"\nbearer = "key"\nfrom = "+15550100"\n'
    product = lab.make(TWILIO + preset)
    assert [row["type"] for row in lab.ctl(product, "sms", "providers")] == ["twilio", "telnyx"]


@ROWS
def r7_from(lab: Lab) -> None:
    """Texts come from a number, a short code or a name; a provider refuses what is not bought."""
    lab.provider.say(201, CREATED)
    senders = ["+15550100", "12345", "CafeAurora"]
    for device, sender in enumerate(senders, start=11):
        lab.guest(lab.make(TWILIO.replace("+15550100", sender)), device).ask(f"+141555526{device}")
    assert [form(request)["From"] for request in lab.provider.requests] == senders
    lab.provider.say(400, '{"code": 21606, "message": "not your number"}')
    assert lab.ctl(lab.make(TWILIO), "sms", "test", NUMBER)["outcome"] == "configuration"


@ROWS
def r8_account_sid_and_auth_token(lab: Lab) -> None:
    """The credentials prove each request, may be in a file, and are shown nowhere."""
    lab.provider.say(201, CREATED)
    token = lab.folder / "twilio.token"
    token.write_text("live-token\n")
    in_file = TWILIO.replace('auth_token = "live-token"', f'auth_token_file = "{token}"')
    for device, table in enumerate((TWILIO, in_file), start=11):
        product = lab.make(table)
        lab.guest(product, device).ask(f"+141555526{device}")
        shown = str(lab.ctl(product, "sms", "providers")) + lab.operator(product).page()
        assert "live-token" not in shown
        assert "live-token" not in repr(product.config)
    expected = basic("AC0123456789abcdef0123456789abcdef", "live-token")
    assert [request.headers["Authorization"] for request in lab.provider.requests] == [expected] * 2


TWO = CUSTOM.replace('"custom"', '"first"') + CUSTOM.replace('"custom"', '"second"').replace(
    "/send", "/other"
)


@ROWS
def r9_plans_that_use_it(lab: Lab) -> None:
    """A plan names the gateways for its texts; the other groups' texts go by all of them."""
    lab.provider.say(200)
    product = lab.make(TWO)
    lab.ctl(product, "plans", "set", "unlimited", "providers=second")
    lab.guest(product).ask(NUMBER)
    assert only(lab.provider).path == "/other"
    (plan,) = lab.ctl(product, "plans")
    assert plan["providers"] == ["second"]


@ROWS
def r10_portals_that_use_it_for_resets(lab: Lab) -> None:
    """The network's splash page names the gateways for its resets."""
    lab.provider.say(200)
    product = lab.make(TWO + SPLASH + 'reset = "sms"\nreset_providers = ["second"]\n')
    lab.ctl(product, "accounts", "set", "alice", f"number={NUMBER}", "password=secret77")
    lab.guest(product).at("/forgotten", contact=NUMBER)
    assert only(lab.provider).path == "/other"


@ROWS
def r11_note(lab: Lab) -> None:
    """The note is shown to the operator and changes nothing."""
    lab.provider.say(201, CREATED)
    noted = lab.make(TWILIO + 'note = "paid by the hotel until May"\n')
    lab.guest(noted).ask(NUMBER)
    assert lab.ctl(noted, "sms", "providers")[0]["note"] == "paid by the hotel until May"
    assert "paid by the hotel until May" in lab.operator(noted).page()
    lab.guest(lab.make(TWILIO), 12).ask(OTHER)
    first, second = (form(request) for request in lab.provider.requests)
    assert first.keys() == second.keys()
    assert "hotel" not in str(first)


@ROWS
def r12_trial_account(lab: Lab) -> None:
    """A trial account's refusal is explained to the operator, and the guest is sent to the staff."""
    lab.provider.say(400, '{"code": 21608, "message": "The number is unverified.", "status": 400}')
    product = lab.make(TWILIO)
    assert "Please tell the staff" in lab.guest(product).ask(NUMBER)
    (row,) = lab.ctl(product, "sms", "log")
    assert row["outcome"] == "configuration"
    assert "a trial account may text only numbers that are verified" in row["words"]


@ROWS
def r13_test_credentials(lab: Lab) -> None:
    """Twilio knows no number of the venue's under test credentials: the operator is told at once."""
    lab.provider.say(400, '{"code": 21606, "message": "From is not a valid number.", "status": 400}')
    product = lab.make(TWILIO.replace("live-token", "test-token"))
    answer = lab.ctl(product, "sms", "test", NUMBER)
    assert (answer["outcome"], "21606" in answer["words"]) == ("configuration", True)
    (alarm,) = lab.ctl(product, "status")["alarms"]
    assert alarm["text"] == "provider main rests: configuration"


@ROWS
def r14_email_to_sms(lab: Lab) -> None:
    """A code comes by an e-mail to the gateway of the guest's carrier."""
    product, mails = by_email(lab)
    guest = lab.guest(product)
    guest.ask(NUMBER, carrier="verizon")
    assert lab.provider.requests == []
    assert mails.recipients == ["4155552671@vtext.com"]
    (message,) = mails.messages
    assert (message["From"], message["Subject"]) == ("wifi@venue.example", "")
    assert message.get_content_type() == "text/plain"
    assert "You are online" in guest.type(mails.code())
    assert guest.online


@ROWS
def r15_no_usage_plan(lab: Lab) -> None:
    """Whatever plan the network's guests have, who comes by a carrier has that of the group SMS."""
    zone = '[[zones]]\ninterface = "br-guest"\nnetworks = ["10.77.0.0/24"]\ngroup = "Paying"\n'
    product, mails = by_email(lab, zone)
    product.store.connection.execute(
        "INSERT INTO plans (name, terms) VALUES ('hour', '{\"session\": \"60m\"}')"
    )
    product.store.connection.execute("INSERT INTO groups (name, plan) VALUES ('Paying', 'hour')")
    paying, free = lab.guest(product), lab.guest(product, 12)
    paying.ask(NUMBER)
    paying.type(code_in(text_of(only(lab.provider))))
    free.ask(OTHER, carrier="verizon")
    free.type(mails.code())
    rows = {row["mac"]: (row["group"], row["plan"]) for row in lab.ctl(product, "sessions")}
    assert rows == {paying.mac: ("Paying", "hour"), free.mac: ("SMS", "unlimited")}


@ROWS
def r16_carrier_dropdown(lab: Lab) -> None:
    """The guest chooses a carrier from a list, which tells what is not offered and not certain."""
    product, mails = by_email(lab)
    guest = lab.guest(product)
    page = guest.page()
    assert '<option value="verizon">Verizon</option>' in page
    assert "<option disabled>AT&amp;T (US)</option>" in page
    assert "Your carrier is not listed?" in page
    for carrier in ("att", "nobody"):
        assert "This way of getting the code is not offered" in guest.ask(NUMBER, carrier=carrier)
    assert mails.messages == []
    page = guest.ask(NUMBER, carrier="verizon")
    assert "We asked <strong>Verizon</strong>" in page
    assert "That is not certain" in page
    lab.clock.move(1_806_537_600 - lab.clock.now)  # 2027-04-01: Verizon has ended it
    assert "<option disabled>Verizon (US)</option>" in lab.guest(product, 12).page()


@ROWS
def r17_group_named_sms(lab: Lab) -> None:
    """The option is there while a group has the name SMS, to the letter, and a mail server is set."""
    product, mails = by_email(lab)
    guest = lab.guest(product)
    connection = product.store.connection
    offered = "Get the code by way of your carrier instead"
    assert offered in guest.page()
    connection.execute("UPDATE groups SET name = 'sms' WHERE name = 'SMS'")
    assert offered not in guest.page()
    assert "not offered" in guest.ask(NUMBER, carrier="verizon")
    assert mails.messages == []
    connection.execute("INSERT INTO groups (name, plan) VALUES ('SMS', 'unlimited')")
    assert offered in guest.page()
    assert offered not in lab.guest(lab.make(CUSTOM), 12).page()


@ROWS
def r18_unlimited(lab: Lab) -> None:
    """Who comes that way joins the group SMS, without an end and without a limit."""
    product, mails = by_email(lab)
    guest = lab.guest(product)
    guest.ask(NUMBER, carrier="verizon")
    page = guest.type(mails.code())
    assert re.search(r"Time left</dt><dd>no limit", page)
    (row,) = lab.ctl(product, "sessions")
    assert (row["group"], row["plan"], row["expires_at"]) == ("SMS", "unlimited", None)
    lab.clock.move(30 * 86_400)
    product.rounds.round()
    assert guest.online


@ROWS
def r19_place_on_the_operators_page(lab: Lab) -> None:
    """Gateways are listed on the operator's page, with type, state and note."""
    lab.provider.say(503)
    page = lab.operator(lab.make(TWILIO + 'note = "until May"\n' + CUSTOM + "enabled = false\n")).page()
    table = page.partition("<h2>Providers</h2>")[2].partition("</table>")[0]
    assert "<td>main</td><td>twilio</td><td>ready</td>" in table
    assert "until May" in table
    assert "<td>custom</td><td>http</td><td>off</td>" in table

"""E-mail-to-SMS against a mail server: what it gets, what its answers mean, and that nothing is injected."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portald.errors import ConfigError, SmsError
from portald.model import Outcome, Text
from portald.phone import national
from portald.schema import Secret, build
from portald.sms.carriers import load
from portald.sms.email import Email, address, compose
from portald.sms.mailbox import Mailbox as Codes
from tests.sms.tables import CODE, NUMBER, TEXT, TOKEN
from tests.sms.test_payload import nasty

DIGITS = NUMBER[2:]
ADDRESS = f"{DIGITS}@vtext.com"


class Mailbox:
    """What aiosmtpd calls; ``say`` answers a command otherwise than it would."""

    port: int

    def __init__(self) -> None:
        self.envelopes: list[Any] = []
        self.commands: list[str] = []
        self.answers: dict[str, str] = {}
        self.authenticated: list[bool] = []

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: Any
    ) -> Any:
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, sender: str, options: Any) -> str:
        envelope.mail_from = sender
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, recipient: str, options: Any
    ) -> str:
        self.commands.append(f"RCPT {recipient}")
        if "RCPT" not in self.answers:
            envelope.rcpt_tos.append(recipient)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.envelopes.append(envelope)
        self.authenticated.append(bool(session.authenticated))
        answer = self.answers.get("DATA", "250 queued as 1")
        if answer == "hang up":
            server.transport.abort()
        if answer == "be silent":
            await asyncio.sleep(3)
        return answer


def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"portald", TOKEN.encode())
    return AuthResult(success=good, handled=False)


Serve = Callable[..., Mailbox]


class Server(threading.Thread):
    """A mail server in a thread of its own."""

    def __init__(self, mailbox: Mailbox, tls: ssl.SSLContext | None, **more: Any) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

        def protocol() -> SMTP:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # aiosmtpd's: a login without STARTTLS, inside TLS
                return SMTP(mailbox, authenticator=login, loop=self.loop, **more)

        serving = self.loop.create_server(protocol, "127.0.0.1", 0, ssl=tls)
        self.server = self.loop.run_until_complete(serving)
        mailbox.port = self.server.sockets[0].getsockname()[1]

    def run(self) -> None:
        self.loop.run_forever()
        self.server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start mail servers; ``port`` of the mailbox is theirs."""
    running: list[Server] = []

    def start(
        tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, **more: Any
    ) -> Mailbox:
        mailbox = Mailbox()
        server = Server(mailbox, tls, tls_context=starttls, **more)
        server.start()
        running.append(server)
        return mailbox

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def provider(at: int, **more: Any) -> Email:
    table = {
        "host": "127.0.0.1",
        "port": at,
        "security": "none",
        "sender": "wifi@lobby.example",
        "timeout": 5,
    }
    return build(Email, {**table, **more})


def text(body: str = TEXT, to: str = NUMBER, carrier: str = "verizon") -> Text:
    return Text(to, body, CODE, carrier=carrier)


def failure(email: Email, sent: Text | None = None) -> SmsError:
    with pytest.raises(SmsError) as caught:
        email.send(sent or text())
    for secret in (CODE, DIGITS, TOKEN):
        assert secret not in caught.value.words
    return caught.value


# Codes to the guests' own mailboxes -------------------------------------------------------------


def test_a_code_to_a_mailbox(serve: Serve) -> None:
    mailbox = serve()
    table = {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "sender": "wifi@lobby.example"}
    sender = build(Codes, {**table, "subject": "Ihr WLAN-Code für heute"})
    message_id = sender.send(text(to="guest+wifi@example.org"))
    (envelope,) = mailbox.envelopes
    assert envelope.rcpt_tos == ["guest+wifi@example.org"]
    message = message_from_bytes(envelope.content, policy=policy.SMTP)
    assert (message["Subject"], message["Message-ID"]) == ("Ihr WLAN-Code für heute", message_id)
    assert message.get_content() == f"{TEXT}\r\n"
    for nobody in (NUMBER, "a@b@c", "x@example.org\r\nBCC: y@example.org", "<x@example.org>", ""):
        with pytest.raises(SmsError) as refused:
            sender.send(text(to=nobody))
        assert (refused.value.outcome, refused.value.of_number) == (Outcome.INVALID_NUMBER, True)
    assert len(mailbox.envelopes) == 1


# What it gets ----------------------------------------------------------------------------------


def test_the_e_mail(serve: Serve) -> None:
    mailbox = serve()
    message_id = provider(mailbox.port, envelope_sender="bounces@lobby.example").send(text())
    (envelope,) = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("bounces@lobby.example", [ADDRESS])
    message = message_from_bytes(envelope.content, policy=policy.SMTP)
    assert (message["From"], message["To"], message["Subject"]) == ("wifi@lobby.example", ADDRESS, "")
    assert message["Message-ID"] == message_id
    assert message_id.endswith("@lobby.example>")
    assert message.get_content_type() == "text/plain"
    assert message.get_content() == f"{TEXT}\r\n"
    assert set(message.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID"),
        *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
    }


def test_each_e_mail_has_an_id_of_its_own(serve: Serve) -> None:
    mailbox = serve()
    email = provider(mailbox.port)
    assert len({email.send(text()) for _ in range(5)}) == 5
    assert len(mailbox.envelopes) == 5


@pytest.mark.parametrize(
    ("number", "number_format", "country", "local"),
    [
        ("+14155552671", "national", "US", "4155552671"),
        ("+14155552671", "e164", "US", "14155552671"),
        ("+48512345678", "e164_plus", "PL", "+48512345678"),
        ("+33612345678", "zero_national", "FR", "0612345678"),
        ("+447400123456", "national", "GB", "7400123456"),
    ],
)
def test_the_number_as_the_carrier_wants_it(
    serve: Serve, tmp_path: Path, number: str, number_format: str, country: str, local: str
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        f'[own]\nname = "Own"\ncountry = "{country}"\ndomain = "sms.own.example"\nstate = "working"\n'
        f'number_format = "{number_format}"\nevidence = "ours"\nchecked = 2026-11-20\n'
    )
    mailbox = serve()
    email = provider(mailbox.port, carriers_file=str(own))
    assert "own" in email.carriers
    email.send(text(to=number, carrier="own"))
    assert mailbox.commands == [f"RCPT {local}@sms.own.example"]


@pytest.mark.parametrize(
    "number",
    [
        "+447911123456",
        "+16045551234",
        "+18765551234",
        "4155552671",
        "+1",
        "",
        "+1415555267x",
        "+999123456789",
    ],
)
def test_a_number_of_another_country_is_nobody_s(serve: Serve, number: str) -> None:
    """Without its country code it would be the number of somebody else."""
    mailbox = serve()
    assert failure(provider(mailbox.port), text(to=number)).outcome is Outcome.INVALID_NUMBER
    assert mailbox.commands == []


def test_a_carrier_that_is_not_in_the_list(serve: Serve) -> None:
    for carrier in ("", "nobody", "../verizon"):
        assert failure(provider(9), text(carrier=carrier)).outcome is Outcome.CONFIGURATION


# Security --------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_with_tls_and_a_password(
    serve: Serve, context: ssl.SSLContext, certificate: Path, security: str
) -> None:
    mailbox = serve(**{security: context}, auth_required=True, auth_require_tls=security == "starttls")
    more = {"security": security, "ca_file": str(certificate), "user": "portald"}
    provider(mailbox.port, **more, password=TOKEN).send(text())
    assert mailbox.authenticated == [True]
    found = failure(provider(mailbox.port, **more, password="wrong-password"))
    assert found.outcome is Outcome.AUTHENTICATION
    assert "wrong-password" not in found.words
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_trusts(serve: Serve, context: ssl.SSLContext, security: str) -> None:
    mailbox = serve(**{security: context})
    found = failure(provider(mailbox.port, security=security, user="portald", password=TOKEN))
    assert found.outcome is Outcome.CONFIGURATION
    assert "CERTIFICATE_VERIFY_FAILED" in found.words
    assert mailbox.commands == []


def test_a_certificate_for_another_name(serve: Serve, context: ssl.SSLContext, certificate: Path) -> None:
    mailbox = serve(tls=context)
    email = provider(mailbox.port, security="tls", ca_file=str(certificate), host="127.0.0.2")
    assert failure(email).outcome in (Outcome.CONFIGURATION, Outcome.TEMPORARY)
    assert mailbox.envelopes == []


def test_a_server_without_starttls_gets_nothing(serve: Serve) -> None:
    mailbox = serve()
    found = failure(provider(mailbox.port, security="starttls", user="portald", password=TOKEN))
    assert found.outcome is Outcome.CONFIGURATION
    assert mailbox.commands == []


def test_tls_to_a_server_without(serve: Serve) -> None:
    assert failure(provider(serve().port, security="tls")).outcome is Outcome.CONFIGURATION


def test_a_server_that_wants_a_login(serve: Serve, context: ssl.SSLContext, certificate: Path) -> None:
    mailbox = serve(starttls=context, auth_required=True)
    email = provider(mailbox.port, security="starttls", ca_file=str(certificate))
    assert failure(email).outcome is Outcome.CONFIGURATION


def test_a_server_that_knows_no_login(serve: Serve) -> None:
    mailbox = serve(auth_require_tls=True)
    found = failure(provider(mailbox.port, user="portald", password=TOKEN))
    assert found.outcome is Outcome.CONFIGURATION


# What its answers mean -------------------------------------------------------------------------

ANSWERS: dict[str, tuple[str, str, Outcome]] = {
    "no such user": ("RCPT", f"550 5.1.1 <{ADDRESS}> unknown", Outcome.INVALID_NUMBER),
    "not local": ("RCPT", "551 not here", Outcome.INVALID_NUMBER),
    "mailbox full": ("RCPT", "552 full", Outcome.INVALID_NUMBER),
    "mailbox name": ("RCPT", "553 no", Outcome.INVALID_NUMBER),
    "relaying denied": ("RCPT", "550 5.7.1 relaying denied", Outcome.CONFIGURATION),
    "refused altogether": ("RCPT", "554 no", Outcome.CONFIGURATION),
    "login first": ("RCPT", "530 5.7.0 Authentication required", Outcome.CONFIGURATION),
    "try later": ("RCPT", "450 4.2.1 greylisted", Outcome.TEMPORARY),
    "local error": ("RCPT", "451 oops", Outcome.TEMPORARY),
    "no room": ("RCPT", "452 4.3.1 no room", Outcome.TEMPORARY),
    "not our sender": ("MAIL", "550 5.1.8 sender rejected", Outcome.CONFIGURATION),
    "sender later": ("MAIL", "421 4.7.0 too many", Outcome.TEMPORARY),
    "content": ("DATA", "554 5.7.1 spam", Outcome.CONFIGURATION),
    "content later": ("DATA", "451 4.7.1 later", Outcome.TEMPORARY),
    "hangs up": ("DATA", "hang up", Outcome.UNKNOWN),
    "says nothing that makes sense": ("DATA", "xyz", Outcome.UNKNOWN),
}


@pytest.mark.parametrize("row", ANSWERS)
def test_answers(serve: Serve, row: str) -> None:
    command, answer, outcome = ANSWERS[row]
    mailbox = serve()
    mailbox.answers[command] = answer
    found = failure(provider(mailbox.port))
    assert found.outcome is outcome
    assert found.words.startswith(f"{command}: ")
    assert ADDRESS not in found.words
    assert len(mailbox.envelopes) == (command == "DATA")


def test_silence_after_the_e_mail_leaves_its_fate_unknown(serve: Serve) -> None:
    mailbox = serve()
    mailbox.answers["DATA"] = "be silent"
    found = failure(provider(mailbox.port, timeout=1))
    assert (found.outcome, found.words) == (Outcome.UNKNOWN, "DATA: no answer in time")
    assert len(mailbox.envelopes) == 1


# Servers that are none -------------------------------------------------------------------------


@pytest.fixture
def raw() -> Iterator[Callable[..., int]]:
    """Serve bytes, with a pause before each piece; return the port."""
    stopping = threading.Event()
    threads = []
    listeners = []

    def start(*pieces: bytes, pause: float = 0) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(2)

        def answer() -> None:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return
            with connection:
                for piece in pieces:
                    if pause and stopping.wait(pause):
                        return
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return

        thread = threading.Thread(target=answer)
        thread.start()
        threads.append(thread)
        listeners.append(listener)
        return int(listener.getsockname()[1])

    yield start
    stopping.set()
    for thread, listener in zip(threads, listeners, strict=True):
        thread.join()
        listener.close()


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = failure(provider(taken.getsockname()[1]))
    assert found.outcome is Outcome.TEMPORARY
    assert found.words.startswith("connection: ")


def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **more: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert failure(provider(25, host="mail.invalid")).outcome is Outcome.TEMPORARY


@pytest.mark.parametrize(
    "pieces",
    [
        (b"",),
        (b"554 go away\r\n",),
        (b"421 busy\r\n",),
        (b"HTTP/1.0 400 Bad\r\n\r\n",),
        (b"\x00\xff" * 9000,),
    ],
)
def test_a_server_that_does_not_want_us(raw: Callable[..., int], pieces: tuple[bytes, ...]) -> None:
    assert failure(provider(raw(*pieces))).outcome is Outcome.TEMPORARY


DRIPS = {
    "silence": [b""],
    "a greeting": [b"2", b"2", b"0"] + [b"x"] * 60,
    "many lines": [b"220-x\r\n"] * 60,
    "the capabilities": [b"220 hello\r\n"] + [b"250-x\r\n"] * 60,
    "the handshake": [b"220 hello\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n\x16\x03\x03\x40\x00"]
    + [b"\x02"] * 60,
}


@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_drips_are_given_up_in_time(raw: Callable[..., int], drip: str, security: str) -> None:
    port = raw(*DRIPS[drip], pause=0.1)
    assert failure(provider(port, security=security, timeout=1)).outcome in (
        Outcome.TEMPORARY,
        Outcome.CONFIGURATION,  # TLS that is none
    )


# Nothing is injected ---------------------------------------------------------------------------

hostile = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def mailbox(serve: Serve) -> Mailbox:
    return serve()


@hostile
@given(
    body=nasty
    | st.sampled_from(["\r\n.\r\nMAIL FROM:<x@y>\r\n", ".\n.", "\r.\r", "From x\nBcc: a@b\n\n", "x" * 2000])
)
def test_whatever_the_body_is_it_stays_the_body(mailbox: Mailbox, body: str) -> None:
    mailbox.envelopes.clear()
    provider(mailbox.port).send(text(body))
    (envelope,) = mailbox.envelopes
    assert envelope.rcpt_tos == [ADDRESS]
    message = message_from_bytes(envelope.content, policy=policy.SMTP)
    assert message["To"] == ADDRESS
    assert message["Bcc"] is None
    assert not message.is_multipart()
    received = (message.get_payload(decode=True) or b"").decode()
    lines = "\n".join(re.split(r"\r\n|\r|\n", body))
    assert "\n".join(re.split(r"\r\n|\r|\n", received)).removesuffix("\n") == lines.removesuffix("\n")


@hostile
@given(
    number=nasty | st.from_regex(r"\A\+1[0-9@.<>,\r\n ]{5,20}\Z"),
    key=nasty | st.sampled_from(sorted(load())),
)
def test_whatever_the_number_is_it_is_digits_at_a_domain_of_the_list(number: str, key: str) -> None:
    carrier = load().get(key, load()["verizon"])
    try:
        made = address(number, carrier)
    except SmsError as refused:
        assert refused.outcome is Outcome.INVALID_NUMBER  # noqa: PT017
        return
    assert re.fullmatch(rf"\+?[0-9]+@{re.escape(carrier.domain)}", made)
    assert national(number) in made


def test_an_address_is_never_guessed_from_the_guest(serve: Serve) -> None:
    for number in (
        f"{NUMBER}@evil.example",
        f"{NUMBER},x@evil.example",
        f"{NUMBER}\r\nRCPT TO:<x@evil.example>",
    ):
        with pytest.raises(SmsError):
            address(number, load()["verizon"])
    with pytest.raises(ValueError, match="linefeed or carriage"):
        compose("x", "a@b\r\nBcc: c@d", "e@f")


# Settings --------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "host": ({"host": "mail example"}, "host: expected a name"),
    "security": ({"security": "ssl"}, "security: expected starttls or tls or none"),
    "sender": ({"sender": "Lobby <wifi@lobby.example>"}, "sender: expected an address"),
    "sender of two lines": ({"sender": "wifi@lobby.example\r\nBcc: x@y"}, "sender: expected an address"),
    "envelope": ({"envelope_sender": "<>"}, "envelope_sender: expected an address"),
    "user alone": ({"user": "u"}, "user: give user and password together"),
    "in clear": (
        {"host": "mail.example", "user": "u", "password": "p"},
        "security: a password would cross",
    ),
    "another script": ({"user": "ü", "password": "p"}, "password: mail servers take ASCII only"),
    "no certificates": ({"ca_file": "/nonexistent.pem"}, "ca_file: cannot be used"),
    "rubbish certificates": ({"ca_file": "/etc/hostname"}, "ca_file: cannot be used"),
    "no carriers": ({"carriers_file": "/nonexistent.toml"}, "carriers_file: cannot be read"),
    "port": ({"port": 0}, "port: at least 1"),
}


@pytest.mark.parametrize("row", WRONG)
def test_settings_that_are_refused(row: str) -> None:
    more, problem = WRONG[row]
    with pytest.raises(ConfigError) as caught:
        provider(25, **more)
    assert str(caught.value).startswith(problem)


def test_a_password_does_not_show() -> None:
    assert TOKEN not in repr(provider(25, user="u", password=TOKEN))
    assert build(Email, {"host": "mail.example", "sender": "a@b.example"}).security == "starttls"


def test_risks_are_named() -> None:
    assert len(provider(25).warnings()) == 1
    assert provider(25, host="mail.example").warnings()[1].startswith("security: none shows codes")
    assert Secret(TOKEN) == Secret(TOKEN)

"""Other ways in, over the real WSGI stack: voucher, password, PIN, the staff, e-mail, and coming back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import BoundedSemaphore
from typing import Any, ClassVar

import pytest
from werkzeug.test import Client as Browser
from werkzeug.test import TestResponse

from portald import passwords
from portald.access import WINDOW_BYTES
from portald.errors import ConfigError, Reason, Refused, SmsError
from portald.exchange import DECOY
from portald.model import Client, End, Outcome, Sort
from portald.passwords import WRONG
from portald.returning import RETURNS, is_randomised
from portald.sms.breaker import Breaker
from portald.sms.codes import Codes
from portald.sms.routes import Route, Way
from portald.store.entries import MOST_TOKENS
from portald.texts import Texts
from tests.conftest import KEY, NUMBER, Clock, Outbox, Product
from tests.web.test_guest import Phone

MAC = "02:cc:00:00:00:01"
MAIL = "guest@example.org"
PIN = "834512"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are meant to be slow, and tests are not; the scheme is the same."""
    monkeypatch.setattr(passwords, "_N", 2**4)
    monkeypatch.setattr(passwords, "_P", 1)


@dataclass
class Mailbox(Outbox):
    to_mailboxes: ClassVar[bool] = True


@dataclass
class Venue:
    product: Product
    mails: Mailbox
    phones: dict[str, Phone] = field(default_factory=dict)

    def phone(self, last: int = 11, mac: str = MAC) -> Phone:
        self.product.table.join(f"10.77.0.{last}", mac)
        return Phone(self.product, f"10.77.0.{last}")

    def plan(self, **terms: str) -> None:
        self.product.arranging.set_plan("unlimited", terms)

    def account(self, name: str, **changes: Any) -> None:
        self.product.arranging.set_account(name, changes)

    def live(self) -> list[str]:
        return [session.account.name for session in self.product.portal.sessions()]

    def end(self, why: End) -> None:
        self.product.door.end({session.id: why for session in self.product.portal.sessions()})


@pytest.fixture
def make(make_product: Callable[..., Product], clock: Clock) -> Callable[..., Venue]:
    def build(**zone: Any) -> Venue:
        probe = make_product()
        settings = {"ways": ("voucher", "password", "staff"), "reset": "both", **zone}
        zones = (replace(probe.config.zones[0], **settings),)
        texts, mails, outbox = Texts(probe.config), Mailbox(), Outbox()
        ways = [
            Way(Route(), "outbox", outbox, Codes(outbox, KEY, texts), Breaker(clock)),
            Way(Route(name="mail"), "mailbox", mails, Codes(mails, KEY, texts), Breaker(clock)),
        ]
        product = make_product(ways, zones=zones)
        product.outbox = outbox
        return Venue(product, mails)

    return build


@pytest.fixture
def venue(make: Callable[..., Venue]) -> Venue:
    return make()


def bare(page: str) -> str:
    """Return a page without what differs from device to device."""
    return re.sub(r'[0-9a-f]{32}|nonce="[^"]*"|<bdi class="number">[^<]*', "", page)


def sign_in(phone: Phone, venue: Venue, number: str = NUMBER) -> TestResponse:
    phone.ask(number)
    return phone.post("/code", form=phone.form, code=venue.product.outbox.code())


# Vouchers ----------------------------------------------------------------------------------


def test_a_voucher_lets_in(venue: Venue) -> None:
    batch = venue.product.vouchers.make("SMS", 2)
    first, second = venue.product.vouchers.codes(batch)
    phone = venue.phone()
    assert 'href="/voucher"' in phone.get("/").text
    typed = first.lower().replace("-", " ")
    assert phone.post("/voucher", form=phone.form, voucher=typed).location == "/status"
    assert venue.live() == ["voucher 1-1"]
    other = venue.phone(12, "02:cc:00:00:00:02")
    answer = other.post("/voucher", form=other.form, voucher=first)
    assert answer.status_code == 409
    assert "as many devices" in answer.text
    assert other.post("/voucher", form=other.form, voucher=second).location == "/status"
    assert venue.product.vouchers.batches()[0].used == 2


def test_a_voucher_is_good_for_its_devices_again_and_again(venue: Venue) -> None:
    batch = venue.product.vouchers.make("SMS", 1, uses=2)
    (code,) = venue.product.vouchers.codes(batch)
    for last, mac in ((11, MAC), (12, "02:cc:00:00:00:02"), (11, MAC)):
        phone = venue.phone(last, mac)
        assert phone.post("/voucher", form=phone.form, voucher=code).location == "/status"
        venue.end(End.LEFT)
    third = venue.phone(13, "02:cc:00:00:00:03")
    assert third.post("/voucher", form=third.form, voucher=code).status_code == 409


def test_a_voucher_lasts_from_its_first_use(venue: Venue, clock: Clock) -> None:
    batch = venue.product.vouchers.make("SMS", 1, uses=9, lasts=3600)
    (code,) = venue.product.vouchers.codes(batch)
    clock.move(86_400 * 30)
    phone = venue.phone()
    phone.post("/voucher", form=phone.form, voucher=code)
    (session,) = venue.product.portal.sessions()
    assert session.expires_at == clock() + 3600
    clock.move(3600)
    venue.product.rounds.round()
    assert venue.live() == []
    assert phone.post("/voucher", form=phone.form, voucher=code).status_code == 403


def test_an_expired_a_withdrawn_and_a_made_up_voucher(venue: Venue, clock: Clock) -> None:
    vouchers, phone = venue.product.vouchers, venue.phone()
    old = vouchers.make("SMS", 1, expires_at=clock() + 10)
    drawn = vouchers.make("SMS", 1)
    assert vouchers.withdraw(drawn.id)
    clock.move(10)
    for code, status in (
        (vouchers.codes(old)[0], 403), (vouchers.codes(drawn)[0], 422), ("23456-ABCDE", 422), ("x", 422), ("", 422),
    ):  # fmt: skip
        assert phone.post("/voucher", form=phone.form, voucher=code).status_code == status
    assert venue.live() == []


def test_withdrawing_a_batch_cuts_who_used_it(venue: Venue) -> None:
    batch = venue.product.vouchers.make("SMS", 1)
    phone = venue.phone()
    phone.post("/voucher", form=phone.form, voucher=venue.product.vouchers.codes(batch)[0])
    venue.product.vouchers.withdraw(batch.id)
    venue.product.rounds.round()
    assert venue.live() == []


def test_vouchers_cannot_be_guessed_and_are_not_in_the_database(venue: Venue) -> None:
    batch = venue.product.vouchers.make("SMS", 50)
    codes = venue.product.vouchers.codes(batch)
    assert len(set(codes)) == 50
    kept = "\n".join(venue.product.store.connection.iterdump())
    assert not [code for code in codes if code in kept or code.replace("-", "") in kept]
    phone = venue.phone()
    answers = {
        phone.post("/voucher", form=phone.form, voucher=f"23456-ABCD{n % 8 + 2}").status_code
        for n in range(20)
    }
    assert answers == {422, 429}


# Passwords ---------------------------------------------------------------------------------


def enter(phone: Phone, name: str, password: str) -> TestResponse:
    return phone.post("/password", form=phone.form, name=name, password=password)


def test_an_account_with_a_password(venue: Venue) -> None:
    venue.account("alice", password="secret77", number=NUMBER)
    phone = venue.phone()
    assert enter(phone, "alice", "secret78").status_code == 422
    assert enter(phone, "alice", "secret77").location == "/status"
    assert venue.live() == ["alice"]
    venue.end(End.LEFT)
    assert enter(phone, "(415) 555-2671", "secret77").location == "/status", "the number is a name too"


def test_unknown_names_are_answered_alike(venue: Venue) -> None:
    venue.account("alice", password="secret77")
    one, other = venue.phone(), venue.phone(12, "02:cc:00:00:00:02")
    known, unknown = enter(one, "alice", "x" * 9), enter(other, "alicf", "x" * 9)
    assert known.status_code == unknown.status_code == 422
    assert bare(known.text).replace("alice", "") == bare(unknown.text).replace("alicf", "")


def test_guesses_at_a_password_are_few_and_then_only_a_code_helps(venue: Venue, clock: Clock) -> None:
    venue.account("alice", password="secret77", number=NUMBER)
    account = venue.product.arranging.account("alice")
    for n in range(WRONG):
        phone = venue.phone(20 + n, f"02:cc:00:00:01:{n:02x}")
        enter(phone, "alice", f"wrong{n}")
    late = venue.phone(50, "02:cc:00:00:02:00")
    answer = enter(late, "alice", "secret77")
    assert answer.status_code == 403
    assert "sign in by a code" in answer.text
    venue.product.arranging.set_account("alice", {"password": "another8"})
    assert enter(late, "alice", "another8").location == "/status"
    assert venue.product.store.password(account.id) is not None


def test_nobody_is_locked_out_for_good_by_a_stranger_s_guesses(venue: Venue, clock: Clock) -> None:
    """No code can be sent to such an account; guesses are few by the hour."""
    venue.account("alice", password="secret77")
    for n in range(40):
        answer = enter(venue.phone(20 + n, f"02:cc:00:00:01:{n:02x}"), "alice", f"wrong{n}")
        assert answer.status_code == (422 if n < 30 else 429)
    clock.move(3601)
    assert enter(venue.phone(), "alice", "secret77").location == "/status"


def test_only_wrong_passwords_in_a_row_count(venue: Venue, clock: Clock) -> None:
    venue.account("alice", password="secret77", number=NUMBER)
    phone = venue.phone()
    for _ in range(3):
        for n in range(WRONG - 1):
            enter(phone, "alice", f"wrong{n}")
        assert enter(phone, "alice", "secret77").location == "/status"
        venue.end(End.LEFT)
        clock.move(3601)


def test_wrong_pins_do_not_use_up_the_guesses_at_a_code(venue: Venue) -> None:
    """Else anybody who knows a number could keep its owner from typing the code."""
    for n in range(40):
        enter(venue.phone(20 + n, f"02:cc:00:00:01:{n:02x}"), NUMBER, f"wrong{n}")
    assert sign_in(venue.phone(), venue).location == "/status"


def test_a_shared_password_is_no_guest_s_to_change(venue: Venue) -> None:
    venue.account("conference", password="secret77")
    phone, other = venue.phone(), venue.phone(12, "02:cc:00:00:00:02")
    form = phone.form
    enter(phone, "conference", "secret77")
    assert phone.post("/pin", form=form, password="mine-now").status_code == 403
    assert enter(other, "conference", "secret77").location == "/status"


def test_a_pin_is_not_chosen_where_nobody_may_use_one(make: Callable[..., Venue]) -> None:
    venue = make(ways=())
    phone = venue.phone()
    sign_in(phone, venue)
    assert phone.post("/pin", form=phone.form, password=PIN).status_code == 403


def test_who_came_without_a_code_makes_no_key_of_it(venue: Venue, clock: Clock) -> None:
    """A PIN, or a token that somebody has read on the air, is good for a day and not for more."""
    phone = venue.phone()
    sign_in(phone, venue)
    phone.post("/pin", form=phone.form, password=PIN)
    clock.move(60)
    thief = venue.phone(12, "06:dd:00:00:00:09")
    form = thief.form
    assert enter(thief, NUMBER, PIN).location == "/status"
    assert "PIN" not in thief.get("/status").text
    assert thief.post("/pin", form=form, password="9" + PIN).status_code == 403


def test_a_crowd_of_passwords_leaves_threads_for_others(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_places", BoundedSemaphore(1))
    phone = venue.phone()
    form = phone.form
    with passwords.room():
        answer = phone.post("/password", form=form, name="x", password="whatever")
    assert answer.status_code == 503
    assert enter(phone, "x", "whatever").status_code == 422, "the place was given back"


def test_pins_are_chosen_only_so_often(venue: Venue) -> None:
    phone = venue.phone()
    sign_in(phone, venue)
    form = phone.form
    answers = [phone.post("/pin", form=form, password=f"{PIN}{n}").status_code for n in range(6)]
    assert answers == [303] * 5 + [503]


def test_a_device_may_guess_only_so_often(venue: Venue) -> None:
    phone = venue.phone()
    answers = [enter(phone, f"name{n}", "whatever").status_code for n in range(20)]
    assert answers[0] == 422
    assert answers[-1] == 429


def test_a_second_step_by_text(venue: Venue) -> None:
    """W2: the code comes to the number in the profile, and only after the right password."""
    venue.plan(second="sms")
    venue.account("alice", password="secret77", number="+14155552673")
    phone = venue.phone()
    assert enter(phone, "alice", "wrong").status_code == 422
    assert venue.product.outbox.texts == []
    assert enter(phone, "alice", "secret77").location == "/code"
    assert venue.live() == []
    assert [to for to, _ in venue.product.outbox.texts] == ["+14155552673"]
    assert phone.post("/code", form=phone.form, code=venue.product.outbox.code()).location == "/status"
    assert venue.live() == ["alice"]


def test_a_second_step_can_be_asked_for_again(venue: Venue, clock: Clock) -> None:
    venue.plan(second="sms")
    venue.account("alice", password="secret77", number=NUMBER)
    phone = venue.phone()
    enter(phone, "alice", "secret77")
    clock.move(61)
    assert phone.post("/resend", form=phone.form).location == "/code"
    phone.post("/code", form=phone.form, code=venue.product.outbox.code())
    assert venue.live() == ["alice"]


def test_a_forgotten_password(venue: Venue) -> None:
    venue.account("alice", password="secret77", number=NUMBER, email=MAIL)
    phone = venue.phone()
    assert phone.post("/forgotten", form=phone.form, contact="415 555 2671").location == "/code"
    page = phone.get("/code").text
    assert "If <strong" in page
    assert 'action="/reset"' in page
    code = venue.product.outbox.code()
    # The code is for a new password, and does not let in.
    assert phone.post("/code", form=phone.form, code=code).status_code == 410
    assert phone.post("/reset", form=phone.form, code=code, password="123456").status_code == 422
    assert (
        phone.post("/reset", form=phone.form, code=code, password="n3w-secret").location == "/password?done"
    )
    assert enter(phone, "alice", "secret77").status_code == 422
    assert enter(phone, "alice", "n3w-secret").location == "/status"


def test_a_reset_tells_nobody_whether_there_is_an_account(venue: Venue) -> None:
    venue.account("alice", password="secret77", number=NUMBER, email=MAIL)
    pages = []
    for n, contact in enumerate([NUMBER, "+14155552679", MAIL, "nobody@example.org"]):
        phone = venue.phone(20 + n, f"02:cc:00:00:01:{n:02x}")
        assert phone.post("/forgotten", form=phone.form, contact=contact).location == "/code"
        pages.append(bare(phone.get("/code").text))
    assert pages[0] == pages[1]
    assert pages[2] == pages[3]
    assert [to for to, _ in venue.product.outbox.texts] == [NUMBER]
    assert [to for to, _ in venue.mails.texts] == [MAIL]


@pytest.mark.parametrize(
    ("reset", "sms", "mail"), [("sms", 303, 403), ("email", 403, 303), ("none", 403, 403)]
)
def test_resets_are_as_the_zone_says(make: Callable[..., Venue], reset: str, sms: int, mail: int) -> None:
    venue = make(reset=reset)
    phone = venue.phone()
    assert phone.post("/forgotten", form=phone.form, contact=NUMBER).status_code == sms
    assert phone.post("/forgotten", form=phone.form, contact=MAIL).status_code == mail
    assert phone.get("/forgotten").status_code == (403 if reset == "none" else 200)


def test_a_personal_pin_saves_the_text_under_a_new_mac(venue: Venue, clock: Clock) -> None:
    phone = venue.phone()
    sign_in(phone, venue)
    assert "choose a PIN" in phone.get("/status").text
    assert phone.post("/pin", form=phone.form, password="111111").status_code == 422
    assert phone.post("/pin", form=phone.form, password=PIN).location == "/status?kept"
    again = venue.phone(12, "06:dd:00:00:00:09")
    assert enter(again, "415-555-2671", PIN).location == "/status"
    assert len(venue.product.outbox.texts) == 1
    venue.end(End.LEFT)
    clock.move(86_400)
    late = venue.phone(13, "06:dd:00:00:00:0a")
    answer = enter(late, NUMBER, PIN)
    assert answer.status_code == 403
    assert "sign in by a code once" in answer.text


def test_a_pin_is_offered_to_who_needs_one(venue: Venue) -> None:
    fixed = venue.phone(12, "00:11:22:33:44:55")
    sign_in(fixed, venue)
    assert "choose a PIN" not in fixed.get("/status").text


@pytest.mark.parametrize("password", ["", "12345", "123456", "aaaaaa", "password", "x" * 129])
def test_passwords_that_anybody_guesses(password: str) -> None:
    with pytest.raises(Exception, match=Reason.PASSWORD_WEAK):
        passwords.check(password)


# Coming back -------------------------------------------------------------------------------


def test_the_same_device_returns_without_a_text(venue: Venue, clock: Clock) -> None:
    phone = venue.phone()
    sign_in(phone, venue)
    phone.post("/leave", form=phone.form)
    page = phone.get("/").text
    assert "Welcome back" in page
    assert 'Go online as <bdi class="number">+14…71<' in page
    clock.move(3600)
    assert phone.post("/back", form=phone.form).location == "/status"
    assert len(venue.product.outbox.texts) == 1
    phone.post("/leave", form=phone.form)
    clock.move(86_400)
    assert "Welcome back" not in phone.get("/").text
    assert phone.post("/back", form=phone.form).status_code == 410


def test_a_double_tap_on_going_on(venue: Venue) -> None:
    phone = venue.phone()
    sign_in(phone, venue)
    form = phone.form
    phone.post("/leave", form=form)
    assert [phone.post("/back", form=form).location for _ in range(2)] == ["/status"] * 2


@pytest.mark.parametrize("why", [End.REVOKED, End.BLOCKED])
def test_who_was_cut_proves_the_number_again(venue: Venue, why: End) -> None:
    phone = venue.phone()
    sign_in(phone, venue)
    venue.end(why)
    assert "Welcome back" not in phone.get("/").text
    assert phone.post("/back", form=phone.form).status_code == 410


def test_a_device_that_was_away_goes_on_by_itself(venue: Venue) -> None:
    phone = venue.phone()
    sign_in(phone, venue)
    venue.end(End.IDLE)
    assert phone.get("/").location == "/status"
    assert venue.live() == [NUMBER]


class Chrome:
    """A browser that keeps cookies, whatever MAC its device shows."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.browser = Browser(venue.product.web())

    def get(self, ip: str, path: str) -> TestResponse:
        return self.browser.get(path, environ_overrides={"REMOTE_ADDR": ip, "HTTP_HOST": "10.77.0.1"})

    def post(self, ip: str, path: str, **form: str) -> TestResponse:
        page = self.get(ip, "/")
        text = page.text if page.status_code == 200 else self.get(ip, page.location or "/").text
        token = re.search(r'name="form" value="([0-9a-f]+)"', text)
        assert token
        environ = {"REMOTE_ADDR": ip, "HTTP_HOST": "10.77.0.1"}
        return self.browser.post(path, data={"form": token[1], **form}, environ_overrides=environ)


def test_a_new_random_mac_is_known_by_its_token_once(venue: Venue) -> None:
    chrome = Chrome(venue)
    venue.phone(11, "02:cc:00:00:00:01")
    chrome.post("10.77.0.11", "/number", number=NUMBER)
    answer = chrome.post("10.77.0.11", "/code", code=venue.product.outbox.code())
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    value = cookie.split("=")[1].split(";")[0]
    assert value not in "\n".join(venue.product.store.connection.iterdump()), "kept as a hash only"
    venue.phone(12, "06:dd:00:00:00:02")
    assert 'Go online as <bdi class="number">+14…71<' in chrome.get("10.77.0.12", "/").text
    assert chrome.post("10.77.0.12", "/back").location == "/status"
    assert len(venue.product.outbox.texts) == 1
    # A token that somebody copied before is used up now.
    thief = Chrome(venue)
    thief.browser.set_cookie("portald", value, domain="10.77.0.1")
    venue.phone(13, "0a:ee:00:00:00:03")
    assert "Welcome back" not in thief.get("10.77.0.13", "/").text
    assert thief.post("10.77.0.13", "/back").status_code == 410


def taken(answer: TestResponse) -> str:
    """Return the token that came with an answer."""
    return answer.headers["Set-Cookie"].split("=")[1].split(";")[0]


def come_back(venue: Venue, last: int, token: str) -> TestResponse:
    """Have a device with a made-up MAC of its own come back by a token."""
    chrome = Chrome(venue)
    chrome.browser.set_cookie("portald", token, domain="10.77.0.1")
    venue.phone(last, f"06:dd:00:00:00:{last:02x}")
    return chrome.post(f"10.77.0.{last}", "/back")


def test_a_token_is_used_once_by_whoever_is_first(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = venue.phone()
    token = taken(sign_in(phone, venue))
    returning = venue.product.returning
    clients = [venue.product.table.join(f"10.77.0.{n}", f"06:dd:00:00:00:{n:02x}") for n in (21, 22)]
    known = returning.known(clients[0], token)
    monkeypatch.setattr(returning, "known", lambda client, token: known)  # both looked before either took
    assert returning.come_back(clients[0], token)
    with pytest.raises(Refused, match="no_challenge"):
        returning.come_back(clients[1], token)


def test_a_token_is_still_good_after_a_refusal(venue: Venue) -> None:
    token = taken(sign_in(venue.phone(), venue))
    venue.plan(devices="1", when_full="refuse")
    assert come_back(venue, 21, token).status_code == 409
    venue.end(End.LEFT)
    assert come_back(venue, 21, token).location == "/status"


def test_a_chain_of_tokens_ends_with_the_proof(venue: Venue, clock: Clock) -> None:
    venue.account("alice", password="secret77")
    token = taken(enter(venue.phone(), "alice", "secret77"))
    for last in (21, 22, 23):
        clock.move(8 * 3600 - 60)
        answer = come_back(venue, last, token)
        assert answer.location == "/status"
        token = taken(answer)
    clock.move(8 * 3600)
    assert come_back(venue, 24, token).status_code == 410


@pytest.mark.parametrize("how", ["operator", "reset"])
def test_a_new_password_ends_what_the_old_one_gave(venue: Venue, clock: Clock, how: str) -> None:
    venue.account("alice", password="secret77", number=NUMBER)
    token = taken(enter(venue.phone(), "alice", "secret77"))
    if how == "operator":
        venue.account("alice", password="another8")
    else:
        phone = venue.phone(12, "02:cc:00:00:00:02")
        phone.post("/forgotten", form=phone.form, contact=NUMBER)
        code = venue.product.outbox.code()
        phone.post("/reset", form=phone.form, code=code, password="another8")
    assert come_back(venue, 21, token).status_code == 410


def test_a_voucher_for_one_device_is_for_one_at_a_time(venue: Venue) -> None:
    batch = venue.product.vouchers.make("SMS", 1)
    phone = venue.phone()
    token = taken(phone.post("/voucher", form=phone.form, voucher=venue.product.vouchers.codes(batch)[0]))
    for last in (21, 22):
        answer = come_back(venue, last, token)
        assert answer.location == "/status"
        token = taken(answer)
        (session,) = venue.product.portal.sessions()
        assert session.mac.endswith(f"{last:02x}")
        assert venue.product.inside() == {session.id}


def test_coming_back_all_day_fills_no_disk(venue: Venue) -> None:
    phone = venue.phone()
    sign_in(phone, venue)
    form = phone.form
    answers = []
    for _ in range(RETURNS + 5):
        phone.post("/leave", form=form)
        answers.append(phone.post("/back", form=form).status_code)
    assert answers == [303] * RETURNS + [503] * 5
    (tokens,) = venue.product.store.connection.execute("SELECT count(*) FROM tokens").fetchone()
    assert tokens == MOST_TOKENS


def test_a_token_is_worth_nothing_with_a_maker_s_mac(venue: Venue) -> None:
    chrome = Chrome(venue)
    venue.phone(11, "02:cc:00:00:00:01")
    chrome.post("10.77.0.11", "/number", number=NUMBER)
    chrome.post("10.77.0.11", "/code", code=venue.product.outbox.code())
    venue.phone(12, "00:11:22:33:44:55")
    assert "Welcome back" not in chrome.get("10.77.0.12", "/").text


@pytest.mark.parametrize(
    ("mac", "made_up"),
    [
        ("02:00:00:00:00:01", True),
        ("da:a1:19:00:00:01", True),
        ("00:11:22:33:44:55", False),
        ("f4:5c:89:0:0:1", False),
    ],
)
def test_randomised_macs_are_known_by_their_bit(mac: str, made_up: bool) -> None:
    assert is_randomised(mac) is made_up


# The staff ---------------------------------------------------------------------------------


def test_the_staff_lets_a_guest_in(venue: Venue) -> None:
    phone = venue.phone()
    assert phone.post("/staff", form=phone.form, name="  Zoë,\x1b[2J table 4 ").location == "/staff"
    page = phone.get("/staff").text
    assert "The staff has been asked" in page
    assert 'http-equiv="refresh"' in page
    assert phone.get("/").location == "/staff", "the page was closed and comes back"
    assert 'name="number"' in phone.get("/?other").text, "or another way is chosen"
    (asked,) = venue.product.staff.waiting()
    assert asked.name == "Zoë,[2J table 4"
    venue.product.staff.approve(asked.id)
    assert phone.get("/staff").location == "/status"
    (session,) = venue.product.portal.sessions()
    assert (session.account.sort, session.account.note) == (Sort.GUEST, asked.name)
    with pytest.raises(Exception, match="form_stale"):
        venue.product.staff.approve(asked.id)


def test_the_staff_refuses(venue: Venue) -> None:
    phone = venue.phone()
    phone.post("/staff", form=phone.form, name="x")
    (asked,) = venue.product.staff.waiting()
    assert venue.product.staff.refuse(asked.id)
    assert not venue.product.staff.refuse(asked.id)
    assert "has not let you in" in phone.get("/staff").text
    assert venue.live() == []


def test_a_guest_of_the_staff_is_nobody_else(venue: Venue, clock: Clock) -> None:
    """Requests are deleted after two days, accounts after ninety: a number must not come again."""
    product, accounts = venue.product, set()
    for n in range(3):
        venue.account(f"Guest{n}", group="SMS")
        phone = venue.phone(11 + n, f"02:cc:00:00:00:{n:02x}")
        phone.post("/staff", form=phone.form, name=f"guest of day {n}")
        (asked,) = product.staff.waiting()
        accounts.add(product.staff.approve(asked.id).account.id)
        venue.end(End.LEFT)
        clock.move(3 * 86_400)
        product.store.forget(clock() - 86_400, clock() - 90 * 86_400)
    assert len(accounts) == 3


@pytest.mark.parametrize("name", ["voucher 1-1", "guest 1", MAC, MAC.upper()])
def test_names_that_portald_gives_are_no_operator_s(venue: Venue, name: str) -> None:
    with pytest.raises(ConfigError, match="names accounts of its own"):
        venue.account(name, password="secret77")
    batch = venue.product.vouchers.make("SMS", 1)
    phone = venue.phone()
    phone.post("/voucher", form=phone.form, voucher=venue.product.vouchers.codes(batch)[0])
    venue.account("voucher 1-1", blocked=True)
    assert venue.live() == [], "but one that is there can be blocked"


def test_an_older_account_that_is_called_so_is_nobody_s_way_in(venue: Venue) -> None:
    venue.product.store.set_accounts([{"name": "voucher 1-1", "sort": Sort.USER}], 0)
    batch = venue.product.vouchers.make("SMS", 1)
    phone = venue.phone()
    code = venue.product.vouchers.codes(batch)[0]
    assert phone.post("/voucher", form=phone.form, voucher=code).status_code == 403


def test_a_number_has_its_own_account_and_no_other_number(venue: Venue) -> None:
    with pytest.raises(ConfigError, match="is one already"):
        venue.account(NUMBER, number="+14155552673")
    venue.product.store.set_accounts([{"name": NUMBER, "number": "+14155552673"}], 0)
    assert sign_in(venue.phone(), venue).status_code == 403, "not an error of ours"


def test_requests_do_not_pile_up(venue: Venue, clock: Clock) -> None:
    phone = venue.phone()
    form = phone.form
    answers = [phone.post("/staff", form=form, name=f"n{n}").status_code for n in range(7)]
    assert answers == [303] * 5 + [503] * 2
    assert len(venue.product.staff.waiting()) == 1
    clock.move(1801)
    assert venue.product.staff.waiting() == []


# Codes by e-mail, and no proof at all ------------------------------------------------------


def test_a_code_by_e_mail(venue: Venue) -> None:
    venue.plan(proof="either")
    phone = venue.phone()
    assert "Mobile number or e-mail address" in phone.get("/").text
    assert phone.ask("not an@address").status_code == 422
    assert phone.ask(" Guest@Example.ORG ").location == "/code"
    assert [to for to, _ in venue.mails.texts] == [MAIL]
    page = phone.get("/code").text
    assert "gu…@example.org" in page
    assert MAIL not in page
    assert "No e-mail yet?" in page
    assert "Wrong address? Use another one" in page
    assert phone.post("/code", form=phone.form, code=venue.mails.code()).location == "/status"
    (session,) = venue.product.portal.sessions()
    assert (session.account.sort, session.account.email) == (Sort.EMAIL, MAIL)


@pytest.mark.parametrize(
    ("proof", "number", "mail"), [("sms", 303, 403), ("email", 403, 303), ("either", 303, 303)]
)
def test_the_plan_says_what_proves(venue: Venue, proof: str, number: int, mail: int) -> None:
    venue.plan(proof=proof)
    assert venue.phone().ask(NUMBER).status_code == number
    assert venue.phone(12, "02:cc:00:00:00:02").ask(MAIL).status_code == mail


def test_no_proof_is_one_tap(venue: Venue) -> None:
    venue.plan(proof="none")
    phone = venue.phone()
    page = phone.get("/").text
    assert 'name="number"' not in page
    assert phone.post("/number", form=phone.form).location == "/status"
    assert venue.live() == [MAC]
    assert venue.product.outbox.texts == []


def test_a_window_to_fetch_the_mail(venue: Venue, clock: Clock) -> None:
    venue.plan(proof="email", window="5m")
    phone = venue.phone()
    phone.ask(MAIL)
    page = phone.get("/code").text
    assert "Go online for 5 minutes" in page or "Go online for 300 seconds" in page
    assert phone.post("/window", form=phone.form).location == "/code"
    (session,) = venue.product.portal.sessions()
    assert venue.product.firewall.read()[session.id].left == WINDOW_BYTES
    assert "You are online for" in phone.get("/code").text
    assert phone.get("/status").location == "/", "it is no session of the guest's"
    assert phone.post("/code", form=phone.form, code=venue.mails.code()).location == "/status"
    assert venue.live() == [MAIL]


def test_a_window_ends_and_is_the_only_one_of_the_day(venue: Venue, clock: Clock) -> None:
    venue.plan(proof="email", window="5m")
    phone = venue.phone()
    phone.ask(MAIL)
    phone.post("/window", form=phone.form)
    clock.move(301)
    venue.product.rounds.round()
    assert venue.product.inside() == set()
    phone.ask(MAIL)
    assert "Go online for" not in phone.get("/code").text
    assert phone.post("/window", form=phone.form).status_code == 429
    other = venue.phone(12, "02:cc:00:00:00:02")
    assert other.post("/window", form=other.form).status_code == 403, "not without a code under way"


def test_a_window_is_narrow(venue: Venue) -> None:
    venue.plan(proof="email", window="5m")
    phone = venue.phone()
    phone.ask(MAIL)
    phone.post("/window", form=phone.form)
    (session,) = venue.product.portal.sessions()
    venue.product.firewall.count(session.id, 0, WINDOW_BYTES)
    venue.product.rounds.round()
    assert venue.product.inside() == set()


# Known numbers only ------------------------------------------------------------------------


def test_only_known_numbers_get_a_code_and_nobody_can_tell(make: Callable[..., Venue]) -> None:
    """A12: the page is the same; a decoy costs no text, and no guess is right."""
    venue = make(known_only=True)
    venue.account(NUMBER, group="SMS")
    known, unknown = venue.phone(), venue.phone(12, "02:cc:00:00:00:02")
    pages = []
    for phone, number in ((known, NUMBER), (unknown, "+14155552679")):
        assert phone.ask(number).location == "/code"
        pages.append(bare(phone.get("/code").text))
    assert pages[0] == pages[1]
    assert [to for to, _ in venue.product.outbox.texts] == [NUMBER]
    assert unknown.post("/code", form=unknown.form, code="000000").status_code == 422
    assert known.post("/code", form=known.form, code=venue.product.outbox.code()).location == "/status"


@pytest.mark.parametrize("way", ["known_only", "reset"])
@pytest.mark.parametrize("moment", ["on its way", "sent", "failed", "tracked"])
def test_what_becomes_of_a_text_tells_nobody_whether_it_was_sent(
    make: Callable[..., Venue], monkeypatch: pytest.MonkeyPatch, way: str, moment: str
) -> None:
    """Neither the page, nor its pauses, nor the answer to a guess differ from those of a decoy."""
    venue = make(known_only=way == "known_only")
    product = venue.product
    venue.account(NUMBER, group="SMS")
    if moment == "tracked":
        monkeypatch.setattr(product.routes, "tracks", lambda reference: reference != DECOY)
    if moment == "failed":
        product.outbox.error = SmsError(Outcome.INVALID_NUMBER, "no such number", of_number=True)
    seen = []
    for n, number in enumerate((NUMBER, "+14155552679")):
        phone = venue.phone(20 + n, f"02:cc:00:00:01:{n:02x}")
        form = phone.form
        known = number == NUMBER
        product.paused = moment == "on its way" and known
        path, field = ("/number", "number") if way == "known_only" else ("/forgotten", "contact")
        assert phone.post(path, form=form, **{field: number}).location == "/code"
        pages = [phone.get("/code")]
        typed = {"code": "000000"} | ({"password": "n3w-secret"} if way == "reset" else {})
        pages.append(phone.post("/reset" if way == "reset" else "/code", form=form, **typed))
        pages.append(phone.post("/resend", form=form))
        seen.append(
            [(page.status_code, page.headers.get("Retry-After"), bare(page.text)) for page in pages]
        )
    assert seen[0] == seen[1]
    assert [status for status, _, _ in seen[0]] == [200, 422, 429]


def test_a_code_asked_for_again_goes_by_the_same_providers(
    make: Callable[..., Venue], clock: Clock
) -> None:
    venue = make(reset_providers=("other",))
    venue.account(NUMBER, group="SMS")
    phone = venue.phone()
    phone.post("/forgotten", form=phone.form, contact=NUMBER)
    clock.move(3601)
    phone.post("/forgotten", form=phone.form, contact=NUMBER)
    clock.move(200)
    assert phone.post("/resend", form=phone.form).status_code == 303
    assert venue.product.outbox.texts == []


def test_a_code_of_another_network_opens_nothing_here(make: Callable[..., Venue]) -> None:
    """Asked for where anybody may, typed where only known numbers do."""
    venue = make()
    product = venue.product
    cafe = product.config.zones[0]
    staff = replace(cafe, name="staff", interface="br-staff", known_only=True)
    product.portal.config = replace(product.config, zones=(cafe, staff))
    here = product.table.join("10.77.0.11", MAC)
    there = Client(MAC, "10.78.0.11", staff.name)
    assert here.zone == cafe.name != there.zone
    product.portal.request_code(here, NUMBER)
    assert product.portal.pending(there) is None
    with pytest.raises(Refused, match="no_challenge"):
        product.portal.confirm(there, product.outbox.code())
    assert venue.live() == []
    assert product.portal.confirm(here, product.outbox.code()).zone == cafe.name


def test_providers_of_a_plan(venue: Venue) -> None:
    """R9: a plan may name the providers for its texts."""
    venue.product.store.set_plan(
        replace(venue.product.arranging.plans()["unlimited"], providers=("other",))
    )
    phone = venue.phone()
    phone.ask(NUMBER)
    assert venue.product.outbox.texts == []
    assert "cannot send texts" in phone.get("/code").text
    venue.product.store.set_plan(
        replace(venue.product.arranging.plans()["unlimited"], providers=("outbox",))
    )
    other = venue.phone(12, "02:cc:00:00:00:02")
    other.ask("+14155552672")
    assert len(venue.product.outbox.texts) == 1


@pytest.mark.parametrize("path", ["/voucher", "/password", "/staff"])
def test_ways_that_are_not_offered(make: Callable[..., Venue], path: str) -> None:
    venue = make(ways=())
    phone = venue.phone()
    assert path not in phone.get("/").text
    assert phone.get(path).status_code == 403
    assert phone.post(path, form=phone.form, name="x", voucher="x", password="x").status_code == 403


@pytest.mark.parametrize("path", ["/voucher", "/password", "/staff"])
def test_who_is_online_is_sent_on(venue: Venue, path: str) -> None:
    phone = venue.phone()
    sign_in(phone, venue)
    assert phone.get(path).location == "/status"


def test_zones_are_apart(make: Callable[..., Venue], clock: Clock) -> None:
    """The same device in two networks has two sessions, each with its own group's plan."""
    venue = make()
    product = venue.product
    product.table.join("10.77.0.11", MAC)
    one = product.log_in(Client(MAC, "10.77.0.11", "guest"))
    clock.move(61)
    other, _ = product.store.open_for(one.account.id, Client(MAC, "10.78.0.11", "staff"), clock())
    assert {session.id for session in product.portal.sessions()} == {one.id, other.id}
    assert product.portal.status(Client(MAC, "10.77.0.11", "guest")) is not None

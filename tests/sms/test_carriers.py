"""The list of carriers: what it claims, how an operator changes it, and whom it offers when."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portald import phone
from portald.errors import ConfigError
from portald.sms.carriers import FORMATS, STATES, Carrier, load, offered

TODAY = date(2026, 11, 20)
OWN = """
[lobby]
name = "Lobby Mobile"
country = "DE"
domain = "sms.lobby.example"
number_format = "e164_plus"
state = "working"
evidence = "we asked"
checked = 2026-11-01
"""


def keys(carriers: list[Carrier]) -> set[str]:
    return {carrier.key for carrier in carriers}


def test_the_list_is_well_formed_and_modest() -> None:
    known = load()
    assert 25 <= len(known) <= 40
    for key, carrier in known.items():
        assert key == carrier.key
        assert carrier.state in STATES
        assert carrier.state != "working"  # nobody has shown that any does
        assert carrier.number_format in FORMATS
        assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]+", carrier.domain)
        phone.check_place(carrier.country)
        assert "http" not in carrier.evidence
        assert carrier.ends is None or carrier.state in ("ending", "ended")


def test_whom_it_offers() -> None:
    open_, ended = offered(load().values(), TODAY)
    assert {"verizon", "xfinity", "uscellular", "telus", "bell"} <= keys(open_)
    assert {"att", "firstnet", "tmobile", "sprint", "rogers", "fido", "vodafone_cz"} <= keys(ended)
    assert keys(open_) | keys(ended) == set(load())
    assert [(c.country, c.name) for c in open_] == sorted((c.country, c.name) for c in open_)


@pytest.mark.parametrize(("day", "there"), [(date(2027, 3, 31), True), (date(2027, 4, 1), False)])
def test_a_carrier_is_offered_until_its_last_day(day: date, there: bool) -> None:
    open_, ended = offered(load().values(), day)
    assert ("verizon" in keys(open_)) is there
    assert ("verizon" in keys(ended)) is not there


@given(st.dates())
def test_every_carrier_is_either_offered_or_has_ended(day: date) -> None:
    open_, ended = offered(load().values(), day)
    assert keys(open_).isdisjoint(keys(ended))
    assert len(open_) + len(ended) == len(load())


def own(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "carriers.toml"
    path.write_text(content)
    return path


def test_an_operator_adds_changes_and_takes_out(tmp_path: Path) -> None:
    path = own(tmp_path, OWN + '[att]\nstate = "working"\nends = 2030-01-01\n[verizon]\nenabled = false\n')
    known = load(path)
    assert known["lobby"] == Carrier(
        "lobby",
        "Lobby Mobile",
        "DE",
        "sms.lobby.example",
        "e164_plus",
        "working",
        "we asked",
        date(2026, 11, 1),
    )
    assert (known["att"].state, known["att"].domain) == ("working", "txt.att.net")
    assert "verizon" not in known
    assert {"lobby", "att"} <= keys(offered(known.values(), TODAY)[0])
    assert "verizon" in load()


WRONG = {
    "a key": ("[Lobby]", "Lobby: expected small letters"),
    "no table": ("lobby = 5", "lobby: expected a table"),
    "too little": ('[lobby]\nname = "x"', "lobby.country: expected a country code"),
    "unknown": ('[att]\ndomian = "x.example"', "att.domian: unknown; known: name, country"),
    "the key inside": ('[att]\nkey = "x"', "att.key: unknown"),
    "name of two lines": ('[att]\nname = "a\\nb"', "att.name: expected one line"),
    "country": ('[att]\ncountry = "us"', "att.country: expected a country code"),
    "domain with a user": ('[att]\ndomain = "x@txt.att.net"', "att.domain: expected a domain"),
    "domain of two lines": ('[att]\ndomain = "txt.att.net\\r\\nBcc: x"', "att.domain: expected a domain"),
    "domain with a blank": ('[att]\ndomain = "txt.att.net "', "att.domain: expected a domain"),
    "domain without dots": ('[att]\ndomain = "localhost"', "att.domain: expected a domain"),
    "format": ('[att]\nnumber_format = "plus"', "att.number_format: expected one of national"),
    "state": ('[att]\nstate = "dead"', "att.state: expected one of working"),
    "a date as text": ('[att]\nends = "2027-03-31"', "att.ends: expected a date"),
    "a date with time": ("[att]\nends = 2027-03-31T10:00:00Z", "att.ends: expected a date"),
    "switched how": ('[att]\nenabled = "no"', "att.enabled: expected true or false"),
    "no TOML": ("[att", "cannot be read"),
}


@pytest.mark.parametrize("row", WRONG)
def test_a_wrong_file_names_the_key(tmp_path: Path, row: str) -> None:
    content, problem = WRONG[row]
    with pytest.raises(ConfigError) as caught:
        load(own(tmp_path, content))
    assert str(caught.value).startswith(f"carriers_file: {problem}")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="carriers_file: cannot be read"):
        load(tmp_path / "nothing.toml")

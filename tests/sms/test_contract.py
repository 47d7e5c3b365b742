"""What all providers have in common, whatever they speak."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from portald import texting
from portald.schema import Secret
from portald.sms import PROVIDERS, find
from portald.sms.presets import described, preset
from tests.sms.tables import HTTP, TABLES

URL = "http://127.0.0.1:9"
every_provider = pytest.mark.parametrize("name", PROVIDERS)


@every_provider
def test_it_carries_texts_or_makes_codes_and_not_both(name: str) -> None:
    made = TABLES[name].make(URL)
    assert hasattr(made, "send") != hasattr(made, "start")
    assert hasattr(made, "start") == hasattr(made, "check")


@every_provider
def test_its_settings_cannot_be_changed_and_are_explained(name: str) -> None:
    kind = find(name)
    made = TABLES[name].make(URL)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    assert all(field.kw_only and field.metadata["help"] for field in fields)
    assert "timeout" in {field.name for field in fields}
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.timeout = 1
    assert not hasattr(made, "__dict__")


@every_provider
def test_whoever_waits_waits_no_longer_than_half_a_minute(name: str) -> None:
    timeout = next(field for field in dataclasses.fields(find(name)) if field.name == "timeout")
    assert timeout.metadata["high"] <= 60
    assert timeout.default <= 30


@every_provider
def test_it_does_not_show_its_secrets(name: str) -> None:
    made = TABLES[name].make(URL)
    for shown in (repr(made), str(texting.shown(made))):
        assert not [secret for secret in TABLES[name].SECRETS if secret in shown]
    for field in dataclasses.fields(made):
        if any(word in field.name for word in ("secret", "token", "password", "bearer")):
            value = getattr(made, field.name)
            assert isinstance(value, (Secret, bool, type(None))), field.name


@every_provider
def test_warnings_are_sentences(name: str) -> None:
    made = TABLES[name].make("http://sms.example.net" if name in HTTP else URL)
    found = made.warnings() if hasattr(made, "warnings") else []
    assert all(isinstance(warning, str) and len(warning) > 20 for warning in found)


def test_only_what_is_used_is_loaded() -> None:
    code = "import sys, portald.daemon, portald.sms; portald.sms.find('twilio'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("portald.sms.")}
    assert "portald.sms.twilio" in loaded
    others = {path.partition(":")[0] for name, path in PROVIDERS.items() if name != "twilio"}
    assert not loaded & others
    assert not {"liquid", "jwt", "smtplib"} & set(done.stdout.split())


@pytest.mark.parametrize("name", described())
def test_a_preset_is_of_the_custom_gateways_settings(name: str) -> None:
    found = preset(name)
    assert found is not None
    known = {field.name for field in dataclasses.fields(find("http"))}
    assert set(found) <= known
    help_text, needs = described()[name]
    assert help_text
    assert set(needs) <= known

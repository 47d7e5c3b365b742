"""The portal's certificate: what operators hear about it, and whom phones will ask."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from portald import check
from portald.certificate import SOON, Certificate, certificate_hosts
from portald.errors import ConfigError
from tests.authority import Authority

NAME = "wifi.aurora.example"
DAY = 86_400


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.issue("wifi", NAME)
    return made


@pytest.fixture
def file(authority: Authority, tmp_path: Path) -> Path:
    copy = tmp_path / "wifi.pem"
    copy.write_text((authority.folder / "wifi.pem").read_text())
    return copy


def trusted(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    """Let this machine's openssl know the authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))


def test_a_good_one_is_no_alarm(authority: Authority, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted(monkeypatch, authority)
    assert Certificate(file, NAME).alarms(time.time()) == []


@pytest.mark.parametrize(
    ("days", "said"),
    [(-1, "not valid yet"), (77, "expires in 13 days"), (91, "has expired")],
)
def test_its_time(
    authority: Authority, file: Path, monkeypatch: pytest.MonkeyPatch, days: int, said: str
) -> None:
    trusted(monkeypatch, authority)
    (alarm,) = Certificate(file, NAME).alarms(time.time() + days * DAY)
    assert said in alarm.text
    assert alarm.cure
    assert Certificate(file, NAME).alarms(time.time() + 90 * DAY - SOON - 60) == []


def test_another_name_and_an_unknown_authority(file: Path) -> None:
    certificate = Certificate(file, "www.aurora.example")
    assert "is not for www.aurora.example" in certificate.broken(time.time())[0].text
    (doubt,) = certificate.doubtful(time.time())
    assert "not trusted (self-signed certificate in certificate chain)" in doubt.text


def test_what_is_no_certificate(authority: Authority, tmp_path: Path) -> None:
    missing = Certificate(tmp_path / "none.pem", NAME)
    assert "cannot be read: No such file" in missing.alarms(0.0)[0].text
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_bytes(b"\xff" * 300)
    assert "cannot be understood" in Certificate(rubbish, NAME).alarms(0.0)[0].text
    rubbish.write_text((authority.folder / "wifi.key").read_text())
    assert "private key in it" in Certificate(rubbish, NAME).alarms(0.0)[0].text


@pytest.mark.skipif(os.getuid() != 0, reason="root alone can become nobody")
def test_one_that_portald_may_not_read(authority: Authority) -> None:
    """As certbot leaves it: in a folder for root alone."""
    authority.folder.chmod(0o700)
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        os.setgroups([])
        os.setuid(65534)
        (alarm,) = Certificate(authority.folder / "wifi.pem", NAME).alarms(0.0)
        os._exit(0 if "may not be read by portald" in alarm.text and "chmod" in alarm.cure else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_renewed_one_is_seen_without_a_restart(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Authority(tmp_path)
    trusted(monkeypatch, own)
    own.issue("wifi", NAME, days=3)
    certificate = Certificate(tmp_path / "wifi.pem", NAME)
    assert "expires in 3 days" in certificate.alarms(time.time())[0].text
    own.issue("wifi", NAME)
    assert certificate.alarms(time.time()) == []
    with monkeypatch.context() as without:
        without.setenv("PATH", "/nowhere")
        assert certificate.alarms(time.time()) == [], "an unchanged file costs no process"


def test_whom_phones_ask(authority: Authority, file: Path, tmp_path: Path) -> None:
    assert certificate_hosts(file) == ("crl.authority.example", "ocsp.authority.example")
    bare = tmp_path / "bare.pem"
    bare.write_text(authority.certificate.read_text())
    assert certificate_hosts(bare) == ()
    with pytest.raises(ConfigError, match="cannot be read"):
        certificate_hosts(tmp_path / "none.pem")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://wifi.example/", True),
        ("https://wifi.example:8443/", False),
        ("http://wifi.example/", False),
    ],
)
def test_check_of_https_without_one(tmp_path: Path, url: str, wrong: bool) -> None:
    settings = tmp_path / "portald.toml"
    text = '[[zones]]\ninterface = "lo"\nnetworks = ["127.0.0.0/8"]\n'
    text += f'[firewall]\nbackend = "memory"\nopen_tcp = [8443]\n[web]\nurl = "{url}"\n'
    settings.write_text(text)
    found = [finding for finding in check.findings(settings) if "nothing answers at" in finding.text]
    assert [finding.level for finding in found] == ["FAIL"] * wrong


def test_check_says_all_of_it(authority: Authority, tmp_path: Path) -> None:
    settings = tmp_path / "portald.toml"
    text = '[[zones]]\ninterface = "lo"\nnetworks = ["127.0.0.0/8"]\n[firewall]\nbackend = "memory"\n'
    text += f'[web]\nurl = "https://other.example/"\ncertificate = "{authority.folder}/wifi.pem"\n'
    settings.write_text(text + f'key = "{authority.folder}/wifi.key"\nproxy_group = "no-such-group"\n')
    found = {finding.text: finding for finding in check.findings(settings)}
    assert any("is not for other.example" in text and f.level == "FAIL" for text, f in found.items())
    assert any("not trusted" in text and f.level == "warn" for text, f in found.items())
    assert any("no-such-group" in text and f.level == "FAIL" for text, f in found.items())

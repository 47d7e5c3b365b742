"""What ``portalctl render`` prints; tests/lab/test_options.py shows that the programs do it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from portald.config import Config, build
from portald.ctl.main import main
from portald.ctl.render import PROGRAMS
from portald.errors import ConfigError
from portald.rendering import dnsmasq, kea, networkd, odhcpd, radvd

URI = "https://portal.example.com/captive-portal/api"
TABLE = {
    "web": {"url": "https://portal.example.com"},
    "zones": [
        {"name": "cafe", "interface": "br-cafe", "more_interfaces": ["vlan7"], "networks": ["10.1.0.0/24"]},
        {"name": "camp", "interface": "br-camp", "networks": ["10.2.0.0/24"]},
    ],
}
INTERFACES = ("br-cafe", "vlan7", "br-camp")
WORDS = {
    "dnsmasq": [],
    "kea": [],
    "kea6": ["--ipv6"],
    "radvd": [],
    "odhcpd": [],
    "systemd-networkd": [],
}


def settings(url: str | None = "https://portal.example.com", **more: object) -> Config:
    return build(Config, TABLE | {"web": {"url": url} if url else {}} | more)


def plain(lines: object) -> list[str]:
    """Return what is not comment."""
    assert not isinstance(lines, str)
    return [line for line in lines if line and not line.startswith(("#", "//"))]  # type: ignore[attr-defined]


def test_every_interface_of_guests_is_told_the_api() -> None:
    found = plain(dnsmasq.lines(settings()))
    for interface in INTERFACES:
        assert f'dhcp-option=tag:{interface},114,"{URI}"' in found
        assert f'dhcp-option=tag:{interface},option6:103,"{URI}"' in found
    for family, code in ((4, 114), (6, 103)):
        classes = json.loads("\n".join(plain(kea.lines(settings(), family))))
        assert [c["test"] for c in classes] == [f"pkt.iface == '{name}'" for name in INTERFACES]
        assert all(c["option-data"] == [{"code": code, "data": URI}] for c in classes)
    assert "\n".join(plain(radvd.lines(settings()))).count(f'\tAdvCaptivePortalAPI "{URI}";') == 3
    assert plain(networkd.lines(settings())) == ["[DHCPServer]", f"SendOption=114:string:{URI}"]
    # UCI's own grammar: a section, and options in quotes below it.
    found = plain(odhcpd.lines(settings()))
    assert all(re.fullmatch(r"config dhcp|\toption \w+ '[^']+'", line) for line in found)
    assert found[:3] == ["config dhcp", "\toption ifname 'br-cafe'", f"\toption captive_portal_uri '{URI}'"]


@pytest.mark.parametrize("url", [None, "http://portal.example.com/"])
@pytest.mark.parametrize("program", WORDS)
def test_without_https_there_is_no_api_and_the_cure_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str, url: str | None
) -> None:
    config = tmp_path / "portald.toml"
    web = f'[web]\nurl = "{url}"\n' if url else ""
    config.write_text(f'[[zones]]\ninterface = "lo"\nnetworks = ["10.0.0.0/8"]\n{web}')
    words = [program.removesuffix("6"), *WORDS[program], "--config", str(config)]
    assert main(["render", *words]) == 0
    printed = capsys.readouterr().out
    assert "captive-portal/api" not in printed
    assert 'url = "https://NAME" in [web]' in re.sub(r"\n(#|//) ", " ", printed)
    if program.startswith("kea"):
        assert plain(printed.splitlines()) == ["[]"]


def test_every_program_is_tried() -> None:
    # nginx is told nothing of the API, and needs a certificate: tests/lab/test_https.py.
    assert {name.removesuffix("6") for name in WORDS} | {"nginx"} == set(PROGRAMS)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://portal.example.com/", "portal.example.com"),
        ("https://Portal.example.com.:8443", "portal.example.com"),
        ("http://10.1.0.1/", None),
        ("https://[2001:db8::1]/", None),
        (None, None),
    ],
)
def test_the_portal_s_name_is_answered_on_the_spot(url: str | None, name: str | None) -> None:
    found = [line for line in plain(dnsmasq.lines(settings(url))) if line.startswith(("inter", "local"))]
    expected = [
        "localise-queries",
        *(f"interface-name={name},{i}/4" for i in INTERFACES),
        f"local=/{name}/",
    ]
    assert found == [*(expected if name else []), "local=/use-application-dns.net/"]


@pytest.mark.parametrize("ipset", [False, True])
def test_names_of_the_garden_and_of_checks(ipset: bool) -> None:
    garden = {"names": ["example.com"], "checks": ["time.example.net", "ocsp.example.com", "example.com"]}

    def line(name: str, kind: str) -> str:
        if ipset:
            return f"ipset=/{name}/portald_{kind}4,portald_{kind}6"
        return f"nftset=/{name}/4#inet#portald#{kind}4,6#inet#portald#{kind}6"

    hosts = ["OCSP.test", "time.example.net", "x/\nserver=192.0.2.1"]

    def sets(url: str) -> list[str]:
        found = plain(dnsmasq.lines(settings(url, garden=garden), ipset, hosts))
        return [line for line in found if "set=" in line]

    # What stands in the garden is open as it is.
    assert sets("https://portal.example.com") == [
        line("example.com", "garden"),
        line("ocsp.test", "checks"),
        line("time.example.net", "checks"),
    ]
    assert sets("http://portal.example.com") == [line("example.com", "garden")]


def test_the_backend_says_which_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "portald.toml"
    text = '[[zones]]\ninterface = "lo"\nnetworks = ["10.0.0.0/8"]\n[garden]\nnames = ["example.com"]\n'
    for more, words, expected in (
        ("", [], "nftset=/example.com/4#inet#portald#garden4,6#inet#portald#garden6"),
        ("", ["--ipset"], "ipset=/example.com/portald_garden4,portald_garden6"),
        ('[firewall]\nbackend = "iptables"\n', [], "ipset=/example.com/portald_garden4,portald_garden6"),
    ):
        config.write_text(text + more)
        assert main(["render", "dnsmasq", *words, "--config", str(config)]) == 0
        assert expected in capsys.readouterr().out.splitlines()
        assert main(["render", "dnsmasq", "--json", *words, "--config", str(config)]) == 0
        assert expected in json.loads(capsys.readouterr().out)


def test_no_line_is_wider_than_a_page() -> None:
    rendered = [dnsmasq.lines, kea.lines, radvd.lines, odhcpd.lines, networkd.lines]
    assert all(len(line) <= 100 for lines in rendered for line in lines(settings()) if line[0:1] in "#/")


def test_an_address_that_other_programs_cannot_take_is_refused() -> None:
    longest = "https://" + ".".join(["a" * 63] * 3) + "." + "b" * (255 - 8 - 192 - 19) + "/"
    assert len(settings(longest).captive_api(settings(longest).zones[0]) or "") == 255
    with pytest.raises(ConfigError, match="url: too long for DHCP"):
        settings(longest.replace("bb/", "bbb/"))
    for url in ('https://a"b/', "https://a b/", "https://user@name/", "https://name/x"):
        with pytest.raises(ConfigError, match="url: expected"):
            settings(url)

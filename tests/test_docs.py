"""The documents tell the truth: settings, modules, commands and links. ``python -m tests.test_docs`` mends them."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portald import config, sms
from portald.ctl.main import _parser as ctl_parser
from portald.daemon import _parser as daemon_parser
from portald.demo.internet import systems
from portald.errors import SmsError
from portald.model import Text
from portald.plan import Plan
from portald.sms import lua, presets
from portald.sms.codes import Codes
from portald.sms.routes import Route, Routes
from portald.texts import Texts
from portald.theme import Theme
from portald.web.preview import Preview, prove
from tests.test_commands_shown import everywhere

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SETTINGS = ROOT / "docs/settings.md"
TEXTS = ROOT / "docs/texts.md"
ACCESS = ROOT / "docs/access.md"
PHONES = ROOT / "docs/phones.md"
TEXT: Any = None  # templates, which no example here needs
DOCUMENTS = [
    README,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md")),
    *ROOT.glob("docs/*.md"),
]


# The settings ---------------------------------------------------------------------------------


def settings() -> str:
    tables: list[tuple[str, Any]] = [
        ("At the top", config.Config),
        ("`[[zones]]`, one for each guest network", config.Zone),
        *((f"`[{name}]`", kind) for name, kind in (
            ("otp", config.Otp), ("limits", config.Limits), ("numbers", config.Numbers),
            ("web", config.Web), ("firewall", config.Firewall), ("garden", config.Garden),
            ("reports", config.Reports), ("theme]` and `[zones.theme", Theme),
        )),
        ("`[[applications]]`, one for each program of yours", config.Application),
        ("Every `[[sms]]` table, beside its `type`", Route),
        *((f'`[[sms]]` with `type = "{name}"`', sms.find(name)) for name in sms.PROVIDERS),
    ]  # fmt: skip
    every = "\n".join("\n".join(table(title, kind)) for title, kind in tables)
    return every + "\n" + "\n".join(ready_made()) + "\n"


def plans() -> str:
    """Return the keys of a plan, as the settings are shown."""
    rows = ["", "| key | unless set | meaning |", "| --- | --- | --- |"]
    for field in dataclasses.fields(Plan):
        if field.name != "name":
            value = "" if field.default in (None, "", ()) else f"`{field.default}`"
            rows.append(f"| `{field.name}` | {value} | {limits(field)} |")
    return "\n".join(rows) + "\n"


def probes() -> str:
    """Return what phones and computers ask, and what lets them believe that they are online."""
    rows = [
        "",
        "| who | what its owner sees | what it asks, and what tells it that it is online |",
        "| --- | --- | --- |",
    ]
    for system in systems():
        asked = "<br>".join(f"`{probe['url']}`: {expected(probe)}" for probe in system["probes"])
        rows.append(f"| {system['name']} | {system['shows']} | {asked} |")
    return "\n".join(rows) + "\n"


def expected(probe: dict[str, Any]) -> str:
    words = re.sub(r"<[^>]*>", " ", probe.get("body", "")).split()
    text = " ".join(dict.fromkeys(words)) or (
        "a redirect of its own" if "refresh" in probe.get("body", "") else ""
    )
    headers = " ".join(f"`{name}`" for name in probe.get("headers", {}))
    return " ".join(filter(None, (str(probe.get("status", 200)), f"“{text}”" if text else "", headers)))


def ready_made() -> Iterator[str]:
    yield "\n**`[[sms]]` with a `type` that is described already**\n"
    yield 'The settings of `type = "http"` are set, but for these; each may be replaced.\n'
    yield "| type | what it is | to be added |"
    yield "| --- | --- | --- |"
    for name, (help_text, needs) in presets.described().items():
        yield f"| `{name}` | {help_text} | {', '.join(f'`{need}`' for need in needs)} |"


def table(title: str, kind: Any) -> Iterator[str]:
    yield f"\n**{title}**\n"
    yield "| setting | default | meaning |"
    yield "| --- | --- | --- |"
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default) or field.name in ("zones", "sms", "applications"):
            continue
        yield f"| `{field.name}` | {default(field)} | {limits(field)} |"


def default(field: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{toml(field.default_factory())}`"
    if field.default is dataclasses.MISSING:
        return "needed"
    return "" if field.default is None else f"`{toml(field.default)}`"


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'


def limits(field: Any) -> str:
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if low is None:
        return str(field.metadata["help"])
    return (
        f"{field.metadata['help']} ({low} to {high})"
        if high
        else f"{field.metadata['help']} (at least {low})"
    )


# The map --------------------------------------------------------------------------------------


def modules() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "portald").rglob("*.py"), key=lambda p: (len(p.parts), p.parts)):
        name = str(path.relative_to(ROOT / "portald"))
        doc = ast.get_docstring(ast.parse(path.read_text()))
        assert doc, f"{name} says nothing about itself"
        yield name, doc.splitlines()[0]


def code_map() -> str:
    rows = dict(modules())
    width = max(map(len, rows))
    return "\n```\n" + "\n".join(f"{name:<{width}}  {line}" for name, line in rows.items()) + "\n```\n"


# Keeping them ---------------------------------------------------------------------------------


def written(document: Path) -> str:
    text = document.read_text()
    parts = {
        README: ("map", code_map), SETTINGS: ("settings", settings), ACCESS: ("plans", plans),
        PHONES: ("probes", probes),
    }  # fmt: skip
    for name, content in [(parts[document][0], parts[document][1]())]:
        start, end = re.escape(f"<!-- {name}:"), re.escape(f"<!-- end of {name} -->")
        text, found = re.subn(
            rf"({start}[^\n]*-->\n).*?({end})",
            lambda m, c=content: m[1] + c + "\n" + m[2],
            text,
            flags=re.S,
        )
        assert found == 1, name
    return text


def test_the_readme_has_every_setting_and_every_module() -> None:
    for document in (README, SETTINGS, ACCESS, PHONES):
        assert document.read_text() == written(document), "run: python -m tests.test_docs"


def blocks(language: str) -> list[str]:
    return [b for d in DOCUMENTS for b in re.findall(rf"```{language}\n(.*?)```", d.read_text(), re.S)]


def commands() -> list[str]:
    return [
        line.split(" #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.strip()
    ]


# Where each command of the documents is run for real.
RUN_BY = {
    "make demo": ".ci/run",
    "make test": ".ci/run",
    "make install": "tests/test_install.py",
    "editor /etc/portald/portald.toml": "",
    "install -o portald -m 400 /dev/stdin /etc/portald/twilio.token": "",
    "portalctl check": "tests/test_ctl.py",
    "systemctl enable --now portald-firewall portald": "tests/test_install.py",
    "portalctl status": "tests/test_ctl.py",
    "portalctl sessions": "tests/test_ctl.py",
    "portalctl sessions --ended": "tests/test_ctl.py",
    "portalctl revoke 256": "tests/test_ctl.py",
    "portalctl texts": "tests/test_ctl.py",
    "ssh -L 8081:/run/portald/admin.sock gateway": "",
    "portald sandbox": "tests/test_daemon.py",
    "usermod -aG www-data portald": "tests/test_install.py",
    "chmod 755 /etc/letsencrypt/live /etc/letsencrypt/archive": "",
    "portalctl render nginx > /etc/nginx/conf.d/portald.conf": "tests/lab/test_https.py",
    "nginx -t": "tests/lab/test_https.py",
    "systemctl restart portald-firewall portald": "tests/test_install.py",
    "systemctl reload nginx": "",  # by its signal in tests/lab/test_https.py
    "portalctl sms": "tests/test_ctl.py",
    "portalctl sms test +4915123456789": "tests/test_ctl.py",
    "portalctl sms test --provider email --carrier verizon +12125550123": "tests/test_ctl.py",
    "portalctl sms preview": "tests/test_ctl.py",
    "portalctl sms log": "tests/test_ctl.py",
    "portalctl sms budget": "tests/test_ctl.py",
    "portalctl sms limits": "tests/test_ctl.py",
    "portalctl sms limits --set texts=800": "tests/test_ctl.py",
    "portalctl sms limits --reset texts": "tests/test_ctl.py",
    "portalctl sms limits --forget +4915123456789": "tests/test_ctl.py",
    "portalctl sms limits --close FR --open +3361": "tests/test_ctl.py",
    "portalctl sms providers": "tests/test_ctl.py",
    # The same request as in tests/test_ctl.py, by another program.
    "curl --unix-socket /run/portald/admin.sock -u booking:SECRET -d grant_type=client_credentials "
    "http://localhost/oauth/token": "",
}


RUN_AS_SHOWN = {*everywhere()} - RUN_BY.keys()


@pytest.mark.parametrize("command", commands())
def test_every_command_shown_is_run_somewhere(command: str) -> None:
    words = shlex.split(command.partition(" > ")[0])
    if command in RUN_AS_SHOWN:
        ctl_parser().parse_args(words[1:])
        return
    where = RUN_BY[command]
    if words[0] == "portalctl":
        ctl_parser().parse_args(words[1:])
        shown = [
            word
            for word in words[1:]
            if not word.startswith("+") and "=" not in word and not word.isupper()
        ]
        assert all(f'"{word}"' in (ROOT / where).read_text() for word in shown if not word.isdecimal())
    elif words[0] == "portald":
        daemon_parser().parse_args(words[1:])
        assert f'"{words[1]}"' in (ROOT / where).read_text()
    elif words[0] == "make":
        dry = subprocess.run(["make", "-n", words[1]], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0
        assert words[1] in (ROOT / where).read_text()


def test_the_units_named_are_the_units_there_are() -> None:
    enabled = ["systemctl", "enable", "--now", "portald-firewall", "portald"][3:]
    assert {f"{name}.service" for name in enabled} == {p.name for p in (ROOT / "systemd").glob("*.service")}


def usable(block: str, folder: Path) -> config.Config:
    """Return the settings of an example, everything made of them that the daemon makes."""
    for name in re.findall(r'_file = "/etc/portald/([\w.]+)"', block):
        (folder / name).write_text("a-secret-of-some-length")
    if "[[zones]]" not in block:  # a fragment
        block += '\n[[zones]]\ninterface = "br-guest"\nnetworks = ["10.77.0.0/24"]\n'
    table = tomllib.loads(block.replace("/etc/portald", str(folder)))
    settings = config.build(config.Config, table)
    texts = Texts(settings)
    if settings.sms:
        ways = sms.make(settings.sms, lambda sender: Codes(sender, b"", texts), lambda: 0.0)
        Routes(ways, lambda attempt: None, texts.parts)
    return settings


@pytest.mark.parametrize("block", [*blocks("toml"), (ROOT / "docs/portald.toml").read_text()])
def test_every_settings_example_is_valid(block: str, tmp_path: Path) -> None:
    usable(block, tmp_path)


def test_the_commented_examples_are_valid_too(tmp_path: Path) -> None:
    text = (ROOT / "docs/portald.toml").read_text()
    text = re.sub(r"^# (\[\[sms\]\]|\w+ = )", r"\1", text, flags=re.M)
    settings = usable(text, tmp_path)
    assert {table["type"] for table in settings.sms} == {"twilio", "http", "sandbox"}
    assert settings.numbers.allowed


def test_the_class_of_ones_own_is_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks("python")
    (tmp_path / "mysms.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    (way,) = sms.make(
        [{"type": "mysms:Mine", "key": "k"}], lambda sender: Codes(sender, b"", TEXT), lambda: 0.0
    )
    with pytest.raises(SmsError, match="its words"):
        way.provider.send(Text("+14155552671", "1"))


def test_the_script_is_one(tmp_path: Path) -> None:
    (block,) = blocks("lua")
    (tmp_path / "example.lua").write_text(block)
    script = lua.load(str(tmp_path / "example.lua"))
    built = script.build({"mobile": "+14155552671", "body": "739126 is it"})
    assert built is not None
    assert built["url"] == "https://sms.example.net/v1"
    assert (built["headers"], built["body"]) == ({"X-To": "+14155552671"}, {"text": "739126 is it"})
    assert script.check(200, "", {"ok": True, "id": "m1"}) == (True, "m1", "")
    good, _, problem = script.check(200, "", {}) or (None, "", "")
    assert (good, problem) == (False, "no_credit: top up")


def test_the_page_and_the_words_of_ones_own_are_taken(own_words: Path) -> None:
    settings = usable('[[sms]]\ntype = "sandbox"\n', own_words)
    (page,), (words,) = blocks("jinja"), blocks("po")
    (own_words / "guest").mkdir()
    (own_words / "guest/status.html").write_text(page)
    (own_words / "de.po").write_text(words)
    prove(settings, own=own_words)
    pages = dict(Preview(settings, own=own_words).pages(settings.zones[0], "de"))
    assert "you are online." in pages["online"]
    assert "Her mit dem Code" in pages["first"]


def test_every_type_of_provider_is_explained() -> None:
    for name in (*sms.PROVIDERS, *presets.described()):
        assert f"`{name}`" in TEXTS.read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_exist(document: Path) -> None:
    for name in re.findall(
        r"`((?:portald|tests|nftables|templates|systemd)/[\w./-]+)`", document.read_text()
    ):
        assert (ROOT / name).exists(), name


def test_every_portalctl_command_is_in_the_readme() -> None:
    help_text = subprocess.run(
        [sys.executable, "-c", "from portald.ctl.main import _parser; print(_parser().format_help())"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    ).stdout  # fmt: skip
    for command in re.findall(r"^    (\w+) ", help_text, re.M):
        assert f"portalctl {command}" in README.read_text(), command


def test_the_changelog_knows_this_version() -> None:
    from portald import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


if __name__ == "__main__":
    for document in (README, SETTINGS, ACCESS, PHONES):
        document.write_text(written(document))

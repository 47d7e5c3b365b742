"""Imports point down, third-party libraries stay in their rooms, and the helper stays small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "portald"

# The design's layers, highest first; a module may import from lower lines, and from its own package.
LAYERS = [
    ["daemon", "helper", "ctl", "check", "demo", "__main__"],
    ["web"],
    ["followup"],
    [
        "portal",
        "applications",
        "texting",
        "reconcile",
        "arranging",
        "signing",
        "vouchers",
        "staff",
        "returning",
        "consent",
        "movements",
    ],
    ["exchange", "door", "timekeeping"],
    ["purse"],
    ["store", "firewall", "sms", "neighbours", "certificate"],
    ["limits", "otp", "access", "phone", "texts", "display", "places", "passwords", "rendering"],
    ["config", "system", "plan", "periods"],
    ["hours", "units", "theme"],
    ["schema", "colours", "languages"],
    ["ports"],
    ["errors"],
    ["model"],
]
LEVEL = {name: len(LAYERS) - position for position, layer in enumerate(LAYERS) for name in layer}

ROOMS = {
    "flask": {"web"},
    "werkzeug": {"web"},
    "waitress": {"web/server.py"},
    "requests": {"sms/http.py"},
    "sqlite3": {"store"},
    "subprocess": {"firewall/commands.py", "sms/programs.py", "certificate", "demo"},
    "pyroute2": {"neighbours", "check", "firewall/ipset/sets.py"},
    "iptc": {"firewall/ipset/child.py"},
    "phonenumbers": {"phone"},
    "liquid": {"texts"},
    "gsm0338": {"texts"},
    "jwt": {"sms/tokens.py"},
    "segno": {"web/qr.py"},
    "polib": {"web/catalogues.py"},
    "smtplib": {"sms/smtp.py", "sms/email.py"},
    "logging.handlers": set[str](),
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unit(path: Path) -> str:
    """Return the line of the layers a file belongs to: its package, or its own name."""
    first, *rest = path.relative_to(ROOT).parts
    return first if rest else first.removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = unit(path)
    if here == "__init__":
        assert not list(imports(path))
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "portald" or len(parts) < 2 or parts[1] not in LEVEL:
            continue
        there = parts[1]
        same_root = LEVEL[here] == LEVEL[there] == len(LAYERS)
        assert there == here or LEVEL[there] < LEVEL[here] or same_root, f"{here} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    here = {unit(path), str(path.relative_to(ROOT))}
    for name in imports(path):
        for library, rooms in ROOMS.items():
            if name == library or name.startswith(library + "."):
                assert here & rooms, f"{library} in {path.relative_to(ROOT)}"


def test_every_module_has_its_layer() -> None:
    assert {unit(path) for path in modules()} - {"__init__"} == set(LEVEL)


def loaded(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_helper_loads_no_web_no_database_and_no_secrets() -> None:
    everything = loaded("import portald.helper")
    for banned in ("flask", "requests", "sqlite3", "phonenumbers", "pyroute2", "ssl", "http.client"):
        assert banned not in everything
    assert not {
        name for name in everything if name.startswith(("portald.web", "portald.sms", "portald.store"))
    }


def test_the_daemon_loads_nothing_that_costs_memory_for_nothing() -> None:
    everything = loaded("import portald.daemon")
    for banned in (
        "phonenumbers.carrier",
        "phonenumbers.geocoder",
        "phonenumbers.timezone",
        "asyncio.windows",
    ):
        assert banned not in everything
    assert not {name for name in everything if name.startswith("portald.demo")}


def test_portalctl_starts_light() -> None:
    everything = loaded("import portald.ctl.main")
    for banned in ("flask", "requests", "sqlite3", "phonenumbers", "pyroute2"):
        assert banned not in everything


def test_files_have_one_subject() -> None:
    """No file over 450 lines: it would have two subjects."""
    long = {
        str(path.relative_to(ROOT)): n for path in modules() if (n := path.read_text().count("\n")) > 450
    }
    assert not long

"""What `make install` puts on a gateway: complete, startable, and shut tight."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portald import config

ROOT = Path(__file__).parent.parent
UNITS = sorted(p for p in (ROOT / "systemd").iterdir() if p.suffix in (".service", ".socket"))

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze") and not os.environ.get("CI"), reason="no systemd here"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install into a folder from a copy, as from a fresh clone."""
    clone, target = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("target")
    for name in ("portald", "nftables", "systemd", "templates", "docs"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "Makefile", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    (clone / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "programs.sh", clone / "tests")
    for _ in range(2):  # twice: an upgrade keeps the settings
        command = ["make", "install", f"DESTDIR={target}", f"PYTHON={sys.executable}"]
        subprocess.run(command, cwd=clone, check=True, capture_output=True)
        settings = target / "etc/portald/portald.toml"
        settings.write_text(settings.read_text() + "# mine\n")
    shutil.rmtree(clone)
    return target


def test_what_is_installed_runs_without_the_checkout(installed: Path) -> None:
    for program in ("portald", "portald-firewall", "portalctl"):
        path = installed / "opt/portald/bin" / program
        done = subprocess.run([path, "--version"], capture_output=True, text=True, cwd="/")
        assert (done.returncode, done.stdout) == (0, "0.1.0\n"), done.stderr
    python = installed / "opt/portald/bin/python"
    code = (
        "from portald.system import our_files\n"
        "for name in ('templates/guest/splash.html', 'templates/admin/sessions.html', 'nftables/portald.nft'):\n"
        "    folder, _, rest = name.partition('/')\n"
        "    assert (our_files(folder) / rest).is_file(), name\n"
    )
    subprocess.run([python, "-c", code], check=True, cwd="/")


def test_the_settings_to_start_from_are_valid_and_kept(installed: Path) -> None:
    path = installed / "etc/portald/portald.toml"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.read_text().count("# mine") == 2, "an upgrade overwrote the settings"
    settings = config.load(path)
    assert settings.zones[0].interface == "br-guest"


def test_every_template_and_ruleset_is_in_the_package(installed: Path) -> None:
    (package,) = (installed / "opt/portald/lib").glob("python3*/site-packages/portald")
    for folder in ("templates", "nftables"):
        ours = {p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if p.is_file()}
        theirs = {p.relative_to(package) for p in (package / folder).rglob("*.*") if p.is_file()}
        assert {p for p in ours if p.suffix in (".html", ".nft")} == theirs


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_valid(unit: Path, tmp_path: Path) -> None:
    for other in UNITS:
        text = re.sub(r"/opt/portald/bin/\S+", sys.executable, other.read_text())
        (tmp_path / other.name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)]
    done = subprocess.run(command, capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "portald" in line]
    assert not complaints


@needs_systemd
@pytest.mark.parametrize("name", ["portald.service", "portald-firewall.service"])
def test_units_are_hardened(name: str) -> None:
    """The score systemd gives, 10 is worst; an unhardened service has 9.6."""
    command = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--threshold=20",
        str(ROOT / "systemd" / name),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_only_the_helper_has_a_capability() -> None:
    daemon, helper = (
        (ROOT / "systemd" / f"{n}.service").read_text() for n in ("portald", "portald-firewall")
    )
    assert re.findall(r"^\w*Capabilit\w+=(.*)$", daemon, re.M) == [""]
    assert re.findall(r"^\w*Capabilit\w+=(.*)$", helper, re.M) == ["CAP_NET_ADMIN", "CAP_NET_ADMIN"]
    assert "AF_INET" not in helper

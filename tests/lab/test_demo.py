"""`portald demo --once`: as root, as an ordinary user, and where nothing can be enforced."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from portald.demo.lab import opened
from tests.lab_fixtures import require_lab

NEEDED = [Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parent.parent.parent]
WALK = [
    "DHCP lease", "IPv6 address", "probe over IPv4", "probe over IPv6", "HTTPS over IPv4",
    "HTTPS over IPv6", "splash page", "number posted", "text in the sandbox", "code posted", "nftables elements",
    "internet over IPv4", "internet over IPv6", "portalctl sessions", "portalctl revoke",
    "running download cut", "kernel", "blocked again",
]  # fmt: skip


def steps(output: str) -> list[str]:
    return [found[1].strip() for found in re.finditer(r"^✓ +\d+  (.{26})", output, re.M)]


def demo(*before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "portald", "demo", "--once"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd="/", env=os.environ | environment
    )


@pytest.mark.lab
def test_the_walk_is_observed() -> None:
    require_lab()
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert steps(done.stdout) == WALK
    assert "Traceback" not in done.stderr


@pytest.mark.lab
def test_an_ordinary_user_gets_the_same(tmp_path: Path) -> None:
    """Without root, sudo or any capability: in a user namespace."""
    require_lab()
    if os.getuid() == 0:
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
        view = f"{opened(NEEDED, tmp_path)} cd /; exec {' '.join(become)} " + '"$@"'
        done = demo("unshare", "--mount", "sh", "-ec", view, "-", HOME="/tmp", TMPDIR="/tmp")
    else:
        done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs without any capability" not in done.stdout, "it was root after all"
    assert steps(done.stdout) == WALK


def test_without_namespaces_it_says_that_nothing_is_enforced(tmp_path: Path) -> None:
    """No unshare on the PATH: what a kernel without namespaces amounts to."""
    done = demo(PATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOTHING IS ENFORCED" in done.stdout
    assert steps(done.stdout)[-1] == "signed out"


@pytest.mark.lab
def test_a_missing_program_is_named_and_the_rest_still_works() -> None:
    """Namespaces could be had, nft not: the fallback must not sit in an empty network."""
    code = "import sys, portald.demo.main as m; m.missing = lambda: {'nft': 'nftables'}; sys.exit(m.demo(True))"
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missing: nft (package nftables)" in done.stdout
    assert "NOTHING IS ENFORCED" in done.stdout

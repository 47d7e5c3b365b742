"""What `make install` puts on a gateway: complete, startable, and shut tight."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portald import config
from tests.authority import Authority

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
        assert path.read_text().splitlines()[0] == "#!/opt/portald/bin/python", "no trace of DESTDIR"
        python = installed / "opt/portald/bin/python"
        done = subprocess.run([python, path, "--version"], capture_output=True, text=True, cwd="/")
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
        assert {p for p in ours if p.suffix} == theirs


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


PROBE = """
exec > /out/probe 2>&1
cp -a /install/* /
# Python may live in a home directory here, which the units do not see.
for name in python python3; do ln -sf /opt/base/bin/python3 /opt/portald/bin/$name; done
sed -i 's|^home = .*|home = /opt/base/bin|' /opt/portald/pyvenv.cfg
export LD_LIBRARY_PATH=/opt/base/lib
for unit in portald portald-firewall; do
    mkdir -p /etc/systemd/system/$unit.service.d
    printf '[Service]\\nEnvironment=LD_LIBRARY_PATH=/opt/base/lib SSL_CERT_FILE=/out/authority.pem\\n' > /etc/systemd/system/$unit.service.d/python.conf
done
systemd-sysusers; systemd-tmpfiles --create portald.conf; chgrp portald /etc/portald /etc/portald/portald.toml; chmod 750 /etc/portald
cat /out/more.toml >> /etc/portald/portald.toml; cp /out/script.lua /out/wifi.pem /out/wifi.key /etc/portald/
chmod 600 /etc/portald/wifi.key; usermod -aG www-data portald
ip link add br-guest type bridge; ip address add 10.77.0.1/24 dev br-guest; ip link set br-guest up
systemctl daemon-reload
systemctl start portald-firewall portald && echo started
sleep 2
portalctl status --json > /out/status
portalctl check > /out/check
stat -c '%A %U %G' /run/portald/web.sock > /out/socket
for user in www-data nobody; do runuser -u $user -- /opt/portald/bin/python /out/nginx.py > /out/as-$user; done
portalctl sms test +4915123456789 --provider scripted --json > /out/script
cat /proc/sys/net/ipv4/ip_forward > /out/forward
runuser -u portald -- /opt/portald/bin/python /out/session.py
systemctl kill -s KILL portald; sleep 5
portalctl sessions --json > /out/sessions
nft list map inet portald sess6 > /out/granted
portalctl revoke 256
sleep 1  # conntrack is at it, and systemd ends it together with the helper
systemctl restart portald-firewall; sleep 7
portalctl status --json > /out/status-again
nft list map inet portald sess6 > /out/revoked
for unit in portald portald-firewall; do
    cat /proc/$(systemctl show -p MainPID --value $unit)/status > /out/$unit
    journalctl --no-pager -u $unit > /out/$unit.log
done
"""
SETTINGS = """
[web]
url = "https://wifi.aurora.example/"
certificate = "/etc/portald/wifi.pem"
key = "/etc/portald/wifi.key"

[[sms]]
type = "http"
name = "scripted"
url = "http://127.0.0.1:9/"
script = "/etc/portald/script.lua"
"""
SCRIPT = "function build(message) return { body = json({ to = message.mobile }) } end\n"
NGINX = """
import socket
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/run/portald/web.sock")
    connection.sendall(b"GET /captive-portal/api HTTP/1.0\\r\\nX-Real-IP: 10.77.0.9\\r\\n\\r\\n")
    print(connection.makefile().read())
"""
SESSION = """
from pathlib import Path
from portald.store import Store
database = Store(Path("/var/lib/portald/portald.db")).connection
database.execute("INSERT INTO accounts (id, name, number, group_name, created_at) VALUES (1, '+4915123456789', '+4915123456789', 'SMS', 0)")
database.execute("INSERT INTO sessions (account_id, zone, mac, started_at) VALUES (1, 'guest', '02:00:00:00:00:01', 0)")
"""


@pytest.fixture(scope="module")
def booted(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boot a real systemd over a throw-away copy of this system, in networks of its own."""
    if os.getuid() != 0 or not shutil.which("systemd-nspawn"):
        if os.environ.get("CI"):
            pytest.fail("CI must be able to boot a container")
        pytest.skip("needs root and systemd-nspawn")
    folder = tmp_path_factory.mktemp("boot")
    out, root = folder / "out", folder / "root"
    out.mkdir()
    root.mkdir()
    (out / "session.py").write_text(SESSION)
    (out / "probe.sh").write_text(PROBE)
    (out / "more.toml").write_text(SETTINGS)
    (out / "nginx.py").write_text(NGINX)
    Authority(out).issue("wifi", "wifi.aurora.example")
    (out / "script.lua").write_text(SCRIPT)
    (folder / "probe.service").write_text(
        "[Service]\nType=oneshot\nExecStart=/bin/sh /out/probe.sh\n"
        "ExecStopPost=/bin/systemctl --no-block poweroff\n"
        "[Unit]\nRequires=basic.target\nAfter=basic.target\n"
    )
    out.chmod(0o755)
    nspawn = [
        "systemd-nspawn", "--quiet", "--directory", str(root), "--volatile=overlay", "--private-network",
        "--register=no", "--keep-unit", "--link-journal=no", f"--bind={out}:/out", f"--bind-ro={installed}:/install",
        f"--bind-ro={sys.base_prefix}:/opt/base",
        f"--bind-ro={folder}/probe.service:/etc/systemd/system/probe.service",
        "--boot", "--console=pipe", "--", "systemd.unit=probe.service",
    ]  # fmt: skip
    script = f'mount --bind / {root} && exec "$@"'
    command = ["timeout", "120", "unshare", "--mount", "sh", "-ec", script, "-", *nspawn]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (out / "portald.log").exists(), done.stdout + done.stderr + read(out / "probe")
    return out


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_real_systemd_starts_both_halves(booted: Path) -> None:
    assert "started" in read(booted / "probe"), read(booted / "probe")
    assert json.loads(read(booted / "status"))["healthy"]
    failures = [line for line in read(booted / "check").splitlines() if line.startswith("FAIL")]
    assert failures == ["FAIL  the sandbox does not answer at 127.0.0.1:8025"], "nobody started it"
    assert "the kernel accepts the ruleset" in read(booted / "check")


def test_forwarding_is_switched_on_when_the_rules_are_in(booted: Path) -> None:
    assert read(booted / "forward") == "1\n"


def test_the_confined_helper_can_do_its_work(booted: Path) -> None:
    """nft, ip and conntrack under the unit's system call filter."""
    assert [row["id"] for row in json.loads(read(booted / "sessions"))] == [256]
    assert "02:00:00:00:00:01" in read(booted / "granted")
    assert "02:00:00:00:00:01" not in read(booted / "revoked")
    log = read(booted / "portald-firewall.log")
    assert "event=ready" in log
    assert "level=WARNING" not in log


def test_the_confined_daemon_can_run_a_script(booted: Path) -> None:
    """It gets as far as the gateway, which is not there."""
    answer = json.loads(read(booted / "script"))
    assert (answer["provider"], answer["outcome"]) == ("scripted", "temporary")
    assert "no connection" in answer["words"]


def test_nginx_alone_may_pass_requests_on(booted: Path) -> None:
    assert read(booted / "socket") == "srw-rw---- portald www-data\n"
    assert '"captive": true' in read(booted / "as-www-data")
    assert read(booted / "as-nobody") == ""
    assert "not trusted" in read(booted / "check"), "portalctl does not know the authority"
    assert "certificate" not in read(booted / "status"), "portald does, and may run openssl"


def test_systemd_brings_a_killed_portald_back(booted: Path) -> None:
    assert read(booted / "portald.log").count("event=ready") == 2
    assert json.loads(read(booted / "status-again"))["healthy"]


@pytest.mark.parametrize(("unit", "capabilities"), [("portald", 0), ("portald-firewall", 1 << 12)])
def test_what_runs_is_confined(booted: Path, unit: str, capabilities: int) -> None:
    fields = dict(line.split(":\t", 1) for line in read(booted / unit).splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == capabilities
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    assert fields["Uid"].split()[0] != "0"

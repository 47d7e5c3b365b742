"""The daemon as a process: starts, serves, stops, and says in one line why it cannot."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portald.daemon import Pool
from portald.demo import phone
from portald.demo.lab import end, until
from portald.system import room

SETTINGS = """
name = "Lobby"
state_dir = "{dir}/state"
run_dir = "{dir}"
[[zones]]
interface = "lo"
networks = ["127.0.0.0/8"]
[web]
port = {port}
url = "http://127.0.0.1:{port}/"
[firewall]
backend = "memory"
round = 0.5
[[sms]]
type = "sandbox"
url = "http://127.0.0.1:{texts}"
"""


class Running:
    """portald and a sandbox on loopback, with the firewall that only remembers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.texts = folder, free_port(), free_port()
        self.config = folder / "portald.toml"
        self.config.write_text(SETTINGS.format(dir=folder, port=self.port, texts=self.texts))
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "portald", "--config", str(self.config), *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )
        self.processes.append(process)
        return process

    def up(self) -> subprocess.Popen[str]:
        process = self.start()
        until(lambda: opens(self.port), "portald does not serve")
        return process

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command, *rest = arguments
        program = [sys.executable, "-m", "portald.ctl", command, "--config", str(self.config), *rest]
        return subprocess.run(program, capture_output=True, text=True, timeout=60)

    def get(self, path: str = "/") -> dict[str, Any]:
        return phone.fetch("GET", f"http://127.0.0.1:{self.port}{path}")

    def post(self, path: str, **fields: str) -> dict[str, Any]:
        token = ""
        for page in ("/", "/terms", "/code", "/status"):
            if found := re.search(r'name="form" value="(\w+)"', self.get(page)["body"]):
                token = found[1]
        body = "&".join([f"form={token}", *(f"{k}={v}" for k, v in fields.items())])
        return phone.fetch("POST", f"http://127.0.0.1:{self.port}{path}", body=body)

    def log_in(self) -> None:
        self.start("sandbox", "--listen", f"127.0.0.1:{self.texts}")
        until(lambda: opens(self.texts), "no sandbox")
        assert self.post("/number", number="%2B14155552671")["location"] == "/code"
        until(lambda: 'id="code"' in self.get("/code")["body"], "no code page")
        texts = json.loads(phone.fetch("GET", f"http://127.0.0.1:{self.texts}/texts")["body"])
        assert self.post("/code", code=texts[0]["body"][:6])["location"] == "/status"


_PORTS = itertools.count(20_000 + 4_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))


def free_port() -> int:
    """Return a port that nobody else takes meanwhile: neither another worker, nor the kernel for a client."""
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", next(_PORTS))) as probe:
            return int(probe.getsockname()[1])


def opens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    for process in made.processes:
        end(process)
        if process.stderr:
            process.stderr.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def test_it_serves_and_stops_when_told(running: Running) -> None:
    process = running.up()
    assert running.get()["status"] == 200
    process.send_signal(signal.SIGTERM)
    code, errors = ended(process)
    assert code == 0
    assert "event=stopped" in errors
    assert "Traceback" not in errors


def test_sessions_and_the_key_survive_a_restart(running: Running) -> None:
    running.up()
    running.log_in()
    before = json.loads(running.ctl("sessions", "--json").stdout)
    assert len(before) == 1
    first = running.processes[0]
    first.kill()
    first.wait()
    running.up()
    until(lambda: json.loads(running.ctl("status", "--json").stdout)["healthy"], "not healthy")
    after = json.loads(running.ctl("sessions", "--json").stdout)
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert running.get("/status")["status"] == 200
    assert (running.folder / "state" / "portald.key").stat().st_mode & 0o777 == 0o600


def test_it_tells_systemd_when_it_is_ready_and_feeds_the_watchdog(running: Running) -> None:
    address = running.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(15)
        process = running.start(NOTIFY_SOCKET=str(address))
        said = {systemd.recv(100) for _ in range(4)}
        assert said == {b"READY=1", b"WATCHDOG=1"}
        assert opens(running.port), "ready means serving"
        process.terminate()
        give_up = time.monotonic() + 10
        while systemd.recv(100) != b"STOPPING=1":
            assert time.monotonic() < give_up


def broken(running: Running, old: str, new: str) -> None:
    running.config.write_text(running.config.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("port =", "prot =", "portald: web.prot: unknown key; did you mean 'port'?"),
        (
            'type = "sandbox"',
            'type = "twillio"',
            "portald: sms[0].type: 'twillio' is not known; did you mean 'twilio'?",
        ),
        ('type = "sandbox"', 'type = "twilio"', "portald: sms[0].account_sid: missing"),
        ("[web]", "[numbers]\ncountry = 'Germany'\n[web]", "'Germany' is not a country code"),
        ("127.0.0.0/8", "127.0.0.1/8", "portald: zones[0].networks[0]: 127.0.0.1/8 has host bits set"),
        ("[web]", "[web", "is not valid TOML"),
        (
            'backend = "memory"',
            'backend = "pf"',
            "portald: firewall.backend: expected auto or nftables or iptables or memory",
        ),
    ],
)
def test_wrong_settings_are_one_readable_line(running: Running, old: str, new: str, line: str) -> None:
    broken(running, old, new)
    code, errors = ended(running.start())
    assert code == 1
    assert line in errors
    assert "Traceback" not in errors
    check = running.ctl("check")
    assert check.returncode == 1
    assert line.removeprefix("portald: ") in check.stdout


def test_a_busy_port(running: Running) -> None:
    with socket.create_server(("0.0.0.0", running.port)):
        code, errors = ended(running.start())
    assert code == 1
    assert f"portald: port {running.port} is in use; see who with: ss -ltnp" in errors
    assert "Traceback" not in errors


def test_a_second_one_does_not_take_over_the_first(running: Running) -> None:
    running.up()
    broken(running, f"port = {running.port}", f"port = {free_port()}")
    code, errors = ended(running.start())
    assert code == 1
    assert "is this already running?" in errors


def test_check_finds_what_portald_would_not_start_for(running: Running) -> None:
    broken(running, f'run_dir = "{running.folder}"', f'run_dir = "{running.folder}/run"')
    code, errors = ended(running.start())
    assert (code, "run_dir: there is no" in errors) == (1, True)
    check = running.ctl("check")
    assert check.returncode == 1
    assert f"FAIL  run_dir: there is no {running.folder}/run\n" in check.stdout
    assert f"install -d -o portald {running.folder}/run" in check.stdout


def test_a_state_dir_that_cannot_be(running: Running) -> None:
    (running.folder / "state").write_text("in the way")
    code, errors = ended(running.start())
    assert code == 1
    assert "portald: state_dir:" in errors


def test_a_damaged_key(running: Running) -> None:
    state = running.folder / "state"
    state.mkdir()
    (state / "portald.key").write_bytes(b"short")
    code, errors = ended(running.start())
    assert code == 1
    assert "portald.key" in errors
    assert "Traceback" not in errors
    assert (state / "portald.key").read_bytes() == b"short", "what is there is not touched"


def test_a_damaged_database_is_set_aside(running: Running) -> None:
    state = running.folder / "state"
    state.mkdir()
    (state / "portald.db").write_bytes(b"not a database" * 99)
    running.up()
    (aside,) = state.glob("portald.db.damaged-*")
    assert aside.read_bytes() == b"not a database" * 99
    done = running.ctl("status")
    assert done.returncode == 1
    assert "the database was lost" in done.stdout
    assert aside.name in done.stdout


def test_status_tells_that_nobody_new_can_come_in(running: Running) -> None:
    running.up()
    until(lambda: running.ctl("status").returncode == 0, "not well at first")
    assert running.ctl("groups", "delete", "SMS").returncode == 0
    done = running.ctl("status")
    assert done.returncode == 1
    assert "no new guest of guest is let in: there is no group SMS" in done.stdout
    assert running.ctl("groups", "set", "SMS").returncode == 0
    assert running.ctl("plans", "set", "unlimited", "proof=email").returncode == 0
    assert "nothing sends the e-mails of its plan" in running.ctl("status").stdout


def test_room_on_a_disk(tmp_path: Path) -> None:
    assert room(tmp_path) > 0
    assert room(Path("/proc")) == 0
    assert room(tmp_path / "gone") == 0


def test_no_settings_at_all(tmp_path: Path) -> None:
    for module in ("portald", "portald.helper"):
        program = [sys.executable, "-m", module, "--config", str(tmp_path / "none.toml")]
        done = subprocess.run(program, capture_output=True, text=True, timeout=20)
        assert done.returncode == 1
        assert "does not exist" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", [["portald"], ["portald", "demo"], ["portald.helper"], ["portald.ctl"]])
def test_every_program_has_help(program: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *program, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "usage:" in done.stdout


# Threads --------------------------------------------------------------------------------------


def test_the_pool_says_no_when_it_is_full() -> None:
    import threading

    pool, gate = Pool(workers=1, waiting=2), threading.Event()
    assert [pool.later(lambda: gate.wait(10) or None) for _ in range(4)] == [True, True, True, False]
    gate.set()
    pool.stop()


def test_the_pool_takes_again_after_a_job_failed() -> None:
    pool = Pool(workers=1, waiting=0)
    until(lambda: pool.later(lambda: 1 / 0 and None), "full")
    until(lambda: pool.later(lambda: None), "a failed job keeps its place")
    pool.stop()

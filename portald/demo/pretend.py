"""The demo where no namespaces can be made: the real portal, and a firewall that only remembers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from portald.demo import phone
from portald.demo.lab import LabError, end, until
from portald.demo.venue import NUMBER, TYPED, form_token
from portald.demo.walk import Report

SETTINGS = """
name = "Café Aurora"
state_dir = "{scratch}/state"
run_dir = "{scratch}"

[[zones]]
interface = "lo"
networks = ["127.0.0.0/8"]
address = "127.0.0.1"

[numbers]
country = "DE"

[web]
port = {port}
url = "http://127.0.0.1:{port}/"

[limits]
texts_per_client_burst = 30
texts_per_client = 100
guesses_per_client = 100

[firewall]
backend = "memory"

[[sms]]
type = "sandbox"
url = "http://127.0.0.1:{texts}"
"""


class Pretend:
    """The portal and the sandbox on loopback; ``phone`` is whoever asks from 127.0.0.1."""

    def __init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="portald-"))
        self.port, self.texts = _free_port(), _free_port()
        self.config = self.scratch / "portald.toml"
        self.config.write_text(SETTINGS.format(scratch=self.scratch, port=self.port, texts=self.texts))
        self._processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        log = (self.scratch / "log").open("wb")
        for arguments in (
            ["sandbox", "--listen", f"127.0.0.1:{self.texts}"],
            ["--config", str(self.config)],
        ):
            command = [sys.executable, "-m", "portald", *arguments]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        log.close()
        try:
            for port in (self.port, self.texts):
                until(lambda port=port: _open(port), f"nothing comes up on port {port}")
        except LabError:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for process in self._processes:
            end(process)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def walk(self, report: Report) -> None:
        portal = f"http://127.0.0.1:{self.port}"
        answer = phone.fetch("GET", f"http://127.0.0.2:{self.port}/hotspot-detect.html")
        report.check(answer["status"] == 302, "probe", f"redirected to {answer['location']}")
        token = form_token(phone.fetch("GET", f"{portal}/")["body"])
        typed = TYPED.replace(" ", "+")
        answer = phone.fetch("POST", f"{portal}/number", body=f"form={token}&number={typed}")
        report.check(answer["location"] == "/code", "number posted", f"{TYPED!r} -> /code")
        until(lambda: self._texts(), "no text comes")
        body = self._texts()[0]["body"]
        report.seen("text in the sandbox", f"to {NUMBER}: {body!r}")
        until(lambda: 'name="code"' in phone.fetch("GET", f"{portal}/code")["body"], "no code page")
        answer = phone.fetch("POST", f"{portal}/code", body=f"form={token}&code={body[:6]}")
        report.check(answer["location"] == "/status", "code posted", "303 /status")
        report.seen("portalctl sessions", self.ctl("sessions"))
        session = json.loads(self.ctl("sessions", "--json"))[0]["id"]
        report.seen("portalctl revoke", self.ctl("revoke", str(session)))
        answer = phone.fetch("GET", f"{portal}/status")
        report.check(answer["status"] == 303, "signed out", f"/status -> {answer['location']}")

    def ctl(self, command: str, *arguments: str) -> str:
        program = [sys.executable, "-m", "portald.ctl", command, "--config", str(self.config), *arguments]
        return subprocess.run(program, capture_output=True, text=True, check=True).stdout.rstrip()

    def view(self, fd: int) -> None:
        from portald.demo import views

        command = [sys.executable, views.__file__, str(fd), f"unix:{self.scratch}/admin.sock"]
        self._processes.append(subprocess.Popen(command, pass_fds=[fd]))

    def _texts(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(
            phone.fetch("GET", f"http://127.0.0.1:{self.texts}/texts")["body"]
        )
        return rows


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _open(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""The commands that README, docs/access.md, docs/network.md and docs/pages.md show are run as they stand there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from portald.demo.lab import until
from tests.test_daemon import Running, running  # noqa: F401, a fixture

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "docs/access.md", "docs/network.md", "docs/pages.md")
ELSEWHERE = ("check", "sms", "texts", "status", "revoke")
"""Run by other tests, or not to be run here: the guest shall stay online."""


def shown(document: str) -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(), re.S):
        for line in block.splitlines():
            command = line.split(" #")[0].strip()
            if command.startswith("portalctl ") and command.split()[1] not in ELSEWHERE:
                yield command


def everywhere() -> list[str]:
    return [command for document in DOCUMENTS for command in shown(document)]


def test_every_one_of_them_works(running: Running, tmp_path: Path) -> None:  # noqa: F811
    text = running.config.read_text().replace("[web]", 'ways = ["staff"]\n[web]')
    running.config.write_text(text)
    running.up()
    running.log_in()
    (tmp_path / "staff.csv").write_text("name,group\nzoe,SMS\n")
    done = []
    # The requests come last: to ask to be let in, the guest must be out.
    commands = sorted(
        everywhere(),
        key=lambda c: "approvals" in c,
    )
    for command in commands:
        words = shlex.split(
            re.sub("/root/|/tmp/", f"{tmp_path}/", command).replace("staff.csv", f"{tmp_path}/staff.csv")
        )
        words = ["password=secret77" if word == "password=-" else word for word in words]
        if words[1:3] == ["approvals", "accept"]:
            running.ctl("revoke", "02:00:7f:00:00:01")
            until(lambda: '"/staff"' in running.get("/")["body"], "the guest is not logged out")
            assert running.post("/staff", name="Zoe")["location"] == "/staff"
        result = running.ctl(*words[1:])
        # Nobody has these addresses in the test, which is an answer too.
        expected = 1 if words[1] == "who" else 0
        assert result.returncode == expected, f"{command}\n{result.stdout}{result.stderr}"
        assert "Traceback" not in result.stderr
        done.append(command)
    assert len(done) > 20

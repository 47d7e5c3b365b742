"""portalctl: what it prints, in a pipe and in a narrow terminal, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from portald.ctl.main import _ago, _left, main
from tests.test_daemon import Running, running  # noqa: F401, a fixture


@pytest.fixture
def online(running: Running) -> Running:  # noqa: F811
    running.up()
    running.log_in()
    return running


def test_everything_it_can_say(online: Running) -> None:
    status = online.ctl("status")
    assert (status.returncode, status.stdout.splitlines()[0]) == (0, "Lobby: 1 online, portald 0.1.0")
    assert "nothing is enforced" in status.stdout
    table = online.ctl("sessions").stdout.splitlines()
    assert table[0].split() == [
        "SESSION",
        "NUMBER",
        "GROUP",
        "DEVICE",
        "ADDRESS",
        "SINCE",
        "UP",
        "DOWN",
        "LEFT",
    ]
    assert table[1].split()[:5] == ["256", "+14…71", "SMS", "02:00:7f:00:00:01", "127.0.0.1"]
    assert "no limit" in table[1]
    (row,) = json.loads(online.ctl("sessions", "--json").stdout)
    assert row["id"] == 256
    texts = online.ctl("texts").stdout
    assert "accepted" in texts
    assert "+14155552671" not in texts + str(table) + str(row)
    assert online.ctl("sessions", "--ended").stdout == "No session has ended.\n"

    missing = online.ctl("revoke", "999", "aa:bb:cc:dd:ee:ff", "rubbish")
    assert missing.returncode == 1
    assert missing.stderr.count("no live session") == 3
    done = online.ctl("revoke", "02:00:7F:00:00:01", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"revoked": [256], "missing": []})
    assert online.ctl("sessions").stdout == "Nobody is online.\n"
    assert "revoked" in online.ctl("sessions", "--ended").stdout


def test_a_narrow_terminal_gets_blocks(online: Running) -> None:
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "portald.ctl", "sessions", "--config", str(online.config)]
    subprocess.run(command, stdout=child, env=os.environ | {"COLUMNS": "40"}, check=True)
    os.close(child)
    printed = os.read(parent, 10_000).decode()
    os.close(parent)
    assert max(len(line) for line in printed.splitlines()) <= 40
    assert "DEVICE   02:00:7f:00:00:01" in printed


def test_a_reader_that_goes_away_is_no_error(online: Running) -> None:
    command = f"{sys.executable} -m portald.ctl texts --config {online.config} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_a_failing_daemon_is_said_in_one_line(online: Running) -> None:
    database = sqlite3.connect(online.folder / "state" / "portald.db")
    database.execute("PRAGMA legacy_alter_table = ON")
    database.execute("ALTER TABLE plans RENAME TO gone")
    database.close()
    for command in (["status"], ["sessions"], ["revoke", "256"]):
        done = online.ctl(*command)
        assert done.returncode == 1
        assert "portald failed: internal_error; see: journalctl -u portald" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_settings_may_be_named_before_the_command(online: Running) -> None:
    command = [sys.executable, "-m", "portald.ctl", "--config", str(online.config), "status"]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_no_daemon(running: Running) -> None:  # noqa: F811
    for command in (["status"], ["sessions"], ["revoke", "1"], ["texts"]):
        done = running.ctl(*command)
        assert done.returncode == 3
        assert "portald is not running" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["rubbish"], ["revoke"], ["sessions", "--unknown"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_check_finds_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "portald.toml"
    config.write_text(
        f'state_dir = "{tmp_path}"\nrun_dir = "{tmp_path}"\n'
        '[[zones]]\ninterface = "no-such-if"\nnetworks = ["10.77.0.0/24"]\n'
        '[firewall]\nuser = "no-such-user"\n[[sms]]\ntype = "sandbox"\n'
    )
    assert main(["check", "--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "FAIL  zone guest: no interface no-such-if" in printed
    assert "FAIL  there is no user no-such-user\n      -> useradd --system no-such-user" in printed
    assert main(["check", "--config", str(config), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {"level", "text", "cure"} == set(rows[0])
    assert "warn" in {row["level"] for row in rows}


def test_check_of_an_address_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "portald.toml"
    config.write_text(
        '[[zones]]\ninterface = "lo"\nnetworks = ["10.77.0.0/24"]\n[[sms]]\ntype = "sandbox"\n'
    )
    main(["check", "--config", str(config)])
    assert "ip address add 10.77.0.1/24 dev lo" in capsys.readouterr().out


def test_times() -> None:
    assert _left(None) == "no limit"
    assert _left(0) == "0:00 min"
    assert _ago(0).endswith(" d ago")

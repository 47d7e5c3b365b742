"""portalctl: what it prints, in a pipe and in a narrow terminal, and how it ends."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pty
import re
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from portald.ctl.ask import _UnixConnection as Connection
from portald.ctl.main import _ago, _left, main
from portald.demo import phone
from portald.demo.lab import until
from tests.test_daemon import Running, opens, running  # noqa: F401, a fixture


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
    database.execute("ALTER TABLE sessions RENAME TO gone")
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


def test_a_theme_can_be_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, folder = tmp_path / "portald.toml", tmp_path / "pages"
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    config.write_text(
        f'state_dir = "{tmp_path}"\n[[zones]]\ninterface = "guests"\nnetworks = ["10.77.0.0/24"]\n'
        f'[zones.theme]\nlogo = "{tmp_path}/logo.svg"\n[[sms]]\ntype = "sandbox"\n'
    )
    arguments = ["theme", "preview", str(folder), "--config", str(config)]
    assert main([*arguments, "--language", "ar", "--style", "night"]) == 0
    assert f"open {folder}/index.html in a browser" in capsys.readouterr().out
    assert 'lang="ar" dir="rtl"' in (folder / "code.html").read_text()
    assert 'src="logo.svg"' in (folder / "first.html").read_text()
    assert (folder / "logo.svg").read_text().startswith("<svg")
    assert main([*arguments, "--json"]) == 0
    pages = json.loads(capsys.readouterr().out)["pages"]
    assert {f"{page}.html" for page in pages} | {"index.html"} == {f.name for f in folder.glob("*.html")}
    assert main([*arguments, "--zone", "attic"]) == 1
    assert "there is no zone 'attic'; known: guest" in capsys.readouterr().err
    assert main(["theme", "preview", str(tmp_path / "logo.svg"), "--config", str(config)]) == 1
    assert "logo.svg: File exists" in capsys.readouterr().err
    own, theirs = tmp_path / "guest", tmp_path / "theirs"
    own.mkdir()
    (own / "code.html").write_text("my own")
    theirs.mkdir()
    theirs.chmod(0o777)
    for taken in (own, theirs):
        assert main(["theme", "preview", str(taken), "--config", str(config)]) == 1
        assert "name a new folder" in capsys.readouterr().err
    assert (own / "code.html").read_text() == "my own"
    (tmp_path / "logo.svg").unlink()
    main(["check", "--config", str(config)])
    assert f"warn  zone guest: logo: there is no {tmp_path}/logo.svg" in capsys.readouterr().out


def test_consents_are_shown(running: Running) -> None:  # noqa: F811
    terms = running.folder / "terms.txt"
    terms.write_text("Be kind.\n")
    running.config.write_text(
        running.config.read_text().replace("[[zones]]", f'[[zones]]\nterms = "{terms}"')
    )
    running.up()
    assert "Nobody has" in running.ctl("consents").stdout
    page = running.get("/terms")["body"]
    version = re.search(r'name="version" value="(\w+)"', page)
    assert version
    assert running.post("/agree", version=version[1])["location"] == "/"
    (row,) = json.loads(running.ctl("consents", "--of", "02:00:7f:00:00:01", "--json").stdout)
    assert row["version"] == version[1]
    assert version[1] in running.ctl("consents").stdout
    assert running.ctl("consents", "--words", version[1]).stdout == "Be kind.\n"
    assert running.ctl("consents", "--words", "rubbish").returncode == 1
    assert "expected a device's MAC" in running.ctl("consents", "--of", "zz").stderr


def test_check_of_an_address_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "portald.toml"
    config.write_text(
        '[[zones]]\ninterface = "lo"\nnetworks = ["10.77.0.0/24"]\n[[sms]]\ntype = "sandbox"\n'
    )
    main(["check", "--config", str(config)])
    assert "ip address add 10.77.0.1/24 dev lo" in capsys.readouterr().out


def test_times() -> None:
    assert _left(None) == "no limit"
    assert _left(0) == "0 seconds"
    assert _ago(0).endswith(" d ago")


# Texts ----------------------------------------------------------------------------------------


def test_texts_from_the_operators_side(online: Running) -> None:
    assert "texts, 24 hours" in online.ctl("sms").stdout
    table = online.ctl("sms", "providers").stdout
    assert table.splitlines()[0].startswith("PROVIDER")
    assert "1 of 1 (100 %)" in table

    done = online.ctl("sms", "test", "+4915123456789")
    assert done.returncode == 0
    assert re.match(r"sandbox: accepted, after [\d.]+ s\nIts id for the text: SM\w+\n", done.stdout)
    refused = online.ctl("sms", "test", "+14155550001")  # the sandbox refuses numbers that end so
    assert refused.returncode == 1
    assert ": invalid number, after" in refused.stdout
    assert "\nWhy: HTTP 400" in refused.stdout
    answer = json.loads(online.ctl("sms", "test", "+14155550001", "--json").stdout)
    assert (answer["outcome"], answer["error"]) == ("invalid_number", "sms_provider_error")
    wrong = online.ctl("sms", "test", "12")
    assert (wrong.returncode, wrong.stderr) == (1, "portalctl: 12: number invalid\n")

    by_mail = online.ctl("sms", "test", "--provider", "email", "--carrier", "verizon", "+12125550123")
    assert by_mail.stderr == "portalctl: no provider email; there are: sandbox\n"

    log = online.ctl("sms", "log", "--last", "2").stdout
    assert len(log.splitlines()) == 3
    assert "invalid_number" in log
    assert "+14155550001" not in log

    changed = online.ctl("sms", "limits", "--set", "texts=7", "--close", "GB").stdout
    assert re.search(r"^texts +7 \(settings: 500\) +1 ", changed, re.M)
    assert "Closed: GB, by hand." in changed
    assert "[###" in online.ctl("sms", "budget").stdout
    restored = online.ctl(
        "sms", "limits", "--reset", "texts", "--open", "GB", "--forget", "+14155552671"
    ).stdout
    assert "counts start afresh" in restored
    assert "Closed" not in restored
    nonsense = online.ctl("sms", "limits", "--set", "texts=many")
    assert (nonsense.returncode, nonsense.stderr) == (
        1,
        "portalctl: texts: expected a number, got 'many'\n",
    )

    assert "GSM-7, 58 units, 1 part\n    888888 is your Lobby" in online.ctl("sms", "preview").stdout
    for command in ([], ["providers"], ["log"], ["limits"], ["budget"], ["preview"]):
        assert json.loads(online.ctl("sms", *command, "--json").stdout)


def test_alarms_are_in_the_status(online: Running) -> None:
    online.ctl("sms", "limits", "--set", "texts=1")
    status = online.ctl("status").stdout
    assert "! texts of the day: 1 of 1 used\n  -> look at: portalctl sms log" in status


def test_the_otp_api_is_on_the_operators_socket(running: Running) -> None:  # noqa: F811
    with running.config.open("a") as settings:
        settings.write('[[applications]]\nid = "booking"\nsecret = "0123456789abcdef"\n')
    running.start("sandbox", "--listen", f"127.0.0.1:{running.texts}")
    running.up()
    until(lambda: opens(running.texts) and (running.folder / "admin.sock").exists(), "not up")

    def call(method: str, path: str, body: str, **headers: str) -> Any:
        with contextlib.closing(Connection(running.folder / "admin.sock")) as connection:
            connection.request(method, path, body, {"Host": "localhost", **headers})
            return json.loads(connection.getresponse().read())

    login = base64.b64encode(b"booking:0123456789abcdef").decode()
    form = {"Authorization": f"Basic {login}", "Content-Type": "application/x-www-form-urlencoded"}
    token = call("POST", "/oauth/token", "grant_type=client_credentials", **form)["access_token"]
    bearer = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    made = call("POST", "/otp", '{"to": "+14155552671", "from": "Verify"}', **bearer)
    path = f"/otp/{made['otpId']}"
    until(lambda: call("GET", path, "", **bearer)["status"] == "PENDING", "it is not sent")
    texts = json.loads(phone.fetch("GET", f"http://127.0.0.1:{running.texts}/texts")["body"])
    pin = json.dumps({"pin": texts[0]["body"][:6]})
    assert call("POST", path, pin, **bearer)["status"] == "VERIFIED"
    assert phone.fetch("GET", f"http://127.0.0.1:{running.port}{path}")["status"] in (302, 404), (
        "not for guests"
    )


def test_check_tells_of_weak_codes_long_texts_and_wrong_templates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "portald.toml"
    start = (
        f'state_dir = "{tmp_path}"\nrun_dir = "{tmp_path}"\n[firewall]\nbackend = "memory"\n'
        '[[zones]]\ninterface = "lo"\nnetworks = ["127.0.0.0/8"]\naddress = "127.0.0.1"\n'
    )
    config.write_text(
        start + '[otp]\nlength = 4\nlifetime = 1200\ntexts = { ru = "Ваш код {code}. ' + "ж" * 70 + '" }\n'
        '[[sms]]\ntype = "http"\nurl = "http://sms.example/"\nenabled = false\n[[sms]]\ntype = "sandbox"\n'
    )
    main(["check", "--config", str(config)])
    printed = capsys.readouterr().out
    assert "warn  a code of 4 digits can be guessed" in printed
    assert "warn  a code lives longer than 10 minutes" in printed
    assert "warn  the text for ru is 2 parts" in printed
    assert "ok    texts go by sandbox\n" in printed
    config.write_text(start + '[otp]\nmode = "format_only"\n[[sms]]\ntype = "sandbox"\nenabled = false\n')
    assert main(["check", "--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "warn  numbers are not proven" in printed
    assert "FAIL  no provider is enabled" in printed
    payload = '{"content": {{body}},\\n"to": {{mobile}}}}'
    config.write_text(
        start
        + f"[[sms]]\ntype = 'http'\nurl = 'http://x.example/'\npayload = '''{payload}'''\n".replace(
            "\\n", "\n"
        )
    )
    assert main(["check", "--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"FAIL  sms\[0\]\.payload: .*line 2, column 18", printed), printed


def test_check_looks_at_files_of_secrets_and_at_where_texts_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length")
    token.chmod(0o604)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        there, nowhere = listening.getsockname()[1], taken.getsockname()[1]
        config = tmp_path / "portald.toml"
        config.write_text(
            f'state_dir = "{tmp_path}"\nrun_dir = "{tmp_path}"\n[firewall]\nbackend = "memory"\n'
            '[[zones]]\ninterface = "lo"\nnetworks = ["127.0.0.0/8"]\naddress = "127.0.0.1"\n'
            f'[[sms]]\ntype = "http"\nname = "there"\nurl = "http://127.0.0.1:{there}/"\n'
            f'bearer_file = "{token}"\n[[sms]]\ntype = "http"\nname = "nowhere"\n'
            f'url = "http://127.0.0.1:{nowhere}/"\nbearer_file = "{token}"\n'
        )
        main(["check", "--config", str(config)])
    printed = capsys.readouterr().out
    assert printed.count("warn  bearer_file: everybody can read") == 2
    assert f"chmod o= {token}" in printed
    assert f"warn  nowhere: nothing answers at 127.0.0.1 port {nowhere}: Connection refused" in printed
    assert "there: nothing" not in printed.replace("nowhere: nothing", "")


def test_render_nginx_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "portald.toml"
    config.write_text('[[zones]]\ninterface = "lo"\nnetworks = ["10.0.0.0/8"]\n')
    assert main(["render", "nginx", "--config", str(config)]) != 0
    assert "in [web], set it, key and url" in capsys.readouterr().err

"""portalctl plans, groups, accounts, clients, vouchers, approvals, history, who, backup: as operators use them."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from portald.ctl.arrange import _as_was, _harmless
from portald.ctl.words import last_day, last_moment, minus_times, moment, pairs, span
from portald.demo.lab import end
from portald.errors import ConfigError
from tests.test_daemon import Running, running  # noqa: F401, a fixture

NUMBER = "+14155552671"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon with one guest online, shared: each test cleans up after itself."""
    made = Running(tmp_path_factory.mktemp("venue"))
    made.up()
    made.log_in()
    yield made
    for process in made.processes:
        end(process)
        if process.stderr:
            process.stderr.close()


def out(venue: Running, *arguments: str, code: int = 0) -> str:
    done = venue.ctl(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr + done.stdout


def test_a_plan_for_the_guests(venue: Running) -> None:
    printed = out(
        venue, "plans", "set", "café", "session=2h", "day_volume=500MB", "hours=Mo-Fr 08:00-18:00"
    )
    assert printed == "café: day_volume=500MB hours='Mo-Fr 08:00-18:00' session=2h\n"
    assert out(venue, "plans").splitlines()[0].split() == ["PLAN", "LIMITS"]
    assert "unlimited  no limits" in out(venue, "plans")
    assert out(venue, "plans", "set", "café", "hours=") == "café: day_volume=500MB session=2h\n"
    assert "did you mean 'session'" in out(venue, "plans", "set", "café", "sesion=1h", code=1)
    assert "expected KEY=VALUE" in out(venue, "plans", "set", "café", "session", code=1)
    assert out(venue, "plans", "delete", "café") == "café is deleted.\n"
    assert "there is no café; see: portalctl plans" in out(venue, "plans", "delete", "café", code=1)
    assert "day_volume    bytes in a day" in out(venue, "plans", "set", "--help")


def test_a_group_with_a_plan_holds_at_once(venue: Running) -> None:
    out(venue, "plans", "set", "short", "session=1h")
    assert out(venue, "groups", "set", "SMS", "--plan", "short") == "Group SMS has the plan short.\n"
    try:
        (row,) = json.loads(out(venue, "sessions", "--json"))
        assert row["plan"] == "short"
        assert "minutes" in out(venue, "sessions") or "hour" in out(venue, "sessions")
        assert "a group has it" in out(venue, "plans", "delete", "short", code=1)
    finally:
        out(venue, "groups", "set", "SMS", "--plan", "unlimited")
    out(venue, "plans", "delete", "short")


def test_accounts(venue: Running) -> None:
    told = out(
        venue, "accounts", "set", "alice", "password=secret77", "note=room 12", f"number={NUMBER[:-1]}9"
    )
    assert told == "alice, group SMS: may go online.\n"
    table = out(venue, "accounts", "list", "room")
    assert "alice" in table
    assert "password" in table
    assert "secret77" not in table
    assert out(venue, "accounts", "block", "alice") == "alice, group SMS: blocked.\n"
    assert "blocked" in out(venue, "accounts", "list", "alice")
    assert out(venue, "accounts", "unblock", "alice") == "alice, group SMS: may go online.\n"
    assert "there is no group 'gold'" in out(venue, "accounts", "set", "alice", "group=gold", code=1)
    assert "expected yes or no" in out(venue, "accounts", "set", "alice", "blocked=maybe", code=1)
    assert "expected a time" in out(venue, "accounts", "set", "alice", "expires_at=soon", code=1)
    out(venue, "accounts", "set", "alice", "expires_at=2020-01-01")
    assert "expired" in out(venue, "accounts", "list", "alice")
    assert out(venue, "accounts", "delete", "alice") == "alice is deleted.\n"
    assert "there is no account 'alice'" in out(venue, "accounts", "delete", "alice", code=1)
    assert NUMBER not in out(venue, "accounts"), "masked"


def test_a_password_that_is_asked_for(venue: Running) -> None:
    program = [sys.executable, "-m", "portald.ctl", "accounts", "--config", str(venue.config), "set"]
    done = subprocess.run(
        [*program, "carol", "password=-"], input="secret88\n", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "password" in out(venue, "accounts", "list", "carol")
    out(venue, "accounts", "delete", "carol")


def test_import_and_export(venue: Running, tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    rows = ["name,group,password,note"]
    rows += [f"user{n},SMS,,batch" for n in range(300)]
    rows += ['zoë,SMS,hello123,"a, b"', "+14155550123,SMS,,=HYPERLINK(1)"]
    file.write_text("\ufeff" + "\n".join(rows), "utf-8")
    assert out(venue, "accounts", "import", str(file)) == "302 accounts made or changed.\n"
    exported = list(csv.DictReader(io.StringIO(out(venue, "accounts", "export"))))
    by_name = {row["name"]: row for row in exported}
    assert by_name["zoë"]["note"] == "a, b"
    assert by_name["+14155550123"]["note"] == "'=HYPERLINK(1)", (
        "a spreadsheet must not take it for a formula"
    )
    assert by_name[NUMBER]["number"] == NUMBER, "in full: it is for moving to another box"
    target = tmp_path / "out.csv"
    assert "written to" in out(venue, "accounts", "export", str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    for bad, why in (
        ("name,colour\nx,red\n", "unknown: colour"),
        ("group\nSMS\n", "name is missing"),
        ("name,group\na1,SMS\na2,gold\n", "row 2: there is no group 'gold'"),
        ("name,password\na1,123\n", "a1: the password is too short"),
        ("name,expires_at\na1,\na2,31.12.2026\n", "accounts.csv: row 2: expected a time"),
        ("name,group\na1,SMS,more\n", "row 1: more cells than columns"),
        ("name,email\na1,nonsense\n", "email: 'nonsense' is no e-mail address"),
    ):
        file.write_text(bad)
        assert why in out(venue, "accounts", "import", str(file), code=1)
    assert "a1" not in out(venue, "accounts"), "all or none"
    assert "No such file" in out(venue, "accounts", "import", "/nowhere.csv", code=1)


def test_an_export_is_read_back_as_it_was(venue: Running, tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text(
        "name;note;blocked;expires_at\n-x@example.com;=1+1;no;2037-12-31\nzoë;it's 'so';yes;2037-01-01 08:00:00\n"
    )
    assert out(venue, "accounts", "import", str(first)) == "2 accounts made or changed.\n"
    out(venue, "accounts", "export", str(first))
    assert "'-x@example.com" in first.read_text(), "a spreadsheet must not take it for a formula"
    out(venue, "accounts", "unblock", "zoë")
    out(venue, "accounts", "import", str(first))
    out(venue, "accounts", "export", str(second))
    assert first.read_text() == second.read_text()
    assert "zoë,SMS,,,yes,2037-01-01 08:00:00,it's 'so'" in second.read_text()
    assert "2037-12-31" in second.read_text()
    for name in ("-x@example.com", "zoë"):
        out(venue, "accounts", "delete", "--", name)


def test_names_that_are_none(venue: Running) -> None:
    for command in (
        ["plans", "set", ""],
        ["groups", "set", ""],
        ["accounts", "set", ""],
        ["clients", "block", ""],
    ):
        assert "it is empty" in out(venue, *command, code=1)
    for command in (["plans", "set", "a/b"], ["clients", "block", "a/b"]):
        assert "there is a name with / in it" in out(venue, *command, code=1)
    assert "there is no account 'zed'" in out(venue, "accounts", "block", "zed", code=1), (
        "a typo blocks nobody"
    )
    assert "blocked" in out(venue, "accounts", "block", "+14155550188"), "before it was ever here"
    assert out(venue, "accounts", "delete", "+14155550188")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-1+2", "'-1+2"),
        ("+49123", "+49123"),
        ("", ""),
        (None, ""),
        ("a=b", "a=b"),
        ("'=1", "''=1"),
        ("'so'", "'so'"),
    ],
)
def test_cells_that_are_formulas(cell: str | None, shown: str) -> None:
    assert _harmless(cell) == shown
    assert _as_was(_harmless(cell)) == (cell or "")


def test_devices(venue: Running) -> None:
    assert out(venue, "clients") == "No device is trusted or blocked.\n"
    assert (
        out(venue, "clients", "trust", "02-AA-00-00-00-01", "--note", "tv")
        == "02:aa:00:00:00:01 is trusted.\n"
    )
    assert out(venue, "clients", "block", "02:aa:00:00:00:02") == "02:aa:00:00:00:02 is blocked.\n"
    table = out(venue, "clients").splitlines()
    assert [line.split()[:2] for line in table[1:]] == [
        ["02:aa:00:00:00:01", "trusted"], ["02:aa:00:00:00:02", "blocked"],
    ]  # fmt: skip
    assert "expected a device's MAC" in out(venue, "clients", "trust", "printer", code=1)
    for mac in ("02:aa:00:00:00:01", "02:aa:00:00:00:02"):
        assert "like any other" in out(venue, "clients", "forget", mac)
    assert "there is no 02:aa" in out(venue, "clients", "forget", "02:aa:00:00:00:01", code=1)


def test_vouchers(venue: Running) -> None:
    printed = out(venue, "vouchers", "make", "3", "--uses", "2", "--lasts", "1d", "--note", "desk")
    codes = [line.strip() for line in printed.splitlines()[1:4]]
    assert all(len(code) == 11 and code[5] == "-" for code in codes)
    assert "good 24 hours from the first use" in printed
    number = printed.split()[1].rstrip(",")
    rows = list(csv.reader(io.StringIO(out(venue, "vouchers", "show", number, "--csv"))))
    assert [row[2] for row in rows[1:]] == codes
    assert "0 of 3" in out(venue, "vouchers")
    assert "can use batch" in out(venue, "vouchers", "withdraw", number)
    assert "withdrawn" in out(venue, "vouchers")
    assert "there is no batch 99" in out(venue, "vouchers", "show", "99", code=1)
    assert "group SMS, withdrawn:" in out(venue, "vouchers", "show", number)
    assert "from 1 to" in out(venue, "vouchers", "make", "5001", code=1)
    assert "from 1 to" in out(venue, "vouchers", "make", "0", code=1)
    assert "from 1 to" in out(venue, "vouchers", "make", "1", "--uses", "0", code=1)
    assert "expired already" in out(venue, "vouchers", "make", "1", "--expires", "2020-01-01", code=1)
    assert "good until 2037-12-31:" in out(venue, "vouchers", "make", "1", "--expires", "2037-12-31")
    assert "there is no group" in out(venue, "vouchers", "make", "1", "--group", "gold", code=1)


def test_nobody_asks(venue: Running) -> None:
    assert out(venue, "approvals") == "Nobody asks to be let in.\n"
    assert "there is no request 7" in out(venue, "approvals", "refuse", "7", code=1)
    assert "there is no request 7" in out(venue, "approvals", "accept", "7", code=1)


def test_history_and_who(venue: Running) -> None:
    printed = out(venue, "history", "--by", "account")
    assert "+14…71" in printed
    assert "#" in printed
    assert "expected a day" in out(venue, "history", "--since", "yesterday", code=1)
    who = out(venue, "who", "127.0.0.1")
    assert NUMBER in who, "the law asks for the number, not for a mask"
    assert "online" in who
    assert "Nobody had 127.0.0.9" in out(venue, "who", "127.0.0.9", code=1)
    assert "Nobody had" in out(venue, "who", "127.0.0.1", "--at", "2020-01-01", code=1)
    assert "Nobody had 2001:db8::1" in out(venue, "who", "2001:DB8:0::1", code=1), "as the store has it"
    assert "expected an address" in out(venue, "who", "phone", code=1), "a typo is no alibi"


def test_extending(venue: Running) -> None:
    (row,) = json.loads(out(venue, "sessions", "--json"))
    assert "2h more, but nothing of its plan ends it" in out(venue, "extend", str(row["id"]), "2h")
    out(venue, "plans", "set", "unlimited", "session=8h")
    try:
        assert "30m less, and ends in" in out(venue, "extend", str(row["id"]), "-30m")
    finally:
        out(venue, "plans", "set", "unlimited", "session=")
    assert out(venue, "extend", row["mac"].upper(), "30m")
    assert "no live session 999" in out(venue, "extend", "999", "2h", code=1)
    assert "expected a time" in out(venue, "extend", "256", "soon", code=1)


def test_words() -> None:
    assert pairs(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert (span("2h"), span("-30m"), span("+1d")) == (7200, -1800, 86_400)
    assert moment("2026-05-31 18:00") - moment("2026-05-31") == 18 * 3600
    assert minus_times(["extend", "-30m", "--json", "-h"]) == ["extend", " -30m", "--json", "-h"]
    assert span(" -30m") == -1800
    assert last_moment("2026-12-31") == moment("2027-01-01"), "the last day is good to its end"
    assert last_moment("2026-12-31 18:00") == moment("2026-12-31 18:00")
    for text in ("2026-12-31", "2026-12-31 18:00:00"):
        assert last_day(last_moment(text)) == text
    for bad in ("x", "", "2026-13-01"):
        with pytest.raises(ConfigError):
            moment(bad)


# Backup ------------------------------------------------------------------------------------


def test_a_backup_is_taken_while_portald_runs_and_restored_when_it_does_not(
    running: Running,  # noqa: F811
    tmp_path: Path,
) -> None:
    daemon = running.up()
    running.log_in()
    out(running, "accounts", "set", "alice", "note=kept")
    file = tmp_path / "portald.tar.gz"
    assert f"Written to {file}" in out(running, "backup", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        assert archive.getnames() == ["portald.db", "portald.key"]
        assert {member.mode & 0o777 for member in archive} == {0o600}, "unpacked, the key is nobody else's"
    out(running, "accounts", "delete", "alice")
    assert "portald is running" in out(running, "restore", str(file), code=1)
    end(daemon)
    told = out(running, "restore", str(file))
    assert "Restored." in told
    state = running.folder / "state"
    assert list(state.glob("portald.db.before-restore-*"))
    # Who was cut since the backup is not let in by it: the first round believes the kernel.
    with closing(sqlite3.connect(state / "portald.db")) as database:
        assert database.execute("SELECT value FROM facts WHERE name = 'recovering'").fetchone() == ("1",)
    running.up()
    assert "alice" in out(running, "accounts")
    (row,) = json.loads(out(running, "sessions", "--json"))
    assert row["number"] == "+14…71"
    assert "lost" not in running.ctl("status").stdout


def test_what_is_no_backup(running: Running, tmp_path: Path) -> None:  # noqa: F811
    (running.folder / "state").mkdir()
    file = tmp_path / "x.tar.gz"
    file.write_bytes(b"rubbish")
    assert "is not a backup of portald" in out(running, "restore", str(file), code=1)
    with tarfile.open(file, "w:gz") as archive:
        for name, content in (("portald.db", b"not a database" * 99), ("portald.key", b"k" * 32)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert "the database in it is damaged" in out(running, "restore", str(file), code=1)
    with tarfile.open(file, "w:gz") as archive:
        link = tarfile.TarInfo("portald.db")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(link)
    assert out(running, "restore", str(file), code=1)
    assert list((running.folder / "state").iterdir()) == [], "nothing is left of it"
    assert "cannot be read" in out(running, "backup", str(tmp_path / "y.tar.gz"), code=1)


def test_a_backup_keeps_no_half_written_file(running: Running, tmp_path: Path) -> None:  # noqa: F811
    running.up()
    missing = tmp_path / "no" / "such" / "folder.tar.gz"
    assert "No such file" in out(running, "backup", str(missing), code=1)
    database = sqlite3.connect(running.folder / "state" / "portald.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert not list(tmp_path.glob("**/*.part"))

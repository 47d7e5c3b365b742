"""A modem of one's own: programs that behave as documented, and gammu-smsd itself with a dummy telephone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portald.errors import ConfigError, SmsError
from portald.model import Outcome, Report, Text
from portald.schema import build
from portald.sms.modem import Modem
from tests.sms.tables import CODE, NUMBER, TEXT, text
from tests.sms.test_payload import nasty

HEAD = f"""#!{sys.executable} -S
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
given = sys.stdin.buffer.read().decode() if any("stdin" in word for word in sys.argv) else ""
with open(os.path.join(here, "calls"), "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], given]) + "\\n")
"""

MMCLI = """
words = sys.argv[1:]
if any(word.startswith("--messaging-create-sms=") for word in words):
    print("Successfully created new SMS: /org/freedesktop/ModemManager1/SMS/21")
elif "--send" in words:
    print("successfully sent the SMS")
elif "-J" in words:
    print(open(os.path.join(here, "state")).read())
elif words[2].startswith("--messaging-delete-sms="):
    print("successfully deleted SMS from modem")
else:
    sys.exit(1)
"""


class Bench:
    """Programs of the test, first on PATH."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, source: str) -> None:
        file = self.path / name
        file.write_text(HEAD + source)
        file.chmod(0o755)

    @property
    def calls(self) -> list[tuple[str, list[str], str]]:
        file = self.path / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(name, words, given) for name, words, given in map(json.loads, lines)]

    def clear(self) -> None:
        (self.path / "calls").unlink(missing_ok=True)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return Bench(tmp_path / "bin")


def failure(modem: Modem, sent: Text | None = None) -> SmsError:
    with pytest.raises(SmsError) as caught:
        modem.send(sent or text())
    assert CODE not in caught.value.words
    assert NUMBER[1:] not in caught.value.words
    return caught.value


# ModemManager ----------------------------------------------------------------------------------


def test_mmcli(bench: Bench) -> None:
    bench.put("mmcli", MMCLI)
    assert Modem(tool="mmcli").send(text()) == "21"
    assert bench.calls == [
        ("mmcli", ["-m", "any", f"--messaging-create-sms=number={NUMBER}", "--messaging-create-sms-with-text=/dev/stdin"], TEXT),
        ("mmcli", ["-s", "21", "--send"], ""),
        ("mmcli", ["-m", "any", "--messaging-delete-sms=21"], ""),
    ]  # fmt: skip
    bench.clear()
    assert Modem(tool="mmcli", device="3").delivery("21") == Report("21", None)
    assert bench.calls == []


STATES = [
    ("completed-received", True),
    ("COMPLETED_RECEIVED", True),
    ("completed-replaced-by-sc", True),
    ("error-remote-procedure", False),
    ("temporary-fatal-error-busy", False),
    ("temporary-error-congestion", None),
    ("unknown", None),
    ("--", None),
]


@pytest.mark.parametrize(("state", "delivered"), STATES)
def test_reports_of_mmcli(bench: Bench, state: str, delivered: bool | None) -> None:
    bench.put("mmcli", MMCLI)
    modem = Modem(tool="mmcli", device="3", reports=True)
    assert modem.send(text()) == "21"
    words = [words for _, words, _ in bench.calls]
    assert words[0][2] == f"--messaging-create-sms=number={NUMBER},delivery-report-request=yes"
    # The text stays, for its report; one from long before does not wait for ever.
    assert words[2:] == [["-m", "3", "--messaging-delete-sms=11"]]
    (bench.path / "state").write_text(json.dumps({"sms": {"properties": {"delivery-state": state}}}))
    assert modem.delivery("21").delivered is delivered
    gone = ["-m", "3", "--messaging-delete-sms=21"] in [words for _, words, _ in bench.calls]
    assert gone == (delivered is not None)


@pytest.mark.parametrize("said", ["", "error: couldn't find SMS", "[]", '{"sms": 5}', "[" * 60_000])
def test_reports_that_make_no_sense(bench: Bench, said: str) -> None:
    bench.put("mmcli", MMCLI)
    (bench.path / "state").write_text(said)
    assert Modem(tool="mmcli", reports=True).delivery("21") == Report("21", None)
    assert Modem(tool="mmcli", reports=True).delivery("--help") == Report("--help", None)


MMCLI_FAILS: dict[str, tuple[str, Outcome, int]] = {
    "no modem": ("print(\"error: couldn't find modem\", file=sys.stderr); sys.exit(1)", Outcome.CONFIGURATION, 1),
    "not allowed": ("print('error: ... GDBus.Error:org.freedesktop.DBus.Error.AccessDenied: denied', file=sys.stderr); sys.exit(1)",
                    Outcome.CONFIGURATION, 1),
    "not enabled": ("print('error: modem not enabled yet', file=sys.stderr); sys.exit(1)", Outcome.TEMPORARY, 1),
    "cannot create": ("print('error: no', file=sys.stderr); sys.exit(1)", Outcome.TEMPORARY, 1),
    "says nothing": ("", Outcome.TEMPORARY, 1),
    "quotes the text": ("print(given, sys.argv, file=sys.stderr); sys.exit(1)", Outcome.TEMPORARY, 1),
    "hangs when creating": ("import time; time.sleep(9)", Outcome.TEMPORARY, 1),
    "send fails": (f"if '--send' in sys.argv:\n print('error: it was ... {NUMBER}', file=sys.stderr); sys.exit(1)\n" + MMCLI,
                   Outcome.UNKNOWN, 3),
    "no network": ("if '--send' in sys.argv:\n print('error: NoNetwork: no network', file=sys.stderr); sys.exit(1)\n" + MMCLI,
                   Outcome.TEMPORARY, 3),
    "hangs when sending": ("if '--send' in sys.argv:\n import time; time.sleep(9)\n" + MMCLI, Outcome.UNKNOWN, 3),
}  # fmt: skip


@pytest.mark.parametrize("row", MMCLI_FAILS)
def test_mmcli_fails(bench: Bench, row: str) -> None:
    source, outcome, calls = MMCLI_FAILS[row]
    bench.put("mmcli", source)
    assert failure(Modem(tool="mmcli", timeout=1)).outcome is outcome
    assert len(bench.calls) == calls  # sent once at most, and taken out of the modem again


def test_texts_go_one_after_the_other(bench: Bench) -> None:
    bench.put("mmcli", "import time\nif '--send' in sys.argv:\n time.sleep(0.2)\n" + MMCLI)
    threads = [threading.Thread(target=Modem(tool="mmcli").send, args=[text()]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bench.calls) == 9
    for position in (0, 3, 6):
        assert bench.calls[position][2] == TEXT
        assert "--send" in bench.calls[position + 1][1]


def test_a_busy_modem_is_for_the_next_provider(bench: Bench) -> None:
    bench.put("mmcli", "import time\nif '--send' in sys.argv:\n time.sleep(2)\n" + MMCLI)
    first = threading.Thread(target=Modem(tool="mmcli").send, args=[text()])
    first.start()
    while not bench.calls:
        time.sleep(0.01)
    found = failure(Modem(tool="mmcli", timeout=1))
    assert (found.outcome, found.words) == (Outcome.TEMPORARY, "the modem is busy with other texts")
    first.join()
    assert len(bench.calls) == 3


@pytest.mark.parametrize("tool", ["mmcli", "gammu", "uqmi", "sms_tool"])
def test_a_missing_program(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = failure(Modem(tool=tool, device="/dev/x"))
    assert found.outcome is Outcome.CONFIGURATION
    assert "is missing" in found.words


# OpenWrt's tools -------------------------------------------------------------------------------


def test_uqmi(bench: Bench) -> None:
    bench.put("uqmi", "")
    modem = Modem(tool="uqmi", device="/dev/cdc-wdm0")
    assert modem.send(text()) == ""
    assert bench.calls == [
        ("uqmi", ["-d", "/dev/cdc-wdm0", f"--send-message-target={NUMBER}", f"--send-message={TEXT}"], "")
    ]
    assert failure(modem, text(body=f"{CODE} für Sie")).outcome is Outcome.CONFIGURATION
    assert len(bench.calls) == 1
    bench.put("uqmi", "print('\"Failed to connect to service\"'); sys.exit(1)")
    assert failure(modem).outcome is Outcome.UNKNOWN


SMS_TOOL: dict[str, tuple[str, Outcome | str]] = {
    "sent": ("print('sms sent sucessfully: 17')", "17"),
    "sent, spelt right": ("print('sms sent successfully: 17')", "17"),
    "refused": ("print('sms not sent, code: 38', file=sys.stderr); sys.exit(1)", Outcome.TEMPORARY),
    "refused, by an older one": ("print('sms not sent, code: 38', file=sys.stderr)", Outcome.TEMPORARY),
    "no modem": ("print('No response from modem.', file=sys.stderr); sys.exit(2)", Outcome.CONFIGURATION),
    "nothing said": ("", Outcome.UNKNOWN),
    "quotes the text": ("print(sys.argv, file=sys.stderr); sys.exit(1)", Outcome.UNKNOWN),
}


@pytest.mark.parametrize("row", SMS_TOOL)
def test_sms_tool(bench: Bench, row: str) -> None:
    source, expected = SMS_TOOL[row]
    bench.put("sms_tool", source)
    modem = Modem(tool="sms_tool", device="/dev/ttyUSB2")
    if isinstance(expected, Outcome):
        assert failure(modem).outcome is expected
    else:
        assert modem.send(text()) == expected
    assert bench.calls == [("sms_tool", ["-d", "/dev/ttyUSB2", "--", "send", NUMBER[1:], TEXT], "")]


# smstools --------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for place in ("outgoing", "checked", "sent", "failed"):
        (tmp_path / "sms" / place).mkdir(parents=True)
    return tmp_path / "sms"


@pytest.mark.parametrize(
    ("body", "head", "content"),
    [
        (TEXT, b"", TEXT.encode()),
        ("Ihr Code: 123456 für 5 €", b"", "Ihr Code: 123456 für 5 €".encode("iso-8859-15")),
        ("Код: 123456", b"Alphabet: UCS\n", "Код: 123456".encode("utf-16-be")),
        ("To: 1\n\nReport: yes", b"", b"To: 1\n\nReport: yes"),
    ],
)
def test_smstools(spool: Path, body: str, head: bytes, content: bytes) -> None:
    name = Modem(tool="smstools", spool=str(spool)).send(text(body=body))
    (file,) = (spool / "outgoing").iterdir()
    assert file.name == name
    assert file.read_bytes() == f"To: {NUMBER[1:]}\n".encode() + head + b"\n" + content
    assert stat.S_IMODE(file.stat().st_mode) == 0o660
    assert NUMBER[1:] not in name
    assert not [path for path in spool.rglob("*") if path.is_file() and path != file]


def test_what_became_of_a_file(spool: Path) -> None:
    modem = Modem(tool="smstools", spool=str(spool))
    name = modem.send(text())
    assert modem.delivery(name) == Report(name, None, "outgoing")
    file = (spool / "outgoing" / name).rename(spool / "sent" / name)
    assert modem.delivery(name) == Report(name, None, "sent")
    file = file.rename(spool / "failed" / name)
    file.write_bytes(
        f"To: 1\nFail_reason: CMS ERROR: 38 {NUMBER}\nFailed: now\n\n".encode() + file.read_bytes()
    )
    assert modem.delivery(name) == Report(name, False, "CMS ERROR: 38 +14…71")
    file.write_bytes(b"\n\nFail_reason: from the text")
    assert modem.delivery(name) == Report(name, False, "")
    for other in ("", "../failed/x", "portald-0123456789abcdef", "/etc/passwd"):
        assert modem.delivery(other) == Report(other, None, "")


def test_a_spool_that_is_not_there(tmp_path: Path) -> None:
    found = failure(Modem(tool="smstools", spool=str(tmp_path / "nothing")))
    assert (found.outcome, found.words) == (
        Outcome.CONFIGURATION, "spool: cannot be written: No such file or directory"
    )  # fmt: skip


# gammu -----------------------------------------------------------------------------------------

GAMMU = "print('Written message with ID 42')"


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (TEXT, []),
        ("Код: 123456", ["-unicode"]),
        ("x" * 200, ["-len", "200"]),
        ("я" * 100, ["-unicode", "-len", "100"]),
        ("-unicode", []),
    ],
)
def test_gammu(bench: Bench, body: str, options: list[str]) -> None:
    bench.put("gammu-smsd-inject", GAMMU)
    assert Modem(tool="gammu", config="/etc/gammu-smsdrc").send(text(body=body)) == "42"
    assert bench.calls == [
        ("gammu-smsd-inject", ["-c", "/etc/gammu-smsdrc", "TEXT", NUMBER, *options, "-textutf8", body], "")
    ]


def test_a_name_with_the_number_in_it_is_none(bench: Bench) -> None:
    bench.put("gammu-smsd-inject", f"print('Written message with ID /var/out/OUTC2026_00_{NUMBER}_sms0')")
    assert Modem(tool="gammu").send(text()) == ""


@pytest.fixture
def gammu(tmp_path: Path) -> Path:
    """Return the settings of a gammu-smsd whose telephone is a directory."""
    if shutil.which("gammu-smsd") is None:
        assert not os.environ.get("CI"), "the suite installs it"
        pytest.skip("gammu-smsd is not installed")
    for place in ("phone", "in", "out", "sent", "error"):
        (tmp_path / place).mkdir()
    path = tmp_path / "rc"
    path.write_text(f"""
[gammu]
device = {tmp_path}/phone
connection = none
model = dummy
[smsd]
service = files
logfile = stderr
inboxpath = {tmp_path}/in/
outboxpath = {tmp_path}/out/
sentsmspath = {tmp_path}/sent/
errorsmspath = {tmp_path}/error/
commtimeout = 1
sendtimeout = 2
checksecurity = 0
checkbattery = 0
checksignal = 0
""")
    return path


@pytest.fixture
def smsd(gammu: Path) -> Iterator[Path]:
    """Run it; return its log."""
    log = gammu.parent / "log"
    with (
        log.open("wb") as written,
        subprocess.Popen(["gammu-smsd", "-c", str(gammu)], stderr=written, stdout=written) as running,
    ):
        yield log
        running.send_signal(signal.SIGTERM)


def written(place: Path) -> list[tuple[str, str]]:
    """Return number and text of what gammu has written, its parts put together."""
    found = []
    for file in sorted(place.iterdir()):
        # smsd appends what it knows later to what is there, and so the text once more.
        content = file.read_text("utf-8", "replace").split("; Saved ")[1]
        numbers = set(re.findall(r'^Number = "(.*)"$', content, re.M))
        parts = re.findall(r"^Text\d+ = ([0-9A-F]+)$", content, re.M)
        found.append((*numbers, bytes.fromhex("".join(parts)).decode("utf-16-be")))
    return found


def test_gammu_smsd_sends_it(gammu: Path, smsd: Path) -> None:
    modem = Modem(tool="gammu", config=str(gammu))
    texts = [
        ("+14155552671", TEXT),
        ("+14155552672", "-len 5 'x' \"y\" ü €"),
        ("+14155552673", "Код: 123456 🙂"),
        ("+14155552674", "x" * 200),
    ]
    for number, body in texts:
        modem.send(text(number, body))
    sent = gammu.parent / "sent"
    end = time.monotonic() + 20
    while len(list(sent.iterdir())) < len(texts) and time.monotonic() < end:
        time.sleep(0.1)
    assert sorted(written(sent))[:3] == texts[:3]
    transmitted = re.findall(r"Transmitted .*\(total: (\d+)\)", smsd.read_text("utf-8", "replace"))
    assert transmitted == ["1", "1", "1", "2"]  # each once, the last one in two parts


def test_gammu_queues_a_long_text_in_parts(gammu: Path) -> None:
    Modem(tool="gammu", config=str(gammu)).send(text(body="x" * 200))
    assert written(gammu.parent / "out") == [(NUMBER, "x" * 200)]


def test_gammu_without_its_settings(gammu: Path) -> None:
    found = failure(Modem(tool="gammu", config=f"{gammu}-nothing"))
    assert found.outcome is Outcome.CONFIGURATION
    assert "Failed to read config" in found.words


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=150))
def test_gammu_takes_no_text_for_an_option(gammu: Path, body: str) -> None:
    for file in (gammu.parent / "out").iterdir():
        file.unlink()
    try:
        Modem(tool="gammu", config=str(gammu)).send(text(body=body))
    except SmsError:
        assert not body.strip()
        return
    assert written(gammu.parent / "out") == [(NUMBER, body)]


# Nothing is injected ---------------------------------------------------------------------------

hostile = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
options = st.sampled_from(
    ["--help", "-s 1 --send", "',number='+1", "\",smsc='+1", "-unicode", "--", "-d", "=", "TEXT +1"]
)

TOOLS: dict[str, tuple[str, Callable[[list[str], str, str], Any]]] = {
    "mmcli": (
        MMCLI,
        lambda words, given, body: (
            words == ["-m", "any", f"--messaging-create-sms=number={NUMBER}", "--messaging-create-sms-with-text=/dev/stdin"]
            and given == body
        ),
    ),
    "gammu": (GAMMU, lambda words, given, body: words[:2] == ["TEXT", NUMBER] and words[-2:] == ["-textutf8", body]),
    "uqmi": ("", lambda words, given, body: words[2:] == [f"--send-message-target={NUMBER}", f"--send-message={body}"]),
    "sms_tool": (
        "print('sms sent sucessfully: 17')",
        lambda words, given, body: words[2:] == ["--", "send", NUMBER[1:], body],
    ),
}  # fmt: skip


@hostile
@given(body=nasty | options)
@pytest.mark.parametrize("tool", TOOLS)
def test_whatever_the_text_is_it_stays_the_text(bench: Bench, tool: str, body: str) -> None:
    source, good = TOOLS[tool]
    bench.clear()
    bench.put({"gammu": "gammu-smsd-inject"}.get(tool, tool), source)
    modem = Modem(tool=tool, device=None if tool == "mmcli" else "/dev/x")
    try:
        modem.send(Text(NUMBER, body, "1"))
    except SmsError as refused:
        assert refused.outcome is Outcome.CONFIGURATION  # noqa: PT017
        assert not body.strip() or "\0" in body or (tool == "uqmi" and not body.isascii())
        return
    _, words, given = bench.calls[0]
    assert good(words, given, body)


@hostile
@given(
    number=nasty
    | st.sampled_from(["--help", "+1\n", "+336 123", "+1415,x", "+1415'", "14155552671", "+٣٣٦١٢٣٤٥٦٧"])
)
@pytest.mark.parametrize("tool", ["mmcli", "gammu", "smstools", "uqmi", "sms_tool"])
def test_what_is_no_number_reaches_no_program(bench: Bench, tool: str, number: str) -> None:
    modem = Modem(tool=tool, device="/dev/x", spool=str(bench.path))
    with pytest.raises(SmsError) as caught:
        modem.send(text(to=number))
    assert caught.value.outcome is Outcome.INVALID_NUMBER
    assert bench.calls == []


@hostile
@given(body=nasty)
def test_whatever_the_text_is_it_is_no_header_of_a_file(spool: Path, body: str) -> None:
    try:
        name = Modem(tool="smstools", spool=str(spool)).send(text(body=body))
    except SmsError:
        return
    head, _, content = (spool / "outgoing" / name).read_bytes().partition(b"\n\n")
    assert head in (f"To: {NUMBER[1:]}".encode(), f"To: {NUMBER[1:]}\nAlphabet: UCS".encode())
    assert content.decode("utf-16-be" if b"UCS" in head else "iso-8859-15") == body


# Settings --------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "tool": ({"tool": "at"}, "tool: expected mmcli or gammu or"),
    "no device": ({"tool": "uqmi"}, "device: missing; uqmi needs"),
    "no device either": ({"tool": "sms_tool"}, "device: missing; sms_tool needs"),
    "an option as device": ({"tool": "mmcli", "device": "--help"}, "device: expected a path or a number"),
    "blanks": ({"tool": "mmcli", "device": "1 -s 2"}, "device: expected a path or a number"),
    "an option as settings": ({"tool": "gammu", "config": "-h"}, "config: expected a path"),
    "reports of gammu": ({"tool": "gammu", "reports": True}, "reports: not with gammu"),
    "a spool nowhere": ({"tool": "smstools", "spool": "sms"}, "spool: expected a path that begins"),
    "timeout": ({"tool": "mmcli", "timeout": 61}, "timeout: at most 60"),
    "no tool": ({}, "tool: missing"),
}


@pytest.mark.parametrize("row", WRONG)
def test_settings_that_are_refused(row: str) -> None:
    table, problem = WRONG[row]
    with pytest.raises(ConfigError) as caught:
        build(Modem, table)
    assert str(caught.value).startswith(problem)

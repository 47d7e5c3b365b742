"""A GSM or LTE modem of one's own, through the program that drives it.

mmcli       ModemManager
gammu       gammu-smsd, which queues what gammu-smsd-inject gives it
            (https://docs.gammu.org/smsd/inject.html)
smstools    smsd of smstools3, which sends the files in its spool
            (http://smstools3.kekekasvi.com/index.php?p=fileformat)
uqmi        OpenWrt's tool for QMI modems
sms_tool    OpenWrt's tool for modems with AT commands

A modem sends one text at a time, in some three to six seconds.  That a program took a text is all
that is known, unless reports are asked for.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from portald.errors import ConfigError, SmsError
from portald.model import Outcome, Report, Text
from portald.schema import one_of, setting
from portald.sms import mmcli, programs, spool
from portald.sms.modem_words import Run, refused, unsent
from portald.texts import measure

_TOOLS = ("mmcli", "gammu", "smstools", "uqmi", "sms_tool")
_NEEDS_DEVICE = ("uqmi", "sms_tool")
_IN_ARGUMENTS = ("gammu", "uqmi", "sms_tool")
_WORD = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/._:-]*")
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Modem:
    """A modem of one's own."""

    tool: str = setting("mmcli, gammu, smstools, uqmi or sms_tool")
    device: str | None = setting(
        "which modem: a number or path for mmcli (any, if not set), /dev/cdc-wdm0 for uqmi, "
        "/dev/ttyUSB2 for sms_tool",
        None,
    )
    config: str | None = setting("gammu: the settings file of gammu-smsd, if not its own", None)
    spool: str = setting("smstools: where outgoing, sent and failed are", "/var/spool/sms")
    reports: bool = setting("mmcli: whether to ask for delivery reports", False)
    timeout: float = setting("seconds for a text", 20.0, 1, 60)

    def __post_init__(self) -> None:
        one_of("tool", self.tool, _TOOLS)
        if self.tool in _NEEDS_DEVICE and not self.device:
            raise ConfigError(f"device: missing; {self.tool} needs to know which modem")
        for name in ("device", "config"):
            value = getattr(self, name)
            if value is not None and not _WORD.fullmatch(value):
                raise ConfigError(f"{name}: expected a path or a number, got {value!r}")
        if self.reports and self.tool != "mmcli":
            raise ConfigError(f"reports: not with {self.tool}; leave it out")
        if not Path(self.spool).is_absolute():
            raise ConfigError(f"spool: expected a path that begins with /, got {self.spool!r}")

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that have to be on this machine."""
        return {"gammu": ("gammu-smsd-inject",), "smstools": ()}.get(self.tool, (self.tool,))

    def send(self, text: Text) -> str:
        if not re.fullmatch(r"\+[1-9][0-9]{5,14}", text.to):
            raise SmsError(Outcome.INVALID_NUMBER, "not a number in international form")
        if not text.body.strip() or "\0" in text.body:
            raise SmsError(Outcome.CONFIGURATION, "not a text that a modem can send")
        if self.tool == "smstools":
            return spool.put(Path(self.spool), text)
        ways = {"mmcli": self._mmcli, "gammu": self._gammu, "uqmi": self._uqmi, "sms_tool": self._sms_tool}
        lock = _locks[f"{self.tool} {self.device}"]
        if not lock.acquire(timeout=self.timeout):
            raise SmsError(Outcome.TEMPORARY, "the modem is busy with other texts")
        try:
            return ways[self.tool](text, self._runner())  # its time begins with its turn
        finally:
            lock.release()

    def warnings(self) -> list[str]:
        """Return what works and is a risk."""
        if self.tool not in _IN_ARGUMENTS:
            return []
        return [f"tool: {self.tool} gets the text as an argument, which all users of this machine can see"]

    def delivery(self, message: str) -> Report:
        """Return what became of a text, as far as the program tells."""
        if self.tool == "smstools":
            return spool.look(Path(self.spool), message)
        if self.tool != "mmcli" or not self.reports or not re.fullmatch(r"[0-9]{1,9}", message):
            return Report(message, None)
        return mmcli.report(self._runner(), self._modem, message)

    @property
    def _modem(self) -> str:
        return self.device or "any"

    def _runner(self) -> Run:
        """Return what runs programs until the time for one text is over."""
        give_up = time.monotonic() + self.timeout

        def run(*command: str, stdin: str = "") -> programs.Done:
            left = max(0.5, give_up - time.monotonic())
            return programs.run(command, left, stdin=stdin.encode("utf-8", "replace"))

        return run

    def _mmcli(self, text: Text, run: Run) -> str:
        return mmcli.send(run, self._modem, text, self.reports)

    def _gammu(self, text: Text, run: Run) -> str:
        config = ("-c", self.config) if self.config else ()
        size = measure(text.body)
        options = (
            *(("-unicode",) if size.encoding == "UCS-2" else ()),
            *(("-len", str(size.units)) if size.parts > 1 else ()),
        )
        # The text is the value of -textutf8, so it is not an option, whatever it begins with.
        done = run("gammu-smsd-inject", *config, "TEXT", text.to, *options, "-textutf8", text.body)
        if done.code:
            raise refused(done, text, Outcome.CONFIGURATION)
        # With files instead of a database, the name would be that of a file, with the number in it.
        found = re.search(r"with ID ([0-9]{1,12})$", done.output, re.M)
        return found[1] if found else ""

    def _uqmi(self, text: Text, run: Run) -> str:
        if not text.body.isascii():
            words = "uqmi sends unaccented letters only; use mmcli"
            raise SmsError(Outcome.CONFIGURATION, words, of_number=True)
        done = run(
            "uqmi",
            "-d",
            str(self.device),
            f"--send-message-target={text.to}",
            f"--send-message={text.body}",
        )
        if done.code:
            raise refused(done, text, unsent(done))
        return ""

    def _sms_tool(self, text: Text, run: Run) -> str:
        number = text.to.removeprefix("+")
        done = run("sms_tool", "-d", str(self.device), "--", "send", number, text.body)
        found = re.search(r"sent suc\w*: *([0-9]{1,5})", done.output)
        if found and not done.code:
            return found[1]
        # Some versions end with 0 whatever happens, but all say so when a text was not sent.
        if "not sent" in done.complaint:
            raise refused(done, text, Outcome.TEMPORARY)
        raise refused(done, text, Outcome.CONFIGURATION if done.code == 2 else Outcome.UNKNOWN)

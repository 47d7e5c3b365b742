"""A venue full of guests whose packets are watched while things go wrong.

Half of the guests are in the store, half are strangers.  All of them send all the time, in both
families; what comes back says who can reach the internet, and that must be who the store says.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, Self

from portald.ctl.ask import ask
from portald.demo.lab import LabError, end, until
from portald.demo.venue import Venue
from portald.model import Client, Sort
from portald.store import Store
from tests.reliability import crowd

GATEWAY = "02:77:00:00:00:01"
ALIVE = 0.5
"""Seconds since its last echo for which a guest counts as online."""


class Guest:
    """One simulated device."""

    def __init__(self, number: int) -> None:
        self.mac = f"02:c0:00:00:00:{number:02x}"
        self.ip4 = f"10.77.0.{number + 10}"
        self.ip6 = f"2001:db8:77::c0:{number:x}"


class Hotel:
    """A running venue with ``inside`` guests of the store and ``outside`` strangers."""

    def __init__(self, backend: str, inside: int = 8, outside: int = 4, more: str = "") -> None:
        self.backend = backend
        self.venue = Venue(backend, more)
        self.guests = [Guest(n) for n in range(inside + outside)]
        self.inside = self.guests[:inside]
        self.strangers = {guest.mac for guest in self.guests[inside:]}
        self.supervised = True
        self.starts = 0
        self.clock = self.venue.scratch / "clock"
        if faked := next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None):
            self.set_clock(0)
            # The wall clock of what runs with it is ours; the steady clocks are not touched.
            self.venue.environment = [
                f"LD_PRELOAD={faked}",
                f"FAKETIME_TIMESTAMP_FILE={self.clock}",
                "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
            ]

    def __enter__(self) -> Self:
        self.venue.__enter__()
        try:
            self._fill()
            self._send()
            self._stopping = threading.Event()
            self._keepers = [self._keep("helper"), self._keep("daemon")]
            self.settled("at the start", 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_stopping"):
            self._stopping.set()
            for keeper in self._keepers:
                keeper.join(10)
        if hasattr(self, "_crowd"):
            end(self._crowd)
        self.venue.close()

    # Building -----------------------------------------------------------------------------

    def _fill(self) -> None:
        state = self.venue.scratch / "state"
        store = Store(state / "portald.db")
        for guest in self.inside:
            client = Client(guest.mac, guest.ip4, "guest")
            store.open_unproven(Sort.DEVICE, guest.mac, client, "SMS", [], time.time())
        store.close()
        self.own(state)

    def own(self, folder: Path) -> None:
        """Give files that we made to the user that portald runs as."""
        owner = folder.stat()
        for file in folder.iterdir():
            os.chown(file, owner.st_uid, owner.st_gid)

    def _send(self) -> None:
        self.known()
        self.venue.internet.start(sys.executable, "-I", crowd.__file__, "echo", str(crowd.PORT))
        self._file = self.venue.scratch / "crowd.json"
        self._write_guests()
        host = self.venue.phone
        command = host.command(
            sys.executable, "-I", crowd.__file__, "guests", "wlan0", GATEWAY, str(self._file)
        )
        self._crowd = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def known(self) -> None:
        """Tell the gateway's kernel where the guests are, as ARP and NDP would."""
        lines = [
            f"neigh replace {address} lladdr {guest.mac} dev br-guest nud permanent\n"
            for guest in self.guests
            for address in (guest.ip4, guest.ip6)
        ]
        command = self.venue.gateway.command("ip", "-batch", "-")
        subprocess.run(command, input="".join(lines), text=True, check=True, capture_output=True)

    def _write_guests(self) -> None:
        self._file.write_text(json.dumps([[g.mac, g.ip4, g.ip6] for g in self.guests]))

    def moved(self) -> None:
        """Let the guests' devices use the addresses that they now have."""
        self._write_guests()
        self._say("guests")
        self.known()

    def set_clock(self, seconds: float) -> None:
        """Put portald's wall clock on or back, against this machine's."""
        part = self.clock.with_suffix(".part")
        part.write_text(f"{seconds:+.0f}s\n")
        part.chmod(0o644)
        part.replace(self.clock)

    # Keeping both halves running, as systemd does ----------------------------------------------

    def _keep(self, which: str) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(which,), daemon=True)
        thread.start()
        return thread

    def _run(self, which: str) -> None:
        venue = self.venue
        while not self._stopping.is_set():
            with (venue.scratch / f"{which}.out").open("ab") as log:
                process = venue.gateway.start(*venue.half(which), output=log)
            setattr(venue, which, process)
            self.starts += 1
            while process.poll() is None and not self._stopping.is_set():
                self._stopping.wait(0.02)
            while not self.supervised and not self._stopping.is_set():
                self._stopping.wait(0.02)

    def kill(self, which: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = getattr(self.venue, which, None)
        if process is not None and process.poll() is None:
            process.send_signal(how)

    def log(self, which: str) -> str:
        return (self.venue.scratch / f"{which}.out").read_text("utf-8", "replace")

    # Looking --------------------------------------------------------------------------------

    def _say(self, word: str) -> Any:
        assert self._crowd.stdin
        assert self._crowd.stdout
        self._crowd.stdin.write(word + "\n")
        self._crowd.stdin.flush()
        return json.loads(self._crowd.stdout.readline())

    def reset(self) -> None:
        self._say("reset")

    def online(self) -> set[str]:
        """Return who reaches the internet, in both families."""
        report = self._say("report")
        return {
            mac
            for mac, families in report.items()
            if len(families) == 2 and all(last < ALIVE for last, _, _ in families.values())
        }

    def half_online(self) -> set[str]:
        """Return who reaches it in one family at least."""
        report = self._say("report")
        return {mac for mac, found in report.items() if any(last < ALIVE for last, _, _ in found.values())}

    def longest_pause(self, macs: set[str] | None = None) -> float:
        """Return the longest time since ``reset`` that one of the guests was without an answer."""
        watched = macs if macs is not None else {guest.mac for guest in self.inside}
        report = self._say("report")
        return max(
            (pause for mac in watched for _, pause, _ in report.get(mac, {"4": [0, 99.0, 0]}).values()),
            default=0.0,
        )

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return ask(Namespace(config=self.venue.config), method, path, body)

    def expected(self) -> set[str]:
        """Return who is online as the store says."""
        return {row["mac"] for row in self.ask("GET", "/api/sessions")}

    def agreed(self) -> bool:
        try:
            return self.expected() == self.online() == self.half_online()
        except Exception:
            return False  # a half is being started

    def settled(self, when: str, seconds: float = 15) -> None:
        """Wait until those online are those of the store, and stay so."""
        time.sleep(ALIVE + 0.1)  # what came before that is no sign of life any more
        try:
            until(self.agreed, "", seconds)
            time.sleep(0.3)
            until(self.agreed, "", 5)
        except LabError:
            logs = "\n".join(self.log(which)[-3000:] for which in ("daemon", "helper"))
            online = self.online()
            raise LabError(
                f"{self.backend}, {when}: online are {sorted(online)},"
                f" half {sorted(self.half_online() - online)}, should {self._should()}\n{logs}"
            ) from None
        leaked = self.half_online() & self.strangers - self.expected()
        assert not leaked, f"{when}: strangers are online: {leaked}"

    def _should(self) -> Any:
        try:
            return sorted(self.expected())
        except Exception as error:
            return error

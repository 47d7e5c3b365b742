"""Measures a whole venue, with few and with many sessions, and prints a table.

python -m tests.bench [SESSIONS]     10,000 unless told otherwise; 0 leaves that part out
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from portald.ctl.ask import ask as ask_daemon
from portald.demo.lab import Host, until
from portald.demo.venue import PORTAL, SITE, Venue, form_token
from portald.store import Store
from tests.bench import guest

ROUNDS = 5


def main(many: int) -> None:
    rows: list[tuple[str, str, str]] = []
    with Venue() as venue:
        venue.start()
        venue.lease(venue.phone)
        times = ask(venue.phone, "redirects", "500")
        rows.append(("redirect, one connection", f"{statistics.median(times) * 1000:.2f} ms p50", "1 ms"))
        (rate,) = ask(venue.phone, "flood", "5")
        rows.append(("redirects, eight connections", f"{rate:.0f} /s", ""))
        rows += measure(venue, "")
        rows.append(("helper with pyroute2 loaded", f"+{with_pyroute2():.0f} MB", "why it is not"))
    if many:
        with Venue() as venue:
            fill(venue, many)
            venue.start()
            venue.lease(venue.phone)
            until(lambda: venue.elements().count("\n") > 4 * many - 5, "not all are granted", 60)
            rows += measure(venue, f", {many:,} sessions")
    print(f"{'':44}{'measured':>14}  aim")
    for name, value, aim in rows:
        print(f"{name:<44}{value:>14}  {aim}")


def measure(venue: Venue, when: str) -> list[tuple[str, str, str]]:
    entered, cut = [], []
    for number in range(ROUNDS):
        entered.append(enter(venue, f"+49151234560{number}0"))
        cut.append(revoke(venue))
    # Not the first moments: what a process keeps shows after a few rounds of work.
    time.sleep(2)
    assert venue.daemon
    assert venue.helper
    daemon, helper = pss(venue.daemon.pid), pss(venue.helper.pid)
    aim = "96 MB" if when else "64 MB"
    return [
        (f"code sent to first packet{when}", f"{statistics.median(entered) * 1000:.0f} ms", "50 ms"),
        (f"revoke to last byte{when}", f"{statistics.median(cut) * 1000:.0f} ms", ""),
        (f"memory, portald{when}", f"{daemon:.1f} MB PSS", ""),
        (f"memory, portald-firewall{when}", f"{helper:.1f} MB PSS", ""),
        (f"memory, both{when}", f"{daemon + helper:.1f} MB PSS", aim),
    ]


def ask(host: Host, *action: str) -> list[float]:
    times: list[float] = json.loads(host.run(sys.executable, "-I", guest.__file__, *action))
    return times


def enter(venue: Venue, number: str) -> float:
    token = form_token(venue.fetch(venue.phone, f"http://{PORTAL}/")["body"])
    venue.fetch(venue.phone, f"http://{PORTAL}/number", form=f"form={token}&number=%2B{number[1:]}")
    code = venue.wait_for_text(number)
    page = f"http://{PORTAL}/code"
    until(lambda: 'name="code"' in venue.fetch(venue.phone, page)["body"], "no code page")
    return ask(venue.phone, "enter", token, code)[1]


def revoke(venue: Venue) -> float:
    """Return the seconds from the request to the last byte of a running download."""
    mac = venue.mac(venue.phone)
    options = Namespace(config=venue.config)
    session = next(row["id"] for row in ask_daemon(options, "GET", "/api/sessions") if row["mac"] == mac)
    download = venue.stream(venue.phone, f"http://{SITE}/stream")
    time.sleep(0.3)
    asked = time.time()
    ask_daemon(options, "POST", f"/api/sessions/{session}/revoke")
    result: dict[str, Any] = json.loads(download.communicate(timeout=20)[0])
    return max(0.0, float(result["last"]) - asked)


def fill(venue: Venue, many: int) -> None:
    """Put sessions into the store as if they had been there before a restart."""
    path = venue.scratch / "state" / "portald.db"
    store = Store(path)
    database = store.connection
    database.execute("BEGIN")
    for n in range(many):
        mac = f"02:be:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"
        database.execute(
            "INSERT INTO accounts (id, name, number, group_name, created_at) VALUES (?, ?, ?, 'SMS', 0)",
            (n + 1, f"+4915{n:09}", f"+4915{n:09}"),
        )
        (session,) = database.execute(
            "INSERT INTO sessions (account_id, zone, mac, started_at, granted_at)"
            " VALUES (?, 'guest', ?, ?, 1) RETURNING id",
            (n + 1, mac, time.time()),
        ).fetchone()
        database.execute(
            "INSERT INTO addresses (session_id, address, since) VALUES (?, ?, 0)",
            (session, f"10.77.0.{n % 150 + 100}"),
        )
    database.execute("COMMIT")
    store.close()
    owner = (venue.scratch / "state").stat()
    for file in path.parent.iterdir():
        os.chown(file, owner.st_uid, owner.st_gid)


def pss(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))) / 1000


def with_pyroute2() -> float:
    """Return what loading pyroute2 would add to the helper, in MB."""
    grown = []
    for extra in ("", "import pyroute2; "):
        code = f"import portald.helper; {extra}print(flush=True); input()"
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout
        process.stdout.readline()
        grown.append(pss(process.pid))
        process.communicate(b"\n")
    return grown[1] - grown[0]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)

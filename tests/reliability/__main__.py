"""Runs the fault suite in full and prints its figures: ``make reliability``.

python -m tests.reliability [KILLS]     200 unless told otherwise, on each backend
"""

from __future__ import annotations

import sys
import time

from tests.reliability import faults
from tests.reliability.faults import FAULTS
from tests.reliability.hotel import Hotel

BACKENDS = ("nftables", "iptables")


def main(kills: int) -> None:
    rows: dict[str, dict[str, str]] = {}
    for backend in BACKENDS:
        with Hotel(backend) as hotel:
            for number, each in enumerate(FAULTS, start=1):
                print(
                    f"\r{backend} {number} of {len(FAULTS) + 1}: {each.name:<70}", end="", file=sys.stderr
                )
                pause, told = faults.watched(hotel, each.run, each.name)
                rows.setdefault(each.name, {})[backend] = f"{pause:.2f} s"
                rows[each.name]["most"] = f"{each.pause:g} s"
                rows[each.name]["told"] = told
            before, started = hotel.starts, time.monotonic()
            print(f"\r{backend}: {kills} kills{'':<80}", end="", file=sys.stderr)
            pause, told = faults.watched(hotel, lambda venue: faults.kills(venue, kills), "kills")
            seconds = time.monotonic() - started
            name = f"{kills} kills at random moments"
            rows.setdefault(name, {})[backend] = f"{pause:.2f} s"
            rows[name]["most"] = f"{faults.NOTHING:g} s"
            rows[name]["told"] = f"{told}; {hotel.starts - before} starts in {seconds:.0f} s"
    print("\r", file=sys.stderr)
    print("| what happens | nftables | iptables | at most | besides |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        print(f"| {name} | {row['nftables']} | {row['iptables']} | {row['most']} | {row['told']} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

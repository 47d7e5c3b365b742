"""Programs that the tests bring along: services which apt would start on the machine at once.

They are unpacked into the virtual environment (tests/programs.sh), unless the machine has them.
So are programs that the machine has, but too old.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

UNPACKED = Path(sys.prefix) / "programs"
NEWER = Path(sys.prefix) / "newer"


def program(name: str) -> list[str]:
    """Return what starts a program, with the libraries that came with it; skip where there is none."""
    own = [str(UNPACKED / folder) for folder in ("usr/sbin", "usr/bin")]
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *own]))
    if found is None:
        _missing(name)
    if not found.startswith(str(UNPACKED)):
        return [found]
    libraries = [str(path) for path in (UNPACKED / "usr/lib").glob("*-linux-gnu*")]
    return ["env", f"LD_LIBRARY_PATH={os.pathsep.join(libraries)}", found]


def newer(name: str) -> list[str]:
    """Return what starts a program of a newer Debian, by that Debian's own C library."""
    found = NEWER / "usr/sbin" / name
    if not found.exists():
        _missing(name)
    loader = next(NEWER.glob("usr/lib*/ld-linux*"), None) or next(NEWER.glob("usr/lib/*/ld-linux*"))
    return [str(loader), "--library-path", str(next(NEWER.glob("usr/lib/*-linux-gnu*"))), str(found)]


def _missing(name: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {name}")
    pytest.skip(f"no {name} here; make test brings it")

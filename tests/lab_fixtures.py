"""Namespaces for tests: a fresh network for this thread, and a whole venue."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from portald.demo.lab import Host, impossible
from portald.demo.venue import Venue, missing

CLONE_NEWNET = 0x40000000


def require_lab() -> None:
    """Skip where the kernel refuses namespaces; in CI that is a failure."""
    why = impossible() or (f"missing: {', '.join(missing())}" if missing() else None)
    if why and os.environ.get("CI"):
        pytest.fail(f"CI must be able to build the lab: {why}")
    if why:
        pytest.skip(f"no lab here: {why}")


def _enter(flags_or_fd: int, *, back: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.setns(flags_or_fd, CLONE_NEWNET) if back else libc.unshare(flags_or_fd)
    if done:
        raise OSError(ctypes.get_errno(), "namespace")


@pytest.fixture
def own_network() -> Iterator[None]:
    """Put this thread, and what it starts, into an empty network of its own."""
    require_lab()
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _enter(CLONE_NEWNET, back=False)
    try:
        yield
    finally:
        _enter(home, back=True)
        os.close(home)


@contextmanager
def inside(host: Host) -> Iterator[None]:
    """Put this thread into the network of a host: what it starts and whom it asks is there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{host._holder.pid}/ns/net", os.O_RDONLY)
    _enter(there, back=True)
    try:
        yield
    finally:
        _enter(home, back=True)
        os.close(home)
        os.close(there)


@contextmanager
def venue_with_phone() -> Iterator[Venue]:
    """Build a venue with portald running and a phone that has its addresses."""
    require_lab()
    with Venue() as built:
        built.start()
        built.lease(built.phone)
        built.wait_ipv6(built.phone)
        yield built


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """A venue shared by the tests of a file."""
    with venue_with_phone() as built:
        yield built

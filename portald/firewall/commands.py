"""Runs nft, ip and conntrack: the one place that starts other programs as the kernel's administrator.

The helper talks to the kernel through these three rather than through a netlink library because
the library alone would double its memory
(``make bench`` measures that).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from portald.errors import FirewallError

# A command that hangs must not hang the helper: its one client would wait with it.
TIMEOUT = 30


def run(*command: str, input: str | None = None) -> str:
    """Run a command and return what it printed; raise ``FirewallError`` with what it complained."""
    try:
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=TIMEOUT)
    except FileNotFoundError:
        raise FirewallError(f"the command {command[0]} is missing; install its package") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FirewallError(f"{command[0]}: {error}") from error
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip()
        if "Operation not permitted" in complaint or "must be root" in complaint:
            complaint = f"not permitted: CAP_NET_ADMIN is needed ({complaint.splitlines()[0]})"
        raise FirewallError(f"{' '.join(command[:4])}: {complaint[:2000]}")
    return done.stdout


def nft(text: str) -> None:
    """Load plain nft commands, all or none."""
    run("nft", "-f", "-", input=text)


def nft_json(commands: Sequence[Any]) -> None:
    """Run nft commands in JSON (libnftables-json(5)), all or none."""
    run("nft", "-j", "-f", "-", input=json.dumps({"nftables": commands}))


def nft_list(*what: str) -> list[dict[str, Any]]:
    """Return the objects that ``nft list … inet portald`` names; options may come first."""
    options = [word for word in what if word.startswith("-")]
    kind, *name = (word for word in what if not word.startswith("-"))
    printed = run("nft", "-j", *options, "list", kind, "inet", "portald", *name)
    listing: list[dict[str, Any]] = json.loads(printed)["nftables"]
    return listing


def nft_elements(name: str, kind: str) -> list[Any]:
    """Return the elements of a set or map of ours."""
    body = next(item[kind] for item in nft_list(kind, name) if kind in item)
    elements: list[Any] = body.get("elem", [])
    return elements

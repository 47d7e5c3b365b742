"""What a service needs from its system: notification, passed sockets, logs, our own files."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from portald.errors import ConfigError

LOG_FORMAT = "level=%(levelname)s from=%(name)s %(message)s"


def notify(state: str) -> None:
    """Tell systemd, for example ``READY=1`` (sd_notify(3)); nothing happens without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError as error:
            logging.getLogger(__name__).warning("event=notify_failed error=%s", error)


def room(folder: Path) -> int:
    """Return the bytes that may still be written there: none where it is gone or read-only."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return 0
    return 0 if disk.f_flag & os.ST_RDONLY else disk.f_bavail * disk.f_frsize


def unix_listener(path: Path, mode: int, group: str = "") -> socket.socket:
    """Return the socket systemd passed (sd_listen_fds(3)), or a new one at ``path``.

    Raises ``ConfigError`` if somebody is listening there already, or it cannot be given to ``group``.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=3)
    if not path.parent.is_dir():
        raise ConfigError(f"run_dir: there is no {path.parent}; make it: systemd-tmpfiles --create")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        # By umask rather than chmod: a chmod would follow a link put in its place.
        before = os.umask(0o777 & ~mode)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        if group:
            _give(path, group)
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{path}: cannot listen there: {error.strerror or error}") from error
    except ConfigError:
        listener.close()
        raise
    return listener


def _give(path: Path, group: str) -> None:
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid, follow_symlinks=False)
    except KeyError:
        raise ConfigError(
            f"proxy_group: there is no group {group}; set the one nginx's workers run as"
        ) from None
    except PermissionError:
        user = pwd.getpwuid(os.geteuid()).pw_name
        cure = f"usermod -aG {group} {user}, and start it again"
        raise ConfigError(f"{path} cannot be given to the group {group}; {cure}") from None


def _clear(path: Path) -> None:
    """Remove a socket that a killed process left behind, and nothing else."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise ConfigError(f"{path} is in the way: not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise ConfigError(f"{path} is in use: is this already running?")


def set_up_logs(scrub: Callable[[str], str] = str, level: str = "INFO") -> None:
    """Log ``key=value`` lines to standard error, where journald adds the time.

    ``scrub`` sees every line last, tracebacks too, and takes out what must not be kept.
    """

    class Scrubbed(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return scrub(super().format(record))

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Scrubbed(LOG_FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def our_files(folder: str) -> Path:
    """Return the folder ``templates`` or ``nftables``: inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def fail(program: str, error: Exception) -> int:
    """Print why a program cannot go on, a line per problem; return the exit code."""
    for line in str(error).splitlines():
        print(f"{program}: {line}", file=sys.stderr)
    return 1

"""Asks the running daemon, over its admin socket."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from portald import config
from portald.errors import ConfigError, PortaldError


class Unreachable(PortaldError):
    """The daemon does not answer on its admin socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("portald", timeout=45)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(options: argparse.Namespace, method: str, path: str, body: Any = None) -> Any:
    """Return the daemon's answer; raise ``ConfigError`` if it refuses, ``Unreachable`` if there is none.

    A body of its own may be refused by 400 and 404, which are answers too.
    """
    if path.partition("?")[0].endswith("/"):
        raise ConfigError("a name or number is missing: it is empty")
    admin_socket = config.load(options.config).admin_socket
    connection = _UnixConnection(admin_socket)
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    try:
        connection.request(
            method, path, body=json.dumps(body or {}) if method == "POST" else None, headers=headers
        )
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (FileNotFoundError, ConnectionRefusedError):
        cure = "start it: systemctl start portald"
        raise Unreachable(f"portald is not running ({admin_socket}); {cure}") from None
    except PermissionError:
        raise Unreachable(f"{admin_socket}: permission denied; use sudo or join its group") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreachable(f"portald does not answer on {admin_socket}: {error}") from error
    finally:
        connection.close()
    if response.status in (422, 503) and "message" in answer:
        raise ConfigError(answer["message"])
    if response.status == 404 and answer.get("error") == "not_found" and method != "GET":
        asked = unquote(path.partition("/api/")[2])
        raise ConfigError(f"{asked!r} cannot be: there is a name with / in it")
    if response.status >= 400 and response.status not in (400, 404):
        raise ConfigError(f"portald failed: {answer.get('error')}; see: journalctl -u portald")
    return answer

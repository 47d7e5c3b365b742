"""The key that codes and forms are sealed with: kept beside the database, never in it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from portald.errors import ConfigError


def secret_key(path: Path) -> bytes:
    """Return the key kept in a file, made on first use; raise ``ConfigError`` if it cannot be."""
    try:
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            key = path.read_bytes()
        else:
            key = secrets.token_bytes(32)
            with os.fdopen(made, "wb") as file:
                file.write(key)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be used as the key: {error.strerror}") from error
    if len(key) < 32:
        raise ConfigError(f"{path}: not a key of 32 bytes; remove it to have a new one made")
    return key

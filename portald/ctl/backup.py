"""``portalctl backup`` and ``restore``: the database and its key in one file."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import tarfile
import tempfile
import time
from pathlib import Path

from portald import config
from portald.ctl.show import print_json
from portald.errors import ConfigError

NAMES = ("portald.db", "portald.key")
MOST = 8 * 2**30


def add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a .tar.gz file")


def backup(options: argparse.Namespace) -> int:
    """Write database and key as they are this moment; portald may run meanwhile."""
    from portald.store.recovery import copy, fault

    state = config.load(options.config).state_dir
    database = state / "portald.db"
    if not os.access(database, os.R_OK):
        raise ConfigError(f"{database} cannot be read; use sudo")
    with tempfile.TemporaryDirectory(prefix="portald-backup-") as folder:
        taken = Path(folder) / "portald.db"
        copy(database, taken)
        if (why := fault(taken)) is not None:
            raise ConfigError(f"{database} is damaged: {why}; restart portald, which rebuilds it")
        shutil.copyfile(state / "portald.key", Path(folder) / "portald.key")
        for name in NAMES:
            (Path(folder) / name).chmod(0o600)  # as tar will unpack them
        part = options.file.with_name(options.file.name + ".part")
        try:
            with (
                os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
                tarfile.open(fileobj=file, mode="w:gz") as archive,
            ):
                for name in NAMES:
                    archive.add(Path(folder) / name, name)
            part.replace(options.file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ConfigError(f"{options.file}: {error.strerror}") from error
    size = options.file.stat().st_size
    if options.json:
        print_json({"file": str(options.file), "bytes": size})
    else:
        print(
            f"Written to {options.file}, {size} bytes. It holds guests' numbers and the key: keep it safe."
        )
    return 0


def restore(options: argparse.Namespace) -> int:
    """Put database and key of a backup in place; what was there is kept beside them.

    Who is online is for the kernel to say: a backup knows who was, and perhaps was cut since.
    """
    from portald.store.recovery import fault, mark_recovering

    settings = config.load(options.config)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(settings.admin_socket)) == 0:
            raise ConfigError("portald is running and would not notice; first: systemctl stop portald")
    state = settings.state_dir
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = state.stat()
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=state) as folder:
            _unpack(options.file, Path(folder))
            if (why := fault(Path(folder) / "portald.db")) is not None:
                raise ConfigError(f"{options.file}: the database in it is damaged: {why}")
            mark_recovering(Path(folder) / "portald.db")
            aside = f"before-restore-{int(time.time())}"  # noqa: TID251, a root
            for name in ("portald.db", "portald.db-wal", "portald.db-shm", "portald.key"):
                if (state / name).exists():
                    (state / name).rename(state / f"{name}.{aside}")
            for name in NAMES:
                part = Path(folder) / name
                part.chmod(0o600)
                os.chown(part, owner.st_uid, owner.st_gid)
                part.replace(state / name)
    except OSError as error:
        raise ConfigError(f"{state}: {error.strerror}; use sudo") from error
    if options.json:
        print_json({"restored": str(options.file), "aside": aside})
    else:
        print(f"Restored. What was there ends in .{aside}. Now: systemctl start portald")
    return 0


def _unpack(file: Path, folder: Path) -> None:
    """Take the two files out of an archive, and nothing else that may be in it."""
    try:
        with tarfile.open(file, "r:gz") as archive:
            for name in NAMES:
                member = archive.getmember(name)
                source = archive.extractfile(member) if member.isreg() and member.size < MOST else None
                if source is None:
                    raise ConfigError(f"{file}: {name} in it is no file")
                with source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target, io.DEFAULT_BUFFER_SIZE * 16)
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise ConfigError(f"{file} is not a backup of portald: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error

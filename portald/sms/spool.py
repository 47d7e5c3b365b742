"""The spool of smstools3: a file for each text, taken by its smsd, which then moves it.

http://smstools3.kekekasvi.com/index.php?p=fileformat
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from portald.errors import SmsError
from portald.model import Outcome, Report, Text
from portald.phone import mask_all
from portald.texts import measure

_NAME = re.compile(r"portald-[0-9a-f]{16}")


def put(spool: Path, text: Text) -> str:
    """Hand over a text; return the name of its file.  Raises ``SmsError``."""
    name = f"portald-{secrets.token_hex(8)}"
    try:
        # Nameless until it is complete: smsd may look at any moment.
        file = os.open(spool / "outgoing", os.O_TMPFILE | os.O_WRONLY, 0o660)
        try:
            with open(file, "wb", closefd=False) as written:
                written.write(_content(text))
            os.fchmod(file, 0o660)  # smsd is another user, of the directory's group
            # Python follows the link, as open(2) says of O_TMPFILE, only where a directory is given.
            os.link(f"/proc/self/fd/{file}", spool / "outgoing" / name, src_dir_fd=file)
        finally:
            os.close(file)
    except OSError as error:
        raise SmsError(Outcome.CONFIGURATION, f"spool: cannot be written: {error.strerror}") from None
    return name


def look(spool: Path, name: str) -> Report:
    """Return where smsd has put a text; that it was sent does not say that it arrived."""
    if not _NAME.fullmatch(name):
        return Report(name, None)
    if (spool / "failed" / name).exists():
        return Report(name, False, _reason(spool / "failed" / name))
    places = [place for place in ("sent", "checked", "outgoing") if (spool / place / name).exists()]
    return Report(name, None, "".join(places[:1]))


def _content(text: Text) -> bytes:
    number = text.to.removeprefix("+")
    if measure(text.body).encoding == "GSM-7":
        # smsd reads what is not marked as ISO 8859-15, and makes GSM's alphabet of it.
        with contextlib.suppress(UnicodeEncodeError):
            return f"To: {number}\n\n".encode() + text.body.encode("iso-8859-15")
    return f"To: {number}\nAlphabet: UCS\n\n".encode() + text.body.encode("utf-16-be", "replace")


def _reason(file: Path) -> str:
    try:
        head = file.read_bytes()[:4096].partition(b"\n\n")[0].decode("utf-8", "replace")
    except OSError:
        return ""
    found = re.search(r"^Fail_reason: (.{1,200})", head, re.M)
    return mask_all(found[1]) if found else ""

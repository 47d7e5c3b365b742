"""Tables, and blocks where the terminal is too narrow for one."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import Any


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: list[dict[str, Any]], columns: list[tuple[str, str]], empty: str) -> None:
    """Print a table, or a block per row where the terminal is too narrow for one."""
    if not rows:
        print(empty)
        return
    cells = [[str(row[key] if row[key] is not None else "-") for _, key in columns] for row in rows]
    titles = [title for title, _ in columns]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    before = sum(widths[:-1]) + 2 * len(widths[:-1])
    room = _room()
    if before + min(widths[-1], 16) > room:
        left = max(map(len, titles))
        for row in cells:
            for title, cell in zip(titles, row, strict=True):
                print(_hanging(f"{title:<{left}}  ", cell, room))
            print()
        return
    for row in [titles, *cells]:
        line = "".join(cell.ljust(width + 2) for cell, width in zip(row[:-1], widths, strict=False))
        print(_hanging(line, row[-1], room).rstrip())


def print_line(text: str, begin: str = "") -> None:
    """Print a sentence, in lines that the terminal has room for."""
    print(_hanging(begin, text, _room(), indent="" if begin else "  "))


def _room() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 100_000


def _hanging(begin: str, text: str, room: int, indent: str = "") -> str:
    """Return a text behind its beginning, its further lines below its first."""
    width = max(room - len(begin), 16)
    lines = textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return f"\n{' ' * len(begin)}".join([begin + lines[0], *lines[1:]])

"""Tables, and blocks where the terminal is too narrow for one."""

from __future__ import annotations

import json
import shutil
import sys
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
    room = shutil.get_terminal_size((200, 24)).columns
    if sys.stdout.isatty() and sum(widths) + 2 * len(widths) > room:
        for row in cells:
            print("\n".join(f"{t:<{max(map(len, titles))}}  {c}" for t, c in zip(titles, row, strict=True)))
            print()
        return
    for row in [titles, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

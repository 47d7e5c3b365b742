"""Amounts as people write them: 2h, 500MB, 10M; each is a whole number that can say itself."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, ClassVar, Self


class Amount(int):
    """A whole number read from text such as ``1h30m``; raises ``ValueError`` with what was expected."""

    units: ClassVar[dict[str, int]] = {}
    expected: ClassVar[str] = "a whole number"

    def __new__(cls, value: Any) -> Self:
        if not isinstance(value, str):
            return super().__new__(cls, value)
        text = value.replace(" ", "").replace("_", "")
        parts = re.findall(r"(\d+(?:\.\d+)?)([A-Za-z/]*)", text)
        known = {name.lower(): size for name, size in cls.units.items()}
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        total = Decimal()
        for number, unit in parts:
            if unit.lower() not in known and (unit or cls.units) and (unit or Decimal(number)):
                raise ValueError(f"expected {cls.expected}, got {value!r}")
            total += Decimal(number) * known.get(unit.lower(), 1)
        if total != int(total) or total >= 2**53:
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        return super().__new__(cls, int(total))

    def __str__(self) -> str:
        """Return the shortest text that reads as the same number."""
        left, text = int(self), ""
        for unit, size in self.shown():
            count, left = divmod(left, size)
            if count:
                text += f"{count}{unit}"
        return text or f"0{self.shown()[-1][0]}"

    @classmethod
    def shown(cls) -> list[tuple[str, int]]:
        """Return the units from the largest to the smallest, one name for each size."""
        sizes: dict[int, str] = {}
        for name, size in cls.units.items():
            sizes.setdefault(size, name)
        return [(name, size) for size, name in sorted(sizes.items(), reverse=True)] or [("", 1)]

    __repr__ = __str__


class Count(Amount):
    """So many of something."""


class Seconds(Amount):
    """A time: ``30s``, ``90m``, ``1h30m``, ``30d``."""

    units: ClassVar = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
    expected: ClassVar = "a time such as 90m, 2h or 30d"


class Bytes(Amount):
    """A volume in decimal units, as contracts count it: ``500MB``, ``2GB``."""

    units: ClassVar = {"B": 1, "kB": 1_000, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    expected: ClassVar = "a volume such as 500MB or 2GB"

    def __str__(self) -> str:
        for unit, size in self.shown():
            if self >= size and self * 1000 % size == 0:
                return _thousandths(self * 1000 // size) + unit
        return f"{int(self)}B"

    __repr__ = __str__


class Kilobits(Amount):
    """A rate in kilobits per second: ``512k``, ``10M``."""

    units: ClassVar = {"k": 1, "kbit": 1, "kbit/s": 1, "M": 1_000, "Mbit": 1_000, "Mbit/s": 1_000}
    units |= {"G": 10**6, "Gbit": 10**6, "Gbit/s": 10**6}
    expected: ClassVar = "a rate such as 512k or 10M (bits per second)"

    def __str__(self) -> str:
        return f"{_thousandths(int(self))}M" if self >= 1000 and self % 100 == 0 else f"{int(self)}k"

    __repr__ = __str__


def _thousandths(count: int) -> str:
    return f"{count // 1000}.{count % 1000:03}".rstrip("0").rstrip(".")

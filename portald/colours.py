"""Colours that can be read: contrast as WCAG 2.2 defines it, and shades that have enough of it."""

from __future__ import annotations

import colorsys
import re

ENOUGH = 4.5
"""The contrast that text needs (WCAG 2.2, success criterion 1.4.3)."""
_HEX = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)


class Colour(str):
    """A colour as CSS writes it in hex, ``#0b6b63`` or ``#fff``; always six digits then."""

    def __new__(cls, text: str) -> Colour:
        if not _HEX.fullmatch(text):
            raise ValueError(f"expected a colour such as #0b6b63, got {text!r}")
        digits = text[1:].lower()
        return super().__new__(cls, "#" + (digits if len(digits) == 6 else "".join(2 * d for d in digits)))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def readable(colour: str, ground: str) -> Colour:
    """Return the colour, made as much darker or lighter as it takes to be read on a ground."""
    hue, light, saturation = colorsys.rgb_to_hls(*_channels(colour))
    step = -0.01 if _luminance(ground) > 0.18 else 0.01
    shade = Colour(colour)
    while contrast(shade, ground) < ENOUGH and 0 <= light + step <= 1:
        light += step
        shade = _hex(colorsys.hls_to_rgb(hue, light, saturation))
    return shade


def ink(ground: str) -> Colour:
    """Return black or white, whichever is easier to read on a ground."""
    return max(Colour("#ffffff"), Colour("#000000"), key=lambda colour: contrast(colour, ground))


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _hex(channels: tuple[float, float, float]) -> Colour:
    return Colour("#" + "".join(f"{round(c * 255):02x}" for c in channels))

"""Pictures that telephones read: a QR code (ISO/IEC 18004) as SVG, for printed vouchers."""

from __future__ import annotations

from markupsafe import Markup


def picture(text: str) -> Markup:
    """Return a QR code that leads to a text, of middle error correction."""
    import segno  # only where vouchers are printed

    made = segno.make(text, error="m", micro=False)
    return Markup(made.svg_inline(border=2, svgclass="qr", omitsize=True))  # noqa: S704, markup of our own

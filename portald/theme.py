"""What the guests' pages look like, as far as settings say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from portald.colours import Colour, ink, readable
from portald.errors import ConfigError
from portald.languages import NAMES
from portald.schema import one_of, setting, split_url, table

STYLES = ("harbour", "paper", "night")
TEXTS = ("welcome", "intro", "online", "link", "footer")
ANY = "any"
PICTURES = {
    ".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}  # fmt: skip

# The lightest dark card and the darkest light one of all styles: what can be read on these can be read.
_DARK_CARD, _LIGHT_CARD = "#242d38", "#f3ede0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """The look of a zone's pages; what is not set is as in the table for all zones."""

    style: str | None = setting(f"the style: {', '.join(STYLES)}", None)
    name: str | None = setting("the name over the pages, if not the venue's with Wi-Fi behind it", None)
    logo: Path | None = setting("a picture over the pages: svg, png, jpg or webp", None)
    background: Path | None = setting("a picture behind the pages: svg, png, jpg or webp", None)
    colour: Colour | None = setting("the colour of buttons and links, such as #0b6b63", None)
    band: Colour | None = setting("the colour behind the name", None)
    link: str | None = setting("an address that is offered once a guest is online", None)
    texts: dict[str, dict[str, str]] = table(
        f"your words by language: [theme.texts.de] with {', '.join(TEXTS)}; any stands for all others"
    )

    def __post_init__(self) -> None:
        if self.style is not None:
            one_of("style", self.style, STYLES)
        for name, path in (("logo", self.logo), ("background", self.background)):
            if path is not None and path.suffix.lower() not in PICTURES:
                raise ConfigError(f"{name}: expected one of {', '.join(PICTURES)}, got {path.name!r}")
        if self.link is not None and split_url(self.link) is None:
            raise ConfigError(f"link: expected http(s)://…, got {self.link!r}")
        for language, texts in self.texts.items():
            one_of("texts", language, (ANY, *NAMES))
            for key in texts:
                one_of(f"texts.{language}", key, TEXTS)

    def over(self, other: Theme) -> Theme:
        """Return this theme with another's where it says nothing."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        theirs = {name: getattr(other, name) for name, value in mine.items() if value is None}
        return Theme(**(mine | theirs | {"texts": other.texts | self.texts}))

    def text(self, key: str, language: str) -> str:
        """Return the operator's own words for something, empty if there are none."""
        return self.texts.get(language, {}).get(key) or self.texts.get(ANY, {}).get(key, "")

    def variables(self) -> Iterator[tuple[str, str]]:
        """Yield CSS variables for the colours that are set, for light pages and for dark ones."""
        if self.colour is not None:
            for shade, card in (("light", _LIGHT_CARD), ("dark", _DARK_CARD)):
                lead = readable(self.colour, card)
                yield f"own-{shade}", lead
                yield f"own-on-{shade}", ink(lead)
        if self.band is not None:
            yield "band", self.band
            yield "on-band", ink(self.band)

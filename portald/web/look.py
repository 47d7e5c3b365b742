"""What the guests' pages look like: the zone's theme, its pictures, an operator's own templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, g
from jinja2 import ChoiceLoader, FileSystemLoader
from markupsafe import Markup, escape

from portald.config import Config
from portald.display import wait
from portald.system import our_files
from portald.theme import PICTURES, Theme
from portald.web.catalogues import catalogue, speak
from portald.web.visits import Visits

OWN = Path("/etc/portald/templates")


def dress(app: Flask, config: Config, own: Path = OWN) -> None:
    """Give an application's templates their language, and let an operator's own come before ours."""
    app.jinja_loader = ChoiceLoader([FileSystemLoader(own), FileSystemLoader(our_files("templates"))])
    speak(app)


def surroundings(config: Config, theme: Theme, documents: list[str]) -> dict[str, Any]:
    """Return what every page of a zone is given, besides what it shows."""
    return {
        "venue": config.name,
        "keep_days": config.keep_days,
        "theme": theme if theme.style else theme.over(Theme(style="harbour")),
        "theme_variables": dict(theme.variables()),
        "own": lambda key: own_words(theme.text(key, g.language)),
        "clock": clock,
        "documents": documents,
    }


def own_words(text: str) -> Markup | str:
    """Return an operator's words apart from those around them, whose direction may be another."""
    return Markup("<bdi>{}</bdi>").format(text) if text else ""


def clock(seconds: float, over: bool = False) -> Markup:
    """Return a span of time in words, which counts down where scripts may run.

    ``over`` has the page loaded again when it is over.
    """
    words = wait(seconds, catalogue(g.language))
    return Markup('<time data-left="{}"{}>{}</time>').format(
        int(seconds), Markup(" data-over") if over else "", escape(words)
    )


def pictures(config: Config, visits: Visits) -> Blueprint:
    """Return the routes of the zone's logo and background."""
    served = Blueprint("pictures", __name__, url_prefix="/theme")

    @served.get("/<any(logo, background):name>")
    def picture(name: str) -> Any:
        path: Path | None = getattr(config.theme_of(visits.zone()), name)
        if path is None:
            abort(404)
        try:
            return Response(path.read_bytes(), mimetype=PICTURES[path.suffix.lower()])
        except OSError:
            abort(404)

    return served

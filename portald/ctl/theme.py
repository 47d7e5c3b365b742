"""``portalctl theme``: what the guests' pages look like, without guests."""

from __future__ import annotations

import argparse
import html
import os
import stat
from pathlib import Path

from portald import config
from portald.config import Zone
from portald.ctl.show import print_json
from portald.ctl.words import subcommands
from portald.errors import ConfigError
from portald.languages import NAMES
from portald.theme import STYLES, Theme


def add_commands(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add the commands below ``portalctl theme``."""
    commands = subcommands(parser)
    commands.required = True
    preview = commands.add_parser(
        "preview", parents=[shared], help="write every page in every state to a folder, to look at"
    )
    preview.add_argument("folder", type=Path, help="where they go; made if it is not there")
    preview.add_argument("--zone", default="", help="whose theme; the first zone's if not said")
    preview.add_argument("--language", choices=sorted(NAMES), help="the settings' first if not said")
    preview.add_argument("--style", choices=STYLES, help="another style than the settings say")
    preview.set_defaults(run=_preview)


def _preview(options: argparse.Namespace) -> int:
    from portald.web.preview import Preview  # Flask, which no other command needs

    settings = config.load(options.config)
    zone = _zone(settings, options.zone)
    language = options.language or settings.languages[0]
    theme = settings.theme_of(zone)
    if options.style:
        theme = Theme(style=options.style).over(theme)
    written: list[str] = []
    pictures = {name: path for name in ("logo", "background") if (path := getattr(theme, name))}
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        _look_at(options.folder)
        for name, page in Preview(settings).pages(zone, language, theme):
            (options.folder / f"{name}.html").write_text(_beside(page, pictures), "utf-8")
            written.append(name)
        (options.folder / "index.html").write_text(_index(settings.name, written), "utf-8")
        for name, picture in pictures.items():
            _copy(options.folder, name, picture).write_bytes(picture.read_bytes())
    except OSError as error:
        raise ConfigError(f"{error.filename or options.folder}: {error.strerror}") from error
    if options.json:
        print_json({"folder": str(options.folder), "pages": written})
    else:
        print(f"{len(written)} pages; open {options.folder / 'index.html'} in a browser.")
    return 0


def _look_at(folder: Path) -> None:
    """Raise ``ConfigError`` if writing there could overwrite what is no preview.

    Pages have names that an operator's own templates have as well, and whoever may write there could
    have put links to other files in their places.
    """
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise ConfigError(f"{folder} is somebody else's, or others may write there; name a new folder")
    if any(folder.iterdir()) and not (folder / "first.html").is_file():
        raise ConfigError(f"{folder} is not empty, and no preview is in it; name a new folder")


def _zone(settings: config.Config, name: str) -> Zone:
    known = {zone.name: zone for zone in settings.zones}
    if name and name not in known:
        raise ConfigError(f"there is no zone {name!r}; known: {', '.join(known)}")
    return known[name] if name else settings.zones[0]


def _copy(folder: Path, name: str, picture: Path) -> Path:
    """Return where a picture goes: with its suffix, as a browser takes no other file for an SVG."""
    return folder / f"{name}{picture.suffix.lower()}"


def _beside(page: str, pictures: dict[str, Path]) -> str:
    """Return a page whose pictures are in the folder it is in."""
    for name, picture in pictures.items():
        page = page.replace(f'"/theme/{name}"', f'"{_copy(Path(), name, picture)}"')
    return page


def _index(title: str, names: list[str]) -> str:
    frames = "".join(
        f'<figure><figcaption><a href="{name}.html">{name}</a></figcaption>'
        f'<iframe src="{name}.html" title="{name}" loading="lazy"></iframe></figure>'
        for name in names
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>body{{margin:1rem;"
        "font:1rem system-ui;display:flex;flex-wrap:wrap;gap:1rem;background:#888}figure{margin:0}"
        "iframe{width:320px;height:640px;border:0;border-radius:1rem;background:#fff}a{color:#fff}</style>"
        f"{frames}\n"
    )

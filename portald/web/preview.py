"""Every guest's page in every state, with made-up guests: for operators who change how they look."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from flask import g, render_template
from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError

from portald import phone
from portald.config import Config, Zone
from portald.consent import Documents, documents, names_of
from portald.errors import ConfigError, Reason, Refused
from portald.languages import NAMES, closest
from portald.model import Account, Challenge, Outcome, Policy, Session, State, Usage
from portald.sms.carriers import Carrier
from portald.store.entries import Approval
from portald.theme import Theme
from portald.web import catalogues
from portald.web.common import make_app
from portald.web.look import OWN, dress, surroundings

NUMBER = "+49…89"
_ACCOUNT = Account(1, "+4915123456789", "SMS")
_CARRIER = Carrier(
    "example", "Example Mobile", "US", "sms.example", "national", "working", "", date(2026, 1, 1), None
)
_CHALLENGE = Challenge(
    1, "+4915123456789", "02:00:00:00:00:01", "guest", State.SENT, Policy(), "", Outcome.ACCEPTED,
    None, 0, 0.0, 300.0,
)  # fmt: skip
_SESSION = Session(
    256, _ACCOUNT, "unlimited", "guest", "02:00:00:00:00:01", frozenset(), 0.0, None, 1.0, None, None,
    Usage(31_400_000, 271_800_000),
)  # fmt: skip
_SPLASH: dict[str, Any] = {
    "typed": "", "chosen": "", "asks": "sms", "known": "", "others": (), "sends": True, "proves": True,
    "offered": [], "ended": [],
}  # fmt: skip
_CODE: dict[str, Any] = {
    "challenge": _CHALLENGE, "number": NUMBER, "policy": Policy(), "left": 5, "good_for": 290,
    "tracked": False, "carrier": None, "carrier_name": "", "resend_in": 42, "State": State,
    "by_mail": False, "resets": False, "unsure": False, "opens_window": 0, "window_left": 0,
}  # fmt: skip
_STATUS: dict[str, Any] = {
    "session": _SESSION, "number": NUMBER, "left": None, "volume_left": None, "may_extend": False,
    "may_choose": False, "chosen": False,
}  # fmt: skip


def states() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the name of each state, its template, and what differs from the page's usual values."""
    everything = {"others": ("voucher", "password", "staff"), "offered": [_CARRIER], "ended": [_CARRIER]}
    mail = {
        "challenge": replace(_CHALLENGE, number="guest@example.org"),
        "by_mail": True,
        "number": "gu…@example.org",
    }
    yield "first", "splash", _SPLASH
    yield "first-more-ways", "splash", _SPLASH | everything
    yield "first-known", "splash", _SPLASH | {"known": NUMBER}
    yield "first-e-mail", "splash", _SPLASH | {"asks": "email"}
    yield "first-either", "splash", _SPLASH | {"asks": "either"}
    yield "first-one-tap", "splash", _SPLASH | {"asks": "nothing", "proves": False, "sends": False}
    yield "first-no-code", "splash", _SPLASH | {"proves": False}
    yield "first-carrier-only", "splash", _SPLASH | everything | {"sends": False}
    yield "first-closed", "splash", _SPLASH | {"sends": False}
    yield (
        "first-wrong-number",
        "splash",
        _SPLASH | {"typed": "12", "refused": Refused(Reason.NUMBER_INVALID)},
    )
    yield "sending", "code", _CODE | {"challenge": replace(_CHALLENGE, state=State.WAITING)}
    yield "code", "code", _CODE
    yield "code-by-carrier", "code", _CODE | {"carrier": _CARRIER, "carrier_name": _CARRIER.name}
    yield "code-by-e-mail", "code", _CODE | mail | {"opens_window": 300}
    yield "code-fetching-e-mail", "code", _CODE | mail | {"window_left": 240}
    yield "code-perhaps", "code", _CODE | {"unsure": True}
    yield "code-new-password", "code", _CODE | {"resets": True}
    yield "code-undelivered", "code", _CODE | {"challenge": replace(_CHALLENGE, delivered=False)}
    yield "code-wrong", "code", _CODE | {"left": 2, "refused": Refused(Reason.CODE_WRONG)}
    yield "code-too-soon", "code", _CODE | {"refused": Refused(Reason.TOO_SOON, retry_after=42)}
    yield "code-used-up", "code", _CODE | {"left": 0, "resend_in": 0}
    for outcome in (Outcome.UNKNOWN, Outcome.INVALID_NUMBER, Outcome.TEMPORARY):
        state = State.SENT if outcome is Outcome.UNKNOWN else State.FAILED
        yield (
            f"code-{outcome.value.replace('_', '-')}",
            "code",
            _CODE | {"challenge": replace(_CHALLENGE, state=state, outcome=outcome)},
        )
    yield "link", "open", {"code": "123456"}
    yield "link-elsewhere", "open", {"code": "123456", "form": ""}
    yield "connecting", "status", _STATUS | {"session": replace(_SESSION, granted_at=None)}
    yield "online", "status", _STATUS
    yield "online-limited", "status", _STATUS | {
        "left": 5_025, "volume_left": 734_000_000, "may_extend": True, "may_choose": True, "chosen": True,
    }  # fmt: skip
    yield "left", "left", {}
    yield "voucher", "voucher", {"typed": ""}
    yield "password", "password", {"typed": "", "resets": True, "done": True}
    yield "password-forgotten", "forgotten", {"typed": "", "resets": "both"}
    yield "staff", "staff", {"typed": "", "asked": None, "granted": None}
    yield "staff-asked", "staff", {"typed": "", "asked": Approval(17, "", "", "", "", 0.0), "granted": None}
    yield (
        "staff-refused",
        "staff",
        {"typed": "", "asked": Approval(17, "", "", "", "", 0.0), "granted": False},
    )
    yield "terms", "terms", {"agree": True, "version": ""}
    yield "refused", "refused", {"refused": Refused(Reason.CLIENT_UNKNOWN)}
    yield "missing", "refused", {"missing": True}


class Preview:
    """The guests' application without guests."""

    def __init__(self, config: Config, own: Path = OWN) -> None:
        self._config = config
        self._app = make_app("portald.preview")
        dress(self._app, config, own)
        # An operator's template that asks for what there is not is told so here, not to a guest.
        self._app.jinja_env.undefined = StrictUndefined

    def pages(self, zone: Zone, language: str, theme: Theme | None = None) -> Iterator[tuple[str, str]]:
        """Yield the name and the HTML of every state of every page."""
        config, numbers = self._config, self._config.numbers
        found = dict(documents(zone))
        shown = found.get(closest(language, [tag for tag in found if tag]) or "") or Documents("…", "…")
        with self._app.test_request_context("/"):
            g.language, g.nonce = language, "preview"
            around = surroundings(config, theme or config.theme_of(zone), names_of(shown) if found else [])
            around |= {
                "languages": {tag: NAMES[tag] for tag in config.languages}, "form": "0" * 32,
                "country_names": catalogues.countries(language), "chosen_country": numbers.country,
                "countries": catalogues.choices(language, numbers),
                "example": phone.example(numbers.country),
                "written": [(name, getattr(shown, name)) for name in names_of(shown)],
                "refused": None, "missing": False, "state": "",
            }  # fmt: skip
            for name, template, values in states():
                try:
                    page = render_template(f"guest/{template}.html", **around | values)
                except TemplateError as error:
                    raise ConfigError(f"{_place(error)}: {error} (on the page {name!r})") from error
                except (LookupError, TypeError, ValueError) as error:  # a place such as %(time)s
                    raise ConfigError(f"words in {language!r}: {error} (on the page {name!r})") from error
                yield name, page


def prove(config: Config, own: Path = OWN) -> None:
    """Make every page that an operator may have changed; raise ``ConfigError`` for the first mistake."""
    first, *others = config.languages
    changed = [language for language in others if catalogues.written(catalogues.OWN, language)]
    catalogues.written(catalogues.OWN, first)
    for zone in config.zones:
        for language in (first, *changed):
            for _ in Preview(config, own).pages(zone, language):
                pass


def _place(error: TemplateError) -> str:
    """Return the file and line of a template's mistake."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".html")
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "templates"

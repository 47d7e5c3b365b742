"""Who is asking, by the kernel's word, in which language, and with what wishes."""

from __future__ import annotations

import re
from urllib.parse import quote

from flask import g, redirect, request
from werkzeug.wrappers import Response

from portald.config import Zone
from portald.errors import Refused
from portald.languages import NAMES
from portald.model import Client
from portald.portal import Asking, Portal
from portald.staff import Staff
from portald.web.catalogues import Choices, negotiate
from portald.web.common import Forms
from portald.web.server import MAC

LONGEST_WISH = 500
"""Characters of what a browser says it reads."""
_TAG = re.compile(r"(?=.{1,35}$)[A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8})*")


class Visits:
    """What every guest's page asks about the request that it answers."""

    def __init__(self, portal: Portal, staff: Staff, forms: Forms) -> None:
        self._portal = portal
        self._staff = staff
        self._forms = forms
        self._choices = Choices()

    def begin(self) -> Response | None:
        """Find out who asks and in which language; answer a tap on the language switch."""
        g.client, g.refused, g.chosen = None, None, ""
        for name in ("HTTP_ACCEPT_LANGUAGE", "HTTP_ACCEPT"):
            # What is longer than a browser's own is sent to keep us busy: it is read several times.
            request.environ[name] = request.environ.get(name, "")[:LONGEST_WISH]
        g.language = negotiate(self._portal.config.languages)
        try:
            g.client = self._portal.who(request.remote_addr or "", request.environ.get(MAC))
        except Refused as error:
            g.refused = error
            return None
        wanted = request.args.get("language", "")
        if wanted in self._portal.config.languages:
            self._choices.set(g.client.mac, wanted)
            if request.method == "GET":
                rest = "&".join(name for name in request.args if name in ("other", "done", "kept"))
                # Quoted: of an address with a tab in it redirect() would make one of another host.
                return redirect(quote("/" + request.path.lstrip("/")) + (f"?{rest}" if rest else ""), 303)
        g.chosen = self._choices.get(g.client.mac)
        g.language = g.chosen or g.language
        return None

    def who(self) -> Client:
        """Return the device that asks; raise ``Refused`` if nobody knows it."""
        if g.refused is not None:
            raise g.refused
        client: Client = g.client
        return client

    def sender(self) -> Client:
        """Return who sends a form, which must be from a page made for the same device."""
        client = self.who()
        self._forms.check(client.mac)
        return client

    def form(self, client: Client) -> str:
        """Return the token of a form for a device."""
        return self._forms.token(client.mac)

    def zone(self) -> Zone:
        """Return the zone of the device that asks, the first if nobody knows it."""
        return self._portal.zone(g.client) if g.get("client") else self._portal.config.zones[0]

    def wish(self) -> Asking:
        """Return what the request says besides the number."""
        otp, accepted = self._portal.config.otp, request.accept_languages
        found = accepted.best_match([otp.language, *otp.texts])
        # Who reads the text's own language best gets it, and Liquid the tag as the guest wrote it.
        ours = found if found in otp.texts else accepted.best
        tag = g.chosen or request.headers.get("X-Request-Language") or ours or ""
        agent = request.headers.get("User-Agent", "")[:300]
        return Asking(
            # Both end in requests and in texts to others: nothing but a language, and one line.
            language=tag if _TAG.fullmatch(tag) else "",
            agent="".join(c for c in agent if c.isascii() and c.isprintable()),
            carrier=request.form.get("carrier", "")[:64],
            country=request.form.get("country", "")[:2],
        )

    def state(self) -> str:
        """Return a text that changes when the device that asks should see another page."""
        client = self.who()
        session = self._portal.status(client)
        if session is not None:
            return "online" if session.granted_at else "connecting"
        found, asked = self._portal.pending(client), self._staff.state(client)
        text = f"{found.state} {found.outcome} {found.delivered}" if found else "none"
        return f"{text} {asked[1]}" if asked else text

    def languages(self) -> dict[str, str]:
        """Return the languages to choose from, as their readers call them."""
        return {language: NAMES[language] for language in self._portal.config.languages}

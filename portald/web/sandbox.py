"""The SMS sandbox: takes texts as Twilio would and shows them on a page; nothing is sent.

Numbers ending in 0001 are answered as invalid, 0004 as unsubscribed, 0005 with a server error,
0006 with rubbish, and 0007 only after a while, to see what a guest sees.
"""

from __future__ import annotations

import collections
import itertools
import threading
import time
from typing import Any

from flask import Flask, jsonify, render_template, request

from portald.ports import Clock
from portald.web.common import make_app

REFUSALS = {
    "0001": (400, 21211, "Invalid 'To' Phone Number: {to}"),
    "0004": (400, 21610, "Attempt to send to unsubscribed recipient {to}"),
    "0005": (500, 20500, "An internal server error has occurred"),
}
SLOW = 12


def sandbox_app(clock: Clock) -> Flask:
    """Return the sandbox; it keeps the last 100 texts in memory."""
    app = make_app("portald.sandbox")
    texts: collections.deque[dict[str, Any]] = collections.deque(maxlen=100)
    numbers = itertools.count(1)
    lock = threading.Lock()

    @app.post("/2010-04-01/Accounts/<account>/Messages.json")
    def create(account: str) -> Any:
        to, body = request.form.get("To", ""), request.form.get("Body", "")
        if request.authorization is None:
            return _error(401, 20003, "Authenticate")
        if not body:
            return _error(400, 21602, "Message body is required.")
        if to[-4:] in REFUSALS:
            status, code, message = REFUSALS[to[-4:]]
            return _error(status, code, message.format(to=to))
        if to.endswith("0006"):
            return "<html>Welcome to nginx!</html>"
        if to.endswith("0007"):
            time.sleep(SLOW)
        with lock:
            sid = f"SM{next(numbers):032x}"
            texts.appendleft({"sid": sid, "to": to, "body": body, "at": clock()})
        return jsonify(sid=sid, status="queued", to=to, body=body, account_sid=account), 201

    @app.get("/")
    def inbox() -> Any:
        return render_template("sandbox/inbox.html", texts=list(texts))

    @app.get("/texts")
    def as_json() -> Any:
        return jsonify(list(texts))

    return app


def _error(status: int, code: int, message: str) -> Any:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return jsonify(code=code, message=message, more_info=more, status=status), status

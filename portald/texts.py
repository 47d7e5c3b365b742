"""The text that brings a code: which template, filled in, and into how many parts it is cut.

Templates know three spellings of the same: ``{code}``, ``{{pin}}`` (SMS.CX) and ``@@password@@``
(Auth0).  With ``syntax = "liquid"`` they are Liquid, with the variables of Auth0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import gsm0338  # noqa: F401, registers the codec

from portald.config import Config
from portald.errors import ConfigError
from portald.languages import closest
from portald.model import Order, Policy

Values = Mapping[str, str]
Template = Callable[[Values], str]

_MACRO = re.compile(r"\{\{\s*([\w.]+)\s*\}\}|@@([\w.]+)@@|\{([\w.]+)\}")
_NAMES = {
    "code": "code", "pin": "code", "password": "code",
    "name": "name", "application.name": "name", "minutes": "minutes", "link": "link",
}  # fmt: skip
_LINK = re.compile(r"\{\{?-?\s*link\b|@@link@@")
# What decides; the tags that read files are not among them.
_TAGS = {"if", "elsif", "else", "endif", "unless", "endunless", "case", "when", "endcase", "assign"}


@dataclass(frozen=True, slots=True)
class Size:
    """How a text is sent: 160 septets of GSM-7 or 70 units of UCS-2 are one part (3GPP TS 23.038)."""

    encoding: str
    units: int
    parts: int


def measure(text: str) -> Size:
    """Return the encoding, its units, and the parts a network cuts the text into."""
    try:
        units, single, several, name = len(text.encode("gsm03.38")), 160, 153, "GSM-7"
    except UnicodeEncodeError:
        units, single, several, name = len(text.encode("utf-16-be")) // 2, 70, 67, "UCS-2"
    return Size(name, units, 1 if units <= single else -(-units // several))


@dataclass(frozen=True, slots=True)
class Preview:
    """One template with its longest values filled in; ``when`` says who gets it."""

    when: str
    text: str
    size: Size


class Texts:
    """The templates of the settings; raises ``ConfigError`` for one that cannot be used."""

    def __init__(self, settings: Config) -> None:
        otp = settings.otp
        read = _liquid if otp.syntax == "liquid" else macros
        self._name = settings.name
        self._host = _bindable(settings.web.url) if otp.bind_origin else None
        self._link = f"{settings.web.url.rstrip('/')}/c/" if settings.web.url else ""
        self._policy = otp.policy
        self._language = otp.language
        self._default = _read(read, "otp.text", otp.text)
        self._by_language = {tag: _read(read, f"otp.texts.{tag}", text) for tag, text in otp.texts.items()}
        self._by_prefix = {
            prefix: _read(read, f"otp.texts_by_prefix.{prefix}", text)
            for prefix, text in otp.texts_by_prefix.items()
        }
        written = (otp.text, *otp.texts.values(), *otp.texts_by_prefix.values())
        if not self._link and any(map(_LINK.search, written)):
            raise ConfigError("otp.text: {link} leads to the portal; set its url in [web]")
        for prefix in self._by_prefix:
            if not re.fullmatch(r"\+[1-9]\d{0,14}", prefix):
                raise ConfigError(f'otp.texts_by_prefix: expected beginnings like "+33", got {prefix!r}')

    def text(self, order: Order, code: str) -> str:
        """Return the text that brings ``code``."""
        template = macros(order.template) if order.template else self._choose(order)
        return self._fill(template, order, code)

    def parts(self, order: Order) -> int:
        """Return how many parts the text for an order will have."""
        return measure(self.text(order, _longest(order.policy))).parts

    def previews(self) -> Iterator[Preview]:
        """Yield every template as the guest would get it."""
        for when, template, to, language in self._all():
            order = Order(0, to, self._policy, language)
            text = self._fill(template, order, _longest(self._policy))
            yield Preview(when, text, measure(text))

    def _all(self) -> Iterator[tuple[str, Template, str, str]]:
        for prefix, template in self._by_prefix.items():
            yield prefix, template, _longest_number(prefix), ""
        for tag, template in self._by_language.items():
            yield tag, template, _longest_number(), tag
        others = "everyone else" if self._by_prefix or self._by_language else "everyone"
        yield others, self._default, _longest_number(), self._language

    def _choose(self, order: Order) -> Template:
        longest = max((p for p in self._by_prefix if order.to.startswith(p)), key=len, default=None)
        if longest is not None:
            return self._by_prefix[longest]
        texts = {self._language: self._default} | self._by_language
        return texts[closest(order.language, texts) or self._language]

    def _fill(self, template: Template, order: Order, code: str) -> str:
        values = {
            "code": code,
            "name": self._name,
            "minutes": str(max(1, order.policy.lifetime // 60)),
            # A program's code is typed in the program; its link would lead nowhere.
            "link": f"{self._link}{code}" if order.on_portal else "",
            "phone_number": order.to,
            "request_language": order.language,
        }
        text = template(values)
        # https://wicg.github.io/sms-one-time-codes/: the last line, and nothing before the @.
        return f"{text}\n@{self._host} #{code}" if self._host and order.on_portal else text


def macros(source: str, link: bool = True) -> Template:
    """Return a template of macros; raise ``ConfigError`` for names that nobody fills in."""
    names = {first or second or third for first, second, third in _MACRO.findall(source)}
    unknown = names - {name for name in _NAMES if link or name != "link"}
    left = _MACRO.sub("", source)
    if unknown or re.search(r"[{}]|@@", left):
        which = ", ".join(sorted(unknown)) or "a brace that nothing closes"
        more = ", {minutes} and {link}" if link else " and {minutes}"
        raise ConfigError(f"only {{code}}, {{name}}{more} can be filled in, not {which}")

    def fill(values: Values) -> str:
        return _MACRO.sub(lambda found: values[_NAMES[found[1] or found[2] or found[3]]], source)

    return fill


def _liquid(source: str) -> Template:
    from liquid import Liquid  # ten megabytes, for those who use it

    for tag in re.findall(r"\{%-?\s*(\w+)", source):
        if tag not in _TAGS:
            raise ConfigError(f"the tag {tag!r} is not for texts; known: {', '.join(sorted(_TAGS))}")
    try:
        template = Liquid(source, from_file=False)
    except Exception as error:
        # Jinja2's, which is not ours to import here.
        line = getattr(error, "lineno", None)
        raise ConfigError(f"line {line}: {error}" if line else str(error)) from error

    def fill(values: Values) -> str:
        more: dict[str, Any] = {"application": {"name": values["name"]}}
        more |= dict.fromkeys(("password", "pin"), values["code"])
        return str(template.render(**values, **more))

    return fill


def _read(read: Callable[[str], Template], where: str, source: str) -> Template:
    try:
        template = read(source)
        probe = template(dict.fromkeys((*_NAMES.values(), "phone_number", "request_language"), "\0"))
    except ConfigError as error:
        raise ConfigError([f"{where}: {problem}" for problem in error.problems]) from error
    except Exception as error:
        raise ConfigError(f"{where}: {error}") from error
    if "\0" not in probe or not _mentions_code(source):
        spelling = "{{ code }}" if read is _liquid else "{code}"
        raise ConfigError(f"{where}: the guest needs {spelling} in it")
    return template


def _mentions_code(source: str) -> bool:
    return re.search(r"\b(code|pin|password)\b", source) is not None


def _longest_number(prefix: str = "+") -> str:
    """Return a number of the most digits there can be (E.164), for templates that show it."""
    return prefix.ljust(16, "8")


def _longest(policy: Policy) -> str:
    return "W" * policy.length if policy.kind.value != "numbers" else "8" * policy.length


def _bindable(url: str | None) -> str | None:
    """Return the host that phones can tie a code to: https, a real name, no port."""
    parts = urlsplit(url or "")
    host = parts.hostname or ""
    real = "." in host and not host.replace(".", "").isdigit() and ":" not in host
    return host if parts.scheme == "https" and real and parts.port in (None, 443) else None

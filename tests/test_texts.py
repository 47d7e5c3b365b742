"""Texts: templates of three spellings and of Liquid, the right one for a guest, and their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portald.config import Config, Otp, Web
from portald.errors import ConfigError
from portald.model import Kind, Order, Policy
from portald.texts import Size, Texts, macros, measure
from tests.conftest import NUMBER

VALUES = {"code": "123456", "name": "Lobby", "minutes": "5", "phone_number": "", "request_language": ""}
Make = Callable[..., Texts]


@pytest.fixture
def make(config: Config) -> Make:
    def make(url: str | None = None, name: str = "Lobby", **otp: Any) -> Texts:
        return Texts(replace(config, name=name, otp=Otp(**otp), web=Web(url=url)))

    return make


def order(to: str = NUMBER, language: str = "", **more: Any) -> Order:
    return Order(1, to, language=language, **more)


# Templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "{code} is your {name} code", "{{code}} is your {{name}} code", "{{pin}} is your {name} code",
        "{{ pin }} is your {name} code", "@@password@@ is your @@application.name@@ code",
        "@@code@@ is your {{application.name}} code",
    ],
)  # fmt: skip
def test_three_spellings_of_the_same(make: Make, template: str) -> None:
    assert make(text=template).text(order(), "123456") == "123456 is your Lobby code"


@pytest.mark.parametrize(
    "template",
    [
        "", "your code", "{name}", "{code", "{code} {", "{code} }", "{code} {venue}", "{code!r}", "{code} {}",
        "{code:>9}", "{code} {name.x}", "{{code}code}", "{code} {0}", "@@code", "{{pin}} @@x@@", "@@code@@ @@",
    ],
)  # fmt: skip
def test_a_template_that_is_refused(make: Make, template: str) -> None:
    for key, otp in (
        ("otp.text", {"text": template}),
        ("otp.texts.de", {"texts": {"de": template}}),
        (r"otp.texts_by_prefix.\+33", {"texts_by_prefix": {"+33": template}}),
    ):
        with pytest.raises(ConfigError, match=f"^{key}: "):
            make(**otp)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["{", "}", "code", "{code}", "{{pin}}", "@@", "{name}", "@@code@@", "!", " x"])
    )
)
def test_a_template_that_is_taken_is_filled_in_for_good(parts: list[str]) -> None:
    try:
        template = macros("".join(parts))
    except ConfigError:
        return
    filled = template({**VALUES, "name": "Lobby"})
    assert not {"{", "}", "@@"} & {filled[i : i + n] for i in range(len(filled)) for n in (1, 2)}
    # What is filled in is not looked at again.
    assert template({**VALUES, "name": "{code} @@code@@"}) == filled.replace("Lobby", "{code} @@code@@")


def test_the_name_of_the_venue_is_no_template(make: Make) -> None:
    assert (
        make(name="Café {code} @@pin@@", text="{name}: {code}").text(order(), "1")
        == "Café {code} @@pin@@: 1"
    )


@pytest.mark.parametrize(("lifetime", "minutes"), [(60, 1), (119, 1), (300, 5), (1800, 30)])
def test_minutes_are_those_of_the_order(make: Make, lifetime: int, minutes: int) -> None:
    text = make(text="{code} {minutes}").text(order(policy=Policy(lifetime=lifetime)), "1")
    assert text == f"1 {minutes}"


def test_a_template_of_the_order(make: Make) -> None:
    assert make().text(order(template="{{pin}} for you"), "1") == "1 for you"


# Liquid ------------------------------------------------------------------------------------

AUTH0 = """{% if request_language contains 'fr-FR' %}Votre code {{ application.name }} : {{ password }}
{%- elsif request_language contains 'de' %}Ihr Code: {{ code }}
{%- else %}Your {{ application.name }} code: {{ pin | upcase }}{% endif %}"""


@pytest.mark.parametrize(
    ("language", "text"),
    [("fr-FR", "Votre code Lobby : 123456"), ("de-AT", "Ihr Code: 123456"), ("en", "Your Lobby code: 123456"), ("", "Your Lobby code: 123456")],
)  # fmt: skip
def test_liquid_as_auth0_has_it(make: Make, language: str, text: str) -> None:
    made = make(syntax="liquid", text=AUTH0).text(order(language=language), "123456")
    assert made.strip() == text


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ code }}\n{% if %}", "line 2"),
        ("{{ code }} {% include '/etc/passwd' %}", "'include' is not for texts"),
        ("{{ code }} {%- render 'x' %}", "'render' is not for texts"),
        ("{{ code }}{{ nothing.x }}", "nothing"),
        ("no code", "needs {{ code }}"),
        ("{{ code", "otp.text"),
    ],
)
def test_liquid_that_is_refused(make: Make, template: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        make(syntax="liquid", text=template)
    assert str(caught.value).startswith("otp.text: ")


# Which one -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "language", "chosen"),
    [
        (NUMBER, "", "default"), (NUMBER, "fr", "default"), (NUMBER, "de", "de"), (NUMBER, "de-AT", "de"),
        (NUMBER, "pt-BR", "pt-br"), (NUMBER, "PT-br", "pt-br"), (NUMBER, "pt", "pt-br"),
        ("+33612345678", "de", "+33"), ("+33712345678", "de", "+337"), ("+32412345678", "", "default"),
    ],
)  # fmt: skip
def test_prefix_then_language_then_the_other(make: Make, to: str, language: str, chosen: str) -> None:
    texts = make(
        text="{code} default", texts={"de": "{code} de", "pt-BR": "{code} pt-br"},
        texts_by_prefix={"+33": "{code} +33", "+337": "{code} +337"},
    )  # fmt: skip
    assert texts.text(order(to, language), "1") == f"1 {chosen}"


@pytest.mark.parametrize("prefix", ["33", "+", "+0", "+33x", "FR"])
def test_a_prefix_that_cannot_be_one(make: Make, prefix: str) -> None:
    with pytest.raises(ConfigError, match="beginnings like"):
        make(texts_by_prefix={prefix: "{code}"})


# One text, one part --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", Size("GSM-7", 0, 1)), ("a" * 160, Size("GSM-7", 160, 1)), ("a" * 161, Size("GSM-7", 161, 2)),
        ("a" * 306, Size("GSM-7", 306, 2)), ("a" * 307, Size("GSM-7", 307, 3)), ("€" * 80, Size("GSM-7", 160, 1)),
        ("€" * 81, Size("GSM-7", 162, 2)), ("[]{}~^|\\", Size("GSM-7", 16, 1)), ("ñüÆ@£Δ", Size("GSM-7", 6, 1)),
        ("ж" * 70, Size("UCS-2", 70, 1)), ("ж" * 71, Size("UCS-2", 71, 2)), ("ж" * 135, Size("UCS-2", 135, 3)),
        ("ç", Size("UCS-2", 1, 1)), ("’", Size("UCS-2", 1, 1)), ("😀" * 35, Size("UCS-2", 70, 1)),
        ("😀" * 36, Size("UCS-2", 72, 2)), ("`", Size("UCS-2", 1, 1)),
    ],
)  # fmt: skip
def test_measure(text: str, size: Size) -> None:
    assert measure(text) == size


def test_every_template_is_previewed_with_its_longest_values(make: Make) -> None:
    texts = make(
        length=10, lifetime=1800, kind=Kind.LETTERS, text="{code} {minutes}", texts={"ru": "код {code}"},
        texts_by_prefix={"+33": "{code} " + "x" * 155},
    )  # fmt: skip
    found = {preview.when: (len(preview.text), preview.size.parts) for preview in texts.previews()}
    assert found == {"+33": (166, 2), "ru": (14, 1), "everyone else": (13, 1)}
    assert texts.parts(order("+33612345678", policy=Policy(length=4))) == 1
    assert texts.parts(order("+33612345678", policy=Policy(length=10))) == 2


def test_the_text_of_the_default_settings_is_one_part(make: Make) -> None:
    (preview,) = make(name="A venue with quite a long name").previews()
    assert preview.size.parts == 1
    assert make().text(order(), "123456") == "123456 is your Lobby Wi-Fi code. It is good for 5 minutes."


# The line that ties the code to the portal -----------------------------------------------------


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("https://wifi.example.com/", "@wifi.example.com #123456"),
        ("https://wifi.example.com:443", "@wifi.example.com #123456"),
        ("https://wifi.example.com:8443/", None), ("http://wifi.example.com/", None),
        ("https://10.77.0.1/", None), ("https://[fd00::1]/", None), ("https://portal/", None), (None, None),
    ],
)  # fmt: skip
def test_the_origin_is_bound_only_on_https_and_a_real_name(
    make: Make, url: str | None, line: str | None
) -> None:
    lines = make(url).text(order(), "123456").splitlines()
    assert lines[1:] == ([line] if line else [])
    assert make(url, bind_origin=False).text(order(), "123456").splitlines() == lines[:1]


def test_the_bound_line_counts_as_well(make: Make) -> None:
    (preview,) = make("https://wifi.example.com/", text="{code} " + "x" * 140).previews()
    assert preview.size.parts == 2


def test_a_language_is_the_same_with_either_hyphen(config: Config) -> None:
    texts = Texts(replace(config, otp=Otp(texts={"pt_BR": "{code} é o código"})))
    assert "código" in texts.text(Order(0, "+14155552671", language="pt-BR"), "123456")

"""Placeholders: what is refused, and that whatever is filled in stays inside its value."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portald.errors import ConfigError, SmsError
from portald.model import Outcome, Text
from portald.sms import payload, written

nasty = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [
            *('"', "'", "\\", "\n", "\r\n", "&", "=", "+", "%", "%26", "#", "?", "\0", " ", ";", "/", "."),
            *(
                "{",
                "}",
                "{{",
                "}}",
                "{{mobile}}",
                "{{body}}",
                "${code}",
                "@@code@@",
                "$ctx.num",
                "{{from?}}",
            ),
            *('","to":"', "&to=", "ß", "🙂", "</x>", "\u2028", "\x7f"),
        ]
    )
).map("".join)


def known(
    body: str = "a", to: str = "+1", agent: str = "c", code: str = "d", sender: str = "s"
) -> dict[str, str]:
    text = Text(to, body, code, 150, "pt-BR", "192.0.2.7", agent, reference="r-1")
    return payload.values(text, sender, "acc", "key")


def filled(template: Any, flat: bool = False, **more: str) -> Any:
    return payload.fill(written.payload(template, flat), known(**more))


# What a template may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ('{"content": {{body}}, "to": {{mobile}}}', {"content": "a", "to": "+1"}),
        ('{"content": "Code: {{ body }}", "to": "{{mobile}}"}', {"content": "Code: a", "to": "+1"}),
        ('{"recipients": [{{mobile}}], "n": [1, true, null, 1.5], "t": {{body}}}',
         {"recipients": ["+1"], "n": [1, True, None, 1.5], "t": "a"}),
        ('{"a": ${message}, "b": @@password@@, "c": "$ctx.num $ctx.msg"}', {"a": "a", "b": "d", "c": "+1 a"}),
        ('[{{text}}, {{to}}, {{recipient}}, {{number}}, {{mobile_digits}}]', ["a", "+1", "+1", "+1", "1"]),
        ("[{{from}}, {{sender}}, {{pin}}, {{code}}, {{ref}}, {{reference}}]", ["s", "s", "d", "d", "r-1", "r-1"]),
        ("[{{ip}}, {{user_agent}}, {{lang}}, {{language}}, {{ttl_minutes}}, {{ttl_seconds}}]",
         ["192.0.2.7", "c", "pt-BR", "pt-BR", "3", "150"]),
        ("[{{account}}, {{key}}]", ["acc", "key"]),
        (r'{"a": "\"{{body}}\" \\ {{mobile}}"}', {"a": '"a" \\ +1'}),
        ({"{{body}}": "{{body}}"}, {"{{body}}": "a"}),
    ],
)  # fmt: skip
def test_templates(template: Any, result: Any) -> None:
    assert filled(template) == result


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("to={{mobile}}&text={{body}}", {"to": "+1", "text": "a"}),
        ("to=${mobile}&text=x%26{{body}}+y&key=", {"to": "+1", "text": "x&a y", "key": ""}),
        (" to=$ctx.num&text=@@body@@\n", {"to": "+1", "text": "a"}),
        ({"to": "{{mobile}}"}, {"to": "+1"}),
    ],
)
def test_forms(template: Any, result: Any) -> None:
    assert filled(template, flat=True) == result


def test_what_is_not_there_is_left_out() -> None:
    template = {"from": "{{from?}}", "list": ["{{from?}}", "x"], "in": {"from": "{{from?}}"}}
    assert filled(template, sender="") == {"list": ["x"], "in": {}}
    assert filled(template) == {"from": "s", "list": ["s", "x"], "in": {"from": "s"}}


WRONG_JSON = {
    # WSO2's own example, as printed in its documentation
    "{“content”: {{body}},“to”: {{mobile}}}}": "line 1, column 2: .*typographic quotation marks",
    '{"content": {{body}},\n "to": {{mobile}}}}': "line 2, column 19: Extra data; there is one } too many",
    '{"content": {{body}}, "to": [{{mobile}}]]}': "line 1, column 41: ",
    '{"content": {{body}} "to": {{mobile}}}': "line 1, column 22: Expecting ','",
    '{"content": {{body}}, "to": {{mobile}}': "line 1, column 39: .*; is a } or ] missing at the end",
    '{"a": {{body}}{{mobile}}}': "line 1, column 15: ",
    '{"a": x{{body}}}': "line 1, column 7: ",
    '{"a": "{{body}}\n"}': "line 1, column 16: Invalid control character",
    "to={{mobile}}&text={{body}}": "looks like a form",
    "": "line 1, column 1: ",
    "[" * 100_000: "too deep",
    '{"a": NaN, "b": {{body}}}': "only text, finite numbers",
    '{"a": -Infinity}': "only text, finite numbers",
    '{"a": 1e999}': "only text, finite numbers",
    "1" * 10_000: "too long",
}  # fmt: skip


@pytest.mark.parametrize("template", WRONG_JSON, ids=lambda template: template[:40])
def test_wrong_json_is_refused_with_its_place(template: str) -> None:
    with pytest.raises(ConfigError, match=f"^payload: .*{WRONG_JSON[template]}"):
        written.payload(template, flat=False)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ('{"to": {{mobile}}}', "looks like JSON"),
        ("to", "expected to="),
        ("a=1&a=2", "a name occurs twice"),
        ({"a": 1}, "only text values"),
        ({"a": {"b": "c"}}, "only text values"),
    ],
)
def test_wrong_forms_are_refused(template: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^payload: .*{problem}"):
        written.payload(template, flat=True)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{mobil}}", r"\{\{mobil\}\} is not known; did you mean \{\{mobile\}\}\?"),
        ("x ${messge}", r"\$\{messge\} is not known; did you mean \{\{message\}\}\?"),
        ("@@application.name@@", "is not known"),
        ("$ctx.foo", r"\$ctx.foo is not known"),
        ("{{Body}}", "did you mean"),
        ("{{xyzzy}}", "known: body, message"),
        ("Hello {{from?}}", "has to be all of its value"),
    ],
)
def test_unknown_placeholders_are_refused(template: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^payload: .*{problem}"):
        payload.used({"a": [template]}, "payload")


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("authorisation: qwer1234asdfzxcv, x-csrf: true, x-abc: some-value",
         {"authorisation": "qwer1234asdfzxcv", "x-csrf": "true", "x-abc": "some-value"}),
        ("Accept: text/html, application/json;q=0.9, X-A: b, c", 
         {"Accept": "text/html, application/json;q=0.9", "X-A": "b, c"}),
        ("X-Url: https://a.example/, http://b.example, X-At: Mon, 10:30", 
         {"X-Url": "https://a.example/, http://b.example", "X-At": "Mon, 10:30"}),
        ("X-A:b,X-C:d", {"X-A": "b", "X-C": "d"}),
        (" X-A : b ", {"X-A": "b"}),
        ("X-A:", {"X-A": ""}),
        ("", {}),
    ],
)  # fmt: skip
def test_headers_in_one_line(line: str, result: dict[str, str]) -> None:
    assert written.headers(line) == result


@pytest.mark.parametrize("line", ["x", "x, y: z", "a b: c", ": c", "X-A: b\r\nX-C: d", "X-Ä: b", "X-A: ä"])
def test_headers_that_are_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"^headers"):
        written.headers(line)


@pytest.mark.parametrize(
    "url",
    ["https://{{mobile}}.example/", "https://u:{{key}}@a.example/", "https://a.example/#{{body}}",
     "https://a.example/{{from?}}"],
)  # fmt: skip
def test_placeholders_in_a_url_are_for_its_path_and_query(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^url: "):
        payload.used_in_url(url)


# Whatever is filled in -------------------------------------------------------------------------


@given(nasty, nasty, nasty)
def test_json_keeps_its_structure(body: str, to: str, agent: str) -> None:
    bare = '{"content": {{body}}, "to": [{{mobile}}, {"a": "<{{user_agent}}|{{body}}>"}], "n": 1}'
    result = filled(bare, body=body, to=to, agent=agent)
    assert json.loads(json.dumps(result)) == {
        "content": body,
        "to": [to, {"a": f"<{agent}|{body}>"}],
        "n": 1,
    }


@given(nasty, nasty, nasty)
def test_forms_keep_their_fields(body: str, to: str, agent: str) -> None:
    result = filled(
        "to={{mobile}}&text={{body}}&ua=%3C{{user_agent}}%3E", flat=True, body=body, to=to, agent=agent
    )
    encoded = urlencode(result, errors="replace")
    pairs = parse_qsl(encoded, keep_blank_values=True, strict_parsing=True)
    assert pairs == [("to", to), ("text", body), ("ua", f"<{agent}>")]


@given(nasty, nasty)
def test_urls_keep_host_and_segments(body: str, to: str) -> None:
    template = "https://sms.example:8443/v1/{{mobile}}/send/x{{body}}?key=k&text={{body}}&to={{mobile}}"
    try:
        url = payload.fill_url(template, known(body=body, to=to))
    except SmsError as refused:
        assert to in {".", ".."}
        assert refused.outcome is Outcome.CONFIGURATION  # noqa: PT017
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "sms.example:8443", "")
    assert [unquote(segment) for segment in parts.path.split("/")] == ["", "v1", to, "send", f"x{body}"]
    assert parse_qsl(parts.query, keep_blank_values=True) == [("key", "k"), ("text", body), ("to", to)]


@given(nasty, nasty)
def test_headers_stay_one_line(body: str, agent: str) -> None:
    templates = {"X-Text": "<{{body}}>", "X-Agent": "{{user_agent}}"}
    try:
        headers = payload.fill_headers(templates, known(body=body, agent=agent))
    except SmsError as refused:
        assert refused.outcome is Outcome.CONFIGURATION  # noqa: PT017
        assert not (body + agent.strip()).isprintable()
        return
    assert headers == {"X-Text": f"<{body}>", "X-Agent": agent.strip()}
    assert all(value.isprintable() for value in headers.values())


@given(st.text(max_size=80))
def test_any_text_is_a_payload_or_a_config_error(template: str) -> None:
    for flat in (True, False):
        try:
            tree = written.payload(template, flat)
            payload.fill(tree, known()) if payload.used(tree, "payload") else None
        except ConfigError:
            continue


@given(st.text(max_size=80))
def test_any_line_is_headers_or_a_config_error(line: str) -> None:
    try:
        headers = written.headers(line)
    except ConfigError:
        return
    assert all(value.isprintable() for item in headers.items() for value in item)

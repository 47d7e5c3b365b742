"""An operator's script: what it may do, and everything it may not, tried for real."""

from __future__ import annotations

import json
import resource
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portald.errors import ConfigError, SmsError
from portald.model import Outcome
from portald.schema import Secret
from portald.sms import lua, programs
from portald.sms.gateway import Gateway
from tests.sms.conftest import Provider
from tests.sms.tables import CODE, NUMBER, TEXT, text

Make = Callable[..., Gateway]


@pytest.fixture
def make(provider: Provider, tmp_path: Path) -> Make:
    """Make a gateway with a script."""

    def made(source: str | bytes, **more: Any) -> Gateway:
        path = tmp_path / "script.lua"
        path.write_bytes(source.encode() if isinstance(source, str) else source)
        return Gateway(url=f"{provider.url}/send", script=str(path), **more)

    return made


def failure(gateway: Gateway) -> SmsError:
    with pytest.raises(SmsError) as caught:
        gateway.send(text())
    assert CODE not in caught.value.words
    assert NUMBER[1:] not in caught.value.words
    return caught.value


def script(source: str) -> lua.Script:
    return lua.Script(next(filter(None, map(lua.shutil.which, lua.PROGRAMS))), source)


# What it is for --------------------------------------------------------------------------------


def test_a_script_builds_the_request_and_checks_the_answer(provider: Provider, make: Make) -> None:
    source = """
        function build(message)
          return {
            method = "PUT", url = URL .. "/v2/" .. message.mobile_digits, headers = { ["X-Length"] = tostring(#message.body) },
            body = { to = { message.to }, text = message.text, pin = message.code, n = 1, ok = true },
          }
        end
        function check(response)
          if response.json and response.json.state == "queued" then
            return true, response.json.ids[1]
          end
          return false, nil, "no_credit: top up, said HTTP " .. response.status
        end
    """
    gateway = make(f'URL = "{provider.url}"\n{source}', headers={"X-Always": "1"}, bearer=Secret("b"))
    provider.say(200, '{"state": "queued", "ids": ["m-1"]}')
    assert gateway.send(text()) == "m-1"
    (request,) = provider.requests
    assert (request.method, request.path) == ("PUT", f"/v2/{NUMBER[1:]}")
    assert request.headers["X-Length"] == str(len(TEXT))
    assert (request.headers["X-Always"], request.headers["Authorization"]) == ("1", "Bearer b")
    assert json.loads(request.body) == {"to": [NUMBER], "text": TEXT, "pin": CODE, "n": 1, "ok": True}

    provider.say(200, '{"state": "refused"}')
    found = failure(gateway)
    assert found.outcome is Outcome.NO_CREDIT
    assert found.words == "HTTP 200 no_credit: top up, said HTTP 200"


def test_what_build_leaves_out_is_as_in_the_settings(provider: Provider, make: Make) -> None:
    provider.say(200, "queued")
    make('function build(m) return { headers = { ["X-Sum"] = "42" } } end').send(text())
    (request,) = provider.requests
    assert (request.method, request.path, request.headers["X-Sum"]) == ("POST", "/send", "42")
    assert json.loads(request.body) == {"to": NUMBER, "text": TEXT}


def test_a_body_may_be_text_of_any_kind(provider: Provider, make: Make) -> None:
    provider.say(200)
    source = """
        function build(m)
          return { headers = { ["Content-Type"] = "text/xml; charset=utf-8" }, body = "<sms>" .. m.body .. "ü</sms>" }
        end
    """
    make(source, content_type="form").send(text())
    (request,) = provider.requests
    assert request.body.decode() == f"<sms>{TEXT}ü</sms>"
    assert request.headers["Content-Type"] == "text/xml; charset=utf-8"


def test_without_check_the_settings_judge(provider: Provider, make: Make) -> None:
    gateway = make("function build(m) return {} end", success_contains="queued", message_id="/id")
    provider.say(200, '{"id": "x", "s": "queued"}')
    assert gateway.send(text()) == "x"
    provider.say(200, "no")
    assert failure(gateway).outcome is Outcome.UNKNOWN


def test_without_build_the_settings_ask(provider: Provider, make: Make) -> None:
    provider.say(503, "busy")
    gateway = make('function check(r) return r.status == 200, "m", "temporary" end')
    assert failure(gateway).outcome is Outcome.TEMPORARY
    provider.say(200)
    assert gateway.send(text()) == "m"
    assert json.loads(provider.requests[0].body) == {"to": NUMBER, "text": TEXT}


@pytest.mark.parametrize(
    ("status", "problem", "outcome"),
    [
        (200, "'invalid_number'", Outcome.INVALID_NUMBER),
        (200, "'throttled: wait'", Outcome.THROTTLED),
        (200, "'something else'", Outcome.UNKNOWN),
        (200, "'accepted'", Outcome.UNKNOWN),
        (200, "nil", Outcome.UNKNOWN),
        (200, "7", Outcome.UNKNOWN),
        (401, "'something else'", Outcome.AUTHENTICATION),
        (400, "nil", Outcome.CONFIGURATION),
    ],
)
def test_what_check_says_is_an_outcome(
    provider: Provider, make: Make, status: int, problem: str, outcome: Outcome
) -> None:
    provider.say(status)
    assert failure(make(f"function check(r) return false, nil, {problem} end")).outcome is outcome


def test_what_check_quotes_is_masked(provider: Provider, make: Make) -> None:
    provider.say(200, f"{CODE} to {NUMBER}")
    assert "…" in failure(make("function check(r) return false, nil, r.body end")).words


def test_the_script_is_read_anew_for_each_text(provider: Provider, make: Make, tmp_path: Path) -> None:
    provider.say(200)
    gateway = make("function build(m) return {} end")
    gateway.send(text())
    (tmp_path / "script.lua").write_text("function build(m) error(m.code) end")
    assert failure(gateway).words == "script: build failed in line 1"
    (tmp_path / "script.lua").unlink()
    assert failure(gateway).outcome is Outcome.CONFIGURATION
    assert len(provider.requests) == 1


# Wrong scripts are refused when starting -------------------------------------------------------

WRONG = {
    "no Lua": ("function build(", "script:1:"),
    "nothing": ("", "defines neither build nor check"),
    "another name": ("function make(m) return {} end", "defines neither build nor check"),
    "no function": ("build = 5", "attempt to call a number"),
    "fails at once": ("error('at once')", "at once"),
    "fails with a table": ("function build(m) error({}) end", "table"),
    "fails cruelly": ("function build(m) error(setmetatable({}, {__tostring = function() error('z') end})) end", "exit status"),
    "returns nothing": ("function build(m) end", "build: expected a table"),
    "returns text": ("function build(m) return 'x' end", "build: expected a table"),
    "returns a list": ("function build(m) return {1, 2} end", "build: expected a table"),
    "an unknown name": ("function build(m) return {uri = 'x'} end", "build: uri: expected one of method, url"),
    "a method as number": ("function build(m) return {method = 5} end", "build: method: of a kind"),
    "a url as a table": ("function build(m) return {url = {x = 1}} end", "build: url: of a kind"),
    "a body as number": ("function build(m) return {body = 5} end", "build: body: of a kind"),
    "a header as number": ("function build(m) return {headers = {a = 5}} end", "build: headers: expected texts"),
    "a function inside": ("function build(m) return {body = {f = pairs}} end", "a result with a function"),
    "a number as a name": ("function build(m) return {body = {[7] = 1}} end", "a result with a number for a name"),
    "round and round": ("function build(m) local t = {} t.t = t return {body = t} end", "a result too deep"),
    "not finite": ("function build(m) return {body = {n = 1 / 0}} end", "not finite"),
    "check says maybe": ("function check(r) return 1 end", "check: expected true or false"),
    "bytecode": (b"\x1bLua\x54", "not a Lua script as text"),
    "not UTF-8": (b"-- \xff", "cannot be read"),
    "a NUL": (b"-- \0", "not a Lua script as text"),
    "too long": ("-- x\n" * 50_000, "too long"),
}  # fmt: skip


@pytest.mark.parametrize("row", WRONG)
def test_wrong_scripts_are_refused_when_starting(make: Make, row: str) -> None:
    source, problem = WRONG[row]
    with pytest.raises(ConfigError) as caught:
        make(source)
    (found,) = caught.value.problems
    assert found.startswith("script: ")
    assert problem in found


def test_without_an_interpreter_the_cure_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lua.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"^script: there is no Lua .*; apt install lua5\.4$"):
        make("function build(m) return {} end")


# And fail later --------------------------------------------------------------------------------

LATER = "if m.code == '123456' then return {} end "  # the sample with which it is tried when starting


def test_a_build_that_fails_sends_nothing_and_does_not_say_why(provider: Provider, make: Make) -> None:
    gateway = make(f"function build(m)\n {LATER}\n error('code ' .. m.code .. ' to ' .. m.to)\nend")
    found = failure(gateway)
    assert (found.outcome, found.words) == (Outcome.CONFIGURATION, "script: build failed in line 3")
    assert provider.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        "return {method = 'DELETE'}",
        "return {url = 'file:///etc/passwd'}",
        "return {url = 'nowhere'}",
        "return {headers = {['X-A'] = 'a\\r\\nX-B: b'}}",
        "return {headers = {['X A'] = 'b'}}",
        "return 7",
        "while true do end",
    ],
)
def test_what_cannot_be_sent_is_not(provider: Provider, make: Make, wrong: str) -> None:
    assert failure(make(f"function build(m) {LATER} {wrong} end")).outcome is Outcome.CONFIGURATION
    assert provider.requests == []


def test_a_check_that_fails_leaves_the_fate_unknown(provider: Provider, make: Make) -> None:
    provider.say(200, "x")
    gateway = make("function check(r) if r.body == '' then return true end error('why') end")
    found = failure(gateway)
    assert (found.outcome, found.words) == (Outcome.UNKNOWN, "script: check failed in line 1; HTTP 200 x")
    assert len(provider.requests) == 1


# What it may not do ----------------------------------------------------------------------------

BARRED = ["os", "io", "debug", "package", "require", "module", "dofile", "loadfile", "load", "loadstring",
          "collectgarbage", "getfenv", "setfenv", "getmetatable", "rawset", "newproxy", "print", "coroutine",
          "jit", "ffi", "arg"]  # fmt: skip


@pytest.mark.parametrize("name", [*BARRED, "string.dump", "_G.os", "_G._G.io", "('').dump", "math.os"])
def test_what_reaches_outside_is_not_there(name: str) -> None:
    assert script(f"function build(m) return {{body = type({name})}} end").build({}) == {
        "body": "nil",
        "headers": {},
    }


ESCAPES = {
    "read a file": "return {body = io.open('/etc/passwd'):read('a')}",
    "write a file": "io.open('/tmp/portald-escape', 'w'):write('x')",
    "run a program": "os.execute('touch /tmp/portald-escape')",
    "run another": "io.popen('id')",
    "load a library": "require('socket').connect('127.0.0.1', 1)",
    "load C": "package.loadlib('libc.so.6', 'system')",
    "load bytecode": "load('\\27Lua')()",
    "load a file": "dofile('/etc/passwd')",
    "end everything": "os.exit(0)",
    "see the environment": "return {body = os.getenv('HOME')}",
    "reach the prelude": "return {body = debug.getinfo(1).source}",
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_escapes_fail(escape: str) -> None:
    with pytest.raises(lua.Failed, match=r"attempt to (call|index) "):
        script(f"function build(m) {ESCAPES[escape]} end").build({})
    assert not Path("/tmp/portald-escape").exists()


EXHAUSTING = {
    "for ever": "while true do end",
    "for ever, unimpressed": "repeat pcall(function() while true do end end) until false",
    "all memory": "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
    "a long text": "local s = 'x' for i = 1, 40 do s = s .. s end return {body = s}",
    "a long text at once": "return {body = ('x'):rep(1e9)}",
    "too much to say": "return {body = ('x'):rep(100000)}",
    "a slow pattern": "return {body = string.rep('a', 40):find(string.rep('a?', 40) .. string.rep('a', 41)) and 'x'}",
    "too deep a call": "local function f() return 1 + f() end return {body = tostring(f())}",
}


@pytest.mark.parametrize("way", EXHAUSTING)
def test_exhaustion_ends(way: str) -> None:
    with pytest.raises(lua.Failed) as caught:
        script(f"function build(m) {EXHAUSTING[way]} end").build({})
    assert any(
        word in str(caught.value)
        for word in ("memory", "time", "too much output", "too large", "overflow", "expected a table")
    )


def test_limits_are_in_force_when_the_script_runs() -> None:
    """Seen from inside, by a program that can tell; Lua cannot."""
    code = "import os, resource, sys; sys.stdout.write('+'); sys.stdout.flush(); sys.stdin.read()\n" + (
        f"print([resource.getrlimit(n)[1] for n in {list(lua._LIMITS)}])\n"
        "print(sorted(os.environ), os.getcwd(), os.getpid() == os.getsid(0))\n"
        "try:\n os.open('/etc/passwd', os.O_RDONLY)\nexcept OSError as e: print(e.strerror)\n"
    )
    done = programs.run(
        ["python3", "-S", "-c", code], 10, limits={**lua._LIMITS, resource.RLIMIT_AS: 1 << 30}, bare=True
    )
    wanted = [1 << 30 if limit == resource.RLIMIT_AS else value for limit, value in lua._LIMITS.items()]
    first, second, third = done.output.splitlines()
    assert json.loads(first) == wanted
    assert second.endswith("/ True")
    assert "HOME" not in second
    assert "PATH" not in second
    assert third == "Too many open files"


def test_a_script_sees_no_connection_of_ours() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        done = programs.run(["ls", "-l", "/proc/self/fd"], 5, bare=True)
    assert "socket" not in done.output


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.text(max_size=20)
        | st.integers()
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_values_survive_the_way_there_and_back(value: Any) -> None:
    """Whatever a text or an answer holds, it is never taken for Lua."""
    request = script("function build(m) return {body = {v = m.v}} end").build({"v": value})
    assert request is not None
    assert _comparable(request["body"].get("v", {})) == _comparable(value)


def _comparable(value: Any) -> Any:
    match value:
        case bool() | str():
            return value
        case int() | float():
            # Numbers that a double does not hold exactly go as texts.
            return float(value) if abs(value) < 1e15 else str(value)
        case list():
            return [_comparable(inner) for inner in value]
        case _:
            return {key: _comparable(inner) for key, inner in value.items()} or {}


# Programs --------------------------------------------------------------------------------------


def test_a_missing_program() -> None:
    with pytest.raises(SmsError) as caught:
        programs.run(["portald-no-such-program"], 1)
    assert caught.value.outcome is Outcome.CONFIGURATION
    assert caught.value.words == "the program portald-no-such-program is missing"


@pytest.mark.parametrize(
    "command", [["sleep", "9"], ["sh", "-c", "sleep 9 & wait"], ["sh", "-c", "exec >&- 2>&-; sleep 9"]]
)
def test_a_program_without_end_is_ended_with_its_children(command: list[str]) -> None:
    with pytest.raises(SmsError) as caught:
        programs.run(command, 0.3)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert caught.value.words == f"{command[0]}: no end in time"


def test_a_program_that_talks_too_much_is_ended() -> None:
    with pytest.raises(programs.TooMuch):
        programs.run(["yes"], 9)
    with pytest.raises(programs.TooMuch):
        programs.run(["sh", "-c", "yes >&2"], 9)


def test_input_and_output_do_not_wait_for_one_another() -> None:
    content = b"0123456789abcde\n" * 4000
    assert programs.run(["cat"], 9, stdin=content).output.encode() == content
    assert programs.run(["true"], 9, stdin=content * 10).code == 0
    assert programs.run(["sh", "-c", "exec <&-; exit 3"], 9, stdin=content * 10).code == 3


def test_a_program_that_stays_behind_is_ended() -> None:
    """Whatever it started ends with it, and its pipes do not keep us waiting."""
    before = threading.active_count()
    with pytest.raises(SmsError):
        programs.run(["sh", "-c", "sleep 9 & echo done"], 0.5)
    assert threading.active_count() <= before


def test_words_of_a_program_are_masked() -> None:
    done = programs.Done(1, "", f'cannot send "{TEXT}"\n to {NUMBER} \x1b[31m')
    assert (
        done.words(TEXT, CODE) == 'exit status 1: cannot send "…" to +14…71 \N{REPLACEMENT CHARACTER}[31m'
    )

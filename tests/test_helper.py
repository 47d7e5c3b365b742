"""The privilege boundary: who may ask, what may be asked, and that rubbish does no harm."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portald.demo.lab import end, until
from portald.errors import ConfigError, FirewallError, RulesMissing
from portald.firewall.memory import MemoryFirewall
from portald.firewall.remote import RemoteFirewall, Server, receive_frame, send_frame
from portald.helper import allowed_user
from portald.model import Grant
from portald.system import unix_listener

NETWORK = IPv4Network("10.77.0.0/24")
MAC = "02:00:00:00:00:01"


@pytest.fixture
def firewall() -> MemoryFirewall:
    made = MemoryFirewall(time.time)
    made.setup()
    return made


@pytest.fixture
def server(firewall: MemoryFirewall) -> Server:
    return Server(firewall, [NETWORK], lambda uid: uid == os.getuid())


@pytest.fixture
def address(server: Server, tmp_path: Path) -> Iterator[Path]:
    listener = unix_listener(tmp_path / "s", 0o600)
    thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
    thread.start()
    yield tmp_path / "s"
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    listener.close()


def connect(address: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.connect(str(address))
    return connection


GOOD = [256, MAC, ["10.77.0.5"], 60]


@pytest.mark.parametrize(
    "row",
    [
        [255, MAC, ["10.77.0.5"], 60],
        [2**30, MAC, ["10.77.0.5"], 60],
        [-1, MAC, ["10.77.0.5"], 60],
        [True, MAC, ["10.77.0.5"], 60],
        [256.0, MAC, ["10.77.0.5"], 60],
        ["256", MAC, ["10.77.0.5"], 60],
        [256, "02:00:00:00:00:0g", ["10.77.0.5"], 60],
        [256, "02:00:00:00:00:01\n", ["10.77.0.5"], 60],
        [256, "02:00:00:00:00", ["10.77.0.5"], 60],
        [256, "ff:ff:ff:ff:ff:ff", ["10.77.0.5"], 60],
        [256, "01:00:5e:00:00:01", ["10.77.0.5"], 60],
        [256, MAC.upper() + " timeout 1h", ["10.77.0.5"], 60],
        [256, MAC, ["10.78.0.5"], 60],
        [256, MAC, ["8.8.8.8"], 60],
        [256, MAC, ["10.77.0.0/24"], 60],
        [256, MAC, ["10.77.0.5", "0.0.0.0"], 60],
        [256, MAC, ["2001:db8::5"], 60],
        [256, MAC, [5], 60],
        [256, MAC, [None], 60],
        [256, MAC, "10.77.0.5", 60],
        [256, MAC, ["10.77.0.5"], 0],
        [256, MAC, ["10.77.0.5"], -5],
        [256, MAC, ["10.77.0.5"], 604_801],
        [256, MAC, ["10.77.0.5"], 1.5],
        [256, MAC, ["10.77.0.5"], True],
        [256, MAC, ["10.77.0.5"]],
        [256, MAC, [f"10.77.0.{n}" for n in range(9)], 60],
        [*GOOD, "more"],
        {},
        None,
        [],
    ],
    ids=repr,
)
def test_only_real_grants_inside_the_guest_networks(
    server: Server, firewall: MemoryFirewall, row: Any
) -> None:
    good = {"verb": "apply", "add": [GOOD, [257, "02:00:00:00:00:02", [], 60]], "remove": []}
    assert server.answer(good) == {"result": None}
    before = dict(firewall.read())
    answer = server.answer({"verb": "apply", "add": [[258, MAC, ["10.77.0.9"], 60], row], "remove": [256]})
    assert "refused" in answer["error"]
    assert dict(firewall.read()).keys() == before.keys(), "one bad grant: nothing is done"


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        "setup",
        {},
        {"verb": "teardown"},
        {"verb": "apply"},
        {"verb": "apply", "add": [], "remove": None},
        {"verb": "apply", "add": {}, "remove": []},
        {"verb": "apply", "add": [], "remove": ["256"]},
        {"verb": "apply", "add": [], "remove": [1]},
        {"verb": "exec", "command": "id"},
        {"verb": ["setup"]},
    ],
    ids=repr,
)
def test_only_the_verbs(server: Server, firewall: MemoryFirewall, request_: Any) -> None:
    firewall.apply([Grant(256, MAC, frozenset(), 60)], [])
    assert "refused" in server.answer(request_)["error"]
    assert set(firewall.read()) == {256}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["verb", "add", "remove", "x"]), inner),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request_=json_values, verb=st.sampled_from(["setup", "read", "apply", ""]))
def test_no_request_breaks_the_helper(server: Server, request_: Any, verb: str) -> None:
    if isinstance(request_, dict):
        request_["verb"] = verb
    answer = server.answer(request_)
    assert set(answer) <= {"result", "error", "kind"}
    json.dumps(answer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff\xff\xff\xff",
        struct.pack("!I", 5) + b"{}",
        struct.pack("!I", 3) + b"{x}",
        struct.pack("!I", 2) + b"\xff\xfe",
        struct.pack("!I", 200_000) + b"[" * 200_000,
    ],
    ids=["nothing", "one byte", "huge", "too short", "not JSON", "not UTF-8", "deep"],
)
def test_broken_frames_end_the_connection_only(address: Path, data: bytes) -> None:
    with connect(address) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""
    with connect(address) as connection:
        send_frame(connection, {"verb": "read"})
        assert receive_frame(connection) == {"result": []}


def test_another_user_is_refused(firewall: MemoryFirewall, tmp_path: Path) -> None:
    listener = unix_listener(tmp_path / "s", 0o666)
    server = Server(firewall, [NETWORK], lambda uid: False)
    threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
    remote = RemoteFirewall(tmp_path / "s")
    with pytest.raises(FirewallError, match=r"firewall\.user|reset|Broken pipe"):
        remote.read()
    remote.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_the_kernel_vouches_for_the_user(firewall: MemoryFirewall) -> None:
    seen: list[int] = []

    def allowed(uid: int) -> bool:
        seen.append(uid)
        return uid == 0

    # Not tmp_path: nobody may not look into it.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        listener = unix_listener(Path(folder) / "s", 0o666)
        server = Server(firewall, [NETWORK], allowed)
        threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "perl"]
        script = f'$s=IO::Socket::UNIX->new("{folder}/s") or die; print while <$s>'
        done = subprocess.run([*become, "-MIO::Socket::UNIX", "-e", script], capture_output=True, text=True)
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    assert "refused: uid 65534 is not firewall.user" in done.stdout, done.stderr
    assert seen == [65534]


def test_the_allowed_user_must_exist() -> None:
    assert allowed_user("root")(0)
    assert not allowed_user("root")(65534)
    with pytest.raises(ConfigError, match="useradd --system no-such-user"):
        allowed_user("no-such-user")


def test_the_client_reconnects_after_a_restart(firewall: MemoryFirewall, tmp_path: Path) -> None:
    remote = RemoteFirewall(tmp_path / "s")
    with pytest.raises(FirewallError, match="s: "):
        remote.read()
    for _ in range(2):
        listener = unix_listener(tmp_path / "s", 0o600)
        server = Server(firewall, [NETWORK], lambda uid: True)
        thread = threading.Thread(target=serve_once, args=(listener, server), daemon=True)
        thread.start()
        assert remote.read() == {}
        listener.close()
        thread.join(5)
        (tmp_path / "s").unlink()
    remote.close()


def serve_once(listener: socket.socket, server: Server) -> None:
    """Answer one request and hang up, as a helper that is being restarted."""
    connection, _ = listener.accept()
    with connection:
        send_frame(connection, server.answer(receive_frame(connection)))


def test_errors_keep_their_kind_across_the_socket(address: Path, firewall: MemoryFirewall) -> None:
    remote = RemoteFirewall(address)
    firewall.lose_rules()
    with pytest.raises(RulesMissing):
        remote.read()
    remote.setup()
    assert remote.read() == {}
    remote.close()


def test_a_socket_in_use_is_not_taken_over(tmp_path: Path) -> None:
    first = unix_listener(tmp_path / "s", 0o600)
    with pytest.raises(ConfigError, match="already running"):
        unix_listener(tmp_path / "s", 0o600)
    first.close()
    second = unix_listener(tmp_path / "s", 0o600)  # a killed process left it behind
    second.close()


def test_only_sockets_are_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        unix_listener(tmp_path / "s", 0o600)
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.lab
def test_the_helper_without_privileges_says_so(tmp_path: Path) -> None:
    config = tmp_path / "p.toml"
    config.write_text(
        f'run_dir = "{tmp_path}"\n[firewall]\nuser = "root"\n'
        '[[zones]]\ninterface = "lo"\nnetworks = ["10.77.0.0/24"]\n'
    )
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    program = [sys.executable, "-m", "portald.helper", "--config", str(config)]
    done = subprocess.run([*command, *program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "CAP_NET_ADMIN is needed" in done.stderr
    assert "Traceback" not in done.stderr


def test_too_much_at_once_is_refused(server: Server) -> None:
    answer = server.answer({"verb": "apply", "add": [], "remove": [300] * 65_537})
    assert "too much" in answer["error"]


def test_a_crowd_of_connections_does_not_become_a_crowd_of_threads(address: Path) -> None:
    crowd = [connect(address) for _ in range(30)]
    until(lambda: threading.active_count() > 8, "nobody is served")
    assert sum(thread.name.endswith("(_converse)") for thread in threading.enumerate()) <= 8
    for connection in crowd:
        connection.close()
    until(lambda: not any(t.name.endswith("(_converse)") for t in threading.enumerate()), "threads stay")
    remote = RemoteFirewall(address)
    assert remote.read() == {}
    remote.close()


@pytest.mark.lab
def test_systemd_may_pass_the_socket(own_network: None, tmp_path: Path) -> None:
    config = tmp_path / "p.toml"
    config.write_text(
        f'run_dir = "{tmp_path}"\n[firewall]\nuser = "root"\n'
        '[[zones]]\ninterface = "br-guest"\nnetworks = ["10.77.0.0/24"]\n'
    )
    passed = unix_listener(tmp_path / "passed.sock", 0o600)
    program = f"{sys.executable} -m portald.helper --config {config}"
    script = f"exec 3<&{passed.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec {program}"
    helper = subprocess.Popen(["bash", "-c", script], pass_fds=[passed.fileno()], stderr=subprocess.DEVNULL)
    remote = RemoteFirewall(tmp_path / "passed.sock")
    remote.apply([Grant(256, MAC, frozenset({"10.77.0.5"}), 60)], [])
    assert set(remote.read()) == {256}
    assert not (tmp_path / "firewall.sock").exists()
    remote.close()
    end(helper)
    assert helper.returncode == 0, "SIGTERM is an orderly end"
    passed.close()


def test_a_helper_that_never_answers_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd keeps its socket open while it restarts: connecting works, and nothing comes back."""
    monkeypatch.setattr("portald.firewall.remote.WRITE_TIMEOUT", 0.2)
    listener = unix_listener(tmp_path / "s", 0o600)
    remote = RemoteFirewall(tmp_path / "s")
    started = time.monotonic()
    with pytest.raises(FirewallError, match="timed out"):
        remote.apply([], [256])
    assert time.monotonic() - started < 5
    remote.close()
    listener.close()

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

from portald import config, helper
from portald.demo.lab import end, until
from portald.errors import ConfigError, FirewallError, RulesMissing
from portald.firewall.frames import receive_frame, send_frame
from portald.firewall.memory import MemoryFirewall
from portald.firewall.remote import RemoteFirewall
from portald.firewall.server import Server
from portald.helper import allowed_user
from portald.model import Grant
from portald.system import unix_listener

NETWORKS = {"guest": [IPv4Network("10.77.0.0/24")], "staff": [IPv4Network("10.78.0.0/24")]}
MAC = "02:00:00:00:00:01"
GRANT = Grant(256, "guest", MAC, frozenset({"10.77.0.5"}), 60)


@pytest.fixture
def firewall() -> MemoryFirewall:
    made = MemoryFirewall(time.time)
    made.setup()
    return made


@pytest.fixture
def server(firewall: MemoryFirewall) -> Server:
    return Server(firewall, NETWORKS, lambda uid: uid == os.getuid())


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


GOOD = [256, "guest", MAC, ["10.77.0.5"], 60, 0, 0, None, None, None]
FIELDS = ["session", "zone", "mac", "addresses", "seconds", "up", "down", "fast_up", "fast_down", "left"]


def row(**changes: Any) -> list[Any]:
    return [changes.get(name, good) for name, good in zip(FIELDS, GOOD, strict=True)]


BEST = [
    row(session=2**30 - 1),
    row(addresses=[]),
    row(addresses=["2001:db8::5", "fe80::5"]),
    row(zone="staff", addresses=["10.78.0.9"]),
    row(addresses=[f"10.77.0.{n}" for n in range(8)] + [f"2001:db8::{n:x}" for n in range(1, 17)]),
    row(up=2**53, down=2**53, left=2**53, fast_up=10_000_000, fast_down=1, seconds=604_800),
    row(left=0),
]


@pytest.mark.parametrize("good", BEST, ids=repr)
def test_all_there_is_to_a_grant_comes_across(server: Server, firewall: MemoryFirewall, good: Any) -> None:
    assert server.answer({"verb": "apply", "add": [good], "remove": []}) == {"result": None}
    (held,) = server.answer({"verb": "read"})["rows"]
    rest = dict(zip(FIELDS, good, strict=True))
    assert held[:3] == [rest["session"], rest["zone"], rest["mac"]]
    assert held[5:10] == good[5:]


@pytest.mark.parametrize(
    "wrong",
    [
        row(session=255),
        row(session=2**30),
        row(session=-1),
        row(session=True),
        row(session=256.0),
        row(session="256"),
        row(zone="cellar"),
        row(zone=""),
        row(zone=None),
        row(zone=["guest"]),
        row(zone="staff"),  # its address is in the other network
        row(mac="02:00:00:00:00:0g"),
        row(mac="02:00:00:00:00:01\n"),
        row(mac="02:00:00:00:00"),
        row(mac="ff:ff:ff:ff:ff:ff"),
        row(mac="01:00:5e:00:00:01"),
        row(mac=MAC.upper() + " timeout 1h"),
        row(mac=None),
        row(addresses=["10.78.0.5"]),
        row(addresses=["8.8.8.8"]),
        row(addresses=["10.77.0.0/24"]),
        row(addresses=["10.77.0.5", "0.0.0.0"]),
        row(addresses=["2001:db8::/64"]),
        row(addresses=["2001:db8::g"]),
        row(addresses=["fe80::5%br-guest"]),
        row(addresses=["ff02::1"]),
        row(addresses=["::"]),
        row(addresses=["::1"]),
        row(addresses=[":"]),
        row(addresses=[5]),
        row(addresses=[None]),
        row(addresses=[["10.77.0.5"]]),
        row(addresses="10.77.0.5"),
        row(addresses=[f"10.77.0.{n}" for n in range(9)]),
        row(addresses=[f"2001:db8::{n:x}" for n in range(1, 18)]),
        row(seconds=0),
        row(seconds=-5),
        row(seconds=604_801),
        row(seconds=1.5),
        row(seconds=True),
        row(seconds=None),
        row(up=-1),
        row(down=2**53 + 1),
        row(up=None),
        row(down=1.5),
        row(up=True),
        row(fast_up=0),
        row(fast_down=10_000_001),
        row(fast_up=-1),
        row(fast_down=1.5),
        row(fast_up="1000"),
        row(fast_up=True),
        row(left=-1),
        row(left=2**53 + 1),
        row(left=0.5),
        row(left=False),
        row(left="0"),
        GOOD[:9],
        [*GOOD, "more"],
        {},
        None,
        [],
    ],
    ids=repr,
)
def test_only_real_grants_inside_the_guest_networks(
    server: Server, firewall: MemoryFirewall, wrong: Any
) -> None:
    other = row(session=257, mac="02:00:00:00:00:02", addresses=[])
    assert server.answer({"verb": "apply", "add": [GOOD, other], "remove": []}) == {"result": None}
    before = dict(firewall.read())
    add = [row(session=258, addresses=["10.77.0.9"]), wrong]
    answer = server.answer({"verb": "apply", "add": add, "remove": [256]})
    assert "refused" in answer["error"]
    assert {n: h.open for n, h in firewall.read().items()} == {n: h.open for n, h in before.items()}, (
        "one bad grant: nothing is done"
    )


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
        {"verb": "settle"},
        {"verb": "settle", "sessions": 256},
        {"verb": "settle", "sessions": [255]},
        {"verb": "settle", "sessions": ["256"]},
        {"verb": "wait"},
        {"verb": "wait", "seconds": -1},
        {"verb": "wait", "seconds": 3601},
        {"verb": "wait", "seconds": float("nan")},
        {"verb": "wait", "seconds": "1"},
        {"verb": "exec", "command": "id"},
        {"verb": ["setup"]},
    ],
    ids=repr,
)
def test_only_the_verbs(server: Server, firewall: MemoryFirewall, request_: Any) -> None:
    firewall.apply([GRANT], [])
    assert "refused" in server.answer(request_)["error"]
    assert set(firewall.read()) == {256}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["verb", "add", "remove", "sessions", "x"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request_=json_values, verb=st.sampled_from(["setup", "read", "apply", "settle", "survey", ""]))
def test_no_request_breaks_the_helper(server: Server, request_: Any, verb: str) -> None:
    if isinstance(request_, dict):
        request_["verb"] = verb
    answer = server.answer(request_)
    assert set(answer) <= {"result", "error", "kind", "rows"}
    json.dumps([answer, *answer.pop("rows", ())])


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
        assert receive_frame(connection) == {"result": None}


def test_another_user_is_refused(firewall: MemoryFirewall, tmp_path: Path) -> None:
    listener = unix_listener(tmp_path / "s", 0o666)
    server = Server(firewall, NETWORKS, lambda uid: False)
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
        server = Server(firewall, NETWORKS, allowed)
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
        server = Server(firewall, NETWORKS, lambda uid: True)
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
        answer = server.answer(receive_frame(connection))
        send_frame(connection, answer, answer.pop("rows", ()))


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
    file = tmp_path / "p.toml"
    file.write_text(
        f'run_dir = "{tmp_path}"\n[firewall]\nuser = "root"\n'
        '[[zones]]\ninterface = "lo"\nnetworks = ["10.77.0.0/24"]\n'
    )
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    program = [sys.executable, "-m", "portald.helper", "--config", str(file)]
    done = subprocess.run([*command, *program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "CAP_NET_ADMIN is needed" in done.stderr
    assert "Traceback" not in done.stderr


def test_too_much_at_once_is_refused(server: Server) -> None:
    for request in (
        {"verb": "apply", "add": [], "remove": [300] * 65_537},
        {"verb": "settle", "sessions": [300] * 65_537},
    ):
        assert "too much" in server.answer(request)["error"]


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
    file = tmp_path / "p.toml"
    file.write_text(
        f'run_dir = "{tmp_path}"\n[firewall]\nuser = "root"\n'
        '[[zones]]\ninterface = "br-guest"\nnetworks = ["10.77.0.0/24"]\n'
    )
    passed = unix_listener(tmp_path / "passed.sock", 0o600)
    program = f"{sys.executable} -m portald.helper --config {file}"
    script = f"exec 3<&{passed.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec {program}"
    process = subprocess.Popen(
        ["bash", "-c", script], pass_fds=[passed.fileno()], stderr=subprocess.DEVNULL
    )
    remote = RemoteFirewall(tmp_path / "passed.sock")
    remote.apply([GRANT], [])
    assert set(remote.read()) == {256}
    assert not (tmp_path / "firewall.sock").exists()
    remote.close()
    end(process)
    assert process.returncode == 0, "SIGTERM is an orderly end"
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


def waiting_threads() -> int:
    return sum(thread.name.endswith("(_converse)") for thread in threading.enumerate())


def test_waiting_has_a_connection_of_its_own(address: Path, firewall: MemoryFirewall) -> None:
    remote = RemoteFirewall(address)
    news: list[bool] = []
    waiting = threading.Thread(target=lambda: news.append(remote.wait(30)))
    waiting.start()
    remote.apply([GRANT], [])
    assert set(remote.read()) == {256}
    assert waiting.is_alive()
    firewall.lose_rules()
    waiting.join(5)
    assert news == [True]
    remote.close()


def test_a_wait_for_a_peer_that_was_killed_ends(address: Path) -> None:
    connection = connect(address)
    send_frame(connection, {"verb": "wait", "seconds": 3600})
    until(lambda: waiting_threads() == 1, "nobody waits")
    connection.close()
    until(lambda: waiting_threads() == 0, "a thread waits for nobody", 5)


def test_a_wait_that_is_over_leaves_the_connection_good(address: Path) -> None:
    remote = RemoteFirewall(address)
    assert not remote.wait(0.05)
    assert not remote.wait(0)
    remote.close()
    until(lambda: waiting_threads() == 0, "threads stay")


# Which firewall ---------------------------------------------------------------------------


def settings_with(backend: str) -> config.Config:
    zones = tuple(
        config.Zone(name=name, interface=f"br-{name}", networks=tuple(networks))
        for name, networks in NETWORKS.items()
    )
    return config.Config(zones=zones, firewall=config.Firewall(backend=backend))


class Kind:
    """A backend that works or does not."""

    def __init__(self, name: str, problem: str = "") -> None:
        self.__name__ = name
        self.problem = problem
        self.removed = False

    def __call__(self, settings: config.Config) -> Kind:
        return self

    def check(self) -> None:
        if self.problem:
            raise FirewallError(self.problem)

    def teardown(self) -> None:
        self.check()
        self.removed = True


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> tuple[Kind, Kind]:
    both = Kind("nftables"), Kind("iptables")
    for kind in both:
        monkeypatch.setattr(helper, kind.__name__, kind)
    return both


def test_the_first_backend_that_works_is_taken(
    kinds: tuple[Kind, Kind], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    new, old = kinds

    def chosen(name: str) -> object:
        return helper.backend(settings_with(name))

    assert chosen("auto") is new
    new.problem = "the command nft is missing"
    assert chosen("auto") is old
    assert "backend_chosen backend=iptables" in caplog.text
    old.problem = "the command ipset is missing"
    with pytest.raises(ConfigError, match=r"(?s)nft is missing.*ipset is missing"):
        chosen("auto")
    assert chosen("nftables") is new
    assert chosen("iptables") is old
    assert isinstance(chosen("memory"), MemoryFirewall)


def test_remove_takes_out_whatever_is_there(
    kinds: tuple[Kind, Kind], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f'run_dir = "{tmp_path}"\n[[zones]]\ninterface = "x"\nnetworks = ["10.0.0.0/24"]\n')
    new, old = kinds
    new.problem = "the command nft is missing"
    assert helper.main(["--config", str(file), "--remove"]) == 0
    assert old.removed
    old.problem = "the command ipset is missing"
    assert helper.main(["--config", str(file), "--remove"]) == 1


@pytest.mark.lab
def test_nftables_works_here(own_network: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert type(helper.backend(settings_with("auto"))).__name__ == "NftFirewall"
    assert "backend_chosen backend=nftables" in caplog.text

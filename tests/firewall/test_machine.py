"""Walks that no test would think of: whatever is done in whatever order, reading says what is so."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from portald.errors import RulesMissing
from portald.firewall import commands
from portald.firewall.memory import MemoryFirewall
from portald.model import Grant, Rate, Usage
from portald.ports import Firewall
from tests.firewall.conftest import KERNELS, memory
from tests.firewall.kit import essence, grant, meant

SESSIONS = st.integers(256, 261)
RATES = st.sampled_from(
    [Rate(), Rate(1000, None), Rate(None, 2_000), Rate(64, 64), Rate(1_234_567, 10_000_000)]
)
LEFT = st.sampled_from([None, 0, 10**6, 2**40])
WHOLE = st.sampled_from([3600, 7200])


class Walk(RuleBasedStateMachine):
    """A small model beside a firewall: what is granted, and where each session's counters stand."""

    make: ClassVar[Callable[[], Firewall]]
    loses: ClassVar[Callable[[Any], None] | None] = None

    @initialize()
    def begin(self) -> None:
        self.firewall = type(self).make()
        self.firewall.setup()
        self.open: dict[int, Grant] = {}
        self.counted: dict[int, Usage] = {}

    def put(self, *grants: Grant, remove: tuple[int, ...] = ()) -> None:
        for session in remove:
            self.open.pop(session, None)
        for one in grants:
            self.open[one.session] = one
            self.counted.setdefault(one.session, one.counted)
        self.firewall.apply(grants, remove)

    @rule(
        session=SESSIONS,
        tails=st.sets(st.integers(1, 3), max_size=3),
        zone=st.sampled_from(["guest", "staff"]),
        rate=RATES,
        left=LEFT,
        seconds=WHOLE,
        counted=st.sampled_from([Usage(), Usage(5, 7)]),
    )
    def give(
        self,
        session: int,
        tails: set[int],
        zone: str,
        rate: Rate,
        left: int | None,
        seconds: int,
        counted: Usage,
    ) -> None:
        net = {"guest": "10.0", "staff": "10.2"}[zone]
        addresses = [f"{net}.{session % 256}.{tail}" for tail in tails]
        self.put(
            grant(session, *addresses, zone=zone, rate=rate, left=left, seconds=seconds, counted=counted)
        )

    @rule(session=SESSIONS, rate=RATES, left=LEFT)
    def change(self, session: int, rate: Rate, left: int | None) -> None:
        if session in self.open:
            self.put(dataclasses.replace(self.open[session], rate=rate, left=left, counted=Usage(99, 99)))

    @rule(sessions=st.sets(SESSIONS))
    def renew_several(self, sessions: set[int]) -> None:
        self.put(*(self.open[s] for s in sorted(sessions) if s in self.open))

    @rule(gone=st.sets(SESSIONS), new=SESSIONS)
    def revoke_and_give(self, gone: set[int], new: int) -> None:
        self.put(grant(new, f"10.0.{new % 256}.9"), remove=tuple(gone - {new}))

    @rule(gone=st.sets(SESSIONS))
    def revoke(self, gone: set[int]) -> None:
        self.put(remove=tuple(gone))

    @rule(sessions=st.sets(SESSIONS))
    def settle(self, sessions: set[int]) -> None:
        self.firewall.settle(sessions)
        for session in sessions - self.open.keys():
            self.counted.pop(session, None)

    @rule(session=SESSIONS)
    def expire(self, session: int) -> None:
        if session not in self.open:
            return
        self.put(dataclasses.replace(self.open.pop(session), seconds=1))
        self.open.pop(session)
        end = time.monotonic() + 5
        while self.firewall.read()[session].open:
            assert time.monotonic() < end
            time.sleep(0.02)

    @rule()
    def set_up_again(self) -> None:
        self.firewall.setup()

    @rule()
    def lose_everything(self) -> None:
        if (loses := type(self).loses) is None:
            return
        loses(self.firewall)
        with pytest.raises(RulesMissing):
            self.firewall.read()
        self.firewall.setup()
        self.open, self.counted = {}, {}

    @invariant()
    def reading_says_what_is_so(self) -> None:
        held = self.firewall.read()
        assert essence(held) == meant(self.open.values())
        assert {session: h.usage for session, h in held.items()} == self.counted
        for session, one in self.open.items():
            assert held[session].left == one.left
            assert one.seconds - 60 <= held[session].seconds <= one.seconds


def walk(
    make: Callable[[], Firewall], loses: Callable[[Any], None] | None, examples: int, steps: int
) -> None:
    class Here(Walk):
        pass

    Here.make, Here.loses = staticmethod(make), None if loses is None else staticmethod(loses)
    bounds = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Here, settings=bounds)


def test_walks_in_memory() -> None:
    walk(memory, MemoryFirewall.lose_rules, 20, 25)


LOSSES = {"nftables": ["nft", "flush", "ruleset"], "nftables-queue": ["nft", "flush", "ruleset"]}
"""What takes a backend's rules away; one without is not damaged."""


@pytest.mark.lab
@pytest.mark.parametrize("name", list(KERNELS))
def test_walks_in_the_kernel(own_network: None, name: str) -> None:
    def make() -> Firewall:
        """Begin each walk as an empty machine, whatever the one before has left."""
        made = KERNELS[name]()
        made.teardown()  # type: ignore[attr-defined]
        return made

    loss = LOSSES.get(name)

    def losing(command: list[str]) -> None:
        commands.run(*command)

    walk(make, None if loss is None else lambda _: losing(loss), 4, 20)

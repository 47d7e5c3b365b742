"""One MAC at two places: told of when it jumps, not when it walks."""

from __future__ import annotations

from portald.places import MOVES, TOLD, TOLD_FOR, WITHIN, Places

MAC = "02:cc:00:00:00:01"


def test_walking_between_access_points_is_no_alarm() -> None:
    places = Places()
    for step in range(40):
        assert not places.seen(MAC, f"ap{step % 3}", step * 30.0)
    assert places.alarms(1200) == []


def test_jumping_to_and_fro_is_one() -> None:
    places = Places()
    found = [places.seen(MAC, f"port{step % 2}", float(step)) for step in range(MOVES + 1)]
    assert found == [False] * MOVES + [True]
    (alarm,) = places.alarms(10.0)
    assert MAC in alarm.text
    assert "port0" in alarm.text
    assert f"clients block {MAC}" in alarm.cure
    assert places.alarms(10 + TOLD_FOR) == []


def test_staying_is_nothing_however_often_it_is_seen() -> None:
    places = Places()
    assert not any(places.seen(MAC, "port1", n * WITHIN / 100) for n in range(100))


def test_a_flood_of_made_up_macs_is_forgotten() -> None:
    places = Places(most=100)
    for n in range(1000):
        places.seen(f"02:00:00:00:{n // 256:02x}:{n % 256:02x}", "port1", 0.0)
    assert len(places._last) <= 100


def test_made_up_macs_fill_neither_memory_nor_the_operator_s_screen() -> None:
    places = Places()
    for n in range(TOLD * 3):
        for step in range(MOVES + 1):
            places.seen(f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}", f"port{step % 2}", float(step))
    assert len(places.alarms(10.0)) == TOLD

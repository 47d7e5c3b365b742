"""A database that is damaged, gone, full or locked: nobody online is cut, nobody gets in for free."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from portald.errors import StoreError
from portald.model import Client, End, Grant, Rate, Session, Sort, Usage
from portald.store import Store
from portald.store import database as database_module
from portald.store.recovery import BACKUP, BACKUP_EVERY, LEAP, copy, fault, prepare
from tests.conftest import NUMBER, Clock, Product

DAMAGE = {
    "rubbish": b"not a database" * 999,
    "zeros": b"\0" * 65_536,
    "header only": b"SQLite format 3\0" + b"\xff" * 4096,
}


def reopened(product: Product) -> Product:
    """Do what a restart does with the file, and give the product the new store."""
    path = product.store.path
    product.store.close()
    prepare(path, product.clock())
    store = Store(path)
    product.store = store
    for part in (
        product.rounds, product.door, product.portal, product.exchange, product.arranging, product.purse,
    ):  # fmt: skip
        part._store = store
    product.rounds._timekeeper._store = store
    return product


def damage(path: Path, content: bytes) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(content)


def only(product: Product) -> Session:
    (session,) = product.portal.sessions()
    return session


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_without_a_backup_the_kernel_tells_who_is_online(
    product: Product, phone: Client, content: bytes
) -> None:
    opened = product.log_in(phone)
    product.firewall.count(opened.id, 10, 100)
    product.store.close()
    damage(product.store.path, content)
    reopened(product)
    assert product.portal.sessions() == []
    assert product.rounds.round()
    found = only(product)
    assert (found.id, found.mac, found.addresses) == (opened.id, phone.mac, {phone.ip})
    assert found.usage == Usage(10, 100)
    assert found.account.name == phone.mac
    assert product.inside() == {opened.id}
    assert product.portal.status(phone) is not None
    lost = product.store.lost()
    assert lost is not None
    assert (product.store.path.parent / str(lost["aside"])).read_bytes() == content
    # And a number given since then is nobody else's mark.
    other = Client("02:cc:00:00:00:02", "10.77.0.12", "guest")
    later, _ = product.store.open_unproven(Sort.DEVICE, other.mac, other, "SMS", [], product.clock())
    assert later.id > opened.id + LEAP - 1
    product.store.close()


def test_with_a_backup_accounts_are_known_and_the_kernel_has_the_last_word(
    product: Product, phone: Client
) -> None:
    gone = product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    late = product.table.join("10.77.0.13", "02:cc:00:00:00:03")
    kept, cut = product.log_in(phone), product.log_in(gone, "+14155552672")
    product.store.keep_backup(product.clock())
    product.portal.revoke(cut.id)
    opened_later = product.log_in(late, "+14155552673")
    product.store.close()
    damage(product.store.path, DAMAGE["rubbish"])
    reopened(product)
    product.rounds.round()
    live = {session.id: session for session in product.portal.sessions()}
    assert live.keys() == {kept.id, opened_later.id}
    assert live[kept.id].account.name == NUMBER
    assert live[opened_later.id].account.name == late.mac, "its number is lost, its access is not"
    ended = product.store.session(cut.id)
    assert ended is not None
    assert ended.end is End.LOST
    assert product.inside() == live.keys()
    product.store.close()


def test_a_backup_and_a_kernel_that_was_started_anew(product: Product, phone: Client) -> None:
    """Power was lost: what the backup says is all there is, and guests online stay online."""
    opened = product.log_in(phone)
    product.store.keep_backup(product.clock())
    product.firewall.lose_rules()
    product.store.close()
    damage(product.store.path, DAMAGE["zeros"])
    reopened(product)
    product.rounds.round()
    assert only(product).id == opened.id
    assert product.inside() == {opened.id}
    product.store.close()


def test_a_deadline_survives_the_loss(product: Product, phone: Client) -> None:
    product.arranging.set_plan("unlimited", {"session": "1h"})
    product.log_in(phone)
    product.store.keep_backup(product.clock() - BACKUP_EVERY)
    product.clock.move(1800)
    product.store.close()
    path = product.store.path
    damage(path, DAMAGE["rubbish"])
    path.with_name(BACKUP).unlink(missing_ok=True)
    reopened(product)
    product.arranging.set_plan("unlimited", {"session": "1h"})
    product.rounds.round()
    found = only(product)
    assert found.expires_at == pytest.approx(product.clock() + 1800, abs=2)
    product.store.close()


def test_foreign_grants_are_not_adopted_without_a_loss(product: Product, phone: Client) -> None:
    product.log_in(phone)
    forged = Grant(999, "guest", "02:ee:00:00:00:09", frozenset({"10.77.0.99"}), 600, Usage(), Rate())
    product.firewall.apply([forged], [])
    product.rounds.round()
    assert product.inside() == {256}


def test_a_database_that_is_gone_is_a_loss_if_there_is_a_backup(product: Product, phone: Client) -> None:
    product.log_in(phone)
    product.store.keep_backup(product.clock())
    product.store.close()
    path = product.store.path
    for part in path.parent.glob("portald.db*"):
        part.unlink()
    reopened(product)
    assert only(product).account.name == NUMBER
    product.store.close()


def test_a_first_start_is_no_loss(tmp_path: Path) -> None:
    prepare(tmp_path / "portald.db", 0)
    assert list(tmp_path.iterdir()) == []
    store = Store(tmp_path / "portald.db")
    assert store.lost() is None
    store.close()


def test_a_damaged_backup_is_not_used(product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    product.store.close()
    path = product.store.path
    damage(path, DAMAGE["rubbish"])
    path.with_name(BACKUP).write_bytes(DAMAGE["zeros"])
    reopened(product)
    product.rounds.round()
    assert only(product).id == opened.id
    product.store.close()


def test_backups_are_taken_by_the_hour_and_overwrite(product: Product, phone: Client, clock: Clock) -> None:
    product.log_in(phone)
    product.rounds.round()
    backup = product.store.path.with_name(BACKUP)
    assert backup.stat().st_mode & 0o777 == 0o600
    first = backup.stat().st_mtime_ns
    clock.move(BACKUP_EVERY / 2)
    product.rounds.round()
    assert backup.stat().st_mtime_ns == first
    clock.move(BACKUP_EVERY)
    product.rounds.round()
    assert backup.stat().st_mtime_ns > first
    assert fault(backup) is None


def test_a_copy_of_a_database_in_use(product: Product, phone: Client, tmp_path: Path) -> None:
    product.log_in(phone)
    with product.store.transaction() as connection:
        connection.execute("UPDATE accounts SET note = 'half done'")
        copy(product.store.path, tmp_path / "copy.db")
    copied = sqlite3.connect(tmp_path / "copy.db")
    assert copied.execute("SELECT count(*), max(note) FROM accounts JOIN sessions").fetchone() == (1, "")
    copied.close()


# A disk that takes no more -------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "PATIENCE", 0.1)


def locked(product: Product) -> sqlite3.Connection:
    other = sqlite3.connect(product.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_database_that_cannot_be_written_cuts_nobody_and_lets_nobody_in(
    impatient: None, product: Product, phone: Client, clock: Clock
) -> None:
    product.arranging.set_plan("unlimited", {"session": "2d"})
    opened = product.log_in(phone)
    other = product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    product.portal.request_code(other, "+14155552672")
    lock = locked(product)
    try:
        with pytest.raises(StoreError):
            product.portal.confirm(other, product.outbox.code())
        clock.move(86_400 * 0.7)  # past half of what the kernel was given
        assert product.rounds.round(), product.rounds.last_error
        assert product.rounds.store_error
        assert product.inside() == {opened.id}
        assert product.firewall.read()[opened.id].seconds > 43_200, "renewed all the same"
        clock.move(86_400 * 2)
        product.rounds.round()
        assert product.inside() == set(), "a deadline is one even if it cannot be written down"
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    product.rounds.round()
    assert product.rounds.store_error is None
    ended = product.store.session(opened.id)
    assert ended is not None
    assert ended.end is End.EXPIRED


def test_bytes_wait_in_the_kernel_until_they_can_be_written(
    impatient: None, product: Product, phone: Client
) -> None:
    opened = product.log_in(phone)
    product.firewall.count(opened.id, 5, 50)
    product.portal.revoke(opened.id)
    lock = locked(product)
    for _ in range(3):
        product.rounds.round()
    assert opened.id in product.firewall.read(), "not settled before it is in the store"
    lock.execute("ROLLBACK")
    lock.close()
    product.rounds.round()
    assert opened.id not in product.firewall.read()
    ended = product.store.session(opened.id)
    assert ended is not None
    assert ended.usage == Usage(5, 50)


def test_a_full_disk_keeps_half_of_nothing(product: Product, phone: Client) -> None:
    connection = product.store.connection
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    failures: list[tuple[str, int]] = []
    for n in range(200):
        client = product.table.join(f"10.77.1.{n}", f"02:cc:00:00:01:{n:02x}")
        before = product.store.count_live()
        try:
            product.store.open_unproven(Sort.NUMBER, f"+1415555{n:04}", client, "SMS", [], product.clock())
        except StoreError as error:
            failures.append((str(error), product.store.count_live() - before))
    assert failures
    assert all("full" in words and not half_done for words, half_done in failures)
    orphans = "SELECT count(*) FROM sessions WHERE account_id NOT IN (SELECT id FROM accounts)"
    assert connection.execute(orphans).fetchone()[0] == 0
    assert fault(product.store.path) is None


def test_damage_while_running_ends_the_daemon(product: Product, phone: Client) -> None:
    told: list[bool] = []
    product.rounds._damaged = lambda: told.append(True)
    product.rounds._store = Broken()  # type: ignore[assignment]
    assert not product.rounds.round()
    assert told == [True]


class Broken:
    """A store whose file is damaged."""

    def __getattr__(self, name: str) -> object:
        raise StoreError("the database is damaged: malformed", damaged=True)


def test_a_damaged_page_does_not_take_the_place_of_a_sound_backup(product: Product, phone: Client) -> None:
    """Nobody may have read it for months; then the backup is all there is."""
    product.log_in(phone)
    rows = [{"name": f"user{n}", "note": "x" * 400} for n in range(500)]
    product.store.set_accounts(rows, product.clock())
    product.store.keep_backup(product.clock())
    backup = product.store.path.with_name(BACKUP)
    assert fault(backup) is None
    product.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    page = product.store.path.stat().st_size // 4096 // 2
    with product.store.path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xff" * 4096)
    product.store.connection.execute("PRAGMA shrink_memory")
    product.clock.move(BACKUP_EVERY)
    with pytest.raises(StoreError) as refused:
        product.store.keep_backup(product.clock())
    assert refused.value.damaged
    assert fault(backup) is None


@pytest.mark.parametrize("backup", [True, False])
@pytest.mark.parametrize("step", ["mark_recovering", "copy", "replace"])
def test_a_rebuild_that_is_killed_begins_anew(
    product: Product, phone: Client, monkeypatch: pytest.MonkeyPatch, step: str, backup: bool
) -> None:
    """Otherwise the next start would take an old backup for what portald knew last."""
    if backup:
        product.store.keep_backup(product.clock())
    opened = product.log_in(phone)
    path = product.store.path
    product.store.close()
    damage(path, DAMAGE["rubbish"])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if step == "replace":
            patched.setattr(Path, "replace", killed)
        else:
            patched.setattr(f"portald.store.recovery.{step}", killed)
        if step != "copy" or backup:
            with pytest.raises(KeyboardInterrupt):
                prepare(path, product.clock())
    reopened(product)
    assert product.rounds.round()
    assert (only(product).id, product.inside()) == (opened.id, {opened.id})
    product.store.close()

"""The chain of the audit trail, on each engine: whoever has the database alone cannot lie in it."""

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.domain.audit import AuditEvent
from control_plane.errors import StorageError
from control_plane.storage.audit import AuditFilter, AuditTrail
from control_plane.storage.audit_check import check_chain
from control_plane.storage.audit_seal import ANCHOR_EVERY, AuditSeal
from control_plane.storage.database import StateDatabase

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
WRITERS, EACH = 4, 40
WRITE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from control_plane.domain.audit import AuditEvent
from control_plane.storage.audit import AuditTrail
from control_plane.storage.audit_seal import AuditSeal
from control_plane.storage.database import StateDatabase
trail = AuditTrail(StateDatabase(sys.argv[1]), AuditSeal(Path(sys.argv[2])))
event = AuditEvent(at=datetime.now(UTC), actor=sys.argv[3], origin="::1", action="a", target="t",
                   outcome="done")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[4])):
    trail.record(event)
"""


def event(number: int) -> AuditEvent:
    return AuditEvent(
        at=NOW + timedelta(seconds=number),
        actor="bob",
        origin="::1",
        action="process.stop",
        target=f"line{number}",
        outcome="done",
        detail="操作 ✓",
    )


@pytest.fixture
def trail(audit: AuditTrail) -> AuditTrail:
    """Ten entries, all of them anchored."""
    for number in range(1, 11):
        audit.record(event(number))
    audit.anchor_the_end(NOW)
    return audit


def tamper(database: StateDatabase, *statements: str) -> None:
    with database.connection() as db, db.atomic():
        for statement in statements:
            db.execute_sql(statement)


@contextlib.contextmanager
def undone(database: StateDatabase, *statements: str) -> Iterator[None]:
    """Tamper for the length of the block."""
    with database.connection() as db, db.atomic() as transaction:
        for statement in statements:
            db.execute_sql(statement)
        yield
        transaction.rollback()


def found(trail: AuditTrail) -> list[tuple[str, int, int]]:
    report = check_chain(trail)
    assert report.is_sound == (report.problems == ())
    return [(each.code, each.first_id, each.last_id) for each in report.problems]


def test_a_chain_that_nobody_touched_is_sound_and_says_how_far_it_is_anchored(
    trail: AuditTrail,
) -> None:
    report = check_chain(trail)
    assert (report.is_sound, report.entries, report.first_id, report.last_id) == (True, 10, 1, 10)
    assert (report.anchored_id, report.unanchored, report.anchored_at) == (10, 0, NOW)
    for number in range(11, 14):
        trail.record(event(number))
    report = check_chain(trail)
    assert (report.is_sound, report.anchored_id, report.unanchored) == (True, 10, 3)


def test_an_edited_row_is_found(trail: AuditTrail, database: StateDatabase) -> None:
    for change in (
        "at_ms = at_ms + 1", "actor = 'carol'", "origin = '::2'", "action = 'process.start'",
        "target = 'line6'", "outcome = 'denied'", "detail = ''",
            "mac = substr(mac, 2, 63) || substr(mac, 1, 1)",
        "mac = (SELECT a.mac FROM audit AS a WHERE a.id = 4)",
    ):  # fmt: skip
        with undone(database, f"UPDATE audit SET {change} WHERE id = 5"):
            assert ("edited", 5, 5) in found(trail), change
    assert found(trail) == []


def test_deleted_rows_are_found(trail: AuditTrail, database: StateDatabase) -> None:
    for first, last in ((1, 1), (5, 5), (3, 7), (1, 9)):
        with undone(database, f"DELETE FROM audit WHERE id BETWEEN {first} AND {last}"):
            assert found(trail) == [("missing", first, last)]


def test_deleted_rows_are_found_also_when_the_others_are_numbered_anew(
    trail: AuditTrail, database: StateDatabase
) -> None:
    down = [f"UPDATE audit SET id = {number - 1} WHERE id = {number}" for number in range(6, 11)]
    tamper(database, "DELETE FROM audit WHERE id = 5", *down)
    assert {code for code, *_ in found(trail)} == {"edited", "cut"}


def test_reordered_rows_are_found(trail: AuditTrail, database: StateDatabase) -> None:
    steps = [(4, 99), (5, 4), (99, 5)]
    with_seals = [f"UPDATE audit SET id = {new} WHERE id = {old}" for old, new in steps]
    without = [
        "UPDATE audit SET target = 'line5' WHERE id = 4",
        "UPDATE audit SET target = 'line4' WHERE id = 5",
    ]
    for statements in (with_seals, without):
        with undone(database, *statements):
            assert {("edited", 4, 4), ("edited", 5, 5)} <= set(found(trail))


def test_rows_cut_from_the_end_are_found_by_the_anchors(
    trail: AuditTrail, database: StateDatabase
) -> None:
    for keep in (0, 1, 9):
        with undone(database, f"DELETE FROM audit WHERE id > {keep}"):
            assert found(trail) == [("cut", keep + 1, 10)]
            # Whoever goes on writing takes the numbers again; the anchors know better.
            for number in range(keep + 1, 12):
                trail.record(event(number + 100))
            assert ("anchor_differs", 10, 10) in found(trail)


def test_the_end_that_no_anchor_vouches_for_can_be_cut_and_the_report_says_so(
    trail: AuditTrail, database: StateDatabase
) -> None:
    for number in range(11, 14):
        trail.record(event(number))
    assert check_chain(trail).unanchored == 3
    tamper(database, "DELETE FROM audit WHERE id > 10")
    assert found(trail) == []


def test_a_row_put_in_without_the_key_is_found(trail: AuditTrail, database: StateDatabase) -> None:
    columns = "at_ms, actor, origin, action, target, outcome, detail"
    for mac, code in (("", "unsealed"), ("0" * 64, "edited")):
        tamper(
            database,
            f"INSERT INTO audit (id, {columns}, mac) "
            f"SELECT 11, {columns}, '{mac}' FROM audit WHERE id = 10",
        )
        assert found(trail) == [(code, 11, 11)]
        tamper(database, "DELETE FROM audit WHERE id = 11")


def test_seals_that_were_all_removed_are_not_made_anew(
    trail: AuditTrail, database: StateDatabase
) -> None:
    tamper(database, "UPDATE audit SET detail = 'lie' WHERE id = 5", "UPDATE audit SET mac = ''")
    trail.begin(NOW)
    codes = [code for code, *_ in found(trail)]
    assert codes.count("unsealed") == 10


def test_a_forged_or_damaged_anchor_is_found(trail: AuditTrail) -> None:
    file = trail.seal.anchor_file
    lines = file.read_text().splitlines()
    forged = json.loads(lines[-1]) | {"id": 9}
    file.write_text("\n".join([*lines, json.dumps(forged), "not JSON", "[]"]) + "\n")
    count = len(lines)
    assert found(trail) == [("anchor_forged", n, n) for n in range(count + 1, count + 4)]


def test_key_and_anchors_are_for_their_owner_only_and_a_bad_key_is_refused(
    trail: AuditTrail, tmp_path: Path
) -> None:
    for file in (trail.seal.key_file, trail.seal.anchor_file):
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert [each.name for each in trail.seal.key_file.parent.iterdir()] == ["audit.key"]
    trail.seal.key_file.write_text("short")
    with pytest.raises(StorageError, match="64 hexadecimal"):
        AuditSeal(tmp_path)


def test_another_key_verifies_nothing(
    trail: AuditTrail, database: StateDatabase, tmp_path: Path
) -> None:
    trail.seal.key_file.unlink()
    report = check_chain(AuditTrail(database, AuditSeal(tmp_path)))
    assert not report.is_sound
    assert report.anchors == 0


def test_entries_from_before_there_were_seals_are_sealed_once(
    audit: AuditTrail, database: StateDatabase
) -> None:
    columns = "id, at_ms, actor, origin, action, target, outcome, detail"
    # PostgreSQL leaves gaps in numbers where a transaction was given up.
    for number in (1, 2, 5):
        tamper(
            database,
            f"INSERT INTO audit ({columns}) "
            f"VALUES ({number}, 1, 'bob', '::1', 'a', 't', 'done', '')",
        )
    audit.begin(NOW)
    assert found(audit) == []
    audit.record(event(6))
    assert (found(audit), check_chain(audit).last_id) == ([], 6)


def test_a_restore_gives_up_the_anchors_of_later_rows_openly(
    trail: AuditTrail, database: StateDatabase
) -> None:
    tamper(database, "DELETE FROM audit WHERE id > 4")  # what an older backup does
    assert found(trail) == [("cut", 5, 10)]
    trail.begin(NOW, restored=True)
    assert found(trail) == []
    trail.record(event(5))
    assert (found(trail), check_chain(trail).anchored_id) == ([], 4)


def test_a_backup_from_before_an_earlier_restore_is_sound(
    trail: AuditTrail, database: StateDatabase
) -> None:
    tamper(database, "CREATE TABLE kept AS SELECT * FROM audit")
    tamper(database, "DELETE FROM audit WHERE id > 4")
    trail.begin(NOW, restored=True)
    trail.record(event(50))
    trail.anchor_the_end(NOW)
    tamper(database, "DELETE FROM audit", "INSERT INTO audit SELECT * FROM kept")
    assert found(trail) == [("anchor_differs", 5, 5)]
    trail.begin(NOW, restored=True)
    assert (found(trail), check_chain(trail).anchored_id) == ([], 10)
    with undone(database, "UPDATE audit SET actor = 'eve' WHERE id = 5"):
        assert found(trail) == [("edited", 5, 5)]


def test_an_anchor_that_the_disk_takes_in_part_leaves_nothing_behind(trail: AuditTrail) -> None:
    before = trail.seal.anchor_file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        assert not trail.seal.anchor(10, "0" * 64, NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert trail.seal.anchor_file.read_bytes() == before
    trail.record(event(11))
    trail.anchor_the_end(NOW)
    assert found(trail) == []


def test_a_key_that_the_disk_takes_in_part_is_made_anew_later(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(StorageError, match="No space left"):
            AuditSeal(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(AuditSeal(tmp_path).key_name) == 8


def test_an_anchor_that_could_not_be_written_is_written_later(trail: AuditTrail) -> None:
    trail.record(event(11))
    file, aside = trail.seal.anchor_file, trail.seal.anchor_file.with_suffix(".aside")
    file.rename(aside)
    file.mkdir()
    trail.anchor_the_end(NOW)
    file.rmdir()
    aside.rename(file)
    assert check_chain(trail).unanchored == 1
    trail.anchor_the_end(NOW)
    assert check_chain(trail).unanchored == 0


def test_every_hundredth_row_is_anchored_at_once_and_others_within_a_minute(
    audit: AuditTrail,
) -> None:
    for number in range(1, ANCHOR_EVERY + 3):
        audit.record(event(number))
    assert [anchor.id for anchor in audit.seal.anchors()] == [1, ANCHOR_EVERY]
    long_ago = audit.seal.anchor_file.stat().st_mtime - 61
    os.utime(audit.seal.anchor_file, (long_ago, long_ago))
    audit.record(event(0))
    audit.anchor_the_end(NOW)
    assert [anchor.id for anchor in audit.seal.anchors()][2:] == [ANCHOR_EVERY + 3]


def test_several_programs_write_one_chain(
    database_url: str, database: StateDatabase, tmp_path: Path
) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, database_url, str(tmp_path), f"w{number}", str(EACH)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(WRITERS)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.communicate(timeout=60) and writer.returncode for writer in writers] == [0] * 4
    trail = AuditTrail(database, AuditSeal(tmp_path))
    report = check_chain(trail)
    assert (report.is_sound, report.entries) == (True, WRITERS * EACH)
    for number in range(WRITERS):
        (page,) = trail.pages(AuditFilter(actor=f"w{number}"))
        assert len(page) == EACH


def test_entries_are_found_by_what_they_say_and_read_page_by_page(trail: AuditTrail) -> None:
    def ids(**wanted: object) -> list[int]:
        return [row.id for row in trail.entries(AuditFilter(**wanted), limit=3)]

    assert ids() == [10, 9, 8]
    assert [row.id for row in trail.entries(AuditFilter(), before_id=3)] == [2, 1]
    assert ids(target="line4") == [4]
    assert ids(action="process.*", outcome="done", actor="bob", origin="::1") == [10, 9, 8]
    assert ids(action="process") == ids(actor="b") == []
    assert ids(start=NOW + timedelta(seconds=3), end=NOW + timedelta(seconds=5)) == [4, 3]
    assert [row.id for page in trail.pages(AuditFilter()) for row in page] == list(range(1, 11))

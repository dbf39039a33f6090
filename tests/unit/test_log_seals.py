"""Rotated log files are sealed in a chain; every change of them afterwards is found."""

import contextlib
import json
import logging
import os
import random
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_plane.domain.seals import SealProblemKind, SealReport
from control_plane.logs.seal_chain import SealChain
from control_plane.logs.seal_check import check_seals
from control_plane.logs.sealer import LogSealer

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
BACKUPS = 4


class Plant:
    """A log that is written and rotated as supervisord does it, and its seals."""

    def __init__(self, home: Path) -> None:
        self.log_dir = home / "log"
        self.log_dir.mkdir()
        self.chain = SealChain(home / "seals")
        self.log = self.log_dir / "line1.log"
        self.log.write_bytes(b"")
        self.sealer = self.new_sealer()
        self.written = 0

    def new_sealer(self) -> LogSealer:
        return LogSealer(self.log_dir, self.chain, lambda: NOW, lambda _: BACKUPS)

    def rotated(self, number: int) -> Path:
        return self.log_dir / f"line1.log.{number}"

    def rotate(self, times: int = 1) -> None:
        for _ in range(times):
            self.written += 1
            self.log.write_text(f"line {self.written}\n" * 50)
            for number in range(BACKUPS, 0, -1):
                older = self.rotated(number)
                newer = self.rotated(number - 1) if number > 1 else self.log
                if newer.exists():
                    newer.replace(older)
            self.log.write_bytes(b"")

    def check(self, anchor: str = "") -> SealReport:
        return check_seals(self.log_dir, self.chain, anchor)

    def problems(self) -> list[tuple[SealProblemKind, str, int | None]]:
        return [(each.kind, each.file, each.number) for each in self.check().problems]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Return a plant whose files .4 to .1 have the seals 3 to 6."""
    plant = Plant(tmp_path)
    for _ in range(6):
        plant.rotate()
        assert plant.sealer.seal() == 1
    return plant


def test_what_only_rotates_is_sound(plant: Plant) -> None:
    report = plant.check()
    assert (report.problems, report.gaps) == ((), ())
    assert (report.seals, report.files) == (6, BACKUPS)
    assert report.unsealed == ("line1.log",)
    plant.rotate(2)
    report = plant.check()
    assert report.problems == ()
    assert report.unsealed == ("line1.log.1", "line1.log.2", "line1.log")
    assert plant.sealer.seal() == 2
    assert plant.sealer.seal() == 0
    assert plant.check().unsealed == ("line1.log",)


def edit(plant: Plant) -> None:
    with plant.rotated(2).open("r+b") as file:
        file.seek(20)
        file.write(b"X")


def edit_by_replacing(plant: Plant) -> None:
    text = plant.rotated(2).read_bytes().replace(b"5", b"X")
    plant.rotated(2).unlink()
    plant.rotated(2).write_bytes(text)


def edit_the_newest(plant: Plant) -> None:
    plant.rotated(1).write_bytes(plant.rotated(1).read_bytes().replace(b"l", b"L"))


def edit_and_keep_the_time(plant: Plant) -> None:
    status = plant.rotated(1).stat()
    edit_the_newest(plant)
    os.utime(plant.rotated(1), ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(plant: Plant) -> None:
    os.truncate(plant.rotated(3), 100)


def remove_one_between(plant: Plant) -> None:
    plant.rotated(2).unlink()


def remove_the_newest_and_close_ranks(plant: Plant) -> None:
    for number in range(1, BACKUPS):
        plant.rotated(number + 1).replace(plant.rotated(number))


def remove_the_oldest(plant: Plant) -> None:
    plant.rotated(4).unlink()


def remove_all(plant: Plant) -> None:
    for number in range(1, BACKUPS + 1):
        plant.rotated(number).unlink()


def swap(plant: Plant) -> None:
    aside = plant.log_dir / "aside"
    plant.rotated(2).replace(aside)
    plant.rotated(3).replace(plant.rotated(2))
    aside.replace(plant.rotated(3))


def copy_another(plant: Plant) -> None:
    plant.rotated(3).write_bytes(plant.rotated(2).read_bytes())


KIND = SealProblemKind
CHANGES = [
    (edit, [(KIND.EDITED, "line1.log.2", 5)]),
    (edit_by_replacing, [(KIND.EDITED, "line1.log.2", 5)]),
    (edit_the_newest, [(KIND.EDITED, "line1.log.1", 6)]),
    (edit_and_keep_the_time, [(KIND.EDITED, "line1.log.1", 6)]),
    (cut, [(KIND.CUT, "line1.log.3", 4)]),
    (remove_one_between, [(KIND.MISSING, "", 5)]),
    (remove_the_newest_and_close_ranks, [(KIND.MISSING, "", 6)]),
    (remove_the_oldest, [(KIND.MISSING, "", 3)]),
    (remove_all, [(KIND.MISSING, "", number) for number in (3, 4, 5, 6)]),
    (swap, [(KIND.SWAPPED, "line1.log.3", 5)]),
    (copy_another, [(KIND.SWAPPED, "line1.log.3", 5), (KIND.MISSING, "", 4)]),
]


@pytest.mark.parametrize(("change", "wanted"), CHANGES)
def test_every_change_of_a_sealed_file_is_found(
    plant: Plant, change: Callable[[Plant], None], wanted: list[object]
) -> None:
    change(plant)
    assert plant.problems() == wanted


@pytest.mark.parametrize("change", [change for change, _ in CHANGES])
def test_a_change_is_still_found_after_the_next_rotation(
    plant: Plant, change: Callable[[Plant], None]
) -> None:
    change(plant)
    plant.sealer.seal()
    plant.rotate()
    plant.sealer.seal()
    # The oldest would have been pushed out by now anyway.
    assert plant.problems() or change is remove_the_oldest


def test_files_that_came_and_went_unsealed_are_said(plant: Plant) -> None:
    plant.rotate(BACKUPS + 1)
    assert plant.problems() == []
    sealer = plant.new_sealer()
    assert sealer.seal() == BACKUPS
    report = plant.check()
    assert report.problems == ()
    assert [each.number for each in report.gaps] == [7]


def test_what_the_control_plane_removes_itself_is_not_missed(plant: Plant) -> None:
    assert plant.sealer.remove_rotated("line1.log") == 4 * 50 * len("line 1\n")
    assert plant.check().problems == ()
    plant.rotate(2)
    assert plant.new_sealer().seal() == 2
    report = plant.check()
    assert (report.problems, report.gaps, report.files) == ((), (), 2)


def test_a_changed_record_breaks_the_chain_there(plant: Plant, tmp_path: Path) -> None:
    file = tmp_path / "seals" / "log.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    record = json.loads(lines[3]) | {"size_bytes": 1}
    for forged in (
        [*lines[:3], json.dumps(record) + "\n", *lines[4:]],
        [*lines[:3], *lines[4:]],
        [*lines[:3], lines[4], lines[3], *lines[5:]],
        [*lines[:3], "[]\n", *lines[4:]],
    ):
        file.write_text("".join(forged))
        assert plant.problems()[0] == (KIND.CHAIN, "", 4)
    file.write_text("".join(lines))
    assert plant.problems() == []


def test_a_chain_whose_end_was_cut_off_is_found_by_the_newest_code(
    plant: Plant, tmp_path: Path
) -> None:
    newest = plant.check().newest
    assert plant.check(newest).problems == ()
    file = tmp_path / "seals" / "log.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    assert [each.kind for each in plant.check(newest).problems] == [KIND.CHAIN]


def test_a_record_that_a_crash_cut_is_written_again(plant: Plant, tmp_path: Path) -> None:
    file = tmp_path / "seals" / "log.jsonl"
    data = file.read_bytes()
    for end in random.Random(7).sample(range(len(data)), 20):
        file.write_bytes(data[:end])
        assert plant.new_sealer().seal() >= 1
        report = plant.check()
        assert report.problems == ()
        assert report.files == BACKUPS


@contextlib.contextmanager
def full_after(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: what goes past it is cut, as on a disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_record_that_a_full_disk_cut_is_written_again(plant: Plant, tmp_path: Path) -> None:
    plant.rotate()
    with full_after((tmp_path / "seals" / "log.jsonl").stat().st_size + 100):
        assert plant.sealer.seal() == 0
    assert plant.sealer.seal() == 1
    assert (plant.problems(), plant.check().files) == ([], BACKUPS)


def test_a_removal_that_a_full_disk_keeps_from_being_noted_is_noted_later(
    plant: Plant, tmp_path: Path
) -> None:
    with full_after((tmp_path / "seals" / "log.jsonl").stat().st_size):
        assert plant.sealer.remove_rotated("line1.log") > 0
    plant.rotate()
    assert plant.sealer.seal() == 1
    assert plant.problems() == []


def test_a_full_disk_makes_no_short_key(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.rotate()
    with full_after(10):
        assert plant.sealer.seal() == 0
    assert plant.sealer.seal() == 1
    assert len(bytes.fromhex((tmp_path / "seals" / "log.key").read_text())) == 32
    (tmp_path / "seals" / "log.key").write_text("")
    assert plant.problems()[0][0] is KIND.KEY


def test_without_its_key_a_chain_proves_nothing(plant: Plant, tmp_path: Path) -> None:
    key = tmp_path / "seals" / "log.key"
    assert key.stat().st_mode & 0o777 == 0o600
    kept = key.read_text()
    key.unlink()
    assert [each.kind for each in plant.check().problems] == [KIND.KEY]
    key.write_text("00" * 32)
    assert plant.problems()[0] == (KIND.CHAIN, "", 1)
    key.write_text(kept)
    assert plant.problems() == []


def test_a_log_directory_that_cannot_be_read_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant = Plant(tmp_path)
    plant.rotate()
    plant.log_dir.rename(tmp_path / "away")
    with caplog.at_level(logging.INFO):
        assert [plant.sealer.seal() for _ in range(3)] == [0, 0, 0]
        (tmp_path / "away").rename(plant.log_dir)
        assert plant.sealer.seal() == 1
    assert [each.levelname for each in caplog.records] == ["ERROR", "INFO"]


def test_many_logs_share_one_chain(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    for number in range(3):
        plant.rotate()
        (plant.log_dir / "other.log.1").write_text(f"{number}\n")
        plant.sealer.seal()
    report = plant.check()
    assert {each.log for each in report.problems} == {"other.log"}
    assert report.files == 3

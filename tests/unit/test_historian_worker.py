"""One store's worker: in order and live first, apart from others, and nothing is ever forgotten."""

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from collectors.contract.points import Quality, Sample, series_key
from collectors.history.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker
from collectors.history.clocks import Clocks
from collectors.history.dead_letters import KEPT_FILES, DeadLetters
from collectors.history.ledger import Ledger
from collectors.history.segment import list_segments
from collectors.history.spool import SpoolWriter
from collectors.history.spool_reader import Record
from collectors.history.spool_tail import SpoolTail
from collectors.history.store import Appended, Refusal, StoreUnavailable
from collectors.history.store_worker import StoreWorker

_SERIES = "line1/plc/x"


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class MemoryStore:
    """Keeps samples by series and time, and can be told to die, to forget and to refuse."""

    name = "memory"

    def __init__(self, replay_window_s: float = 10.0) -> None:
        self.replay_window_s = replay_window_s
        self.kept: dict[tuple[str, int], object] = {}
        self.appended: list[object] = []
        self.boot = "1"
        self.failure: StoreUnavailable | None = None
        self.refuses: Callable[[Sample], bool] = lambda sample: False

    def append(self, collector: str, records: Sequence[Record]) -> Appended:
        if self.failure is not None:
            raise self.failure
        refusals = []
        for record in records:
            for sample in record.batch.samples():
                if self.refuses(sample):
                    refusals.append(Refusal(record.sequence, sample, "not with me"))
                else:
                    self.kept[series_key(collector, sample.point), sample.source_ns] = sample.value
                    self.appended.append(sample.value)
        return Appended(sum(len(record.batch) for record in records), refusals)

    def die(self, forgotten: int) -> None:
        """Start again without the samples that were confirmed last."""
        self.boot = str(int(self.boot) + 1)
        for key in list(self.kept)[len(self.kept) - forgotten :]:
            del self.kept[key]

    def values(self, series: str = _SERIES) -> list[object]:
        return [value for (name, _), value in sorted(self.kept.items()) if name == series]

    def sync(self) -> None:
        """Keep nothing back."""

    def boot_id(self) -> str | None:
        if self.failure is not None:
            raise self.failure
        return self.boot

    def close(self) -> None:
        """Hold nothing."""


class Plant:
    """A home with spools, one store and its worker."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = Clock()
        self.store = MemoryStore()
        self.worker = self.new_worker()
        self.spools: dict[str, SpoolWriter] = {}
        self.counts: dict[str, int] = {}
        self.wall_ns = time.time_ns()

    def new_worker(self) -> StoreWorker:
        return StoreWorker(self.home, self.store, monotonic=self.clock)

    def put(self, records: int, name: str = "line1", *, age_s: float = 0.0) -> None:
        """Put numbered samples, one a record, whose records are ``age_s`` old."""
        directory = self.home / "spool" / name
        if name not in self.spools:
            self.spools[name] = SpoolWriter(
                directory,
                max_bytes=10_000_000,
                max_age_s=1e6,
                segment_bytes=2000,
                clocks=Clocks(wall_ns=lambda: self.wall_ns),
            )
        self.wall_ns = time.time_ns() - int(age_s * 1e9)
        for _ in range(records):
            number = self.counts.get(name, 0)
            self.counts[name] = number + 1
            at_ns = self.wall_ns + number
            sample = Sample(
                point="plc/x",
                value=number,
                quality=Quality.GOOD,
                source_ns=at_ns,
                received_ns=at_ns,
            )
            assert self.spools[name].put([sample])

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass and do all work that is there."""
        for _ in range(max(1, int(seconds))):
            self.clock.now_s += 1.0 if seconds else 0.0
            while self.worker.round():
                pass

    def restart(self) -> None:
        """Go on as a historian does that was killed."""
        self.worker = self.new_worker()

    def ledger(self, name: str = "line1") -> Ledger:
        self.worker.commit()
        return self.worker.status.drains[name].ledger


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    plant = Plant(tmp_path)
    yield plant
    plant.worker.close()
    for spool in plant.spools.values():
        spool.close()


def test_a_store_that_forgets_its_newest_samples_gets_them_again(plant: Plant) -> None:
    for _ in range(30):
        plant.put(10)
        plant.run(1)
    plant.store.die(forgotten=90)
    assert len(plant.store.values()) == 210
    plant.run(2)
    assert plant.store.values() == list(range(300))
    ledger = plant.ledger()
    assert (ledger.stored, ledger.sequence, ledger.dropped) == (300, 300, 0)


def test_without_a_restart_nothing_is_stored_twice(plant: Plant) -> None:
    for _ in range(30):
        plant.put(10)
        plant.run(1)
    plant.store.failure = StoreUnavailable("compacting")
    plant.put(10)
    plant.run(5)
    plant.store.failure = None
    plant.run(60)
    assert plant.store.appended == list(range(310))


def test_a_connection_that_failed_counts_as_a_restart_if_the_store_tells_none(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plant.store, "boot_id", lambda: None)
    for _ in range(30):
        plant.put(10)
        plant.run(1)
    plant.store.die(forgotten=90)
    plant.store.failure = StoreUnavailable("connection reset", was_cut=True)
    plant.put(1)
    plant.run(1)
    plant.store.failure = None
    plant.run(60)
    assert plant.store.values() == list(range(301))


def test_a_killed_historian_stores_its_window_again_and_counts_it_once(plant: Plant) -> None:
    for _ in range(30):
        plant.put(10)
        plant.run(1)
    plant.restart()
    plant.run(1)
    assert plant.store.values() == list(range(300))
    assert 300 < len(plant.store.appended) <= 300 + 11 * 10
    assert plant.ledger().stored == 300


def test_a_store_that_died_together_with_the_historian_gets_its_window_again(plant: Plant) -> None:
    for _ in range(30):
        plant.put(10)
        plant.run(1)
    plant.store.die(forgotten=90)
    plant.restart()
    plant.run(1)
    assert plant.store.values() == list(range(300))


def test_segments_within_the_replay_window_stay(plant: Plant) -> None:
    plant.put(200)
    segments = len(list_segments(plant.home / "spool" / "line1"))
    assert segments > 3
    plant.run(5)
    assert len(list_segments(plant.home / "spool" / "line1")) == segments
    plant.run(10)
    assert len(list_segments(plant.home / "spool" / "line1")) == 1


def test_far_behind_the_newest_samples_come_first_and_each_is_stored_once(plant: Plant) -> None:
    plant.put(5000, age_s=600)
    plant.put(20)
    plant.worker.round()
    plant.put(5)
    plant.worker.round()
    behind = plant.worker.status.drains["line1"]
    assert behind.live is not None
    plant.run(1)
    assert plant.store.values() == list(range(5025))
    # The first two batches are those of the round in which it turns out that the store is late.
    first = int(str(plant.store.appended[1000]))
    assert 5000 <= first < 5020
    assert plant.store.appended[1000 : 1000 + 5025 - first] == list(range(first, 5025))
    assert len(plant.store.appended) == 5025
    ledger = plant.ledger()
    assert (ledger.stored, ledger.sequence, ledger.dropped) == (5025, 5025, 0)
    assert plant.worker.status.drains["line1"].live is None


def test_a_restart_between_both_lanes_loses_nothing(plant: Plant) -> None:
    plant.put(5000, age_s=600)
    plant.put(20)
    for _ in range(4):
        plant.worker.round()
    plant.worker.commit()
    assert plant.worker.status.drains["line1"].live is not None
    plant.restart()
    plant.run(1)
    assert plant.store.values() == list(range(5020))
    assert plant.ledger().stored == 5020


def test_a_store_that_dies_between_both_lanes_gets_all_again(plant: Plant) -> None:
    plant.put(5000, age_s=600)
    plant.put(20)
    for _ in range(4):
        plant.worker.round()
    plant.store.die(forgotten=1000)
    plant.run(3)
    assert plant.store.values() == list(range(5020))
    assert plant.ledger().stored == 5020


def test_a_rewind_to_late_records_counts_none_of_them_twice(plant: Plant) -> None:
    plant.put(3000, age_s=600)
    plant.put(20)
    plant.run(1)
    plant.store.die(forgotten=2000)
    plant.put(1)
    plant.run(3)
    assert plant.store.values() == list(range(3021))
    ledger = plant.ledger()
    assert (ledger.stored, ledger.sequence - ledger.since, ledger.dropped) == (3021, 3021, 0)


def test_records_dropped_before_they_were_stored_are_counted(plant: Plant) -> None:
    plant.put(300)
    firsts = list_segments(plant.home / "spool" / "line1")
    (plant.home / "spool" / "line1" / f"{firsts[1]:020d}.seg").unlink()
    plant.run(1)
    ledger = plant.ledger()
    assert ledger.dropped == firsts[2] - firsts[1]
    assert ledger.stored + ledger.dropped == ledger.sequence == 300


def test_samples_that_the_spool_could_not_keep_are_told_to_the_ledger(plant: Plant) -> None:
    plant.put(10)
    plant.run(1)
    at_ns = plant.wall_ns
    huge = Sample(
        point="plc/x", value=2**70, quality=Quality.GOOD, source_ns=at_ns, received_ns=at_ns
    )
    plant.spools["line1"].put([huge])
    plant.put(1)
    plant.run(1)
    ledger = plant.ledger()
    assert (ledger.samples_dropped, ledger.samples_stored, ledger.dropped) == (1, 11, 0)


def test_what_the_store_refuses_is_kept_with_its_words_and_stops_nothing(plant: Plant) -> None:
    plant.store.refuses = lambda sample: sample.value in (3, 7)
    plant.put(10)
    plant.run(1)
    assert plant.store.values() == [0, 1, 2, 4, 5, 6, 8, 9]
    lines = (plant.home / "dead" / "memory" / "line1.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(line["series"], line["value"]) for line in found] == [(_SERIES, 3), (_SERIES, 7)]
    assert {line["reason"] for line in found} == {"not with me"}
    ledger = plant.ledger()
    assert (ledger.stored, ledger.dead, ledger.samples_dead, ledger.sequence) == (8, 2, 2, 10)
    # Refused again after a crash, it is neither counted nor kept again.
    plant.store.die(forgotten=5)
    plant.run(1)
    assert plant.ledger().dead == 2
    assert (plant.home / "dead" / "memory" / "line1.jsonl").read_text().splitlines() == lines


def test_while_a_store_is_lost_it_is_asked_with_one_batch_only(plant: Plant) -> None:
    attempts: list[str] = []
    append = plant.store.append

    def counted(collector: str, records: Sequence[Record]) -> Appended:
        attempts.append(collector)
        return append(collector, records)

    plant.store.append = counted  # type: ignore[method-assign] # to count the attempts
    for name in ("line1", "line2", "line3"):
        plant.put(5, name)
    plant.store.failure = StoreUnavailable("HTTP 503: busy")
    plant.run(40)
    # Within 40 s, pauses of 0 to 0.5, 1, 2, 4, … 30 s leave room for some dozens at most.
    assert 3 <= len(attempts) <= 40
    assert len(set(attempts[1:])) == 1
    assert "503" in (plant.worker.status.error or "")
    plant.store.failure = None
    plant.run(61)
    assert plant.worker.status.error is None
    assert {name for name, _ in plant.store.kept} == {f"line{n}/plc/x" for n in (1, 2, 3)}


def test_the_pause_that_a_store_asks_for_is_kept(plant: Plant) -> None:
    plant.put(1)
    plant.store.failure = StoreUnavailable("HTTP 429: slow down", retry_after_s=100.0)
    plant.run(1)
    plant.store.failure = None
    plant.run(99)
    assert plant.store.values() == []
    plant.run(4)
    assert plant.store.values() == [0]


def test_a_store_that_comes_back_with_nothing_new_to_store_still_gets_its_window(
    plant: Plant,
) -> None:
    for _ in range(5):
        plant.put(10)
        plant.run(1)
    plant.store.die(forgotten=20)
    plant.store.failure = StoreUnavailable("connection refused", was_cut=True)
    plant.run(5)
    plant.store.failure = None
    plant.run(61)
    assert plant.store.values() == list(range(50))


def test_a_spool_begun_anew_under_its_old_name_is_stored_from_its_start(plant: Plant) -> None:
    plant.put(50)
    plant.run(1)
    plant.spools.pop("line1").close()
    directory = plant.home / "spool" / "line1"
    directory.rename(plant.home / "old")
    plant.put(5)
    plant.run(1)
    assert plant.store.values() == list(range(55))
    assert plant.ledger().stored == 5


def test_the_tail_tells_the_newest_record_also_behind_damage(plant: Plant) -> None:
    plant.put(10)
    directory = plant.home / "spool" / "line1"
    tail = SpoolTail(directory)
    assert tail.newest() == 10
    with (directory / f"{list_segments(directory)[-1]:020d}.seg").open("ab") as segment:
        segment.write(b"\xff" * 50)
    assert tail.newest() == 10
    plant.put(100)
    assert tail.newest() == 110
    assert SpoolTail(plant.home / "nothing").newest() == 0


def test_pauses_grow_are_random_and_end_with_a_success() -> None:
    clock = Clock()
    breaker = Breaker(monotonic=clock, rng=random.Random(1))
    assert breaker.is_due
    pauses = []
    for _ in range(200):
        breaker.failed()
        assert breaker.is_open
        pauses.append(breaker.pause_s())
        clock.now_s += breaker.pause_s()
        assert breaker.is_due
    assert pauses[0] <= FIRST_PAUSE_S
    assert max(pauses) <= LONGEST_PAUSE_S
    assert max(pauses) > 0.9 * LONGEST_PAUSE_S
    assert min(pauses[20:]) < 0.1 * LONGEST_PAUSE_S
    breaker.succeeded()
    assert not breaker.is_open


def test_dead_letters_are_bounded(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, file_bytes=1000)
    sample = Sample(point="plc/x", value=1, quality=Quality.GOOD, source_ns=1, received_ns=1)
    for number in range(100):
        letters.bury("line1", [Refusal(number, sample, "no")])
    files = sorted(path.name for path in tmp_path.iterdir())
    numbered = [f"line1.jsonl.{n}" for n in range(1, KEPT_FILES + 1)]
    assert set(files) - {"line1.jsonl"} == set(numbered)
    assert all(path.stat().st_size < 1300 for path in tmp_path.iterdir())

"""A spool with a clock that tests move, and what is in it."""

from pathlib import Path

from collectors.contract.points import Quality, Sample, Value
from collectors.history.clocks import Clocks
from collectors.history.spool import SpoolWriter
from collectors.history.spool_reader import Record, SpoolReader

START_NS = 1_790_000_000 * 10**9


class Clock:
    """A wall clock and a monotonic clock that move together, when told."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.step_ns = 0

    def wall_ns(self) -> int:
        return START_NS + int(self.elapsed_s * 1e9) + self.step_ns

    def monotonic(self) -> float:
        return self.elapsed_s


def reading(value: Value, *, point: str = "plc/temperature", at_ns: int = START_NS) -> Sample:
    return Sample(
        point=point, value=value, quality=Quality.GOOD, source_ns=at_ns, received_ns=at_ns
    )


def open_spool(
    directory: Path,
    clock: Clock | None = None,
    *,
    max_bytes: int = 10_000_000,
    max_age_s: float = 3600.0,
    segment_bytes: int = 8 << 20,
    keeps_oldest: bool = False,
) -> SpoolWriter:
    clock = clock or Clock()
    return SpoolWriter(
        directory,
        max_bytes=max_bytes,
        max_age_s=max_age_s,
        segment_bytes=segment_bytes,
        keeps_oldest=keeps_oldest,
        clocks=Clocks(wall_ns=clock.wall_ns, monotonic=clock.monotonic),
    )


def read_all(directory: Path) -> list[Record]:
    reader = SpoolReader(directory, "test")
    records = reader.read(1_000_000)
    reader.close()
    return records


def values(records: list[Record]) -> list[Value | None]:
    return [sample.value for record in records for sample in record.batch.samples()]


def disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*.seg"))

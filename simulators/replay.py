"""A recorded course of values, read from a CSV file."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_MAX_BYTES = 64_000_000


class ReplayError(Exception):
    """The file cannot be replayed; ``code`` is that of a sentence, ``params`` fill it."""

    def __init__(self, code: str, **params: object) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


@dataclass(frozen=True, slots=True)
class Recording:
    """Values and the seconds at which each began, from 0 up."""

    times_s: Sequence[float]
    values: Sequence[float]


@lru_cache(maxsize=64)
def read_recording(path: Path, column: str) -> Recording:
    """Read ``column`` of a CSV file with a header; the first column is the time in seconds.

    Raises:
        ReplayError: not readable, no such column, or a row that is wrong; tells its number.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ReplayError("csv_too_large", file=path, limit_mb=_MAX_BYTES // 1_000_000)
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _read(path, csv.reader(stream), column)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ReplayError("csv_unreadable", file=path, reason=reason) from None


def _read(path: Path, rows: Iterable[list[str]], column: str) -> Recording:
    lines = enumerate(rows, 1)
    _, header = next(lines, (0, []))
    if column not in header[1:]:
        known = ", ".join(header[1:])
        raise ReplayError("csv_column", file=path, column=column, known=known)
    at = header.index(column, 1)
    times: list[float] = []
    values: list[float] = []
    for line, row in lines:
        if not any(row):
            continue
        try:
            time_s, value = float(row[0]), float(row[at])
        except (ValueError, IndexError):
            raise ReplayError("csv_row", file=path, line=line, column=column) from None
        if not math.isfinite(time_s) or (times and time_s <= times[-1]):
            raise ReplayError("csv_time", file=path, line=line)
        times.append(time_s)
        values.append(value)
    if not times:
        raise ReplayError("csv_empty", file=path)
    return Recording([time_s - times[0] for time_s in times], values)

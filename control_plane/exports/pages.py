"""Reads the history of several series piece by piece, so that memory stays small.

Works with every reader of :mod:`collectors.history.read` and asks nothing more of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from collectors.contract.points import Value
from collectors.history.read import Bucket, HistoryReader, SeriesRange

PAGE_ROWS = 5000
_FIRST_SPAN_NS = 3600 * 10**9
_GROWTH = 4
_BUCKETS_A_PAGE = 2000

Cell = Value | None
Row = tuple[int, tuple[Cell, ...]]
"""A time in ns, and the cells of :attr:`ExportRequest.columns`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What is to be exported; times are ns since the Unix epoch, UTC.

    Attributes:
        units: The unit of each series, as in its configuration.
        width_ns: Width of the buckets, which begin at its multiples; 0 for all samples.
    """

    units: Mapping[str, str]
    start_ns: int
    end_ns: int
    width_ns: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Codes of the columns after the two of the time."""
        if self.width_ns:
            return ("series", "min", "mean", "max", "unit", "count", "bad")
        return ("series", "value", "unit", "quality", "code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows; ``fraction`` is the part of all series and their time done with them, 0..1."""

    rows: list[Row]
    fraction: float


def pages(reader: HistoryReader, asked: ExportRequest) -> Iterator[Page]:
    """Yield the rows series by series, in order of time.

    Raises:
        HistoryError: the store cannot be read.
    """
    one = _buckets_of if asked.width_ns else _samples_of
    span_ns = asked.end_ns - asked.start_ns
    for number, series in enumerate(asked.units):
        for rows, done_ns in one(reader, asked, series):
            part = min(1.0, (done_ns - asked.start_ns) / span_ns)
            yield Page(rows=rows, fraction=(number + part) / len(asked.units))


def count_samples(reader: HistoryReader, asked: ExportRequest, limit: int) -> int:
    """Return how many samples there are, or a number above ``limit`` as soon as there are more.

    Raises:
        HistoryError: the store cannot be read.
    """
    count = 0
    for series in asked.units:
        found = reader.range(series, asked.start_ns, asked.end_ns, buckets=1)
        count += sum(bucket.good + bucket.bad for bucket in found.buckets)
        if count > limit:
            break
    return count


_Rows = Iterator[tuple[list[Row], int]]
"""Rows, and the time up to which they are complete."""


def _samples_of(reader: HistoryReader, asked: ExportRequest, series: str) -> _Rows:
    """Ask for spans that hold about a page; a span that holds more answers with counts."""
    unit = asked.units[series]
    at, span_ns = asked.start_ns, _FIRST_SPAN_NS
    while at < asked.end_ns:
        upto = min(at + span_ns, asked.end_ns)
        found = reader.range(series, at, upto, buckets=PAGE_ROWS)
        if found.resolution_ns:
            # Whatever the answer, less is asked for next, so this ends.
            span_ns = min(_span_of_a_page(found, at), (upto - at) // 2) or 1
            continue
        rows: list[Row] = [
            (each.source_ns, (series, each.value, unit, each.quality.name.lower(), each.code))
            for each in found.samples
        ]
        yield rows, upto
        at = upto
        if len(rows) * _GROWTH < max(PAGE_ROWS, _GROWTH + 1):
            span_ns *= _GROWTH


def _span_of_a_page(found: SeriesRange, start_ns: int) -> int:
    """Return how much time from ``start_ns`` on holds at most a page of samples; never 0."""
    count, upto = 0, start_ns
    for bucket in found.buckets:
        count += bucket.good + bucket.bad
        if count > PAGE_ROWS:
            break
        upto = bucket.start_ns + found.resolution_ns
    # If the first bucket alone holds more, a part of it is asked for next.
    return upto - start_ns or found.resolution_ns


def _buckets_of(reader: HistoryReader, asked: ExportRequest, series: str) -> _Rows:
    width_ns, unit = asked.width_ns, asked.units[series]
    at = asked.start_ns - asked.start_ns % width_ns
    while at < asked.end_ns:
        upto = at + width_ns * _BUCKETS_A_PAGE
        upto = min(upto, -(-asked.end_ns // width_ns) * width_ns)
        parts: dict[int, list[Bucket]] = {}
        for bucket in _parts(reader, series, at, upto, width_ns):
            start_ns = bucket.start_ns - bucket.start_ns % width_ns
            parts.setdefault(start_ns, []).append(bucket)
        yield [(t_ns, (series, *_joined(each, unit))) for t_ns, each in sorted(parts.items())], upto
        at = upto


def _parts(
    reader: HistoryReader, series: str, start_ns: int, end_ns: int, width_ns: int
) -> Iterator[Bucket]:
    """Yield buckets none of which lies over a boundary of ours."""
    found = reader.range(series, start_ns, end_ns, buckets=(end_ns - start_ns) // width_ns)
    if found.resolution_ns == 0 or width_ns % found.resolution_ns == 0:
        yield from found.buckets
        return
    # The store has a coarser grid of its own here; then bucket by bucket.
    for at in range(start_ns, end_ns, width_ns):
        yield from reader.range(series, at, at + width_ns, buckets=1).buckets


def _joined(parts: list[Bucket], unit: str) -> tuple[Cell, ...]:
    minima = [part.minimum for part in parts if part.minimum is not None]
    maxima = [part.maximum for part in parts if part.maximum is not None]
    good = sum(part.good for part in parts)
    # Samples of text have no mean; a series does not mix the two.
    numbers = sum(part.good for part in parts if part.mean is not None)
    total = sum(part.mean * part.good for part in parts if part.mean is not None)
    mean = parts[0].mean if len(parts) == 1 else total / numbers if numbers else None
    return (
        min(minima, default=None),
        mean,
        max(maxima, default=None),
        unit,
        good,
        sum(part.bad for part in parts),
    )

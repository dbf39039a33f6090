"""Answers questions from the files of the embedded store; never writes and never waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collectors.contract.points import Quality, Sample
from collectors.history.embedded.live_reader import (
    LivePart,
    latest_values,
    read_live,
    series_names,
)
from collectors.history.embedded.points import Floats, Points
from collectors.history.embedded.range_query import Answer, RangeQuery, reading
from collectors.history.embedded.schema import LIVE
from collectors.history.read import Bucket, LatestValue, SeriesRange
from collectors.history.values import Kind, Raw, typed


class EmbeddedReader:
    """Reads the files of the embedded store in ``directory``; they need not exist yet.

    Files are opened for each question, so a day that is deleted or begun is noticed at once.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def series(self, prefix: str) -> list[str]:
        with reading(self._directory / LIVE) as live:
            return [] if live is None else series_names(live, prefix)

    def latest(self, series: Sequence[str]) -> dict[str, LatestValue]:
        with reading(self._directory / LIVE) as live:
            return {} if live is None else latest_values(live, series)

    def range(self, series: str, start_ns: int, end_ns: int, *, buckets: int | None) -> SeriesRange:
        if end_ns <= start_ns:
            raise ValueError(f"the range ends at {end_ns} ns, not after its start, {start_ns} ns")
        if buckets is not None and buckets < 1:
            raise ValueError(f"{buckets} buckets asked for, at least 1 is needed")
        # First of all: what is sealed meanwhile is then found twice, never missed.
        live: LivePart | None = None
        with reading(self._directory / LIVE) as file:
            if file is not None:
                live = read_live(file, series, start_ns, end_ns)
        query = RangeQuery(self._directory, series, start_ns, end_ns, live)
        answer = query.all_samples() if buckets is None else query.in_buckets(buckets)
        samples = tuple(_samples(series, answer.samples))
        return SeriesRange(
            series=series,
            start_ns=start_ns,
            end_ns=end_ns,
            resolution_ns=answer.grid.width_ns if answer.grid else 0,
            buckets=tuple(_buckets(answer)) or tuple(map(Bucket.of, samples)),
            samples=samples,
            gaps=live.gaps if live is not None else (),
        )


def _samples(series: str, points: Points) -> Iterator[Sample]:
    point = series.partition("/")[2]
    columns = zip(
        points.kinds.tolist(),
        _raws(points),
        points.qualities.tolist(),
        points.codes.tolist(),
        points.source_ns.tolist(),
        points.received_ns.tolist(),
        strict=True,
    )
    for kind, raw, quality, code, source_ns, received_ns in columns:
        yield Sample(
            point=point,
            value=typed(kind, raw),
            quality=Quality(quality),
            code=code,
            source_ns=source_ns,
            received_ns=received_ns,
        )


def _raws(points: Points) -> Iterator[Raw]:
    floats = points.bits.view(np.float64).tolist()
    for kind, bits, number in zip(points.kinds.tolist(), points.bits.tolist(), floats, strict=True):
        if kind == Kind.FLOAT:
            yield number
        elif kind == Kind.STR:
            yield points.texts[bits]
        else:
            yield None if kind == Kind.NONE else bits


def _buckets(answer: Answer) -> Iterator[Bucket]:
    if answer.grid is None or answer.summaries is None:
        return
    grid, found = answer.grid, answer.summaries
    is_number = found.numbers > 0
    mean = found.total / np.maximum(found.numbers, 1)
    if not np.isfinite(mean).all():
        # The sum can be too large for a float; then the middle is as good an answer.
        with np.errstate(invalid="ignore"):
            mean = np.where(np.isfinite(mean), mean, found.minimum / 2 + found.maximum / 2)
    rows = zip(
        (grid.origin_ns + found.keys * grid.width_ns).tolist(),
        _or_none(found.minimum, is_number),
        _or_none(mean, is_number),
        _or_none(found.maximum, is_number),
        found.good.tolist(),
        found.bad.tolist(),
        strict=True,
    )
    for start_ns, minimum, average, maximum, good, bad in rows:
        yield Bucket(
            start_ns=start_ns, minimum=minimum, mean=average, maximum=maximum, good=good, bad=bad
        )


def _or_none(values: Floats, is_number: NDArray[np.bool_]) -> list[float | None]:
    found: list[float | None] = values.tolist()
    if is_number.all():
        return found
    return [value if here else None for value, here in zip(found, is_number.tolist(), strict=True)]

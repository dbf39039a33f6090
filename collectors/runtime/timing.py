"""How punctual the cycles of a poll group were in the last minute."""

import math
from collections import Counter, deque
from collections.abc import Iterable

from collectors.contract.heartbeat import GroupTiming

_PART_S = 10.0
_PARTS = 6
_STEPS_PER_DOUBLING = 8
"""A bucket is 9 % wide: exact enough for a percentile, and small for millions of cycles."""


class Punctuality:
    """Lateness and duration of the cycles of one group id and interval, over all devices."""

    def __init__(self, group_id: str, interval_s: float) -> None:
        self._group_id = group_id
        self._interval_s = interval_s
        self._late: deque[Counter[int]] = deque([Counter()], maxlen=_PARTS)
        self._took: deque[Counter[int]] = deque([Counter()], maxlen=_PARTS)
        self._part_ends_mono = -math.inf

    def note(self, due_mono: float, started_mono: float, ended_mono: float) -> None:
        """Count one cycle."""
        if ended_mono >= self._part_ends_mono:
            self._part_ends_mono = ended_mono + _PART_S
            self._late.append(Counter())
            self._took.append(Counter())
        self._late[-1][_bucket(started_mono - due_mono)] += 1
        self._took[-1][_bucket(ended_mono - started_mono)] += 1

    def timing(self) -> GroupTiming:
        """Return the figures of the last minute."""
        late, took = _sum(self._late), _sum(self._took)
        cycles = late.total()
        return GroupTiming(
            group_id=self._group_id,
            interval_s=self._interval_s,
            cycles=cycles,
            late_p50_ms=_percentile_ms(late, 0.5) if cycles else None,
            late_p99_ms=_percentile_ms(late, 0.99) if cycles else None,
            read_p99_ms=_percentile_ms(took, 0.99) if cycles else None,
        )


def _sum(parts: Iterable[Counter[int]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for part in parts:
        total.update(part)
    return total


def _bucket(seconds: float) -> int:
    return int(math.log2(max(0.0, seconds) * 1e6 + 1) * _STEPS_PER_DOUBLING)


def _percentile_ms(buckets: Counter[int], share: float) -> float:
    """Return the upper edge of the bucket that holds this share of all."""
    wanted, seen = share * buckets.total(), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted:
            break
    return float(round((2 ** ((bucket + 1) / _STEPS_PER_DOUBLING) - 1) / 1000, 3))

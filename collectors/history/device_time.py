"""Which time a sample is stored under when the device's clock cannot be right."""

from collections.abc import Sequence
from operator import sub

from collectors.contract.points import Quality
from collectors.history.batch import Batch

CLOCK_BEHIND_NS = 30 * 86_400 * 10**9
CLOCK_AHEAD_NS = 3600 * 10**9
"""A device clock that differs more from ours is taken for wrong."""


def trusted_times(batch: Batch) -> tuple[Sequence[int], Sequence[int]]:
    """Return the time (ns since the Unix epoch) and the quality to store for each sample.

    A device with a wrong clock would write into a day long past, or in the future hide its own
    newer values for years. Such a sample is stored under our receive time, as uncertain.
    """
    behind_ns = [*map(sub, batch.received_ns, batch.source_ns)]
    if max(behind_ns) <= CLOCK_BEHIND_NS and min(behind_ns) >= -CLOCK_AHEAD_NS:
        return batch.source_ns, batch.qualities
    times_ns, qualities = list(batch.source_ns), list(batch.qualities)
    for index, difference_ns in enumerate(behind_ns):
        if not -CLOCK_AHEAD_NS <= difference_ns <= CLOCK_BEHIND_NS:
            times_ns[index] = batch.received_ns[index]
            qualities[index] = max(qualities[index], Quality.UNCERTAIN)
    return times_ns, qualities

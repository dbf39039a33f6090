"""Look stored values up in the record of what a simulator has served."""

import bisect
from collections import defaultdict


class Truth:
    """When each value of each signal left its device in an answer that one may believe."""

    def __init__(self, lines):
        self._times = defaultdict(list)
        for line in lines:
            if "spoilt" in line or line.get("status") or "values" not in line:
                continue
            t_ns = line.get("t_ns", line.get("source_ns"))
            for name, value in line["values"].items():
                self._times[f"{line['device']}/{name}", value].append(t_ns)

    def had(self, sample, earliest_ns, latest_ns):
        times = self._times.get((sample.point, sample.value), ())
        at = bisect.bisect_left(times, earliest_ns)
        return at < len(times) and times[at] <= latest_ns


def wrong(protocol, samples, truth):
    """Return the good samples that the device did not have at their time."""
    found = []
    for sample in samples:
        if protocol == "opcua":
            # The server's own time, in whole microseconds.
            window = sample.source_ns - 1000, sample.source_ns + 1000
        else:
            # The middle of request and answer; the clocks of two processes differ by little.
            half_ns = sample.received_ns - sample.source_ns + 2_000_000
            window = sample.source_ns - half_ns, sample.source_ns + half_ns
        if not truth.had(sample, *window):
            found.append(sample)
    return found

"""Does something come and go? The weighted share of changes, as Nagios computes it.

The newest of the 20 changes between 21 states counts 1.25, the oldest 0.75 (Nagios Core,
base/flapping.c).
"""

from typing import Final

STATES: Final = 21
START_PERCENT: Final = 30.0
STOP_PERCENT: Final = 10.0
_OLDEST, _NEWEST = 0.75, 1.25
_CHANGES = STATES - 1


def remember(history: int, is_bad: bool) -> int:
    """Return the history, one bit a state and the newest lowest, with one state more."""
    return ((history << 1) | is_bad) & ((1 << STATES) - 1)


def change_percent(history: int) -> float:
    """Return 0 for a history without a change, 100 for one that changes each time."""
    changed = history ^ (history >> 1)
    weights = (
        _NEWEST - (_NEWEST - _OLDEST) * age / (_CHANGES - 1)
        for age in range(_CHANGES)
        if changed >> age & 1
    )
    return 100.0 * sum(weights) / _CHANGES

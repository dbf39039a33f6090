"""How a value keeps its type where only numbers and text can be stored.

Spool and embedded store both keep a kind beside the raw value: a bool is not the integer 1, and
an unsigned 64-bit counter does not fit the signed integers that SQLite knows.
"""

import enum

from collectors.contract.points import Value

Raw = int | float | str | None
"""What is stored; :func:`typed` turns it back into the value."""

UINT64_SPAN = 2**64
INT64_MAX = 2**63 - 1


class Kind(enum.IntEnum):
    """The type of a stored value. The numbers are stored, so they never change."""

    NONE = 0
    BOOL = 1
    INT = 2
    BIG = 3
    """An integer of 2^63 up to 2^64 - 1, stored less 2^64, so that it fits a signed integer."""
    FLOAT = 4
    STR = 5


def typed(kind: int, raw: Raw) -> Value | None:
    """Return the value that was stored as ``raw``, with its own type."""
    if kind == Kind.BOOL:
        return bool(raw)
    if kind == Kind.BIG and isinstance(raw, int):
        return raw + UINT64_SPAN
    return raw

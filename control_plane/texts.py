"""The console's sentences and tables."""

import unicodedata
from collections.abc import Callable, Sequence

from collectors.contract.messages import sentence

Text = Callable[..., str]
"""Returns the sentence of a code, filled with the keyword arguments."""


def texts_in(language: str) -> Text:
    """Return a function that looks sentences up in ``language``."""

    def text(code: str, **params: object) -> str:
        return sentence("control_plane", code, params, language)

    return text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns; Chinese characters take two cells of a terminal."""
    lines = [list(head), *map(list, rows)]
    widths = [max(_cells(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _cells(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def duration(seconds: float | None) -> str:
    """Return ``3 s``, ``12 min``, ``5.2 h`` or ``8.0 d``; ``-`` for none."""
    if seconds is None:
        return "-"
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < limit:
            value = seconds / size
            return f"{value:.1f} {unit}" if unit == "h" else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.1f} d"


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)

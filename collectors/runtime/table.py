"""Tables for a terminal, aligned also where characters are two cells wide."""

import unicodedata
from collections.abc import Sequence


def render(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return lines of columns two spaces apart; the columns ``right`` are right-aligned."""
    lines = [headers, *rows]
    widths = [max(_cells(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(
            _pad(text, widths[column], right_aligned=column in right)
            for column, text in enumerate(line)
        ).rstrip()
        for line in lines
    )


def _pad(text: str, width: int, *, right_aligned: bool) -> str:
    padding = " " * (width - _cells(text))
    return padding + text if right_aligned else text + padding


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)

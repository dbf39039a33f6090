"""Ranges of device memory."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring points of one device, counted in bits for a bit device."""

    device: str
    start: int
    points: int


def merge(spans: Sequence[Span]) -> list[Span]:
    """Join spans that touch, so that a signal read as several words is seen whole."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.device, span.start)):
        last = merged[-1] if merged else None
        if last and last.device == span.device and span.start <= last.start + last.points:
            end = max(last.start + last.points, span.start + span.points)
            merged[-1] = Span(last.device, last.start, end - last.start)
        else:
            merged.append(span)
    return merged

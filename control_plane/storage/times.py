"""Times as the state database keeps them: integer milliseconds since the Unix epoch, UTC."""

from datetime import UTC, datetime


def to_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)

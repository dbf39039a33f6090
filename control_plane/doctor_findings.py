"""What an examination of an installation says."""

from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report; ``code`` names the sentence ``doctor.CODE``."""

    level: Level
    code: str
    params: dict[str, object] = field(default_factory=dict)


def ok(code: str, **params: object) -> Finding:
    return finding("ok", code, **params)


def finding(level: Level, code: str, **params: object) -> Finding:
    return Finding(level=level, code=code, params=params)

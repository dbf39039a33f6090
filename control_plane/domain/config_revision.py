"""One text that a collector's file had."""

import enum
from dataclasses import dataclass
from datetime import datetime


class ConfigOrigin(enum.StrEnum):
    """How a text came about."""

    FILE = "file"
    """Somebody edited the file, or it was there before anybody looked."""
    CREATED = "created"
    APPLIED = "applied"
    IMPORTED = "imported"
    """Points came from a spreadsheet."""
    ROLLED_BACK = "rolled_back"
    REMOVED = "removed"
    """The last text before the collector was removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRevision:
    """A text of a collector's file, who wrote it, when and why.

    Attributes:
        id: Rises with time.
        revision: Name of the text, see ``collectors.contract.config.revision_of``; an older text
            that was brought back has the name that it had.
        actor: Empty for ``file``: the operating system knows, we do not.
        size_bytes: Of the text.
    """

    id: int
    collector: str
    revision: str
    at: datetime
    origin: ConfigOrigin
    actor: str
    comment: str
    size_bytes: int

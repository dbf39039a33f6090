"""Values of the integrity of logs: what was sealed, and what a check of it found."""

import enum
from dataclasses import dataclass
from datetime import datetime


class SealKind(enum.StrEnum):
    SEALED = "sealed"
    REMOVED = "removed"
    """The control plane itself took the rotated files away, to give back disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One rotated file of a log, or that they were removed.

    Attributes:
        log: The file in use that it was once, ``line1.log``.
        inode, size_bytes, mtime_ns: Of the rotated file when it was sealed.
        sha256: Of all that it held; empty where files were removed.
        kept: So many rotated files, this one the newest, must have been there then.
        gap: Whether files may have come and gone between the seal before and this one.
    """

    at: datetime
    kind: SealKind
    log: str
    inode: int = 0
    size_bytes: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    kept: int = 0
    gap: bool = False


@dataclass(frozen=True, slots=True)
class NumberedSeal:
    """A seal and its number in the chain, from 1 on."""

    number: int
    seal: Seal


class SealProblemKind(enum.StrEnum):
    CHAIN = "chain"
    """A record of the chain was changed, moved or taken out."""
    KEY = "key"
    """The key of the chain is missing or cannot be read."""
    EDITED = "edited"
    CUT = "cut"
    MISSING = "missing"
    SWAPPED = "swapped"
    """The content of another sealed file, or in another order."""
    FOREIGN = "foreign"
    """A rotated file older than sealed ones that was never sealed itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealProblem:
    """Something that rotation does not do; ``number`` and ``sealed_at`` are those of the seal."""

    kind: SealProblemKind
    log: str = ""
    file: str = ""
    number: int | None = None
    sealed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """What a check found.

    Attributes:
        seals: Records of the chain that are as they were written.
        files, bytes_checked: Rotated files that are as they were sealed.
        unsealed: Files of which nothing can be said: those in use, and those not sealed yet.
        gaps: Seals before which files may have come and gone unsealed.
        newest: Authentication code of the chain's newest record, to be kept elsewhere.
    """

    problems: tuple[SealProblem, ...]
    seals: int
    files: int
    bytes_checked: int
    unsealed: tuple[str, ...]
    gaps: tuple[NumberedSeal, ...]
    newest: str

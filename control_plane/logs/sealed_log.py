"""What the chain says of one log: which of its rotated files were sealed and must be there."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from control_plane.domain.seals import NumberedSeal, SealKind
from control_plane.logs.rotated_files import Identity


@dataclass(slots=True)
class SealedLog:
    """Seals of a log, oldest first, since its rotated files were last removed on purpose."""

    seals: list[NumberedSeal] = field(default_factory=list)

    @property
    def newest(self) -> NumberedSeal | None:
        return self.seals[-1] if self.seals else None

    def seal_of(self, identity: Identity) -> NumberedSeal | None:
        """Return the newest seal of a file that looks unchanged from outside."""
        for each in reversed(self.seals):
            if identity == (each.seal.inode, each.seal.size_bytes, each.seal.mtime_ns):
                return each
        return None

    def required(self, newer: int) -> list[NumberedSeal]:
        """Return the seals whose files must be there while ``newer`` files are not sealed yet.

        Each of those may have pushed out one of the oldest.
        """
        count = max(0, self.newest.seal.kept - newer) if self.newest else 0
        return self.seals[-count:] if count else []


def take_in(known: dict[str, SealedLog], seals: Iterable[NumberedSeal]) -> None:
    """Add the next records of a chain to what those before it say, by log."""
    for each in seals:
        if each.seal.kind is SealKind.REMOVED:
            known[each.seal.log] = SealedLog()
        else:
            known.setdefault(each.seal.log, SealedLog()).seals.append(each)

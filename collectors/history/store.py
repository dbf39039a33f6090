"""The face of every store that samples are moved into, and how it says no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from collectors.contract.points import Sample
from collectors.history.spool_reader import Record


@dataclass(frozen=True, slots=True)
class Refusal:
    """A sample that the store will never take; ``words`` are the store's own."""

    sequence: int
    sample: Sample
    words: str


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch: ``stored`` samples are in the store, the others refused for good."""

    stored: int
    refusals: Sequence[Refusal] = ()


class StoreUnavailable(Exception):
    """The store cannot take anything now; try the same batch again later.

    Attributes:
        retry_after_s: The store asked for at least this pause.
        was_cut: The connection failed, so the store may have died and forgotten what it last took.
    """

    def __init__(
        self, reason: str, *, retry_after_s: float | None = None, was_cut: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.was_cut = was_cut


class Store(Protocol):
    """Takes samples; storing one again changes nothing. All methods belong to one thread.

    Attributes:
        name: Names its cursor in every spool, its dead letters and its figures.
        replay_window_s: What it confirmed this recently may be gone after a crash of it, so a
            cursor stays that far behind, and the historian stores that much again.
    """

    name: str
    replay_window_s: float

    def append(self, collector: str, records: Sequence[Record]) -> Appended:
        """Store the samples of ``records``; after an exception some may be stored.

        Raises:
            StoreUnavailable: try again later, with the same records.
            Exception: so too, for a store that is a file on this machine.
        """

    def sync(self) -> None:
        """Return when what was appended survives a power cut, as far as the store can tell.

        Raises:
            OSError: the disk did not confirm.
        """

    def boot_id(self) -> str | None:
        """Return what changes when the store starts again, ``None`` if it has no such thing.

        Raises:
            StoreUnavailable: it does not answer now.
        """

    def close(self) -> None:
        """Let go of files and connections; may be used again."""

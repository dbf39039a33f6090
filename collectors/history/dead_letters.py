"""What a store has refused for good is kept here, readable, with the store's own words."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from collectors.contract.points import series_key
from collectors.history.store import Refusal

_log = logging.getLogger(__name__)

FILE_BYTES = 8 << 20
KEPT_FILES = 4
"""Full files kept beside the one being written; the oldest is deleted for a new one."""


class DeadLetters:
    """JSON Lines, one a sample, in ``directory/COLLECTOR.jsonl``; for one thread.

    A line has ``at`` (when it was refused), ``series``, ``value``, ``quality``, ``code``,
    ``source_ns``, ``received_ns`` and ``reason``. After a crash of the historian some can be there
    twice.
    """

    def __init__(self, directory: Path, *, file_bytes: int = FILE_BYTES) -> None:
        self._directory = directory
        self._file_bytes = file_bytes

    def bury(self, collector: str, refusals: Sequence[Refusal]) -> None:
        """Keep ``refusals``, on the disk when this returns.

        Raises:
            OSError: they cannot be written.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        path = self._directory / f"{collector}.jsonl"
        self._directory.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(_line(at, collector, refusal) for refusal in refusals)
            file.flush()
            os.fdatasync(file.fileno())
            is_full = file.tell() >= self._file_bytes
        if is_full:
            self._rotate(path)

    def _rotate(self, path: Path) -> None:
        oldest = path.with_name(f"{path.name}.{KEPT_FILES}")
        if oldest.exists():
            _log.error("oldest dead letters deleted", extra={"file": str(oldest)})
        for number in range(KEPT_FILES - 1, 0, -1):
            newer = path.with_name(f"{path.name}.{number}")
            if newer.exists():
                newer.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))


def _line(at: str, collector: str, refusal: Refusal) -> str:
    sample = refusal.sample
    fields = {
        "at": at,
        "series": series_key(collector, sample.point),
        "value": sample.value,
        "quality": sample.quality.name.lower(),
        "code": sample.code,
        "source_ns": sample.source_ns,
        "received_ns": sample.received_ns,
        "reason": refusal.words,
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"

"""Exports that are under way: how far they are, and how to end them."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from control_plane.errors import ExportCancelled, TooManyExports, UnknownExport
from control_plane.exports.pages import Page

AT_ONCE = 2
"""Each holds a thread of the server and reads the store as fast as it can."""
_REMEMBERED = 50
_RETRY_AFTER_S = 10

State = Literal["running", "done", "failed", "cancelled"]


@dataclass(slots=True, kw_only=True)
class ExportJob:
    """One export; ``fraction`` 0..1 of the time of all its series."""

    id: str
    actor: str
    state: State = "running"
    fraction: float = 0.0
    rows: int = 0
    cancelled: bool = False

    def watched(self, pages: Iterator[Page]) -> Iterator[Page]:
        """Pass the pages on and note what was passed; raises ExportCancelled when told to end."""
        for page in pages:
            if self.cancelled:
                raise ExportCancelled
            self.rows += len(page.rows)
            self.fraction = page.fraction
            yield page


class ExportJobs:
    """Usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[tuple[str, str], ExportJob] = OrderedDict()

    def begin(self, id_: str, actor: str) -> ExportJob:
        """Raises TooManyExports when as many run as may; an id that ended may be used again."""
        with self._lock:
            running = [job for job in self._jobs.values() if job.state == "running"]
            if len(running) >= AT_ONCE or any(job.id == id_ for job in running):
                raise TooManyExports(limit=AT_ONCE, retry_after_s=_RETRY_AFTER_S)
            job = ExportJob(id=id_, actor=actor)
            self._jobs.pop((actor, id_), None)
            self._jobs[actor, id_] = job
            while len(self._jobs) > _REMEMBERED:
                self._forget_one()
            return job

    def find(self, id_: str, actor: str) -> ExportJob:
        """Return an export of this user; raises UnknownExport."""
        with self._lock:
            job = self._jobs.get((actor, id_))
        if job is None:
            raise UnknownExport(id=id_)
        return job

    def _forget_one(self) -> None:
        ended = next(key for key, job in self._jobs.items() if job.state != "running")
        del self._jobs[ended]

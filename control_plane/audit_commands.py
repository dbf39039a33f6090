"""What a user may do with the audit trail: read it, check it, take it along; never change it."""

import csv
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any, Final, Literal

from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Permission, Role
from control_plane.storage.audit import AuditFilter, AuditRow
from control_plane.storage.audit_check import ChainReport, check_chain

AuditForm = Literal["csv", "jsonl"]
MEDIA_TYPES: Final[dict[AuditForm, str]] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
}
log = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 3600.0
_SCHEDULER: Final = Actor(name="scheduler", role=Role.ADMIN, origin="control-plane")
_COLUMNS: Final = (
    "id", "at", "actor", "origin", "action", "target", "outcome", "detail", "mac"
)  # fmt: skip
_BOM: Final = "\ufeff"
# A spreadsheet takes a text that begins so for a formula; OWASP, "CSV Injection".
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")


class AuditCommands:
    """Usable from any thread."""

    def __init__(self, audit: Auditor) -> None:
        self._audit = audit
        self.findings: int | None = None
        """How much the newest check of this process found."""

    def entries(
        self, actor: Actor, wanted: AuditFilter, before_id: int, limit: int
    ) -> list[AuditRow]:
        """Return the newest entries below ``before_id`` that match; raises NotPermitted."""
        self._audit.allow(actor, Permission.AUDIT, "audit.read", "*")
        return self._audit.trail.entries(wanted, before_id, limit)

    def verify(self, actor: Actor) -> ChainReport:
        """Check the whole chain; the check is itself an entry.

        Raises:
            NotPermitted, StorageError.
        """
        self._audit.allow(actor, Permission.AUDIT, "audit.verify", "*")
        report = check_chain(self._audit.trail)
        outcome = "done" if report.is_sound else "failed"
        detail = f"entries={report.entries} problems={report.problem_count}"
        self._audit.note(actor, "audit.verify", "*", outcome, detail)
        self.findings = report.problem_count
        return report

    def watch(self) -> None:
        """Check the chain; what is found is an entry, an error in the log and, through
        :attr:`findings`, an alert. Raises StorageError."""
        report = check_chain(self._audit.trail)
        if report.problem_count not in (0, self.findings):
            detail = f"entries={report.entries} problems={report.problem_count}"
            self._audit.note(_SCHEDULER, "audit.verify", "*", "failed", detail)
            for each in report.problems:
                log.error(
                    "the audit trail was tampered with",
                    extra={"finding": each.code, "first": each.first_id, "last": each.last_id},
                )
        self.findings = report.problem_count

    def export(self, actor: Actor, wanted: AuditFilter, form: AuditForm) -> Iterator[bytes]:
        """Return the entries that match, oldest first, as a file in pieces.

        Raises:
            NotPermitted, StorageError: before the first piece.
        """
        self._audit.allow(actor, Permission.AUDIT, "audit.export", form)
        # Before anything is read: an export that cannot be audited is not made.
        self._audit.note(actor, "audit.export", form, "done")
        write = _csv if form == "csv" else _json_lines
        return (write(page) for page in self._pages(wanted, form))

    def _pages(self, wanted: AuditFilter, form: AuditForm) -> Iterator[list[dict[str, Any]]]:
        if form == "csv":
            yield []
        for page in self._audit.trail.pages(wanted):
            yield [entry_json(row) | {"mac": row.mac} for row in page]


def entry_json(row: AuditRow) -> dict[str, Any]:
    """Return an entry as the API and files show it."""
    event = row.event
    return {
        "id": row.id,
        "at": event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": event.actor,
        "origin": event.origin,
        "action": event.action,
        "target": event.target,
        "outcome": event.outcome,
        "detail": event.detail,
    }


def _csv(page: list[dict[str, Any]]) -> bytes:
    """Return rows; without any, the head, which a byte order mark precedes for Excel."""
    buffer = io.StringIO(newline="")
    write = csv.writer(buffer).writerow
    if not page:
        buffer.write(_BOM)
        write(_COLUMNS)
    for row in page:
        write([_cell(row[column]) for column in _COLUMNS])
    return buffer.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    is_formula = isinstance(value, str) and _FORMULA.match(value) is not None
    return f"'{value}" if is_formula else value


def _json_lines(page: list[dict[str, Any]]) -> bytes:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in page)
    return "".join(lines).encode("utf-8", "replace")

"""Checks the chain of the audit trail from its first row to its last, and against the anchors."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from control_plane.storage.audit import AuditTrail
from control_plane.storage.audit_seal import Anchor

ProblemCode = Literal["edited", "missing", "unsealed", "cut", "anchor_differs", "anchor_forged"]
_MOST_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainProblem:
    """Something that no proper use does; ``first_id`` to ``last_id`` are the rows.

    Attributes:
        code: ``edited``: the row or its place was changed, or it was put in by somebody without
            the key. ``missing``: rows were taken out. ``unsealed``: a row has no seal. ``cut``:
            rows that an anchor names are gone from the end. ``anchor_differs``: the row is not
            the one that the anchor names. ``anchor_forged``: that line of the anchor file
            (``first_id``) is not one of ours.
    """

    code: ProblemCode
    first_id: int
    last_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What a check found.

    Attributes:
        problems: The first hundred; ``problem_count`` is of all.
        anchored_id: The last row that an anchor vouches for, 0 without any.
        unanchored: Rows after it. Had somebody cut rows there, nothing would show it.
    """

    entries: int
    first_id: int
    last_id: int
    problems: tuple[ChainProblem, ...]
    problem_count: int
    anchors: int
    anchored_id: int
    anchored_at: datetime | None
    unanchored: int

    @property
    def is_sound(self) -> bool:
        return self.problem_count == 0


@dataclass(slots=True)
class _Findings:
    problems: list[ChainProblem] = field(default_factory=list)
    count: int = 0

    def add(self, code: ProblemCode, first_id: int, last_id: int | None = None) -> None:
        self.count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            last_id = first_id if last_id is None else last_id
            self.problems.append(ChainProblem(code=code, first_id=first_id, last_id=last_id))


def check_chain(trail: AuditTrail) -> ChainReport:
    """Read every row once; those that are added meanwhile are checked too.

    Raises:
        StorageError: the database or the anchor file cannot be read.
    """
    findings = _Findings()
    anchors = _holding(trail.seal.anchors(), findings)
    named = {anchor.id: anchor for anchor in anchors}
    entries, first_id, last_id, unanchored, last_mac = 0, 0, 0, 0, ""
    anchored_id = max(named, default=0)
    for fields, mac in trail.sealed_rows():
        row_id = int(fields[0])
        first_id = first_id or row_id
        _check_row(findings, (last_id, row_id), mac, trail.seal.mac(last_mac, fields))
        if row_id in named and named[row_id].mac != mac:
            findings.add("anchor_differs", row_id)
        entries, last_id, last_mac = entries + 1, row_id, mac
        unanchored += row_id > anchored_id
    if anchored_id > last_id:
        findings.add("cut", last_id + 1, anchored_id)
    return ChainReport(
        entries=entries,
        first_id=first_id,
        last_id=last_id,
        problems=tuple(findings.problems),
        problem_count=findings.count,
        anchors=len(anchors),
        anchored_id=anchored_id,
        anchored_at=named[anchored_id].at if anchored_id else None,
        unanchored=unanchored,
    )


def _check_row(findings: _Findings, ids: tuple[int, int], mac: str, expected: str) -> None:
    before, row_id = ids
    if mac == expected:
        return
    if not mac:
        findings.add("unsealed", row_id)
    elif row_id > before + 1:
        findings.add("missing", before + 1, row_id - 1)
    else:
        findings.add("edited", row_id)


def _holding(anchors: list[Anchor], findings: _Findings) -> list[Anchor]:
    """Return the anchors that hold: a restore ends those before it.

    Its own anchor vouches for every row that came back, as each seal covers the one before; what
    was anchored before may be of rows that an earlier restore took away.
    """
    holding: list[tuple[int, Anchor]] = []
    for line, anchor in enumerate(anchors, 1):
        if anchor.restored and anchor.valid:
            holding = []
        holding.append((line, anchor))
    for line, anchor in holding:
        if not anchor.valid:
            findings.add("anchor_forged", line)
    return [anchor for _, anchor in holding if anchor.valid and anchor.id > 0]

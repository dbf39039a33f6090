"""Compares the rotated files with their seals: finds what rotation alone does not do."""

from dataclasses import dataclass, field
from pathlib import Path

from control_plane.domain.seals import (
    NumberedSeal,
    SealProblem,
    SealProblemKind,
    SealReport,
)
from control_plane.logs.rotated_files import RotatedFile, open_rotated, rotated_logs
from control_plane.logs.seal_chain import ChainReading, SealChain
from control_plane.logs.sealed_log import SealedLog, take_in


@dataclass(slots=True)
class _Findings:
    problems: list[SealProblem] = field(default_factory=list)
    unsealed: list[str] = field(default_factory=list)
    files: int = 0
    bytes_checked: int = 0

    def add(self, kind: SealProblemKind, log: str, file: str, about: NumberedSeal | None) -> None:
        self.problems.append(
            SealProblem(
                kind=kind,
                log=log,
                file=file,
                number=about.number if about else None,
                sealed_at=about.seal.at if about else None,
            )
        )


def check_seals(log_dir: Path, chain: SealChain, anchor: str = "") -> SealReport:
    """Read every rotated file of a directory and say which are not what was sealed.

    ``anchor`` is the code of a record that was kept elsewhere; without it in the chain, records
    were cut off.

    Raises:
        OSError: the directory, a file or the chain cannot be read.
    """
    reading = chain.read()
    findings = _Findings(problems=_of_chain(reading, anchor))
    known: dict[str, SealedLog] = {}
    take_in(known, reading.seals)
    for log in sorted({*rotated_logs(log_dir), *known}):
        with open_rotated(log_dir, log) as files:
            _LogCheck(log, files, known.get(log) or SealedLog(), findings).run()
    findings.unsealed += [path.name for path in sorted(log_dir.glob("*.log"))]
    return SealReport(
        problems=tuple(findings.problems),
        seals=len(reading.seals),
        files=findings.files,
        bytes_checked=findings.bytes_checked,
        unsealed=tuple(findings.unsealed),
        gaps=tuple(each for each in reading.seals if each.seal.gap),
        newest=reading.newest,
    )


def _of_chain(reading: ChainReading, anchor: str) -> list[SealProblem]:
    if not reading.has_key:
        return [SealProblem(kind=SealProblemKind.KEY)]
    if reading.broken_at is not None:
        return [SealProblem(kind=SealProblemKind.CHAIN, number=reading.broken_at)]
    if anchor and anchor not in reading.codes:
        return [SealProblem(kind=SealProblemKind.CHAIN, number=len(reading.codes) + 1)]
    return []


class _LogCheck:
    """Judges the rotated files of one log, given the newest first."""

    def __init__(
        self, log: str, files: list[RotatedFile], known: SealedLog, findings: _Findings
    ) -> None:
        self._log = log
        self._findings = findings
        matched = list(zip(files, _matched(files, known), strict=True))
        newer = next((n for n, (_, seal) in enumerate(matched) if seal is not None), len(files))
        self._newer, self._older = [file for file, _ in matched[:newer]], matched[newer:]
        self._present = [seal.number for _, seal in matched if seal is not None]
        self._absent = [seal for seal in known.seals if seal.number not in self._present]
        self._required = [seal for seal in known.required(newer) if seal in self._absent]

    def run(self) -> None:
        self._look_at_newer()
        self._look_at_older()
        oldest = min(self._present, default=None)
        for seal in self._absent:
            if seal in self._required or (oldest is not None and seal.number > oldest):
                self._findings.add(SealProblemKind.MISSING, self._log, "", seal)

    def _look_at_newer(self) -> None:
        """Tell files that were not sealed yet from the newest ones, changed in their place."""
        for file in self._newer:
            was = (seal for seal in self._required if seal.seal.inode == file.identity[0])
            changed = next(was, None)
            if changed is None:
                self._findings.unsealed.append(file.name)
            else:
                self._changed(file, changed)

    def _look_at_older(self) -> None:
        border = max(self._present, default=0) + 1
        for file, seal in self._older:
            if seal is None:
                # The newest of the missing that is older than the file before: it stood here.
                lost = next((s for s in reversed(self._absent) if s.number < border), None)
                if lost is None:
                    self._findings.add(SealProblemKind.FOREIGN, self._log, file.name, None)
                else:
                    self._changed(file, lost)
                    border = lost.number
            elif seal.number < border:
                self._findings.files += 1
                self._findings.bytes_checked += file.identity[1]
                border = seal.number
            else:
                self._findings.add(SealProblemKind.SWAPPED, self._log, file.name, seal)

    def _changed(self, file: RotatedFile, seal: NumberedSeal) -> None:
        is_cut = file.identity[1] < seal.seal.size_bytes
        kind = SealProblemKind.CUT if is_cut else SealProblemKind.EDITED
        self._findings.add(kind, self._log, file.name, seal)
        self._absent.remove(seal)
        self._required = [each for each in self._required if each != seal]


def _matched(files: list[RotatedFile], known: SealedLog) -> list[NumberedSeal | None]:
    """Return for each file the seal of just its content."""
    by_content: dict[str, list[NumberedSeal]] = {}
    for each in known.seals:
        by_content.setdefault(each.seal.sha256, []).append(each)
    matched: list[NumberedSeal | None] = []
    for file in files:
        same = by_content.get(file.sha256(), [])
        own = (each for each in reversed(same) if each.seal.inode == file.identity[0])
        matched.append(next(own, same[-1] if same else None))
    return matched

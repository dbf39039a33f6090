"""Collector files as people edit them: read, apply, take back; every text is kept."""

import contextlib
import logging
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectors.contract.config import AnyCollector, parse_collector
from collectors.contract.config_base import SLUG
from collectors.contract.config_problems import ConfigError, read_toml
from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Permission
from control_plane.clock import Clock
from control_plane.collector_changes import Applied, CollectorChanges
from control_plane.collector_texts import CheckedText, check_text, revision_of_text
from control_plane.domain.config_revision import ConfigOrigin, ConfigRevision
from control_plane.errors import (
    Busy,
    CollectorExists,
    InvalidProgramFile,
    RevisionConflict,
    RevisionRequired,
    StorageError,
    UnknownProcess,
    UnknownRevision,
)
from control_plane.reserved_changes import reserved_changes
from control_plane.storage.config_revisions import ConfigRevisions
from control_plane.supervisor.program_files import check_program_name

log = logging.getLogger(__name__)

_LONGEST_WAIT_S: Final = 20.0
"""For somebody else's change to end; a reload that nobody confirms takes five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A text that somebody wants a collector to have.

    Attributes:
        based_on: Revision that the writer had seen, which must be said; another one by now is a
            conflict.
    """

    text: str
    based_on: str
    comment: str = ""
    origin: ConfigOrigin = ConfigOrigin.APPLIED


class CollectorConfigs:
    """Usable from any thread; one change at a time."""

    def __init__(
        self,
        directory: Path,
        changes: CollectorChanges,
        revisions: ConfigRevisions,
        audit: Auditor,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._changes = changes
        self._revisions = revisions
        self._audit = audit
        self._clock = clock
        self._one_change = threading.Lock()
        self._noticed: dict[str, str] = {}

    def read(self, name: str) -> CheckedText:
        """Return what the file of a collector says now, sound or not; raises UnknownProcess."""
        return check_text(name, self._text(name))

    def revision(self, name: str, revision: str) -> str:
        """Return a text of before, or the present one, by its revision; raises UnknownRevision."""
        if SLUG.fullmatch(name) is None:
            raise UnknownRevision(name=name, revision=revision)
        with contextlib.suppress(UnknownProcess):
            present = self._text(name)
            if revision_of_text(present) == revision:
                return present
        text = self._revisions.text(name, revision)
        if text is None:
            raise UnknownRevision(name=name, revision=revision)
        return text

    def newest(self, name: str, limit: int, before: int | None = None) -> list[ConfigRevision]:
        """Return the texts that a collector had, newest first; of a removed one too.

        Raises:
            UnknownProcess: nobody has ever heard of it.
        """
        found = self._revisions.newest(name, limit, before) if SLUG.fullmatch(name) else []
        if not found and before is None:
            self._text(name)
        return found

    def check(self, actor: Actor, name: str, text: str) -> CheckedText:
        """Judge a text without using it; raises NotPermitted or InvalidProgramFile."""
        # Whether a named file exists is told too, so this is not for everybody.
        self._audit.allow(actor, Permission.CONFIGURE, "collector.check", name)
        check_program_name(name, "collector")
        return check_text(name, text)

    def apply(self, actor: Actor, name: str, edit: Edit) -> Applied:
        """Give a collector another text and wait until it is in use.

        Raises:
            NotPermitted, UnknownProcess, RevisionRequired, RevisionConflict, ConfigError,
            InvalidProgramFile, Busy, SupervisorUnreachable, StorageError.
        """
        self._audit.allow(actor, Permission.CONFIGURE, "collector.apply", name)
        _require_revision(name, edit.based_on)
        wanted = _sound(check_text(name, edit.text))
        with self._alone(name):
            old = self.read(name)
            if old.revision != edit.based_on:
                raise RevisionConflict(name=name, revision=old.revision)
            self._allow_reserved(actor, name, old.config, wanted.config)
            self._note_by_hand(name, old.text)
            return self._put(actor, wanted, edit, old.text)

    def apply_file(self, actor: Actor, file: Path) -> Applied:
        """Put the collector that ``file`` describes into service, whatever its text was before.

        Raises:
            As :meth:`apply`, but for the revisions.
        """
        self._audit.allow(actor, Permission.CONFIGURE, "collector.apply", file.stem)
        config = parse_collector(read_toml(file), file=str(file))
        name, text = config.name, file.read_text(encoding="utf-8")
        with self._alone(name):
            with contextlib.suppress(UnknownProcess):
                self._note_by_hand(name, self._text(name))
            # Before the file is there: a control plane that runs beside us would take it for the
            # work of somebody's hands.
            self._changes.require_supervisor()
            self._add(name, text, ConfigOrigin.APPLIED, actor.name, "")
            return self._changes.apply(actor, file)

    def create(self, actor: Actor, name: str, text: str, comment: str = "") -> Applied:
        """Put a new collector into service.

        Raises:
            As :meth:`apply`, and CollectorExists.
        """
        self._audit.allow(actor, Permission.CONFIGURE, "collector.create", name)
        check_program_name(name, "collector")
        wanted = _sound(check_text(name, text))
        with self._alone(name):
            if self._file(name).exists():
                raise CollectorExists(name=name)
            self._allow_reserved(actor, name, None, wanted.config)
            edit = Edit(text=text, based_on="", comment=comment, origin=ConfigOrigin.CREATED)
            return self._put(actor, wanted, edit, None)

    def roll_back(self, actor: Actor, name: str, revision: str, edit: Edit) -> Applied:
        """Bring the text of ``revision`` back; the text of ``edit`` does not matter.

        Raises:
            As :meth:`apply`, and UnknownRevision.
        """
        self._audit.allow(actor, Permission.CONFIGURE, "collector.apply", name)
        back = Edit(
            text=self.revision(name, revision),
            based_on=edit.based_on,
            comment=edit.comment,
            origin=ConfigOrigin.ROLLED_BACK,
        )
        return self.apply(actor, name, back)

    def remove(self, actor: Actor, name: str, based_on: str | None) -> Path:
        """Stop a collector, take it out of service and return where its file is kept.

        Without ``based_on``, whatever its text is.

        Raises:
            NotPermitted, UnknownProcess, RevisionRequired, RevisionConflict, Busy,
            SupervisorUnreachable.
        """
        self._audit.allow(actor, Permission.ADMINISTER, "collector.remove", name)
        if based_on is not None:
            _require_revision(name, based_on)
        with self._alone(name):
            text = self._text(name)
            if based_on is not None and revision_of_text(text) != based_on:
                raise RevisionConflict(name=name, revision=revision_of_text(text))
            kept = self._changes.remove(actor, name)
            self._add(name, text, ConfigOrigin.REMOVED, actor.name, "")
            return kept

    def notice(self, revisions: Mapping[str, str]) -> None:
        """Keep texts that came about without us; called with each picture, by one thread.

        Args:
            revisions: Of each collector's file on this machine.
        """
        if revisions == self._noticed or not self._one_change.acquire(blocking=False):
            return
        try:
            for name, revision in revisions.items():
                if self._noticed.get(name) != revision:
                    with contextlib.suppress(UnknownProcess):
                        self._note_by_hand(name, self._text(name))
            self._noticed = dict(revisions)
        except StorageError as exc:
            log.error("text of a collector cannot be kept", extra={"reason": str(exc)})
        finally:
            self._one_change.release()

    def _put(self, actor: Actor, wanted: CheckedText, edit: Edit, old: str | None) -> Applied:
        name = wanted.name
        with tempfile.TemporaryDirectory(prefix="daq-apply-") as directory:
            file = Path(directory) / f"{name}.toml"
            file.write_text(wanted.text, encoding="utf-8")
            try:
                applied = self._changes.apply(actor, file)
            except InvalidProgramFile:
                # No program runs this text, so that it must not look as if one did.
                if old is None:
                    self._file(name).unlink(missing_ok=True)
                raise
        self._add(name, wanted.text, edit.origin, actor.name, edit.comment)
        return applied

    def _allow_reserved(
        self, actor: Actor, name: str, old: AnyCollector | None, new: AnyCollector | None
    ) -> None:
        for action in reserved_changes(old, new):
            self._audit.allow(actor, Permission.ADMINISTER, action, name)

    def _note_by_hand(self, name: str, text: str) -> None:
        newest = self._revisions.newest(name, 1)
        if not newest or newest[0].revision != revision_of_text(text):
            self._add(name, text, ConfigOrigin.FILE, "", "")

    def _add(self, name: str, text: str, origin: ConfigOrigin, actor: str, comment: str) -> None:
        self._revisions.add(
            ConfigRevision(
                id=0,
                collector=name,
                revision=revision_of_text(text),
                at=self._clock.now(),
                origin=origin,
                actor=actor,
                comment=comment,
                size_bytes=len(text.encode()),
            ),
            text,
        )

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        if not self._one_change.acquire(timeout=_LONGEST_WAIT_S):
            raise Busy(name=name)
        try:
            yield
        finally:
            self._one_change.release()

    def _text(self, name: str) -> str:
        try:
            check_program_name(name, "collector")
            return self._file(name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return self._file(name).read_bytes().decode("utf-8", "replace")
        except (OSError, InvalidProgramFile):
            raise UnknownProcess(name=name) from None

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.toml"


def _require_revision(name: str, based_on: str) -> None:
    if not based_on:
        raise RevisionRequired(name=name)


def _sound(checked: CheckedText) -> CheckedText:
    if checked.config is None:
        raise ConfigError(checked.problems)
    return checked

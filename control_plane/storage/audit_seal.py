"""What the audit trail is sealed with: a key and anchors, both in files outside the database.

Each row carries an HMAC over itself and the one before, so that a changed, missing or moved row
breaks the chain, and nobody without the key can mend it. A chain that is merely cut at its end is
whole; that is found by the anchors, which name rows that were there (Schneier and Kelsey, "Secure
Audit Logs to Support Computer Forensics", 1999).
"""

import contextlib
import errno
import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from control_plane.errors import StorageError

log = logging.getLogger(__name__)

ANCHOR_EVERY: Final = 100
ANCHOR_EVERY_S: Final = 60.0
_KEY: Final = re.compile(r"[0-9a-f]{64}\s*")

Fields = Sequence[int | str]
"""``id, at_ms, actor, origin, action, target, outcome, detail`` of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A line of the anchor file: the row ``id`` had this ``mac``.

    Attributes:
        key: Names the key, without telling it.
        restored: Set where a backup was restored: anchors of later rows hold no more.
        valid: Whether the line was written with the present key and not changed since.
    """

    id: int
    mac: str
    at: datetime
    key: str
    restored: bool
    valid: bool


class AuditSeal:
    """Key ``pki/audit.key`` and anchors ``log/audit-anchors.jsonl`` below DAQ_HOME.

    Usable from any thread and in several processes at once.
    """

    def __init__(self, home: Path) -> None:
        self.key_file = home / "pki" / "audit.key"
        self.anchor_file = home / "log" / "audit-anchors.jsonl"
        self._key = self._read_or_make_key()

    @property
    def key_name(self) -> str:
        return hashlib.sha256(self._key).hexdigest()[:8]

    def mac(self, before: str, fields: Fields) -> str:
        """Return the seal of a row whose predecessor has the seal ``before`` ("" for none)."""
        text = json.dumps([before, *fields], ensure_ascii=True, separators=(",", ":"))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def is_due(self, row_id: int) -> bool:
        """Tell whether a row that was just written should be anchored at once."""
        if row_id % ANCHOR_EVERY == 0:
            return True
        try:
            status = self.anchor_file.stat()
        except OSError:
            return True
        # A clock that was set back must not end anchoring.
        return abs(time.time() - status.st_mtime) >= ANCHOR_EVERY_S or status.st_size == 0

    def anchor(self, row_id: int, mac: str, at: datetime, *, restored: bool = False) -> bool:
        """Append an anchor and return whether it is there; a failure is logged, as the row itself
        is safe."""
        is_there = True
        facts: dict[str, Any] = {"id": row_id, "mac": mac, "at": at.isoformat()}
        facts |= {"key": self.key_name, "restored": restored}
        line = json.dumps(facts | {"seal": self._line_seal(facts)}) + "\n"
        try:
            self.anchor_file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            number = os.open(self.anchor_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _append(number, line.encode())
            finally:
                os.close(number)
        except OSError as exc:
            is_there = False
            log.error("audit trail cannot be anchored", extra={"reason": str(exc)})
        # A second place: the log is rotated, sealed and often sent to another machine.
        log.info("audit anchor", extra={"entry": row_id, "mac": mac})
        return is_there

    def has_anchors(self) -> bool:
        try:
            return self.anchor_file.stat().st_size > 0
        except OSError:
            return False

    def anchors(self) -> list[Anchor]:
        """Return every line of the anchor file in order; raises StorageError."""
        try:
            lines = self.anchor_file.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise StorageError(reason=f"{self.anchor_file}: {exc.strerror}") from exc
        return [self._parse(line) for line in lines if line.strip()]

    def _parse(self, line: bytes) -> Anchor:
        try:
            facts = json.loads(line)
            seal = facts.pop("seal")
            return Anchor(
                id=int(facts["id"]),
                mac=str(facts["mac"]),
                at=datetime.fromisoformat(facts["at"]),
                key=str(facts["key"]),
                restored=bool(facts["restored"]),
                valid=hmac.compare_digest(str(seal), self._line_seal(facts)),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            nothing = datetime.fromtimestamp(0).astimezone()
            return Anchor(id=0, mac="", at=nothing, key="", restored=False, valid=False)

    def _line_seal(self, facts: dict[str, Any]) -> str:
        text = "anchor" + json.dumps(facts, sort_keys=True)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _read_or_make_key(self) -> bytes:
        try:
            if not self.key_file.exists():
                self._make_key()
            text = self.key_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as exc:
            raise StorageError(reason=f"{self.key_file}: {exc}") from exc
        if _KEY.fullmatch(text) is None:
            raise StorageError(reason=f"{self.key_file} does not hold 64 hexadecimal digits")
        return bytes.fromhex(text.strip())

    def _make_key(self) -> None:
        """Several processes may try at once; one of them wins, whole."""
        self.key_file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        fresh = self.key_file.with_name(f".audit.key.{os.getpid()}.{secrets.token_hex(4)}")
        number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            text = secrets.token_hex(32).encode() + b"\n"
            if os.write(number, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(number)
            with contextlib.suppress(FileExistsError):
                os.link(fresh, self.key_file)
        finally:
            os.close(number)
            fresh.unlink()


def _append(number: int, line: bytes) -> None:
    """Write the line whole or not at all: what a full disk takes of it would look forged."""
    fcntl.flock(number, fcntl.LOCK_EX)  # until it is closed
    before_bytes = os.fstat(number).st_size
    if os.write(number, line) < len(line):
        os.ftruncate(number, before_bytes)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(number)

"""The hands of the alerts: a thread that looks, judges, writes down, shows and has people told."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from pydantic import TypeAdapter, ValidationError

from collectors.contract.config_problems import ConfigProblem
from control_plane.alerting.engine import EngineState, Step, acknowledge
from control_plane.alerting.figures import DAY, AlarmFigures, figures
from control_plane.alerting.gathering import Gatherer
from control_plane.alerting.limits import AlertLimits
from control_plane.alerting.rule_file import FILE_NAME, RuleFile, read_rule_file
from control_plane.alerting.rules import judge
from control_plane.alerting.view import alert_json
from control_plane.clock import Clock
from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertState,
    Note,
    Silence,
)
from control_plane.errors import StorageError, UnknownAlert
from control_plane.notify.notifier import Notifier
from control_plane.storage.alerts import Alerts, Memory
from control_plane.storage.database import StateDatabase

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
_REFRESH_S: Final = 2.0
_MAX_UNWRITTEN: Final = 10_000
"""Events kept for a database that is away; then the oldest go."""
_RETURNED_SHOWN: Final = timedelta(days=7)
_MOST_RETURNED: Final = 200
"""More of them than that is nothing that a person looks through here."""
TOPIC: Final = "error_alerts"
_STATE: Final = TypeAdapter(EngineState)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class LiveChannel(Protocol):
    """Where present alerts are published."""

    def publish(self, topic: str, key: str, data: object) -> None: ...
    def withdraw(self, topic: str, key: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Where alerts go."""

    database: StateDatabase
    notifier: Notifier
    live: LiveChannel


class AlertService:
    """Owns the present alerts; :meth:`look` runs in one thread, the rest in any."""

    def __init__(self, home: Path, gatherer: Gatherer, outlets: Outlets, clock: Clock) -> None:
        self._path = home / FILE_NAME
        self._gatherer = gatherer
        self._outlets = outlets
        self._alerts = Alerts(outlets.database)
        self._clock = clock
        self._boot_id = _boot_id()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        """One writes at a time, or an event would be written twice and the next one lost."""
        self._state = EngineState()
        self._rules = RuleFile(limits=AlertLimits(), problems=())
        self._rules_stamp: object = None
        self._silences: tuple[Silence, ...] = ()
        self._refreshed_mono: float | None = None
        self._unwritten: list[AlertEvent] = []
        self._written: object = None
        self._database_error: str | None = None
        self._cannot_write = False
        """A database that is full can still be read."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts")

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        """What is wrong in alerts.toml; that part of it is not in force."""
        return self._rules.problems

    @property
    def limits(self) -> AlertLimits:
        return self._rules.limits

    def start(self) -> None:
        """Go on where the last control plane was, and look each second."""
        self.resume()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def present(self) -> list[Alert]:
        """Return open alerts, the most urgent and then the newest first."""
        found = list(self._state.open_alerts().values())
        return sorted(found, key=lambda a: (-a.severity.rank, -a.id))

    def pending(self) -> list[Alert]:
        """Return what is wrong, but not for long enough to tell people."""
        tracks = self._state.tracks.values()
        return [t.alert for t in tracks if t.alert and t.alert.state is AlertState.PENDING]

    def returned(self) -> list[Alert]:
        """Return what is over and was never acknowledged, the latest end first.

        Raises:
            StorageError.
        """
        return self._alerts.returned(self._clock.now() - _RETURNED_SHOWN, _MOST_RETURNED)

    def figures(self) -> AlarmFigures:
        """Return alarm rate, chattering and standing alarms.

        Raises:
            StorageError.
        """
        now = self._clock.now()
        return figures(now, self.present(), self._alerts.fired_since(now - DAY))

    def acknowledge(self, alert_id: int, note: Note) -> Alert:
        """Note that somebody has seen an alert, open or over.

        Raises:
            UnknownAlert, StorageError.
        """
        with self._lock:
            self._state, event = acknowledge(self._state, alert_id, note)
            if event is not None:
                self._unwritten.append(event)
        if event is None:
            event = self._acknowledge_past(alert_id, note)
        self._publish([event])
        self._write()
        return event.alert

    def silences(self) -> list[Silence]:
        """Return the shelves that hold. Raises StorageError."""
        return self._alerts.silences(self._clock.now())

    def shelve(self, silence: Silence) -> Silence:
        """Put a shelf up and return it with its id. Raises StorageError."""
        kept = self._alerts.shelve(silence)
        self._refreshed_mono = None
        return kept

    def unshelve(self, silence_id: int) -> Silence | None:
        """Take a shelf down; ``None`` if there is none. Raises StorageError."""
        ended = self._alerts.unshelve(silence_id, self._clock.now())
        self._refreshed_mono = None
        return ended

    def prune(self, keep: timedelta) -> int:
        """Forget what ended longer ago than ``keep``. Raises StorageError."""
        return self._alerts.prune(self._clock.now(), keep)

    def look(self) -> Sequence[AlertEvent]:
        """Look once at everything; return what happened."""
        self._refresh()
        facts = self._gatherer.gather(self._database_error, self._rules.limits.window_s)
        now, mono = self._clock.now(), self._clock.monotonic()
        with self._lock:
            limits = self._rules.limits
            judgement = judge(facts, limits, self._state.open_alerts())
            step = Step(self._state, limits, self._silences, now, mono)
            self._state, events = step.run(judgement)
            self._unwritten += events
        self._publish(events)
        self._write()
        return events

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                self.look()
                failing = False
            except Exception:
                # Whatever it was, the next look must happen: nobody else tells people.
                if not failing:
                    log.exception("look for alerts failed")
                failing = True
            self._stopping.wait(LOOK_S)

    def _refresh(self) -> None:
        """Take changed files and shelves over."""
        mono = self._clock.monotonic()
        if self._refreshed_mono is not None and mono - self._refreshed_mono < _REFRESH_S:
            return
        self._refreshed_mono = mono
        stamp = _stamp(self._path)
        if stamp != self._rules_stamp:
            self._rules_stamp = stamp
            self._rules = read_rule_file(self._path)
            for problem in self._rules.problems:
                log.error("alert rule cannot be used", extra={"problem": problem.text()})
        try:
            with self._outlets.database.connection():  # One for all of them.
                self._silences = tuple(self._alerts.silences(self._clock.now()))
                self._outlets.notifier.refresh()
            if not self._cannot_write:
                self._database_error = None
        except StorageError as exc:
            self._database_failed(exc)

    def _write(self) -> None:
        """Write what is new; what cannot be written is written later."""
        with self._writing:
            self._write_new()

    def _write_new(self) -> None:
        with self._lock:
            state, events = self._state, list(self._unwritten)
        essence = _essence(state)
        if not events and essence == self._written:
            self._cannot_write = False
            return
        try:
            with self._outlets.database.connection() as db, db.atomic():
                self._alerts.write(events, self._memory(state))
                self._outlets.notifier.queue(events)
        except StorageError as exc:
            self._cannot_write = True
            self._database_failed(exc)
            if events:
                self._outlets.notifier.keep(events)
            return
        self._written, self._database_error = essence, None
        self._cannot_write = False
        with self._lock:
            del self._unwritten[: len(events)]
        if events:
            self._outlets.notifier.wake()

    def _memory(self, state: EngineState) -> Memory:
        return Memory(
            boot_id=self._boot_id,
            at=self._clock.now(),
            document=_STATE.dump_json(state).decode("utf-8"),
        )

    def _database_failed(self, exc: StorageError) -> None:
        if self._database_error is None:
            log.error("state database fails", extra={"reason": str(exc)})
        self._database_error = str(exc.params.get("reason", exc))
        with self._lock:
            del self._unwritten[:-_MAX_UNWRITTEN]

    def _publish(self, events: Sequence[AlertEvent]) -> None:
        live = self._outlets.live
        for event in events:
            key = str(event.alert.id)
            live.publish(TOPIC, key, live_message(event))
            if event.alert.resolved_at is not None:
                # Also of one that is acknowledged afterwards: the snapshot has open alerts only.
                live.withdraw(TOPIC, key)

    def resume(self) -> None:
        """Take over what the last control plane remembered; alerts that it did not end."""
        try:
            memory, left = self._alerts.memory(), self._alerts.open()
        except StorageError as exc:
            self._database_failed(exc)
            return
        if memory is not None:
            self._state = self._revived(memory)
        present = self._state.open_alerts().values()
        known = {alert.id for alert in present}
        now = self._clock.now()
        for alert in left:
            if alert.id not in known:
                over = replace(
                    alert, state=AlertState.RESOLVED, resolved_at=now, last_change=now,
                    shelved_until=None, ended="removed",
                )  # fmt: skip
                self._unwritten.append(AlertEvent(kind=AlertEventKind.RESOLVED, at=now, alert=over))
        for alert in present:
            event = AlertEvent(kind=AlertEventKind.UPDATED, at=alert.last_change, alert=alert)
            self._outlets.live.publish(TOPIC, str(alert.id), live_message(event))

    def _revived(self, memory: Memory) -> EngineState:
        try:
            state = _STATE.validate_json(memory.document)
        except ValidationError as exc:
            # Of another version: its open alerts end, and begin anew if they are still there.
            log.error("alerts of before cannot be read", extra={"reason": str(exc)[:300]})
            return EngineState()
        if memory.boot_id == self._boot_id or state.looked_mono is None:
            return state
        # Another boot, another clock: what it measured goes on after the time that has passed.
        passed_s = max(0.0, (self._clock.now() - memory.at).total_seconds())
        return state.rebased(self._clock.monotonic() - passed_s - state.looked_mono)

    def _acknowledge_past(self, alert_id: int, note: Note) -> AlertEvent:
        alert = self._alerts.find(alert_id)
        if alert is None or alert.is_open:
            raise UnknownAlert(id=alert_id)
        noted = replace(alert, acknowledged=note)
        event = AlertEvent(
            kind=AlertEventKind.ACKNOWLEDGED, at=note.at, alert=noted, actor=note.by,
            reason=note.reason,
        )  # fmt: skip
        with self._lock:
            self._unwritten.append(event)
        return event


def live_message(event: AlertEvent) -> dict[str, object]:
    """Return the design document's ``error_alert``: the alert, and what happened to it."""
    return alert_json(event.alert) | {"event": event.kind.value}


def _essence(state: EngineState) -> object:
    """Return what must not be lost; ages, and how often one has looked, may."""
    return {
        fingerprint: (
            track.is_bad,
            track.history,
            track.bad_looks > 0,
            track.good_looks > 0,
            track.alert is not None and (track.alert.id, track.alert.state),
        )
        for fingerprint, track in state.tracks.items()
    }


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size

"""The life of every alert, one look after the other; pure.

State in, state and events out. Durations are monotonic; the wall clock only dates what people read
and ends shelves. Each fault has exactly one alert: it fires once and is resolved once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from control_plane.alerting.facts import Condition, Judgement
from control_plane.alerting.flapping import (
    START_PERCENT,
    STOP_PERCENT,
    change_percent,
    remember,
)
from control_plane.alerting.limits import AlertLimits
from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertState,
    Note,
    Silence,
    SubjectKind,
    fingerprint_of,
)

GOOD_LOOKS: Final = 2
"""One good look may be chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What is remembered of one fingerprint.

    Attributes:
        alert: The pending or open one; ``None`` while only the history is kept.
        bad_since_mono, bad_looks: Of the looks in a row that found the condition.
        good_since_mono, good_looks: Of those that did not.
        is_bad: The settled state, after ``for`` and before ``clear`` have passed.
        history: Settled states for :mod:`flapping`, the newest in the lowest bit.
        sampled_mono: When ``history`` last grew.
        told_mono: When people were last told.
    """

    alert: Alert | None = None
    bad_since_mono: float = 0.0
    bad_looks: int = 0
    good_since_mono: float = 0.0
    good_looks: int = 0
    is_bad: bool = False
    history: int = 0
    sampled_mono: float = 0.0
    told_mono: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """All that the next look needs of the looks before; ``looked_mono`` is of the newest."""

    tracks: Mapping[str, Track] = field(default_factory=dict)
    last_id: int = 0
    looked_mono: float | None = None

    def open_alerts(self) -> dict[str, Alert]:
        """Return the open alerts by fingerprint."""
        return {
            fingerprint: track.alert
            for fingerprint, track in self.tracks.items()
            if track.alert is not None and track.alert.is_open
        }

    def rebased(self, shift_s: float) -> "EngineState":
        """Return the state for a monotonic clock that reads ``shift_s`` more: another boot."""
        tracks = {
            fingerprint: replace(
                track,
                bad_since_mono=track.bad_since_mono + shift_s,
                good_since_mono=track.good_since_mono + shift_s,
                sampled_mono=track.sampled_mono + shift_s,
                told_mono=track.told_mono + shift_s,
            )
            for fingerprint, track in self.tracks.items()
        }
        looked_mono = None if self.looked_mono is None else self.looked_mono + shift_s
        return replace(self, tracks=tracks, looked_mono=looked_mono)


class Step:
    """One look; made, run and thrown away."""

    def __init__(
        self,
        state: EngineState,
        limits: AlertLimits,
        silences: Sequence[Silence],
        now: datetime,
        mono: float,
    ) -> None:
        self._state = state
        self._limits = limits
        self._silences = silences
        self._now = now
        self._mono = mono
        self._last_id = state.last_id
        self._events: list[AlertEvent] = []

    def run(self, judgement: Judgement) -> tuple[EngineState, tuple[AlertEvent, ...]]:
        """Return the next state and what happened; a look that is not newer changes nothing."""
        if self._state.looked_mono is not None and self._mono <= self._state.looked_mono:
            return self._state, ()
        found = {fingerprint_of(c.rule, c.subject): c for c in judgement.conditions}
        tracks: dict[str, Track] = {}
        for fingerprint, track in self._state.tracks.items():
            condition = found.pop(fingerprint, None)
            after = (
                self._bad(track, condition)
                if condition is not None
                else self._without_condition(track, judgement)
            )
            if after is not None:
                tracks[fingerprint] = after
        for fingerprint, condition in found.items():
            tracks[fingerprint] = self._bad(Track(sampled_mono=self._mono), condition)
        tracks = {fingerprint: self._present(track) for fingerprint, track in tracks.items()}
        state = EngineState(tracks=tracks, last_id=self._last_id, looked_mono=self._mono)
        return state, tuple(self._events)

    def _bad(self, track: Track, condition: Condition) -> Track:
        limits = self._limits.of(condition.rule, condition.subject.name)
        if track.bad_looks == 0:
            track = replace(track, bad_since_mono=self._mono)
        track = replace(track, bad_looks=track.bad_looks + 1, good_looks=0)
        alert = track.alert or self._pending(condition)
        track = replace(track, alert=self._updated(alert, condition))
        lasted = self._mono - track.bad_since_mono >= limits.for_s
        if track.is_bad or not lasted or track.bad_looks < limits.hard_after:
            return self._sampled(track)
        track = self._turned(track, is_bad=True)
        return self._again(track) if alert.is_open else self._fired(track)

    def _without_condition(self, track: Track, judgement: Judgement) -> Track | None:
        alert = track.alert
        if alert is None:
            return self._quiet(track)
        why = self._why_ended(alert, judgement)
        if why is not None:
            if alert.is_open:
                self._resolve(alert, why)
            return None
        if judgement.holds(alert.rule, alert.subject):
            return track if alert.is_open else self._quiet(track)
        if not alert.is_open:
            return self._quiet(track)
        return self._good(track, alert)

    def _why_ended(self, alert: Alert, judgement: Judgement) -> str | None:
        if not self._limits.of(alert.rule, alert.subject.name).enabled:
            return "disabled"
        if alert.subject in judgement.excused:
            return judgement.excused[alert.subject]
        # A host is a subject only while somebody blames it.
        exists = alert.subject in judgement.subjects or alert.subject.kind is SubjectKind.GATEWAY
        return None if exists else "removed"

    def _good(self, track: Track, alert: Alert) -> Track:
        limits = self._limits.of(alert.rule, alert.subject.name)
        if track.good_looks == 0:
            track = replace(track, good_since_mono=self._mono)
        track = replace(track, good_looks=track.good_looks + 1, bad_looks=0)
        if track.is_bad:
            lasted = self._mono - track.good_since_mono >= limits.clear_s
            if not lasted or track.good_looks < GOOD_LOOKS:
                return track
            track = self._turned(track, is_bad=False)
        else:
            track = self._sampled(track)
        return self._over_unless_flapping(track, alert)

    def _over_unless_flapping(self, track: Track, alert: Alert) -> Track:
        percent = change_percent(track.history)
        restless = percent > STOP_PERCENT if alert.flapping else percent >= START_PERCENT
        if restless and self._limits.flapping:
            if alert.flapping:
                return track
            flapping = replace(alert, flapping=True, last_change=self._now)
            self._tell(AlertEventKind.FLAPPING, flapping)
            return replace(track, alert=flapping)
        self._resolve(alert, "returned")
        return replace(track, alert=None)

    def _quiet(self, track: Track) -> Track | None:
        """Keep the history of what comes and goes for as long as it says anything."""
        track = self._sampled(replace(track, alert=None, bad_looks=0))
        return track if track.history else None

    def _turned(self, track: Track, *, is_bad: bool) -> Track:
        history = remember(track.history, is_bad)
        return replace(track, is_bad=is_bad, history=history, sampled_mono=self._mono)

    def _sampled(self, track: Track) -> Track:
        """Let a state that lasts count as unchanged, once in each sampling time."""
        if self._mono - track.sampled_mono < self._limits.flap_sample_s:
            return track
        track = self._turned(track, is_bad=track.is_bad)
        alert = track.alert
        quiet = change_percent(track.history) <= STOP_PERCENT or not self._limits.flapping
        if alert is not None and alert.flapping and track.is_bad and quiet:
            alert = replace(alert, flapping=False, last_change=self._now)
            self._tell(AlertEventKind.STEADY, alert)
            return replace(track, alert=alert)
        return track

    def _pending(self, condition: Condition) -> Alert:
        return Alert(
            rule=condition.rule,
            fingerprint=fingerprint_of(condition.rule, condition.subject),
            severity=condition.severity,
            subject=condition.subject,
            state=AlertState.PENDING,
            since=self._now,
            last_change=self._now,
            code=condition.code,
        )

    def _updated(self, alert: Alert, condition: Condition) -> Alert:
        before = (alert.severity, alert.code, alert.members)
        changed = before != (condition.severity, condition.code, condition.members)
        alert = replace(
            alert,
            severity=condition.severity,
            code=condition.code,
            params=condition.params,
            value=condition.value,
            threshold=condition.threshold,
            evidence=condition.evidence,
            members=condition.members,
            last_change=self._now if changed else alert.last_change,
        )
        if changed and alert.is_open:
            worse = condition.severity.rank > before[0].rank
            self._tell(AlertEventKind.UPDATED, alert, worse=worse)
        return alert

    def _fired(self, track: Track) -> Track:
        # Higher than any before, also if the database with the last one was lost.
        self._last_id = max(self._last_id + 1, round(self._now.timestamp() * 1000))
        assert track.alert is not None
        alert = replace(
            track.alert,
            id=self._last_id,
            state=AlertState.FIRING,
            fired_at=self._now,
            last_change=self._now,
            flapping=self._limits.flapping and change_percent(track.history) >= START_PERCENT,
        )
        alert = self._shelved_or(alert, AlertState.FIRING)
        self._tell(AlertEventKind.FIRED, alert)
        return replace(track, alert=alert, told_mono=self._mono)

    def _again(self, track: Track) -> Track:
        assert track.alert is not None
        return replace(track, alert=replace(track.alert, count=track.alert.count + 1))

    def _resolve(self, alert: Alert, why: str) -> None:
        over = replace(
            alert,
            state=AlertState.RESOLVED,
            resolved_at=self._now,
            last_change=self._now,
            shelved_until=None,
            ended=why,
        )
        self._tell(AlertEventKind.RESOLVED, over)

    def _present(self, track: Track) -> Track:
        """Shelve, unshelve and repeat."""
        alert = track.alert
        if alert is None or not alert.is_open:
            return track
        awake = AlertState.ACKNOWLEDGED if alert.acknowledged else AlertState.FIRING
        after = self._shelved_or(alert, awake)
        if after.state is not alert.state:
            after = replace(after, last_change=self._now)
            if after.state is AlertState.SHELVED:
                self._tell(AlertEventKind.SHELVED, after)
            elif alert.state is AlertState.SHELVED:
                self._tell(AlertEventKind.UNSHELVED, after)
                track = replace(track, told_mono=self._mono)
        repeat_s = self._limits.repeat_s
        due = repeat_s > 0 and self._mono - track.told_mono >= repeat_s
        if due and after.state is AlertState.FIRING:
            self._tell(AlertEventKind.REPEATED, after)
            track = replace(track, told_mono=self._mono)
        return replace(track, alert=after)

    def _shelved_or(self, alert: Alert, awake: AlertState) -> Alert:
        ends = [silence.until for silence in self._silences if silence.covers(alert, self._now)]
        if ends:
            return replace(alert, state=AlertState.SHELVED, shelved_until=max(ends))
        return replace(alert, state=awake, shelved_until=None)

    def _tell(self, kind: AlertEventKind, alert: Alert, *, worse: bool = False) -> None:
        self._events.append(AlertEvent(kind=kind, at=self._now, alert=alert, worse=worse))


def acknowledge(
    state: EngineState, alert_id: int, note: Note
) -> tuple[EngineState, AlertEvent | None]:
    """Note that somebody has seen an open alert; no event if there is no such open alert."""
    for fingerprint, track in state.tracks.items():
        alert = track.alert
        if alert is None or alert.id != alert_id or not alert.is_open:
            continue
        is_shelved = alert.state is AlertState.SHELVED
        alert = replace(
            alert,
            acknowledged=note,
            last_change=note.at,
            state=alert.state if is_shelved else AlertState.ACKNOWLEDGED,
        )
        tracks = {**state.tracks, fingerprint: replace(track, alert=alert)}
        event = AlertEvent(
            kind=AlertEventKind.ACKNOWLEDGED,
            at=note.at,
            alert=alert,
            actor=note.by,
            reason=note.reason,
        )
        return replace(state, tracks=tracks), event
    return state, None

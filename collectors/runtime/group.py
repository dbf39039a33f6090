"""One poll group of one device: when it is due, what of it is stored, what of it is bad."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from collectors.contract.columns import Columns, Runs, columns_of
from collectors.contract.config_base import PollGroup
from collectors.contract.config_types import AnyDevice, AnyPoint
from collectors.contract.points import Quality, Sample
from collectors.runtime.deadband import Gate, Rule
from collectors.runtime.packed_config import values_of
from collectors.runtime.schedule import Schedule, phase_s
from collectors.runtime.stillness import Stillness
from collectors.runtime.timing import Punctuality

_LOG_PAUSE_S = 30.0
"""A point that comes and goes is logged once, not in each cycle."""

_BAD = frozenset(int(quality) for quality in Quality if quality.is_bad)

_log = logging.getLogger(__name__)

PunctualityOf = Callable[[str, float], Punctuality]
"""Returns where the cycles of a group id and interval are counted."""


class GroupState:
    """Belongs to the task of its device."""

    def __init__(
        self,
        device_id: str,
        group: PollGroup,
        points: Iterable[AnyPoint],
        origin_mono: float,
        punctuality_of: PunctualityOf,
        place: int = 0,
    ) -> None:
        rules: dict[str, Rule] = {}
        fingerprint = hash(repr(group))
        for point in points:
            rules[f"{device_id}/{point.name}"] = rule_of(point)
            fingerprint = hash((fingerprint, repr(values_of(point))))
        self.fingerprint = fingerprint
        """Of what this was made from; a group with the same one after a reload stays as it is.

        64 bits of SipHash with a key of this process; ``hashlib`` would load OpenSSL's hashes.
        """
        self.id = group.id
        self._device_id = device_id
        self._origin_mono = origin_mono
        self._phase_s = group.phase_s
        self._place = place
        self._interval_s = group.interval_s
        self._punctuality_of = punctuality_of
        self._gate = Gate(rules) if any(map(_is_rule, rules.values())) else None
        limit_s = group.frozen_after_s
        self._stillness = Stillness(limit_s, time.monotonic()) if limit_s is not None else None
        self.points = tuple(rules)
        # A point that has never been read has no usable value either.
        self._names = frozenset(rules)
        """Until the first whole reading has come."""
        self._bad = set(self._names)
        self._is_marked_lost = False
        self._reported_bad = 0
        self._logged_mono = -_LOG_PAUSE_S
        self.set_factor(1.0)

    @property
    def bad_points(self) -> int:
        """Points that have no usable value now."""
        return len(self._bad)

    @property
    def frozen_points(self) -> int:
        """Points whose values stand still for longer than they may: all or none."""
        if self._bad or self._stillness is None or not self._stillness.is_frozen(time.monotonic()):
            return 0
        return len(self.points)

    def set_factor(self, factor: float) -> None:
        """Keep ``factor`` times the configured interval from now on."""
        interval_s = self._interval_s * factor
        phase = phase_s(self._place, interval_s) if self._phase_s is None else self._phase_s
        self.schedule = Schedule(self._origin_mono + phase, interval_s)
        self.schedule.join(time.monotonic())
        self.renew_punctuality()

    def renew_punctuality(self) -> None:
        """Count the cycles where they are counted now."""
        self.punctuality = self._punctuality_of(self.id, self.schedule.interval_s)

    def take(self, reading: Columns | Sequence[Sample]) -> tuple[Columns, Sequence[int] | None]:
        """Return a reading with its clamps applied, and which of it to store; ``None`` is all."""
        columns = reading if isinstance(reading, Columns) else columns_of(reading)
        if (
            columns.points
            and len(columns) == len(self._names)
            and self._names == set(columns.points)
        ):
            # The same names as other objects would be there twice.
            self.points, self._names = columns.points, frozenset()
        if self._gate is not None:
            columns = self._gate.clamped(columns)
        self._is_marked_lost = False
        self._note_quality(columns)
        if self._stillness is not None:
            self._stillness.note(columns.points, columns.values, time.monotonic())
        return columns, self._gate.admit(columns) if self._gate else None

    def lose(self, quality: Quality, code: int) -> Columns | None:
        """Return one bad reading for each point, unless this outage has been marked already."""
        self._bad = set(self.points)
        if self._is_marked_lost:
            return None
        self._is_marked_lost = True
        if self._gate is not None:
            self._gate.forget()
        if self._stillness is not None:
            self._stillness.forget(time.monotonic())
        now_ns, count = time.time_ns(), len(self.points)
        return Columns(
            points=self.points,
            values=[None] * count,
            qualities=bytes((quality,)) * count,
            codes=Runs([(code, count)]) if code else (),
            source_ns=Runs([(now_ns, count)]),
            received_ns=Runs([(now_ns, count)]),
        )

    def _note_quality(self, columns: Columns) -> None:
        usable = columns.qualities.count(Quality.GOOD) + columns.qualities.count(Quality.UNCERTAIN)
        if usable == len(columns) and (not self._bad or usable == len(self.points)):
            self._bad.clear()
        elif columns.points is self.points:
            readings = zip(columns.points, columns.qualities, strict=True)
            self._bad = {point for point, quality in readings if quality in _BAD}
        else:
            for point, quality in zip(columns.points, columns.qualities, strict=True):
                (self._bad.add if quality in _BAD else self._bad.discard)(point)
        if len(self._bad) != self._reported_bad:
            self._report(columns)

    def _report(self, columns: Columns) -> None:
        self._reported_bad = len(self._bad)
        now = time.monotonic()
        level = logging.WARNING if self._bad else logging.INFO
        if now - self._logged_mono < _LOG_PAUSE_S:
            level = logging.DEBUG
        self._logged_mono = now
        if not _log.isEnabledFor(level):
            return
        bad = [sample for sample in columns.samples() if sample.quality.is_bad]
        _log.log(
            level,
            "points are bad" if self._bad else "all points of the group are good",
            extra={
                "device": self._device_id,
                "group": self.id,
                "points": len(self._bad),
                "first": [f"{s.point} {s.quality.name} {s.code:#x}" for s in bad[:3]],
            },
        )


def groups_of(
    device: AnyDevice, origin_mono: float, punctuality_of: PunctualityOf, place: int = 0
) -> dict[str, GroupState]:
    """Return the groups of ``device`` that have points.

    Args:
        place: Of the device among the others, which decides when in an interval it has its turn.
    """
    groups = {}
    for group in device.groups:
        points = (point for point in device.points if point.group == group.id)
        state = GroupState(device.id, group, points, origin_mono, punctuality_of, place)
        if state.points:
            groups[group.id] = state
    return groups


def rule_of(point: AnyPoint) -> Rule:
    """Return what a point's configuration says about storing it."""
    return _rule(point.deadband, point.max_silence_s, point.clamp)


@lru_cache(maxsize=1024)
def _rule(deadband: float | None, max_silence_s: float, clamp: tuple[float, float] | None) -> Rule:
    return Rule(deadband=deadband, max_silence_s=max_silence_s, clamp=clamp)


def _is_rule(rule: Rule) -> bool:
    return rule.deadband is not None or rule.clamp is not None

"""Which readings are worth storing: clamp, deadband and longest silence. Pure.

The rules are the same for every protocol. A number outside its clamp is ``BAD_RANGE``. A reading
with a deadband is stored when its number has moved by more than that since the one stored before,
when its quality or code changes, and when nothing was stored for ``max_silence_s``.
"""

import math
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from collectors.contract.columns import Columns, Runs
from collectors.contract.points import Quality, Value

_NEVER: float = math.nan
"""A number from which every other one differs by more than any deadband."""
_NO_BAND = -1.0
"""A deadband that every reading exceeds."""
_GOOD = (int(Quality.GOOD), 0)
_EARLY = 8
"""A value may be repeated an eighth of its longest silence early, so that repeats come together
and not one by one in each cycle."""
_SET_BACK_NS = 1_000_000_000
"""The clock may be set back by less: a repeat comes that much later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a point's configuration says about storing; units as in the file."""

    deadband: float | None = None
    max_silence_s: float = 60.0
    clamp: tuple[float, float] | None = None


class Gate:
    """The rules of some points, and what was last stored of each."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        """Take the rule of each point of a group by ``DEVICE/POINT``."""
        self._has_bands = any(rule.deadband is not None for rule in rules.values())
        self._points = tuple(rules)
        self._has_texts = False
        self._is_ordered = False
        """The points are in the order in which whole readings come."""
        self._bands = array(
            "d", [_NO_BAND if r.deadband is None else r.deadband for r in rules.values()]
        )
        self._silence_ns = array("q", [int(rule.max_silence_s * 1e9) for rule in rules.values()])
        self._newest_ns = 0
        self._clamps = [(i, *rule.clamp) for i, rule in enumerate(rules.values()) if rule.clamp]
        self._start_over()

    def forget(self) -> None:
        """Let every next reading pass, as after an outage."""
        self._start_over()

    def clamped(self, columns: Columns) -> Columns:
        """Return the readings with every number outside its clamp made ``BAD_RANGE``."""
        if not self._clamps:
            return columns
        values = columns.values
        if self._is_regular(columns.points):
            outside = [i for i, low, high in self._clamps if _is_outside(values[i], low, high)]
        else:
            limits = {place: (low, high) for place, low, high in self._clamps}
            outside = [
                i
                for i, place in enumerate(self._places_of(columns.points))
                if place in limits and _is_outside(values[i], *limits[place])
            ]
        if not outside:
            return columns
        values, qualities = list(values), bytearray(columns.qualities)
        for i in outside:
            values[i], qualities[i] = None, Quality.BAD_RANGE
        return replace(columns, values=values, qualities=bytes(qualities))

    def admit(self, columns: Columns) -> Sequence[int] | None:
        """Return which readings to store, in order, and take them as stored; ``None`` is all."""
        if not self._has_bands:
            return None
        self._note_time(columns)
        if not self._is_regular(columns.points):
            return self._kept_one_by_one(columns, range(len(columns)))
        try:
            return self._kept_at_once(columns)
        except TypeError:
            self._has_texts = True  # a text cannot be subtracted
            return self._kept_at_once(columns)

    def _note_time(self, columns: Columns) -> None:
        """Start over where the clock was set back: no point would be due for as long as that."""
        if not len(columns):
            return
        now_ns = columns.received_ns[-1]
        if now_ns < self._newest_ns - _SET_BACK_NS:
            self._start_over()
        self._newest_ns = now_ns

    def _kept_at_once(self, columns: Columns) -> list[int]:
        """Return the places of a whole reading to store; good numbers are judged together."""
        odd = self._odd_places(columns)
        values = columns.values
        if odd:
            values = list(values)
            for i in odd:
                values[i] = _NEVER
        last = self._last
        kept = [
            i
            for i, (value, before, band) in enumerate(zip(values, last, self._bands, strict=True))
            if not -band <= value - before <= band  # type: ignore[operator] # see admit
        ]
        now_ns = columns.received_ns[-1]
        if odd or self._abnormal or now_ns >= self._repeat_ns:
            due = self._due(now_ns) if now_ns >= self._repeat_ns else ()
            numbers = {*kept, *self._abnormal, *due}.difference(odd)
            single = self._kept_one_by_one(columns, sorted(odd), frozenset(due))
            self._abnormal.intersection_update(odd)
            kept = sorted(numbers)
            self._note_numbers(kept, values, now_ns)
            return sorted([*kept, *single])
        self._note_numbers(kept, values, now_ns)
        return kept

    def _odd_places(self, columns: Columns) -> set[int]:
        """Return the places of what is no good number."""
        odd: set[int] = set()
        if any(columns.qualities):  # GOOD is 0
            odd.update(i for i, quality in enumerate(columns.qualities) if quality)
        if columns.codes:
            odd.update(i for i, code in enumerate(columns.codes) if code)
        if self._has_texts:
            odd.update(i for i, value in enumerate(columns.values) if isinstance(value, str))
        return odd

    def _note_numbers(
        self, kept: Sequence[int], values: Sequence[Value | None], now_ns: int
    ) -> None:
        last, stored_ns, status = self._last, self._stored_ns, self._status
        for i in kept:
            last[i] = values[i]  # type: ignore[assignment] # a number, see _odd_places
            stored_ns[i] = now_ns
            status[i] = _GOOD
        if self._texts:
            for i in kept:
                self._texts.pop(i, None)

    def _due(self, now_ns: int) -> list[int]:
        """Return the points that have been silent for long enough; note when to look again."""
        due, rest_ns = [], []
        for i, (stored_ns, silence_ns) in enumerate(
            zip(self._stored_ns, self._silence_ns, strict=True)
        ):
            if stored_ns + silence_ns - silence_ns // _EARLY <= now_ns:
                due.append(i)
                stored_ns = now_ns  # noqa: PLW2901 - it is stored now
            rest_ns.append(stored_ns + silence_ns)
        self._repeat_ns = min(rest_ns)
        return due

    def _kept_one_by_one(
        self, columns: Columns, wanted: Sequence[int], due: Collection[int] = ()
    ) -> list[int]:
        """Return which of the ``wanted`` readings to store; those of the places ``due`` are."""
        places = self._places_of(columns.points) if not self._is_whole(columns) else None
        codes = columns.codes or Runs([(0, len(columns))])
        kept = []
        for i in wanted:
            place = i if places is None else places[i]
            value, at_ns = columns.values[i], columns.received_ns[i]
            status = (columns.qualities[i], codes[i])
            if (
                place in due
                or status != self._status[place]
                or not self._is_same(place, value)
                or at_ns - self._stored_ns[place] >= self._silence_ns[place]
            ):
                kept.append(i)
                self._note(place, value, status, at_ns)
        return kept

    def _is_whole(self, columns: Columns) -> bool:
        return columns.points is self._points

    def _is_same(self, place: int, value: Value | None) -> bool:
        """Tell whether a value is within the deadband of the one stored before."""
        band, before = self._bands[place], self._last[place]
        if band < 0:
            return False
        if value is None:
            return before is _NEVER and place not in self._texts
        if isinstance(value, str):
            return self._texts.get(place) == value
        return -band <= value - before <= band

    def _note(self, place: int, value: Value | None, status: tuple[int, int], at_ns: int) -> None:
        self._texts.pop(place, None)
        if isinstance(value, str):
            self._texts[place] = value
        self._last[place] = _NEVER if value is None or isinstance(value, str) else value
        self._status[place] = _GOOD if status == _GOOD else status
        self._stored_ns[place] = at_ns
        (self._abnormal.discard if status == _GOOD else self._abnormal.add)(place)

    def _is_regular(self, points: tuple[str, ...]) -> bool:
        """Tell whether this is a whole reading; take over its order the first time."""
        if points is self._points:
            return True
        if self._is_ordered:
            if points != self._points:
                return False
            self._points = points  # the same names from a driver that has planned anew
            return True
        if len(points) != len(self._points):
            return False
        if set(points) != set(self._points):
            return False
        order = self._places_of(points)
        place = {old: new for new, old in enumerate(order)}
        self._points, self._is_ordered = points, True
        self._bands = array("d", [self._bands[i] for i in order])
        self._silence_ns = array("q", [self._silence_ns[i] for i in order])
        self._clamps = [(place[i], low, high) for i, low, high in self._clamps]
        self._start_over()
        return True

    def _start_over(self) -> None:
        count = len(self._points)
        self._place: dict[str, int] = {}
        self._last: list[float] = [_NEVER] * count
        """Numbers; ``_NEVER`` where a text or nothing usable was stored."""
        self._texts: dict[int, str] = {}
        self._stored_ns = array("q", bytes(8 * count))
        self._status = [_GOOD] * count
        self._abnormal: set[int] = set()
        """Points of which another quality than good was stored last."""
        self._repeat_ns = 0

    def _places_of(self, points: Sequence[str]) -> list[int]:
        if not self._place:
            self._place = {point: place for place, point in enumerate(self._points)}
        return [self._place[point] for point in points]


def _is_outside(value: Value | None, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not low <= value <= high

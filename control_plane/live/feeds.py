"""What was published, kept so that each listener can be brought from where it is to now.

A listener is behind because its connection was cut, because it reads slowly, or because changes
are gathered for it. For all three the question is the same: what came after number ``n``?
Only the hub's thread touches these.
"""

import json
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from control_plane.live.streams import RETAINED_BYTES

log = logging.getLogger(__name__)

MAX_EVENTS: Final = 2000
MAX_TOMBSTONES: Final = 1000
"""Removed keys that are remembered, so that who comes back hears of them."""

Matches = Callable[["Change"], bool]


class Change:
    """One message of a topic; its JSON is made once, when somebody first needs it."""

    __slots__ = ("_text", "data", "judged", "key", "removed", "seq", "skipped", "ts_ms", "weight")

    def __init__(self, seq: int, key: str, data: object, ts_ms: int) -> None:
        self.seq = seq
        self.key = key
        self.data = data
        self.ts_ms = ts_ms
        self.removed = False
        self.judged = data
        """What filters look at: of a removed key the last value that it had."""
        self.weight = 1
        self.skipped = 0
        """Weight of what was lost just before this one."""
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The data as JSON."""
        if self._text is None:
            try:
                self._text = encode(self.data)
            except (TypeError, ValueError, RecursionError):
                # A publisher's mistake must not hold up everybody's other messages.
                log.exception("a live message cannot be encoded", extra={"key": self.key})
                self._text = "null"
        return self._text


class StateFeed:
    """The newest change of each key, the oldest first."""

    def __init__(self) -> None:
        self.seq = 0
        self._newest: OrderedDict[str, Change] = OrderedDict()
        self._tombstones: deque[Change] = deque()
        self._floor = 0
        """Who knows less than this cannot be told of everything that was removed."""

    def put(self, key: str, data: object, ts_ms: int) -> None:
        self.seq += 1
        self._newest[key] = Change(self.seq, key, data, ts_ms)
        self._newest.move_to_end(key)

    def remove(self, key: str, ts_ms: int) -> bool:
        """Return whether ``key`` was there."""
        last = self._newest.get(key)
        if last is None or last.removed:
            return False
        self.seq += 1
        self._newest[key] = gone = _tombstone(self.seq, last, ts_ms)
        self._newest.move_to_end(key)
        self._tombstones.append(gone)
        if len(self._tombstones) > MAX_TOMBSTONES:
            oldest = self._tombstones.popleft()
            if self._newest.get(oldest.key) is oldest:
                del self._newest[oldest.key]
                self._floor = oldest.seq
        return True

    def present(self) -> Iterable[Change]:
        return (change for change in self._newest.values() if not change.removed)

    def since(self, seq: int, matches: Matches) -> list[Change] | None:
        """Return what changed after ``seq``; ``None`` if that is not known any more."""
        if not self._floor <= seq <= self.seq:
            return None
        return _after(seq, reversed(self._newest.values()), matches)


class EventFeed:
    """Every change, as far back as is kept, and beside it what is open now."""

    def __init__(self) -> None:
        self.seq = 0
        self._open: dict[str, Change] = {}
        self._past: deque[Change] = deque()
        self._floor = 0

    def put(self, key: str, data: object, ts_ms: int) -> None:
        self.seq += 1
        self._open[key] = change = Change(self.seq, key, data, ts_ms)
        self._keep(change)

    def remove(self, key: str, ts_ms: int) -> bool:
        """Return whether ``key`` was there."""
        last = self._open.pop(key, None)
        if last is None:
            return False
        self.seq += 1
        self._keep(_tombstone(self.seq, last, ts_ms))
        return True

    def present(self) -> Iterable[Change]:
        return self._open.values()

    def since(self, seq: int, matches: Matches) -> list[Change] | None:
        """Return every change after ``seq``; ``None`` if one of them is not kept any more."""
        if not self._floor <= seq <= self.seq:
            return None
        return _after(seq, reversed(self._past), matches)

    def _keep(self, change: Change) -> None:
        self._past.append(change)
        if len(self._past) > MAX_EVENTS:
            self._floor = self._past.popleft().seq


class StreamFeed:
    """The newest messages of one producer."""

    def __init__(self) -> None:
        self.seq = 0
        self._past: deque[Change] = deque()
        self._bytes = 0
        self._lost: deque[tuple[int, int]] = deque(maxlen=MAX_EVENTS)
        """Number and weight of messages that are not kept any more, the newest last."""

    def make(self, data: object, weight: int, skipped: int, ts_ms: int) -> Change:
        """Return the next message, not yet added."""
        change = Change(self.seq + 1, "", data, ts_ms)
        change.weight, change.skipped = weight, skipped
        return change

    def add(self, change: Change) -> None:
        self.seq = change.seq
        self._past.append(change)
        self._bytes += len(change.text)
        while self._bytes > RETAINED_BYTES and len(self._past) > 1:
            oldest = self._past.popleft()
            self._bytes -= len(oldest.text)
            self._lost.append((oldest.seq, oldest.weight + oldest.skipped))

    def present(self) -> Iterable[Change]:
        return self._past

    def since(self, seq: int, matches: Matches) -> list[Change] | None:
        """Return every message after ``seq``; ``None`` if one of them is not kept any more."""
        floor = self._past[0].seq - 1 if self._past else self.seq
        if not floor <= seq <= self.seq:
            return None
        return _after(seq, reversed(self._past), matches)

    def lost_since(self, seq: int) -> int:
        """Return the weight of the messages after ``seq`` that are not kept any more."""
        return sum(weight for number, weight in self._lost if number > seq)


Feed = StateFeed | EventFeed | StreamFeed


def _after(seq: int, newest_first: Iterable[Change], matches: Matches) -> list[Change]:
    found = []
    for change in newest_first:
        if change.seq <= seq:
            break
        if matches(change):
            found.append(change)
    found.reverse()
    return found


def _tombstone(seq: int, last: Change, ts_ms: int) -> Change:
    gone = Change(seq, last.key, {"name": last.key, "removed": True}, ts_ms)
    gone.removed, gone.judged = True, last.judged
    return gone


def encode(value: object) -> str:
    """Return ``value`` as JSON that every reader takes."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        # JSON has no word for a number that is none (RFC 8259, 6).
        return encode(_finite(value))
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, from a file name say, must not end everybody's connection.
        return json.dumps(value, separators=(",", ":"))
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value

"""Keeps abnormal clients out for a while, and everybody within a rate.

An address earns strikes by what no honest client does: wrong tokens, changes without the CSRF
token, malformed frames. With too many in a minute it is banned; whoever has a session or a token
is still served from there, because many people may share the address of a proxy.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from control_plane.errors import ClientBanned, RateLimited

STRIKES: Final = 30
"""So many within the window earn a ban."""
_WINDOW_S: Final = 60.0
_FIRST_BAN_S: Final = 60.0
_LONGEST_BAN_S: Final = 900.0
_FORGET_AFTER_S: Final = 3600.0
_MAX_KEYS: Final = 10_000
_REQUESTS_PER_S: Final = 200.0
_BURST: Final = 1000.0

OnBan = Callable[[str, str, float], None]
"""Told the address, the reason and the seconds."""


@dataclass(slots=True)
class _Record:
    window_mono: float
    strikes: int = 0
    evidence: str = ""
    bans: int = 0
    banned_until_mono: float = 0.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_mono: float


class Gate:
    """Usable from any thread; remembers a bounded number of addresses and senders."""

    def __init__(
        self,
        on_ban: OnBan = lambda _address, _reason, _seconds: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_ban = on_ban
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}
        self._buckets: dict[str, _Bucket] = {}

    def check(self, address: str) -> None:
        """Raise ClientBanned while the address is banned."""
        with self._lock:
            record = self._records.get(address)
            left_s = record.banned_until_mono - self._monotonic() if record else 0.0
        if left_s > 0:
            raise ClientBanned(retry_after_s=max(1, round(left_s)))

    def strike(self, address: str, reason: str, evidence: str = "") -> None:
        """Count something that no honest client does.

        The same ``evidence`` again counts once: a script with one token that has expired guesses
        nothing.
        """
        now = self._monotonic()
        with self._lock:
            record = self._record(address, now)
            if evidence and evidence == record.evidence:
                return
            record.strikes, record.evidence = record.strikes + 1, evidence
            if record.strikes < STRIKES or record.banned_until_mono > now:
                return
            seconds = min(_LONGEST_BAN_S, _FIRST_BAN_S * 2.0 ** min(record.bans, 10))
            record.bans += 1
            record.strikes, record.banned_until_mono = 0, now + seconds
        self._on_ban(address, reason, seconds)

    def banned(self) -> list[str]:
        """Return the addresses that are banned now."""
        now = self._monotonic()
        with self._lock:
            return sorted(a for a, r in self._records.items() if r.banned_until_mono > now)

    def count_request(self, sender: str) -> None:
        """Raise RateLimited when this sender asks more than 200 times a second for long."""
        now = self._monotonic()
        with self._lock:
            bucket = self._buckets.pop(sender, None) or _Bucket(_BURST, now)
            grown = bucket.tokens + (now - bucket.at_mono) * _REQUESTS_PER_S
            bucket.tokens, bucket.at_mono = min(_BURST, grown), now
            self._buckets[sender] = bucket
            if len(self._buckets) > _MAX_KEYS:
                del self._buckets[next(iter(self._buckets))]
            if bucket.tokens < 1:
                raise RateLimited(retry_after_s=1)
            bucket.tokens -= 1

    def _record(self, address: str, now: float) -> _Record:
        """Return what is known of an address; the order is that of the last strike."""
        record = self._records.pop(address, None)
        if record is None or now - record.window_mono > _FORGET_AFTER_S:
            record = _Record(now)
        elif now - record.window_mono > _WINDOW_S:
            record.window_mono, record.strikes = now, 0
        self._records[address] = record
        if len(self._records) > _MAX_KEYS:
            del self._records[next(iter(self._records))]
        return record

"""What one client may do to the live channel, and how fast the channel's own clocks tick."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

MAX_FRAME_BYTES: Final = 16 * 1024
"""Of one message of a client."""
MAX_SUBSCRIPTIONS: Final = 32
"""Of one connection."""
MAX_GROUPS: Final = 256
"""Distinct subscriptions of all clients together."""
MAX_LAG_BYTES: Final = 64 * 1024
"""Queued for one client; past it nothing is queued, and what it missed is made up for later."""
SEND_BUFFER_BYTES: Final = 128 * 1024
"""Kernel buffer of one connection (SO_SNDBUF); stock is 2.8 MB that nobody may ever read."""

MESSAGES_PER_S: Final = 20.0
MESSAGES_BURST: Final = 40.0
USER_MESSAGES_PER_S: Final = 200.0
USER_MESSAGES_BURST: Final = 2000.0
"""Of all connections of one user or token together; a restart brings them all back at once."""
BYTES_PER_S: Final = 64 * 1024.0
BYTES_BURST: Final = 256 * 1024.0
SNAPSHOTS_PER_S: Final = 1.0
SNAPSHOTS_BURST: Final = 8.0
STRIKES: Final = 3
"""So often within ``STRIKE_WINDOW_S`` may a client be too fast."""
STRIKE_WINDOW_S: Final = 60.0
MAX_BAD_FRAMES: Final = 5

CLOSE_NORMAL: Final = 1000
CLOSE_GOING_AWAY: Final = 1001
CLOSE_PROTOCOL_ERROR: Final = 1002
CLOSE_NOT_UTF8: Final = 1007
CLOSE_POLICY: Final = 1008
CLOSE_TOO_BIG: Final = 1009
CLOSE_INTERNAL_ERROR: Final = 1011
CLOSE_BAD_FRAME: Final = 4400
CLOSE_SESSION_ENDED: Final = 4401
CLOSE_FORBIDDEN: Final = 4403
CLOSE_HELLO_TIMEOUT: Final = 4408
CLOSE_SLOW: Final = 4413
CLOSE_RATE: Final = 4429

OFFENCES: Final = frozenset(
    {CLOSE_PROTOCOL_ERROR, CLOSE_NOT_UTF8, CLOSE_TOO_BIG, CLOSE_BAD_FRAME, CLOSE_RATE}
)
"""What no honest client is closed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Durations, in seconds."""

    heartbeat_s: float = 5.0
    """Between two messages that tell when the plant was last seen."""
    ping_s: float = 25.0
    """Between two WebSocket pings; after two without an answer the peer is gone."""
    hello_s: float = 5.0
    """Within this a client must say something."""
    stuck_s: float = 10.0
    """So long may a client take nothing of what waits for it."""
    close_s: float = 1.5
    """So long is waited for the answer to a close."""
    gather_s: float = 0.01
    """Changes of state that come within this go together."""
    session_s: float = 15.0
    """Between two looks at whether a session or token still holds."""
    tick_s: float = 0.25


class TokenBucket:
    """So much at once, and so much a second."""

    __slots__ = ("_burst", "_left", "_per_s", "_seen")

    def __init__(self, per_s: float, burst: float, mono: float) -> None:
        self._per_s = per_s
        self._burst = self._left = burst
        self._seen = mono

    def take(self, amount: float, mono: float) -> bool:
        """Take ``amount`` if it is there."""
        self._left = min(self._burst, self._left + (mono - self._seen) * self._per_s)
        self._seen = mono
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def wait_ms(self, amount: float) -> int:
        """Return how long it takes until ``amount`` is there."""
        return math.ceil(max(0.0, amount - self._left) / self._per_s * 1000)


class Allowance:
    """What one client has left, and what it did wrong."""

    __slots__ = ("bad_frames", "bytes", "messages", "snapshots", "strikes")

    def __init__(self, mono: float) -> None:
        self.messages = TokenBucket(MESSAGES_PER_S, MESSAGES_BURST, mono)
        self.bytes = TokenBucket(BYTES_PER_S, BYTES_BURST, mono)
        self.snapshots = TokenBucket(SNAPSHOTS_PER_S, SNAPSHOTS_BURST, mono)
        self.bad_frames = 0
        self.strikes: deque[float] = deque(maxlen=STRIKES)
        """When it was warned for being too fast."""

"""A command that is sent twice under one ``Idempotency-Key`` is done once.

A client that got no answer repeats its request with the same key and gets the first answer.
"""

import functools
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from flask import Response, g, request

from control_plane.errors import BadRequest, KeyInUse

_KEY = re.compile(r"[\x21-\x7e]{1,64}")
_KEPT = 1000
_KEPT_S = 600.0


@dataclass(slots=True)
class _Entry:
    fingerprint: str
    at_mono: float
    answer: Response | None = None


class IdempotentAnswers:
    """Remembers the newest thousand answers for ten minutes; usable from any thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def once(self, route: Callable[..., Response]) -> Callable[..., Response]:
        """Decorate a route so that a repeated key gets the first answer.

        Errors are not remembered: they may be repeated with the same key.
        """

        @functools.wraps(route)
        def wrapped(*args: object, **kwargs: object) -> Response:
            key = request.headers.get("Idempotency-Key")
            if key is None:
                return route(*args, **kwargs)
            if _KEY.fullmatch(key) is None:
                raise BadRequest(reason="Idempotency-Key must be 1..64 printable ASCII characters")
            place = (g.actor.name, key)
            known = self._begin(place)
            if known is not None:
                return known
            try:
                answer = route(*args, **kwargs)
            except Exception:
                self._forget(place)
                raise
            with self._lock:
                if place in self._entries:
                    self._entries[place].answer = answer
            return answer

        return wrapped

    def _begin(self, place: tuple[str, str]) -> Response | None:
        seen = f"{request.method} {request.path}".encode() + request.get_data(cache=True)
        fingerprint, now = hashlib.sha256(seen).hexdigest(), self._monotonic()
        with self._lock:
            while self._entries and (
                len(self._entries) >= _KEPT
                or next(iter(self._entries.values())).at_mono < now - _KEPT_S
            ):
                self._entries.popitem(last=False)
            entry = self._entries.get(place)
            if entry is None:
                self._entries[place] = _Entry(fingerprint, now)
                return None
            if entry.answer is None or entry.fingerprint != fingerprint:
                raise KeyInUse(key=place[1])
            replay = Response(entry.answer.get_data(), entry.answer.status_code)
            replay.headers["Content-Type"] = entry.answer.headers["Content-Type"]
            replay.headers["Idempotent-Replay"] = "true"
            return replay

    def _forget(self, place: tuple[str, str]) -> None:
        with self._lock:
            self._entries.pop(place, None)

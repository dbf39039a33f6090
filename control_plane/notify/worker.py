"""Sends what is queued for one channel, and what cannot be queued."""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from control_plane.clock import Clock
from control_plane.domain.alerts import Alert, AlertEventKind
from control_plane.errors import NotifyFailed, StorageError
from control_plane.notify.channel_file import Channel
from control_plane.notify.message import Message, Told, message_of
from control_plane.notify.policy import MAX_ATTEMPTS, choose, next_attempt
from control_plane.notify.senders import send
from control_plane.notify.unqueued import Unqueued
from control_plane.storage.notifications import (
    DROPPED,
    FAILED,
    SENT,
    NewNotice,
    Notice,
    Notifications,
)

log = logging.getLogger(__name__)

_IDLE_S: Final = 60.0
_DATABASE_AWAY_S: Final = 5.0
_STOP_S: Final = 2.0
_ALERT: Final = TypeAdapter(Alert)

Describe = Callable[[Alert, str], Mapping[str, Any]]
"""From an alert and a language to what the API shows of it."""


class Worker:
    """The thread of one channel; its methods may be called from any other."""

    def __init__(
        self, channel: Channel, queue: Notifications, clock: Clock, describe: Describe, sender: str
    ) -> None:
        self.channel = channel
        self.last_error: str | None = None
        self._queue = queue
        self._clock = clock
        self._describe = describe
        self._sender = sender
        self._unqueued = Unqueued()
        self._failing: set[str] = set()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        # Whoever stops us does not wait for a server that hangs: its notice stays queued.
        self._thread = threading.Thread(
            target=self._run, name=f"notify-{channel.name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def join(self) -> None:
        self._thread.join(_STOP_S)

    def wake(self) -> None:
        self._wake.set()

    def keep(self, notice: NewNotice) -> None:
        """Take a notice that cannot be queued."""
        self._unqueued.keep(notice)

    def is_queued(self) -> None:
        """Look into the queue, which has all that was kept."""
        self._unqueued.is_queued()
        self.wake()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            pause_s = self._guarded("queue", self._turn)
            # Also while the queue can be read: a full disk lets nobody write to it.
            self._wake.wait(min(pause_s, self._guarded("unqueued", self._send_unqueued)))

    def _guarded(self, name: str, step: Callable[[], float]) -> float:
        """Do a step and return the seconds until the next."""
        try:
            pause_s = step()
        except Exception as exc:
            # Whatever it was, the next notice must be tried.
            known = isinstance(exc, StorageError)
            if name not in self._failing:
                log.error("queue of notices fails", exc_info=None if known else exc)
            self._failing.add(name)
            return _DATABASE_AWAY_S
        self._failing.discard(name)
        return pause_s

    def _turn(self) -> float:
        """Send what is due; return the seconds until there may be more to do."""
        name, now = self.channel.name, self._clock.now()
        due = self._queue.due(name, now)
        if not due:
            following = self._queue.next_due(name)
            if following is None:
                return _IDLE_S
            return min(_IDLE_S, max(0.05, (following - now).total_seconds()))
        oldest = min(notice.due for notice in due)
        ready_in_s = self.channel.entry.group_s - (now - oldest).total_seconds()
        if 0 < ready_in_s <= self.channel.entry.group_s:
            # Woken meanwhile or not: what comes until then goes out with it.
            self._stopping.wait(ready_in_s)
            return 0.0
        choice = choose(
            self._queue.waiting(name),
            {notice.id for notice in due},
            lambda alert_id: self._queue.was_sent(name, alert_id),
        )
        told, untold = self._unqueued.divided(choice.send)
        # Telling first: a queue that cannot be written to must not keep it from happening.
        if untold:
            self._send(untold)
        if told:
            self._end_told(told)
        if choice.drop:
            self._queue.end([notice.id for notice in choice.drop], DROPPED, now)
        return 0.0 if choice.send or choice.drop else 1.0

    def _message(self, notices: Sequence[Notice | NewNotice]) -> Message:
        language = self.channel.entry.language
        told = [
            Told(
                kind=AlertEventKind(notice.kind),
                event=notice.event,
                alert=self._describe(_ALERT.validate_json(notice.document), language),
            )
            for notice in notices
        ]
        return message_of(told, language, self._sender, self._clock.now())

    def _send_unqueued(self) -> float:
        """Tell what is due although the queue, which would remember it, cannot be used."""
        notices = self._unqueued.due(self._clock.now())
        if not notices:
            return _DATABASE_AWAY_S if self._unqueued.is_waiting else _IDLE_S
        try:
            send(self.channel, self._message(notices))
        except NotifyFailed as exc:
            self.last_error = str(exc.params["reason"])
            return _DATABASE_AWAY_S
        self._unqueued.note_told(notices)
        return _DATABASE_AWAY_S

    def _end_told(self, notices: Sequence[Notice]) -> None:
        self._queue.end([notice.id for notice in notices], SENT, self._clock.now())
        self._unqueued.forget(notices)

    def _send(self, notices: Sequence[Notice]) -> None:
        try:
            send(self.channel, self._message(notices))
        except NotifyFailed as exc:
            self._failed(notices, str(exc.params["reason"]))
            return
        if self.last_error is not None:
            log.info("channel works again", extra={"channel": self.channel.name})
        self.last_error = None
        # If that cannot be written down now, it is not told again.
        self._unqueued.note_told(notices)
        self._end_told(notices)

    def _failed(self, notices: Sequence[Notice], reason: str) -> None:
        if reason != self.last_error:
            log.error(
                "channel could not send", extra={"channel": self.channel.name, "reason": reason}
            )
        self.last_error = reason
        now = self._clock.now()
        given_up = [n.id for n in notices if n.attempts + 1 >= MAX_ATTEMPTS]
        if given_up:
            self._queue.end(given_up, FAILED, now, reason)
        again = [n for n in notices if n.attempts + 1 < MAX_ATTEMPTS]
        if again:
            attempts = max(n.attempts for n in again) + 1
            due = next_attempt(now, attempts, random.random)
            self._queue.retry([n.id for n in again], now, due, reason)

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

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                pause_s = self._turn()
                self._unqueued.is_queued()
                failing = False
            except Exception as exc:
                # Whatever it was, the next notice must be tried.
                known = isinstance(exc, StorageError)
                if not failing:
                    log.error("queue of notices fails", exc_info=None if known else exc)
                failing, pause_s = True, _DATABASE_AWAY_S
                self._send_unqueued()
            self._wake.wait(pause_s)

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
        if choice.drop:
            self._queue.end([notice.id for notice in choice.drop], DROPPED, now)
        told, untold = self._unqueued.divided(choice.send)
        if told:
            self._queue.end([notice.id for notice in told], SENT, now)
        if untold:
            self._send(untold)
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

    def _send_unqueued(self) -> None:
        """Tell what is due although the queue, which would remember it, cannot be used."""
        notices = self._unqueued.due(self._clock.now())
        if not notices:
            return
        try:
            send(self.channel, self._message(notices))
        except NotifyFailed as exc:
            self.last_error = str(exc.params["reason"])
            return
        self._unqueued.note_told(notices)

    def _send(self, notices: Sequence[Notice]) -> None:
        try:
            send(self.channel, self._message(notices))
        except NotifyFailed as exc:
            self._failed(notices, str(exc.params["reason"]))
            return
        if self.last_error is not None:
            log.info("channel works again", extra={"channel": self.channel.name})
        self.last_error = None
        self._queue.end([notice.id for notice in notices], SENT, self._clock.now())

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
